//! What the bottleneck let through when it was last over-used, and how sure that is
//! (`link_capacity_estimator.cc`).

use super::units::{kilobits, scaled};

/// Capacity of the link, once it was over-used.
#[derive(Debug)]
pub(super) struct LinkCapacity {
    /// Kilobits a second.
    estimate: Option<f64>,
    /// Variance over the estimate.
    deviation: f64,
}

impl Default for LinkCapacity {
    fn default() -> Self {
        Self {
            estimate: None,
            deviation: DEVIATION_MIN,
        }
    }
}

impl LinkCapacity {
    /// Bits a second; none if it is not known.
    pub(super) fn estimate(&self) -> Option<u64> {
        self.estimate.map(|kilobits| scaled(1000, kilobits))
    }

    /// Whether a throughput is so far above it that it does not hold any more.
    pub(super) fn is_exceeded_by(&self, throughput: u64) -> bool {
        self.bound(1.0)
            .is_some_and(|upper| kilobits(throughput) > upper)
    }

    /// Whether a throughput is so far below it that it does not hold any more.
    pub(super) fn is_missed_by(&self, throughput: u64) -> bool {
        self.bound(-1.0)
            .is_some_and(|lower| kilobits(throughput) < lower)
    }

    /// Forgets it.
    pub(super) fn reset(&mut self) {
        self.estimate = None;
    }

    /// The throughput while the link was over-used is what it can carry.
    pub(super) fn overused(&mut self, throughput: u64) {
        let sample = kilobits(throughput);
        let estimate = self
            .estimate
            .map_or(sample, |before| before + WEIGHT * (sample - before));
        let error = estimate - sample;
        let deviation =
            self.deviation * (1.0 - WEIGHT) + WEIGHT * error * error / estimate.max(1.0);
        self.deviation = deviation.clamp(DEVIATION_MIN, DEVIATION_MAX);
        self.estimate = Some(estimate);
    }

    fn bound(&self, sign: f64) -> Option<f64> {
        let estimate = self.estimate?;
        Some(estimate + sign * DEVIATIONS * (self.deviation * estimate).sqrt())
    }
}

/// Of a new sample.
const WEIGHT: f64 = 0.05;

/// Standard deviations to a bound.
const DEVIATIONS: f64 = 3.0;

/// At 500 kb/s: 14 kb/s.
const DEVIATION_MIN: f64 = 0.4;

/// At 500 kb/s: 35 kb/s.
const DEVIATION_MAX: f64 = 2.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_an_over_use_nothing_is_known() {
        let capacity = LinkCapacity::default();
        assert_eq!(capacity.estimate(), None);
        assert!(!capacity.is_exceeded_by(u64::MAX) && !capacity.is_missed_by(0));
    }

    #[test]
    fn the_first_sample_counts_whole_and_the_others_a_twentieth() {
        let mut capacity = LinkCapacity::default();
        capacity.overused(500_000);
        assert_eq!(capacity.estimate(), Some(500_000));
        capacity.overused(520_000);
        assert_eq!(capacity.estimate(), Some(501_000));
    }

    #[test]
    fn the_bounds_are_three_deviations_away() {
        let mut capacity = LinkCapacity::default();
        capacity.overused(500_000);
        // 3 * sqrt(0.4 * 500) = 42.4
        assert!(!capacity.is_exceeded_by(542_000) && capacity.is_exceeded_by(543_000));
        assert!(!capacity.is_missed_by(458_000) && capacity.is_missed_by(457_000));
    }

    #[test]
    fn after_a_reset_the_next_sample_counts_whole() {
        let mut capacity = LinkCapacity::default();
        capacity.overused(500_000);
        capacity.reset();
        capacity.overused(2_000_000);
        assert_eq!(capacity.estimate(), Some(2_000_000));
    }
}
