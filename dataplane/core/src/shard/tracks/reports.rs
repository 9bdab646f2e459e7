//! How tracks and legs look to the control plane.

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::{
    LayerPlace, LayerReason, LayerReport, PublicationReport, SubscriptionReport, VoiceReport,
};

use super::reasons::{LayerView, reason};
use super::{LegEntry, LegKey, PublicationKey, Track, Tracks};
use crate::ingress::layer::{Layer, RECEIVING_TIMEOUT};
use crate::ingress::sub_layers::SubLayer;
use crate::time::{Timestamp, report_micros};

impl Tracks {
    /// One published track.
    pub(crate) fn publication_report(
        &self,
        now: Timestamp,
        number: u32,
        key: PublicationKey,
    ) -> Option<PublicationReport> {
        let publication = &self.get(key)?.publication;
        let layers = publication.layers().iter();
        Some(PublicationReport {
            number,
            receiving: publication.receiving(now),
            voice: publication.voice(now).map(|voice| VoiceReport {
                level: voice.level.decibels(),
                speaking: voice.speaking,
            }),
            layers: layers.map(|layer| layer_report(now, layer)).collect(),
        })
    }

    /// One subscribed track.
    pub(crate) fn subscription_report(
        &self,
        now: Timestamp,
        number: u32,
        key: LegKey,
    ) -> Option<SubscriptionReport> {
        let entry = self.leg(key)?;
        let (leg, track) = (&entry.leg, self.track_of(entry));
        let (reports, statistics) = (leg.reports(), &leg.statistics);
        let last = leg.last_forwarded_at();
        let [nacks, plis, firs] = statistics.feedback();
        let preferred = track.and_then(|track| asked(entry, track));
        let wanted = preferred.or_else(|| statistics.granted?.wanted);
        // The only layer of audio.
        let outranked = leg.is_outranked().then_some(0);
        let place = |layer: Option<u8>| Some(place(track?.publication.layer(layer?)?));
        Some(SubscriptionReport {
            number,
            sending: track.is_some() && last.is_some_and(|at| now.since(at) < RECEIVING_TIMEOUT),
            wanted: place(wanted.or_else(|| leg.target()).or(outranked)),
            current: place(leg.layer()).map(|current| LayerPlace {
                spatial: leg.sub_layer().map(|own| own.spatial),
                // All of them, however many there are, are not cut.
                temporal: leg
                    .sub_layer()
                    .map(|own| own.temporal)
                    .filter(|temporal| *temporal < SubLayer::TOP.temporal),
                ..current
            }),
            reason: explain(now, entry, track),
            rank: statistics.rank.filter(|_| track.is_some()),
            awaits_keyframe: leg.awaits_keyframe(),
            bit_rate: statistics.bit_rate(),
            packets: reports.packets(),
            bytes: reports.bytes(),
            packets_lost: statistics.packets_lost(),
            fraction_lost: reports.fraction_lost(),
            round_trip_us: leg.round_trip().map(report_micros).unwrap_or_default(),
            jitter_us: report_micros(leg.jitter()),
            nacks,
            plis,
            firs,
            retransmitted: statistics.retransmitted(),
            retransmissions_refused: statistics.retransmissions_refused(),
            packets_dropped: statistics.packets_dropped,
        })
    }

    /// Measures what a leg sends, and counts it for the reason why that is no more; to be called
    /// once a second or so.
    pub(crate) fn measure(&mut self, now: Timestamp, key: LegKey) {
        let Some(entry) = self.leg(key) else {
            return;
        };
        let reason = explain(now, entry, self.track_of(entry));
        if let Some(entry) = self.legs.get_mut(key) {
            entry.leg.measure(now);
            let before = entry.leg.statistics.reason.replace(reason);
            self.reasons.shift(before, Some(reason));
        }
    }

    fn track_of(&self, entry: &LegEntry) -> Option<&Track> {
        entry.track.and_then(|track| self.get(track))
    }
}

/// Why a leg gets no better layer.
fn explain(now: Timestamp, entry: &LegEntry, track: Option<&Track>) -> LayerReason {
    let Some(track) = track else {
        return LayerReason::PublisherNotSending;
    };
    if entry.leg.is_outranked() {
        return LayerReason::NotLoudest;
    }
    if let Some(granted) = entry.leg.statistics.granted {
        return granted.reason;
    }
    let layers = track.publication.layers().iter();
    let layers: ArrayVec<LayerView, LAYERS_MAX> =
        layers.map(|layer| LayerView::new(now, layer)).collect();
    let reason = reason(asked(entry, track), entry.leg.target(), &layers);
    let is_limited = entry.leg.is_limited_by_height(now, &track.publication);
    if reason == LayerReason::Best && is_limited {
        LayerReason::Asked
    } else {
        reason
    }
}

/// The layer that a subscriber prefers, if the track has it.
fn asked(entry: &LegEntry, track: &Track) -> Option<u8> {
    let rid = entry.leg.preferred_rid()?;
    track.publication.layer_of_rid(&rid)
}

fn layer_report(now: Timestamp, layer: &Layer) -> LayerReport {
    LayerReport {
        rid: layer.rid(),
        receiving: layer.receiving(now),
        bit_rate: layer.bit_rate(now),
        packets: layer.packets(),
        bytes: layer.bytes(),
        packets_lost: layer.packets_lost(),
        jitter_us: report_micros(layer.jitter()),
        nacks: layer.nacks(),
        keyframes: layer.keyframes_received(),
        keyframe_requests: layer.keyframes.total_requests(),
    }
}

fn place(layer: &Layer) -> LayerPlace {
    LayerPlace {
        rid: layer.rid(),
        ..LayerPlace::default()
    }
}
