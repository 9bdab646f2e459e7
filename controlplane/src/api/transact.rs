//! How a call changes a session: wait for what it needs, plan, have the data plane carry the plan
//! out, and only then keep the new model.

use std::sync::Arc;
use std::time::Duration;

use shared::id::SessionId;
use shared::protocol::{Command, CommandError, TransportState};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{ApiError, ErrorKind};
use super::{Service, SharedService};
use crate::engine::{EngineError, Plane};
use crate::negotiate::{
    Context, LocalTransport, NegotiationError, Plan, Randomness, SessionModel, TrackRequest,
    pulled_tracks,
};
use crate::registry::{Agreement, Ended, Session, StoredSession};

/// Plans a change of a session.
pub(super) trait Planner:
    FnOnce(&SessionModel, &mut Context<'_>) -> Result<Plan, NegotiationError> + Send + 'static
{
}

impl<F> Planner for F where
    F: FnOnce(&SessionModel, &mut Context<'_>) -> Result<Plan, NegotiationError> + Send + 'static
{
}

/// Changes a session in its turn, all or nothing. The plan that comes back has been carried out.
///
/// # Errors
/// Both planes are as they were; or the session is gone.
pub(super) async fn transact(
    service: &SharedService,
    session: &Arc<Session>,
    planner: impl Planner,
) -> Result<Plan, ApiError> {
    let (service, session) = (Arc::clone(service), Arc::clone(session));
    // A client that hangs up must not stop us between the data plane and the model.
    tokio::spawn(async move { service.transact_in_turn(&session, planner).await })
        .await
        .map_err(|error| ApiError::internal(&error))?
}

/// Waits until the session's transport is connected, if it has one at all: the first description
/// of the client is what it connects by.
///
/// # Errors
/// 425 if it has never connected, 410 if it was connected and dropped.
pub(super) async fn connected(session: &Session, wait: Duration) -> Result<(), ApiError> {
    if !session.state().model.has_transport() {
        return Ok(());
    }
    let mut watch = session.watch();
    let settled = watch.wait_for(|state| {
        state.ended
            || matches!(
                state.transport,
                TransportState::Connected | TransportState::Failed
            )
    });
    let state = match timeout(wait, settled).await {
        Ok(Ok(state)) => state.clone(),
        Ok(Err(_)) => return Err(ApiError::gone()),
        Err(_) => session.state(),
    };
    match state.transport {
        _ if state.ended => Err(ApiError::gone()),
        TransportState::Connected => Ok(()),
        TransportState::Connecting => Err(ApiError::not_ready()),
        TransportState::Disconnected | TransportState::Failed => Err(ApiError::gone()),
    }
}

impl Service {
    /// Waits, for some seconds at most, until packets have come for the tracks that a call pulls.
    /// Tracks that do not exist are not waited for. What came of it, the negotiation looks up.
    pub(super) async fn publishers_heard(&self, app: &str, tracks: &[TrackRequest]) {
        let deadline = Instant::now() + self.waits.first_packet;
        let directory = self.registry.directory(app);
        for (publisher, track_name) in pulled_tracks(tracks) {
            let Some(publisher) = directory.session(publisher) else {
                continue;
            };
            let mut watch = publisher.watch();
            let settled = watch.wait_for(|state| {
                state.ended
                    || state
                        .model
                        .published_track(track_name)
                        .is_none_or(|track| state.heard.contains(&track.id.number))
            });
            // Late or gone: the negotiation finds it empty or not at all.
            let _ = timeout_at(deadline, settled).await;
        }
    }

    /// Ends a session on both planes. One that the data plane does not know is ended all the same.
    pub(super) async fn end_session(&self, id: SessionId) -> Result<(), ApiError> {
        match self
            .engine
            .execute(id.shard(), Command::CloseSession { session: id })
            .await
        {
            Ok(_) | Err(EngineError::Refused(CommandError::UnknownSession)) => {
                self.registry.end(id, Ended::Deleted);
                Ok(())
            }
            Err(error) => Err(self.failed(id, error)),
        }
    }

    /// Carries a plan out that opens a session, and takes the session in.
    pub(super) async fn open_session(
        &self,
        app: &str,
        id: SessionId,
        plan: &mut Plan,
    ) -> Result<(), ApiError> {
        let session = Session::opened(id, app, plan.model.clone());
        let command = Command::Execute {
            session: id,
            changes: std::mem::take(&mut plan.changes),
            model: Some(session.stored(&plan.model)),
        };
        // Taken in first: the data plane may speak of it at once.
        self.registry.insert(session);
        self.engine
            .execute(id.shard(), command)
            .await
            .map(drop)
            .map_err(|error| {
                self.registry.end(id, Ended::Deleted);
                self.failed(id, error)
            })
    }

    async fn transact_in_turn(
        &self,
        session: &Session,
        planner: impl Planner,
    ) -> Result<Plan, ApiError> {
        let mut agreement = session.turn().await;
        if *agreement == Agreement::InDoubt {
            self.agree(session).await?;
            *agreement = Agreement::Agreed;
        }
        let plane = self.plane()?;
        let mut plan = self.plan(session, &plane, planner)?;
        let command = Command::Execute {
            session: session.id(),
            changes: std::mem::take(&mut plan.changes),
            model: Some(session.stored(&plan.model)),
        };
        match self.engine.execute(session.id().shard(), command).await {
            Ok(_) => {
                session.commit(plan.model.clone());
                Ok(plan)
            }
            Err(error) => {
                if error.leaves_doubt() {
                    *agreement = Agreement::InDoubt;
                }
                Err(self.failed(session.id(), error))
            }
        }
    }

    fn plan(
        &self,
        session: &Session,
        plane: &Plane,
        planner: impl Planner,
    ) -> Result<Plan, ApiError> {
        let state = session.state();
        if state.ended {
            return Err(ApiError::gone());
        }
        let transport = local_transport(plane, session.id());
        let directory = self.registry.directory(session.app());
        let mut context = Context {
            transport: &transport,
            publishers: &directory,
            randomness: &mut Csprng,
        };
        Ok(planner(&state.model, &mut context)?)
    }

    /// Asks the data plane how a session stands after an answer was lost.
    async fn agree(&self, session: &Session) -> Result<(), ApiError> {
        let report = self
            .engine
            .inspect(session.id())
            .await
            .map_err(|error| self.failed(session.id(), error))?;
        let Some(report) = report else {
            self.registry.end(session.id(), Ended::DataPlaneGone);
            return Err(ApiError::gone());
        };
        let stored =
            StoredSession::decode(&report.model).map_err(|error| ApiError::internal(&error))?;
        session.commit(stored.model);
        Ok(())
    }

    /// The data plane, if one is attached.
    pub(super) fn plane(&self) -> Result<Arc<Plane>, ApiError> {
        self.engine
            .plane()
            .ok_or_else(|| unavailable(EngineError::Away))
    }

    /// What a failed command means for the client and for the session.
    pub(super) fn failed(&self, session: SessionId, error: EngineError) -> ApiError {
        match error {
            EngineError::Refused(CommandError::UnknownSession | CommandError::SessionFailed) => {
                self.registry.end(
                    session,
                    Ended::ByItself(shared::protocol::EndReason::InternalError),
                );
                ApiError::gone()
            }
            EngineError::NoSuchShard => {
                self.registry.end(session, Ended::DataPlaneGone);
                ApiError::gone()
            }
            EngineError::Refused(CommandError::ShardFull) => ApiError::new(
                ErrorKind::Capacity,
                "The media server holds as much as it can",
            ),
            EngineError::TooLarge | EngineError::Refused(CommandError::LimitExceeded) => {
                ApiError::invalid("tracks: the session would hold more than it may")
            }
            EngineError::Away
            | EngineError::Lost
            | EngineError::Silent
            | EngineError::Overloaded
            | EngineError::Refused(CommandError::DeadlinePassed) => unavailable(error),
            EngineError::Mismatch | EngineError::Refused(_) => {
                tracing::error!(%session, %error, "the data plane refused a plan");
                ApiError::new(ErrorKind::Internal, "Backend error")
            }
        }
    }
}

/// What we say of our transport to the client of this session.
pub(super) fn local_transport(plane: &Plane, session: SessionId) -> LocalTransport {
    LocalTransport {
        addresses: plane.candidates(session.shard()).to_vec(),
        fingerprint: plane.fingerprint().clone(),
    }
}

fn unavailable(error: EngineError) -> ApiError {
    match error {
        EngineError::Away | EngineError::Lost => ApiError::new(
            ErrorKind::DataPlaneAway,
            "The media server is away; it is being started again",
        ),
        EngineError::Overloaded => {
            ApiError::new(ErrorKind::Capacity, "The media server has too much to do")
        }
        EngineError::Silent
        | EngineError::NoSuchShard
        | EngineError::TooLarge
        | EngineError::Refused(_)
        | EngineError::Mismatch => ApiError::new(
            ErrorKind::DataPlaneSilent,
            "The media server did not answer in time",
        ),
    }
}

impl From<NegotiationError> for ApiError {
    fn from(error: NegotiationError) -> Self {
        use crate::negotiate::ErrorCode;
        let kind = match error.code() {
            ErrorCode::DecodingError => ErrorKind::Decoding,
            ErrorCode::InvalidSessionDescription => ErrorKind::InvalidSessionDescription,
            ErrorCode::PayloadTooLarge => ErrorKind::PayloadTooLarge,
            ErrorCode::SessionError => ErrorKind::SessionGone,
            ErrorCode::InternalError => ErrorKind::Internal,
            // Codes of items never stand for a whole call.
            ErrorCode::InvalidParams
            | ErrorCode::NotFoundTrackError
            | ErrorCode::EmptyTrackError
            | ErrorCode::RepeatedLocalTrackError
            | ErrorCode::UpdateTrackError
            | ErrorCode::CloseTrackError
            | ErrorCode::TrackError => ErrorKind::InvalidParams,
        };
        Self {
            kind,
            description: error.to_string(),
            subcode: error.subcode(),
        }
    }
}

/// The system's random source.
pub(super) struct Csprng;

impl Randomness for Csprng {
    fn fill(&mut self, bytes: &mut [u8]) {
        let filled = aws_lc_rs::rand::fill(bytes);
        assert!(filled.is_ok(), "without random numbers no session is safe");
    }
}
