//! What a client sends: audio like Opus, video like that of any codec, in one or more encodings,
//! with sender reports, repairs and key frames on request.

use core::any::Any;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use dataplane_core::time::{NtpTime, Timestamp};
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtp::header::Header;
use rtp::packet::Packet;
use shared::id::PublicationId;
use shared::protocol::{Codec, MediaKind};
use webrtc_util::marshal::Marshal;

use crate::checker::Checker;
use crate::codecs::{self, FrameNumbers};
use crate::content::{BODY_BYTES_MIN, Content, Ledger, PictureIdWidth, Published, SIZE_BYTES};
use crate::peer::Outgoing;
use crate::peer::crypto::ClientSrtp;
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
    fn of_frame(self, frame: u32) -> Option<u8> {
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
    fn bodies(&self, layer: usize, is_key: bool, rng: &mut Rng) -> Vec<usize> {
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

/// Transport-wide sequence numbers of a client, and what feedback says of them.
#[derive(Debug)]
pub struct TransportSequence {
    next: u64,
    first: u64,
    arriving: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

impl TransportSequence {
    /// Numbers from `first` upwards.
    pub fn new(first: u16) -> Self {
        let first = u64::from(first) + (1 << 16);
        Self {
            next: first,
            first,
            arriving: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// How many were given out.
    pub fn sent(&self) -> u64 {
        self.next - self.first
    }

    /// How many the server reported as received.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// A datagram with this number was sent, for the first time or again.
    pub fn fate(&mut self, number: u64, arrives: bool) {
        if arrives {
            self.arriving.insert(number);
        }
    }

    /// Nothing may be reported as received that was not sent, or that was lost.
    pub fn feedback(&mut self, packet: &dyn Any, checker: &mut Checker) {
        let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() else {
            return;
        };
        let base = nearest(self.next, feedback.base_sequence_number);
        let symbols = feedback.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                vec![run.packet_status_symbol; usize::from(run.run_length)]
            }
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
        });
        let symbols = symbols.take(usize::from(feedback.packet_status_count));
        for (number, symbol) in (base..).zip(symbols) {
            if symbol == SymbolTypeTcc::PacketNotReceived {
                continue;
            }
            if number < self.first || number >= self.next || !self.arriving.contains(&number) {
                checker.fault(format!(
                    "feedback names packet {number}, which did not arrive"
                ));
            }
            self.acknowledged.insert(number);
        }
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

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

/// One encoding.
#[derive(Debug)]
pub struct PublishedLayer {
    /// Of the media.
    pub ssrc: u32,
    /// Of retransmissions.
    pub rtx_ssrc: u32,
    /// Whether it is sent.
    pub flow: Flow,
    /// Times that a key frame was asked for.
    pub keyframe_requests: u64,
    /// Times that a packet was asked for again.
    pub nacks: u64,
    rid: Option<&'static str>,
    next_index: u64,
    rtx_next: u16,
    timestamp_offset: u32,
    frame: u32,
    /// The newest frame of the lowest temporal layer.
    base_frame: u32,
    picture_id: u16,
    tl0_picture_index: u8,
    key_wanted: bool,
    fir_sequence_number: Option<u8>,
    last_request_sent_at: Option<Timestamp>,
    asked: BTreeMap<u64, (u32, Timestamp)>,
    history: VecDeque<Sent>,
    packets: u32,
    octets: u32,
}

#[derive(Debug)]
struct Sent {
    index: u64,
    transport: u64,
    /// None of padding only.
    plain: Option<Packet>,
    sealed: Vec<u8>,
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
    pub fn tick(
        &mut self,
        now: Timestamp,
        srtp: &mut ClientSrtp,
        transport: &mut TransportSequence,
        ledger: &mut Ledger,
        out: &mut Vec<Outgoing>,
    ) {
        let started_at = *self.started_at.get_or_insert(now);
        loop {
            let captured_at = started_at + self.spec.interval * self.frames;
            if captured_at > now {
                return;
            }
            self.frames += 1;
            for layer in 0..self.layers.len() {
                if self.flow == Flow::Running && self.layers[layer].flow == Flow::Running {
                    let frame = self.frame(layer, captured_at);
                    for (content, published) in frame {
                        ledger.publish(content, published);
                        self.send(layer, (content, &published), srtp, transport, out);
                    }
                    if self.rng.chance(self.spec.probes) {
                        self.probe(layer, captured_at, srtp, transport, out);
                    }
                }
            }
        }
    }

    /// Decides what the next frame of a layer consists of.
    fn frame(&mut self, layer: usize, captured_at: Timestamp) -> Vec<(Content, Published)> {
        let spec = &self.spec;
        let state = &mut self.layers[layer];
        let is_video = spec.kind() == MediaKind::Video;
        let is_key = is_video && (state.key_wanted || state.frame == 0);
        state.key_wanted = false;
        let reference = (is_video && !is_key).then_some(state.base_frame);
        let is_base =
            is_key || !codecs::has_temporal_layers(spec.codec) || state.frame.is_multiple_of(2);
        if state.frame > 0 {
            state.picture_id = state.picture_id.wrapping_add(1) & codecs::picture_mask(spec.codec);
            state.tl0_picture_index = state.tl0_picture_index.wrapping_add(u8::from(is_base));
        }
        let is_numbered = matches!(spec.codec, Codec::Vp8 | Codec::Vp9 | Codec::Av1);
        let has_base = codecs::has_temporal_layers(spec.codec);
        let numbers = is_numbered.then_some(FrameNumbers {
            picture: state.picture_id,
            base: has_base.then_some(state.tl0_picture_index),
            temporal_layer: u8::from(!is_base),
        });
        if is_base {
            state.base_frame = state.frame;
        }
        let mut packets = Vec::new();
        let bodies = spec.bodies(layer, is_key, &mut self.rng);
        let last = bodies.len() - 1;
        for (packet, body_len) in bodies.into_iter().enumerate() {
            let content = Content {
                track: self.track,
                layer: layer as u8,
                frame: state.frame,
                packet: packet as u16,
            };
            let height = spec.heights.get(layer).copied();
            let height = height.filter(|_| is_key && packet == 0);
            let least = height.map_or(0, |_| BODY_BYTES_MIN + SIZE_BYTES);
            let published = Published {
                codec: spec.codec,
                body_len: body_len.max(least),
                is_key,
                reference,
                marker: is_video && packet == last,
                ssrc: state.ssrc,
                index: state.take_index(),
                timestamp: state.timestamp(captured_at, spec.clock_rate()),
                captured_at,
                numbers,
                height,
                extension: match spec.kind() {
                    MediaKind::Audio => spec.loudness.of_frame(state.frame),
                    // Only four orientations exist.
                    MediaKind::Video => Some((state.frame & 3) as u8),
                },
            };
            packets.push((content, published));
        }
        state.frame += 1;
        packets
    }

    fn send(
        &mut self,
        layer: usize,
        (content, published): (Content, &Published),
        srtp: &mut ClientSrtp,
        transport: &mut TransportSequence,
        out: &mut Vec<Outgoing>,
    ) {
        let mut payload = BytesMut::new();
        payload.put(codecs::head(published, content, self.spec.picture_ids));
        payload.put(published.body(content));
        let mut packet = Packet {
            header: self.header(layer, published.index, published.timestamp),
            payload: payload.freeze(),
        };
        packet.header.marker = published.marker;
        let number = transport.take();
        let mid = Bytes::from(mid_of(self.id.number));
        set_extensions(
            &mut packet.header,
            [(ids::MID, mid), (ids::TRANSPORT, wire(number))],
        );
        if let Some(rid) = self.layers[layer].rid {
            set_extensions(&mut packet.header, [(ids::RID, Bytes::from(rid))]);
        }
        let id = match self.spec.kind() {
            MediaKind::Audio => ids::AUDIO_LEVEL,
            MediaKind::Video => ids::ORIENTATION,
        };
        let own = published.extension.map(|value| (id, vec![value].into()));
        set_extensions(&mut packet.header, own);
        if self.spec.scene == Scene::Screen && published.is_key && published.marker {
            let screen = (ids::CONTENT_TYPE, Bytes::from_static(&[1]));
            set_extensions(&mut packet.header, [screen]);
        }
        let descriptor = codecs::dependency_descriptor(published, content);
        set_extensions(
            &mut packet.header,
            descriptor.map(|own| (ids::DEPENDENCIES, own)),
        );
        let sealed = srtp.protect_rtp(&packet);
        let state = &mut self.layers[layer];
        state.packets += 1;
        state.octets += packet.payload.len() as u32;
        state.remember(published.index, number, Some(packet), sealed, out);
    }

    /// A packet of padding only, as senders use it to probe for bandwidth.
    fn probe(
        &mut self,
        layer: usize,
        captured_at: Timestamp,
        srtp: &mut ClientSrtp,
        transport: &mut TransportSequence,
        out: &mut Vec<Outgoing>,
    ) {
        let rate = self.spec.clock_rate();
        let state = &mut self.layers[layer];
        let (index, timestamp) = (state.take_index(), state.timestamp(captured_at, rate));
        let mut header = self.header(layer, index, timestamp);
        let number = transport.take();
        let mid = Bytes::from(mid_of(self.id.number));
        set_extensions(
            &mut header,
            [(ids::MID, mid), (ids::TRANSPORT, wire(number))],
        );
        let mut plain = header.marshal().unwrap().to_vec();
        plain[0] |= 0x20;
        plain.extend([0; 99]);
        plain.push(100);
        let sealed = srtp.protect_plain_rtp(&plain);
        self.layers[layer].remember(index, number, None, sealed, out);
    }

    fn header(&self, layer: usize, index: u64, timestamp: u32) -> Header {
        Header {
            version: 2,
            payload_type: payload_type(self.spec.kind()),
            sequence_number: index as u16,
            timestamp,
            ssrc: self.layers[layer].ssrc,
            ..Header::default()
        }
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
        (srtp, transport): (&mut ClientSrtp, &mut TransportSequence),
        checker: &mut Checker,
        out: &mut Vec<Outgoing>,
    ) {
        let kind = self.spec.kind();
        let mid = mid_of(self.id.number);
        let repair = self.spec.repair;
        for layer in &mut self.layers {
            if let Some(pli) = packet.downcast_ref::<PictureLossIndication>()
                && pli.media_ssrc == layer.ssrc
            {
                layer.keyframe_asked(sent_at, checker);
                layer.key_wanted = true;
            }
            if let Some(fir) = packet.downcast_ref::<FullIntraRequest>()
                && let Some(entry) = fir.fir.iter().find(|entry| entry.ssrc == layer.ssrc)
            {
                layer.keyframe_asked(sent_at, checker);
                let before = layer.fir_sequence_number.replace(entry.sequence_number);
                layer.key_wanted |= before != Some(entry.sequence_number);
            }
            if let Some(nack) = packet.downcast_ref::<TransportLayerNack>()
                && nack.media_ssrc == layer.ssrc
            {
                if repair == Repair::None {
                    checker.fault("NACK where it was not negotiated".to_owned());
                }
                for number in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                    layer.repair(
                        sent_at,
                        number,
                        (kind, repair),
                        &mid,
                        (srtp, transport),
                        checker,
                        out,
                    );
                }
            }
        }
    }
}

impl PublishedLayer {
    fn new(rid: Option<&'static str>, first: Option<u16>, rng: &mut Rng) -> Self {
        Self {
            ssrc: rng.bits() as u32,
            rtx_ssrc: rng.bits() as u32,
            flow: Flow::Running,
            keyframe_requests: 0,
            nacks: 0,
            rid,
            next_index: u64::from(first.unwrap_or_else(|| (rng.bits() & 0x7fff) as u16)),
            rtx_next: (rng.bits() & 0x7fff) as u16,
            timestamp_offset: rng.bits() as u32,
            frame: 0,
            base_frame: 0,
            picture_id: (rng.bits() & 0x7fff) as u16,
            tl0_picture_index: rng.bits() as u8,
            key_wanted: false,
            fir_sequence_number: None,
            last_request_sent_at: None,
            asked: BTreeMap::new(),
            history: VecDeque::new(),
            packets: 0,
            octets: 0,
        }
    }

    /// What the description says of it.
    pub fn rid(&self) -> Option<&'static str> {
        self.rid
    }

    /// The RTP timestamp of an instant.
    pub fn timestamp(&self, at: Timestamp, rate: u32) -> u32 {
        let ticks = (u128::from(at.as_nanos()) * u128::from(rate) + 500_000_000) / 1_000_000_000;
        self.timestamp_offset.wrapping_add(ticks as u32)
    }

    fn take_index(&mut self) -> u64 {
        self.next_index += 1;
        self.next_index - 1
    }

    fn remember(
        &mut self,
        index: u64,
        transport: u64,
        plain: Option<Packet>,
        sealed: Vec<u8>,
        out: &mut Vec<Outgoing>,
    ) {
        out.push(Outgoing {
            bytes: sealed.clone(),
            media: Some((self.ssrc, index)),
            transport: Some(transport),
        });
        self.history.push_back(Sent {
            index,
            transport,
            plain,
            sealed,
        });
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Requests for key frames are merged and spaced.
    fn keyframe_asked(&mut self, sent_at: Timestamp, checker: &mut Checker) {
        self.keyframe_requests += 1;
        // One that comes twice, or was overtaken, is no news.
        if self
            .last_request_sent_at
            .is_some_and(|before| sent_at <= before)
        {
            return;
        }
        if let Some(before) = self.last_request_sent_at.replace(sent_at)
            && sent_at.since(before) < KEYFRAME_REQUEST_INTERVAL
        {
            checker.fault(format!("key frames of {:x} asked for too often", self.ssrc));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, from one place")]
    fn repair(
        &mut self,
        sent_at: Timestamp,
        number: u16,
        (kind, repair): (MediaKind, Repair),
        mid: &str,
        (srtp, transport): (&mut ClientSrtp, &mut TransportSequence),
        checker: &mut Checker,
        out: &mut Vec<Outgoing>,
    ) {
        self.nacks += 1;
        let index = nearest(self.next_index, number);
        if index >= self.next_index {
            checker.fault(format!("NACK of {index}, which was not sent yet"));
        }
        let asked = self.asked.entry(index).or_default();
        // One that comes twice, or was overtaken, is no news.
        if asked.0 == 0 || sent_at > asked.1 {
            let too_soon = asked.0 > 0 && sent_at.since(asked.1) < NACK_INTERVAL;
            *asked = (asked.0 + 1, sent_at);
            if too_soon || asked.0 > NACKS_MAX {
                checker.fault(format!("NACK of {index} too often"));
            }
        }
        let Some(sent) = self.history.iter().find(|sent| sent.index == index) else {
            return;
        };
        let (bytes, number) = match &sent.plain {
            Some(plain) if repair == Repair::Rtx => {
                let mut payload = BytesMut::new();
                payload.put_u16(plain.header.sequence_number);
                payload.put(plain.payload.clone());
                let mut packet = Packet {
                    header: Header {
                        version: 2,
                        marker: plain.header.marker,
                        payload_type: rtx_payload_type(kind),
                        sequence_number: self.rtx_next,
                        timestamp: plain.header.timestamp,
                        ssrc: self.rtx_ssrc,
                        ..Header::default()
                    },
                    payload: payload.freeze(),
                };
                self.rtx_next = self.rtx_next.wrapping_add(1);
                let number = transport.take();
                let own = plain
                    .header
                    .extensions
                    .iter()
                    .filter(|own| own.id >= ids::AUDIO_LEVEL);
                let mid = Bytes::from(mid.to_owned());
                set_extensions(
                    &mut packet.header,
                    [(ids::MID, mid), (ids::TRANSPORT, wire(number))],
                );
                set_extensions(
                    &mut packet.header,
                    own.map(|own| (own.id, own.payload.clone())),
                );
                if let Some(rid) = self.rid {
                    set_extensions(&mut packet.header, [(ids::REPAIRED_RID, Bytes::from(rid))]);
                }
                (srtp.protect_rtp(&packet), number)
            }
            _ => (sent.sealed.clone(), sent.transport),
        };
        out.push(Outgoing {
            bytes,
            media: Some((self.ssrc, index)),
            transport: Some(number),
        });
    }
}

/// The index nearest to `reference` that ends in `number`.
pub fn nearest(reference: u64, number: u16) -> u64 {
    let ahead = i64::from((number.wrapping_sub(reference as u16)) as i16);
    reference
        .checked_add_signed(ahead)
        .unwrap_or_else(|| u64::from(number))
}

/// The mid of a publication.
pub fn mid_of(number: u32) -> String {
    format!("m{number}")
}

/// As publishers send it.
pub fn payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 111,
        MediaKind::Video => 96,
    }
}

/// As publishers send it.
pub fn rtx_payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 112,
        MediaKind::Video => 97,
    }
}

fn wire(number: u64) -> Bytes {
    Bytes::copy_from_slice(&(number as u16).to_be_bytes())
}

fn set_extensions(header: &mut Header, of: impl IntoIterator<Item = (u8, Bytes)>) {
    for (id, value) in of {
        header.set_extension(id, value).unwrap();
    }
}

/// Header extension ids of publishers.
pub mod ids {
    #![expect(missing_docs, reason = "the names say it")]
    pub const MID: u8 = 1;
    pub const RID: u8 = 2;
    pub const REPAIRED_RID: u8 = 3;
    pub const TRANSPORT: u8 = 4;
    pub const AUDIO_LEVEL: u8 = 5;
    pub const ORIENTATION: u8 = 6;
    pub const CONTENT_TYPE: u8 = 7;
    pub const DEPENDENCIES: u8 = 8;
}

/// How many times as large as another a key frame is, where encodings have rates.
const KEYFRAME_FACTOR: u64 = 5;

/// Packets that a publisher can send again: a second or two.
const HISTORY: usize = 1000;

/// The server promises not to ask for key frames of an encoding more often: see `ingress::keyframe`
/// of the core.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(400);

/// What it promises too: see `ingress::nack` of the core.
const NACK_INTERVAL: Duration = Duration::from_millis(20);
const NACKS_MAX: u32 = 10;
