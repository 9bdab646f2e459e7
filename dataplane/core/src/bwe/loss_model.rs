//! A link as the loss-based estimator sees it: so much fits, what exceeds it is lost, and a part of
//! the rest is lost anyway (`loss_based_bwe_v2.cc`, objective and derivatives).

use super::units::kilobits;

/// What was sent over at least a quarter of a second, and what of it was lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Observation {
    pub(super) bytes: u64,
    pub(super) lost_bytes: u64,
    /// Bits a second.
    pub(super) send_rate: u64,
}

/// The last observations, newest first when walked.
#[derive(Debug, Default)]
pub(super) struct Observations {
    ring: [Observation; OBSERVATIONS_MAX],
    count: usize,
}

/// A candidate for what the link is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Channel {
    /// Bits a second that fit.
    pub(super) bandwidth: u64,
    /// The part that is lost whatever is sent.
    pub(super) inherent_loss: f64,
}

impl Observations {
    /// Adds the newest; the oldest goes.
    pub(super) fn add(&mut self, observation: Observation) {
        let place = self.count % OBSERVATIONS_MAX;
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = observation;
        }
        self.count += 1;
    }

    /// Whether they say anything yet.
    pub(super) fn are_enough(&self) -> bool {
        self.count >= OBSERVATIONS_MIN
    }

    /// Whether anything was lost.
    pub(super) fn show_loss(&self) -> bool {
        self.ring
            .iter()
            .any(|observation| observation.lost_bytes > 0)
    }

    /// The part of all bytes that was lost, newer ones counting more. The best and the worst are
    /// left out, but the worst only if it is no sign of having sent far more than usual.
    pub(super) fn average_loss(&self) -> f64 {
        let (mut lost, mut bytes) = (0.0, 0.0);
        let mut best: Option<Weighted> = None;
        let mut worst: Option<Weighted> = None;
        for weighted in self.weighted().filter(|weighted| weighted.bytes > 0.0) {
            lost += weighted.lost;
            bytes += weighted.bytes;
            if best.is_none_or(|best| weighted.ratio() < best.ratio()) {
                best = Some(weighted);
            }
            if worst.is_none_or(|worst| weighted.ratio() > worst.ratio()) {
                worst = Some(weighted);
            }
        }
        if let (Some(best), Some(worst), true) = (best, worst, self.count > OBSERVATIONS_MIN) {
            let is_surge = worst.send_rate >= self.median_send_rate() * SURGE_FACTOR;
            for dropped in [Some(best), (!is_surge).then_some(worst)]
                .into_iter()
                .flatten()
            {
                lost -= dropped.lost;
                bytes -= dropped.bytes;
            }
        }
        if bytes > 0.0 {
            (lost / bytes).max(0.0)
        } else {
            0.0
        }
    }

    /// How well the channel explains them; higher is better. Of channels that explain them equally
    /// well the faster one is preferred, as long as little is lost.
    pub(super) fn likelihood(&self, channel: &Channel, average_loss: f64) -> f64 {
        let bandwidth = kilobits(channel.bandwidth);
        let bias = preference(BIAS, average_loss) * bandwidth
            + preference(LOG_BIAS, average_loss) * bandwidth.ln_1p();
        let mut within = Weighted::default();
        let mut likelihood = 0.0;
        for observed in self.weighted() {
            likelihood += bias * observed.bytes;
            if observed.send_rate > channel.bandwidth {
                likelihood += observed.log_likelihood(channel.loss_at(observed.send_rate));
            } else {
                within.add(&observed);
            }
        }
        likelihood + within.log_likelihood(channel.loss_at(0))
    }

    /// The channel with an inherent loss that explains them better: one step of Newton's method.
    pub(super) fn refine(&self, channel: Channel) -> Channel {
        let (mut first, mut second) = (0.0, 0.0);
        let mut add = |observed: &Weighted, loss: f64| {
            let (lost, received) = (observed.lost / loss, observed.received() / (1.0 - loss));
            first += lost - received;
            second -= lost / loss + received / (1.0 - loss);
        };
        let mut within = Weighted::default();
        for observed in self.weighted() {
            if observed.send_rate > channel.bandwidth {
                add(&observed, channel.loss_at(observed.send_rate));
            } else {
                within.add(&observed);
            }
        }
        add(&within, channel.loss_at(0));
        let step = NEWTON_STEP * first / second.min(SECOND_DERIVATIVE_MAX);
        Channel {
            bandwidth: channel.bandwidth,
            inherent_loss: channel.inherent_loss - step,
        }
        .feasible()
    }

    /// Each with its weight, in kilobytes.
    fn weighted(&self) -> impl Iterator<Item = Weighted> {
        let newest = self.count;
        let indices = (newest.saturating_sub(OBSERVATIONS_MAX)..newest).rev();
        let observations =
            indices.filter_map(|index| self.ring.get(index % OBSERVATIONS_MAX).copied());
        observations.scan(1.0, |weight, observation| {
            let factor = *weight / 1000.0;
            *weight *= AGEING;
            Some(Weighted {
                bytes: observation.bytes as f64 * factor,
                lost: observation.lost_bytes as f64 * factor,
                send_rate: observation.send_rate,
            })
        })
    }

    fn median_send_rate(&self) -> u64 {
        let mut rates = self.ring.map(|observation| observation.send_rate);
        let known = self.count.min(OBSERVATIONS_MAX);
        let Some(rates) = rates.get_mut(..known) else {
            return 0;
        };
        rates.sort_unstable();
        rates.get(known / 2).copied().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    bytes: f64,
    lost: f64,
    send_rate: u64,
}

