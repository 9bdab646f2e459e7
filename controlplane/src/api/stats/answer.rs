//! The JSON of a session's statistics: what the data plane measures, under the names that the API
//! has for tracks. Names, units and meanings are those of WebRTC's statistics where these have one
//! (seconds, and the `outbound-rtp` and `remote-inbound-rtp` of a subscription); rates are in bits
//! a second.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::protocol::{
    EstimateReport, LayerPlace, LayerReason, LayerReport, MediaKind, PublicationReport,
    SessionStatistics, SubscriptionReport, TransportState,
};

use crate::negotiate::{TrackSource, TrackView};

/// How the media of one session flows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatsResponse {
    /// Which.
    session_id: String,
    /// `connecting`, `connected`, `disconnected` or `failed`.
    state: &'static str,
    /// What the path to the client carries, once that is estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<EstimateStats>,
    /// What the client sends.
    publications: Vec<PublicationStats>,
    /// What the client receives.
    subscriptions: Vec<SubscriptionStats>,
}

/// What the path to the client carries, and what that rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EstimateStats {
    /// Bits a second.
    bitrate: u64,
    /// What the delay allows, bits a second.
    delay_based_bitrate: u64,
    /// What the loss allows, bits a second.
    loss_based_bitrate: u64,
    /// Seconds.
    round_trip_time: f64,
    /// How long packets wait on the way, seconds.
    queue_delay: f64,
    /// Bytes of which nothing was heard yet.
    bytes_in_flight: u64,
    /// Much less is sent than the path may carry.
    application_limited: bool,
}

/// One track that the client sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicationStats {
    /// Of the track, like its name and kind: left out while the track is being negotiated.
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<String>,
    /// See above.
    #[serde(skip_serializing_if = "Option::is_none")]
    track_name: Option<String>,
    /// See above.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Whether a packet came lately.
    receiving: bool,
    /// Of audio whose packets tell: from 0, which is silence, to 1, the loudest that can be; half of
    /// that is 6 dB less. Over the last half a second or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_level: Option<f64>,
    /// Whether that is loud often enough to be speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    speaking: Option<bool>,
    /// One without a rid, or one for each rid.
    layers: Vec<LayerStats>,
}

/// One encoding of a track that the client sends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    /// Whether a packet came lately.
    receiving: bool,
    bitrate: u64,
    packets_received: u64,
    bytes_received: u64,
    packets_lost: u64,
    jitter: f64,
    nack_count: u32,
    key_frames_received: u32,
    /// PLIs and FIRs that we sent, repetitions included.
    key_frame_requests: u32,
}

/// One track that the client receives.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionStats {
    /// Of the track, like the next three: left out while the track is being negotiated.
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_name: Option<String>,
    /// The publisher's.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Whether a packet left lately.
    sending: bool,
    /// What the client would get if nothing stood in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_layer: Option<LayerName>,
    /// What it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_layer: Option<LayerName>,
    /// Why it is no more: `best`, `bandwidth`, `publisherNotSending`, `asked`, `paused` or
    /// `notLoudest`.
    reason: &'static str,
    /// Of audio whose publisher tells how loud it is: 1 for what is heard best of all that the
    /// client receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u16>,
    /// Nothing leaves until a key frame has come.
    awaiting_key_frame: bool,
    freeze_risk: FreezeRisk,
    bitrate: u64,
    packets_sent: u64,
    bytes_sent: u64,
    packets_lost: i32,
    /// Of the last report, from 0 to 1.
    fraction_lost: f64,
    /// Once it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_time: Option<f64>,
    jitter: f64,
    nack_count: u32,
    pli_count: u32,
    fir_count: u32,
    retransmitted_packets_sent: u32,
    /// Asked for again and not sent: gone, or asked for too often or too soon.
    retransmissions_refused: u32,
    /// Dropped by the pacer.
    packets_dropped: u32,
}

/// A layer by its rid, and by its place within an encoding that has several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerName {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spatial_layer: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporal_layer: Option<u8>,
}

/// How near a track is to a picture that stands, or to sound with gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum FreezeRisk {
    /// None of the below.
    Low,
    /// [`LOSS_MEDIUM`] or more is lost, or packets wait for [`QUEUE_MEDIUM_US`] or longer: repairs
    /// may come too late.
    Medium,
    /// Nothing is sent although the client wants it, or [`LOSS_HIGH`] or more is lost, or packets
    /// wait for [`QUEUE_HIGH_US`] or longer.
    High,
}

