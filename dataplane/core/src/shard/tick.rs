//! What is done because time passes. One tick serves the whole shard: publishers are looked at on
//! every tick (NACK, key frames, transport feedback), the other sessions a slice at a time, so that
//! each is visited once a second (reports, liveness) and the work is spread evenly.

use core::time::Duration;

use shared::protocol::EndReason;

use super::Shard;
use super::sessions::SessionKey;
use super::tracks::Wish;
use crate::outbox::Outbox;
use crate::session::Session;
use crate::session::transport::{Liveness, Timeouts};
use crate::time::Timestamp;

/// When the next tick is, and who is to be visited.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    next: Option<Timestamp>,
    publishers: Vec<SessionKey>,
    /// Sessions whose paths are estimated.
    congested: Vec<SessionKey>,
    /// Sessions that get the loudest of their audio only.
    limited: Vec<SessionKey>,
    /// All sessions, in the order of their visits; refilled when a round is over.
    round: Vec<SessionKey>,
    /// Visits on each tick of this round.
    slice: usize,
    count: u32,
    wishes: Vec<Wish>,
}

impl Ticker {
    /// There is a session now.
    pub(super) fn start(&mut self, now: Timestamp) {
        self.next.get_or_insert(now + TICK);
    }

    /// When to tick next.
    pub(super) fn due(&self, has_sessions: bool) -> Option<Timestamp> {
        self.next.filter(|_| has_sessions)
    }

    /// This session publishes now.
    pub(super) fn add_publisher(&mut self, key: SessionKey, session: &mut Session) {
        if !session.is_publisher {
            session.is_publisher = true;
            self.publishers.push(key);
        }
    }

    /// The path to this session's client is estimated from now on.
    pub(super) fn add_congested(&mut self, key: SessionKey) {
        self.congested.push(key);
    }

    /// It is not any more.
    pub(super) fn remove_congested(&mut self, key: SessionKey) {
        self.congested.retain(|other| *other != key);
    }

    /// This session gets the loudest of its audio only, perhaps since before.
    pub(super) fn add_limited(&mut self, key: SessionKey) {
        if !self.limited.contains(&key) {
            self.limited.push(key);
        }
    }

    /// Begins a round of visits every [`TICKS_PER_ROUND`] ticks; the slices are such that the last
    /// one is over by then, and few sessions are not visited more often than many.
    fn begin_round(&mut self, sessions: impl Iterator<Item = SessionKey>) {
        if self.count.is_multiple_of(TICKS_PER_ROUND) {
            self.round.clear();
            self.round.extend(sessions);
            self.slice = self.round.len().div_ceil(TICKS_PER_ROUND as usize);
        }
    }
}

impl Shard {
    pub(super) fn tick(&mut self, now: Timestamp, out: &mut impl Outbox) {
        if self.ticker.next.is_none_or(|next| next > now) {
            return;
        }
        // From now on, not from when it was due: a late tick is not made up for.
        self.ticker.next = (!self.sessions.is_empty()).then_some(now + TICK);
        self.drop_former_publishers();
        for position in 0..self.ticker.publishers.len() {
            if let Some(key) = self.ticker.publishers.get(position).copied() {
                self.current = Some(key);
                self.send_feedback(now, key, out);
            }
        }
        self.walk(
            |ticker| &mut ticker.congested,
            TICKS_PER_ESTIMATE,
            |shard, key, turn| {
                let allocates = turn.is_multiple_of(TICKS_PER_SELECTION);
                shard.poll_congestion(now, key, allocates, out)
            },
        );
        self.walk(
            |ticker| &mut ticker.limited,
            TICKS_PER_RANKING,
            |shard, key, _| shard.poll_speakers(now, key),
        );
        self.current = None;
        self.tick_tracks(now, out);
        self.ticker.begin_round(self.sessions.keys());
        for _ in 0..self.ticker.slice {
            let Some(key) = self.ticker.round.pop() else {
                break;
            };
            self.current = Some(key);
            self.visit(now, key, out);
        }
    }