impl Weighted {
    /// Both were sent at rates that fit, and so lost the same part.
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.lost += other.lost;
    }

    fn received(&self) -> f64 {
        self.bytes - self.lost
    }

    fn log_likelihood(&self, loss: f64) -> f64 {
        self.lost * loss.ln() + self.received() * (1.0 - loss).ln()
    }

    fn ratio(&self) -> f64 {
        self.lost / self.bytes
    }
}

impl Channel {
    /// The same with an inherent loss that can be believed at its bandwidth.
    pub(super) fn feasible(self) -> Self {
        let most = LOSS_OFFSET + LOSS_BALANCE / kilobits(self.bandwidth).max(1.0);
        Self {
            inherent_loss: self
                .inherent_loss
                .clamp(LOSS_MIN, most.clamp(LOSS_MIN, 1.0)),
            ..self
        }
    }

    /// The part that is lost if so much is sent.
    fn loss_at(&self, send_rate: u64) -> f64 {
        let excess = send_rate.saturating_sub(self.bandwidth) as f64;
        let exceeding = excess / (send_rate as f64).max(1.0);
        let loss = self.inherent_loss + (1.0 - self.inherent_loss) * exceeding;
        loss.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    }
}

/// A bias that vanishes, and turns, as the loss nears the threshold (`AdjustBiasFactor`).
fn preference(bias: f64, average_loss: f64) -> f64 {
    let below = PREFERENCE_THRESHOLD - average_loss;
    bias * below / (PREFERENCE_SMOOTHING + below.abs())
}

/// What may be inherent: `inherent_loss_upper_bound_offset` and `.._bandwidth_balance` (kb/s).
pub(super) const LOSS_OFFSET: f64 = 0.05;
pub(super) const LOSS_BALANCE: f64 = 100.0;

/// `inherent_loss_lower_bound`.
const LOSS_MIN: f64 = 1e-3;

/// `observation_window_size`, and `min_num_observations`.
const OBSERVATIONS_MAX: usize = 15;
const OBSERVATIONS_MIN: usize = 3;

/// `temporal_weight_factor`.
const AGEING: f64 = 0.9;

/// `newton_step_size`; and what keeps the division from exploding.
const NEWTON_STEP: f64 = 0.75;
const SECOND_DERIVATIVE_MAX: f64 = -1e-6;

