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
            // After a pause too, some packets are gathered before they are reported.
            self.last_at = self.last_at.max(now - INTERVAL_MIN);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingress::testing::ms;
    use crate::rtcp::{Packet, packets};

    /// What a feedback says: base number, and (number, ticks) of what came.
    struct Reported {
        base: u16,
        count: u16,
        feedback_count: u8,
        arrivals: Vec<(u16, i64)>,
    }

    fn write(record: &mut TransportFeedback, now: Timestamp) -> Option<Reported> {
        let mut buffer = [0; 1452];
        let mut writer = RtcpWriter::new(&mut buffer);
        if !record.write(now, 1, &mut writer) {
            assert_eq!(writer.len(), 0);
            return None;
        }
        let length = writer.len();
        let packet = packets(&buffer[..length]).next().unwrap().unwrap();
        let Packet::TransportFeedback(feedback) = packet else {
            panic!("{packet:?}")
        };
        let arrivals = feedback
            .arrivals()
            .filter_map(|(number, at)| Some((number, at?)))
            .collect();
        Some(Reported {
            base: feedback.base_sequence_number,
            count: feedback.status_count,
            feedback_count: feedback.feedback_count,
            arrivals,
        })
    }

    #[test]
    fn nothing_is_due_while_nothing_came() {
        let mut record = TransportFeedback::default();
        assert!(!record.is_due(ms(100_000)));
        assert!(write(&mut record, ms(100_000)).is_none());
    }

    #[test]
    fn arrivals_are_reported_with_gaps_and_times() {
        let mut record = TransportFeedback::default();
        for (at, number) in [(1_000, 10), (1_010, 11), (1_020, 13)] {
            record.record(ms(at), number, 7);
        }
        assert!(!record.is_due(ms(1_000)));
        let reported = write(&mut record, ms(1_100)).unwrap();
        assert_eq!((reported.base, reported.count), (10, 4));
        assert_eq!(reported.arrivals, [(10, 4_000), (11, 4_040), (13, 4_080)]);
        assert!(!record.is_due(ms(2_000)));
    }

    #[test]
    fn many_packets_are_reported_sooner() {
        let mut record = TransportFeedback::default();
        record.record(ms(1_000), 0, 7);
        assert!(write(&mut record, ms(1_050)).is_some());
        for number in 1..=8 {
            assert!(!record.is_due(ms(1_100)));
            record.record(ms(1_060), number, 7);
        }
        assert!(!record.is_due(ms(1_099)));
        assert!(record.is_due(ms(1_100)));
    }

    #[test]
    fn feedbacks_are_counted_and_follow_each_other() {
        let mut record = TransportFeedback::default();
        for round in 0..3_u8 {
            let number = u16::from(round) * 2;
            record.record(ms(1_000 + u64::from(round) * 200), number, 7);
            let reported = write(&mut record, ms(1_100 + u64::from(round) * 200)).unwrap();
            assert_eq!(reported.feedback_count, round);
            let expected = if round == 0 { 0 } else { number - 1 };
            assert_eq!(reported.base, expected);
        }
    }

    #[test]
    fn a_late_packet_is_reported_after_all() {
        let mut record = TransportFeedback::default();
        record.record(ms(1_000), 10, 7);
        record.record(ms(1_001), 12, 7);
        write(&mut record, ms(1_100));
        record.record(ms(1_150), 11, 7);
        let reported = write(&mut record, ms(1_300)).unwrap();
        assert_eq!(reported.base, 11);
        assert_eq!(reported.arrivals, [(11, 4_600), (12, 4_004)]);
    }

    #[test]
    fn numbers_wrap() {
        let mut record = TransportFeedback::default();
        for number in [65_534, 65_535, 0, 1] {
            record.record(ms(1_000), number, 7);
        }
        let reported = write(&mut record, ms(1_200)).unwrap();
        assert_eq!((reported.base, reported.count), (65_534, 4));
    }

    #[test]
    fn a_jump_ahead_starts_the_record_anew() {
        let mut record = TransportFeedback::default();
        record.record(ms(1_000), 10, 7);
        record.record(ms(1_000), 20_000, 7);
        let reported = write(&mut record, ms(1_200)).unwrap();
        assert_eq!((reported.base, reported.count), (20_000, 1));
    }

    #[test]
    fn what_does_not_fit_one_datagram_stays_due() {
        let mut record = TransportFeedback::default();
        // Far apart in time: two bytes for each, so that not all fits.
        for number in 0..1_000 {
            record.record(ms(1_000 + u64::from(number) * 100), number, 7);
        }
        let mut arrivals = Vec::new();
        let mut feedbacks = 0;
        while record.is_due(ms(200_000)) {
            arrivals.extend(write(&mut record, ms(200_000)).unwrap().arrivals);
            feedbacks += 1;
        }
        assert!(feedbacks > 1);
        assert_eq!(arrivals.len(), 1_000);
    }

    #[test]
    fn a_full_datagram_does_not_make_the_caller_spin() {
        let mut record = TransportFeedback::default();
        record.record(ms(1_000), 10, 7);
        let mut buffer = [0; 8];
        assert!(!record.write(ms(1_200), 1, &mut RtcpWriter::new(&mut buffer)));
        assert!(!record.is_due(ms(1_200)));
        assert!(record.is_due(ms(1_300)));
    }

    proptest! {
        #[test]
        fn hostile_numbers_never_make_a_large_feedback(
            numbers in prop::collection::vec((any::<u16>(), 0_u64..400), 1..400),
        ) {
            let mut record = TransportFeedback::default();
            let mut now = 0;
            for (number, pause) in numbers {
                now += pause;
                record.record(ms(now), number, 7);
                let mut feedbacks = 0;
                while record.is_due(ms(now)) {
                    if let Some(reported) = write(&mut record, ms(now)) {
                        prop_assert!(u64::from(reported.count) <= WINDOW);
                    }
                    feedbacks += 1;
                    prop_assert!(feedbacks <= WINDOW);
                }
                prop_assert_eq!(record.arrivals.len(), WINDOW_LENGTH);
            }
        }
    }
}
