//! One subscriber: estimator and pacer at one end of a path, a receiver at the other.

use std::collections::VecDeque;

use super::link::{Fate, Path};
use super::receiver::Receiver;
use super::source::{AUDIO_RATE, Piece, Source, Video};
use crate::bwe::allocation::{Budget, LegKind, Share, Wish, allocate, demand};
use crate::bwe::{Admission, Batch, Estimator, Pacer, Released};
use crate::time::Timestamp;

/// Times are in microseconds, rates in bits a second.
#[derive(Clone, Debug)]
pub(super) struct FlowConfig {
    pub(super) video: Video,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Of its own, one way, besides the path's.
    pub(super) extra_delay: u64,
    pub(super) estimate: u64,
    /// (from, until): nothing is sent.
    pub(super) paused: Option<(u64, u64)>,
    /// Before this, only the lowest layer is asked for.
    pub(super) wants_all_from: u64,
    /// (from, until): feedback does not come.
    pub(super) silent: Option<(u64, u64)>,
    /// Lost packets are sent again.
    pub(super) repairs: bool,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            video: Video::Elastic {
                min: 150e3,
                max: 1.5e6,
            },
            start: 0,
            end: u64::MAX,
            extra_delay: 0,
            estimate: 300_000,
            paused: None,
            wants_all_from: 0,
            silent: None,
            repairs: true,
        }
    }
}

/// What was measured in a tenth of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) sent: u64,
    pub(super) lost: u64,
    /// Of those, the ones that a full queue dropped.
    pub(super) lost_in_queue: u64,
    pub(super) estimate: u64,
    pub(super) queue_delay: u64,
    pub(super) media_rate: f64,
    /// The longest that a packet waited in the pacer.
    pub(super) paced: u64,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) config: FlowConfig,
    pub(super) source: Source,
    pub(super) estimator: Estimator,
    pacer: Pacer<(u64, u64)>,
    batch: Batch,
    receiver: Receiver,
    next_number: u64,
    /// (arrival, number, bytes)
    on_the_way: VecDeque<(u64, u64, u64)>,
    feedback: VecDeque<(u64, super::feedback::FeedbackBytes)>,
    /// (when, bytes)
    repairs: VecDeque<(u64, u64)>,
    repair_budget: f64,
    pieces: Vec<Piece>,
    last_arrival: u64,
    /// Of audio and video.
    shares: [Share; 2],
    pub(super) samples: Vec<Sample>,
    sample: Sample,
    pub(super) probe_bytes: u64,
    pub(super) sent_bytes: u64,
}

impl Flow {
    pub(super) fn new(config: FlowConfig, seed: u64) -> Self {
        let start = micros(config.start);
        Self {
            source: Source::new(config.video.clone(), config.start, seed),
            estimator: Estimator::new(start, config.estimate),
            pacer: Pacer::new(start),
            batch: Batch::default(),
            receiver: Receiver::new(seed % 1_000_000_000_000),
            next_number: 0,
            on_the_way: VecDeque::new(),
            feedback: VecDeque::new(),
            repairs: VecDeque::new(),
            repair_budget: 0.0,
            pieces: Vec::new(),
            last_arrival: 0,
            shares: shares(&config.video),
            samples: Vec::new(),
            sample: Sample::default(),
            probe_bytes: 0,
            sent_bytes: 0,
            config,
        }
    }

    /// One millisecond.
    pub(super) fn step(&mut self, now: u64, forward: &mut Path, backward: &mut Path) {
        if now < self.config.start || now >= self.config.end {
            return;
        }
        let paused = self.config.paused;
        self.source.paused = paused.is_some_and(|(from, until)| (from..until).contains(&now));
        self.arrive(now, backward);
        self.hear(now);
        self.decide(now);
        self.send(now, forward);
        if now % 100_000 == 99_000 {
            self.sample.estimate = self.estimator.estimate();
            self.sample.queue_delay = forward.queue_delay(now);
            self.sample.media_rate = self.source.rate();
            self.samples.push(core::mem::take(&mut self.sample));
        }
    }

    fn arrive(&mut self, now: u64, backward: &mut Path) {
        while self.on_the_way.front().is_some_and(|(at, ..)| *at <= now) {
            let (at, number, bytes) = self.on_the_way.pop_front().unwrap();
            self.receiver.take(at, number, bytes);
        }
        let Some(feedback) = self.receiver.feedback(now) else {
            return;
        };
        let silent = self
            .config
            .silent
            .is_some_and(|(from, until)| (from..until).contains(&now));
        if let (Fate::Leaves(at), false) = (backward.send(now, 100), silent) {
            let at = at + backward.delay() + self.config.extra_delay + backward.jitter();
            self.feedback.push_back((at, feedback));
        }
    }

