//! The subscriber: takes packets, sends feedback as Chromium does
//! (`transport_sequence_number_feedback_generator.cc`).

use super::feedback::FeedbackBytes;

/// Times are in microseconds by its own clock.
#[derive(Debug)]
pub(super) struct Receiver {
    clock_offset: u64,
    /// By transport-wide sequence number, from the first on that was not reported.
    arrivals: Vec<Option<u64>>,
    next: u64,
    due_at: u64,
    bytes: u64,
    rate_since: u64,
    interval: u64,
}

impl Receiver {
    pub(super) fn new(clock_offset: u64) -> Self {
        Self {
            clock_offset,
            arrivals: Vec::new(),
            next: 0,
            due_at: 0,
            bytes: 0,
            rate_since: 0,
            interval: 100_000,
        }
    }

    pub(super) fn take(&mut self, at: u64, number: u64, bytes: u64) {
        self.bytes += bytes;
        let Some(place) = number.checked_sub(self.next) else {
            return;
        };
        let place = usize::try_from(place).unwrap();
        if self.arrivals.len() <= place {
            self.arrivals.resize(place + 1, None);
        }
        self.arrivals[place] = Some(at + self.clock_offset);
    }

    pub(super) fn feedback(&mut self, now: u64) -> Option<FeedbackBytes> {
        if now < self.due_at || self.arrivals.is_empty() {
            return None;
        }
        self.adapt(now);
        self.due_at = now + self.interval;
        let ticks: Vec<_> = self
            .arrivals
            .iter()
            .map(|at| at.map(|at| at / 250))
            .collect();
        let base = u16::try_from(self.next % (1 << 16)).unwrap();
        let feedback = FeedbackBytes::new(base, &ticks);
        // What did not fit is reported next.
        self.next += feedback.covered as u64;
        self.arrivals.drain(..feedback.covered);
        Some(feedback)
    }

    /// Feedback takes a twentieth of the rate.
    fn adapt(&mut self, now: u64) {
        let elapsed = now - self.rate_since;
        if elapsed < 1_000_000 {
            return;
        }
        let rate = (self.bytes * 8) as f64 * 1e6 / elapsed as f64;
        self.interval = ((68.0 * 8.0 * 1e6 / (0.05 * rate).max(1.0)) as u64).clamp(50_000, 250_000);
        self.bytes = 0;
        self.rate_since = now;
    }
}
