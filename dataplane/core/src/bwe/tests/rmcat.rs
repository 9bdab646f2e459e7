//! The cases of RFC 8867, RFC 8868 and RFC 8869 keep their bounds, and what else each of them is
//! about.

use super::cases::{
    self, CONGESTED_FEEDBACK, Case, ONE_FLOW, ONE_FLOW_LAYERS, PAUSE, ROUND_TRIPS, SAME_KIND,
    SHORT_TCP, TWO_FLOWS, flow, layered, path, short_transfers,
};
use super::world::{Outcome, World};

const SEEDS: [u64; 3] = [1, 2, 3];

/// RFC 8868 §3: the ratio of two flows that are equal.
fn is_fair(outcomes: &[Outcome], from: f64, until: f64, ratio: f64) {
    let rates: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.send_rate(from, until))
        .collect();
    let most = rates.iter().copied().fold(0.0, f64::max);
    let least = rates.iter().copied().fold(f64::MAX, f64::min);
    assert!(most / least <= ratio, "{rates:?}");
}

/// Once a layer has changed it stays, by and large.
fn is_calm(outcomes: &[Outcome], from: f64, until: f64, changes_max: usize) {
    for outcome in outcomes {
        let changes = outcome.layer_changes(from, until);
        assert!(changes <= changes_max, "{changes} changes");
    }
}

/// Runs a case, and sees that its bounds hold.
fn kept(case: &Case) -> Vec<Vec<Outcome>> {
    let runs = case.run();
    case.holds(&runs);
    runs
}

#[test]
fn one_flow_follows_a_variable_capacity() {
    for outcomes in kept(&ONE_FLOW) {
        let settled = outcomes[0].settles(60.0, |sample| sample.estimate < 650_000);
        assert!(settled.is_some_and(|seconds| seconds < 2.0), "{settled:?}");
    }
}

#[test]
fn two_flows_follow_a_variable_capacity() {
    kept(&TWO_FLOWS);
}

#[test]
fn a_congested_way_back_does_not_stop_the_flow() {
    for (outcomes, seed) in kept(&CONGESTED_FEEDBACK).iter().zip(SEEDS) {
        let forward = (CONGESTED_FEEDBACK.world)().forward;
        let clean = World::new(100, forward, vec![flow(0, 100)]).run(seed);
        let with = outcomes[0].send_rate(10.0, 99.0);
        let without = clean[0].send_rate(10.0, 99.0);
        assert!(with > 0.85 * without, "{with} {without}");
    }
}

#[test]
fn flows_that_come_one_after_another_share_fairly() {
    for outcomes in kept(&SAME_KIND) {
        is_fair(&outcomes, 60.0, 118.0, 2.0);
    }
}

#[test]
fn flows_of_different_round_trips_share_fairly() {
    for outcomes in kept(&ROUND_TRIPS) {
        is_fair(&outcomes, 100.0, 298.0, 2.0);
    }
}

#[test]
fn beside_a_long_tcp_flow_it_does_not_starve() {
    kept(&cases::LONG_TCP);
    kept(&cases::LONG_TCP_LONG_QUEUE);
}

#[test]
fn short_tcp_flows_are_borne() {
    for outcomes in kept(&SHORT_TCP) {
        is_fair(&outcomes, 20.0, 298.0, 2.0);
    }
}

#[test]
fn a_flow_that_pauses_gives_way_and_comes_back() {
    for outcomes in kept(&PAUSE) {
        for other in [0, 2] {
            let rate = outcomes[other].send_rate(50.0, 60.0);
            assert!(rate > 1.4e6, "{rate}");
        }
        is_fair(&outcomes, 75.0, 118.0, 2.0);
    }
}

#[test]
fn random_loss_does_not_keep_a_link_from_being_used() {
    for case in [&cases::LOSS_1, &cases::LOSS_5, &cases::LOSS_10] {
        kept(case);
    }
}

#[test]
fn a_long_or_a_short_way_does_not_keep_a_link_from_being_used() {
    for case in [&cases::DELAY_1, &cases::DELAY_150, &cases::DELAY_300] {
        kept(case);
    }
}

#[test]
fn a_short_queue_does_not_overflow_and_a_long_one_is_not_filled() {
    for case in [&cases::QUEUE_70, &cases::QUEUE_1000] {
        kept(case);
    }
}

#[test]
fn a_capacity_that_wanders_is_followed() {
    kept(&cases::CELLULAR);
}

#[test]
fn a_wired_bottleneck_with_much_jitter_is_used_and_shared() {
    kept(&cases::WIRED);
    for outcomes in kept(&cases::WIRED_TWO) {
        is_fair(&outcomes, 20.0, 118.0, 2.0);
    }
    kept(&cases::WIRED_TCP);
}

#[test]
fn layers_follow_a_variable_capacity() {
    for outcomes in kept(&ONE_FLOW_LAYERS) {
        for (from, until, layer) in [
            (5.0, 40.0, 500e3),
            (48.0, 60.0, 1500e3),
            (63.0, 80.0, 150e3),
            (93.0, 99.0, 500e3),
        ] {
            let rate = outcomes[0].media_rate(from, until);
            assert!(rate >= layer, "{from} to {until} s: {rate}");
        }
        is_calm(&outcomes, 0.0, 99.0, 6);
    }
}

#[test]
fn layers_of_flows_that_share_a_link_do_not_flap() {
    for seed in SEEDS {
        let flows = [0, 20, 40].map(|start| layered(start, 119));
        let outcomes = World::new(120, path(&[(0, 3500)]), flows.to_vec()).run(seed);
        is_calm(&outcomes, 60.0, 118.0, 6);
        let rates = outcomes.iter().map(|flow| flow.send_rate(60.0, 118.0));
        assert!(rates.sum::<f64>() > 1.5e6);
    }
}

#[test]
fn layers_beside_short_tcp_flows_are_rarely_paused() {
    for seed in SEEDS {
        let flows = vec![layered(5, 299), layered(5, 299)];
        let mut world = World::new(300, path(&[(0, 2000)]), flows);
        world.tcps = short_transfers();
        let outcomes = world.run(seed);
        is_calm(&outcomes, 20.0, 298.0, 25);
        for outcome in &outcomes {
            let rate = outcome.media_rate(20.0, 298.0);
            // The lowest layer has 150 kb/s.
            assert!(rate > 135e3, "seed {seed}: {rate}");
        }
    }
}
