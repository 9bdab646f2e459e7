//! What a decoder could show of what a client got: frames that are whole, whose references were
//! decoded, and that are newer than what is on the screen.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use dataplane_core::time::Timestamp;

use crate::content::{Content, Ledger};
use crate::subscriber::SubscribedTrack;

/// The frames of one subscription that could be shown.
#[derive(Clone, Debug)]
pub struct Playback {
    /// When each of them could, in this order.
    shown: Vec<Timestamp>,
}

impl Playback {
    /// Looks at all that came so far.
    pub fn of(track: &SubscribedTrack, ledger: &Ledger) -> Self {
        let mut packets: Vec<_> = track.received.iter().collect();
        packets.sort_by_key(|(index, packet)| (packet.at, **index));
        let mut decoder = Decoder::default();
        for (index, packet) in packets {
            decoder.take(ledger, packet.at, *index, packet.content);
        }
        Self {
            shown: decoder.shown,
        }
    }

    /// When the first frame could be shown.
    pub fn first(&self) -> Option<Timestamp> {
        self.shown.first().copied()
    }

    /// How many frames could be shown in this time.
    pub fn frames(&self, from: Timestamp, until: Timestamp) -> usize {
        let shown = self.shown.iter();
        shown.filter(|at| (from..until).contains(*at)).count()
    }

    /// The longest time that one picture stays.
    pub fn longest_gap(&self, from: Timestamp, until: Timestamp) -> Duration {
        let gaps = self.gaps(from, until);
        gaps.iter().map(|gap| gap.length).max().unwrap_or_default()
    }

    /// How long the picture stands still, all in all: `totalFreezesDuration` of WebRTC's
    /// statistics.
    pub fn frozen(&self, from: Timestamp, until: Timestamp) -> Duration {
        let gaps = self.gaps(from, until);
        let freezes = gaps.iter().filter(|gap| gap.length > gap.freeze_from);
        freezes.map(|gap| gap.length).sum()
    }

    /// The times between two frames that end in this time, and the one that lasts to its end.
    fn gaps(&self, from: Timestamp, until: Timestamp) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut before = from;
        // Of the last frames.
        let mut lengths: Vec<Duration> = Vec::new();
        let shown = self.shown.iter().copied().filter(|at| *at < until);
        for at in shown.chain([until]) {
            let length = at.since(before.min(at));
            let recent = &lengths[lengths.len().saturating_sub(MEAN_FRAMES)..];
            let mean = recent.iter().sum::<Duration>() / (recent.len().max(1) as u32);
            if at > from {
                let freeze_from = (mean * 3).max(mean + Duration::from_millis(150));
                gaps.push(Gap {
                    length,
                    freeze_from,
                });
            }
            lengths.push(length);
            before = at;
        }
        gaps
    }
}

/// The time between two frames.
#[derive(Clone, Copy, Debug)]
struct Gap {
    length: Duration,
    /// Longer ones are freezes (webrtc-stats, `freezeCount`).
    freeze_from: Duration,
}

/// A frame of one encoding.
type Frame = (u32, u8, u32);

#[derive(Debug, Default)]
struct Decoder {
    /// How many packets of each frame came.
    came: BTreeMap<Frame, usize>,
    /// Whole frames whose reference is not there, by the number of a packet of theirs.
    waiting: BTreeMap<u64, Content>,
    decoded: BTreeSet<Frame>,
    /// The highest number of what was shown.
    newest: Option<u64>,
    shown: Vec<Timestamp>,
}

impl Decoder {
    fn take(&mut self, ledger: &Ledger, now: Timestamp, index: u64, content: Content) {
        let came = self.came.entry(frame_of(content)).or_default();
        *came += 1;
        if *came < ledger.frame_len(content) {
            return;
        }
        self.waiting.insert(index, content);
        while let Some((index, content)) = self.decodable(ledger) {
            self.waiting.remove(&index);
            self.decoded.insert(frame_of(content));
            if self.newest < Some(index) {
                self.newest = Some(index);
                self.shown.push(now);
            }
        }
    }

    fn decodable(&self, ledger: &Ledger) -> Option<(u64, Content)> {
        let mut waiting = self.waiting.iter();
        let found = waiting.find(|(_, content)| {
            let published = ledger.get(**content).expect("checked when it came");
            let (track, layer, _) = frame_of(**content);
            match published.reference {
                Some(frame) => self.decoded.contains(&(track, layer, frame)),
                None => published.is_key,
            }
        });
        found.map(|(index, content)| (*index, *content))
    }
}

fn frame_of(content: Content) -> Frame {
    (content.track, content.layer, content.frame)
}

/// Frames that the mean is taken of (webrtc-stats).
const MEAN_FRAMES: usize = 30;
