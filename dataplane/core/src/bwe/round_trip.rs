//! To the subscriber and back.

use core::time::Duration;

/// The round trip, from reports where they tell it, else from feedback.
#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    reported: Option<Duration>,
    /// Includes how long the receiver gathers before it tells.
    from_feedback: Option<Duration>,
}

impl RoundTrip {
    /// A report tells it.
    pub(super) fn handle_report(&mut self, round_trip: Duration) {
        self.reported = Some(round_trip);
    }

    /// Feedback came so long after the last packet that it tells of was sent.
    pub(super) fn handle_feedback(&mut self, sample: Duration) {
        let before = self.from_feedback.unwrap_or(sample);
        // RFC 6298 §2.3.
        self.from_feedback = Some(before - before / 8 + sample / 8);
    }

    /// What is known of it.
    pub(super) fn get(&self) -> Duration {
        self.reported
            .or(self.from_feedback)
            .unwrap_or(ROUND_TRIP_START)
    }
}

/// Before anything was measured (`kDefaultRtt`).
const ROUND_TRIP_START: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_count_more_than_feedback_and_feedback_more_than_nothing() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.get(), Duration::from_millis(200));
        round_trip.handle_feedback(Duration::from_millis(80));
        assert_eq!(round_trip.get(), Duration::from_millis(80));
        round_trip.handle_feedback(Duration::from_millis(160));
        assert_eq!(round_trip.get(), Duration::from_millis(90));
        round_trip.handle_report(Duration::from_millis(50));
        assert_eq!(round_trip.get(), Duration::from_millis(50));
    }
}
