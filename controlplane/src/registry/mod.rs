//! The sessions that live on the data plane, as the control plane knows them.
//!
//! Nothing here is the truth: that is on the data plane, which keeps every session's model too.
//! After a restart of the control plane the registry is made anew from there.

mod session;
mod stored;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::id::{SessionId, ShardIndex};
use shared::protocol::{EndReason, Event, SessionReport};

use crate::negotiate::{Lookup, Publishers, SessionModel};

pub use session::{Agreement, Session, State, Throttled};
pub use stored::{StoredError, StoredSession};

/// All sessions by their ids, and for a while those that have ended.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SessionId, Arc<Session>>,
    ended: HashMap<SessionId, Ended>,
    /// The ended ones in the order of their end, to be forgotten in it.
    forget: VecDeque<(Instant, SessionId)>,
    per_shard: HashMap<ShardIndex, usize>,
    next_shard: usize,
}

/// Why a session is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The data plane ended it.
    ByItself(EndReason),
    /// `DELETE` came for it, or for its app.
    Deleted,
    /// Its data plane is gone.
    DataPlaneGone,
}

impl Ended {
    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            Self::ByItself(EndReason::NeverConnected) => {
                "The session has ended: the PeerConnection did not connect in time."
            }
            Self::ByItself(EndReason::ConnectionLost) => {
                "The session has ended: the PeerConnection was lost for too long."
            }
            Self::ByItself(EndReason::ClosedByClient) => {
                "The session has ended: the PeerConnection was closed."
            }
            Self::ByItself(EndReason::InternalError) => {
                "The session has ended by an internal error."
            }
            Self::Deleted => "The session has been deleted.",
            Self::DataPlaneGone => "The session has ended: the media server was restarted.",
        }
    }
}

impl Registry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session that lives.
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.lock().sessions.get(&id).cloned()
    }

    /// Why this session is no more, if it ended lately.
    pub fn ended(&self, id: SessionId) -> Option<Ended> {
        self.lock().ended.get(&id).copied()
    }

    /// All that live.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.lock().sessions.is_empty()
    }

    /// The shard with the fewest sessions; in turn, where several have as few.
    pub fn place(&self, shards: impl Iterator<Item = ShardIndex>) -> Option<ShardIndex> {
        let mut inner = self.lock();
        let shards: Vec<ShardIndex> = shards.collect();
        let start = inner.next_shard.checked_rem(shards.len())?;
        inner.next_shard = inner.next_shard.wrapping_add(1);
        let in_turn = shards.iter().cycle().skip(start).take(shards.len());
        in_turn
            .min_by_key(|shard| inner.per_shard.get(shard).copied().unwrap_or_default())
            .copied()
    }

    /// Takes a session in that the data plane has just made.
    pub fn insert(&self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        let mut inner = self.lock();
        let before = inner.sessions.insert(session.id(), Arc::clone(&session));
        if before.is_none() {
            *inner.per_shard.entry(session.id().shard()).or_default() += 1;
        }
        session
    }

    /// Removes a session and remembers why. Whoever waits for it is told.
    pub fn end(&self, id: SessionId, why: Ended) {
        self.lock().end(id, why);
    }

    /// All sessions are gone with their data plane.
    pub fn clear(&self) {
        let mut inner = self.lock();
        let ids: Vec<SessionId> = inner.sessions.keys().copied().collect();
        for id in ids {
            inner.end(id, Ended::DataPlaneGone);
        }
    }

    /// Hears what the data plane says of its own accord.
    pub fn hear(&self, event: &Event) {
        match event {
            Event::SessionChanged { session, state } => {
                if let Some(session) = self.session(*session) {
                    session.transport_changed(*state);
                }
            }
            Event::SessionEnded { session, reason } => {
                self.end(*session, Ended::ByItself(*reason));
            }
            Event::PublicationChanged {
                publication,
                receiving,
            } => {
                if *receiving && let Some(session) = self.session(publication.session) {
                    session.heard(publication.number);
                }
            }
        }
    }

    /// Hears how things stand with a session: one that is not known yet is taken in.
    ///
    /// # Errors
    /// The data plane keeps something that is no model of ours.
    pub fn adopt(&self, report: &SessionReport) -> Result<(), StoredError> {
        if let Some(session) = self.session(report.session) {
            session.reported(report);
            return Ok(());
        }
        let stored = StoredSession::decode(&report.model)?;
        let session = Session::new(report.session, stored.app, stored.model);
        session.reported(report);
        self.insert(session);
        Ok(())
    }

    /// Looks tracks up on behalf of `app`, which sees its own only.
    pub fn directory<'a>(&'a self, app: &'a str) -> Directory<'a> {
        Directory {
            registry: self,
            app,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(&mut self, id: SessionId, why: Ended) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        session.ended();
        if let Some(count) = self.per_shard.get_mut(&id.shard()) {
            *count = count.saturating_sub(1);
        }
        let now = Instant::now();
        self.ended.insert(id, why);
        self.forget.push_back((now, id));
        while let Some((at, oldest)) = self.forget.front().copied()
            && (self.forget.len() > ENDED_MAX || now.duration_since(at) > REMEMBER)
        {
            self.forget.pop_front();
            self.ended.remove(&oldest);
        }
    }
}

/// The published tracks of one app.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    registry: &'a Registry,
    app: &'a str,
}

impl Directory<'_> {
    /// A session of this app.
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.registry
            .session(id)
            .filter(|session| session.app() == self.app)
    }
}

impl Publishers for Directory<'_> {
    fn find(&self, session: SessionId, track_name: &str) -> Lookup {
        let Some(session) = self.session(session) else {
            return Lookup::NotFound;
        };
        let state = session.state();
        match state.model.published_track(track_name) {
            None => Lookup::NotFound,
            Some(track) if state.heard.contains(&track.id.number) => Lookup::Found(Box::new(track)),
            Some(_) => Lookup::Empty,
        }
    }
}

/// The model that a session has before its first plan is committed is that plan's.
impl Session {
    /// A session as it stands when the data plane has just made it.
    pub fn opened(id: SessionId, app: &str, model: SessionModel) -> Self {
        Self::new(id, app.to_owned(), model)
    }
}

/// How long an ended session answers why it ended.
const REMEMBER: Duration = Duration::from_secs(600);
/// How many ended sessions are remembered.
const ENDED_MAX: usize = 10_000;
