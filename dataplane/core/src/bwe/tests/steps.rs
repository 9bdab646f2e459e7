//! What issue 3 asks of the estimate: links that change in steps, random loss, silence.

use super::flow::FlowConfig;
use super::link::PathConfig;
use super::source::Video;
use super::world::{Outcome, run_one};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// A path of 50 ms RTT whose capacity changes at these seconds.
fn path(capacity: &[(u64, f64)]) -> PathConfig {
    PathConfig {
        capacity: capacity
            .iter()
            .map(|(at, rate)| (at * 1_000_000, *rate))
            .collect(),
        delay: 25_000,
        ..PathConfig::default()
    }
}

fn elastic(max: f64) -> FlowConfig {
    FlowConfig {
        video: Video::Elastic { min: 50e3, max },
        ..FlowConfig::default()
    }
}

fn layered() -> FlowConfig {
    FlowConfig {
        video: Video::Layers(vec![150e3, 500e3, 2500e3]),
        estimate: 600_000,
        ..FlowConfig::default()
    }
}

fn steps(flow: &FlowConfig, seed: u64) -> Outcome {
    run_one(
        90,
        &path(&[(0, 3e6), (30, 5e5), (60, 3e6)]),
        flow.clone(),
        seed,
    )
}

#[test]
fn a_layer_follows_the_link_down_within_two_seconds_and_up_within_eight() {
    for seed in SEEDS {
        let outcome = steps(&layered(), seed);
        let down = outcome.settles(30.0, |sample| sample.media_rate < 200e3);
        assert!(
            down.is_some_and(|seconds| seconds <= 2.0),
            "seed {seed}: {down:?}"
        );
        let up = outcome.settles(60.0, |sample| sample.media_rate > 2000e3);
        assert!(
            up.is_some_and(|seconds| seconds <= 8.0),
            "seed {seed}: {up:?}"
        );
        let queued = outcome.last(30.0, 60.0, |sample| sample.queue_delay > 100_000);
        assert!(queued <= 3.0, "seed {seed}: {queued}");
    }
}

#[test]
fn an_encoder_follows_the_link_down_within_two_seconds_and_up_within_eight() {
    for seed in SEEDS {
        let outcome = steps(&elastic(5e6), seed);
        let down = outcome.settles(30.0, |sample| sample.estimate < 520_000);
        assert!(
            down.is_some_and(|seconds| seconds <= 2.0),
            "seed {seed}: {down:?}"
        );
        let up = outcome.settles(60.0, |sample| sample.estimate > 1_800_000);
        assert!(
            up.is_some_and(|seconds| seconds <= 8.0),
            "seed {seed}: {up:?}"
        );
        let queued = outcome.last(30.0, 60.0, |sample| sample.queue_delay > 100_000);
        assert!(queued <= 3.0, "seed {seed}: {queued}");
    }
}

/// Nearly all of a steady link is used, and little is lost by our doing.
fn uses_two_megabits(link: &PathConfig, utilisation: f64) {
    for seed in SEEDS {
        let outcome = run_one(60, link, elastic(5e6), seed);
        let used = outcome.send_rate(10.0, 60.0) / 2e6;
        let caused = outcome.loss_in_queue(0.0, 60.0);
        let queue = outcome.queue_delay(0.95, 10.0, 60.0);
        assert!(used >= utilisation, "seed {seed}: {used}");
        assert!(caused < 0.01, "seed {seed}: {caused}");
        assert!(queue < 150, "seed {seed}: {queue}");
    }
}

#[test]
fn a_steady_link_is_used() {
    uses_two_megabits(&path(&[(0, 2e6)]), 0.85);
}

#[test]
fn random_loss_does_not_keep_a_link_from_being_used() {
    let link = PathConfig {
        loss: 0.05,
        ..path(&[(0, 2e6)])
    };
    uses_two_megabits(&link, 0.85);
}

#[test]
fn jitter_does_not_keep_a_link_from_being_used() {
    for jitter in [2e3, 5e3, 10e3] {
        let link = PathConfig {
            jitter,
            ..path(&[(0, 2e6)])
        };
        uses_two_megabits(&link, 0.85);
    }
}

#[test]
fn at_80_kilobits_only_audio_plays_and_at_300_the_lowest_layer() {
    for seed in SEEDS {
        let outcome = run_one(60, &path(&[(0, 80e3), (30, 300e3)]), layered(), seed);
        assert!(outcome.media_rate(5.0, 30.0) < 1.0);
        assert!(outcome.loss(5.0, 30.0) < 0.01);
        assert!(outcome.queue_delay(0.95, 5.0, 30.0) < 60);
        let up = outcome.settles(30.0, |sample| sample.media_rate > 0.0);
        assert!(
            up.is_some_and(|seconds| seconds <= 10.0),
            "seed {seed}: {up:?}"
        );
        assert!(outcome.loss(30.0, 60.0) < 0.01);
    }
}

#[test]
fn when_feedback_stops_less_and_less_is_sent() {
    let flow = FlowConfig {
        silent: Some((20_000_000, 40_000_000)),
        ..elastic(5e6)
    };
    let outcome = run_one(60, &path(&[(0, 2e6)]), flow, 1);
    assert!(outcome.estimate(22.0, 23.0) > 1_400_000.0);
    assert!(outcome.estimate(39.0, 40.0) < 60_000.0);
    assert!(outcome.estimate(50.0, 60.0) > 1_400_000.0);
}

#[test]
fn an_application_that_comes_to_want_all_gets_it_within_three_seconds() {
    for seed in SEEDS {
        // Audio and the lowest layer for 30 s, and then everything.
        let mut flow = layered();
        flow.wants_all_from = 30_000_000;
        let outcome = run_one(45, &path(&[(0, 4e6)]), flow, seed);
        assert!(outcome.estimate(10.0, 30.0) < 4_000_000.0);
        let up = outcome.settles(30.0, |sample| sample.media_rate > 2000e3);
        assert!(
            up.is_some_and(|seconds| seconds <= 3.0),
            "seed {seed}: {up:?}"
        );
    }
}

#[test]
fn on_a_link_with_room_everything_is_sent_and_nothing_waits() {
    for seed in SEEDS {
        let outcome = run_one(60, &path(&[(0, 20e6)]), layered(), seed);
        assert!(outcome.media_rate(5.0, 60.0) > 2499e3);
        assert!(outcome.last(10.0, 60.0, |sample| sample.paced > 0) < 0.1);
        // What is wanted comes through, so nothing is probed any more.
        assert!(outcome.probe_bytes < outcome.sent_bytes / 100);
    }
}

#[test]
fn probes_take_a_small_part_of_a_link_that_is_too_narrow() {
    for seed in SEEDS {
        let outcome = run_one(60, &path(&[(0, 1e6)]), layered(), seed);
        assert!(outcome.probe_bytes < outcome.sent_bytes / 10);
        assert!(outcome.queue_delay(0.99, 10.0, 60.0) < 60);
    }
}
