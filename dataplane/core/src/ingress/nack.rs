//! Which packets of a layer are missing, and when to ask the publisher for them (RFC 4585 §6.2.1).

use core::time::Duration;

use arrayvec::ArrayVec;

use crate::time::Timestamp;

/// The missing packets of one layer, in ascending order of their extended sequence numbers.
///
/// Bounded: at most [`MISSING_MAX`] are known, each is asked for at most [`REQUESTS_MAX`] times
/// and forgotten after [`MISSING_AGE_MAX`].
#[derive(Debug, Default)]
pub(crate) struct MissingPackets {
    entries: ArrayVec<Missing, MISSING_MAX>,
    /// Not after the earliest `next_at` of the entries; may be before it.
    due: Option<Timestamp>,
}

/// What a packet did to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// No gap, or one that requests can close.
    Repairable,
    /// So many are missing that a new key frame is cheaper than all of them.
    TooLarge,
}

impl MissingPackets {
    /// Takes note of the packets between `before` and `after`, of which one has just come. They are
    /// all newer or all older than those that are known.
    pub(crate) fn gap(&mut self, now: Timestamp, before: u64, after: u64) -> Gap {
        let first = before.saturating_add(1);
        let count = after.saturating_sub(first);
        if count == 0 {
            return Gap::Repairable;
        }
        if count > GAP_MAX {
            self.clear();
            return Gap::TooLarge;
        }
        let room = MISSING_MAX - self.entries.len();
        let excess = usize::try_from(count)
            .unwrap_or(MISSING_MAX)
            .saturating_sub(room);
        self.entries.drain(..excess.min(self.entries.len()));
        let next_at = now + REORDERING_GRACE;
        for sequence_number in first..after {
            let missing = Missing {
                sequence_number,
                found_at: now,
                next_at,
                requests: 0,
            };
            if self.entries.try_push(missing).is_err() {
                break;
            }
        }
        self.entries
            .sort_unstable_by_key(|missing| missing.sequence_number);
        self.due = Some(self.due.map_or(next_at, |due| due.min(next_at)));
        if excess > 0 {
            Gap::TooLarge
        } else {
            Gap::Repairable
        }
    }

    /// The packet has come after all.
    pub(crate) fn arrived(&mut self, sequence_number: u64) {
        let position = self
            .entries
            .binary_search_by_key(&sequence_number, |m| m.sequence_number);
        if let Ok(index) = position {
            self.entries.remove(index);
        }
        if self.entries.is_empty() {
            self.due = None;
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.due = None;
    }

    /// Fills `out` with the numbers to ask for now, oldest first. If it gets full, the rest stays
    /// due. `round_trip` is that to the publisher, if it is known.
    pub(crate) fn poll<const N: usize>(
        &mut self,
        now: Timestamp,
        round_trip: Option<Duration>,
        out: &mut ArrayVec<u16, N>,
    ) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let interval = round_trip
            .unwrap_or(ROUND_TRIP_UNKNOWN)
            .max(REQUEST_INTERVAL_MIN);
        self.entries.retain(|missing| {
            missing.requests < REQUESTS_MAX && now.since(missing.found_at) < MISSING_AGE_MAX
        });
        for missing in &mut self.entries {
            if missing.next_at > now {
                continue;
            }
            if out.is_full() {
                break;
            }
            out.push(wire(missing.sequence_number));
            missing.requests += 1;
            missing.next_at = now + backed_off(interval, missing.requests);
        }
        self.due = self.entries.iter().map(|missing| missing.next_at).min();
    }

    /// When [`Self::poll`] is worth calling next.
    #[cfg(test)]
    fn next_at(&self) -> Option<Timestamp> {
        self.due
    }
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence_number: u64,
    found_at: Timestamp,
    next_at: Timestamp,
    requests: u8,
}

/// The lower 16 bits, as they stand in a packet.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower 16 bits are what is asked for"
)]
fn wire(sequence_number: u64) -> u16 {
    sequence_number as u16
}

/// One round trip after the first request, a quarter more after each further one, at most
/// [`REQUEST_INTERVAL_MAX`].
fn backed_off(interval: Duration, requests: u8) -> Duration {
    let quarters = u32::from(requests.saturating_sub(1)) + 4;
    (interval.saturating_mul(quarters) / 4).min(REQUEST_INTERVAL_MAX)
}

/// Entries of the list: half of what the cache of a video layer holds.
pub(crate) const MISSING_MAX: usize = 512;

/// The longest gap that is repaired packet by packet.
const GAP_MAX: u64 = MISSING_MAX as u64 / 2;

/// Requests for one packet.
pub(crate) const REQUESTS_MAX: u8 = 10;

