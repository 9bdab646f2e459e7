//! The delay-based estimate: up slowly while the queue is level, down to what comes through when it
//! fills (`aimd_rate_control.cc`; draft-ietf-rmcat-gcc-02 §5.5).

use core::time::Duration;

use super::link_capacity::LinkCapacity;
use super::overuse::Usage;
use super::throughput::{Rates, Slowdown};
use super::units::{micros, scaled};
use super::{ESTIMATE_MAX, ESTIMATE_MIN};
use crate::time::Timestamp;

/// Additive increase, multiplicative decrease.
#[derive(Debug)]
pub(super) struct Aimd {
    /// Bits a second.
    estimate: u64,
    state: State,
    capacity: LinkCapacity,
    changed_at: Timestamp,
    decreased_at: Option<Timestamp>,
    /// Since when all updates have shown over-use.
    over_since: Option<Timestamp>,
    capacity_exceeded: bool,
}

/// What an update rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) usage: Usage,
    pub(super) rates: Option<Rates>,
    /// Less is sent than the estimate allows, so nothing proves a higher one.
    pub(super) application_limited: bool,
    /// The same, or not all of it is used at least.
    pub(super) underused: bool,
    /// Packets wait long.
    pub(super) queue_is_deep: bool,
    /// A queue has been there for so long that others keep it full.
    pub(super) queue_is_standing: bool,
    /// When the path became far narrower last.
    pub(super) fell_at: Option<Timestamp>,
    pub(super) round_trip: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

impl Aimd {
    /// Begins with an estimate, in bits a second.
    pub(super) fn new(now: Timestamp, estimate: u64) -> Self {
        Self {
            estimate,
            state: State::Hold,
            capacity: LinkCapacity::default(),
            changed_at: now,
            decreased_at: None,
            over_since: None,
            capacity_exceeded: false,
        }
    }

    /// Bits a second.
    pub(super) fn estimate(&self) -> u64 {
        self.estimate
    }

    /// When it was lowered last because a queue was filling.
    pub(super) fn decreased_at(&self) -> Option<Timestamp> {
        self.decreased_at
    }

    /// Whether more has come through since the last call than the link was known to carry: it has
    /// changed.
    pub(super) fn take_capacity_exceeded(&mut self) -> bool {
        core::mem::take(&mut self.capacity_exceeded)
    }

    /// A probe has measured it, or the watchdog has lowered it.
    pub(super) fn set_estimate(&mut self, now: Timestamp, estimate: u64) {
        self.estimate = estimate.clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        self.changed_at = now;
    }

    /// The path has become far narrower, and was seen to carry so many bits a second.
    pub(super) fn fall(&mut self, now: Timestamp, carried: u64) {
        self.capacity.reset();
        self.capacity.overused(carried);
        self.lower(now, scaled(carried, BETA));
    }

    /// To be called with each feedback, unless the path fell.
    pub(super) fn update(&mut self, now: Timestamp, evidence: &Evidence) {
        if evidence.usage != Usage::Over {
            self.over_since = None;
        }
        match evidence.usage {
            Usage::Over => {
                self.over_since.get_or_insert(now);
                if self.may_decrease(now, evidence) {
                    self.decrease(now, evidence);
                }
            }
            Usage::Under => self.state = State::Hold,
            Usage::Normal => {
                if self.state == State::Hold {
                    self.state = State::Increase;
                    self.changed_at = now;
                }
                self.increase(now, evidence);
            }
        }
    }

    /// Not before the last decrease has taken effect; at once if much less comes through than is
    /// estimated (`TimeToReduceFurther`), or with the next feedback after a fall: that rests on a few
    /// packets, of which some may have passed before the path became narrow.
    fn may_decrease(&self, now: Timestamp, evidence: &Evidence) -> bool {
        let Some(decreased_at) = self.decreased_at else {
            return true;
        };
        let interval = evidence.round_trip.min(ROUND_TRIP_MAX) + RESPONSE_EXTRA;
        let has_fallen = evidence.fell_at == Some(decreased_at) && now > decreased_at;
        has_fallen
            || now.since(decreased_at) >= interval
            || evidence
                .rates
                .is_some_and(|rates| rates.recent < self.estimate / 2)
    }

    fn decrease(&mut self, now: Timestamp, evidence: &Evidence) {
        // Before anything was measured, half (`delay_based_bwe.cc`, `MaybeUpdateEstimate`).
        let decreased = evidence.rates.map_or(self.estimate / 2, |rates| {
            if self.capacity.is_missed_by(rates.recent) {
                self.capacity.reset();
            }
            let decreased = if evidence.queue_is_standing {
                scaled(self.estimate, STANDING_BETA)
            } else if evidence.underused {
                self.decreased_unproven(now, &rates, evidence.queue_is_deep)
            } else {
                self.decreased(&rates)
            };
            self.capacity.overused(rates.recent);
            decreased
        });
        self.lower(now, decreased);
    }

