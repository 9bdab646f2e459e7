//! What a published track is like: how it is encoded, described, and repaired.

use core::time::Duration;

use shared::protocol::{Codec, MediaKind};

use crate::content::{BODY_BYTES_MIN, PictureIdWidth};
use crate::rng::Rng;

/// What a track is like.
#[derive(Clone, Debug)]
pub struct TrackSpec {
    /// What it is encoded with.
    pub codec: Codec,
    /// The encodings, best first; one without a rid if this is empty.
    pub rids: Vec<&'static str>,
    /// In pixels, what the key frames of each encoding say; nothing where there is none.
    pub heights: Vec<u16>,
    /// What the pictures show.
    pub scene: Scene,
    /// How lost packets are sent again.
    pub repair: Repair,
    /// Whether the description names the SSRCs.
    pub announcement: Announcement,
    /// Of the descriptors of VP8 and VP9.
    pub picture_ids: PictureIdWidth,
    /// How key frames can be asked for.
    pub keyframe_requests: KeyframeRequests,
    /// Between two frames.
    pub interval: Duration,
    /// Bits a second of each encoding, as bodies of payloads. Where this is empty, frames have a
    /// number of packets of any length.
    pub rates: Vec<u64>,
    /// Packets of an ordinary frame of the best layer.
    pub packets_per_frame: u16,
    /// Bytes of a payload, at least.
    pub body_len_min: usize,
    /// Bytes of a payload, at most.
    pub body_len_max: usize,
    /// Of the first packet of each layer; random, in its lower half, if none is given.
    pub first_sequence_number: Option<u16>,
    /// Probability that a packet of padding only follows a frame (a probe).
    pub probes: f64,
    /// Of audio.
    pub loudness: Loudness,
}

/// How loud packets of audio say that they are (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Each otherwise than the one before, so that one that gets the level of another is noticed.
    Counting,
    /// In -dBov, and that it is voice.
    Level(u8),
    /// They do not say.
    Untold,
}

impl Loudness {
    pub(super) fn of_frame(self, frame: u32) -> Option<u8> {
        match self {
            Self::Counting => Some((frame & 0x7f) as u8),
            Self::Level(level) => Some(0x80 | level),
            Self::Untold => None,
        }
    }
}

/// What pictures show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Of which nothing is said.
    Camera,
    /// As the last packet of each key frame says.
    Screen,
}

/// How lost packets are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// NACK was not negotiated.
    None,
    /// The same datagram again.
    Plain,
    /// RFC 4588.
    Rtx,
}

/// Whether SSRCs are in the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// `a=ssrc`.
    Ssrc,
    /// To be bound by mid and rid.
    Extensions,
}

/// How key frames can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum KeyframeRequests {
    Pli,
    Fir,
}

impl TrackSpec {
    /// A packet each 20 ms.
    pub fn audio() -> Self {
        Self {
            codec: Codec::Opus,
            rids: Vec::new(),
            heights: Vec::new(),
            scene: Scene::Camera,
            repair: Repair::Plain,
            announcement: Announcement::Ssrc,
            picture_ids: PictureIdWidth::Fifteen,
            keyframe_requests: KeyframeRequests::Pli,
            interval: Duration::from_millis(20),
            rates: Vec::new(),
            packets_per_frame: 1,
            body_len_min: BODY_BYTES_MIN,
            body_len_max: 120,
            first_sequence_number: None,
            probes: 0.0,
            loudness: Loudness::Counting,
        }
    }

    /// 30 frames a second.
    pub fn video() -> Self {
        Self {
            codec: Codec::Vp8,
            repair: Repair::Rtx,
            interval: Duration::from_micros(33_333),
            packets_per_frame: 3,
            body_len_max: 1100,
            ..Self::audio()
        }
    }

    /// Three encodings.
    pub fn simulcast() -> Self {
        Self {
            rids: vec!["a", "b", "c"],
            announcement: Announcement::Extensions,
            ..Self::video()
        }
    }

    /// Three encodings of about the rates that Chromium gives to 720p, 360p and 180p.
    pub fn camera() -> Self {
        Self {
            rates: vec![1_700_000, 500_000, 150_000],
            ..Self::simulcast()
        }
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// Ticks of the RTP timestamp in a second.
    pub fn clock_rate(&self) -> u32 {
        self.codec.clock_rate()
    }

    /// Bytes of the bodies of one frame of an encoding.
    pub(super) fn bodies(&self, layer: usize, is_key: bool, rng: &mut Rng) -> Vec<usize> {
        let Some(rate) = self.rates.get(layer) else {
            // Each encoding is about half as large as the one before.
            let share = (self.packets_per_frame >> layer).max(1);
            let count = if is_key { share * 3 } else { share };
            let (least, most) = (self.body_len_min as u64, self.body_len_max as u64);
            let body = |_| rng.between(least, most) as usize;
            return (0..count).map(body).collect();
        };
        let mean = rate * self.interval.as_micros() as u64 / 8_000_000;
        let factor = if is_key { KEYFRAME_FACTOR } else { 1 };
        let bytes = factor * rng.between(mean * 9 / 10, mean * 11 / 10);
        // All packets of a frame are about equally long, as encoders cut them.
        let count = bytes.div_ceil(self.body_len_max as u64);
        let length = (bytes / count).max(BODY_BYTES_MIN as u64) as usize;
        vec![length; count as usize]
    }
}

/// How many times as large as another a key frame is, where encodings have rates.
const KEYFRAME_FACTOR: u64 = 5;
