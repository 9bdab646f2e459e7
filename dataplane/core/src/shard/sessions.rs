//! All sessions of a shard, and the ways to find one: by id, by ufrag, by path.

use std::collections::VecDeque;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use shared::id::SessionId;
use shared::protocol::{IceCredentials, TransportState};
use slotmap::{Key, KeyData, SlotMap, new_key_type};

use crate::handshake::HandshakeId;
use crate::outbox::Path;
use crate::session::Session;
use crate::session::ice::Nomination;

new_key_type! {
    /// A session of this shard; never valid again once the session has ended.
    pub(crate) struct SessionKey;
}

impl SessionKey {
    /// The name that the handshake pool knows the session by.
    pub(crate) fn handshake_id(self) -> HandshakeId {
        HandshakeId(self.data().as_ffi())
    }

    /// The session that a name in the pool stands for, ended or not.
    pub(crate) fn from_handshake_id(id: HandshakeId) -> Self {
        KeyData::from_ffi(id.0).into()
    }
}

/// The sessions and their indices, which are always kept together.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions: SlotMap<SessionKey, Session>,
    by_id: HashMap<SessionId, SessionKey, FxBuildHasher>,
    by_ufrag: HashMap<Box<str>, SessionKey, FxBuildHasher>,
    by_path: HashMap<Path, SessionKey, FxBuildHasher>,
    /// Sessions that have ended and where their clients were: the pool's `close_notify` comes later.
    ended: VecDeque<(SessionKey, Path)>,
    random: SplitMix64,
}

impl Sessions {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            sessions: SlotMap::with_key(),
            by_id: HashMap::default(),
            by_ufrag: HashMap::default(),
            by_path: HashMap::default(),
            ended: VecDeque::with_capacity(ENDED_MAX),
            random: SplitMix64(seed),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many have a working transport.
    pub(crate) fn connected(&self) -> usize {
        let states = self
            .sessions
            .values()
            .map(|session| session.transport.state());
        states
            .filter(|state| *state == TransportState::Connected)
            .count()
    }

    /// A number for an SSRC or a first sequence number: not secret, only unlike others.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next()
    }

    pub(crate) fn key(&self, id: SessionId) -> Option<SessionKey> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.sessions.keys()
    }

    /// The ids after `after`, at most `count`, in ascending order.
    pub(crate) fn ids_after(&self, after: Option<SessionId>, count: usize) -> Vec<SessionId> {
        let mut ids: Vec<_> = self
            .by_id
            .keys()
            .copied()
            .filter(|id| after.is_none_or(|after| *id > after))
            .collect();
        ids.sort_unstable();
        ids.truncate(count);
        ids
    }

    /// Takes a session in; its id and ufrags must be free.
    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        let id = session.id;
        let key = self.sessions.insert(session);
        let clash = self.by_id.insert(id, key);
        assert!(clash.is_none(), "the caller looked for the id first");
        if let Some(session) = self.sessions.get(key) {
            for ufrag in session.transport.ice.local_ufrags() {
                self.by_ufrag.insert(ufrag.into(), key);
            }
        }
        key
    }

    /// Whether a local ufrag is in use on this shard.
    pub(crate) fn has_ufrag(&self, ufrag: &str) -> bool {
        self.by_ufrag.contains_key(ufrag)
    }

    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<SessionKey> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(crate) fn by_path(&self, path: Path) -> Option<SessionKey> {
        self.by_path.get(&path).copied()
    }

    /// Gives a session new ICE credentials (RFC 8445 §9). The ones before the last restart are
    /// not answered any more.
    pub(crate) fn restart_ice(
        &mut self,
        key: SessionKey,
        local: &IceCredentials,
        remote: &IceCredentials,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let retired = session.transport.ice.restart(local, remote);
        if let Some(retired) = retired {
            self.by_ufrag.remove(&retired);
        }
        self.by_ufrag.insert(local.ufrag.as_str().into(), key);
    }

    /// Takes a check of the client's and keeps the index of paths true to what it changed. Returns
    /// whether what we send goes another way than before.
    pub(crate) fn handle_check(
        &mut self,
        key: SessionKey,
        path: Path,
        nomination: Nomination,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let outcome = session.transport.ice.handle_check(path, nomination);
        if let Some(forgotten) = outcome.forgotten {
            self.by_path.remove(&forgotten);
        }
        if outcome.validated
            && let Some(former) = self.by_path.insert(path, key)
            && former != key
            && let Some(former) = self.sessions.get_mut(former)
        {
            former.transport.ice.forget(path);
        }
        outcome.moved
    }

    /// Lets a session go.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.sessions.remove(key)?;
        self.by_id.remove(&session.id);
        for ufrag in session.transport.ice.local_ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for path in session.transport.ice.paths() {
            self.by_path.remove(path);
        }
        if let Some(path) = session.transport.ice.selected() {
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((key, path));
        }
        Some(session)
    }

    /// Whether media can be sent to the client of a session.
    pub(crate) fn is_connected(&self, key: SessionKey) -> bool {
        let session = self.sessions.get(key);
        session.is_some_and(|session| session.transport.media_route().is_some())
    }

    /// Where the client of a session is, or was until the session ended.
    pub(crate) fn selected_path(&self, key: SessionKey) -> Option<Path> {
        if let Some(session) = self.sessions.get(key) {
            return session.transport.ice.selected();
        }
        self.ended
            .iter()
            .find(|(ended, _)| *ended == key)
            .map(|(_, path)| *path)
    }
}

/// Ended sessions whose client can still be told.
const ENDED_MAX: usize = 256;

/// Sebastiano Vigna's generator of well-mixed numbers from a counter: enough where nothing is
/// secret, and the same seed gives the same run.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
