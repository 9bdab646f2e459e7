//! What the planes say to each other: one enum is the whole interface of the data plane.
//!
//! The control plane sends [`Request`]s; each gets exactly one [`Response`]. The data plane sends
//! [`Event`]s of its own accord; an event says how things stand now, so a later one about the same
//! thing replaces an earlier one that was not sent yet.
//!
//! SDP never comes this way: the control plane turns it into the numbers below.

use core::num::NonZeroU8;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

use crate::id::{PublicationId, SessionId};
use crate::limits::MID_BYTES_MAX;

mod statistics;

pub use statistics::{
    EstimateReport, LayerPlace, LayerReason, LayerReport, PublicationReport, SessionStatistics,
    SubscriptionReport, VoiceReport,
};

/// An `a=mid` value (RFC 8843 §15.2).
pub type Mid = ArrayString<MID_BYTES_MAX>;
/// An `a=rid` value (RFC 8851 §4).
pub type Rid = ArrayString<MID_BYTES_MAX>;

// ---------------------------------------------------------------------------------------------
// Requests and responses

/// One command with its number and its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the control plane, answered in [`Response::id`].
    pub id: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds. A request that is read later than this is refused with
    /// [`CommandError::DeadlinePassed`] and changes nothing.
    pub deadline_ns: u64,
    /// What is asked.
    pub command: Command,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// [`Request::id`].
    pub id: u64,
    /// What came of it.
    pub result: Result<Reply, CommandError>,
}

/// Everything that the data plane can be asked to do, always about the shard that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Names the live sessions in ascending order, those after `after` only.
    ListSessions {
        /// The last id of the page before, if this is not the first page.
        after: Option<SessionId>,
    },
    /// Tells what a control plane needs to go on with one session, its model included.
    InspectSession {
        /// Which.
        session: SessionId,
    },
    /// Tells how well the media of one session flows.
    MeasureSession {
        /// Which.
        session: SessionId,
    },
    /// Applies `changes` to one session in their order, all or none, and stores `model` if given.
    Execute {
        /// Which; made by [`Change::Open`] in this very transaction if it is new.
        session: SessionId,
        /// What to change; at most [`crate::limits::CHANGES_MAX`].
        changes: Vec<Change>,
        /// The control plane's negotiation model after this transaction, opaque to the data plane;
        /// at most [`crate::limits::MODEL_BYTES_MAX`].
        model: Option<Vec<u8>>,
    },
    /// Ends a session: its subscribers are told by RTCP BYE, its memory is freed.
    CloseSession {
        /// Which.
        session: SessionId,
    },
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Execute` and `CloseSession`.
    Done,
    /// To `ListSessions`: one page.
    Sessions {
        /// In ascending order.
        sessions: Vec<SessionId>,
        /// Whether another page follows.
        more: bool,
    },
    /// To `InspectSession`.
    Session(Box<SessionReport>),
    /// To `MeasureSession`.
    Statistics(Box<SessionStatistics>),
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CommandError {
    /// The session does not live on this shard (any more).
    #[error("no such session")]
    UnknownSession,
    /// `Open` names a session that exists.
    #[error("the session exists already")]
    SessionExists,
    /// The shard holds as many sessions as it can.
    #[error("the shard is full")]
    ShardFull,
    /// A change names a publication number that is not live in the session.
    #[error("no such publication in this session")]
    UnknownPublication,
    /// A change names a subscription number that is not live in the session.
    #[error("no such subscription in this session")]
    UnknownSubscription,
    /// A change makes a publication or subscription number that is taken.
    #[error("the number is taken")]
    NumberTaken,
    /// A bound of `shared::limits` would be broken.
    #[error("a limit would be exceeded")]
    LimitExceeded,
    /// A change comes before the one that it needs (say, `Publish` without `SetRemote`).
    #[error("the session is not in a state for this change")]
    WrongState,
    /// The deadline had passed when the request was read.
    #[error("the deadline had passed")]
    DeadlinePassed,
    /// The request could not be decoded.
    #[error("the request could not be decoded")]
    Malformed,
    /// A panic while this session was worked on; the session has been ended.
    #[error("the session failed and has been ended")]
    SessionFailed,
}

// ---------------------------------------------------------------------------------------------
// Changes

/// One step of a transaction on a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Makes the session. Must be the first change.
    Open(IceCredentials),
    /// Sets (or, with new credentials, replaces) what the client said of its transport. The
    /// fingerprint and role of a session never change after the first time: RFC 8842 §5.
    SetRemote(RemoteTransport),
    /// Restarts ICE (RFC 8445 §9): from now on checks with the new local credentials are answered
    /// too; the old pair keeps carrying media until a new one is nominated.
    RestartIce {
        /// New ones of ours.
        local: IceCredentials,
        /// New ones of the client's.
        remote: IceCredentials,
    },
    /// Adds a track that the client sends.
    Publish(Box<PublishParameters>),
    /// Ends a publication; its subscriptions stay but carry nothing.
    Unpublish {
        /// [`PublishParameters::number`].
        number: u32,
    },
    /// Adds a track that the client receives.
    Subscribe(Box<SubscribeParameters>),
    /// Ends a subscription (RTCP BYE).
    Unsubscribe {
        /// [`SubscribeParameters::number`].
        number: u32,
    },
    /// Feeds a live subscription from another publication of the same kind, or from the same one
    /// with another choice of layer or other hints. SSRC, sequence numbers and timestamps stay
    /// continuous.
    Resubscribe {
        /// [`SubscribeParameters::number`].
        number: u32,
        /// The publication from now on.
        source: PublicationId,
        /// How its payload types map to the subscriber's.
        codecs: Vec<CodecMapping>,
        /// Which layer.
        selection: LayerSelection,
        /// What the subscriber has use for.
        hints: Hints,
    },
    /// Of the audio tracks that the client receives, forwards those that are heard best only. Tracks
    /// whose publishers do not tell how loud they are (RFC 6464) are forwarded besides.
    LimitAudio {
        /// How many; none for all, as it is at first.
        loudest: Option<NonZeroU8>,
    },
}

/// `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// 4 to 256 characters. Ours are unique on the data plane.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub password: String,
}

