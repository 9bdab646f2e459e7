//! Cross traffic: a TCP sender as RFC 5681 has it, with 1460 bytes in a segment.

use std::collections::VecDeque;

use super::link::{Fate, Path};
use super::rng::Rng;

/// Times are in microseconds.
#[derive(Debug)]
pub(super) struct Tcp {
    /// None for one that never ends.
    files: Option<Files>,
    rng: Rng,
    /// Segments that are still to be sent of the present file.
    left: u64,
    window: f64,
    threshold: f64,
    /// In the order of sending: when its acknowledgement comes, none if it was lost.
    outstanding: VecDeque<Option<u64>>,
    /// Segments that were outstanding when a loss was seen: one reaction for all of them.
    recovering: usize,
    lost: u64,
    heard_at: u64,
    idle_until: u64,
    pub(super) acknowledged_bytes: u64,
}

/// Short transfers: sizes and pauses (RFC 8867 §5.7).
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    pub(super) starts_on: bool,
}

impl Tcp {
    pub(super) fn new(files: Option<Files>, seed: u64) -> Self {
        let mut tcp = Self {
            files,
            rng: Rng::new(seed),
            left: u64::MAX,
            window: WINDOW_START,
            threshold: f64::MAX,
            outstanding: VecDeque::new(),
            recovering: 0,
            lost: 0,
            heard_at: 0,
            idle_until: 0,
            acknowledged_bytes: 0,
        };
        if let Some(files) = files {
            tcp.left = tcp.file();
            if !files.starts_on {
                tcp.idle_until = tcp.pause();
            }
        }
        tcp
    }

    /// One millisecond.
    pub(super) fn step(&mut self, now: u64, forward: &mut Path, backward: &Path) {
        if now < self.idle_until {
            self.heard_at = now;
            return;
        }
        self.acknowledge(now);
        let timeout = RTO_MIN + 4 * (forward.delay() + backward.delay());
        if !self.outstanding.is_empty() && now - self.heard_at > timeout {
            self.lost += self.outstanding.len() as u64;
            self.outstanding.clear();
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.recovering = 0;
            self.heard_at = now;
        }
        while (self.outstanding.len() as f64) < self.window && (self.lost > 0 || self.left > 0) {
            if self.lost > 0 {
                self.lost -= 1;
            } else {
                self.left -= 1;
            }
            if self.outstanding.is_empty() {
                self.heard_at = now;
            }
            let acknowledged = match forward.send(now, SEGMENT + 40) {
                Fate::Leaves(at) => Some(at + forward.delay() + backward.delay()),
                Fate::QueueFull | Fate::LostAtRandom => None,
            };
            self.outstanding.push_back(acknowledged);
        }
        if self.left == 0 && self.lost == 0 && self.outstanding.is_empty() {
            self.idle_until = now + self.pause();
            self.left = self.file();
            self.window = WINDOW_START;
            self.threshold = f64::MAX;
        }
    }

    fn acknowledge(&mut self, now: u64) {
        loop {
            // A hole is seen with the third acknowledgement behind it.
            let came = |at: &Option<u64>| at.is_some_and(|at| at <= now);
            if self.outstanding.front() == Some(&None) {
                let behind = self.outstanding.iter().filter(|at| came(at)).count();
                if behind < 3 {
                    return;
                }
                self.outstanding.pop_front();
                self.lost += 1;
                if self.recovering == 0 {
                    self.recovering = self.outstanding.len() + 1;
                    self.threshold = (self.window / 2.0).max(2.0);
                    self.window = self.threshold;
                }
            } else if self.outstanding.front().is_some_and(came) {
                self.outstanding.pop_front();
                self.heard_at = now;
                self.acknowledged_bytes += SEGMENT;
                if self.recovering == 0 {
                    let growth = if self.window < self.threshold {
                        1.0
                    } else {
                        1.0 / self.window
                    };
                    self.window += growth;
                }
            } else {
                return;
            }
            self.recovering = self.recovering.saturating_sub(1);
        }
    }

    fn file(&mut self) -> u64 {
        let bytes = self.rng.between(30e3, 50e3);
        if self.files.is_some() {
            (bytes as u64).div_ceil(SEGMENT)
        } else {
            u64::MAX
        }
    }

    /// Exponential with a mean of ten seconds.
    fn pause(&mut self) -> u64 {
        (-self.rng.unit().max(1e-9).ln() * 10e6) as u64
    }
}

const SEGMENT: u64 = 1460;
const WINDOW_START: f64 = 10.0;
const RTO_MIN: u64 = 200_000;

#[test]
fn alone_it_fills_the_path() {
    let config = super::link::PathConfig::default();
    let mut forward = Path::new(config.clone(), 1);
    let backward = Path::new(config, 2);
    let mut tcp = Tcp::new(None, 3);
    for now in (0..60_000_000).step_by(1000) {
        tcp.step(now, &mut forward, &backward);
    }
    let rate = tcp.acknowledged_bytes * 8 / 60;
    assert!((3_500_000..4_000_000).contains(&rate), "{rate}");
}
