//! The test cases of RFC 8867 §5 and what RFC 8868 and RFC 8869 vary, with the bounds that we hold
//! ourselves to: [`super::rmcat`] asserts them, [`super::table`] prints them beside what was
//! measured.
//!
//! A flow is an elastic video of 150 kb/s to 1.5 Mb/s (or more where it says so) and 20 kb/s of
//! audio. "Layers" have a subscriber of simulcast in place of the encoder.

use super::flow::FlowConfig;
use super::link::PathConfig;
use super::rng::Rng;
use super::source::Video;
use super::tcp::Files;
use super::world::{Outcome, World};

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    /// Where it is from, and what it is.
    pub(super) name: &'static str,
    pub(super) world: fn() -> World,
    /// The parts of it that count.
    pub(super) phases: &'static [Phase],
    pub(super) bounds: Bounds,
}

/// Part of a case: its seconds, and how many bits a second could be sent in them.
type Phase = (f64, f64, f64);

/// What must hold in each phase with each seed. None where others decide, such as TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of what could be sent, the least that is.
    pub(super) utilisation: f64,
    /// Of what is sent, the most that a full queue may drop.
    pub(super) loss: Option<f64>,
    /// The queue before the bottleneck, ms.
    pub(super) queue_p95: Option<u64>,
}

/// What was measured: of all phases and seeds the worst.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) utilisation: f64,
    pub(super) loss: f64,
    pub(super) queue_p50: u64,
    pub(super) queue_p95: u64,
}

impl Case {
    /// What becomes of the flows that go forward, with each seed.
    pub(super) fn run(&self) -> Vec<Vec<Outcome>> {
        let run = |seed: &u64| {
            let world = (self.world)();
            let forward = world.flows.len();
            let mut outcomes = world.run(*seed);
            outcomes.truncate(forward);
            outcomes
        };
        SEEDS.iter().map(run).collect()
    }

    pub(super) fn figures(&self, runs: &[Vec<Outcome>]) -> Figures {
        let mut worst = Figures {
            utilisation: f64::MAX,
            ..Figures::default()
        };
        for outcomes in runs {
            for (from, until, possible) in self.phases.iter().copied() {
                let rates = outcomes.iter().map(|flow| flow.send_rate(from, until));
                let losses = outcomes.iter().map(|flow| flow.loss_in_queue(from, until));
                let queue = |part| outcomes[0].queue_delay(part, from, until);
                let used = rates.sum::<f64>() / possible;
                worst = Figures {
                    utilisation: worst.utilisation.min(used),
                    loss: losses.fold(worst.loss, f64::max),
                    queue_p50: worst.queue_p50.max(queue(0.5)),
                    queue_p95: worst.queue_p95.max(queue(0.95)),
                };
            }
        }
        worst
    }

    /// Fails if a bound does not hold.
    pub(super) fn holds(&self, runs: &[Vec<Outcome>]) {
        let (name, figures) = (self.name, self.figures(runs));
        let bounds = self.bounds;
        assert!(
            figures.utilisation >= bounds.utilisation,
            "{name}: {figures:?}"
        );
        let loss_max = bounds.loss.unwrap_or(f64::MAX);
        assert!(figures.loss <= loss_max, "{name}: {figures:?}");
        let queue_max = bounds.queue_p95.unwrap_or(u64::MAX);
        assert!(figures.queue_p95 <= queue_max, "{name}: {figures:?}");
    }
}

const fn bounds(utilisation: f64, loss: f64, queue_p95: u64) -> Bounds {
    Bounds {
        utilisation,
        loss: Some(loss),
        queue_p95: Some(queue_p95),
    }
}

/// Beside TCP, which fills the queue.
const fn beside_tcp(utilisation: f64) -> Bounds {
    Bounds {
        utilisation,
        loss: None,
        queue_p95: None,
    }
}

