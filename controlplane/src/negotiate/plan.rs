//! What a negotiation comes to: the response, the commands, and the next model.

use shared::id::SessionId;
use shared::protocol::{Change, MediaKind};

use super::error::ItemError;
use super::model::SessionModel;
use super::request::{HintsRequest, SimulcastRequest};

/// What to do. Nothing of it has happened yet: execute `changes` with the encoded `model`, and only
/// on success commit the model and send the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For `Command::Execute`, in their order. May be empty (nothing to ask of the data plane but
    /// to store the model).
    pub changes: Vec<Change>,
    /// The session after this call.
    pub model: SessionModel,
    /// `tracks` of the response, in the order of the request. Empty where the call has none.
    pub tracks: Vec<TrackResult>,
    /// `sessionDescription` of the response.
    pub description: Option<LocalSdp>,
    /// `requiresImmediateRenegotiation`.
    pub renegotiation: Renegotiation,
}

/// `requiresImmediateRenegotiation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renegotiation {
    /// Nothing more is to be done.
    #[default]
    NotNeeded,
    /// The client must answer the offer.
    Needed,
}

/// A session description of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSdp {
    /// `offer` or `answer`.
    pub kind: crate::sdp::DescriptionKind,
    /// The text; every line ends in CRLF.
    pub sdp: String,
}

/// One entry of `tracks` in a response. `None` fields are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackResult {
    /// `mid`; empty for a pull that failed.
    pub mid: Option<String>,
    /// `sessionId`, of pulls.
    pub session_id: Option<String>,
    /// `trackName`.
    pub track_name: Option<String>,
    /// `kind`, of discovered tracks.
    pub kind: Option<MediaKind>,
    /// `simulcast`, echoed.
    pub simulcast: Option<SimulcastRequest>,
    /// `priority` and `maxHeight`, echoed.
    pub hints: HintsRequest,
    /// `errorCode` and `errorDescription`.
    pub error: Option<ItemError>,
}

/// One track of a session, for `GET session`. See [`SessionModel::tracks`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackView {
    /// `mid`.
    pub mid: String,
    /// `trackName`.
    pub track_name: String,
    /// `kind`.
    pub kind: MediaKind,
    /// Where it comes from.
    pub source: TrackSource,
    /// Whether the data plane knows of it yet.
    pub stage: TrackStage,
}

/// `location` of a track, and what the data plane calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackSource {
    /// `local`: the client publishes it.
    Local {
        /// [`shared::id::PublicationId::number`].
        publication: u32,
    },
    /// `remote`: the client pulls it.
    Remote {
        /// `sessionId`: the publisher's session.
        session: SessionId,
        /// [`shared::id::SubscriptionId::number`].
        subscription: u32,
        /// The publisher's publication number.
        publication: u32,
    },
}

/// How far a track has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackStage {
    /// Offered by us, not answered yet: `inactive`.
    Offered,
    /// Negotiated: `active` if the data plane says so.
    Negotiated,
}
