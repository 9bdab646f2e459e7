//! Links that lose, at random and because they are full.

use super::*;

struct Bench {
    estimator: LossBased,
    at: i64,
    delay_based: u64,
}

impl Bench {
    fn new(delay_based: u64) -> Self {
        Self {
            estimator: LossBased::default(),
            at: 0,
            delay_based,
        }
    }

    /// Feedback every 100 ms for `tenths` of a second, of what was sent at `rate`.
    fn feed(&mut self, tenths: i64, rate: u64, loss: f64) -> u64 {
        for _ in 0..tenths {
            let bytes = rate / 80;
            let batch = Batch {
                bytes,
                lost_bytes: scaled(bytes, loss),
                sent: Some((self.at, self.at + 100_000)),
                ..Batch::default()
            };
            self.at += 100_000;
            let evidence = LossEvidence {
                delay_based: self.delay_based,
                throughput: Some(scaled(rate, 1.0 - loss)),
                application_limited: false,
            };
            self.estimator.update(&batch, &evidence);
        }
        self.estimator.estimate()
    }

    /// What goes through a link of `capacity` without a queue if all is sent that may be.
    fn fill(&mut self, tenths: i64, capacity: u64) -> u64 {
        for _ in 0..tenths {
            let rate = self.estimator.estimate().min(self.delay_based);
            let excess = rate.saturating_sub(capacity);
            self.feed(1, rate, excess as f64 / rate as f64);
        }
        self.estimator.estimate()
    }
}

#[test]
fn without_loss_the_delay_rules() {
    let mut bench = Bench::new(1_000_000);
    assert_eq!(bench.feed(100, 900_000, 0.0), 1_000_000);
    assert_eq!(bench.estimator.state(), LossState::DelayBased);
}

#[test]
fn before_three_observations_the_delay_rules() {
    let mut bench = Bench::new(1_000_000);
    assert_eq!(bench.feed(8, 1_000_000, 0.5), 1_000_000);
    assert!(bench.feed(2, 1_000_000, 0.5) < 1_000_000);
}

#[test]
fn a_little_random_loss_does_not_lower_it() {
    for loss in [0.01, 0.02, 0.05] {
        let mut bench = Bench::new(2_000_000);
        let estimate = bench.feed(600, 2_000_000, loss);
        assert!(estimate >= 1_900_000, "{loss}: {estimate}");
    }
}

#[test]
fn a_link_without_a_queue_is_found_by_its_loss() {
    let mut bench = Bench::new(2_000_000);
    bench.feed(20, 500_000, 0.0);
    let estimate = bench.fill(300, 1_000_000);
    assert!((900_000..=1_150_000).contains(&estimate), "{estimate}");
}

#[test]
fn it_is_not_lowered_below_what_comes_through() {
    let mut bench = Bench::new(2_000_000);
    let estimate = bench.feed(100, 2_000_000, 0.4);
    assert_eq!(estimate, 1_200_000);
    assert_eq!(bench.estimator.state(), LossState::Decreasing);
}

#[test]
fn when_the_loss_ends_it_comes_back() {
    let mut bench = Bench::new(2_000_000);
    bench.feed(50, 2_000_000, 0.4);
    assert!(bench.estimator.estimate() < 1_300_000);
    let estimate = bench.fill(300, 3_000_000);
    assert_eq!(estimate, 2_000_000);
    assert_eq!(bench.estimator.state(), LossState::DelayBased);
}

#[test]
fn it_is_never_above_the_delay_based_estimate() {
    let mut bench = Bench::new(2_000_000);
    bench.feed(50, 2_000_000, 0.3);
    bench.delay_based = 400_000;
    assert_eq!(bench.feed(1, 2_000_000, 0.3), 400_000);
}

#[test]
fn great_loss_has_a_limit_whatever_the_model_says() {
    assert_eq!(instant_limit(0.05), ESTIMATE_MAX);
    assert_eq!(instant_limit(0.15), 1_000_000);
    assert_eq!(instant_limit(0.55), 200_000);
}