    /// Looks at a part of one of the ticker's lists, so that a session's turn comes once in `ticks` of
    /// them. All others are left alone: memory that was not touched for a while is slow to reach.
    /// `look` is given the count of turns; what it returns false of is taken off the list.
    fn walk(
        &mut self,
        list: fn(&mut Ticker) -> &mut Vec<SessionKey>,
        ticks: u32,
        mut look: impl FnMut(&mut Self, SessionKey, u32) -> bool,
    ) {
        let (mut position, mut turn) = (0, self.ticker.count);
        // By position: should one session's work panic, the others must still stand in the list.
        while let Some(key) = list(&mut self.ticker).get(position).copied() {
            turn = turn.wrapping_add(1);
            self.current = Some(key);
            if !turn.is_multiple_of(ticks) || look(self, key, turn) {
                position += 1;
            } else {
                list(&mut self.ticker).swap_remove(position);
            }
        }
    }

    /// Sessions that do not publish any more are not looked at on every tick.
    fn drop_former_publishers(&mut self) {
        let sessions = &mut self.sessions;
        self.ticker.publishers.retain(|key| {
            let Some(session) = sessions.get_mut(*key) else {
                return false;
            };
            session.is_publisher = !session.publications.is_empty();
            session.is_publisher
        });
    }

    /// Once a second.
    fn visit(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let timeouts = Timeouts {
            connect: self.config.connect_timeout,
            consent: self.config.consent_timeout,
            reconnect: self.config.reconnect_timeout,
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match session.transport.check_liveness(now, timeouts) {
            Liveness::Unchanged => {
                self.send_reports(now, key, out);
                self.record_path(key);
            }
            Liveness::Lost => self.events.session(key),
            Liveness::NeverConnected => {
                self.end_session(key, Some(EndReason::NeverConnected), out);
            }
            Liveness::GivenUp => self.end_session(key, Some(EndReason::ConnectionLost), out),
        }
    }

    /// Looks at which layers are being received, which decides what their legs get, and repeats
    /// requests for key frames that nobody answered.
    fn tick_tracks(&mut self, now: Timestamp, out: &mut impl Outbox) {
        for key in self.tracks.refresh(now) {
            self.events.publication(key);
        }
        // Taken out for the time of the walk, and put back for its memory.
        let mut wishes = core::mem::take(&mut self.ticker.wishes);
        self.ticker.count = self.ticker.count.wrapping_add(1);
        if self.ticker.count.is_multiple_of(TICKS_PER_SELECTION) {
            let sessions = &self.sessions;
            let is_there = |key| sessions.is_connected(key);
            self.tracks.select_layers(now, is_there, &mut wishes);
        }
        self.wish_keyframes(now, &mut wishes, out);
        self.tracks.unanswered(now, &mut wishes);
        for (publication, layer) in wishes.drain(..) {
            self.ask_for_keyframe(now, publication, layer, out);
        }
        self.ticker.wishes = wishes;
    }
}

/// Short enough for NACKs and transport feedback, long enough to cost an idle core nothing.
const TICK: Duration = Duration::from_millis(20);

/// Ticks between two rankings of a session's audio: who begins to speak is heard within a third of a
/// second, as it takes half of that until it counts as speech.
const TICKS_PER_RANKING: u32 = 5;

/// Ticks between two looks at an estimate. Feedback, which comes more often, is looked at by itself.
const TICKS_PER_ESTIMATE: u32 = 5;

/// Ticks between two choices of layers: fast enough that a layer which begins is soon used. Estimates
/// are shared out anew as often, each when it is looked at.
const TICKS_PER_SELECTION: u32 = 10;
const _: () = assert!(TICKS_PER_SELECTION.is_multiple_of(TICKS_PER_ESTIMATE));

/// Ticks in which every session is visited once: a second's worth.
const TICKS_PER_ROUND: u32 = 50;

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    /// Visits of each session in this many seconds.
    fn visits(sessions: usize, seconds: u32) -> Vec<usize> {
        let mut keys: SlotMap<SessionKey, usize> = SlotMap::with_key();
        for _ in 0..sessions {
            keys.insert(0);
        }
        let mut ticker = Ticker::default();
        for _ in 0..seconds * TICKS_PER_ROUND {
            ticker.count = ticker.count.wrapping_add(1);
            ticker.begin_round(keys.keys());
            for _ in 0..ticker.slice {
                let Some(key) = ticker.round.pop() else { break };
                keys[key] += 1;
            }
        }
        keys.values().copied().collect()
    }

    #[test]
    fn each_session_is_visited_once_a_second_be_they_few_or_many() {
        for sessions in [1, 3, 50, 51, 1000] {
            // The first round begins within the first second.
            let visits = visits(sessions, 11);
            assert!(
                visits.iter().all(|count| (10..=11).contains(count)),
                "{sessions}: {visits:?}"
            );
        }
    }
}
