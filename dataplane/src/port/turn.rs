//! One turn of receiving: what arrived is cut into datagrams and given away, until the turn has
//! enough of them.

use std::mem;
use std::time::Duration;

use dataplane_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::{Arrival, Received};
use crate::clock;

/// What a turn has brought so far.
#[derive(Debug)]
pub(super) struct Turn<F> {
    pub(super) received: Received,
    deliver: F,
}

impl<F: FnMut(Arrival, &mut [u8])> Turn<F> {
    /// Of a receiver that is to give its datagrams to `deliver`.
    pub(super) fn new(deliver: F) -> Self {
        Self {
            received: Received::default(),
            deliver,
        }
    }

    /// Whether it takes no more messages. The last one may have made it larger than
    /// [`TURN_DATAGRAMS`], by the 127 segments at most that the kernel joins to a first one.
    pub(super) fn is_full(&self) -> bool {
        self.received.datagrams + self.received.too_large >= TURN_DATAGRAMS
    }

    /// Gives away the datagrams of one message: each has `segment` bytes, but the last may be
    /// shorter.
    pub(super) fn message(&mut self, arrival: Arrival, mut message: &mut [u8], segment: usize) {
        loop {
            let length = message.len().min(segment);
            let (datagram, rest) = mem::take(&mut message).split_at_mut(length);
            if length <= DATAGRAM_BYTES {
                self.received.datagrams += 1;
                (self.deliver)(arrival, datagram);
            } else {
                self.received.too_large += 1;
            }
            if rest.is_empty() {
                return;
            }
            message = rest;
        }
    }
}

/// Now by two clocks, to tell by ours when the kernel has stamped something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    now: Timestamp,
    /// Nanoseconds of `CLOCK_REALTIME`, which the kernel stamps with.
    wall: u64,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        let wall = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(wall.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(wall.tv_nsec).unwrap_or_default();
        Self {
            now: clock::now(),
            wall: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
        }
    }

    /// The time of a stamp by our clock, never later than now. Now, if there is no stamp, or one
    /// so old that the wall clock must have been set since.
    pub(super) fn of(&self, stamp: Option<u64>) -> Timestamp {
        let age = stamp.map_or(0, |stamp| self.wall.saturating_sub(stamp));
        if age > AGE_MAX_NS {
            self.now
        } else {
            self.now - Duration::from_nanos(age)
        }
    }
}

/// Datagrams after which a turn ends: each goes to all subscribers, and meanwhile commands and
/// timers wait.
pub(super) const TURN_DATAGRAMS: usize = 64;
/// Bytes of a datagram at most: more than any that crosses an Ethernet.
const DATAGRAM_BYTES: usize = 2048;
/// Nothing waits as long in a socket of a shard that works.
const AGE_MAX_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use dataplane_core::Path;

    use super::*;

    fn cut(length: usize, segment: usize) -> (Vec<usize>, Received) {
        let arrival = Arrival {
            path: Path {
                socket: 0,
                remote: ([127, 0, 0, 1], 9).into(),
            },
            at: Timestamp::default(),
        };
        let mut lengths = Vec::new();
        let mut turn = Turn::new(|_, datagram: &mut [u8]| lengths.push(datagram.len()));
        turn.message(arrival, &mut vec![0; length], segment);
        let received = turn.received;
        (lengths, received)
    }

    #[test]
    fn a_message_is_cut_into_its_segments() {
        assert_eq!(cut(250, 100).0, [100, 100, 50]);
        assert_eq!(cut(200, 100).0, [100, 100]);
        assert_eq!(cut(99, 100).0, [99]);
        assert_eq!(cut(1200, usize::MAX).0, [1200]);
    }

    #[test]
    fn an_empty_datagram_is_one_too() {
        assert_eq!(cut(0, usize::MAX).0, [0]);
    }

    #[test]
    fn segments_that_are_too_large_are_counted_and_the_last_one_may_fit() {
        let (lengths, received) = cut(5000, 2049);
        assert_eq!(lengths, [902]);
        assert_eq!((received.datagrams, received.too_large), (1, 2));
    }

    #[test]
    fn a_stamp_is_told_on_our_clock() {
        let moment = Moment {
            now: Timestamp::from_nanos(5_000_000_000),
            wall: 9_000_000_000,
        };
        let nanos = |stamp| moment.of(stamp).as_nanos();
        assert_eq!(nanos(Some(8_999_999_000)), 4_999_999_000);
        assert_eq!(nanos(None), 5_000_000_000);
    }

    #[test]
    fn a_stamp_from_before_the_wall_clock_was_set_counts_as_now() {
        let moment = Moment {
            now: Timestamp::from_nanos(5_000_000_000),
            wall: 9_000_000_000,
        };
        for stamp in [9_500_000_000, 7_000_000_000] {
            assert_eq!(moment.of(Some(stamp)), moment.now);
        }
    }
}
