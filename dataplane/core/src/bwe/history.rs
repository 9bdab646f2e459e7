//! What was sent lately, by its transport-wide sequence number
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2), to be joined with the feedback.

use super::units::{compact, compact_distance, micros};
use crate::rtp::seq::nearest;
use crate::time::Timestamp;

/// The last [`HISTORY_MAX`] packets of a session. One counter numbers all that leaves over its
/// transport: every SSRC, retransmissions and padding too.
#[derive(Debug)]
pub(super) struct History {
    entries: Box<[Entry; HISTORY_MAX]>,
    /// What the next packet gets.
    next: u64,
    /// All before it are known to have come, or are taken as no longer on the way.
    settled: u64,
    in_flight: u64,
    /// What was sent before it is of no interest any more.
    forgotten: u64,
}

/// A packet that was sent and that the receiver now tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Microseconds by our clock.
    pub(super) at: i64,
    pub(super) bytes: u16,
    /// The probe that it was part of; zero for none.
    pub(super) cluster: u8,
    /// It was told to be lost before.
    pub(super) was_lost: bool,
}

impl Default for History {
    /// Nothing sent yet.
    fn default() -> Self {
        Self {
            entries: Box::new([Entry::default(); HISTORY_MAX]),
            next: FIRST_NUMBER,
            settled: FIRST_NUMBER,
            in_flight: 0,
            forgotten: FIRST_NUMBER,
        }
    }
}

impl History {
    /// What the next packet gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes note of the packet that got [`Self::next_number`].
    pub(super) fn insert(&mut self, now: Timestamp, bytes: u16, cluster: u8) {
        let number = self.next;
        self.next += 1;
        if let Some(oldest) = number.checked_sub(HISTORY_MAX as u64) {
            self.settle_through(oldest);
        }
        self.in_flight += u64::from(bytes);
        if let Some(entry) = self.entry_mut(number) {
            *entry = Entry {
                sent_at: compact(micros(now)),
                bytes,
                cluster,
                fate: Fate::Unknown,
            };
        }
    }

    /// The whole number behind the sixteen bits of a feedback, whether it is remembered or not.
    pub(super) fn extend(&self, number: u16) -> u64 {
        nearest::<16>(self.next, u64::from(number))
    }

    /// The packet came. None if it is not remembered, or if that is no news.
    pub(super) fn received(&mut self, now: Timestamp, number: u64) -> Option<Sent> {
        self.settle_through(number.min(self.next.saturating_sub(1)));
        self.tell(now, number, Fate::Received)
    }

    /// The packet did not come, or not yet. None if it is not remembered, or if that is no news.
    pub(super) fn lost(&mut self, now: Timestamp, number: u64) -> Option<Sent> {
        self.tell(now, number, Fate::Lost)
    }

    /// Nothing that was sent so far is told of any more. The numbers go on.
    pub(super) fn forget(&mut self) {
        self.forgotten = self.next;
        self.settle_through(self.next.saturating_sub(1));
    }

    /// Bytes that the receiver has not told of, later packets included.
    pub(super) fn bytes_in_flight(&self) -> u64 {
        self.in_flight
    }

    fn tell(&mut self, now: Timestamp, number: u64, fate: Fate) -> Option<Sent> {
        let oldest = self
            .forgotten
            .max(self.next.saturating_sub(HISTORY_MAX as u64));
        if !(oldest..self.next).contains(&number) {
            return None;
        }
        let now = micros(now);
        let entry = self.entry_mut(number)?;
        if entry.fate >= fate {
            return None;
        }
        let was_lost = entry.fate == Fate::Lost;
        entry.fate = fate;
        let age = compact_distance(entry.sent_at, compact(now));
        Some(Sent {
            at: now - i64::from(age),
            bytes: entry.bytes,
            cluster: entry.cluster,
            was_lost,
        })
    }

    /// Nothing up to this number is on the way any more: the receiver told of a later one.
    fn settle_through(&mut self, number: u64) {
        while self.settled <= number {
            let settled = self.settled;
            let bytes = self.entry_mut(settled).map_or(0, |entry| entry.bytes);
            self.in_flight = self.in_flight.saturating_sub(bytes.into());
            self.settled += 1;
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the place in the ring is the number's lower bits"
    )]
    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize % HISTORY_MAX)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    sent_at: u32,
    bytes: u16,
    cluster: u8,
    fate: Fate,
}