impl core::fmt::Debug for IceCredentials {
    /// Leaves the password out, so that no log can hold it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// The client's side of the transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTransport {
    /// Of the client's ICE agent.
    pub ice: IceCredentials,
    /// What the client's certificate must hash to; several may be given, one must match.
    pub fingerprints: Vec<Fingerprint>,
    /// Who starts the DTLS handshake.
    pub role: DtlsRole,
}

/// `a=fingerprint` (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The hash function; weaker ones than SHA-256 are refused by the control plane.
    pub algorithm: HashAlgorithm,
    /// The hash of the certificate in DER.
    pub digest: Vec<u8>,
}

/// A hash function for certificate fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HashAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

/// Our part in the DTLS handshake (RFC 8842 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DtlsRole {
    /// We wait for the `ClientHello` (`a=setup:passive` in our description).
    Server,
    /// We send it, once ICE has nominated a pair (`a=setup:active` in our description).
    Client,
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MediaKind {
    Audio,
    Video,
}

/// A payload format that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "most names say it")]
pub enum Codec {
    Opus,
    Pcmu,
    Pcma,
    G722,
    Vp8,
    Vp9,
    H264,
    H265,
    Av1,
    /// Opus, packed with what the packets before it carried (RFC 2198).
    Red,
}

impl Codec {
    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::Pcmu | Self::Pcma | Self::G722 | Self::Red => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1 => MediaKind::Video,
        }
    }

    /// Ticks of the RTP timestamp in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            // RFC 3551 §4.5.2: G722 keeps 8000 for historical reasons.
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1 => 90_000,
        }
    }
}

/// A track that a client sends to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishParameters {
    /// [`PublicationId::number`].
    pub number: u32,
    /// Of the media section, to bind an SSRC that no `a=ssrc` announced (RFC 8843 §9.2).
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// What may come, by payload type; at most [`crate::limits::CODECS_MAX`].
    pub codecs: Vec<PublishedCodec>,
    /// The ids of the header extensions in this media section.
    pub extensions: Vec<ExtensionMapping>,
    /// One without a rid, or one per rid; at most [`crate::limits::LAYERS_MAX`].
    pub layers: Vec<LayerParameters>,
}

/// One payload type of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedCodec {
    /// As the publisher sends it.
    pub payload_type: u8,
    /// What it means.
    pub codec: Codec,
    /// The payload type of its retransmissions (RFC 4588), if negotiated.
    pub rtx_payload_type: Option<u8>,
    /// Whether generic NACK was negotiated (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Whether PLI was negotiated (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Whether FIR was negotiated (RFC 5104 §4.3.1).
    pub fir: bool,
    /// Whether transport-wide feedback was negotiated.
    pub transport_cc: bool,
}

/// One encoding of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerParameters {
    /// Its rid, in simulcast.
    pub rid: Option<Rid>,
    /// From `a=ssrc`, where given; else bound by mid and rid.
    pub ssrc: Option<u32>,
    /// From `a=ssrc-group:FID`, where given; else bound by repaired rid.
    pub rtx_ssrc: Option<u32>,
}

/// A header extension and its id on one session's wire (RFC 8285).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionMapping {
    /// 1 to 14 in the one-byte form, 1 to 255 in the two-byte form.
    pub id: u8,
    /// What it carries.
    pub extension: Extension,
}