/// How long a packet is missed. A receiver's jitter buffer has gone on by then.
pub(crate) const MISSING_AGE_MAX: Duration = Duration::from_secs(2);

/// How long a packet may be late without being missed: networks reorder within milliseconds.
pub(crate) const REORDERING_GRACE: Duration = Duration::from_millis(10);

/// The round trip while it was not measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(100);

/// Requests for one packet are never closer than this.
const REQUEST_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Requests for one packet are never further apart than this.
const REQUEST_INTERVAL_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn poll(missing: &mut MissingPackets, now: Timestamp) -> Vec<u16> {
        let mut out = ArrayVec::<u16, 64>::new();
        missing.poll(now, Some(Duration::from_millis(100)), &mut out);
        out.to_vec()
    }

    #[test]
    fn packets_without_a_gap_are_not_missed() {
        let mut missing = MissingPackets::default();
        assert_eq!(missing.gap(ms(0), 10, 11), Gap::Repairable);
        assert_eq!(missing.next_at(), None);
        assert_eq!(poll(&mut missing, ms(1000)), []);
    }

    #[test]
    fn a_gap_is_asked_for_after_the_reordering_grace_only() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 13);
        assert_eq!(missing.next_at(), Some(ms(10)));
        assert_eq!(poll(&mut missing, ms(9)), []);
        assert_eq!(poll(&mut missing, ms(10)), [11, 12]);
        assert_eq!(poll(&mut missing, ms(11)), []);
    }

    #[test]
    fn a_reordered_packet_is_not_asked_for() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 13);
        missing.arrived(11);
        assert_eq!(poll(&mut missing, ms(10)), [12]);
        missing.arrived(12);
        assert_eq!(missing.next_at(), None);
    }

    #[test]
    fn requests_are_repeated_with_growing_intervals_of_the_round_trip() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 12);
        let mut asked_at = Vec::new();
        for millis in 0..600 {
            if !poll(&mut missing, ms(millis)).is_empty() {
                asked_at.push(millis);
            }
        }
        assert_eq!(asked_at, [10, 110, 235, 385, 560]);
    }

    #[test]
    fn a_packet_is_given_up_after_ten_requests() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 12);
        let mut out = ArrayVec::<u16, 64>::new();
        let mut requests = 0;
        for millis in 0..10_000 {
            out.clear();
            missing.poll(ms(millis), Some(Duration::ZERO), &mut out);
            requests += out.len();
        }
        assert_eq!(requests, usize::from(REQUESTS_MAX));
        assert_eq!(missing.next_at(), None);
    }

    #[test]
    fn a_packet_is_given_up_when_too_old() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 12);
        assert_eq!(poll(&mut missing, ms(2_000)), []);
        assert_eq!(missing.next_at(), None);
    }

    #[test]
    fn what_does_not_fit_one_request_stays_due() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 0, 101);
        let mut out = ArrayVec::<u16, 60>::new();
        missing.poll(ms(10), None, &mut out);
        assert_eq!(out.as_slice(), (1..=60).collect::<Vec<u16>>());
        assert_eq!(missing.next_at(), Some(ms(10)));
        out.clear();
        missing.poll(ms(10), None, &mut out);
        assert_eq!(out.as_slice(), (61..=100).collect::<Vec<u16>>());
    }

    #[test]
    fn a_huge_gap_asks_for_a_key_frame_instead() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 10, 12);
        assert_eq!(missing.gap(ms(1), 12, 40_000), Gap::TooLarge);
        assert_eq!(poll(&mut missing, ms(100)), []);
        assert_eq!(missing.gap(ms(1), 12, u64::MAX), Gap::TooLarge);
    }

    #[test]
    fn a_full_list_lets_the_oldest_go_and_asks_for_a_key_frame() {
        let mut missing = MissingPackets::default();
        assert_eq!(missing.gap(ms(0), 0, 257), Gap::Repairable);
        assert_eq!(missing.gap(ms(0), 257, 514), Gap::Repairable);
        assert_eq!(missing.gap(ms(0), 514, 525), Gap::TooLarge);
        assert_eq!(missing.entries.len(), MISSING_MAX);
        assert_eq!(missing.entries[0].sequence_number, 11);
        assert!(
            missing
                .entries
                .is_sorted_by_key(|entry| entry.sequence_number)
        );
    }

    #[test]
    fn numbers_wrap_on_the_wire() {
        let mut missing = MissingPackets::default();
        missing.gap(ms(0), 0x1_fffe, 0x2_0001);
        assert_eq!(poll(&mut missing, ms(10)), [0xffff, 0]);
    }
}