/// `higher_bandwidth_bias_factor`, `higher_log_bandwidth_bias_factor`.
const BIAS: f64 = 0.0002;
const LOG_BIAS: f64 = 0.02;

/// `loss_threshold_of_high_bandwidth_preference`, `bandwidth_preference_smoothing_factor`.
const PREFERENCE_THRESHOLD: f64 = 0.2;
const PREFERENCE_SMOOTHING: f64 = 0.002;

/// `median_sending_rate_factor`.
const SURGE_FACTOR: u64 = 2;

const PROBABILITY_MIN: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Quarters of a second at these rates, each with its part lost.
    fn observations(of: &[(u64, f64)]) -> Observations {
        let mut observations = Observations::default();
        for (send_rate, loss) in of {
            let bytes = send_rate / 32;
            observations.add(Observation {
                bytes,
                lost_bytes: super::super::units::scaled(bytes, *loss),
                send_rate: *send_rate,
            });
        }
        observations
    }

    fn channel(bandwidth: u64, inherent_loss: f64) -> Channel {
        Channel {
            bandwidth,
            inherent_loss,
        }
    }

    #[test]
    fn what_exceeds_the_bandwidth_is_lost() {
        let channel = channel(1_000_000, 0.1);
        assert!((channel.loss_at(500_000) - 0.1).abs() < 1e-9);
        assert!((channel.loss_at(2_000_000) - (0.1 + 0.9 * 0.5)).abs() < 1e-9);
        assert!(channel.loss_at(u64::MAX) < 1.0);
    }

    #[test]
    fn the_average_leaves_the_best_and_the_worst_out() {
        let even = observations(&[(1_000_000, 0.1); 3]);
        assert!((even.average_loss() - 0.1).abs() < 1e-3);
        let mut of = [(1_000_000, 0.1); 10];
        of[4].1 = 0.9;
        of[6].1 = 0.0;
        assert!((observations(&of).average_loss() - 0.1).abs() < 1e-3);
        // But not a worst that was a surge.
        of[4].0 = 3_000_000;
        assert!(observations(&of).average_loss() > 0.2);
    }

    #[test]
    fn without_observations_nothing_is_lost() {
        let none = Observations::default();
        assert!(none.average_loss().abs() < 1e-9);
        assert!(!none.are_enough());
        assert!(!observations(&[(1, 0.0); 2]).are_enough());
        assert!(observations(&[(1, 0.0); 3]).are_enough());
    }

    #[test]
    fn loss_that_grows_with_the_rate_is_explained_by_a_smaller_bandwidth() {
        // A link of 1 Mb/s.
        let seen = observations(&[
            (2_000_000, 0.5),
            (1_500_000, 0.333),
            (900_000, 0.0),
            (2_000_000, 0.5),
        ]);
        let average = seen.average_loss();
        let likelihood = |bandwidth| seen.likelihood(&channel(bandwidth, 0.01), average);
        assert!(likelihood(1_000_000) > likelihood(700_000));
        assert!(likelihood(1_000_000) > likelihood(1_500_000));
    }

    #[test]
    fn loss_that_does_not_is_explained_as_inherent() {
        let seen = observations(&[(2_000_000, 0.05), (1_000_000, 0.05), (500_000, 0.05)]);
        let mut found = channel(2_000_000, 0.01);
        for _ in 0..20 {
            found = seen.refine(found);
        }
        assert!((found.inherent_loss - 0.05).abs() < 0.005, "{found:?}");
    }

    #[test]
    fn more_loss_than_can_be_inherent_is_not_believed() {
        let found = channel(1_000_000, 0.5).feasible();
        assert!((found.inherent_loss - 0.15).abs() < 1e-9);
        assert!((channel(0, 2.0).feasible().inherent_loss - 1.0).abs() < 1e-9);
        assert!((channel(1_000_000, -1.0).feasible().inherent_loss - 1e-3).abs() < 1e-9);
    }
}
