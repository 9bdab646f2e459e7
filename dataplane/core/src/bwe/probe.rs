//! When to send more than the media needs, to learn whether it would come through
//! (`probe_controller.cc`; changed for a server that forwards, see
//! [`ProbeController::judge`]).

mod cluster;

use core::time::Duration;

use self::cluster::{Cluster, PACKETS_MIN};
use super::probe_result::ProbeResult;
use super::units::{micros, scaled};
use super::{ESTIMATE_MAX, ESTIMATE_MIN};
use crate::time::Timestamp;

/// Decides on probes and keeps them going.
#[derive(Debug)]
pub(super) struct ProbeController {
    demand: u64,
    /// The demand has risen, or more came through than the link was known to carry.
    is_urgent: bool,
    has_begun: bool,
    /// The lowest rate at which a probe of the present series did not come through.
    ceiling: u64,
    /// The estimate before the present series, or the last one.
    series_began_with: Option<u64>,
    /// The rate of the probe that comes next.
    next_rate: Option<u64>,
    cluster: Option<Cluster>,
    last_id: u8,
    /// The last probe was begun.
    begun_at: Option<Timestamp>,
    /// Until when its result is awaited.
    awaited_until: Option<Timestamp>,
    /// What the estimate has lost lately.
    lost: Option<Lost>,
    recovery_at: Option<Timestamp>,
}

/// What the controller is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Bits a second.
    pub(super) estimate: u64,
    /// Less is sent than the estimate allows, or was a few seconds ago.
    pub(super) underused: bool,
    /// Packets do not wait on the way.
    pub(super) queue_is_empty: bool,
    /// No queue fills or drains, loss does not lower the estimate, feedback comes.
    pub(super) calm: bool,
}

impl Situation {
    /// Whether a probe does not come on top of a link that is full.
    fn has_room(&self) -> bool {
        self.underused || self.queue_is_empty
    }
}

/// A packet that a probe wants: padding, or a repetition of something sent lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePacket {
    /// How large it should be at the most.
    pub bytes: u16,
}

/// A probe that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) id: u8,
    pub(super) packets_min: u32,
    pub(super) bytes_min: u64,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Before all that was lost lately.
    rate: u64,
    at: Timestamp,
    is_large: bool,
}

impl Default for ProbeController {
    fn default() -> Self {
        Self {
            demand: 0,
            is_urgent: false,
            has_begun: false,
            ceiling: u64::MAX,
            series_began_with: None,
            next_rate: None,
            cluster: None,
            last_id: 0,
            begun_at: None,
            awaited_until: None,
            lost: None,
            recovery_at: None,
        }
    }
}

impl ProbeController {
    /// Begins anew with a path of which nothing is known.
    pub(super) fn restart(&mut self) {
        *self = Self {
            demand: self.demand,
            // Results of former probes are not taken for those of new ones.
            last_id: self.last_id,
            ..Self::default()
        };
    }

    /// Bits a second that would be sent if they came through.
    pub(super) fn set_demand(&mut self, demand: u64) {
        self.is_urgent |= demand > self.demand + self.demand / 10;
        self.demand = demand;
    }

    /// More came through than the link was known to carry.
    pub(super) fn capacity_exceeded(&mut self) {
        self.is_urgent = true;
    }

    /// The estimate was lowered because a queue was filling or much was lost.
    pub(super) fn lowered(&mut self, now: Timestamp, from: u64, to: u64) {
        let lately = self
            .lost
            .filter(|lost| now.since(lost.at) < RECOVERY_WINDOW);
        let rate = lately.map_or(from, |lost| lost.rate.max(from));
        self.lost = Some(Lost {
            rate,
            at: now,
            is_large: to < scaled(rate, LARGE_DROP),
        });
    }

