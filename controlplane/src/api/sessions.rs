//! `sessions/new`, `GET` and `DELETE` of a session.

use std::num::NonZeroU8;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use shared::id::SessionId;

use super::body::OptionalBody;
use super::error::{ApiError, ErrorKind};
use super::transact::{Csprng, local_transport};
use super::types::{
    NewSessionRequest, NewSessionResponse, SessionStateResponse, Status, TrackResponse,
};
use super::{AppAccess, Service, SessionAccess, SharedService};
use crate::negotiate::{
    self, Context, CreateSession, Plan, Randomness, TrackSource, TrackStage, TrackView,
};
use crate::registry::Registry;

/// `POST /apps/{app_id}/sessions/new`.
pub(crate) async fn create(
    State(service): State<SharedService>,
    AppAccess { app }: AppAccess,
    RawQuery(query): RawQuery,
    OptionalBody(body): OptionalBody<NewSessionRequest>,
) -> Result<(StatusCode, Json<NewSessionResponse>), ApiError> {
    if asks_for_third_party(query.as_deref().unwrap_or_default()) {
        return Err(ApiError::new(
            ErrorKind::NotSupported,
            "thirdparty=true is not supported yet: this server is an ICE-lite peer itself, and two \
             of these cannot connect",
        ));
    }
    let loudest_audio = loudest_audio(query.as_deref().unwrap_or_default())?;
    let request = move |session| CreateSession {
        session,
        description: body.map(|body| body.session_description.into()),
        loudest_audio,
    };
    let (id, plan) = tokio::spawn(async move { open(&service, &app, request).await })
        .await
        .map_err(|error| ApiError::internal(&error))??;
    let response = NewSessionResponse {
        session_id: id.to_string(),
        session_description: plan.description.map(Into::into),
    };
    Ok((StatusCode::CREATED, Json(response)))
}

/// `GET /apps/{app_id}/sessions/{session_id}`.
pub(crate) async fn read(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
) -> Json<SessionStateResponse> {
    let tracks = session
        .state()
        .model
        .tracks()
        .into_iter()
        .map(|track| describe(&service.registry, track))
        .collect();
    Json(SessionStateResponse {
        tracks,
        data_channels: [],
    })
}

/// `DELETE /apps/{app_id}/sessions/{session_id}`; the original has none.
pub(crate) async fn delete(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
) -> Result<Json<serde_json::Value>, ApiError> {
    let turn = session.turn().await;
    let result = service.end_session(session.id()).await;
    drop(turn);
    result.map(|()| Json(serde_json::json!({})))
}

async fn open(
    service: &Service,
    app: &str,
    request: impl FnOnce(SessionId) -> CreateSession,
) -> Result<(SessionId, Plan), ApiError> {
    let plane = service.plane()?;
    let shard = service
        .registry
        .place(plane.shards())
        .ok_or_else(|| ApiError::internal(&"the data plane has no shard"))?;
    let mut random = [0; 12];
    Csprng.fill(&mut random);
    let id = SessionId::new(NODE, shard, random);
    let request = request(id);
    let mut plan = {
        let transport = local_transport(&plane, id);
        let directory = service.registry.directory(app);
        let mut context = Context {
            transport: &transport,
            publishers: &directory,
            randomness: &mut Csprng,
        };
        negotiate::create_session(&request, &mut context)?
    };
    service.open_session(app, id, &mut plan).await?;
    Ok((id, plan))
}

fn describe(registry: &Registry, track: TrackView) -> TrackResponse {
    let negotiated = track.stage == TrackStage::Negotiated;
    let (location, session_id, available) = match track.source {
        TrackSource::Local { .. } => ("local", None, true),
        TrackSource::Remote {
            session,
            publication,
            ..
        } => {
            let available = registry.session(session).is_some_and(|publisher| {
                publisher
                    .state()
                    .model
                    .tracks()
                    .iter()
                    .any(|published| published.source == TrackSource::Local { publication })
            });
            ("remote", Some(session.to_string()), available)
        }
    };
    TrackResponse {
        location: Some(location),
        mid: Some(track.mid),
        session_id,
        track_name: Some(track.track_name),
        status: Some(if negotiated && available {
            Status::Active
        } else {
            Status::Inactive
        }),
        ..TrackResponse::default()
    }
}

/// Query parameters that are not known are ignored, whatever they look like.
fn asks_for_third_party(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "thirdparty=true" | "thirdparty=1"))
}

/// `loudestAudio=N`: the original has none.
fn loudest_audio(query: &str) -> Result<Option<NonZeroU8>, ApiError> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("loudestAudio="));
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let count = value
        .parse()
        .map_err(|_| ApiError::invalid("loudestAudio must be a whole number from 1 to 255"))?;
    Ok(Some(count))
}

/// There is one node so far.
const NODE: u16 = 0;