/// All of them, in the order of their documents.
pub(super) const CASES: &[&Case] = &[
    &ONE_FLOW,
    &ONE_FLOW_LAYERS,
    &TWO_FLOWS,
    &CONGESTED_FEEDBACK,
    &SAME_KIND,
    &ROUND_TRIPS,
    &LONG_TCP,
    &LONG_TCP_LONG_QUEUE,
    &SHORT_TCP,
    &PAUSE,
    &LOSS_1,
    &LOSS_5,
    &LOSS_10,
    &DELAY_1,
    &DELAY_150,
    &DELAY_300,
    &QUEUE_70,
    &QUEUE_1000,
    &CELLULAR,
    &WIRED,
    &WIRED_TWO,
    &WIRED_TCP,
];

pub(super) const ONE_FLOW: Case = Case {
    name: "8867 5.1: one flow, variable capacity",
    world: || World::new(100, path(&VARIABLE), vec![flow(0, 100)]),
    phases: &[
        (10.0, 40.0, 1e6),
        (45.0, 60.0, 1.52e6),
        (63.0, 80.0, 6e5),
        (85.0, 99.0, 1e6),
    ],
    bounds: bounds(0.85, 0.01, 100),
};

/// Could be sent: the best layer that fits, of 150, 500 and 1,500 kb/s. 500 kb/s do not fit 600 with
/// the room that is wanted.
pub(super) const ONE_FLOW_LAYERS: Case = Case {
    name: "8867 5.1, layers: of the best that fits",
    world: || World::new(100, path(&VARIABLE), vec![layered(0, 100)]),
    phases: &[
        (5.0, 40.0, 5.2e5),
        (48.0, 60.0, 1.52e6),
        (63.0, 80.0, 1.7e5),
        // A layer that hardly fitted before, and came up in vain, waits for some seconds.
        (93.0, 99.0, 5.2e5),
    ],
    bounds: bounds(0.95, 0.01, 100),
};

