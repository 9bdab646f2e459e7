//! Counts what one subscriber receives of one track, and tells what is missing from it.

use std::collections::BTreeMap;

use crate::media::{Kind, Part, Stamp};

/// One SSRC at one subscriber.
#[derive(Clone, Debug)]
pub struct ReceivedTrack {
    /// Audio or video.
    pub kind: Kind,
    /// The sender's.
    pub ssrc: u32,
    /// What has been counted.
    pub counts: Counts,
    /// Of the stamps: which publisher. Known with the first checked packet.
    pub publisher: Option<u8>,
    /// Whether a key frame has begun; always so for audio.
    pub decodable: bool,
    first: u64,
    highest: u64,
    seen: Vec<u64>,
    /// Extended sequence number minus the publisher's number.
    number_offset: Option<u64>,
    /// RTP timestamp minus the publisher's.
    timestamp_offset: Option<u32>,
    missing: BTreeMap<u64, Wanted>,
}

/// Packets of a track, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Received, duplicates not counted.
    pub received: u64,
    /// Between the first and the last that was received, but never received.
    pub lost: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a later one.
    pub reordered: u64,
    /// Checked bit for bit.
    pub checked: u64,
    /// Of those, not as they were sent.
    pub mismatched: u64,
    /// Times that sequence number or timestamp came to stand for another of the publisher's: a
    /// packet was left out or put in without trace, or time jumped.
    pub renumbered: u64,
    /// Did not authenticate.
    pub undecryptable: u64,
    /// Tracks of video that did not begin with the start of a key frame.
    pub bad_starts: u64,
    /// Sent by the publisher after the last one that was received.
    pub missing_at_end: u64,
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.checked += other.checked;
        self.mismatched += other.mismatched;
        self.renumbered += other.renumbered;
        self.undecryptable += other.undecryptable;
        self.bad_starts += other.bad_starts;
        self.missing_at_end += other.missing_at_end;
    }

    /// Whether every packet came once, unchanged, from a key frame on to the last.
    pub fn is_perfect(&self) -> bool {
        let faults = self.lost
            + self.duplicates
            + self.mismatched
            + self.renumbered
            + self.undecryptable
            + self.bad_starts
            + self.missing_at_end;
        self.received > 0 && self.checked > 0 && faults == 0
    }
}

/// Whether a packet has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has not.
    New,
    /// It has.
    Duplicate,
}

impl ReceivedTrack {
    /// A track whose first packet has this sequence number; it is not counted yet.
    pub fn new(kind: Kind, ssrc: u32, sequence_number: u16) -> Self {
        // One cycle up, so that packets from before the first one have a number too.
        let first = (1 << 16) + u64::from(sequence_number);
        Self {
            kind,
            ssrc,
            counts: Counts::default(),
            publisher: None,
            decodable: kind == Kind::Audio,
            first,
            highest: first,
            seen: Vec::new(),
            number_offset: None,
            timestamp_offset: None,
            missing: BTreeMap::new(),
        }
    }

