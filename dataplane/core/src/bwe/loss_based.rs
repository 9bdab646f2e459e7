//! The loss-based estimate, second version (`loss_based_bwe_v2.cc`, `LossBasedBweV2`).

use super::feedback::Batch;
use super::loss_model::{Channel, LOSS_BALANCE, LOSS_OFFSET, Observation, Observations};
use super::units::{bits_per_second, scaled};
use super::{ESTIMATE_MAX, ESTIMATE_MIN};

/// Finds the bandwidth that explains best what is lost.
#[derive(Debug)]
pub(super) struct LossBased {
    observations: Observations,
    partial: Partial,
    /// When the last packet of the newest observation was sent, in microseconds.
    observed_until: Option<i64>,
    average_loss: f64,
    best: Option<Channel>,
    state: LossState,
    result: u64,
    hold: Hold,
    /// While it recovers: what it may grow to, and since when.
    ceiling: Option<(i64, u64)>,
}

/// What rules the loss-based estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossState {
    /// Loss does not limit.
    #[default]
    DelayBased,
    /// It limits, and the estimate comes back.
    Increasing,
    /// It limits.
    Decreasing,
}

/// What the estimate is made from besides the feedback.
#[derive(Clone, Copy, Debug)]
pub(super) struct LossEvidence {
    /// The delay-based estimate, bits a second.
    pub(super) delay_based: u64,
    /// What comes through, bits a second.
    pub(super) throughput: Option<u64>,
    pub(super) application_limited: bool,
}

/// Feedback that is not yet an observation.
#[derive(Debug, Default)]
struct Partial {
    bytes: u64,
    lost_bytes: u64,
}

/// After a decrease the estimate rests for a while, longer each time.
#[derive(Debug)]
struct Hold {
    until: Option<i64>,
    duration: i64,
    rate: u64,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            until: None,
            duration: HOLD_MIN,
            rate: u64::MAX,
        }
    }
}

impl Default for LossBased {
    fn default() -> Self {
        Self {
            observations: Observations::default(),
            partial: Partial::default(),
            observed_until: None,
            average_loss: 0.0,
            best: None,
            state: LossState::DelayBased,
            result: ESTIMATE_MAX,
            hold: Hold::default(),
            ceiling: None,
        }
    }
}

impl LossBased {
    /// Bits a second: never above the delay-based estimate that it was given last.
    pub(super) fn estimate(&self) -> u64 {
        self.result
    }

    /// What rules it.
    pub(super) fn state(&self) -> LossState {
        self.state
    }

    /// The part of what was sent lately that was lost.
    pub(super) fn average_loss(&self) -> f64 {
        self.average_loss
    }

    /// A probe has come through at this rate, so the link carries it.
    pub(super) fn proven(&mut self, rate: u64) {
        if let Some(best) = &mut self.best {
            best.bandwidth = best.bandwidth.max(rate);
        }
    }

    /// To be called with each feedback.
    pub(super) fn update(&mut self, batch: &Batch, evidence: &LossEvidence) {
        let observed = self.observe(batch);
        let Some(now) = self
            .observed_until
            .filter(|_| self.observations.are_enough())
        else {
            self.result = evidence.delay_based;
            return;
        };
        if observed {
            self.average_loss = self.observations.average_loss();
            let before = *self.best.get_or_insert(Channel {
                bandwidth: evidence.delay_based,
                inherent_loss: INHERENT_LOSS_START,
            });
            let mut best = self.best_channel(before, evidence);
            self.restrain(now, before, &mut best, evidence);
            self.best = Some(best);
        }
        self.conclude(now, evidence);
    }

    /// Whether the feedback completes an observation.
    fn observe(&mut self, batch: &Batch) -> bool {
        let Some((first, last)) = batch.sent else {
            return false;
        };
        self.partial.bytes += batch.bytes;
        self.partial.lost_bytes += batch.lost_bytes;
        self.partial.lost_bytes = self
            .partial
            .lost_bytes
            .saturating_sub(batch.recovered_bytes);
        let duration = last - *self.observed_until.get_or_insert(first);
        if duration < OBSERVATION_MIN || self.partial.bytes == 0 {
            return false;
        }
        self.observed_until = Some(last);
        let partial = core::mem::take(&mut self.partial);
        self.observations.add(Observation {
            bytes: partial.bytes,
            lost_bytes: partial.lost_bytes.min(partial.bytes),
            send_rate: bits_per_second(partial.bytes, duration),
        });
        true
    }