pub(super) const TWO_FLOWS: Case = Case {
    name: "8867 5.2: two flows, variable capacity",
    world: || {
        let capacity = [(0, 4000), (25, 2000), (50, 3500), (75, 1000), (100, 2000)];
        World::new(125, path(&capacity), vec![flow(0, 125); 2])
    },
    phases: &[
        (10.0, 25.0, 3.04e6),
        (30.0, 50.0, 2e6),
        (60.0, 75.0, 3.04e6),
        (80.0, 100.0, 1e6),
        (110.0, 124.0, 2e6),
    ],
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const CONGESTED_FEEDBACK: Case = Case {
    name: "8867 5.3: congested feedback, the flow forward",
    world: || {
        let forward = path(&[(0, 2000), (20, 1000), (40, 500), (60, 2000)]);
        let mut world = World::new(100, forward, vec![flow(0, 100)]);
        world.backward = path(&[(0, 2000), (35, 800), (70, 2000)]);
        world.reverse_flows = vec![flow(0, 100)];
        world
    },
    phases: &[
        (10.0, 20.0, 1.52e6),
        (25.0, 40.0, 1e6),
        (45.0, 60.0, 5e5),
        (75.0, 99.0, 1.52e6),
    ],
    bounds: bounds(0.6, 0.01, 100),
};

pub(super) const SAME_KIND: Case = Case {
    name: "8867 5.4: three flows, one after another",
    world: || {
        let flows = [0, 20, 40].map(|start| flow(start, 119));
        World::new(120, path(&[(0, 3500)]), flows.to_vec())
    },
    phases: &[(60.0, 118.0, 3.5e6)],
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const ROUND_TRIPS: Case = Case {
    name: "8867 5.5: five flows, round trips of 20 to 300 ms",
    world: || {
        let flows = [0, 15, 40, 90, 140].into_iter().zip(0..);
        let flows = flows.map(|(extra, index)| FlowConfig {
            extra_delay: extra * 1000,
            ..flow(index * 10, 299)
        });
        let mut forward = path(&[(0, 4000)]);
        forward.delay = 10_000;
        World::new(300, forward, flows.collect())
    },
    phases: &[(100.0, 298.0, 4e6)],
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const LONG_TCP: Case = Case {
    name: "8867 5.6: beside a long TCP flow, of all",
    world: || beside_long_tcp(300),
    phases: &[(20.0, 118.0, 2e6)],
    bounds: beside_tcp(0.03),
};

pub(super) const LONG_TCP_LONG_QUEUE: Case = Case {
    name: "8867 5.6: the same, queue of 1 s",
    world: || beside_long_tcp(1000),
    phases: &[(20.0, 118.0, 2e6)],
    bounds: beside_tcp(0.07),
};

pub(super) const SHORT_TCP: Case = Case {
    name: "8867 5.7: two flows beside ten short TCP flows, of all",
    world: || {
        let mut world = World::new(300, path(&[(0, 2000)]), vec![flow(5, 299); 2]);
        world.tcps = short_transfers();
        world
    },
    phases: &[(20.0, 298.0, 2e6)],
    bounds: beside_tcp(0.45),
};

pub(super) const PAUSE: Case = Case {
    name: "8867 5.8: three flows, one pauses",
    world: || {
        let mut flows = vec![flow(0, 119); 3];
        flows[1].paused = Some((40_000_000, 60_000_000));
        World::new(120, path(&[(0, 3500)]), flows)
    },
    phases: &[
        (20.0, 40.0, 3.5e6),
        (50.0, 60.0, 3.04e6),
        (75.0, 118.0, 3.5e6),
    ],
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const LOSS_1: Case = Case {
    name: "8868: 2 Mb/s, 1 % random loss",
    world: || losing(0.01),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const LOSS_5: Case = Case {
    name: "8868: 2 Mb/s, 5 % random loss",
    world: || losing(0.05),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const LOSS_10: Case = Case {
    name: "8868: 2 Mb/s, 10 % random loss",
    world: || losing(0.1),
    phases: STEADY,
    bounds: bounds(0.75, 0.01, 150),
};

pub(super) const DELAY_1: Case = Case {
    name: "8868: 2 Mb/s, 1 ms one way",
    world: || steady(|path| path.delay = 1_000),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const DELAY_150: Case = Case {
    name: "8868: 2 Mb/s, 150 ms one way",
    world: || steady(|path| path.delay = 150_000),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const DELAY_300: Case = Case {
    name: "8868: 2 Mb/s, 300 ms one way",
    world: || steady(|path| path.delay = 300_000),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const QUEUE_70: Case = Case {
    name: "8868: 2 Mb/s, queue of 70 ms",
    world: || steady(|path| path.queue = 70_000),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 70),
};

pub(super) const QUEUE_1000: Case = Case {
    name: "8868: 2 Mb/s, queue of 1 s",
    world: || steady(|path| path.queue = 1_000_000),
    phases: STEADY,
    bounds: bounds(0.85, 0.01, 150),
};

/// A stand-in for the simulation of LTE that RFC 8869 §2 asks for: a capacity that wanders between
/// 0.3 and 6 Mb/s, and now and then a short outage during which all waits.
pub(super) const CELLULAR: Case = Case {
    name: "8869 2, stand-in: capacity wanders, 0.3 to 6 Mb/s, of the mean",
    world: || {
        let forward = PathConfig {
            capacity: wandering(),
            queue: 1_000_000,
            ..path(&[])
        };
        World::new(91, forward, vec![elastic(6e6)])
    },
    phases: &[(30.0, 60.0, WANDERING_MEAN)],
    bounds: bounds(0.6, 0.02, 250),
};

pub(super) const WIRED: Case = Case {
    name: "8869 3.1: 1 Mb/s wired, much jitter",
    world: || World::new(120, wired(), vec![flow(0, 120)]),
    phases: &[(10.0, 119.0, 1e6)],
    bounds: bounds(0.85, 0.01, 150),
};

pub(super) const WIRED_TWO: Case = Case {
    name: "8869 3.1: the same, two flows",
    world: || World::new(120, wired(), vec![flow(0, 120); 2]),
    phases: &[(10.0, 119.0, 1e6)],
    bounds: bounds(0.85, 0.01, 250),
};

pub(super) const WIRED_TCP: Case = Case {
    name: "8869 3.1: one flow beside a long TCP flow, of all",
    world: || {
        let mut world = World::new(120, wired(), vec![flow(0, 120)]);
        world.tcps = vec![None];
        world
    },
    phases: &[(20.0, 118.0, 1e6)],
    bounds: beside_tcp(0.01),
};

/// The path of the cases, with the capacity in kilobits from these seconds on.
pub(super) fn path(capacity: &[(u64, u32)]) -> PathConfig {
    PathConfig {
        capacity: capacity
            .iter()
            .map(|(at, kilobits)| (at * 1_000_000, f64::from(*kilobits) * 1e3))
            .collect(),
        jitter: 5_000.0,
        ..PathConfig::default()
    }
}

pub(super) fn flow(start: u64, end: u64) -> FlowConfig {
    FlowConfig {
        start: start * 1_000_000,
        end: end * 1_000_000,
        ..FlowConfig::default()
    }
}

/// A subscriber of simulcast in place of the encoder.
pub(super) fn layered(start: u64, end: u64) -> FlowConfig {
    FlowConfig {
        video: Video::Layers(vec![150e3, 500e3, 1500e3]),
        estimate: 600_000,
        ..flow(start, end)
    }
}

pub(super) fn short_transfers() -> Vec<Option<Files>> {
    let starts_on = (0..10).map(|index| index < 2);
    starts_on
        .map(|starts_on| Some(Files { starts_on }))
        .collect()
}

fn elastic(max: f64) -> FlowConfig {
    FlowConfig {
        video: Video::Elastic { min: 50e3, max },
        ..FlowConfig::default()
    }
}

fn beside_long_tcp(queue_ms: u64) -> World {
    let mut forward = path(&[(0, 2000)]);
    forward.queue = queue_ms * 1000;
    let mut world = World::new(120, forward, vec![flow(5, 119)]);
    world.tcps = vec![None];
    world
}

/// A minute of 2 Mb/s with one flow that could use more.
fn steady(change: impl FnOnce(&mut PathConfig)) -> World {
    let mut forward = path(&[(0, 2000)]);
    change(&mut forward);
    World::new(60, forward, vec![elastic(5e6)])
}

fn losing(loss: f64) -> World {
    steady(|path| path.loss = loss)
}

fn wired() -> PathConfig {
    PathConfig {
        jitter: 10_000.0,
        ..path(&[(0, 1000)])
    }
}

/// A step every 200 ms. The same for all seeds, so that its mean is known.
fn wandering() -> Vec<(u64, f64)> {
    let mut rng = Rng::new(8869);
    let mut rate = 2e6;
    let mut capacity = Vec::new();
    for step in 0..91 * 5 {
        rate = (rate * rng.between(0.8, 1.25)).clamp(0.3e6, 6e6);
        let at = step * 200_000;
        if rng.unit() < 0.02 {
            capacity.push((at, OUTAGE_RATE));
            capacity.push((at + rng.between(50e3, 200e3) as u64, rate));
        } else {
            capacity.push((at, rate));
        }
    }
    capacity
}

/// Nothing to speak of.
const OUTAGE_RATE: f64 = 1e3;

/// Of [`wandering`] in the seconds that count: see the test of it.
const WANDERING_MEAN: f64 = 3.905e6;

const VARIABLE: [(u64, u32); 4] = [(0, 1000), (40, 2500), (60, 600), (80, 1000)];

/// Of 60 s the last 50.
const STEADY: &[Phase] = &[(10.0, 60.0, 2e6)];

const SEEDS: [u64; 3] = [1, 2, 3];

#[test]
fn the_mean_of_the_wandering_capacity_is_what_it_is_said_to_be() {
    let capacity = wandering();
    let (mut bits, from, until) = (0.0, 30_000_000, 60_000_000);
    for (index, (at, rate)) in capacity.iter().enumerate() {
        let next = capacity.get(index + 1).map_or(until, |(next, _)| *next);
        let (begin, end) = ((*at).clamp(from, until), next.clamp(from, until));
        bits += rate * (end - begin) as f64 / 1e6;
    }
    let mean = bits / 30.0;
    assert!((mean / WANDERING_MEAN - 1.0).abs() < 0.01, "{mean}");
}