    /// Counts a packet by its header.
    pub fn arrived(&mut self, sequence_number: u16) -> Arrival {
        let extended = self.extend(sequence_number);
        if self.mark(extended) == Arrival::Duplicate {
            self.counts.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.counts.received += 1;
        self.missing.remove(&extended);
        if extended > self.highest {
            let gap = (self.highest + 1..extended).rev().take(MISSING_MAX);
            self.missing
                .extend(gap.map(|number| (number, Wanted::default())));
            self.highest = extended;
        } else if extended < self.highest {
            self.counts.reordered += 1;
            self.first = self.first.min(extended);
        }
        Arrival::New
    }

    /// Counts a checked packet that was as it was sent, and compares its numbers with the stamp.
    pub fn verified(&mut self, sequence_number: u16, timestamp: u32, stamp: &Stamp) {
        if self.counts.checked == 0 && self.kind == Kind::Video && stamp.part != Part::KeyFrameStart
        {
            self.counts.bad_starts += 1;
        }
        self.counts.checked += 1;
        self.publisher.get_or_insert(stamp.publisher);
        self.decodable |= stamp.part == Part::KeyFrameStart;
        let number = self
            .extend(sequence_number)
            .wrapping_sub(u64::from(stamp.number));
        let time = timestamp.wrapping_sub(stamp.timestamp);
        let renumbered = self
            .number_offset
            .replace(number)
            .is_some_and(|old| old != number);
        let retimed = self
            .timestamp_offset
            .replace(time)
            .is_some_and(|old| old != time);
        if renumbered || retimed || self.publisher != Some(stamp.publisher) {
            self.counts.renumbered += 1;
        }
    }

    /// Counts a checked packet that was not as it was sent.
    pub fn mismatched(&mut self) {
        self.counts.checked += 1;
        self.counts.mismatched += 1;
    }

    /// Whether numbers and publisher are known, so that packets may be left unchecked.
    pub fn is_known(&self) -> bool {
        self.decodable && self.number_offset.is_some()
    }

    /// Packets that are missing so far.
    pub fn lost(&self) -> u64 {
        (self.highest - self.first + 1).saturating_sub(self.counts.received)
    }

    /// Packets that should have come so far.
    pub fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// The highest sequence number as a receiver report wants it (RFC 3550 §6.4.1): cycles
    /// counted from the first packet.
    pub fn highest_for_report(&self) -> u32 {
        u32::try_from((self.highest - (1 << 16)) % (1 << 32)).unwrap_or_default()
    }

    /// The sequence numbers to ask for again in this round; rounds count up, each is called once.
    /// A number comes up at most `NACK_TRIES` times, every `NACK_ROUNDS` rounds.
    pub fn take_missing(&mut self, round: u32) -> Vec<u16> {
        self.missing.retain(|_, wanted| wanted.tries < NACK_TRIES);
        let due = self
            .missing
            .iter_mut()
            .filter(|(_, wanted)| wanted.next_round <= round);
        let numbers = due.take(NACKS_MAX).map(|(number, wanted)| {
            *wanted = Wanted {
                tries: wanted.tries + 1,
                next_round: round + NACK_ROUNDS,
            };
            let [.., high, low] = number.to_be_bytes();
            u16::from_be_bytes([high, low])
        });
        numbers.collect()
    }

    /// Closes the books, with the number of packets that the publisher sent in all.
    pub fn finish(mut self, sent: u64) -> Counts {
        self.counts.lost = self.lost();
        let last = self
            .number_offset
            .map_or(0, |offset| self.highest.wrapping_sub(offset) + 1);
        self.counts.missing_at_end = sent.saturating_sub(last);
        self.counts
    }

    fn extend(&self, sequence_number: u16) -> u64 {
        let [.., high, low] = self.highest.to_be_bytes();
        let step = sequence_number
            .wrapping_sub(u16::from_be_bytes([high, low]))
            .cast_signed();
        self.highest.saturating_add_signed(step.into())
    }

    fn mark(&mut self, extended: u64) -> Arrival {
        let position = usize::try_from(extended).unwrap_or(usize::MAX);
        let (word, bit) = (position / 64, 1 << (position % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 64, 0);
        }
        match self.seen.get_mut(word) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                Arrival::New
            }
            _ => Arrival::Duplicate,
        }
    }
}

/// A packet that is missing.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    tries: u32,
    next_round: u32,
}

/// Missing packets that are remembered of one gap.
const MISSING_MAX: usize = 512;

/// Times that a packet is asked for again.
const NACK_TRIES: u32 = 10;

/// Rounds between two tries: longer than a round trip.
const NACK_ROUNDS: u32 = 5;

