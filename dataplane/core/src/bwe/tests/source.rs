//! What a subscriber is sent: one audio and one video track.

use std::collections::VecDeque;

use super::rng::Rng;

/// A video that has any rate within bounds, as the encoder of RFC 8867 §4.4, or one of some layers.
#[derive(Clone, Debug)]
pub(super) enum Video {
    Elastic {
        min: f64,
        max: f64,
    },
    /// The rates of the layers, ascending.
    Layers(Vec<f64>),
}

/// Times are in microseconds, rates in bits a second.
#[derive(Debug)]
pub(super) struct Source {
    video: Video,
    rng: Rng,
    rate: f64,
    next_frame: u64,
    next_audio: u64,
    /// The next frame is a key frame, of so many times the size of another.
    keyframe: bool,
    /// Of the frames that are being sent: bytes of their packets.
    waiting: VecDeque<u64>,
    budget: f64,
    pub(super) paused: bool,
}

/// Bytes that are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) bytes: u64,
    pub(super) is_audio: bool,
}

impl Source {
    pub(super) fn new(video: Video, start: u64, seed: u64) -> Self {
        Self {
            video,
            rng: Rng::new(seed),
            rate: 0.0,
            next_frame: start,
            next_audio: start,
            keyframe: true,
            waiting: VecDeque::new(),
            budget: 0.0,
            paused: false,
        }
    }

    /// What it would send at best.
    pub(super) fn demand(&self) -> f64 {
        if self.paused {
            return 0.0;
        }
        AUDIO_RATE
            + match &self.video {
                Video::Elastic { max, .. } => *max,
                Video::Layers(rates) => *rates.last().unwrap(),
            }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn layers(&self) -> &[f64] {
        match &self.video {
            Video::Elastic { .. } => &[],
            Video::Layers(rates) => rates,
        }
    }

    /// An encoder follows the estimate.
    pub(super) fn follow(&mut self, estimate: f64) {
        if let Video::Elastic { min, max } = self.video {
            self.rate = (estimate - AUDIO_RATE).clamp(min, max);
        }
    }

    /// A layer begins with a key frame; none is none.
    pub(super) fn choose(&mut self, layer: Option<usize>) {
        let rate = layer.map_or(0.0, |layer| self.layers()[layer]);
        if (rate - self.rate).abs() > 1.0 {
            self.rate = rate;
            self.keyframe = true;
            self.waiting.clear();
        }
    }

    /// What is due now. A publisher paces what it sends, so a key frame comes over some time.
    pub(super) fn pieces(&mut self, now: u64, out: &mut Vec<Piece>) {
        while self.next_audio <= now {
            self.next_audio += AUDIO_INTERVAL;
            if !self.paused {
                let bytes = AUDIO_RATE * AUDIO_INTERVAL as f64 / 8e6;
                out.push(Piece {
                    bytes: bytes as u64,
                    is_audio: true,
                });
            }
        }
        while self.next_frame <= now {
            self.next_frame += FRAME_INTERVAL;
            if self.rate > 0.0 && !self.paused {
                self.frame();
            }
        }
        self.budget = (self.budget + self.rate * PUBLISHER_PACE / 8e3).min(self.rate / 8e2);
        while self.budget > 0.0
            && let Some(bytes) = self.waiting.pop_front()
        {
            self.budget -= bytes as f64;
            out.push(Piece {
                bytes,
                is_audio: false,
            });
        }
    }

    fn frame(&mut self) {
        let mut factor = self.rng.between(0.9, 1.1);
        if core::mem::take(&mut self.keyframe) {
            factor *= KEYFRAME_FACTOR;
        }
        let bytes = (self.rate * FRAME_INTERVAL as f64 / 8e6 * factor) as u64;
        let packets = bytes.div_ceil(PACKET_BYTES).max(1);
        self.waiting.extend((0..packets).map(|_| bytes / packets));
    }
}

pub(super) const AUDIO_RATE: f64 = 20_000.0;
const AUDIO_INTERVAL: u64 = 20_000;
const FRAME_INTERVAL: u64 = 33_333;
const KEYFRAME_FACTOR: f64 = 6.0;
const PACKET_BYTES: u64 = 1100;

/// Of the rate of the layer (libwebrtc's is between 1.1 and 2.5).
const PUBLISHER_PACE: f64 = 1.5;
