//! Counts what one subscriber receives of one track, cheaply enough for a million packets a second:
//! 512 bytes of window instead of a record of everything.

use crate::media::{Kind, Part, Stamp};

/// One SSRC at one subscriber.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Audio or video.
    pub kind: Kind,
    /// The sender's.
    pub ssrc: u32,
    /// What has been counted.
    pub counts: TallyCounts,
    first: u64,
    highest: u64,
    /// By extended number modulo [`WINDOW`]: whether it came.
    window: [u64; WORDS],
    number_offset: Option<u64>,
    timestamp_offset: Option<u32>,
    publisher: Option<u8>,
    decodable: bool,
    until_check: u32,
    /// What was missing when picture loss was asked for last.
    missing_before: u64,
}

/// Packets of a track, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TallyCounts {
    /// Received, duplicates not counted.
    pub received: u64,
    /// Between the first and the last that was received, but not received (yet).
    pub missing: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a later one.
    pub reordered: u64,
    /// Decrypted and checked bit for bit.
    pub checked: u64,
    /// Of those, not as they were sent.
    pub mismatched: u64,
    /// Times that a number or timestamp came to stand for another of the publisher's.
    pub renumbered: u64,
}

impl TallyCounts {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.checked += other.checked;
        self.mismatched += other.mismatched;
        self.renumbered += other.renumbered;
    }

    /// What was counted since `before`; `missing` stays what it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            missing: self.missing,
            duplicates: self.duplicates - before.duplicates,
            reordered: self.reordered - before.reordered,
            checked: self.checked - before.checked,
            mismatched: self.mismatched - before.mismatched,
            renumbered: self.renumbered - before.renumbered,
        }
    }

    /// Packets that were not what or where they should be.
    pub fn faults(&self) -> u64 {
        self.duplicates + self.mismatched + self.renumbered
    }
}

impl Tally {
    /// A track whose first packet has this sequence number; it is not counted yet.
    pub fn new(kind: Kind, ssrc: u32, sequence_number: u16) -> Self {
        // One cycle up, so that packets from before the first one have a number too.
        let first = (1 << 16) + u64::from(sequence_number);
        Self {
            kind,
            ssrc,
            counts: TallyCounts::default(),
            first,
            highest: first - 1,
            window: [0; WORDS],
            number_offset: None,
            timestamp_offset: None,
            publisher: None,
            decodable: kind == Kind::Audio,
            until_check: 0,
            missing_before: 0,
        }
    }

    /// Counts a packet by its header. False: it came before.
    pub fn arrived(&mut self, sequence_number: u16) -> bool {
        let extended = self.extend(sequence_number);
        if extended > self.highest {
            self.forget(extended);
            self.highest = extended;
            self.mark(extended);
        } else {
            if self.highest - extended < WINDOW && !self.mark(extended) {
                self.counts.duplicates += 1;
                return false;
            }
            self.counts.reordered += 1;
            self.first = self.first.min(extended);
        }
        self.counts.received += 1;
        true
    }

    /// Whether the packet that just arrived is to be decrypted and checked.
    pub fn wants_check(&mut self) -> bool {
        if !self.is_settled() || self.until_check == 0 {
            self.until_check = CHECK_INTERVAL;
            return true;
        }
        self.until_check -= 1;
        false
    }

    /// Counts a checked packet that was as it was sent, and compares its numbers with the stamp.
    pub fn verified(&mut self, sequence_number: u16, timestamp: u32, stamp: &Stamp) {
        self.counts.checked += 1;
        self.decodable |= stamp.part == Part::KeyFrameStart;
        let number = self
            .extend(sequence_number)
            .wrapping_sub(u64::from(stamp.number));
        let time = timestamp.wrapping_sub(stamp.timestamp);
        let renumbered = self
            .number_offset
            .replace(number)
            .is_some_and(|n| n != number);
        let retimed = self
            .timestamp_offset
            .replace(time)
            .is_some_and(|t| t != time);
        let publisher = *self.publisher.get_or_insert(stamp.publisher);
        if renumbered || retimed || publisher != stamp.publisher {
            self.counts.renumbered += 1;
        }
    }

    /// Counts a checked packet that was not as it was sent.
    pub fn mismatched(&mut self) {
        self.counts.checked += 1;
        self.counts.mismatched += 1;
    }

    /// Whether a key frame has begun; always so for audio.
    pub fn is_decodable(&self) -> bool {
        self.decodable
    }

    /// Whether a decoder would ask for a key frame now: it has had none, or something was lost
    /// since this was called last.
    pub fn take_picture_loss(&mut self) -> bool {
        let missing = self.counts().missing;
        let before = core::mem::replace(&mut self.missing_before, missing);
        self.kind == Kind::Video && (!self.decodable || missing > before)
    }

    /// Whether enough was checked one by one, so that samples will do.
    pub fn is_settled(&self) -> bool {
        self.decodable && self.counts.checked >= CHECKED_FIRST
    }

    /// What has been counted so far.
    pub fn counts(&self) -> TallyCounts {
        TallyCounts {
            missing: self.expected().saturating_sub(self.counts.received),
            ..self.counts
        }
    }

    /// Packets that should have come so far.
    pub fn expected(&self) -> u64 {
        self.highest + 1 - self.first
    }

