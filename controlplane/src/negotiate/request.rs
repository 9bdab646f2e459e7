//! What the API hands to a negotiation, in plain Rust: the JSON bodies without their syntax.
//!
//! Words of a fixed vocabulary (`location`, `kind`, the orderings) and numbers come as they were sent
//! and are checked here, so that an error can name the field.

use std::net::SocketAddr;
use std::num::NonZeroU8;

use shared::id::SessionId;
use shared::protocol::{Fingerprint, Hints};

use super::published::Publishers;
use super::random::Randomness;

/// `sessionDescription` of a request body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDescription {
    /// `type`: `offer` or `answer`, as it was sent.
    pub kind: String,
    /// `sdp`.
    pub sdp: String,
}

/// `POST sessions/new`.
#[derive(Clone, Debug)]
pub struct CreateSession {
    /// The id that the caller has chosen; it names the shard.
    pub session: SessionId,
    /// An offer to be connected by at once, if the body had one.
    pub description: Option<SessionDescription>,
    /// How many audio tracks are forwarded to the client at most, the loudest; none for all.
    pub loudest_audio: Option<NonZeroU8>,
}

/// `POST tracks/new`.
#[derive(Clone, Debug, Default)]
pub struct AddTracks {
    /// `sessionDescription`.
    pub description: Option<SessionDescription>,
    /// `tracks`, in their order.
    pub tracks: Vec<TrackRequest>,
    /// `autoDiscover`.
    pub discovery: Discovery,
}

/// `autoDiscover` of `POST tracks/new`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    /// Only the tracks that are listed.
    #[default]
    Off,
    /// Every sending media section that has no track yet becomes one, with a random name.
    On,
}

/// One entry of `tracks`. Absent fields are `None`; unknown ones were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackRequest {
    /// `location`: `local` or `remote`.
    pub location: Option<String>,
    /// `mid`; `#NAME` means the transceiver that carries the local track NAME.
    pub mid: Option<String>,
    /// `sessionId` of the publisher.
    pub session_id: Option<String>,
    /// `trackName`.
    pub track_name: Option<String>,
    /// `kind`: `audio` or `video`.
    pub kind: Option<String>,
    /// `bidirectionalMediaStream`; false where absent.
    pub bidirectional_media_stream: bool,
    /// `simulcast`.
    pub simulcast: Option<SimulcastRequest>,
    /// `priority`.
    pub priority: Option<i64>,
    /// `maxHeight`.
    pub max_height: Option<i64>,
}

/// `priority` and `maxHeight` of a track that is pulled, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintsRequest {
    /// `priority`.
    pub priority: Option<u8>,
    /// `maxHeight`, in pixels.
    pub max_height: Option<u16>,
}

impl HintsRequest {
    /// What holds from now on: what was asked for, and of `present` what was not.
    pub(super) fn over(self, present: Hints) -> Hints {
        Hints {
            priority: self.priority.unwrap_or(present.priority),
            max_height: self.max_height.or(present.max_height),
        }
    }
}

/// `simulcast` of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulcastRequest {
    /// `preferredRid`; empty means none.
    pub preferred_rid: Option<String>,
    /// `priorityOrdering`: `none` or `asciibetical`.
    pub priority_ordering: Option<String>,
    /// `ridNotAvailable`: `none` or `asciibetical`.
    pub rid_not_available: Option<String>,
}

/// `PUT tracks/close`.
#[derive(Clone, Debug, Default)]
pub struct CloseTracks {
    /// The `mid` of every entry of `tracks`, in their order.
    pub mids: Vec<String>,
    /// `force`.
    pub mode: CloseMode,
    /// `sessionDescription`; needed if the close is negotiated.
    pub description: Option<SessionDescription>,
}

/// `force` of `PUT tracks/close`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloseMode {
    /// `force: false`: the client's offer comes along and is answered.
    #[default]
    Negotiated,
    /// `force: true`: media stops without any SDP.
    Forced,
}

/// What a negotiation needs besides the model and the request.
#[expect(
    missing_debug_implementations,
    reason = "a random source must not be printed"
)]
pub struct Context<'a> {
    /// Our side of the transport, of the shard that the session lives on.
    pub transport: &'a LocalTransport,
    /// Looks published tracks up. The session's own tracks are looked up here too.
    pub publishers: &'a dyn Publishers,
    /// A CSPRNG.
    pub randomness: &'a mut dyn Randomness,
}

/// What we say of our transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTransport {
    /// Public addresses of the shard's port: one host candidate each, the best first.
    pub addresses: Vec<SocketAddr>,
    /// Of the data plane's DTLS certificate.
    pub fingerprint: Fingerprint,
}