impl StatsResponse {
    /// What is measured, of tracks that are called so.
    pub(super) fn new(statistics: &SessionStatistics, tracks: &[TrackView]) -> Self {
        let mut published = BTreeMap::new();
        let mut subscribed = BTreeMap::new();
        for track in tracks {
            match track.source {
                TrackSource::Local { publication } => published.insert(publication, track),
                TrackSource::Remote { subscription, .. } => subscribed.insert(subscription, track),
            };
        }
        let estimate = statistics.estimate.as_ref();
        let publications = statistics.publications.iter();
        let subscriptions = statistics.subscriptions.iter();
        Self {
            session_id: statistics.session.to_string(),
            state: state(statistics.state),
            estimate: estimate.map(EstimateStats::new),
            publications: publications
                .map(|one| PublicationStats::new(one, published.get(&one.number).copied()))
                .collect(),
            subscriptions: subscriptions
                .map(|one| {
                    let track = subscribed.get(&one.number).copied();
                    SubscriptionStats::new(one, track, freeze_risk(one, estimate))
                })
                .collect(),
        }
    }
}

impl EstimateStats {
    fn new(report: &EstimateReport) -> Self {
        Self {
            bitrate: report.bit_rate,
            delay_based_bitrate: report.delay_based,
            loss_based_bitrate: report.loss_based,
            round_trip_time: seconds(report.round_trip_us),
            queue_delay: seconds(report.queue_delay_us),
            bytes_in_flight: report.bytes_in_flight,
            application_limited: report.application_limited,
        }
    }
}

impl PublicationStats {
    fn new(report: &PublicationReport, track: Option<&TrackView>) -> Self {
        Self {
            mid: track.map(|track| track.mid.clone()),
            track_name: track.map(|track| track.track_name.clone()),
            kind: track.map(|track| kind(track.kind)),
            receiving: report.receiving,
            audio_level: report.voice.map(|voice| amplitude(voice.level)),
            speaking: report.voice.map(|voice| voice.speaking),
            layers: report.layers.iter().map(LayerStats::new).collect(),
        }
    }
}

impl LayerStats {
    fn new(report: &LayerReport) -> Self {
        Self {
            rid: report.rid.map(|rid| rid.to_string()),
            receiving: report.receiving,
            bitrate: report.bit_rate,
            packets_received: report.packets,
            bytes_received: report.bytes,
            packets_lost: report.packets_lost,
            jitter: seconds(report.jitter_us),
            nack_count: report.nacks,
            key_frames_received: report.keyframes,
            key_frame_requests: report.keyframe_requests,
        }
    }
}

impl SubscriptionStats {
    fn new(report: &SubscriptionReport, track: Option<&TrackView>, risk: FreezeRisk) -> Self {
        Self {
            mid: track.map(|track| track.mid.clone()),
            track_name: track.map(|track| track.track_name.clone()),
            session_id: track.and_then(|track| match track.source {
                TrackSource::Remote { session, .. } => Some(session.to_string()),
                TrackSource::Local { .. } => None,
            }),
            kind: track.map(|track| kind(track.kind)),
            sending: report.sending,
            wanted_layer: report.wanted.map(LayerName::new),
            current_layer: report.current.map(LayerName::new),
            reason: reason(report.reason),
            rank: report.rank,
            awaiting_key_frame: report.awaits_keyframe,
            freeze_risk: risk,
            bitrate: report.bit_rate,
            packets_sent: report.packets,
            bytes_sent: report.bytes,
            packets_lost: report.packets_lost,
            fraction_lost: fraction(report.fraction_lost),
            round_trip_time: (report.round_trip_us > 0).then(|| seconds(report.round_trip_us)),
            jitter: seconds(report.jitter_us),
            nack_count: report.nacks,
            pli_count: report.plis,
            fir_count: report.firs,
            retransmitted_packets_sent: report.retransmitted,
            retransmissions_refused: report.retransmissions_refused,
            packets_dropped: report.packets_dropped,
        }
    }
}

impl LayerName {
    fn new(place: LayerPlace) -> Self {
        Self {
            rid: place.rid.map(|rid| rid.to_string()),
            spatial_layer: place.spatial,
            temporal_layer: place.temporal,
        }
    }
}

