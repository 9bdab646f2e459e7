//! Whether the application sends much less than the estimate allows (`alr_detector.cc`).

use super::units::{bytes_in, micros, signed};
use crate::time::Timestamp;

/// A budget that fills at a part of the estimate and that is emptied by what is sent.
#[derive(Debug)]
pub(super) struct AlrDetector {
    /// Bytes: what could have been sent and was not; below zero if it was more.
    budget: i64,
    updated_at: Timestamp,
    /// Since when it is limited.
    since: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl AlrDetector {
    /// Not limited yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            budget: 0,
            updated_at: now,
            since: None,
            ended_at: None,
        }
    }

    /// `sent` bytes left since the last update.
    pub(super) fn update(&mut self, now: Timestamp, sent: u64, estimate: u64) {
        let rate = estimate / 100 * USAGE_PERCENT;
        let full = signed(bytes_in(rate, WINDOW)).max(1);
        let elapsed = (micros(now) - micros(self.updated_at)).min(WINDOW);
        self.updated_at = now;
        let emptied = self.budget.saturating_sub(signed(sent)).max(-full);
        self.budget = (emptied + signed(bytes_in(rate, elapsed))).min(full);
        let ratio = self.budget * 100 / full;
        if ratio > START_PERCENT {
            self.since.get_or_insert(now);
        } else if ratio < STOP_PERCENT && self.since.take().is_some() {
            self.ended_at = Some(now);
        }
    }

    /// Whether it is limited by the application now.
    pub(super) fn is_limited(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it is now, or was less than `within` ago.
    pub(super) fn was_limited(&self, now: Timestamp, within: core::time::Duration) -> bool {
        self.is_limited() || self.ended_at.is_some_and(|ended| now.since(ended) < within)
    }
}

/// `bandwidth_usage_ratio`.
const USAGE_PERCENT: u64 = 65;

/// `start_budget_level_ratio` and `stop_budget_level_ratio`.
const START_PERCENT: i64 = 80;
const STOP_PERCENT: i64 = 50;

/// The budget is full after half a second of silence; microseconds.
const WINDOW: i64 = 500_000;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::ingress::testing::ms;

    /// Sends at `rate` with an estimate of 1 Mb/s, from `from` ms on, for a second.
    fn send(alr: &mut AlrDetector, from: u64, rate: u64) -> bool {
        for step in 1..=50 {
            alr.update(ms(from + step * 20), rate / 8 / 50, 1_000_000);
        }
        alr.is_limited()
    }

    #[test]
    fn one_that_sends_all_it_may_is_not_limited() {
        assert!(!send(&mut AlrDetector::new(ms(0)), 0, 1_000_000));
        assert!(!send(&mut AlrDetector::new(ms(0)), 0, 700_000));
    }

    #[test]
    fn one_that_sends_a_tenth_is_limited() {
        assert!(send(&mut AlrDetector::new(ms(0)), 0, 100_000));
    }

    #[test]
    fn it_ends_when_it_sends_again_and_that_is_remembered() {
        let mut alr = AlrDetector::new(ms(0));
        send(&mut alr, 0, 50_000);
        assert!(!send(&mut alr, 1000, 1_500_000));
        assert!(alr.was_limited(ms(2000), Duration::from_secs(3)));
        assert!(!alr.was_limited(ms(6000), Duration::from_secs(3)));
    }

    #[test]
    fn silence_of_any_length_is_at_most_a_full_budget() {
        let mut alr = AlrDetector::new(ms(0));
        alr.update(ms(10_000_000), 0, 1_000_000);
        assert!(alr.is_limited());
        // 40 KB are a full budget; more than half of it sent ends the state.
        alr.update(ms(10_000_001), 25_000, 1_000_000);
        assert!(!alr.is_limited());
    }
}
