//! The test cases of RFC 8867 §5, with an elastic video of 150 kb/s to 1.5 Mb/s and 20 kb/s of
//! audio in each flow, and the bounds that we hold ourselves to.

use super::flow::FlowConfig;
use super::link::PathConfig;
use super::source::Video;
use super::tcp::Files;
use super::world::{Outcome, World};

const SEEDS: [u64; 3] = [1, 2, 3];

/// Part of the case: its seconds, and what could be sent in them.
type Phase = (f64, f64, f64);

/// The path of the cases, with the capacity in kilobits from these seconds on.
fn path(capacity: &[(u64, u32)]) -> PathConfig {
    PathConfig {
        capacity: capacity
            .iter()
            .map(|(at, kilobits)| (at * 1_000_000, f64::from(*kilobits) * 1e3))
            .collect(),
        jitter: 5_000.0,
        ..PathConfig::default()
    }
}

fn flow(start: u64, end: u64) -> FlowConfig {
    FlowConfig {
        start: start * 1_000_000,
        end: end * 1_000_000,
        ..FlowConfig::default()
    }
}

/// A subscriber of simulcast in place of the encoder.
fn layered(start: u64, end: u64) -> FlowConfig {
    FlowConfig {
        video: Video::Layers(vec![150e3, 500e3, 1500e3]),
        estimate: 600_000,
        ..flow(start, end)
    }
}

fn sent(outcomes: &[Outcome], from: f64, until: f64) -> f64 {
    let rates = outcomes
        .iter()
        .map(|outcome| outcome.send_rate(from, until));
    rates.sum()
}

fn uses(outcomes: &[Outcome], phases: &[Phase], utilisation: f64, queue_p95: u64) {
    for (from, until, possible) in phases.iter().copied() {
        let used = sent(outcomes, from, until) / possible;
        assert!(used >= utilisation, "{from} to {until} s: {used:.2} used");
        let queue = outcomes[0].queue_delay(0.95, from, until);
        assert!(queue <= queue_p95, "{from} to {until} s: {queue} ms queue");
    }
}

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

#[test]
fn one_flow_follows_a_variable_capacity() {
    let capacity = [(0, 1000), (40, 2500), (60, 600), (80, 1000)];
    let phases = [
        (10.0, 40.0, 1e6),
        (45.0, 60.0, 1.52e6),
        (63.0, 80.0, 6e5),
        (85.0, 99.0, 1e6),
    ];
    for seed in SEEDS {
        let outcomes = World::new(100, path(&capacity), vec![flow(0, 100)]).run(seed);
        uses(&outcomes, &phases, 0.85, 100);
        let settled = outcomes[0].settles(60.0, |sample| sample.estimate < 650_000);
        assert!(settled.is_some_and(|seconds| seconds < 2.0), "{settled:?}");
    }
}

#[test]
fn two_flows_follow_a_variable_capacity() {
    let capacity = [(0, 4000), (25, 2000), (50, 3500), (75, 1000), (100, 2000)];
    let phases = [
        (10.0, 25.0, 3.04e6),
        (30.0, 50.0, 2e6),
        (60.0, 75.0, 3.04e6),
        (80.0, 100.0, 1e6),
        (110.0, 124.0, 2e6),
    ];
    for seed in SEEDS {
        let outcomes = World::new(125, path(&capacity), vec![flow(0, 125), flow(0, 125)]).run(seed);
        uses(&outcomes, &phases, 0.85, 150);
    }
}

#[test]
fn a_congested_way_back_does_not_stop_the_flow() {
    let forward = path(&[(0, 2000), (20, 1000), (40, 500), (60, 2000)]);
    let backward = path(&[(0, 2000), (35, 800), (70, 2000)]);
    for seed in SEEDS {
        let clean = World::new(100, forward.clone(), vec![flow(0, 100)]).run(seed);
        let mut world = World::new(100, forward.clone(), vec![flow(0, 100)]);
        world.backward = backward.clone();
        world.reverse_flows = vec![flow(0, 100)];
        let outcomes = world.run(seed);
        let with = outcomes[0].send_rate(10.0, 99.0);
        let without = clean[0].send_rate(10.0, 99.0);
        assert!(with > 0.85 * without, "{with} {without}");
    }
}

