//! `audio`: how many of the audio tracks that a session pulls are forwarded. The original has none.

use axum::Json;
use axum::extract::State;

use super::body::Body;
use super::error::ApiError;
use super::transact::transact;
use super::types::AudioRequest;
use super::{SessionAccess, SharedService};
use crate::negotiate;

/// `PUT /apps/{app_id}/sessions/{session_id}/audio`.
pub(crate) async fn limit(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    Body(body): Body<AudioRequest>,
) -> Result<Json<serde_json::Value>, ApiError> {
    transact(&service, &session, move |model, _| {
        negotiate::limit_audio(model, body.loudest_audio)
    })
    .await?;
    Ok(Json(serde_json::json!({})))
}