/// A header extension that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Extension {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 8843).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    RtpStreamId,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRtpStreamId,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportWideSequenceNumber,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsoluteSendTime,
    /// `urn:ietf:params:rtp-hdrext:toffset` (RFC 5450).
    TransmissionOffset,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel,
    /// `urn:3gpp:video-orientation`.
    VideoOrientation,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    PlayoutDelay,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-content-type`.
    VideoContentType,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-timing`.
    VideoTiming,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/color-space`.
    ColorSpace,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    DependencyDescriptor,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`.
    VideoLayersAllocation,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`.
    AbsoluteCaptureTime,
}

impl Extension {
    /// Whether the extension says something of the media (and so goes from publisher to
    /// subscriber), not of the hop that it came over.
    pub fn is_end_to_end(self) -> bool {
        match self {
            Self::Mid
            | Self::RtpStreamId
            | Self::RepairedRtpStreamId
            | Self::TransportWideSequenceNumber
            | Self::AbsoluteSendTime
            | Self::TransmissionOffset
            // The layers of a simulcast publisher mean nothing to one who gets one of them.
            | Self::VideoLayersAllocation => false,
            Self::AudioLevel
            | Self::VideoOrientation
            | Self::PlayoutDelay
            | Self::VideoContentType
            | Self::VideoTiming
            | Self::ColorSpace
            | Self::DependencyDescriptor
            | Self::AbsoluteCaptureTime => true,
        }
    }
}

/// A track that a client receives from us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeParameters {
    /// [`crate::id::SubscriptionId::number`].
    pub number: u32,
    /// Of the media section.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Where the media comes from; may live on another shard.
    pub source: PublicationId,
    /// What we send with.
    pub ssrc: u32,
    /// What we send retransmissions with (RFC 4588), if negotiated.
    pub rtx_ssrc: Option<u32>,
    /// How the publisher's payload types map to this subscriber's. One that is not listed is not
    /// forwarded.
    pub codecs: Vec<CodecMapping>,
    /// The ids of the header extensions in this media section.
    pub extensions: Vec<ExtensionMapping>,
    /// Which layer.
    pub selection: LayerSelection,
    /// What the subscriber has use for.
    pub hints: Hints,
}

/// One payload type on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecMapping {
    /// As the publisher sends it.
    pub source_payload_type: u8,
    /// As the subscriber gets it.
    pub payload_type: u8,
    /// What it means to the subscriber. Where the publisher sends RED and this is Opus, the primary
    /// encoding alone leaves.
    pub codec: Codec,
    /// As the subscriber gets its retransmissions; without it they are sent plain.
    pub rtx_payload_type: Option<u8>,
}

/// `simulcast` of a track object: which layer a subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSelection {
    /// The rid that is wanted. None: the best there is.
    pub preferred_rid: Option<Rid>,
    /// What to do when bandwidth is short.
    pub priority_ordering: Ordering,
    /// What to do when the layer is not being sent.
    pub rid_not_available: Ordering,
}

/// `priority` and `maxHeight` of a track object, which the original does not have: what a subscriber
/// has use for, whatever publishers send and paths carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// When bandwidth is short, video of a higher priority gets better before others of its session.
    pub priority: u8,
    /// Pixels: no picture that is known to be higher, as long as there is a lower one.
    pub max_height: Option<u16>,
}

/// A documented policy of the `simulcast` object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ordering {
    /// Stay with the preferred rid.
    #[default]
    None,
    /// Rids from a to z, a being the best; take the next one.
    Asciibetical,
}

// ---------------------------------------------------------------------------------------------
// Reports and events

/// How things stand with one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Which.
    pub session: SessionId,
    /// Of its transport.
    pub state: TransportState,
    /// In ascending order of their numbers.
    pub publications: Vec<PublicationReport>,
    /// What the last transaction stored.
    pub model: Vec<u8>,
}

/// How far a session's transport has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TransportState {
    /// No pair nominated or DTLS not finished yet.
    Connecting,
    /// Media can flow.
    Connected,
    /// It was connected; nothing has been heard of the client for a while (RFC 7675). It can come
    /// back by a check or by an ICE restart.
    Disconnected,
    /// DTLS failed (say, a wrong certificate); the session is of no use any more.
    Failed,
}

/// What the data plane says of its own accord.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A session's transport is in this state now.
    SessionChanged {
        /// Which.
        session: SessionId,
        /// Of its transport.
        state: TransportState,
    },
    /// A session has ended by itself (never connected, or lost for too long).
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
    /// A publication began, or ceased, to get packets.
    PublicationChanged {
        /// Which.
        publication: PublicationId,
        /// Whether a packet came lately.
        receiving: bool,
    },
}

/// Why a session ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// It did not connect in time.
    NeverConnected,
    /// It was lost and did not come back in time.
    ConnectionLost,
    /// The client ended DTLS (`close_notify`).
    ClosedByClient,
    /// A panic while it was worked on: our own mistake.
    InternalError,
}

/// What comes out of a shard's ring to the control plane: one record holds one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The answer to a request.
    Response(Response),
    /// Of its own accord.
    Event(Event),
}
