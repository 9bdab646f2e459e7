//! How long media packets are in the server: from the kernel's receive timestamp until all that a
//! turn made of them was handed to the kernel.

use dataplane_core::time::Timestamp;
use shared::counters::{Counters, Histogram};

use crate::clock;

/// The media packets of one turn.
#[derive(Debug)]
pub(crate) struct Residence {
    arrivals: Vec<Timestamp>,
}

impl Residence {
    /// Of no packet, with room for those of a turn.
    pub(crate) fn new() -> Self {
        Self {
            arrivals: Vec::with_capacity(PACKETS_MAX),
        }
    }

    /// A media packet that came at `at` is forwarded in this turn. What is more than a turn should
    /// hold is not counted, rather than that memory is taken for it.
    pub(crate) fn note(&mut self, at: Timestamp) {
        if self.arrivals.len() < PACKETS_MAX {
            self.arrivals.push(at);
        }
    }

    /// Everything of the turn has left. The packets that were sent first left a little earlier.
    pub(crate) fn end_turn(&mut self, counters: &mut Counters) {
        if self.arrivals.is_empty() {
            return;
        }
        let now = clock::now();
        for at in self.arrivals.drain(..) {
            let nanos = u64::try_from(now.since(at).as_nanos()).unwrap_or(u64::MAX);
            counters.record(Histogram::Residence, nanos, 1);
        }
    }
}

/// Media packets of one turn: what a receive call brings, with the last message joined of many.
const PACKETS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_packet_of_a_turn_is_counted_once() {
        let (mut residence, mut counters) = (Residence::new(), Counters::default());
        let now = clock::now();
        residence.note(now);
        residence.note(now);
        residence.end_turn(&mut counters);
        residence.end_turn(&mut counters);
        assert_eq!(counters.distribution(Histogram::Residence).count(), 2);
    }

    #[test]
    fn the_time_is_that_since_the_arrival() {
        let (mut residence, mut counters) = (Residence::new(), Counters::default());
        let waited = Duration::from_millis(5);
        let at = clock::now();
        std::thread::sleep(waited);
        residence.note(at);
        residence.end_turn(&mut counters);
        let sum = counters.distribution(Histogram::Residence).sum;
        assert!(u128::from(sum) >= waited.as_nanos(), "{sum}");
    }

    #[test]
    fn more_packets_than_a_turn_holds_take_no_memory() {
        let (mut residence, mut counters) = (Residence::new(), Counters::default());
        let before = residence.arrivals.capacity();
        for _ in 0..before + 100 {
            residence.note(clock::now());
        }
        residence.end_turn(&mut counters);
        assert_eq!(residence.arrivals.capacity(), before);
    }
}
