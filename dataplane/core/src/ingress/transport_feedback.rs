//! Arrival times of all that a client sends, reported back so that it can estimate its bandwidth
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use core::time::Duration;

use crate::rtcp::{FeedbackHeader, RtcpWriter, TICKS_PER_SECOND};
use crate::rtp::SequenceExtender;
use crate::time::Timestamp;

/// The record of one publishing session: one for all of its SSRCs.
///
/// Memory is taken when it is made, and never grows. Whatever numbers a client sends, a feedback
/// covers at most [`WINDOW`] of them: a jump further ahead starts the record anew, and what is
/// further behind is not recorded.
#[derive(Debug)]
pub(crate) struct TransportFeedback {
    extender: SequenceExtender,
    arrivals: Vec<Arrival>,
    /// What the next feedback begins with; none before the first packet.
    next: Option<u64>,
    /// Arrivals that were not reported.
    pending: u32,
    /// When the last feedback was written.
    last_at: Timestamp,
    feedback_count: u8,
    /// Of the last packet: a feedback names one of the client's streams.
    media: u32,
}

impl Default for TransportFeedback {
    /// Nothing recorded yet.
    fn default() -> Self {
        Self {
            extender: SequenceExtender::new(),
            arrivals: vec![Arrival::default(); WINDOW_LENGTH],
            next: None,
            pending: 0,
            last_at: Timestamp::default(),
            feedback_count: 0,
            media: 0,
        }
    }
}

impl TransportFeedback {
    /// Takes note of a packet of `ssrc` with this transport-wide sequence number.
    pub(crate) fn record(&mut self, now: Timestamp, sequence_number: u16, ssrc: u32) {
        let number = self.extender.extend(sequence_number);
        let highest = self.extender.highest().unwrap_or(number);
        if number + WINDOW <= highest {
            return;
        }
        if self.pending == 0 {
            // After a pause, packets are gathered before they are reported.
            self.last_at = self.last_at.max(now - INTERVAL_MAX);
        }
        let next = self.next.get_or_insert(number);
        if *next + WINDOW <= number {
            // Too much to say: begin with this one. The client takes what is between as unknown.
            *next = number;
        }
        // One that comes late is reported after all, with all that follows it again.
        *next = number.min(*next);
        if let Some(arrival) = self.arrivals.get_mut(place(number)) {
            *arrival = Arrival {
                number,
                at: Some(now),
            };
        }
        self.pending = self.pending.saturating_add(1);
        self.media = ssrc;
    }

    /// Whether there is something to write.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let interval = if self.pending >= MANY {
            INTERVAL_MIN
        } else {
            INTERVAL_MAX
        };
        self.pending > 0 && now.since(self.last_at) >= interval
    }

    /// Writes the feedback that is due, from `sender`. If all did not fit, the rest stays due;
    /// what does not fit at all waits for the next interval. Returns whether anything was written.
    pub(crate) fn write(
        &mut self,
        now: Timestamp,
        sender: u32,
        writer: &mut RtcpWriter<'_>,
    ) -> bool {
        let (Some(next), Some(highest)) = (self.next, self.extender.highest()) else {
            return false;
        };
        if !self.is_due(now) {
            return false;
        }
        let header = FeedbackHeader {
            sender,
            media: self.media,
            base_sequence_number: wire(next),
            feedback_count: self.feedback_count,
        };
        let arrivals = (next..=highest).map(|number| self.arrival(number));
        let covered = writer.transport_feedback(&header, arrivals) as u64;
        if covered == 0 {
            self.last_at = now;
            return false;
        }
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.next = Some(next + covered);
        if next + covered > highest {
            self.pending = 0;
            self.last_at = now;
        }
        true
    }

    /// In ticks of the feedback.
    fn arrival(&self, number: u64) -> Option<u64> {
        let arrival = self
            .arrivals
            .get(place(number))
            .filter(|own| own.number == number)?;
        arrival
            .at
            .map(|at| at.as_micros() * TICKS_PER_SECOND / 1_000_000)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    number: u64,
    at: Option<Timestamp>,
}

fn place(number: u64) -> usize {
    (number % WINDOW) as usize
}

/// The lower 16 bits, as they stand in a packet.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower 16 bits are what is asked for"
)]
fn wire(number: u64) -> u16 {
    number as u16
}

/// Numbers that are recorded: a second of 1000 packets.
const WINDOW_LENGTH: usize = 1024;
const WINDOW: u64 = WINDOW_LENGTH as u64;

/// Feedbacks are at least this far apart; as close only if there are [`MANY`] packets to report, so
/// that feedback takes no large part of a small rate.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// A packet is reported after this time at the latest.
const INTERVAL_MAX: Duration = Duration::from_millis(100);
/// Packets that are worth a feedback at once: more than audio alone sends in [`INTERVAL_MIN`].
const MANY: u32 = 8;
