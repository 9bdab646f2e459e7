//! One media section of a session, as it was last negotiated.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use shared::id::PublicationId;
use shared::limits::LAYERS_MAX;
use shared::protocol::{Hints, LayerParameters, LayerSelection, MediaKind, Mid, Rid};

use crate::sdp::{Direction, Half, RejectedSection};

/// A media section: the `m=` line with the same index in every description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Line {
    /// Port 0. The next description of either side may put another section in its place.
    Rejected(RejectedSection),
    /// Audio or video.
    Media(Box<MediaLine>),
}

/// A media section for audio or video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MediaLine {
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    /// In the order of preference, RTX left out. What each means stands in the session's numbers.
    pub(super) payload_types: Vec<u8>,
    /// Ids of header extensions; what each means stands in the session's numbers.
    pub(super) extensions: Vec<u8>,
    /// What our last description says.
    pub(super) direction: Direction,
    /// Whether the client's transceiver takes media, as far as its descriptions have told.
    pub(super) client_receives: bool,
    /// Offered as `sendrecv`, so that a pull can be put into it without SDP.
    pub(super) bidirectional: bool,
    /// What comes from the client.
    pub(super) receive: Receive,
    /// What we send with, if we send or may send.
    pub(super) source: Option<SendSource>,
    /// What we send.
    pub(super) subscription: Option<Subscription>,
    /// What the answer to our offer will complete.
    pub(super) pending: Option<Pending>,
}

/// What comes from the client in a media section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Receive {
    /// Nothing.
    Nothing,
    /// Media that no call has given a name yet.
    Unclaimed(ArrayVec<LayerParameters, LAYERS_MAX>),
    /// A published track.
    Track(Publication),
    /// A track that was closed, though the client may still want to send.
    Closed,
}

/// A track that the client publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publication {
    pub(super) number: u32,
    pub(super) track_name: String,
    /// Of its layers; empty without simulcast.
    pub(super) rids: Vec<Rid>,
}

/// A track that the client pulls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) number: u32,
    pub(super) source: PublicationId,
    pub(super) track_name: String,
    pub(super) wish: Wish,
}

/// What the client wants of a track that it pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) selection: LayerSelection,
    pub(super) hints: Hints,
}

/// SSRCs of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SendSource {
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: Option<u32>,
}

/// A track that our offer holds and that begins when the answer comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pending {
    /// [`MediaLine::receive`] becomes a track of this name.
    Publish { track_name: String },
    /// [`MediaLine::subscription`] begins.
    Subscribe { candidates: Vec<Candidates> },
}

/// Which payload types of ours could carry one of the publisher's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidates {
    /// The publisher's.
    pub(super) source_payload_type: u8,
    /// Ours, the best first.
    pub(super) payload_types: Vec<u8>,
}

impl Line {
    /// Audio or video, if the line is in use.
    pub(super) fn media(&self) -> Option<&MediaLine> {
        match self {
            Self::Media(line) => Some(line),
            Self::Rejected(_) => None,
        }
    }

    /// See [`Self::media`].
    pub(super) fn media_mut(&mut self) -> Option<&mut MediaLine> {
        match self {
            Self::Media(line) => Some(line),
            Self::Rejected(_) => None,
        }
    }

    pub(super) fn mid(&self) -> Mid {
        match self {
            Self::Media(line) => line.mid,
            Self::Rejected(rejected) => rejected.mid,
        }
    }
}

impl MediaLine {
    /// A line that carries nothing yet.
    pub(super) fn new(mid: Mid, kind: MediaKind) -> Self {
        Self {
            mid,
            kind,
            payload_types: Vec::new(),
            extensions: Vec::new(),
            direction: Direction::Inactive,
            client_receives: false,
            bidirectional: false,
            receive: Receive::Nothing,
            source: None,
            subscription: None,
            pending: None,
        }
    }

    /// The direction of our next offer.
    pub(super) fn offered_direction(&self) -> Direction {
        let awaits_track = matches!(self.pending, Some(Pending::Publish { .. }));
        Direction::new(
            Half::when(self.subscription.is_some() || self.bidirectional),
            Half::when(self.receives() || awaits_track),
        )
    }

    /// The direction that we answer with to a client that says `client`.
    pub(super) fn answered_direction(&self, client: Direction) -> Direction {
        let sends = self.subscription.is_some() || self.bidirectional;
        Direction::new(
            Half::when(client.receives() && sends),
            Half::when(client.sends() && self.receives()),
        )
    }

    fn receives(&self) -> bool {
        matches!(self.receive, Receive::Unclaimed(_) | Receive::Track(_))
    }

    /// Whether a new pull may be put here: the line was negotiated `inactive` (so that the client
    /// fires a new `track` event when it is `sendonly` again: JSEP §5.10, W3C webrtc-pc §4.4.1.5)
    /// and the client's transceiver would take it.
    pub(super) fn is_vacant_for_pull(&self, kind: MediaKind) -> bool {
        self.kind == kind
            && self.direction == Direction::Inactive
            && self.client_receives
            && self.subscription.is_none()
            && self.pending.is_none()
            && !self.bidirectional
            && matches!(self.receive, Receive::Nothing)
    }

    /// The published track, if there is one.
    pub(super) fn publication(&self) -> Option<&Publication> {
        match &self.receive {
            Receive::Track(publication) => Some(publication),
            Receive::Nothing | Receive::Unclaimed(_) | Receive::Closed => None,
        }
    }

    /// The rids that we take.
    pub(super) fn rids(&self) -> Vec<Rid> {
        match &self.receive {
            Receive::Track(publication) => publication.rids.clone(),
            Receive::Unclaimed(layers) => layers.iter().filter_map(|layer| layer.rid).collect(),
            Receive::Nothing | Receive::Closed => Vec::new(),
        }
    }
}