/// See [`FreezeRisk`].
fn freeze_risk(report: &SubscriptionReport, estimate: Option<&EstimateReport>) -> FreezeRisk {
    let queue_us = estimate.map_or(0, |estimate| estimate.queue_delay_us);
    let loss = fraction(report.fraction_lost);
    let stands = report.awaits_keyframe || !report.sending;
    if report.reason == LayerReason::NotLoudest {
        FreezeRisk::Low
    } else if stands || loss >= LOSS_HIGH || queue_us >= QUEUE_HIGH_US {
        FreezeRisk::High
    } else if loss >= LOSS_MEDIUM || queue_us >= QUEUE_MEDIUM_US {
        FreezeRisk::Medium
    } else {
        FreezeRisk::Low
    }
}

fn state(state: TransportState) -> &'static str {
    match state {
        TransportState::Connecting => "connecting",
        TransportState::Connected => "connected",
        TransportState::Disconnected => "disconnected",
        TransportState::Failed => "failed",
    }
}

fn kind(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

fn reason(reason: LayerReason) -> &'static str {
    match reason {
        LayerReason::Best => "best",
        LayerReason::Bandwidth => "bandwidth",
        LayerReason::PublisherNotSending => "publisherNotSending",
        LayerReason::Asked => "asked",
        LayerReason::Paused => "paused",
        LayerReason::NotLoudest => "notLoudest",
    }
}

fn seconds(micros: u32) -> f64 {
    f64::from(micros) / 1e6
}

/// RFC 3550 §6.4.1: the fraction is in 1/256.
fn fraction(lost: u8) -> f64 {
    f64::from(lost) / 256.0
}

/// What WebRTC's statistics call `audioLevel`: linear, of a level in -dBov, to four places.
fn amplitude(level: u8) -> f64 {
    let amplitude = 10_f64.powf(-f64::from(level) / 20.0);
    (amplitude * 1e4).round() / 1e4
}

/// Repairs keep up with less.
const LOSS_MEDIUM: f64 = 0.03;
/// Repairs are lost themselves too often.
const LOSS_HIGH: f64 = 0.1;
/// Some frames late: what a receiver's jitter buffer still takes.
const QUEUE_MEDIUM_US: u32 = 100_000;
/// WebRTC's statistics count a frame that is 150 ms later than usual as a freeze; twice that leaves
/// no doubt.
const QUEUE_HIGH_US: u32 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn leg() -> SubscriptionReport {
        SubscriptionReport {
            number: 0,
            sending: true,
            wanted: None,
            current: None,
            reason: LayerReason::Best,
            rank: None,
            awaits_keyframe: false,
            bit_rate: 0,
            packets: 0,
            bytes: 0,
            packets_lost: 0,
            fraction_lost: 0,
            round_trip_us: 0,
            jitter_us: 0,
            nacks: 0,
            plis: 0,
            firs: 0,
            retransmitted: 0,
            retransmissions_refused: 0,
            packets_dropped: 0,
        }
    }

    fn waiting_for(queue_delay_us: u32) -> EstimateReport {
        EstimateReport {
            bit_rate: 0,
            delay_based: 0,
            loss_based: 0,
            round_trip_us: 0,
            queue_delay_us,
            bytes_in_flight: 0,
            application_limited: false,
        }
    }

    #[test]
    fn the_risk_of_a_freeze_follows_loss() {
        let table = [
            (0, FreezeRisk::Low),
            (7, FreezeRisk::Low),
            (8, FreezeRisk::Medium),
            (25, FreezeRisk::Medium),
            (26, FreezeRisk::High),
            (255, FreezeRisk::High),
        ];
        for (fraction_lost, expected) in table {
            let leg = SubscriptionReport {
                fraction_lost,
                ..leg()
            };
            assert_eq!(freeze_risk(&leg, None), expected, "{fraction_lost}/256");
        }
    }

    #[test]
    fn the_risk_of_a_freeze_follows_the_queue() {
        let table = [
            (99_999, FreezeRisk::Low),
            (100_000, FreezeRisk::Medium),
            (300_000, FreezeRisk::High),
        ];
        for (queue_delay, expected) in table {
            let risk = freeze_risk(&leg(), Some(&waiting_for(queue_delay)));
            assert_eq!(risk, expected, "{queue_delay} us");
        }
    }

    #[test]
    fn a_picture_that_stands_is_frozen_unless_that_was_asked_for() {
        let pending = SubscriptionReport {
            awaits_keyframe: true,
            ..leg()
        };
        assert_eq!(freeze_risk(&pending, None), FreezeRisk::High);
        let mut silent = SubscriptionReport {
            sending: false,
            ..leg()
        };
        assert_eq!(freeze_risk(&silent, None), FreezeRisk::High);
        silent.reason = LayerReason::NotLoudest;
        assert_eq!(freeze_risk(&silent, None), FreezeRisk::Low);
    }
}
