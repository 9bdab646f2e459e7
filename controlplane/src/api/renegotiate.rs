//! `renegotiate`: the answer to our offer, or an offer of the client that restarts ICE.

use axum::Json;
use axum::extract::State;
use shared::protocol::TransportState;

use super::body::Body;
use super::error::ApiError;
use super::transact::transact;
use super::types::{RenegotiateRequest, RenegotiateResponse};
use super::{SessionAccess, SharedService};
use crate::negotiate;

/// `PUT /apps/{app_id}/sessions/{session_id}/renegotiate`.
///
/// It does not wait for the transport: the first answer is what that connects by, and an ICE
/// restart is how a lost one comes back.
pub(crate) async fn renegotiate(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    Body(body): Body<RenegotiateRequest>,
) -> Result<Json<RenegotiateResponse>, ApiError> {
    if session.state().transport == TransportState::Failed {
        return Err(ApiError::gone());
    }
    let description = body.session_description.into();
    let plan = transact(&service, &session, move |model, context| {
        negotiate::renegotiate(model, &description, context)
    })
    .await?;
    Ok(Json(RenegotiateResponse {
        session_description: plan.description.map(Into::into),
    }))
}
