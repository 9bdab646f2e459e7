//! `tracks/new`, `tracks/close` and `tracks/update`.

use axum::Json;
use axum::extract::State;

use super::body::Body;
use super::error::ApiError;
use super::transact::{connected, transact};
use super::types::{CloseTracksRequest, TracksRequest, TracksResponse, UpdateTracksRequest};
use super::{SessionAccess, SharedService};
use crate::negotiate::{self, AddTracks, CloseMode, CloseTracks, Discovery, TrackRequest};

/// `POST /apps/{app_id}/sessions/{session_id}/tracks/new`.
pub(crate) async fn create(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    Body(body): Body<TracksRequest>,
) -> Result<Json<TracksResponse>, ApiError> {
    let discovery = match body.auto_discover {
        Some(true) => Discovery::On,
        Some(false) | None => Discovery::Off,
    };
    let request = AddTracks {
        description: body.session_description.map(Into::into),
        tracks: body
            .tracks
            .unwrap_or_default()
            .into_iter()
            .map(Into::into)
            .collect(),
        discovery,
    };
    connected(&session, service.waits.connect).await?;
    service
        .publishers_heard(session.app(), &request.tracks)
        .await;
    let plan = transact(&service, &session, move |model, context| {
        negotiate::add_tracks(model, &request, context)
    })
    .await?;
    Ok(Json(plan.into()))
}

/// `PUT /apps/{app_id}/sessions/{session_id}/tracks/close`.
pub(crate) async fn close(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    Body(body): Body<CloseTracksRequest>,
) -> Result<Json<TracksResponse>, ApiError> {
    let request = CloseTracks {
        mids: body.tracks.into_iter().map(|track| track.mid).collect(),
        mode: if body.force {
            CloseMode::Forced
        } else {
            CloseMode::Negotiated
        },
        description: body.session_description.map(Into::into),
    };
    let plan = transact(&service, &session, move |model, context| {
        negotiate::close_tracks(model, &request, context)
    })
    .await?;
    Ok(Json(plan.into()))
}

/// `PUT /apps/{app_id}/sessions/{session_id}/tracks/update`.
pub(crate) async fn update(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    Body(body): Body<UpdateTracksRequest>,
) -> Result<Json<TracksResponse>, ApiError> {
    let tracks: Vec<TrackRequest> = body.tracks.into_iter().map(Into::into).collect();
    service.publishers_heard(session.app(), &tracks).await;
    let plan = transact(&service, &session, move |model, context| {
        negotiate::update_tracks(model, &tracks, context.publishers)
    })
    .await?;
    Ok(Json(plan.into()))
}
