//! Whether a path has suddenly become far narrower than what is sent over it. Not in libwebrtc, whose
//! trend line needs a quarter of a second to be sure: in that time a queue of 300 ms fills, and the
//! key frame of a smaller layer has to wait behind all of it.

use core::time::Duration;

use super::feedback::{Batch, Received};
use super::queue_delay::QueueDelay;
use super::units::{bits_per_second, micros, scaled};
use crate::time::Timestamp;

/// Looks at each feedback.
#[derive(Debug, Default)]
pub(super) struct Surge {
    fall: Option<Fall>,
}

/// The path seemed to become far narrower.
#[derive(Clone, Copy, Debug)]
struct Fall {
    at: Timestamp,
    /// The estimate before; none once it was found that nothing had happened.
    from: Option<u64>,
}

/// What a feedback shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing sudden.
    Nothing,
    /// The path carries so many bits a second now.
    Narrower(u64),
    /// What seemed to be a narrower path was not: the estimate is again what it was.
    AsBefore(u64),
}

impl Surge {
    /// Looks at a feedback, which is in `queue_delay` already, on a path of which `estimate` is known.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        queue_delay: &QueueDelay,
        estimate: u64,
    ) -> Sight {
        let before = self.fall.filter(|fall| fall.is_fresh(now));
        let waits = queue_delay.latest().unwrap_or_default();
        if let Some(carried) = carried(&batch.received, waits, estimate) {
            let from = before.and_then(|fall| fall.from).or(Some(estimate));
            self.fall = Some(Fall { at: now, from });
            return Sight::Narrower(carried);
        }
        let none = before.filter(|fall| fall.was_none(batch, queue_delay));
        let Some((at, from)) = none.and_then(|fall| Some((fall.at, fall.from?))) else {
            return Sight::Nothing;
        };
        self.fall = Some(Fall { at, from: None });
        Sight::AsBefore(from)
    }

    /// When the path seemed to become far narrower last.
    pub(super) fn fell_at(&self) -> Option<Timestamp> {
        Some(self.fall?.at)
    }

    /// Whether the path has become far narrower, and what was sent before that was known is still to
    /// come.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.fall.is_some_and(|fall| fall.is_fresh(now))
    }
}

impl Fall {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.from.is_some() && now.since(self.at) < FILLS_FOR
    }

    /// Whether what was under way when the path seemed to become narrow came without waiting. It
    /// gained nothing by what was changed then: nothing had happened.
    fn was_none(&self, batch: &Batch, queue_delay: &QueueDelay) -> bool {
        let under_way = batch.received.iter();
        let under_way = under_way.filter(|packet| packet.sent_at <= micros(self.at));
        let newest = under_way.max_by_key(|packet| packet.sent_at);
        newest.is_some_and(|packet| queue_delay.has_passed(packet))
    }
}

/// Bits a second that come through, if they are far below `estimate` while a queue grows that already
/// takes `waits` microseconds to pass. All of it must show in the packets of one feedback: a packet
/// that was late by chance, a longer route and a burst on a path that carries it do not.
fn carried(received: &[Received], waits: i64, estimate: u64) -> Option<u64> {
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

/// A queue of 300 ms is told of after that time and a round trip.
const FILLS_FOR: Duration = Duration::from_millis(400);

/// Fewer packets prove nothing.
const PACKETS_MIN: usize = 3;

/// Microseconds between the first and the last arrival.
const SPAN_MIN: i64 = 20_000;

/// Microseconds: more than jitter does to the luckiest of some packets.
const WAITS_MIN: i64 = 50_000;

/// What comes through of what was estimated. Smaller steps are left to the trend line.
const FAR_BELOW: f64 = 0.35;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

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

    /// A path on which packets took 25 ms so far, and the feedback that shows it to be narrower.
    fn after_a_fall() -> (Surge, QueueDelay) {
        let (mut surge, mut queue_delay) = (Surge::default(), QueueDelay::default());
        let mut sights = [Sight::Nothing; 2];
        let feedbacks = [[(0, 25), (1, 26), (2, 27), (3, 28)], STRETCHED];
        for (sight, packets) in sights.iter_mut().zip(feedbacks) {
            let batch = batch(packets);
            queue_delay.add(50_000, &batch);
            *sight = surge.look(ms(200), &batch, &queue_delay, 3_000_000);
        }
        assert_eq!(sights, [Sight::Nothing, Sight::Narrower(500_000)]);
        assert!(surge.is_fresh(ms(599)) && !surge.is_fresh(ms(600)));
        (surge, queue_delay)
    }

    fn batch<const N: usize>(times: [(i64, i64); N]) -> Batch {
        Batch {
            received: packets(times).to_vec(),
            ..Batch::default()
        }
    }

    #[test]
    fn it_was_none_if_what_was_under_way_comes_without_waiting() {
        let (mut surge, queue_delay) = after_a_fall();
        let sight = surge.look(ms(300), &batch([(190, 220)]), &queue_delay, 425_000);
        assert_eq!(sight, Sight::AsBefore(3_000_000));
        assert!(!surge.is_fresh(ms(300)));
    }

    #[test]
    fn it_was_one_if_what_was_under_way_waits_and_only_what_was_sent_later_does_not() {
        let (mut surge, queue_delay) = after_a_fall();
        for packet in [(190, 290), (210, 240)] {
            let sight = surge.look(ms(300), &batch([packet]), &queue_delay, 425_000);
            assert_eq!(sight, Sight::Nothing);
        }
    }
}
