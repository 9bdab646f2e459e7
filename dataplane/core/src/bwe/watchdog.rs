//! What to do while packets leave and nothing is heard of them (`rtt_based_backoff.cc`,
//! `RttBasedBackoff`).

use core::time::Duration;

use crate::time::Timestamp;

/// Knows when feedback came last, and when it is overdue.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Feedback came, or the first packet after a pause was sent.
    heard_at: Timestamp,
    /// The last packet was sent.
    sent_at: Option<Timestamp>,
    lowered_at: Option<Timestamp>,
}

impl Watchdog {
    /// Nothing sent yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            heard_at: now,
            sent_at: None,
            lowered_at: None,
        }
    }

    /// A packet leaves.
    pub(super) fn sent(&mut self, now: Timestamp) {
        // A pause in which nothing was sent is not silence.
        if self.sent_at.is_none_or(|sent| now.since(sent) >= PAUSE_MIN) {
            self.heard_at = now;
        }
        self.sent_at = Some(now);
    }

    /// Feedback told something.
    pub(super) fn heard(&mut self, now: Timestamp) {
        self.heard_at = now;
        self.lowered_at = None;
    }

    /// The estimate is no longer believed.
    pub(super) fn is_overdue(&self, round_trip: Duration) -> bool {
        self.silence() + round_trip > SILENCE_MAX
    }

    /// Nothing was sent for so long that nothing is known of the path any more.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.sent_at.is_some_and(|sent| now.since(sent) >= IDLE_MIN)
    }

    /// What part of the estimate is left, if it is to be lowered now.
    pub(super) fn lower(&mut self, now: Timestamp, round_trip: Duration) -> Option<f64> {
        let is_due = self
            .lowered_at
            .is_none_or(|lowered| now.since(lowered) >= INTERVAL);
        if !self.is_overdue(round_trip) || !is_due {
            return None;
        }
        self.lowered_at = Some(now);
        Some(FACTOR)
    }

    /// How long packets have been sent without news of any.
    fn silence(&self) -> Duration {
        self.sent_at
            .map_or(Duration::ZERO, |sent| sent.since(self.heard_at))
    }
}

/// `rtt_limit`.
const SILENCE_MAX: Duration = Duration::from_secs(3);

const PAUSE_MIN: Duration = Duration::from_secs(1);

/// A queue has drained by then.
const IDLE_MIN: Duration = Duration::from_secs(2);
const _: () = assert!(IDLE_MIN.as_secs() > PAUSE_MIN.as_secs());

/// `drop_interval` and `drop_fraction`.
const INTERVAL: Duration = Duration::from_secs(1);
const FACTOR: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    /// How often the estimate is lowered in `seconds` of sending.
    fn lowered(watchdog: &mut Watchdog, from: u64, seconds: u64) -> usize {
        let steps = (0..seconds * 50).map(|step| ms(from + step * 20));
        steps
            .filter(|now| {
                watchdog.sent(*now);
                watchdog.lower(*now, ROUND_TRIP).is_some()
            })
            .count()
    }

    #[test]
    fn three_seconds_of_silence_are_borne_and_then_it_sinks_once_a_second() {
        let mut watchdog = Watchdog::new(ms(0));
        assert_eq!(lowered(&mut watchdog, 0, 2), 0);
        // Overdue from 2.9 s of silence on: the round trip counts too.
        assert_eq!(lowered(&mut watchdog, 2000, 5), 5);
    }

    #[test]
    fn feedback_ends_it() {
        let mut watchdog = Watchdog::new(ms(0));
        lowered(&mut watchdog, 0, 5);
        assert!(watchdog.is_overdue(ROUND_TRIP));
        watchdog.heard(ms(5000));
        assert!(!watchdog.is_overdue(ROUND_TRIP));
        assert_eq!(lowered(&mut watchdog, 5000, 2), 0);
    }

    #[test]
    fn after_two_seconds_without_a_packet_nothing_is_known() {
        let mut watchdog = Watchdog::new(ms(0));
        assert!(!watchdog.is_idle(ms(5_000)));
        watchdog.sent(ms(6_000));
        assert!(!watchdog.is_idle(ms(7_999)));
        assert!(watchdog.is_idle(ms(8_000)));
    }

    #[test]
    fn who_sends_nothing_hears_nothing() {
        let mut watchdog = Watchdog::new(ms(0));
        watchdog.sent(ms(0));
        assert_eq!(watchdog.lower(ms(60_000), ROUND_TRIP), None);
        watchdog.sent(ms(60_000));
        assert_eq!(watchdog.lower(ms(60_010), ROUND_TRIP), None);
    }
}