    fn hear(&mut self, now: u64) {
        while self.feedback.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.feedback.pop_front().unwrap();
            self.estimator
                .handle_feedback(micros(now), &bytes.parse(), &mut self.batch);
        }
        if now.is_multiple_of(20_000) {
            self.estimator.poll(micros(now));
        }
    }

    /// The encoder and the choice of a layer take a tenth of a second to follow.
    fn decide(&mut self, now: u64) {
        if !now.is_multiple_of(100_000) {
            return;
        }
        let estimate = self.estimator.estimate();
        self.source.follow(estimate as f64);
        if self.source.layers().is_empty() {
            self.estimator.set_demand(self.source.demand() as u64);
        } else {
            self.choose(now, estimate);
        }
        let tight =
            self.estimator.is_congested(micros(now)) || self.source.rate() > 0.85 * estimate as f64;
        self.pacer.set_estimate(micros(now), estimate, tight);
    }

    fn choose(&mut self, now: u64, estimate: u64) {
        let wanted = if now < self.config.wants_all_from {
            1
        } else {
            usize::MAX
        };
        let mut wish = self.shares[1].wish().clone();
        wish.layers = self
            .source
            .layers()
            .iter()
            .map(|rate| *rate as u64)
            .take(wanted)
            .collect();
        self.shares[1].set_wish(wish);
        let loss = self.estimator.loss();
        allocate(micros(now), Budget { estimate, loss }, &mut self.shares);
        let before = self.source.rate();
        let layer = self.shares[1].grant().layer;
        self.source.choose(layer.map(usize::from));
        if self.source.rate() < before {
            // What is left of the layer that was.
            self.pacer.retain(|_| false);
        }
        self.estimator.set_demand(demand(&self.shares));
    }

    fn send(&mut self, now: u64, forward: &mut Path) {
        let at = micros(now);
        let mut pieces = core::mem::take(&mut self.pieces);
        self.source.pieces(now, &mut pieces);
        for piece in pieces.drain(..) {
            let bytes = u16::try_from(piece.bytes).unwrap();
            if piece.is_audio {
                self.pacer.handle_unpaced(at, bytes);
                self.transmit(now, piece.bytes, forward, true);
            } else if self.pacer.admit(at, bytes, (now, piece.bytes)) == Admission::SendNow {
                self.transmit(now, piece.bytes, forward, true);
            }
        }
        self.pieces = pieces;
        let estimate = self.estimator.estimate() as f64;
        let earned = estimate * REPAIR_PART / 8e3;
        self.repair_budget = (self.repair_budget + earned).min(earned * 100.0);
        while self.repairs.front().is_some_and(|(due, _)| *due <= now) {
            let (_, bytes) = self.repairs.pop_front().unwrap();
            if self.repair_budget < bytes as f64 {
                continue;
            }
            self.repair_budget -= bytes as f64;
            self.pacer.handle_unpaced(at, u16::try_from(bytes).unwrap());
            self.transmit(now, bytes, forward, true);
        }
        while let Some(released) = self.pacer.poll(at) {
            if let Released::Send((since, bytes)) = released {
                self.sample.paced = self.sample.paced.max(now - since);
                self.transmit(now, bytes, forward, true);
            }
        }
        while let Some(probe) = self.estimator.wanted_probe(at) {
            self.probe_bytes += u64::from(probe.bytes);
            self.pacer.handle_unpaced(at, probe.bytes);
            self.transmit(now, probe.bytes.into(), forward, false);
        }
    }

    fn transmit(&mut self, now: u64, bytes: u64, forward: &mut Path, is_media: bool) {
        assert_eq!(
            u64::from(self.estimator.next_number()),
            self.next_number % (1 << 16)
        );
        self.estimator
            .handle_sent(micros(now), usize::try_from(bytes).unwrap());
        let number = self.next_number;
        self.next_number += 1;
        self.sample.sent += bytes;
        self.sent_bytes += bytes;
        let delay = forward.delay() + self.config.extra_delay;
        match forward.send(now, bytes) {
            Fate::Leaves(at) => {
                // Packets do not overtake each other.
                let arrival = (at + delay + forward.jitter()).max(self.last_arrival + 1);
                self.last_arrival = arrival;
                self.on_the_way.push_back((arrival, number, bytes));
            }
            fate @ (Fate::QueueFull | Fate::LostAtRandom) => {
                self.sample.lost += bytes;
                if fate == Fate::QueueFull {
                    self.sample.lost_in_queue += bytes;
                }
                if is_media && self.config.repairs {
                    self.repairs.push_back((now + 2 * delay + 20_000, bytes));
                }
            }
        }
    }
}

fn shares(video: &Video) -> [Share; 2] {
    let rates: &[f64] = match video {
        Video::Elastic { .. } => &[],
        Video::Layers(rates) => rates,
    };
    let share = |kind, rates: &[f64]| {
        Share::new(Wish {
            kind,
            priority: 0,
            layers: rates.iter().map(|rate| *rate as u64).collect(),
            asked_for_less: false,
        })
    };
    [
        share(LegKind::Always, &[AUDIO_RATE]),
        share(LegKind::Camera, rates),
    ]
}

/// Of the estimate, what may be sent again.
const REPAIR_PART: f64 = 0.2;

pub(super) fn micros(micros: u64) -> Timestamp {
    // The server's clock does not begin with the scenario.
    Timestamp::from_nanos((micros + 1_000_000) * 1000)
}
