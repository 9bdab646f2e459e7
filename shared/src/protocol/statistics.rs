//! How well the media of one session flows, and why its subscriber gets no more.
//!
//! Names and meanings are those of WebRTC's statistics where these have one. A count that is full
//! stays as it is.

use serde::{Deserialize, Serialize};

use super::{Rid, TransportState};
use crate::id::SessionId;

/// The figures of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatistics {
    /// Which.
    pub session: SessionId,
    /// Of its transport.
    pub state: TransportState,
    /// What the path to the client carries, once that is estimated.
    pub estimate: Option<EstimateReport>,
    /// In ascending order of their numbers.
    pub publications: Vec<PublicationReport>,
    /// In ascending order of their numbers.
    pub subscriptions: Vec<SubscriptionReport>,
}

/// What the path to a client carries, and what that rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EstimateReport {
    /// Bits a second.
    pub bit_rate: u64,
    /// What the delay allows, bits a second.
    pub delay_based: u64,
    /// What the loss allows, bits a second.
    pub loss_based: u64,
    /// To the client and back, microseconds.
    pub round_trip_us: u32,
    /// How long packets wait on the way, microseconds.
    pub queue_delay_us: u32,
    /// Bytes of which nothing was heard yet.
    pub bytes_in_flight: u64,
    /// Much less is sent than the path is thought to carry, so that it may carry more.
    pub application_limited: bool,
}

/// How things stand with one publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationReport {
    /// [`super::PublishParameters::number`].
    pub number: u32,
    /// Whether a packet came lately.
    pub receiving: bool,
    /// How it sounds; none of video, and of a publisher that does not tell (RFC 6464).
    pub voice: Option<VoiceReport>,
    /// In the order of [`super::PublishParameters::layers`].
    pub layers: Vec<LayerReport>,
}

/// How an audio track sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceReport {
    /// Over the last half a second or so, in dB below the loudest that can be: 127 is silence
    /// (RFC 6464 §3).
    pub level: u8,
    /// Whether it is loud often enough to be speech.
    pub speaking: bool,
}

/// How things stand with one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Of the encoding, in simulcast.
    pub rid: Option<Rid>,
    /// Whether a packet came lately.
    pub receiving: bool,
    /// Bits a second lately, RTP headers included.
    pub bit_rate: u64,
    /// Since the publication began, retransmissions included.
    pub packets: u64,
    /// RTP bytes, headers included.
    pub bytes: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Of arrival (RFC 3550 §6.4.1), microseconds.
    pub jitter_us: u32,
    /// NACKs sent to the publisher.
    pub nacks: u32,
    /// Key frames that came.
    pub keyframes: u32,
    /// Key frames asked for, repetitions included.
    pub keyframe_requests: u32,
}

/// How things stand with one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionReport {
    /// [`super::SubscribeParameters::number`].
    pub number: u32,
    /// The publication exists and a packet was forwarded lately.
    pub sending: bool,
    /// What the subscriber would get if nothing stood in the way; none while the publication is
    /// not there.
    pub wanted: Option<LayerPlace>,
    /// What is forwarded; none before the first packet, and while the publication is not there.
    pub current: Option<LayerPlace>,
    /// Why it is no more.
    pub reason: LayerReason,
    /// Of audio whose publisher tells how loud it is: its place among the audio that the session
    /// receives, 1 for what is heard best.
    pub rank: Option<u16>,
    /// Nothing leaves until a key frame has come.
    pub awaits_keyframe: bool,
    /// Bits a second over the last second or so, RTP headers included.
    pub bit_rate: u64,
    /// Since the subscription began, retransmissions left out.
    pub packets: u64,
    /// RTP bytes, headers included.
    pub bytes: u64,
    /// Packets that the receiver says never came (RFC 3550 §6.4.1); below zero if more came than
    /// were sent.
    pub packets_lost: i32,
    /// The last fraction that the receiver reported, in 1/256 (RFC 3550 §6.4.1).
    pub fraction_lost: u8,
    /// Round trip, microseconds; 0 while not known.
    pub round_trip_us: u32,
    /// At the receiver (RFC 3550 §6.4.1), microseconds.
    pub jitter_us: u32,
    /// NACKs of the receiver, each for one packet or more.
    pub nacks: u32,
    /// PLIs of the receiver.
    pub plis: u32,
    /// FIRs of the receiver.
    pub firs: u32,
    /// Packets sent again.
    pub retransmitted: u32,
    /// Packets asked for again and not sent: gone, or asked for too often or too soon.
    pub retransmissions_refused: u32,
    /// Packets of the forwarded layer that the pacer dropped.
    pub packets_dropped: u32,
}

/// One layer among those of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPlace {
    /// Of the encoding, in simulcast.
    pub rid: Option<Rid>,
    /// The spatial layer within the encoding, where that has several.
    pub spatial: Option<u8>,
    /// The temporal layer within the encoding, where that has several.
    pub temporal: Option<u8>,
}

/// Why a subscriber gets no better layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LayerReason {
    /// There is no better one.
    Best,
    /// A better picture does not fit the estimate.
    Bandwidth,
    /// The publisher does not send it.
    PublisherNotSending,
    /// The subscriber asked for no more.
    Asked,
    /// Not even the lowest picture fits the estimate: nothing is sent until it does.
    Paused,
    /// It is audio, and not among the loudest that the subscriber asked for.
    NotLoudest,
}
