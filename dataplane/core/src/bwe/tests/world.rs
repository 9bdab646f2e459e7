//! Flows that share a path, and what they are judged by (RFC 8867 §4.1).

use super::flow::{Flow, FlowConfig, Sample};
use super::link::{Path, PathConfig};
use super::tcp::{Files, Tcp};

/// What became of one flow; a sample each tenth of a second.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Seconds.
    pub(super) start: f64,
    pub(super) samples: Vec<Sample>,
    pub(super) probe_bytes: u64,
    pub(super) sent_bytes: u64,
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seconds: u64,
    pub(super) forward: PathConfig,
    pub(super) backward: PathConfig,
    pub(super) flows: Vec<FlowConfig>,
    /// Those that go against them, from `backward` to `forward`.
    pub(super) reverse_flows: Vec<FlowConfig>,
    pub(super) tcps: Vec<Option<Files>>,
}

impl World {
    /// Flows over a path; what goes back has room.
    pub(super) fn new(seconds: u64, forward: PathConfig, flows: Vec<FlowConfig>) -> Self {
        Self {
            seconds,
            backward: PathConfig {
                capacity: vec![(0, 1e9)],
                jitter: forward.jitter,
                delay: forward.delay,
                ..PathConfig::default()
            },
            forward,
            flows,
            reverse_flows: Vec::new(),
            tcps: Vec::new(),
        }
    }

    pub(super) fn run(self, seed: u64) -> Vec<Outcome> {
        let mut forward = Path::new(self.forward, seed);
        let mut backward = Path::new(self.backward, seed + 1);
        let forward_count = self.flows.len();
        let mut seeds = (0..).map(|index| seed * 1000 + index * 7_777_777);
        let flows = self.flows.into_iter().chain(self.reverse_flows);
        let mut flows: Vec<Flow> = flows
            .zip(seeds.by_ref())
            .map(|(config, seed)| Flow::new(config, seed))
            .collect();
        let mut tcps: Vec<Tcp> = self
            .tcps
            .into_iter()
            .zip(seeds)
            .map(|(files, seed)| Tcp::new(files, seed))
            .collect();
        for now in (0..self.seconds * 1_000_000).step_by(1000) {
            for (index, flow) in flows.iter_mut().enumerate() {
                if index < forward_count {
                    flow.step(now, &mut forward, &mut backward);
                } else {
                    flow.step(now, &mut backward, &mut forward);
                }
            }
            for tcp in &mut tcps {
                tcp.step(now, &mut forward, &backward);
            }
        }
        let outcome = |flow: Flow| Outcome {
            start: flow.config.start as f64 / 1e6,
            samples: flow.samples,
            probe_bytes: flow.probe_bytes,
            sent_bytes: flow.sent_bytes,
        };
        flows.into_iter().map(outcome).collect()
    }
}

/// One flow.
pub(super) fn run_one(seconds: u64, forward: &PathConfig, flow: FlowConfig, seed: u64) -> Outcome {
    World::new(seconds, forward.clone(), vec![flow])
        .run(seed)
        .remove(0)
}

impl Outcome {
    fn window(&self, from: f64, until: f64) -> &[Sample] {
        let index = |seconds: f64| ((seconds - self.start) * 10.0).max(0.0) as usize;
        &self.samples[index(from)..index(until).min(self.samples.len())]
    }

    /// Bits a second sent in this time, in seconds.
    pub(super) fn send_rate(&self, from: f64, until: f64) -> f64 {
        mean(self.window(from, until), |sample| sample.sent as f64 * 80.0)
    }

    pub(super) fn layer_changes(&self, from: f64, until: f64) -> usize {
        let pairs = self.window(from, until).windows(2);
        pairs
            .filter(|pair| (pair[0].media_rate - pair[1].media_rate).abs() > 1.0)
            .count()
    }

    pub(super) fn estimate(&self, from: f64, until: f64) -> f64 {
        mean(self.window(from, until), |sample| sample.estimate as f64)
    }

    pub(super) fn media_rate(&self, from: f64, until: f64) -> f64 {
        mean(self.window(from, until), |sample| sample.media_rate)
    }

    /// Of the bytes sent, the part that was lost.
    pub(super) fn loss(&self, from: f64, until: f64) -> f64 {
        self.part_of_sent(from, until, |sample| sample.lost)
    }

    /// Of the bytes sent, the part that was lost because the queue was full.
    pub(super) fn loss_in_queue(&self, from: f64, until: f64) -> f64 {
        self.part_of_sent(from, until, |sample| sample.lost_in_queue)
    }

    fn part_of_sent(&self, from: f64, until: f64, of: impl Fn(&Sample) -> u64) -> f64 {
        let window = self.window(from, until);
        let part: u64 = window.iter().map(of).sum();
        let sent: u64 = window.iter().map(|sample| sample.sent).sum();
        part as f64 / sent.max(1) as f64
    }

    /// Milliseconds; `part` from 0 to 1.
    pub(super) fn queue_delay(&self, part: f64, from: f64, until: f64) -> u64 {
        let window = self.window(from, until);
        let mut delays: Vec<_> = window.iter().map(|sample| sample.queue_delay).collect();
        delays.sort_unstable();
        delays[((delays.len() - 1) as f64 * part) as usize] / 1000
    }

    /// How many seconds after `from` a sample first is as wanted and stays so for a second.
    pub(super) fn settles(&self, from: f64, is_wanted: impl Fn(&Sample) -> bool) -> Option<f64> {
        let window = self.window(from, f64::MAX);
        let place = window
            .windows(10)
            .position(|second| second.iter().all(&is_wanted))?;
        Some(place as f64 / 10.0)
    }

    /// The last of the seconds after `from` in which a sample is as feared.
    pub(super) fn last(&self, from: f64, until: f64, is_feared: impl Fn(&Sample) -> bool) -> f64 {
        let place = self.window(from, until).iter().rposition(is_feared);
        place.map_or(0.0, |place| (place + 1) as f64 / 10.0)
    }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}
