//! What a subscriber's negotiation must know of other sessions' tracks.

use shared::id::{PublicationId, SessionId};
use shared::protocol::{Extension, MediaKind, PublishedCodec, Rid};

use crate::sdp::Format;

/// Looks published tracks up, by the pair that names them.
///
/// The caller finds out beforehand (and waits for first packets as long as it cares to); this only
/// tells what came of it.
pub trait Publishers {
    /// The track `track_name` of `session`.
    fn find(&self, session: SessionId, track_name: &str) -> Lookup;
}

/// What came of looking a track up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It exists and gets packets.
    Found(Box<PublishedTrack>),
    /// It does not exist, or its session is gone: `not_found_track_error`.
    NotFound,
    /// It exists but no packet has come: `empty_track_error`.
    Empty,
}

/// One published track. Made by [`super::SessionModel::published_track`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTrack {
    /// Which.
    pub id: PublicationId,
    /// Its name within its session.
    pub track_name: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// In the publisher's order of preference: the first is what it sends.
    pub codecs: Vec<PublishedFormat>,
    /// The header extensions that were negotiated with the publisher.
    pub extensions: Vec<Extension>,
    /// Its simulcast layers; empty if it is not simulcast.
    pub rids: Vec<Rid>,
}

/// One payload type of a published track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFormat {
    /// Its number and feedback.
    pub codec: PublishedCodec,
    /// What it means, with all parameters.
    pub format: Format,
}