    /// To be called now and then; begins a probe if it is time for one.
    pub(super) fn update(&mut self, now: Timestamp, situation: &Situation) -> Option<Begun> {
        self.give_up_late(now);
        if !situation.calm {
            self.next_rate = None;
            return None;
        }
        if self.cluster.is_some() || self.awaited_until.is_some() {
            return None;
        }
        if self.next_rate.is_none() {
            self.ceiling = u64::MAX;
            self.plan(now, situation);
            if self.next_rate.is_some() {
                self.series_began_with = Some(situation.estimate);
            }
        }
        let rate = self.next_rate.take()?;
        Some(self.begin(now, rate))
    }

    /// What the result of a probe makes of the estimate; none if nothing.
    ///
    /// The estimate is raised only by a probe that came through as fast as it was sent. One that
    /// did not shows what the link can carry, but where others send too, their packets were delayed
    /// to the same degree; so it only lowers an estimate that is not in use. Before it raises
    /// anything, another probe at the rate that it found must come through.
    pub(super) fn judge(&mut self, result: &ProbeResult, situation: &Situation) -> Option<u64> {
        if result.cluster == self.last_id && self.cluster.is_none() {
            self.awaited_until = None;
        }
        let estimate = situation.estimate;
        if result.saturated {
            self.ceiling = self.ceiling.min(result.rate);
            self.next_rate = Some(result.rate).filter(|rate| *rate > scaled(estimate, WORTHWHILE));
            let sure = scaled(result.rate, UTILISATION);
            return (sure < estimate && situation.underused).then_some(sure);
        }
        if result.rate <= estimate {
            return None;
        }
        let doubled = result.rate.saturating_mul(2).min(self.enough());
        if result.rate < self.enough() && doubled < self.ceiling {
            self.next_rate = Some(doubled);
        }
        Some(result.rate.min(estimate.saturating_mul(PROVEN_FACTOR)))
    }

    /// A packet of a probe that is to leave now, if one is.
    pub(super) fn wanted(&self, now: Timestamp) -> Option<ProbePacket> {
        let cluster = self.cluster.as_ref()?;
        (micros(now) >= cluster.due_at(micros(now))).then(|| ProbePacket {
            bytes: cluster.packet_bytes(),
        })
    }

    /// A packet leaves; returns the probe that it is part of, zero for none.
    pub(super) fn sent(&mut self, now: Timestamp, bytes: u16) -> u8 {
        let Some(cluster) = &mut self.cluster else {
            return 0;
        };
        cluster.sent(micros(now), bytes);
        let id = cluster.id;
        if cluster.is_complete() {
            self.cluster = None;
            self.awaited_until = Some(now + RESULT_WAIT);
        }
        id
    }

    /// When [`Self::wanted`] gives the next packet of the probe under way; none without one.
    pub(super) fn next_packet_at(&self, now: Timestamp) -> Option<Timestamp> {
        let cluster = self.cluster.as_ref()?;
        let wait = cluster.due_at(micros(now)) - micros(now);
        Some(now + Duration::from_micros(u64::try_from(wait).unwrap_or_default()))
    }

    /// An estimate with which all that is wanted can be sent with some room.
    fn enough(&self) -> u64 {
        scaled(self.demand, DEMAND_HEADROOM).min(ESTIMATE_MAX)
    }

    fn give_up_late(&mut self, now: Timestamp) {
        if self.awaited_until.is_some_and(|until| now >= until) {
            self.awaited_until = None;
        }
        let created_at = self.cluster.as_ref().map(|cluster| cluster.created_at);
        if created_at.is_some_and(|created| now.since(created) >= CLUSTER_AGE_MAX) {
            self.cluster = None;
        }
    }

