//! Which legs share the path to a client, and from when to when that path is estimated.

use shared::counters::DropReason;
use shared::protocol::MediaKind;

use super::nothing;
use crate::bwe::allocation::Share;
use crate::egress::Allowance;
use crate::outbox::Outbox;
use crate::session::Session;
use crate::session::congestion::Congestion;
use crate::shard::Shard;
use crate::shard::sessions::SessionKey;
use crate::shard::tracks::{LegKey, Tracks};
use crate::time::Timestamp;

impl Shard {
    /// A leg begins, or is fed from another publication: it takes part in what the path carries.
    pub(in crate::shard) fn add_to_congestion(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        leg: LegKey,
        out: &mut impl Outbox,
    ) {
        let (Some(session), Some(entry)) = (self.sessions.get_mut(key), self.tracks.leg(leg))
        else {
            return;
        };
        let is_measured = entry.leg.is_measured();
        if let Some(congestion) = &mut session.congestion {
            congestion.add_leg(leg, Share::new(nothing()));
        } else if is_measured {
            let mut congestion = match session.suspended.take() {
                Some(suspended) => suspended.resume(now),
                None => Congestion::new(now),
            };
            // With those that came before, none of which could be measured.
            for (_, leg) in &session.legs {
                congestion.add_leg(*leg, Share::new(nothing()));
            }
            session.congestion = Some(Box::new(congestion));
            self.ticker.add_congested(key);
        }
        if !is_measured {
            self.suspend_if_unmeasured(now, key, out);
        }
    }

    /// A leg has ended.
    pub(in crate::shard) fn remove_from_congestion(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        leg: LegKey,
        out: &mut impl Outbox,
    ) {
        if let Some(congestion) = self.congestion(key) {
            let cleared = congestion.remove_leg(leg);
            self.counters
                .dropped_times(DropReason::PacerCleared, cleared);
            self.suspend_if_unmeasured(now, key, out);
        }
    }

    /// Lets the legs of a session have what they want once nothing would tell that the path carries
    /// more than it did.
    fn suspend_if_unmeasured(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !is_unmeasured(session, &self.tracks) {
            return;
        }
        let Some(congestion) = session.congestion.take() else {
            return;
        };
        let (suspended, waiting) = congestion.suspend();
        session.suspended = Some(Box::new(suspended));
        let legs: Vec<_> = session.legs.iter().map(|(_, leg)| *leg).collect();
        self.ticker.remove_congested(key);
        self.pacing.remove(key);
        for waiting in waiting {
            self.send_waiting(now, key, waiting, out);
        }
        for leg in &legs {
            self.lift_limits(*leg);
        }
        self.start_legs(now, key, &legs, out);
    }

    /// A leg is not limited by its path any more.
    fn lift_limits(&mut self, leg: LegKey) {
        if let Some(entry) = self.tracks.leg_mut(leg) {
            entry.leg.set_allowance(Allowance::Unlimited);
            entry.leg.set_sub_layer(None);
            entry.leg.statistics.granted = None;
        }
    }
}

/// Whether a session has video, but none that its path can be measured by. Without any, nothing is
/// limited, and what is known of the path is of use to the next one.
fn is_unmeasured(session: &Session, tracks: &Tracks) -> bool {
    let legs = session.legs.iter();
    let entries = legs.filter_map(|(_, leg)| tracks.leg(*leg));
    let mut videos = entries
        .filter(|entry| entry.leg.kind() == MediaKind::Video)
        .peekable();
    videos.peek().is_some() && !videos.any(|entry| entry.leg.is_measured())
}
