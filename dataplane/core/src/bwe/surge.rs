//! Whether a path has suddenly become far narrower than what is sent over it. Not in libwebrtc, whose
//! trend line needs a quarter of a second to be sure: in that time a queue of 300 ms fills, and the
//! key frame of a smaller layer has to wait behind all of it.

use super::feedback::Received;
use super::units::{bits_per_second, scaled};

/// Bits a second that come through, if they are far below `estimate` while a queue grows that already
/// takes `waits` microseconds to pass. All of it must show in the packets of one feedback: a packet
/// that was late by chance, a longer route and a burst on a path that carries it do not.
pub(super) fn carried(received: &[Received], waits: i64, estimate: u64) -> Option<u64> {
    let (first, rest) = received.split_first()?;
    let last = rest.last()?;
    let (arrival, sending) = (
        last.arrived_at - first.arrived_at,
        last.sent_at - first.sent_at,
    );
    let grows = arrival - sending >= arrival / 2;
    if received.len() < PACKETS_MIN || arrival < SPAN_MIN || waits < WAITS_MIN || !grows {
        return None;
    }
    // What the first packet took to come is not known.
    let bytes = rest.iter().map(|packet| u64::from(packet.bytes)).sum();
    let carried = bits_per_second(bytes, arrival);
    (carried < scaled(estimate, FAR_BELOW)).then_some(carried)
}

/// Fewer packets prove nothing.
const PACKETS_MIN: usize = 3;

/// Microseconds between the first and the last arrival.
const SPAN_MIN: i64 = 20_000;

/// Microseconds: more than jitter does to the luckiest of some packets.
const WAITS_MIN: i64 = 50_000;

/// What comes through of what was estimated. Smaller steps are left to the trend line.
const FAR_BELOW: f64 = 0.6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1,000 bytes, sent and come at these milliseconds.
    fn packets<const N: usize>(times: [(i64, i64); N]) -> [Received; N] {
        times.map(|(sent, arrived)| Received {
            sent_at: sent * 1000,
            arrived_at: arrived * 1000,
            bytes: 1000,
            cluster: 0,
        })
    }

    /// Sent within 3 ms, they come 16 ms apart: 500 kb/s.
    const STRETCHED: [(i64, i64); 4] = [(0, 80), (1, 96), (2, 112), (3, 128)];
    const WAITS: i64 = 80_000;

    #[test]
    fn a_path_that_became_far_narrower_shows_what_it_carries() {
        let carried = carried(&packets(STRETCHED), WAITS, 3_000_000);
        assert_eq!(carried, Some(500_000));
    }

    #[test]
    fn what_is_not_far_below_the_estimate_is_left_to_the_trend_line() {
        assert_eq!(carried(&packets(STRETCHED), WAITS, 800_000), None);
    }

    #[test]
    fn a_burst_that_waits_for_nothing_else_is_none() {
        assert_eq!(carried(&packets(STRETCHED), 10_000, 3_000_000), None);
    }

    #[test]
    fn a_longer_route_is_none() {
        let slow = packets([(0, 80), (16, 96), (32, 112), (48, 128)]);
        assert_eq!(carried(&slow, WAITS, 3_000_000), None);
    }

    #[test]
    fn a_link_that_stood_still_and_lets_all_through_at_once_is_none() {
        let stalled = packets([(0, 120), (30, 121), (60, 122), (68, 150)]);
        assert_eq!(carried(&stalled, WAITS, 3_000_000), None);
    }

    #[test]
    fn two_packets_prove_nothing() {
        assert_eq!(
            carried(&packets([(0, 80), (1, 120)]), WAITS, 3_000_000),
            None
        );
        assert_eq!(carried(&[], WAITS, 3_000_000), None);
    }
}
