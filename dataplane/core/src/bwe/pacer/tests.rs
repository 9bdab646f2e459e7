//! What leaves when.

use proptest::prelude::*;

use super::*;
use crate::ingress::testing::ms;

/// A pacer for 1 Mb/s on a path that was full lately: 131 bytes in a millisecond, and 1312 at
/// once.
fn pacer() -> Pacer<u32> {
    let mut pacer = Pacer::new(ms(0));
    pacer.set_estimate(ms(0), 1_000_000, true);
    pacer
}

/// What leaves of the queue, each with the millisecond.
fn leave(pacer: &mut Pacer<u32>, from: u64, until: u64) -> Vec<(u64, Released<u32>)> {
    let mut left = Vec::new();
    for at in from..until {
        while let Some(released) = pacer.poll(ms(at)) {
            left.push((at, released));
        }
    }
    left
}

#[test]
fn what_is_within_the_rate_leaves_at_once() {
    let mut pacer = pacer();
    for at in 0..1000 {
        assert_eq!(pacer.admit(ms(at * 10), 1200, 0), Admission::SendNow);
    }
}

#[test]
fn what_does_not_leave_after_all_makes_nobody_wait() {
    let mut pacer = pacer();
    for at in 0..1000 {
        // Ten times the rate, of which one packet in ten leaves.
        for item in 0..10 {
            assert_eq!(pacer.admit(ms(at * 10), 1200, item), Admission::SendNow);
            if item > 0 {
                pacer.take_back(1200);
            }
        }
    }
}

#[test]
fn a_key_frame_leaves_at_the_rate_and_in_order() {
    let mut pacer = pacer();
    let admitted = (0..40).map(|item| pacer.admit(ms(0), 1200, item));
    let at_once = admitted
        .filter(|admission| *admission == Admission::SendNow)
        .count();
    assert_eq!(at_once, 2);
    let left = leave(&mut pacer, 0, 400);
    assert!(left.is_sorted_by_key(|(at, _)| *at));
    let items: Vec<_> = left.iter().map(|(_, released)| *released).collect();
    assert_eq!(items, (2..40).map(Released::Send).collect::<Vec<_>>());
    // 38 packets at 1.05 Mb/s.
    assert!((335..=355).contains(&left.last().unwrap().0), "{left:?}");
}

/// Of some stream, and its number there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Numbered(char, u32);

impl PartialOrd for Numbered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.0 == other.0).then(|| self.1.cmp(&other.1))
    }
}

#[test]
fn what_was_overtaken_leaves_before_those_of_its_stream_that_wait() {
    let mut pacer = Pacer::new(ms(0));
    pacer.set_estimate(ms(0), 1_000_000, true);
    pacer.handle_unpaced(ms(0), 5_000);
    let came = [('a', 1), ('a', 3), ('b', 8), ('a', 4), ('b', 9), ('a', 2)];
    for (stream, number) in came {
        let admission = pacer.admit(ms(0), 100, Numbered(stream, number));
        assert_eq!(admission, Admission::Queued);
    }
    let waiting: Vec<_> = pacer.waiting().map(|of| (of.0, of.1)).collect();
    let order = [('a', 1), ('a', 2), ('a', 3), ('b', 8), ('a', 4), ('b', 9)];
    assert_eq!(waiting, order);
}

#[test]
fn what_was_overtaken_makes_none_wait_for_longer() {
    let mut pacer = pacer();
    pacer.handle_unpaced(ms(0), 60_000);
    assert_eq!(pacer.admit(ms(0), 100, 2), Admission::Queued);
    assert_eq!(pacer.admit(ms(400), 100, 1), Admission::Queued);
    pacer.handle_unpaced(ms(400), 60_000);
    // Both are as old as the first that came.
    let left = leave(&mut pacer, 400, 510);
    assert_eq!(
        left,
        [(501, Released::Expired(1)), (501, Released::Expired(2))]
    );
}

