//! One published track: which frames it sends and when, and what it does for what the server asks.

use core::any::Any;

use bytes::Bytes;
use dataplane_core::time::{NtpTime, Timestamp};
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use shared::id::PublicationId;
use shared::protocol::MediaKind;
use webrtc_util::marshal::Marshal;

use super::{PublishedLayer, Repair, TrackSpec, Uplink};
use crate::checker::Checker;
use crate::content::{BODY_BYTES_MIN, Content, Ledger, Published, SIZE_BYTES};
use crate::rng::Rng;

/// One track.
#[derive(Debug)]
pub struct PublishedTrack {
    /// Its name at the server.
    pub id: PublicationId,
    /// Its name in the world.
    pub track: u32,
    /// What it is like.
    pub spec: TrackSpec,
    /// Its encodings.
    pub layers: Vec<PublishedLayer>,
    /// Whether it sends.
    pub flow: Flow,
    started_at: Option<Timestamp>,
    frames: u32,
    rng: Rng,
}

/// Whether a track or a layer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Flow {
    Running,
    Paused,
}

impl PublishedTrack {
    /// A track that has sent nothing.
    pub fn new(id: PublicationId, track: u32, spec: TrackSpec, mut rng: Rng) -> Self {
        let rids: Vec<_> = if spec.rids.is_empty() {
            vec![None]
        } else {
            spec.rids.iter().copied().map(Some).collect()
        };
        let first = spec.first_sequence_number;
        let layers = rids
            .into_iter()
            .map(|rid| PublishedLayer::new(rid, first, &mut rng));
        Self {
            id,
            track,
            layers: layers.collect(),
            flow: Flow::Running,
            started_at: None,
            frames: 0,
            rng,
            spec,
        }
    }

    /// Sends the frames that are due.
    pub fn tick(&mut self, now: Timestamp, ledger: &mut Ledger, uplink: &mut Uplink<'_>) {
        let started_at = *self.started_at.get_or_insert(now);
        loop {
            let captured_at = started_at + self.spec.interval * self.frames;
            if captured_at > now {
                return;
            }
            self.frames += 1;
            for layer in 0..self.layers.len() {
                if self.flow == Flow::Running && self.layers[layer].flow == Flow::Running {
                    for (content, published) in self.frame(layer, captured_at) {
                        ledger.publish(content, published);
                        self.send(layer, (content, &published), uplink);
                    }
                    if self.rng.chance(self.spec.probes) {
                        self.probe(layer, captured_at, uplink);
                    }
                }
            }
        }
    }

    /// Decides what the next frame of a layer consists of.
    fn frame(&mut self, layer: usize, captured_at: Timestamp) -> Vec<(Content, Published)> {
        let spec = &self.spec;
        let state = &mut self.layers[layer];
        let frame = state.next_frame(spec.codec);
        let bodies = spec.bodies(layer, frame.is_key, &mut self.rng);
        let last = bodies.len() - 1;
        let packet = |(packet, body_len): (usize, usize)| {
            let content = Content {
                track: self.track,
                layer: layer as u8,
                frame: frame.number,
                packet: packet as u16,
            };
            let height = spec.heights.get(layer).copied();
            let height = height.filter(|_| frame.is_key && packet == 0);
            let least = height.map_or(0, |_| BODY_BYTES_MIN + SIZE_BYTES);
            let published = Published {
                codec: spec.codec,
                body_len: body_len.max(least),
                is_key: frame.is_key,
                reference: frame.reference,
                marker: spec.kind() == MediaKind::Video && packet == last,
                ssrc: state.ssrc,
                index: state.take_index(),
                timestamp: state.timestamp(captured_at, spec.clock_rate()),
                captured_at,
                numbers: frame.numbers,
                height,
                extension: match spec.kind() {
                    MediaKind::Audio => spec.loudness.of_frame(frame.number),
                    // Only four orientations exist.
                    MediaKind::Video => Some((frame.number & 3) as u8),
                },
            };
            (content, published)
        };
        bodies.into_iter().enumerate().map(packet).collect()
    }

    /// Says how its clocks run.
    pub fn sender_reports(&self, now: Timestamp, ntp: NtpTime, out: &mut Vec<Bytes>) {
        for layer in self.layers.iter().filter(|layer| layer.packets > 0) {
            let report = SenderReport {
                ssrc: layer.ssrc,
                ntp_time: ntp.to_bits(),
                rtp_time: layer.timestamp(now, self.spec.clock_rate()),
                packet_count: layer.packets,
                octet_count: layer.octets,
                ..SenderReport::default()
            };
            out.push(report.marshal().unwrap());
        }
    }

    /// Takes what the server asks for, and checks that it does not ask too often. `sent_at` is when
    /// the server did.
    pub fn feedback(
        &mut self,
        sent_at: Timestamp,
        packet: &dyn Any,
        checker: &mut Checker,
        uplink: &mut Uplink<'_>,
    ) {
        for layer in &mut self.layers {
            if let Some(pli) = packet.downcast_ref::<PictureLossIndication>()
                && pli.media_ssrc == layer.ssrc
            {
                layer.keyframe_asked(sent_at, None, checker);
            }
            if let Some(fir) = packet.downcast_ref::<FullIntraRequest>()
                && let Some(entry) = fir.fir.iter().find(|entry| entry.ssrc == layer.ssrc)
            {
                layer.keyframe_asked(sent_at, Some(entry.sequence_number), checker);
            }
        }
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            self.nack(sent_at, nack, checker, uplink);
        }
    }

    /// Sends again what the server misses of one of the layers, if it is one of these.
    fn nack(
        &mut self,
        sent_at: Timestamp,
        nack: &TransportLayerNack,
        checker: &mut Checker,
        uplink: &mut Uplink<'_>,
    ) {
        let mut layers = self.layers.iter();
        let Some(layer) = layers.position(|layer| layer.ssrc == nack.media_ssrc) else {
            return;
        };
        if self.spec.repair == Repair::None {
            checker.fault("NACK where it was not negotiated".to_owned());
        }
        for number in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
            if let Some(sent) = self.layers[layer].packet_asked(sent_at, number, checker) {
                self.repair(layer, sent, uplink);
            }
        }
    }
}
