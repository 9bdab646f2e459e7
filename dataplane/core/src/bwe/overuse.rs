//! Whether the trend of the delay means that a queue is filling, by a threshold that adapts to how
//! noisy the path is (`trendline_estimator.cc`, `Detect` and `UpdateThreshold`).

use super::arrival_groups::GroupDelta;
use super::trendline::Trendline;
use super::units::millis;

/// What a path's queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// Neither fills nor drains.
    #[default]
    Normal,
    /// It fills: more is sent than goes through.
    Over,
    /// It drains.
    Under,
}

/// Takes trends, tells of over-use.
#[derive(Debug)]
pub(super) struct OveruseDetector {
    usage: Usage,
    threshold: f64,
    /// Milliseconds of sending for which the trend has been above the threshold.
    over_for: Option<f64>,
    samples_over: u32,
    last_slope: f64,
    /// Microseconds.
    adapted_at: Option<i64>,
}

impl Default for OveruseDetector {
    fn default() -> Self {
        Self {
            usage: Usage::Normal,
            threshold: THRESHOLD_START,
            over_for: None,
            samples_over: 0,
            last_slope: 0.0,
            adapted_at: None,
        }
    }
}

impl OveruseDetector {
    /// What the last update showed.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Looks at the trend with its newest delta.
    pub(super) fn update(&mut self, trend: &Trendline, delta: &GroupDelta) {
        if trend.count() < 2 {
            return;
        }
        let slope = trend.slope();
        let modified = f64::from(trend.count().min(DELTAS_MAX)) * slope * GAIN;
        if modified > self.threshold {
            self.above(slope, millis(delta.sent));
        } else {
            self.over_for = None;
            self.samples_over = 0;
            self.usage = if modified < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_slope = slope;
        self.adapt(modified, delta.at);
    }

    fn above(&mut self, slope: f64, sent: f64) {
        // Nobody knows since when in the first interval; half of it is a fair guess.
        let over_for = self.over_for.map_or(sent / 2.0, |before| before + sent);
        self.over_for = Some(over_for);
        self.samples_over += 1;
        if over_for > OVER_FOR_MIN && self.samples_over > 1 && slope >= self.last_slope {
            self.over_for = Some(0.0);
            self.samples_over = 0;
            self.usage = Usage::Over;
        }
    }

    /// Follows what the trend usually is, slowly down and faster up, so that a flow which shares
    /// its queue with a loss-based one is not starved.
    fn adapt(&mut self, modified: f64, at: i64) {
        let elapsed = millis(at - self.adapted_at.unwrap_or(at)).clamp(0.0, ADAPT_INTERVAL_MAX);
        self.adapted_at = Some(at);
        let size = modified.abs();
        // A sudden change of the path is not noise.
        if size > self.threshold + SPIKE_MIN {
            return;
        }
        let gain = if size < self.threshold {
            GAIN_DOWN
        } else {
            GAIN_UP
        };
        let moved = self.threshold + gain * (size - self.threshold) * elapsed;
        self.threshold = moved.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// `kDefaultTrendlineThresholdGain`.
const GAIN: f64 = 4.0;

/// `kMinNumDeltas`: the trend counts the more, the more deltas it rests on.
const DELTAS_MAX: u32 = 60;

/// `kOverUsingTimeThreshold`, milliseconds.
const OVER_FOR_MIN: f64 = 10.0;

const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;

/// `k_up_` and `k_down_`, for each millisecond.
const GAIN_UP: f64 = 0.0087;
const GAIN_DOWN: f64 = 0.039;

/// `kMaxAdaptOffsetMs`.
const SPIKE_MIN: f64 = 15.0;

/// `kMaxTimeDeltaMs`.
const ADAPT_INTERVAL_MAX: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Bench {
        trend: Trendline,
        detector: OveruseDetector,
        at: i64,
    }

    impl Bench {
        /// One group, sent 20 ms after the last and `later` µs later than it; returns the usage.
        fn add(&mut self, later: i64) -> Usage {
            self.at += 20_000 + later;
            let delta = GroupDelta {
                sent: 20_000,
                arrived: 20_000 + later,
                at: self.at,
            };
            self.trend.add(&delta);
            self.detector.update(&self.trend, &delta);
            self.detector.usage()
        }
    }

    #[test]
    fn a_path_without_a_queue_is_used_normally() {
        let mut bench = Bench::default();
        for _ in 0..500 {
            assert_eq!(bench.add(0), Usage::Normal);
        }
    }

    #[test]
    fn a_queue_that_fills_is_found_within_ten_groups() {
        let mut bench = Bench::default();
        for _ in 0..100 {
            bench.add(0);
        }
        // Twice the capacity.
        let found = (0..10).position(|_| bench.add(20_000) == Usage::Over);
        assert!(found.is_some());
    }

    #[test]
    fn a_queue_that_drains_is_under_use() {
        let mut bench = Bench::default();
        for _ in 0..60 {
            bench.add(10_000);
        }
        let found = (0..40).any(|_| bench.add(-10_000) == Usage::Under);
        assert!(found);
    }

    #[test]
    fn noise_around_a_level_line_is_not_over_use() {
        let mut bench = Bench::default();
        for index in 0..1000_i64 {
            // Delays of -5, 0 and 5 ms in turn: deltas of 5, 5 and -10 ms.
            let later = if index % 3 == 2 { -10_000 } else { 5_000 };
            assert_ne!(bench.add(later), Usage::Over, "{index}");
        }
    }

    #[test]
    fn the_threshold_sinks_while_all_is_calm_and_stays_in_its_bounds() {
        let mut bench = Bench::default();
        for _ in 0..500 {
            bench.add(0);
        }
        assert!((bench.detector.threshold - THRESHOLD_MIN).abs() < 1e-9);
        // Slowly growing trends pull it up.
        for index in 0..200 {
            bench.add(index * 20);
        }
        assert!(bench.detector.threshold > 6.5);
        assert!(bench.detector.threshold <= THRESHOLD_MAX);
    }

    #[test]
    fn a_spike_does_not_move_the_threshold() {
        let mut detector = OveruseDetector::default();
        detector.adapt(0.0, 0);
        let before = detector.threshold;
        detector.adapt(before + 15.1, 50_000);
        detector.adapt(-before - 15.1, 100_000);
        assert!((detector.threshold - before).abs() < 1e-9);
        detector.adapt(before + 14.9, 110_000);
        // 0.0087 for each of ten milliseconds.
        assert!((detector.threshold - before - 14.9 * 0.087).abs() < 1e-9);
    }
}
