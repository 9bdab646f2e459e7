//! What was sent lately, by its transport-wide sequence number
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2), to be joined with the feedback.

use super::units::{compact, compact_distance, micros};
use crate::rtp::seq::nearest;
use crate::time::Timestamp;

/// The last packets of a session, [`HISTORY_MIN`] or more. One counter numbers all that leaves over its
/// transport: every SSRC, retransmissions and padding too.
///
/// It grows where packets would be forgotten before the receiver can have told of them: on a long way,
/// of many of them.
#[derive(Debug)]
pub(super) struct History {
    /// A ring, by the lower bits of the number.
    entries: Vec<Entry>,
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
            entries: vec![Entry::default(); HISTORY_MIN],
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
        if self.is_short(now) {
            self.grow();
        }
        self.settle_through(self.replaced());
        self.next += 1;
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
        if !(self.oldest()..self.next).contains(&number) {
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

    /// The first that is remembered.
    fn oldest(&self) -> u64 {
        self.forgotten.max(self.replaced())
    }

    /// Whose place the next packet takes, and all before it.
    fn replaced(&self) -> u64 {
        self.next.saturating_sub(self.entries.len() as u64)
    }

    /// Whether the next packet takes the place of one that may still be on the way, or the news of it.
    fn is_short(&self, now: Timestamp) -> bool {
        let replaced = self.replaced();
        if replaced < self.settled || self.entries.len() >= HISTORY_MAX {
            return false;
        }
        let entry = self.entries.get(self.place(replaced));
        let age = entry.map(|entry| compact_distance(entry.sent_at, compact(micros(now))));
        age.is_some_and(|age| (0..ON_THE_WAY_MAX).contains(&age))
    }

    fn grow(&mut self) {
        let mut grown = vec![Entry::default(); self.entries.len() * 2];
        let mask = grown.len() - 1;
        for number in self.oldest()..self.next {
            let former = self.entries.get(self.place(number));
            if let (Some(slot), Some(entry)) = (grown.get_mut(place(number, mask)), former) {
                *slot = *entry;
            }
        }
        self.entries = grown;
    }

    fn place(&self, number: u64) -> usize {
        place(number, self.entries.len().wrapping_sub(1))
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let place = self.place(number);
        self.entries.get_mut(place)
    }
}

/// In a ring that is so long, less one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the place in the ring is the number's lower bits"
)]
const fn place(number: u64, mask: usize) -> usize {
    number as usize & mask
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

/// Packets that are remembered at first: at 20 Mb/s in packets of 1200 bytes half a second, which is a
/// feedback interval (at that rate 50 ms) and a round trip of 400 ms. 8 KiB.
const HISTORY_MIN: usize = 1024;

/// And at most: those of a second and more if a subscriber gets as much as it may, the sound of a hundred
/// and their pictures. 64 KiB. A feedback tells of no more.
pub(super) const HISTORY_MAX: usize = 8192;

const _: () = assert!(HISTORY_MIN.is_power_of_two() && HISTORY_MAX.is_power_of_two());
const _: () = assert!(size_of::<Entry>() == 8);

/// Microseconds that a packet, and then the news of it, take at most where an estimate is of use.
const ON_THE_WAY_MAX: i32 = 1_500_000;

/// Its lower sixteen bits are zero, and numbers that a feedback makes up before it do not wrap.
const FIRST_NUMBER: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    /// So many packets, one each millisecond.
    fn sent(count: u64) -> History {
        sent_each(1, count)
    }

    fn sent_each(millis: u64, count: u64) -> History {
        let mut history = History::default();
        for index in 0..count {
            history.insert(ms(100 + index * millis), 1000, 0);
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
        let mut history = sent_each(2, 2000);
        for number in [2000, 2001, 30_000, 975, 0, 65_535] {
            let number = history.extend(number);
            assert_eq!(history.received(ms(3000), number), None);
            assert_eq!(history.lost(ms(3000), number), None);
        }
        for number in [976, 1999] {
            let number = history.extend(number);
            assert!(history.received(ms(4200), number).is_some());
        }
    }

    #[test]
    fn what_may_still_be_on_the_way_is_not_forgotten() {
        // 5,000 packets a second, of which nothing is told for 0.8 s.
        let mut history = History::default();
        for index in 0..20_000_u64 {
            history.insert(ms(100 + index / 5), 1000, 0);
            let Some(told) = index.checked_sub(4000) else {
                continue;
            };
            let number = FIRST_NUMBER + told;
            let sent = history.received(ms(100 + index / 5), number);
            assert_eq!(sent.unwrap().at, 1000 * (100 + told.cast_signed() / 5));
        }
        assert_eq!(history.bytes_in_flight(), 4_000_000);
    }

    #[test]
    fn no_more_memory_is_taken_than_a_feedback_can_tell_of() {
        let mut history = History::default();
        for _ in 0..100_000 {
            history.insert(ms(100), 1000, 0);
        }
        assert_eq!(history.bytes_in_flight(), HISTORY_MAX as u64 * 1000);
    }

    #[test]
    fn no_memory_is_taken_for_what_was_told() {
        let mut history = History::default();
        for number in FIRST_NUMBER..FIRST_NUMBER + 100_000 {
            history.insert(ms(100), 1000, 0);
            history.received(ms(100), number);
        }
        assert_eq!(history.entries.len(), HISTORY_MIN);
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
    fn what_nothing_is_told_of_for_long_is_not_in_flight_any_more() {
        assert_eq!(sent_each(2, 5000).bytes_in_flight(), 1024 * 1000);
    }

    #[test]
    fn feedback_about_a_packet_that_was_not_sent_settles_only_what_was() {
        let mut history = sent(3);
        let number = history.extend(40);
        assert_eq!(history.received(ms(150), number), None);
        assert_eq!(history.bytes_in_flight(), 0);
    }
}
