//! What a client sends: audio like Opus, video like that of any codec, in one or more encodings,
//! with sender reports, repairs and key frames on request.
//!
//! * [`TrackSpec`]: what a track is like; [`PublishedTrack`]: which frames it sends, and when;
//! * [`PublishedLayer`]: the numbers of one encoding, and what the server asks of it;
//! * `packets`: how all of that is written; [`TransportSequence`]: numbers over everything.

mod layer;
mod packets;
mod spec;
mod track;
mod transport;

use shared::protocol::MediaKind;

pub use self::layer::{KEYFRAME_REQUEST_INTERVAL, PublishedLayer};
pub use self::spec::{Announcement, KeyframeRequests, Loudness, Repair, Scene, TrackSpec};
pub use self::track::{Flow, PublishedTrack};
pub use self::transport::TransportSequence;
use crate::peer::Outgoing;
use crate::peer::crypto::ClientSrtp;

/// What the packets of a client leave through.
#[derive(Debug)]
pub struct Uplink<'a> {
    /// Seals them.
    pub srtp: &'a mut ClientSrtp,
    /// Counts them.
    pub transport: &'a mut TransportSequence,
    /// Where they go.
    pub out: &'a mut Vec<Outgoing>,
}

/// The index nearest to `reference` that ends in `number`.
pub fn nearest(reference: u64, number: u16) -> u64 {
    let ahead = i64::from((number.wrapping_sub(reference as u16)) as i16);
    reference
        .checked_add_signed(ahead)
        .unwrap_or_else(|| u64::from(number))
}

/// The mid of a publication.
pub fn mid_of(number: u32) -> String {
    format!("m{number}")
}

/// As publishers send it.
pub fn payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 111,
        MediaKind::Video => 96,
    }
}

/// As publishers send it.
pub fn rtx_payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 112,
        MediaKind::Video => 97,
    }
}

/// Header extension ids of publishers.
pub mod ids {
    #![expect(missing_docs, reason = "the names say it")]
    pub const MID: u8 = 1;
    pub const RID: u8 = 2;
    pub const REPAIRED_RID: u8 = 3;
    pub const TRANSPORT: u8 = 4;
    pub const AUDIO_LEVEL: u8 = 5;
    pub const ORIENTATION: u8 = 6;
    pub const CONTENT_TYPE: u8 = 7;
    pub const DEPENDENCIES: u8 = 8;
}
