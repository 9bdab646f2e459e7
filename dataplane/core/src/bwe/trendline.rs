//! The trend of the queueing delay: the slope of a line through the last deltas
//! (`trendline_estimator.cc`, `TrendlineEstimator`).

use super::arrival_groups::GroupDelta;
use super::units::millis;

/// Takes deltas of groups, tells how fast the delay grows.
#[derive(Debug, Default)]
pub(super) struct Trendline {
    /// A ring: (arrival, smoothed delay), in milliseconds since the first arrival.
    points: [(f64, f64); WINDOW],
    sums: Sums,
    /// Deltas so far.
    count: u32,
    first_arrival: Option<i64>,
    accumulated: f64,
    smoothed: f64,
    slope: f64,
}

impl Trendline {
    /// Adds a delta.
    pub(super) fn add(&mut self, delta: &GroupDelta) {
        let first = *self.first_arrival.get_or_insert(delta.at);
        self.accumulated += millis(delta.arrived - delta.sent);
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        let point = (millis(delta.at - first), self.smoothed);
        let place = self.count as usize % WINDOW;
        let is_full = self.count as usize >= WINDOW;
        if let Some(slot) = self.points.get_mut(place) {
            let oldest = core::mem::replace(slot, point);
            if is_full {
                self.sums.remove(oldest);
            }
            self.sums.add(point);
        }
        self.count = self.count.saturating_add(1);
        // What rounding has left in the sums goes with each round of the ring.
        if place == 0 {
            let known = self.points.iter().take(self.count as usize).copied();
            self.sums = Sums::of(point.0, known);
        }
        if self.count as usize >= WINDOW {
            self.slope = self.sums.slope().unwrap_or(self.slope);
        }
    }

    /// Milliseconds of delay for each millisecond of time: (rate - capacity) / capacity while a
    /// queue grows or shrinks. Zero before the window is full.
    pub(super) fn slope(&self) -> f64 {
        self.slope
    }

    /// Deltas that were added.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

/// What a line by least squares is made from. Times count from an origin near to them, so that
/// their squares stay exact.
#[derive(Debug, Default)]
struct Sums {
    origin: f64,
    count: f64,
    time: f64,
    delay: f64,
    time_squared: f64,
    time_delay: f64,
}

impl Sums {
    fn of(origin: f64, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut sums = Self {
            origin,
            ..Self::default()
        };
        for point in points {
            sums.add(point);
        }
        sums
    }

    fn add(&mut self, point: (f64, f64)) {
        self.weigh(point, 1.0);
    }

    fn remove(&mut self, point: (f64, f64)) {
        self.weigh(point, -1.0);
    }

    fn weigh(&mut self, (time, delay): (f64, f64), weight: f64) {
        let time = time - self.origin;
        self.count += weight;
        self.time += weight * time;
        self.delay += weight * delay;
        self.time_squared += weight * time * time;
        self.time_delay += weight * time * delay;
    }

    /// None if all points stand at one time.
    fn slope(&self) -> Option<f64> {
        let denominator = self.count * self.time_squared - self.time * self.time;
        let numerator = self.count * self.time_delay - self.time * self.delay;
        (denominator > DENOMINATOR_MIN).then(|| numerator / denominator)
    }
}

/// Less is rounding: a window of a single millisecond gives more.
const DENOMINATOR_MIN: f64 = 1.0;

/// Points of the line (`kDefaultTrendlineWindowSize`).
const WINDOW: usize = 20;

/// Weight of what was (`kDefaultTrendlineSmoothingCoeff`).
const SMOOTHING: f64 = 0.9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds `count` groups, sent every 20 ms, each `later` µs later than the one before.
    fn add(trend: &mut Trendline, count: i64, later: i64) {
        for _ in 0..count {
            let index = i64::from(trend.count());
            trend.add(&GroupDelta {
                sent: 20_000,
                arrived: 20_000 + later,
                at: index * (20_000 + later),
            });
        }
    }

    #[test]
    fn without_queueing_the_line_is_level() {
        let mut trend = Trendline::default();
        add(&mut trend, 50, 0);
        assert!(trend.slope().abs() < 1e-9);
    }

    #[test]
    fn before_the_window_is_full_there_is_no_slope() {
        let mut trend = Trendline::default();
        add(&mut trend, 19, 5_000);
        assert!(trend.slope().abs() < 1e-9);
        add(&mut trend, 1, 5_000);
        assert!(trend.slope() > 0.1);
    }

    #[test]
    fn a_steady_overload_gives_its_part_of_the_capacity() {
        // Each 20 ms of sending takes 25 ms to come: 20 % of the time is delay. The smoothing
        // lags by a constant in the end.
        let mut trend = Trendline::default();
        add(&mut trend, 200, 5_000);
        assert!((trend.slope() - 0.2).abs() < 0.001, "{}", trend.slope());
        add(&mut trend, 200, -5_000);
        assert!(trend.slope() < 0.0);
    }

    #[test]
    fn points_on_a_line_give_its_slope() {
        let line = (0..20).map(|index| (f64::from(index), 3.0 + 0.25 * f64::from(index)));
        let slope = Sums::of(7.0, line).slope().unwrap();
        assert!((slope - 0.25).abs() < 1e-9);
        let one_moment = core::iter::repeat_n((1.0, 2.0), WINDOW);
        assert_eq!(Sums::of(0.0, one_moment).slope(), None);
    }

    proptest! {
        #[test]
        fn the_sums_that_are_kept_up_are_those_of_the_points(
            deltas in proptest::collection::vec((1_000_i64..500_000, 0_i64..900_000), 20..300),
        ) {
            let mut trend = Trendline::default();
            // After some days.
            let mut at = 300_000_000_000;
            trend.first_arrival = Some(0);
            for (sent, arrived) in deltas {
                at += arrived;
                trend.add(&GroupDelta { sent, arrived, at });
            }
            let anew = Sums::of(millis(at), trend.points.iter().copied()).slope();
            if let Some(anew) = anew {
                prop_assert!((trend.slope() - anew).abs() < 1e-6, "{} {anew}", trend.slope());
            }
        }
    }
}