    fn lower(&mut self, now: Timestamp, estimate: u64) {
        self.estimate = estimate.clamp(ESTIMATE_MIN, self.estimate.max(ESTIMATE_MIN));
        // Held until the queue has drained.
        self.state = State::Hold;
        self.changed_at = now;
        self.decreased_at = Some(now);
    }

    /// A little less than comes through, so that the queue drains; not more than now.
    fn decreased(&self, rates: &Rates) -> u64 {
        let throughput = scaled(rates.recent, BETA).saturating_sub(DECREASE_EXTRA);
        if throughput > self.estimate {
            return self
                .capacity
                .estimate()
                .map_or(self.estimate, |capacity| scaled(capacity, BETA));
        }
        throughput
    }

    /// The same if less is sent than may be: what comes through says nothing of the link then, and
    /// a queue that fills for a moment is a burst of others. But one that goes on filling is not, and
    /// once it is deep, the link carries what comes through. No slowdown has to show then: what found
    /// the queue full does not come at all.
    fn decreased_unproven(&self, now: Timestamp, rates: &Rates, queue_is_deep: bool) -> u64 {
        let floor = self.estimate.min(UNPROVEN_MIN);
        let lasts = self
            .over_since
            .is_some_and(|since| now.since(since) >= BURST_MAX);
        let decreased = match (rates.slowdown, lasts) {
            (Slowdown::Much, _) | (Slowdown::Some, true) => self.decreased(rates),
            _ if queue_is_deep => self.decreased(rates),
            (Slowdown::None, true) => scaled(self.estimate, BETA_LASTING),
            (Slowdown::Some | Slowdown::None, false) => scaled(self.estimate, BETA),
        };
        decreased.max(scaled(rates.recent, BETA)).max(floor)
    }

    fn increase(&mut self, now: Timestamp, evidence: &Evidence) {
        let elapsed = micros(now) - micros(self.changed_at);
        self.changed_at = now;
        let Some(rates) = evidence.rates.filter(|_| !evidence.application_limited) else {
            return;
        };
        if self.capacity.is_exceeded_by(rates.throughput) {
            self.capacity.reset();
            self.capacity_exceeded = true;
        }
        let limit = scaled(rates.throughput, LIMIT_FACTOR) + LIMIT_EXTRA;
        if self.estimate >= limit {
            return;
        }
        let seconds = elapsed as f64 / 1e6;
        let increase = if self.capacity.estimate().is_some() {
            scaled(self.additive_increase(evidence.round_trip), seconds)
        } else {
            let growth = MULTIPLICATIVE_INCREASE.powf(seconds.min(1.0)) - 1.0;
            scaled(self.estimate, growth).max(INCREASE_MIN)
        };
        self.estimate = (self.estimate + increase).min(limit).min(ESTIMATE_MAX);
    }

    /// Near the capacity: half a packet for each time that over-use takes to show, as bits a second
    /// in each second (`GetNearMaxIncreaseRateBpsPerSecond`).
    fn additive_increase(&self, round_trip: Duration) -> u64 {
        let frame_bits = self.estimate / FRAMES_PER_SECOND;
        let packets = frame_bits.div_ceil(PACKET_BITS).max(1);
        let response = (round_trip + RESPONSE_EXTRA) * 2;
        let increase = (frame_bits / packets) as f64 / response.as_secs_f64();
        scaled(1, increase).max(ADDITIVE_INCREASE_MIN)
    }
}

/// `kDefaultBackoffFactor`, and what is taken away besides.
const BETA: f64 = 0.85;
const DECREASE_EXTRA: u64 = 5_000;

/// Beside others who fill the queue whatever we do, such as a TCP flow: they would take all that is
/// given up. So small a part of a few hundred kilobits is what it grows by from one over-use to the
/// next. Not in libwebrtc.
const STANDING_BETA: f64 = 0.95;

/// Over-use of one who does not use the link fully is taken for a burst of others for so long, and
/// after that for a link that has become slow.
const BURST_MAX: Duration = Duration::from_millis(400);
const BETA_LASTING: f64 = 0.7;

/// A link that audio alone or a lowest layer fills is found when more is sent; until then, a burst of
/// others must not take away the hope of any video.
const UNPROVEN_MIN: u64 = 150_000;

/// `kMaxBitrateReductionInterval`; a longer one would let a queue fill for as long.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(200);

/// Nothing above this many times what comes through is believed without a probe.
const LIMIT_FACTOR: f64 = 1.5;
const LIMIT_EXTRA: u64 = 10_000;

/// In a second, far from the capacity.
const MULTIPLICATIVE_INCREASE: f64 = 1.08;
const INCREASE_MIN: u64 = 1_000;

/// In a second, near the capacity.
const ADDITIVE_INCREASE_MIN: u64 = 4_000;
const FRAMES_PER_SECOND: u64 = 30;
const PACKET_BITS: u64 = 1200 * 8;

/// What the receiver gathers before it tells, and what a layer takes to change.
const RESPONSE_EXTRA: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
