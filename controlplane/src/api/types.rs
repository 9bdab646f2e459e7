//! The JSON of the API. Reading is lenient: unknown fields and the content type are ignored.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};
use shared::protocol::MediaKind;

use crate::negotiate::{self, LocalSdp, Plan, Renegotiation, SimulcastRequest, TrackResult};

/// `SessionDescription`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription {
    /// `offer` or `answer`; checked by the negotiation.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub sdp: String,
}

/// `TrackObject.simulcast`. The words are checked by the negotiation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct Simulcast {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_rid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_ordering: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid_not_available: Option<String>,
}

/// `TrackObject` of a request. The words are checked by the negotiation, and so are the numbers, which
/// the original does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct TrackRequest {
    pub location: Option<String>,
    pub mid: Option<String>,
    pub session_id: Option<String>,
    pub track_name: Option<String>,
    pub bidirectional_media_stream: Option<bool>,
    pub kind: Option<String>,
    pub simulcast: Option<Simulcast>,
    pub priority: Option<i64>,
    pub max_height: Option<i64>,
}

/// `TrackObject` of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct TrackResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulcast: Option<Simulcast>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

/// `SessionResourceStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub enum Status {
    Active,
    Inactive,
}

/// `NewSessionRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSessionRequest {
    /// Required once there is a body at all.
    pub session_description: SessionDescription,
}

/// `NewSessionResponse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct NewSessionResponse {
    pub session_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_description: Option<SessionDescription>,
}

/// `TracksRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct TracksRequest {
    pub session_description: Option<SessionDescription>,
    pub tracks: Option<Vec<TrackRequest>>,
    pub auto_discover: Option<bool>,
}

/// `TracksResponse`, `CloseTracksResponse` and `UpdateTracksResponse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct TracksResponse {
    pub requires_immediate_renegotiation: bool,
    pub tracks: Vec<TrackResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_description: Option<SessionDescription>,
}

/// `RenegotiateRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct RenegotiateRequest {
    pub session_description: SessionDescription,
}

/// `RenegotiateResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenegotiateResponse {
    /// Only after an ICE restart: the original has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_description: Option<SessionDescription>,
}

/// `CloseTracksRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct CloseTracksRequest {
    pub tracks: Vec<CloseTrackRequest>,
    pub force: bool,
    pub session_description: Option<SessionDescription>,
}

/// `CloseTrackObject`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct CloseTrackRequest {
    pub mid: String,
}

/// `UpdateTracksRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct UpdateTracksRequest {
    pub tracks: Vec<TrackRequest>,
}

/// The body of `PUT audio`, which the original has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioRequest {
    /// How many audio tracks are forwarded at most, the loudest; `null` for all.
    #[serde(deserialize_with = "Option::deserialize")]
    pub loudest_audio: Option<NonZeroU8>,
}

/// `GetSessionStateResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the reference")]
pub struct SessionStateResponse {
    pub tracks: Vec<TrackResponse>,
    pub data_channels: [(); 0],
}

impl From<SessionDescription> for negotiate::SessionDescription {
    fn from(description: SessionDescription) -> Self {
        Self {
            kind: description.kind,
            sdp: description.sdp,
        }
    }
}

impl From<LocalSdp> for SessionDescription {
    fn from(local: LocalSdp) -> Self {
        Self {
            kind: local.kind.as_str().to_owned(),
            sdp: local.sdp,
        }
    }
}

impl From<Simulcast> for SimulcastRequest {
    fn from(simulcast: Simulcast) -> Self {
        Self {
            preferred_rid: simulcast.preferred_rid,
            priority_ordering: simulcast.priority_ordering,
            rid_not_available: simulcast.rid_not_available,
        }
    }
}

impl From<SimulcastRequest> for Simulcast {
    fn from(simulcast: SimulcastRequest) -> Self {
        Self {
            preferred_rid: simulcast.preferred_rid,
            priority_ordering: simulcast.priority_ordering,
            rid_not_available: simulcast.rid_not_available,
        }
    }
}

impl From<TrackRequest> for negotiate::TrackRequest {
    fn from(track: TrackRequest) -> Self {
        Self {
            location: track.location,
            mid: track.mid,
            session_id: track.session_id,
            track_name: track.track_name,
            kind: track.kind,
            bidirectional_media_stream: track.bidirectional_media_stream.unwrap_or_default(),
            simulcast: track.simulcast.map(Into::into),
            priority: track.priority,
            max_height: track.max_height,
        }
    }
}

impl From<TrackResult> for TrackResponse {
    fn from(result: TrackResult) -> Self {
        let (error_code, error_description) = match result.error {
            Some(error) => (Some(error.code.as_str()), Some(error.description)),
            None => (None, None),
        };
        Self {
            location: None,
            mid: result.mid,
            session_id: result.session_id,
            track_name: result.track_name,
            kind: result.kind.map(|kind| match kind {
                MediaKind::Audio => "audio",
                MediaKind::Video => "video",
            }),
            simulcast: result.simulcast.map(Into::into),
            priority: result.hints.priority,
            max_height: result.hints.max_height,
            status: None,
            error_code,
            error_description,
        }
    }
}

impl From<Plan> for TracksResponse {
    fn from(plan: Plan) -> Self {
        Self {
            requires_immediate_renegotiation: plan.renegotiation == Renegotiation::Needed,
            tracks: plan.tracks.into_iter().map(Into::into).collect(),
            session_description: plan.description.map(Into::into),
        }
    }
}