    /// The highest sequence number as a receiver report wants it (RFC 3550 §6.4.1).
    pub fn highest_for_report(&self) -> u32 {
        u32::try_from((self.highest - (1 << 16)) % (1 << 32)).unwrap_or_default()
    }

    fn extend(&self, sequence_number: u16) -> u64 {
        let [.., high, low] = self.highest.to_be_bytes();
        let step = sequence_number
            .wrapping_sub(u16::from_be_bytes([high, low]))
            .cast_signed();
        self.highest.saturating_add_signed(step.into())
    }

    /// Clears what the window knew of the round before, up to `extended`.
    fn forget(&mut self, extended: u64) {
        if extended - self.highest >= WINDOW {
            self.window = [0; WORDS];
            return;
        }
        for number in self.highest + 1..=extended {
            if let Some((word, bit)) = self.place(number) {
                *word &= !bit;
            }
        }
    }

    /// False: it was marked already.
    fn mark(&mut self, extended: u64) -> bool {
        match self.place(extended) {
            Some((word, bit)) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn place(&mut self, extended: u64) -> Option<(&mut u64, u64)> {
        let position = usize::try_from(extended % WINDOW).ok()?;
        let word = self.window.get_mut(position / 64)?;
        Some((word, 1 << (position % 64)))
    }
}

/// Numbers that can be told from duplicates.
const WINDOW: u64 = 4096;

const WORDS: usize = 64;
const _: () = assert!(WORDS as u64 * 64 == WINDOW, "a bit for each number");

/// Packets that are checked before samples will do.
const CHECKED_FIRST: u64 = 64;

/// One packet of so many is checked after that. A prime: no burst has this length.
const CHECK_INTERVAL: u32 = 1_021;

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(numbers: &[u16]) -> Tally {
        let mut tally = Tally::new(Kind::Audio, 1, numbers[0]);
        for number in numbers {
            tally.arrived(*number);
        }
        tally
    }

    fn stamp(number: u32, part: Part) -> Stamp {
        Stamp {
            kind: Kind::Video,
            publisher: 3,
            part,
            number,
            timestamp: number * 10,
            sent_us: 0,
        }
    }

    #[test]
    fn missing_is_what_did_not_come_between_first_and_last() {
        let counts = audio(&[65_534, 65_535, 1, 2, 4]).counts();
        assert_eq!((counts.received, counts.missing), (5, 2));
    }

    #[test]
    fn duplicates_and_late_packets_are_told_apart() {
        let counts = audio(&[10, 12, 11, 11, 13, 9, 9]).counts();
        assert_eq!((counts.received, counts.missing), (5, 0));
        assert_eq!((counts.reordered, counts.duplicates), (2, 2));
    }

    #[test]
    fn rounds_of_numbers_and_of_the_window_are_no_duplicates() {
        let mut tally = Tally::new(Kind::Audio, 1, 65_000);
        for number in 65_000_u32..300_000 {
            let [.., high, low] = number.to_be_bytes();
            assert!(tally.arrived(u16::from_be_bytes([high, low])), "{number}");
        }
        assert_eq!(tally.highest_for_report(), 299_999);
        assert_eq!(tally.counts().missing, 0);
    }

    #[test]
    fn a_gap_longer_than_the_window_is_missing_and_no_more() {
        let mut tally = audio(&[0, 1, 10_001]);
        assert_eq!(tally.counts().missing, 9_999);
        assert!(tally.arrived(10_000) && !tally.arrived(10_001));
        assert_eq!(tally.counts().missing, 9_998);
    }

    #[test]
    fn a_packet_left_out_without_trace_is_noticed() {
        let mut tally = Tally::new(Kind::Video, 1, 500);
        for (sequence_number, number) in [(500, 7), (501, 8), (502, 10)] {
            tally.arrived(sequence_number);
            let stamp = stamp(number, Part::KeyFrameStart);
            tally.verified(sequence_number, 1_000 + number * 10, &stamp);
        }
        assert_eq!(tally.counts().renumbered, 1);
    }

    #[test]
    fn a_decoder_asks_until_it_has_a_key_frame_and_then_once_for_each_loss() {
        let mut tally = Tally::new(Kind::Video, 1, 0);
        tally.arrived(0);
        assert!(tally.take_picture_loss() && tally.take_picture_loss());
        tally.verified(0, 0, &stamp(0, Part::KeyFrameStart));
        assert!(!tally.take_picture_loss());
        tally.arrived(5);
        assert!(tally.take_picture_loss() && !tally.take_picture_loss());
        assert!(!audio(&[0, 5]).take_picture_loss());
    }

    #[test]
    fn after_the_first_packets_only_a_sample_is_checked() {
        let mut tally = Tally::new(Kind::Video, 1, 0);
        let mut checks = 0;
        for number in 0..10_000_u16 {
            tally.arrived(number);
            if tally.wants_check() {
                checks += 1;
                let stamp = stamp(number.into(), Part::KeyFrameStart);
                tally.verified(number, u32::from(number) * 10, &stamp);
            }
        }
        assert_eq!((tally.counts().faults(), checks), (0, 64 + 9));
    }

    #[test]
    fn a_difference_of_counts_is_what_came_in_between() {
        let before = audio(&[1, 2]).counts();
        let after = audio(&[1, 2, 3, 3]).counts();
        let between = after.since(&before);
        assert_eq!((between.received, between.duplicates), (1, 1));
    }
}