#[test]
fn flows_that_come_one_after_another_share_fairly() {
    for seed in SEEDS {
        let flows = [0, 20, 40].map(|start| flow(start, 119));
        let outcomes = World::new(120, path(&[(0, 3500)]), flows.to_vec()).run(seed);
        is_fair(&outcomes, 60.0, 118.0, 2.0);
        uses(&outcomes, &[(60.0, 118.0, 3.5e6)], 0.85, 150);
    }
}

#[test]
fn flows_of_different_round_trips_share_fairly() {
    for seed in SEEDS {
        let flows = [0, 15, 40, 90, 140].into_iter().zip(0..);
        let flows = flows.map(|(extra, index)| FlowConfig {
            extra_delay: extra * 1000,
            ..flow(index * 10, 299)
        });
        let mut forward = path(&[(0, 4000)]);
        forward.delay = 10_000;
        let outcomes = World::new(300, forward, flows.collect()).run(seed);
        is_fair(&outcomes, 100.0, 298.0, 2.0);
        uses(&outcomes, &[(100.0, 298.0, 4e6)], 0.85, 150);
    }
}

#[test]
fn beside_a_long_tcp_flow_it_does_not_starve() {
    for (queue, least) in [(300, 60e3), (1000, 150e3)] {
        for seed in SEEDS {
            let mut forward = path(&[(0, 2000)]);
            forward.queue = queue * 1000;
            let mut world = World::new(120, forward, vec![flow(5, 119)]);
            world.tcps = vec![None];
            let rate = sent(&world.run(seed), 20.0, 118.0);
            assert!(rate > least, "queue {queue} ms, seed {seed}: {rate}");
        }
    }
}

#[test]
fn short_tcp_flows_are_borne() {
    for seed in SEEDS {
        let mut world = World::new(300, path(&[(0, 2000)]), vec![flow(5, 299), flow(5, 299)]);
        world.tcps = short_transfers();
        let outcomes = world.run(seed);
        let rate = sent(&outcomes, 20.0, 298.0);
        assert!(rate > 900e3, "seed {seed}: {rate}");
        is_fair(&outcomes, 20.0, 298.0, 2.0);
    }
}

fn short_transfers() -> Vec<Option<Files>> {
    let starts_on = (0..10).map(|index| index < 2);
    starts_on
        .map(|starts_on| Some(Files { starts_on }))
        .collect()
}

#[test]
fn a_flow_that_pauses_gives_way_and_comes_back() {
    for seed in SEEDS {
        let mut flows = vec![flow(0, 119); 3];
        flows[1].paused = Some((40_000_000, 60_000_000));
        let outcomes = World::new(120, path(&[(0, 3500)]), flows).run(seed);
        for other in [0, 2] {
            let rate = outcomes[other].send_rate(50.0, 60.0);
            assert!(rate > 1.4e6, "seed {seed}: {rate}");
        }
        is_fair(&outcomes, 75.0, 118.0, 2.0);
    }
}

#[test]
fn layers_follow_a_variable_capacity() {
    let capacity = [(0, 1000), (40, 2500), (60, 600), (80, 1000)];
    for seed in SEEDS {
        let outcomes = World::new(100, path(&capacity), vec![layered(0, 100)]).run(seed);
        let outcome = &outcomes[0];
        // 500 kb/s do not fit 600 with the room that is wanted.
        for (from, until, layer) in [
            (5.0, 40.0, 500e3),
            (48.0, 60.0, 1500e3),
            (63.0, 80.0, 150e3),
            (90.0, 99.0, 500e3),
        ] {
            let rate = outcome.media_rate(from, until);
            assert!(rate >= layer, "seed {seed}, {from} to {until} s: {rate}");
            assert!(outcome.queue_delay(0.95, from, until) < 100);
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
        assert!(sent(&outcomes, 60.0, 118.0) > 1.5e6);
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
            assert!(rate > 150e3, "seed {seed}: {rate}");
        }
    }
}
