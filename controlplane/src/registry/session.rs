//! One session: its model, its transport, and the order of calls on it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::id::SessionId;
use shared::protocol::{SessionReport, TransportState};
use tokio::sync::{OwnedMutexGuard, watch};

use super::stored::StoredSession;
use crate::negotiate::{SessionModel, TrackSource};

/// One session that lives on the data plane.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    app: String,
    turn: Arc<tokio::sync::Mutex<Agreement>>,
    state: watch::Sender<State>,
    rate: Mutex<Bucket>,
}

/// How things stand, as far as is known.
#[derive(Clone, Debug)]
pub struct State {
    /// What has been negotiated.
    pub model: Arc<SessionModel>,
    /// How far the transport has come.
    pub transport: TransportState,
    /// The publications that a packet has ever come for.
    pub heard: BTreeSet<u32>,
    /// The session has left the registry.
    pub ended: bool,
}

/// Whether both planes hold the same model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They do.
    Agreed,
    /// The answer to a command never came: the data plane must be asked first.
    InDoubt,
}

/// Too many requests in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled;

impl Session {
    pub(super) fn new(id: SessionId, app: String, model: SessionModel) -> Self {
        let state = State {
            model: Arc::new(model),
            transport: TransportState::Connecting,
            heard: BTreeSet::new(),
            ended: false,
        };
        Self {
            id,
            app,
            turn: Arc::new(tokio::sync::Mutex::new(Agreement::Agreed)),
            state: watch::Sender::new(state),
            rate: Mutex::new(Bucket::full(Instant::now())),
        }
    }

    /// Which.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// How things stand now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// To wait for a change of how things stand.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits for one's turn: what changes a session is done one call after the other.
    pub async fn turn(&self) -> OwnedMutexGuard<Agreement> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many.
    pub fn admit(&self) -> Result<(), Throttled> {
        self.rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now())
    }

    /// Keeps the model that the data plane keeps now.
    pub fn commit(&self, model: SessionModel) {
        self.state.send_modify(|state| {
            let published: BTreeSet<u32> = model
                .tracks()
                .into_iter()
                .filter_map(|track| match track.source {
                    TrackSource::Local { publication } => Some(publication),
                    TrackSource::Remote { .. } => None,
                })
                .collect();
            state.heard.retain(|number| published.contains(number));
            state.model = Arc::new(model);
        });
    }

    /// What the data plane keeps beside the session when it has this model.
    pub fn stored(&self, model: &SessionModel) -> Vec<u8> {
        StoredSession::encode(&self.app, model)
    }

    pub(super) fn transport_changed(&self, transport: TransportState) {
        self.state.send_if_modified(|state| {
            let changed = state.transport != transport;
            state.transport = transport;
            changed
        });
    }

    pub(super) fn heard(&self, publication: u32) {
        self.state
            .send_if_modified(|state| state.heard.insert(publication));
    }

    pub(super) fn reported(&self, report: &SessionReport) {
        self.state.send_modify(|state| {
            state.transport = report.state;
            let ever = report.publications.iter().filter(|publication| {
                publication.receiving || publication.layers.iter().any(|layer| layer.packets > 0)
            });
            state
                .heard
                .extend(ever.map(|publication| publication.number));
        });
    }

    pub(super) fn ended(&self) {
        self.state.send_modify(|state| state.ended = true);
    }
}

/// A token bucket: [`REQUESTS_PER_SECOND`] on average, and as many at once.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self {
            tokens: REQUESTS_PER_SECOND,
            at: now,
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), Throttled> {
        let passed = now.saturating_duration_since(self.at).min(FILL_TIME);
        self.at = now;
        self.tokens =
            (self.tokens + passed.as_secs_f64() * REQUESTS_PER_SECOND).min(REQUESTS_PER_SECOND);
        if self.tokens < 1.0 {
            return Err(Throttled);
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// Documented by Cloudflare: API calls per session.
const REQUESTS_PER_SECOND: f64 = 50.0;
const FILL_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_requests_in_a_second_are_admitted_and_the_next_is_not() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        for _ in 0..50 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Throttled));
        assert_eq!(bucket.take(start + Duration::from_millis(21)), Ok(()));
        assert_eq!(
            bucket.take(start + Duration::from_millis(21)),
            Err(Throttled)
        );
    }

    #[test]
    fn a_long_rest_does_not_save_up_more_than_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..60).filter(|_| bucket.take(later).is_ok()).count(), 50);
    }
}