    fn plan(&mut self, now: Timestamp, situation: &Situation) {
        let estimate = situation.estimate;
        let enough = self.enough();
        if estimate >= enough || self.demand == 0 {
            self.is_urgent = false;
            return;
        }
        if !core::mem::replace(&mut self.has_begun, true) {
            self.is_urgent = false;
            self.next_rate = Some(estimate.saturating_mul(INITIAL_FACTOR).min(enough));
            return;
        }
        if situation.has_room() && self.wants_recovery(now) {
            let rate = self
                .lost
                .take()
                .map_or(0, |lost| scaled(lost.rate, RECOVERY_FACTOR));
            self.recovery_at = Some(now);
            if rate > scaled(estimate, WORTHWHILE) {
                self.next_rate = Some(rate.min(estimate.saturating_mul(2)));
                return;
            }
        }
        let is_due = self
            .begun_at
            .is_none_or(|begun| now.since(begun) >= self.period(now, estimate));
        let is_urgent = core::mem::take(&mut self.is_urgent) && !self.fell_lately(now);
        if is_urgent || (is_due && situation.has_room()) {
            self.next_rate = Some(estimate.saturating_mul(2).min(enough));
        }
    }

    /// A probe at a small part of the demand costs little; and a path that has just turned out to
    /// carry far more than was thought may have become wider while it was looked at.
    fn period(&self, now: Timestamp, estimate: u64) -> Duration {
        let before = self.series_began_with;
        let rose = before.is_some_and(|before| estimate >= scaled(before, LARGE_RISE));
        if estimate < self.demand / SMALL_PART || (rose && !self.fell_lately(now)) {
            PERIOD_SMALL
        } else {
            PERIOD
        }
    }

    fn fell_lately(&self, now: Timestamp) -> bool {
        let lost = self.lost.as_ref();
        lost.is_some_and(|lost| now.since(lost.at) < RECOVERY_WINDOW)
    }

    fn wants_recovery(&self, now: Timestamp) -> bool {
        let is_free = self
            .recovery_at
            .is_none_or(|at| now.since(at) >= RECOVERY_WINDOW);
        is_free
            && self.lost.is_some_and(|lost| {
                let age = now.since(lost.at);
                lost.is_large && age >= RECOVERY_DELAY && age < RECOVERY_WINDOW
            })
    }

    fn begin(&mut self, now: Timestamp, rate: u64) -> Begun {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let rate = rate.clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        let cluster = Cluster::new(now, self.last_id, rate);
        let bytes_min = cluster.bytes_min;
        self.cluster = Some(cluster);
        self.begun_at = Some(now);
        Begun {
            id: self.last_id,
            packets_min: PACKETS_MIN,
            bytes_min,
        }
    }
}

/// `first_exponential_probe_scale`; the second, twice as much, follows if this comes through.
const INITIAL_FACTOR: u64 = 3;

/// Of the demand: what the allocation needs to be sure of it.
const DEMAND_HEADROOM: f64 = 1.4;

/// While the demand is not met. libwebrtc probes as often, but only while it is limited by the
/// application (`alr_probing_interval`); str0m adds a probe after 15 s without a change. For a
/// server that sends whole layers, a part of the rate may be unused for ever without this.
const PERIOD: Duration = Duration::from_secs(5);

/// While less than this part of the demand is met, or once the last series of probes has made so many
/// times of the estimate.
const SMALL_PART: u64 = 4;
const LARGE_RISE: f64 = 1.4;
const PERIOD_SMALL: Duration = Duration::from_secs(2);

/// Recovery after a large drop (`kBitrateDropThreshold`, `kProbeFractionAfterDrop`,
/// `kBitrateDropTimeout`), but not before the queue had some time to drain.
const LARGE_DROP: f64 = 0.66;
const RECOVERY_FACTOR: f64 = 0.85;
const RECOVERY_WINDOW: Duration = Duration::from_secs(5);
const RECOVERY_DELAY: Duration = Duration::from_millis(500);

/// A result must be so much better than the estimate for another probe to be made of it.
const WORTHWHILE: f64 = 1.05;

/// Of what the link can carry (`kTargetUtilizationFraction`).
const UTILISATION: f64 = 0.95;

/// What a probe may make of the estimate at once.
const PROVEN_FACTOR: u64 = 6;

/// A probe that cannot be sent is given up.
const CLUSTER_AGE_MAX: Duration = Duration::from_secs(1);

/// `kMaxWaitingTimeForProbingResult`.
const RESULT_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
