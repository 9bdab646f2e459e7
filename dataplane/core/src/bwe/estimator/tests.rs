//! What the owner of an estimator sees of it; how it estimates is in `bwe::tests`.

use super::*;
use crate::bwe::tests::feedback::FeedbackBytes;
use crate::ingress::testing::ms;

const START: u64 = 600_000;

fn estimator() -> Estimator {
    Estimator::new(ms(0), START)
}

/// Sends 100 packets a second of 1000 bytes for `seconds`, and tells of all of them 50 ms later.
fn run(estimator: &mut Estimator, from: u64, seconds: u64) {
    run_losing(estimator, from, seconds, 0);
}

/// Like [`run`]; of each ten packets, so many do not come.
fn run_losing(estimator: &mut Estimator, from: u64, seconds: u64, lost: u64) {
    let mut batch = Batch::default();
    for tenth in 0..seconds * 10 {
        let start = from + tenth * 100;
        let first = estimator.next_number();
        for index in 0..10 {
            estimator.handle_sent(ms(start + index * 10), 1000);
        }
        let arrivals: Vec<_> = (0..10)
            .map(|index| (index >= lost).then_some((start + index * 10) * 4))
            .collect();
        let feedback = FeedbackBytes::new(first, &arrivals);
        estimator.handle_feedback(ms(start + 140), &feedback.parse(), &mut batch);
    }
}

#[test]
fn numbers_follow_each_other_and_wrap() {
    let mut estimator = estimator();
    for number in (0..=u16::MAX).chain([0, 1]) {
        assert_eq!(estimator.next_number(), number);
        estimator.handle_sent(ms(1), 100);
    }
}

#[test]
fn what_has_no_number_counts_with_the_next_that_has_one() {
    let mut estimator = estimator();
    estimator.handle_sent_untracked(100);
    estimator.handle_sent_untracked(50);
    assert_eq!(estimator.snapshot().bytes_in_flight, 0);
    estimator.handle_sent(ms(1), 1000);
    assert_eq!(estimator.snapshot().bytes_in_flight, 1150);
    estimator.handle_sent(ms(1), 1000);
    assert_eq!(estimator.snapshot().bytes_in_flight, 2150);
}

#[test]
fn feedback_tells_what_comes_through() {
    let mut estimator = estimator();
    run(&mut estimator, 1000, 3);
    let snapshot = estimator.snapshot();
    assert_eq!(snapshot.throughput, Some(800_000));
    assert_eq!(snapshot.usage, Usage::Normal);
    assert_eq!(snapshot.round_trip, Duration::from_millis(50));
    assert_eq!(snapshot.queue_delay, Duration::ZERO);
    assert_eq!(snapshot.bytes_in_flight, 0);
    assert!(estimator.estimate() > START);
    assert!(!estimator.is_congested(ms(5000)));
}

#[test]
fn a_remb_caps_the_estimate_while_it_is_repeated() {
    let mut estimator = estimator();
    estimator.handle_remb(ms(100), 200_000);
    assert_eq!(estimator.estimate(), 200_000);
    estimator.handle_remb(ms(4000), 250_000);
    estimator.poll(ms(8000));
    assert_eq!(estimator.estimate(), 250_000);
    estimator.poll(ms(9000));
    assert_eq!(estimator.estimate(), START);
}

#[test]
fn packets_of_which_nothing_is_heard_lower_the_estimate() {
    let mut estimator = estimator();
    for at in 0..500 {
        estimator.handle_sent(ms(at * 10), 1000);
        estimator.poll(ms(at * 10));
    }
    // After 2.8 and 3.8 and 4.8 s.
    assert_eq!(estimator.estimate(), 307_200);
}