/// Numbers that one round asks for.
const NACKS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u32, part: Part) -> Stamp {
        Stamp {
            kind: Kind::Video,
            publisher: 0,
            part,
            number,
            timestamp: number * 10,
            sent_us: 0,
        }
    }

    fn audio(numbers: &[u16]) -> ReceivedTrack {
        let mut track = ReceivedTrack::new(Kind::Audio, 1, numbers[0]);
        for number in numbers {
            track.arrived(*number);
        }
        track
    }

    #[test]
    fn loss_is_what_is_missing_between_first_and_last() {
        let counts = audio(&[65_534, 65_535, 1, 2, 4]).finish(0);
        assert_eq!((counts.received, counts.lost), (5, 2));
    }

    #[test]
    fn duplicates_and_late_packets_are_told_apart() {
        let counts = audio(&[10, 12, 11, 11, 13, 9, 9]).finish(0);
        assert_eq!((counts.received, counts.lost), (5, 0));
        assert_eq!((counts.reordered, counts.duplicates), (2, 2));
    }

    #[test]
    fn several_rounds_of_sequence_numbers_are_no_duplicates() {
        let mut track = ReceivedTrack::new(Kind::Audio, 1, 65_000);
        for number in 65_000_u32..300_000 {
            let [.., high, low] = number.to_be_bytes();
            assert_eq!(track.arrived(u16::from_be_bytes([high, low])), Arrival::New);
        }
        assert_eq!(track.highest_for_report(), 299_999);
        assert_eq!(track.finish(0).lost, 0);
    }

    #[test]
    fn a_packet_left_out_without_trace_is_noticed() {
        let mut track = ReceivedTrack::new(Kind::Video, 1, 500);
        for (sequence_number, number) in [(500, 7), (501, 8), (502, 10)] {
            track.arrived(sequence_number);
            let part = if number == 7 {
                Part::KeyFrameStart
            } else {
                Part::Rest
            };
            track.verified(sequence_number, 1_000 + number * 10, &stamp(number, part));
        }
        let counts = track.finish(11);
        assert_eq!(
            (counts.lost, counts.renumbered, counts.bad_starts),
            (0, 1, 0)
        );
        assert_eq!(counts.missing_at_end, 0);
        assert!(!counts.is_perfect());
    }

    #[test]
    fn a_jump_of_the_timestamp_is_noticed() {
        let mut track = ReceivedTrack::new(Kind::Video, 1, 500);
        for (sequence_number, timestamp) in [(500, 70), (501, 80), (502, 91)] {
            track.arrived(sequence_number);
            let number = u32::from(sequence_number) - 493;
            track.verified(
                sequence_number,
                timestamp,
                &stamp(number, Part::KeyFrameStart),
            );
        }
        assert_eq!(track.finish(0).renumbered, 1);
    }

    #[test]
    fn video_that_does_not_begin_with_a_key_frame_is_a_bad_start() {
        let mut track = ReceivedTrack::new(Kind::Video, 1, 0);
        track.arrived(0);
        track.verified(0, 0, &stamp(0, Part::DeltaFrameStart));
        assert!(!track.is_known());
        assert_eq!(track.finish(0).bad_starts, 1);
    }

    #[test]
    fn what_the_publisher_sent_last_must_have_come() {
        let mut track = ReceivedTrack::new(Kind::Video, 1, 100);
        track.arrived(100);
        track.verified(100, 0, &stamp(40, Part::KeyFrameStart));
        assert_eq!(track.clone().finish(41).missing_at_end, 0);
        assert_eq!(track.finish(45).missing_at_end, 4);
    }

    #[test]
    fn missing_packets_are_asked_for_every_five_rounds_and_ten_times_at_most() {
        let mut track = audio(&[10, 13]);
        let asked: Vec<_> = (0..100).map(|round| track.take_missing(round)).collect();
        for (round, numbers) in asked.iter().enumerate() {
            let expected: &[u16] = if round < 50 && round % 5 == 0 {
                &[11, 12]
            } else {
                &[]
            };
            assert_eq!(numbers, expected, "round {round}");
        }
    }

    #[test]
    fn a_packet_that_came_after_all_is_not_asked_for() {
        assert_eq!(audio(&[10, 13, 12]).take_missing(0), [11]);
    }
}
