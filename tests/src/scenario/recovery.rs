//! Whether all is well again once every link has ample room: each leg gets the layer that it wants,
//! and is told so.

use core::time::Duration;

use shared::protocol::{LayerReason, MediaKind};

use super::{LegName, Scenario};
use crate::subscriber::{Received, SubscribedTrack};

impl Scenario {
    /// Waits for every leg. Returns how long that took.
    pub(super) fn recover(&mut self) -> Duration {
        let began = self.world.now;
        loop {
            self.world.run_for_ms(500);
            self.listen();
            let elapsed = self.world.now.since(began);
            let legs = self.legs.iter();
            let missing: Vec<_> = legs.filter_map(|leg| self.misses(*leg)).collect();
            let is_late = |(is_dark, _): &&(bool, String)| {
                let within = if *is_dark {
                    PICTURE_WITHIN
                } else {
                    LAYER_WITHIN
                };
                elapsed >= within
            };
            if let Some((_, what)) = missing.iter().find(is_late) {
                self.fault(&format!("after {elapsed:?}: {what}"));
                return elapsed;
            }
            if missing.is_empty() && elapsed >= SETTLED {
                return elapsed;
            }
        }
    }

    /// What a leg does not get though its publisher sends it, and whether it gets nothing at all.
    pub(super) fn misses(&self, leg: LegName) -> Option<(bool, String)> {
        let source = self.source_of(leg);
        if !self.tracks.contains(&source) {
            return None;
        }
        let track = self.world.leg(leg.0, leg.1);
        let lately = self.world.now - Duration::from_secs(1);
        let packets = track.received.values().rev().take(LATELY_PACKETS);
        let packets: Vec<_> = packets.filter(|packet| packet.at >= lately).collect();
        if track.codec.kind() == MediaKind::Audio {
            let is_limited = self.loudest.contains_key(&leg.0);
            let is_whole = is_limited || packets.len() >= AUDIO_PACKETS;
            return (!is_whole).then(|| (true, format!("leg {leg:?}: {} of sound", packets.len())));
        }
        let wanted = self.wanted_layers(track);
        let gets = |packet: &&&Received| {
            packet.content.track == self.world.track(source).track
                && wanted.contains(&packet.content.layer)
        };
        let reason = self.reasons.get(&leg);
        let is_whole = matches!(reason, Some(LayerReason::Best | LayerReason::Asked));
        let is_best = is_whole && packets.iter().all(|packet| gets(&packet));
        let last = packets.first().map(|packet| packet.content);
        (packets.is_empty() || !is_best).then(|| {
            let spec = track.spec;
            let what =
                format!("leg {leg:?} wants {wanted:?}, got {last:?}, told {reason:?}; {spec:?}");
            (packets.is_empty(), what)
        })
    }

    /// The layers that a leg may get if nothing stands in the way.
    pub(super) fn wanted_layers(&self, track: &SubscribedTrack) -> Vec<u8> {
        let source = &self.world.track(track.source).spec;
        let all: Vec<u8> = (0..source.rids.len().max(1) as u8).collect();
        let limit = track.spec.hints.max_height;
        let is_low = |layer: &u8| {
            let height = source.heights.get(usize::from(*layer));
            limit.is_none_or(|limit| height.is_none_or(|height| *height <= limit))
        };
        let low: Vec<_> = all.iter().copied().filter(is_low).collect();
        // Better too high than nothing.
        let usable = if low.is_empty() { all } else { low };
        let preferred = track.spec.preferred_rid;
        let preferred = source.rids.iter().position(|rid| Some(*rid) == preferred);
        let preferred = preferred.map(|layer| layer as u8);
        match preferred.filter(|layer| usable.contains(layer)) {
            Some(layer) => vec![layer],
            // Without given rates the lower two are alike.
            None if source.rates.is_empty() && !usable.contains(&0) => usable,
            None => usable.into_iter().take(1).collect(),
        }
    }
}

/// Some picture is there again after this time: the longest that a leg stays paused, and until it is
/// found that more fits.
const PICTURE_WITHIN: Duration = Duration::from_secs(60);

/// And the layer that is wanted after this one: the longest that a leg stays at a lower one.
const LAYER_WITHIN: Duration = Duration::from_secs(120);

/// The last repairs are over.
const SETTLED: Duration = Duration::from_millis(1_500);

/// More than come in a second.
const LATELY_PACKETS: usize = 800;

/// Of 50 in a second.
const AUDIO_PACKETS: usize = 45;