/// What is known of a packet; what stands later is never taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Unknown,
    Lost,
    /// Also of a place that was never used: nobody can have news of it.
    #[default]
    Received,
}

/// Packets that are remembered: at 20 Mb/s in packets of 1200 bytes half a second, which is a
/// feedback interval (at that rate 50 ms) and a round trip of 400 ms. 8 KiB.
pub(super) const HISTORY_MAX: usize = 1024;

const _: () = assert!(HISTORY_MAX.is_power_of_two() && size_of::<Entry>() == 8);

/// Its lower sixteen bits are zero, and numbers that a feedback makes up before it do not wrap.
const FIRST_NUMBER: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    fn sent(count: u16) -> History {
        let mut history = History::default();
        for index in 0..count {
            history.insert(ms(100 + u64::from(index)), 1000, 0);
        }
        history
    }

    #[test]
    fn a_packet_is_joined_with_its_feedback() {
        let mut history = History::default();
        assert_eq!(history.next_number() & 0xffff, 0);
        history.insert(ms(100), 1200, 7);
        let number = history.extend(0);
        let expected = Sent {
            at: 100_000,
            bytes: 1200,
            cluster: 7,
            was_lost: false,
        };
        assert_eq!(history.received(ms(150), number), Some(expected));
    }

    #[test]
    fn what_came_is_told_once() {
        let mut history = sent(2);
        let number = history.extend(1);
        assert!(history.received(ms(150), number).is_some());
        assert_eq!(history.received(ms(150), number), None);
        assert_eq!(history.lost(ms(150), number), None);
    }

    #[test]
    fn what_was_lost_may_come_after_all() {
        let mut history = sent(2);
        let number = history.extend(0);
        assert!(!history.lost(ms(150), number).unwrap().was_lost);
        assert_eq!(history.lost(ms(150), number), None);
        assert!(history.received(ms(150), number).unwrap().was_lost);
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_is_not_joined() {
        let mut history = sent(2000);
        for number in [2000, 2001, 30_000, 975, 0, 65_535] {
            let number = history.extend(number);
            assert_eq!(history.received(ms(3000), number), None);
            assert_eq!(history.lost(ms(3000), number), None);
        }
        for number in [976, 1999] {
            let number = history.extend(number);
            assert!(history.received(ms(3000), number).is_some());
        }
    }

    #[test]
    fn before_anything_was_sent_nothing_is_joined() {
        let mut history = History::default();
        for number in [0, 1, 65_535] {
            let number = history.extend(number);
            assert_eq!(history.received(ms(1), number), None);
        }
        assert_eq!(history.bytes_in_flight(), 0);
    }

    #[test]
    fn numbers_wrap_on_the_wire_only() {
        let mut history = History::default();
        for _ in 0..70_000 {
            history.insert(ms(5), 100, 0);
        }
        let number = history.extend(4463);
        assert_eq!(number + 1, history.next_number());
        assert!(history.received(ms(5), number).is_some());
    }

    #[test]
    fn feedback_takes_all_up_to_its_newest_packet_out_of_flight() {
        let mut history = sent(10);
        assert_eq!(history.bytes_in_flight(), 10_000);
        let number = history.extend(5);
        history.lost(ms(150), number);
        assert_eq!(history.bytes_in_flight(), 10_000);
        history.received(ms(150), number);
        assert_eq!(history.bytes_in_flight(), 4000);
        let number = history.extend(2);
        history.received(ms(150), number);
        assert_eq!(history.bytes_in_flight(), 4000);
    }

    #[test]
    fn without_feedback_what_is_in_flight_is_bounded_by_the_history() {
        assert_eq!(sent(5000).bytes_in_flight(), 1024 * 1000);
    }

    #[test]
    fn feedback_about_a_packet_that_was_not_sent_settles_only_what_was() {
        let mut history = sent(3);
        let number = history.extend(40);
        assert_eq!(history.received(ms(150), number), None);
        assert_eq!(history.bytes_in_flight(), 0);
    }
}
