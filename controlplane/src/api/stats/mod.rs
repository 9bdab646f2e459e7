//! `GET` of a session's statistics, once or as a stream of events.

mod answer;
mod events;
mod watchers;

use axum::Json;
use axum::extract::State;

use answer::StatsResponse;
pub(crate) use events::watch;
pub use watchers::Watchers;

use super::error::ApiError;
use super::{Service, SessionAccess, SharedService};
use crate::registry::Session;

/// `GET /apps/{app_id}/sessions/{session_id}/stats`.
pub(crate) async fn read(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
) -> Result<Json<StatsResponse>, ApiError> {
    service.measure(&session).await.map(Json)
}

impl Service {
    /// Asks the data plane how the media of a session flows.
    async fn measure(&self, session: &Session) -> Result<StatsResponse, ApiError> {
        let measured = self.engine.measure(session.id()).await;
        let statistics = measured.map_err(|error| self.failed(session.id(), error))?;
        let tracks = session.state().model.tracks();
        Ok(StatsResponse::new(&statistics, &tracks))
    }
}