#[test]
fn on_a_path_that_was_never_full_nothing_waits() {
    let mut pacer = Pacer::new(ms(0));
    pacer.set_estimate(ms(0), 1_000_000, false);
    // 60 KB at once, ten times the average of a frame at 1.5 Mb/s.
    for item in 0..50 {
        assert_eq!(pacer.admit(ms(0), 1200, item), Admission::SendNow);
    }
}

#[test]
fn on_a_path_that_was_never_full_a_flood_is_late_by_little_and_whole() {
    let mut pacer = Pacer::new(ms(0));
    pacer.set_estimate(ms(0), 100_000, false);
    // 10 Mb/s for a second, where 0.1 Mb/s were known.
    let mut left = Vec::new();
    for at in 0..1_000 {
        let admission = pacer.admit(ms(at), 1200, at);
        if admission == Admission::SendNow {
            left.push((at, at));
        }
        assert_ne!(admission, Admission::Full);
        while let Some(released) = pacer.poll(ms(at)) {
            let Released::Send(item) = released else {
                panic!("{released:?}");
            };
            left.push((item, at));
        }
    }
    assert!(left.iter().map(|(item, _)| *item).eq(0..left.len() as u64));
    assert!(left.len() >= 899, "{}", left.len());
    assert!(left.iter().all(|(item, at)| at - item <= 100), "{left:?}");
}

#[test]
fn what_is_not_paced_counts() {
    let mut pacer = pacer();
    for _ in 0..10 {
        pacer.handle_unpaced(ms(0), 1200);
    }
    assert_eq!(pacer.admit(ms(0), 1200, 1), Admission::Queued);
    let left = leave(&mut pacer, 0, 100);
    // 12,000 bytes less 1312, at 131 a millisecond.
    assert_eq!(left, [(82, Released::Send(1))]);
}

#[test]
fn what_the_rate_cannot_carry_in_time_is_dropped() {
    let mut pacer = Pacer::new(ms(0));
    pacer.set_estimate(ms(0), 50_000, true);
    for item in 0..100 {
        pacer.admit(ms(0), 1200, item);
    }
    let left = leave(&mut pacer, 0, 600);
    let sent = left
        .iter()
        .filter(|(_, released)| matches!(released, Released::Send(_)));
    assert!(sent.count() <= 3);
    assert!(left.iter().all(|(at, _)| *at <= 501));
    assert_eq!(pacer.queued_bytes(), 0);
}

#[test]
fn who_is_not_polled_for_long_gets_what_is_too_old_as_such() {
    let mut pacer = pacer();
    for item in 0..20 {
        pacer.admit(ms(0), 1200, item);
    }
    assert_eq!(pacer.poll(ms(501)), Some(Released::Expired(2)));
}

#[test]
fn what_is_not_wanted_any_more_does_not_wait() {
    let mut pacer = pacer();
    for item in 0..20 {
        pacer.admit(ms(0), 1200, item);
    }
    pacer.retain(|item| item % 2 == 0);
    assert_eq!(pacer.queued_bytes(), 9 * 1200);
    let left = leave(&mut pacer, 0, 200);
    let expected = (2..20).step_by(2).map(Released::Send);
    assert!(left.into_iter().map(|(_, released)| released).eq(expected));
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut pacer = pacer();
    let admitted = (0..1_100).map(|item| pacer.admit(ms(0), 1200, item));
    assert_eq!(
        admitted
            .filter(|admission| *admission == Admission::Full)
            .count(),
        1_100 - QUEUE_MAX - 2
    );
}

proptest! {
    #[test]
    fn the_next_time_is_when_something_leaves(
        sizes in proptest::collection::vec(1_u16..1400, 1..100),
    ) {
        let mut pacer = pacer();
        for size in &sizes {
            pacer.admit(ms(0), *size, 0);
        }
        let mut now = ms(0);
        while let Some(next) = pacer.next_at(now) {
            prop_assert!(next >= now);
            now = next;
            // Rounding may take it one byte further.
            let is_released = pacer.poll(now).is_some();
            let later = now + Duration::from_micros(20);
            prop_assert!(is_released || pacer.poll(later).is_some());
        }
        prop_assert_eq!(pacer.queued_bytes(), 0);
    }
}
