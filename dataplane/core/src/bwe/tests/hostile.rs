//! A subscriber that lies in its feedback harms only itself, and not much.

use proptest::prelude::*;

use super::feedback::FeedbackBytes;
use super::flow::micros;
use crate::bwe::{Batch, ESTIMATE_MAX, ESTIMATE_MIN, Estimator};

/// Sends 100 packets a second for `seconds`; what is heard of each tenth is up to `lie`, which is
/// given the time in milliseconds and the first number, and tells arrivals in milliseconds.
fn lied_to(seconds: u64, lie: impl Fn(u64, u64) -> (u64, Vec<Option<u64>>)) -> Estimator {
    let mut estimator = Estimator::new(micros(0), 300_000);
    estimator.set_demand(50_000_000);
    let mut batch = Batch::default();
    let mut next = 0;
    for tenth in 0..seconds * 10 {
        let first = next;
        for index in 0..10 {
            let now = micros((tenth * 10 + index) * 10_000);
            estimator.handle_sent(now, 1200);
            next += 1;
            // However much it is asked to probe, not more than this path is made for.
            for _ in 0..50 {
                let Some(probe) = estimator.wanted_probe(now) else {
                    break;
                };
                estimator.handle_sent(now, probe.bytes.into());
                next += 1;
            }
        }
        let now = tenth * 100 + 100;
        let (base, arrivals) = lie(now, first);
        let ticks: Vec<_> = arrivals.iter().map(|at| at.map(|at| at * 4)).collect();
        let base = u16::try_from(base % 65_536).unwrap();
        let feedback = FeedbackBytes::new(base, &ticks);
        if feedback.covered > 0 {
            estimator.handle_feedback(micros(now * 1000), &feedback.parse(), &mut batch);
        }
        estimator.poll(micros(now * 1000));
        let estimate = estimator.estimate();
        assert!((ESTIMATE_MIN..=ESTIMATE_MAX).contains(&estimate));
    }
    estimator
}

#[test]
fn all_at_the_same_moment_proves_nothing() {
    let estimator = lied_to(20, |now, first| (first, vec![Some(now); 10]));
    // What was sent is the most that can be proved: a megabit, and half as much again.
    assert!(estimator.estimate() < 2_000_000, "{}", estimator.estimate());
}

#[test]
fn a_receiver_that_claims_everything_at_once_gets_what_was_sent() {
    let estimator = lied_to(20, |now, first| {
        (
            first,
            (0..1000).map(|index| Some(now + index / 100)).collect(),
        )
    });
    assert!(estimator.estimate() < 6_000_000, "{}", estimator.estimate());
}

#[test]
fn clocks_that_jump_to_and_fro_leave_the_estimate_where_it_is() {
    let estimator = lied_to(20, |now, first| {
        let offset = if now % 200 == 0 { 40_000_000 } else { 1_000 };
        (
            first,
            (0..10)
                .map(|index| Some(offset + now + index * 10))
                .collect(),
        )
    });
    assert!(
        (100_000..=2_000_000).contains(&estimator.estimate()),
        "{}",
        estimator.estimate()
    );
}

#[test]
fn who_claims_to_lose_everything_gets_nothing_but_harms_nobody() {
    let estimator = lied_to(20, |now, first| {
        let mut arrivals = vec![None; 10];
        arrivals[9] = Some(now);
        (first, arrivals)
    });
    assert!(estimator.estimate() < 300_000);
}

#[test]
fn feedback_about_packets_of_long_ago_or_that_were_never_sent_is_none() {
    let estimator = lied_to(5, |now, first| {
        (
            first + 30_000,
            (0..10).map(|index| Some(now + index)).collect(),
        )
    });
    assert_eq!(estimator.snapshot().throughput, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_claimed_the_estimate_stays_in_its_bounds(
        lies in proptest::collection::vec(
            (any::<u16>(), proptest::collection::vec(proptest::option::of(0_u64..4_000_000_000), 1..60)),
            50,
        ),
    ) {
        let estimator = lied_to(5, |now, first| {
            let (offset, arrivals) = &lies[usize::try_from(now / 100).unwrap() % lies.len()];
            // Half of the lies are about what was sent.
            let base = if offset % 2 == 0 { first + 65_536 - u64::from(offset % 64) } else { u64::from(*offset) };
            (base, arrivals.clone())
        });
        prop_assert!(estimator.estimate() <= ESTIMATE_MAX);
        prop_assert!(estimator.snapshot().loss <= 1.0);
    }
}