#[test]
fn a_demand_that_is_not_met_makes_it_probe() {
    let mut estimator = estimator();
    estimator.set_demand(2_000_000);
    assert_eq!(estimator.wanted_probe(ms(10)), None);
    estimator.poll(ms(10));
    let mut packets = 0;
    while let Some(next) = estimator
        .next_probe_at(ms(10))
        .filter(|next| *next < ms(100))
    {
        estimator.poll(next);
        if let Some(packet) = estimator.wanted_probe(next) {
            estimator.handle_sent(next, packet.bytes.into());
            packets += 1;
        }
        if packets > 20 {
            break;
        }
    }
    // 1.8 Mb/s for 25 ms are 5625 bytes.
    assert_eq!(packets, 5);
}

#[test]
fn what_left_without_a_number_before_a_probe_is_no_part_of_it() {
    let mut estimator = Estimator::new(ms(0), 100_000);
    for _ in 0..60 {
        estimator.handle_sent_untracked(1000);
    }
    estimator.set_demand(2_000_000);
    estimator.poll(ms(10));
    let mut packets = 0;
    for at in 10..200 {
        if let Some(packet) = estimator.wanted_probe(ms(at)) {
            estimator.handle_sent(ms(at), packet.bytes.into());
            packets += 1;
        }
    }
    // 300 kb/s for 25 ms are less than five small packets.
    assert_eq!(packets, 5);
    assert_eq!(estimator.snapshot().bytes_in_flight, 1000);
}

#[test]
fn another_route_is_estimated_anew() {
    let mut estimator = estimator();
    run(&mut estimator, 1000, 10);
    assert!(estimator.estimate() > START);
    // These are under way when the client moves.
    let first = estimator.next_number();
    for _ in 0..10 {
        estimator.handle_sent(ms(11_000), 1000);
    }
    estimator.handle_route_change(ms(11_010));
    let snapshot = estimator.snapshot();
    assert_eq!((snapshot.estimate, snapshot.throughput), (START, None));
    assert_eq!(snapshot.bytes_in_flight, 0);
    assert_eq!(estimator.next_number(), first.wrapping_add(10));
    // That they took long, or that some were lost, says nothing of the new route.
    let arrivals: Vec<_> = (0..10)
        .map(|index| (index % 2 == 0).then_some(48_000))
        .collect();
    let feedback = FeedbackBytes::new(first, &arrivals);
    estimator.handle_feedback(ms(12_000), &feedback.parse(), &mut Batch::default());
    assert_eq!(estimator.snapshot().loss, 0.0);
    assert_eq!(estimator.snapshot().round_trip, Duration::from_millis(200));
    run(&mut estimator, 13_000, 3);
    assert_eq!(estimator.snapshot().throughput, Some(800_000));
}

/// Sends nothing but the probes that are wanted, and tells of each packet 50 ms later.
fn run_probing(estimator: &mut Estimator, from: u64, seconds: u64) {
    let mut batch = Batch::default();
    for at in (from..from + seconds * 1000).step_by(100) {
        estimator.poll(ms(at));
        let first = estimator.next_number();
        let mut arrivals = Vec::new();
        for later in at..at + 50 {
            while let Some(packet) = estimator.wanted_probe(ms(later)) {
                estimator.handle_sent(ms(later), packet.bytes.into());
                arrivals.push(Some(later * 4));
            }
        }
        if !arrivals.is_empty() {
            let feedback = FeedbackBytes::new(first, &arrivals);
            estimator.handle_feedback(ms(at + 99), &feedback.parse(), &mut batch);
        }
    }
}

#[test]
fn what_was_lost_before_a_pause_does_not_hold_probes_back() {
    let mut estimator = estimator();
    estimator.set_demand(2_000_000);
    run_losing(&mut estimator, 1_000, 10, 7);
    assert_eq!(estimator.snapshot().loss_state, LossState::Decreasing);
    let before = estimator.estimate();
    assert!(before < 500_000, "{before}");
    run_probing(&mut estimator, 14_000, 15);
    let after = estimator.estimate();
    assert!(after > 1_500_000, "{before}, {after}");
}

#[test]
fn without_demand_it_has_nothing_to_do() {
    let mut estimator = estimator();
    estimator.poll(ms(10));
    assert_eq!(estimator.next_probe_at(ms(10)), None);
}