    /// The likeliest of some channels around the one before.
    fn best_channel(&self, before: Channel, evidence: &LossEvidence) -> Channel {
        if !self.observations.show_loss() {
            // The fastest candidate explains that best; there is nothing to reckon.
            let best = Channel {
                bandwidth: scaled(before.bandwidth, FASTER).max(evidence.delay_based),
                inherent_loss: 0.0,
            };
            return best.feasible();
        }
        let throughput = evidence
            .throughput
            .filter(|_| !evidence.application_limited);
        let delay_based = Some(evidence.delay_based).filter(|delay| *delay > before.bandwidth);
        let steps = CANDIDATE_FACTORS.map(|factor| Some(scaled(before.bandwidth, factor)));
        let candidates = steps.into_iter().chain([throughput, delay_based]).flatten();
        let refined = candidates.map(|bandwidth| {
            let channel = Channel {
                bandwidth: bandwidth.clamp(ESTIMATE_MIN, ESTIMATE_MAX),
                ..before
            };
            self.observations.refine(channel.feasible())
        });
        let mut best = (f64::NEG_INFINITY, before);
        for channel in refined {
            let likelihood = self.observations.likelihood(&channel, self.average_loss);
            if likelihood > best.0 {
                best = (likelihood, channel);
            }
        }
        best.1
    }

    /// How fast it may grow while loss limits it.
    fn restrain(&mut self, now: i64, before: Channel, best: &mut Channel, evidence: &LossEvidence) {
        if self.average_loss > best.inherent_loss {
            best.bandwidth = best.bandwidth.min(before.bandwidth);
        }
        if self.state == LossState::DelayBased || best.bandwidth <= before.bandwidth {
            return;
        }
        if let Some((since, ceiling)) = self.ceiling
            && now < since + CEILING_WINDOW
        {
            best.bandwidth = best.bandwidth.min(ceiling.max(before.bandwidth));
        }
        if let Some(throughput) = evidence.throughput {
            let is_near_hold = throughput < scaled(self.hold.rate.min(ESTIMATE_MAX), NEAR_HOLD);
            let factor = if is_near_hold {
                GROWTH_NEAR_HOLD
            } else {
                GROWTH
            };
            let limit = scaled(throughput, factor).max(before.bandwidth);
            best.bandwidth = best.bandwidth.min(limit);
            // Else it would rest in the state that it is to leave.
            if self.state == LossState::Decreasing && best.bandwidth == before.bandwidth {
                best.bandwidth += 1;
            }
        }
    }

    /// The estimate from the best channel, and what rules it.
    fn conclude(&mut self, now: i64, evidence: &LossEvidence) {
        let best = self.best.map_or(ESTIMATE_MAX, |best| best.bandwidth);
        let upper = best
            .min(instant_limit(self.average_loss))
            .min(evidence.delay_based);
        let bounded = upper.max(
            evidence
                .throughput
                .unwrap_or_default()
                .min(evidence.delay_based),
        );
        let limits = bounded < evidence.delay_based;
        let rests = self.hold.until.is_some_and(|until| now < until);
        if limits && rests && self.state == LossState::Decreasing {
            self.result = bounded.min(self.hold.rate);
            return;
        }
        if !limits {
            self.hold = Hold::default();
            self.state = LossState::DelayBased;
        } else if self.state != LossState::DelayBased && bounded > self.result {
            self.state = LossState::Increasing;
        } else if self.state != LossState::Increasing || bounded < self.result {
            self.begin_hold(now, bounded);
            self.state = LossState::Decreasing;
        }
        self.result = bounded;
        if self.state == LossState::DelayBased {
            self.ceiling = None;
        } else if self
            .ceiling
            .is_none_or(|(since, _)| now > since + CEILING_WINDOW)
        {
            self.ceiling = Some((now, scaled(best, CEILING_FACTOR).max(ESTIMATE_MIN)));
        }
    }

    fn begin_hold(&mut self, now: i64, rate: u64) {
        if self.state == LossState::Decreasing {
            return;
        }
        self.hold = Hold {
            until: Some(now + self.hold.duration),
            duration: (self.hold.duration * 2).min(HOLD_MAX),
            rate,
        };
    }
}

/// What so much loss allows in any case.
fn instant_limit(average_loss: f64) -> u64 {
    if average_loss <= LOSS_OFFSET {
        return ESTIMATE_MAX;
    }
    scaled(1000, LOSS_BALANCE / (average_loss - LOSS_OFFSET)).clamp(ESTIMATE_MIN, ESTIMATE_MAX)
}

/// `observation_duration_lower_bound`, microseconds.
const OBSERVATION_MIN: i64 = 250_000;

/// `initial_inherent_loss_estimate`.
const INHERENT_LOSS_START: f64 = 0.01;

/// `candidate_factors`.
const CANDIDATE_FACTORS: [f64; 3] = [FASTER, 1.0, 0.95];
const FASTER: f64 = 1.02;

/// `delayed_increase_window` (microseconds) and `max_increase_factor`.
const CEILING_WINDOW: i64 = 300_000;
const CEILING_FACTOR: f64 = 1.3;

/// `bandwidth_rampup_upper_bound_factor`, `.._in_hold` and `bandwidth_rampup_hold_threshold`.
const GROWTH: f64 = 1.5;
const GROWTH_NEAR_HOLD: f64 = 1.2;
const NEAR_HOLD: f64 = 1.3;

/// `kInitHoldDuration` and `kMaxHoldDuration`, microseconds; `hold_duration_factor` is two.
const HOLD_MIN: i64 = 300_000;
const HOLD_MAX: i64 = 60_000_000;

#[cfg(test)]
mod tests;
