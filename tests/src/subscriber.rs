//! What a client receives: put in order, holes asked for again, everything kept for the checkers.

use core::any::Any;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dataplane_core::time::Timestamp;
use rtcp::goodbye::Goodbye;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtp::packet::Packet;
use shared::id::{PublicationId, SubscriptionId};
use shared::protocol::{Codec, MediaKind};
use webrtc_util::marshal::Marshal;

use crate::codecs::FrameNumbers;
use crate::content::{self, Content};
use crate::peer::Surroundings;
use crate::publisher::{self, nearest};

/// What a subscription is like.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionSpec {
    /// The rid that is wanted.
    pub preferred_rid: Option<&'static str>,
    /// Whether the path may decide for a lower one.
    pub priority_ordering: shared::protocol::Ordering,
    /// Whether another one will do.
    pub fallback: shared::protocol::Ordering,
    /// What the client has use for.
    pub hints: shared::protocol::Hints,
    /// How lost packets come again.
    pub repair: publisher::Repair,
    /// Whether it asks for a key frame when it misses too much, or nothing comes at all. Chromium ceases
    /// to soon.
    pub insists: bool,
    /// The SSRC of the media; random if none is given.
    pub ssrc: Option<u32>,
}

impl Default for SubscriptionSpec {
    fn default() -> Self {
        Self {
            preferred_rid: None,
            priority_ordering: shared::protocol::Ordering::None,
            fallback: shared::protocol::Ordering::None,
            hints: shared::protocol::Hints::default(),
            repair: publisher::Repair::Rtx,
            insists: true,
            ssrc: None,
        }
    }
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Via {
    Media,
    Retransmission,
}

/// One packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// What it carries.
    pub content: Content,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Of its frame, as it came.
    pub numbers: Option<FrameNumbers>,
    /// When it came for the first time.
    pub at: Timestamp,
    /// How it came for the first time.
    pub via: Via,
}

/// A sender report that came.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedReport {
    /// When.
    pub at: Timestamp,
    /// The server's NTP time in it.
    pub ntp: u64,
    /// The RTP timestamp of the same instant.
    pub rtp_timestamp: u32,
}

/// One track that a client receives.
#[derive(Debug)]
pub struct SubscribedTrack {
    /// Its name at the server.
    pub id: SubscriptionId,
    /// What it is encoded with.
    pub codec: Codec,
    /// What it is like.
    pub spec: SubscriptionSpec,
    /// What the media comes under.
    pub ssrc: u32,
    /// What retransmissions come under.
    pub rtx_ssrc: u32,
    /// The server may leave some of it out without a hole in the numbers, since the path does not
    /// carry it, or since others are louder.
    pub may_be_cut: bool,
    /// All that came, by extended sequence number.
    pub received: BTreeMap<u64, Received>,
    /// Numbers that came without a payload: padding that came too late to be left out.
    pub padding: BTreeSet<u64>,
    /// Retransmissions of nothing: probes.
    pub probes: u64,
    /// The server's sender reports.
    pub reports: Vec<ReceivedReport>,
    /// A BYE came.
    pub goodbye: bool,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Numbers that came after a higher one.
    pub overtaken: u64,
    /// Sequence numbers that were asked for again, with repetitions.
    pub nacks: u64,
    /// Key frames that were asked for.
    pub keyframe_requests: u64,
    /// What it is fed from.
    pub source: PublicationId,
    /// When it was fed from something else from then on. What was lost before such a change and not
    /// repaired by then is not repaired any more: its source is forgotten.
    pub changes: Vec<Timestamp>,
    /// How often each missing number was asked for, and when last.
    pub asked: BTreeMap<u64, (u32, Timestamp)>,
    /// The number that came first; what was sent before it is not missed.
    pub first: Option<u64>,
    highest: Option<u64>,
    missing: BTreeMap<u64, (Timestamp, u32)>,
    last_at: Option<Timestamp>,
    next_keyframe_request_at: Timestamp,
    wants_keyframe: bool,
}

impl SubscribedTrack {
    /// A track of which nothing came.
    pub fn new(
        id: SubscriptionId,
        source: PublicationId,
        codec: Codec,
        spec: SubscriptionSpec,
        ssrcs: (u32, u32),
    ) -> Self {
        Self {
            id,
            codec,
            spec,
            ssrc: ssrcs.0,
            rtx_ssrc: ssrcs.1,
            may_be_cut: false,
            received: BTreeMap::new(),
            padding: BTreeSet::new(),
            probes: 0,
            reports: Vec::new(),
            goodbye: false,
            duplicates: 0,
            overtaken: 0,
            nacks: 0,
            keyframe_requests: 0,
            source,
            changes: Vec::new(),
            asked: BTreeMap::new(),
            first: None,
            highest: None,
            missing: BTreeMap::new(),
            last_at: None,
            next_keyframe_request_at: Timestamp::default(),
            wants_keyframe: false,
        }
    }

    /// Whether an SSRC is its own.
    pub fn owns(&self, ssrc: u32) -> bool {
        ssrc == self.ssrc || (ssrc == self.rtx_ssrc && self.spec.repair == publisher::Repair::Rtx)
    }

    /// Takes an opened packet, and checks it against what was published.
    pub fn receive(&mut self, now: Timestamp, packet: Packet, around: &mut Surroundings<'_>) {
        let mut packet = packet;
        let mut via = Via::Media;
        let mut number = packet.header.sequence_number;
        let mut expected = payload_type(self.codec.kind());
        if packet.header.ssrc == self.rtx_ssrc {
            via = Via::Retransmission;
            expected = rtx_payload_type(self.codec.kind());
            if packet.payload.is_empty() {
                self.probes += 1;
                return;
            }
            number = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
            packet.payload = packet.payload.slice(2..);
        }
        if packet.header.payload_type != expected {
            around
                .checker
                .fault(format!("payload type {}", packet.header.payload_type));
        }
        let index = self
            .highest
            .map_or_else(|| u64::from(number), |highest| nearest(highest, number));
        if packet.payload.is_empty() {
            self.padding.insert(index);
            self.follow(now, index);
            return;
        }
        let Some(received) = self.check(now, via, &packet, around) else {
            return;
        };
        if let Some(before) = self.received.get(&index) {
            self.duplicates += 1;
            let same = before.content == received.content
                && before.timestamp == received.timestamp
                && before.numbers == received.numbers;
            if !same {
                let ssrc = self.ssrc;
                around
                    .checker
                    .fault(format!("{ssrc:x}: two contents for number {index}"));
            }
            return;
        }
        if via == Via::Retransmission {
            self.check_repeat(now, index, received.content, around);
        }
        self.received.insert(index, received);
        self.follow(now, index);
    }

    /// What comes for the first time as a repeat, long after its frame and with no use, misleads a
    /// receiver: Chromium reckons with the time that such a frame took, and shows those that follow
    /// seconds late.
    fn check_repeat(
        &self,
        now: Timestamp,
        index: u64,
        content: Content,
        around: &mut Surroundings<'_>,
    ) {
        let published = |content| around.ledger.get(content);
        let mut later = self.received.range(index..);
        let is_replaced =
            later.any(|(_, later)| published(later.content).is_some_and(|p| p.is_key));
        let asked = self.asked.get(&index).filter(|_| !is_replaced);
        let asked_at = asked.map(|(_, last)| *last);
        let captured_at = published(content).map(|published| published.captured_at);
        let age = captured_at.max(asked_at).map(|at| now.since(at));
        if let Some(age) = age.filter(|age| *age > REPEAT_AGE_MAX) {
            around
                .checker
                .fault(format!("{content:?} came {age:?} after anybody wanted it"));
        }
    }

    /// The packet must be one that was published, to the last bit.
    fn check(
        &self,
        now: Timestamp,
        via: Via,
        packet: &Packet,
        around: &mut Surroundings<'_>,
    ) -> Option<Received> {
        let descriptor = packet.header.get_extension(ids::DEPENDENCIES);
        let read = content::read(self.codec, &packet.payload, descriptor.as_deref());
        let Some((content, numbers, body)) = read else {
            around
                .checker
                .fault(format!("{:x}: a payload that nobody sent", self.ssrc));
            return None;
        };
        let Some(published) = around.ledger.get(content) else {
            around
                .checker
                .fault(format!("{content:?} was never published"));
            return None;
        };
        if body != published.body(content) {
            around
                .checker
                .fault(format!("{content:?} was changed on its way"));
        }
        if packet.header.marker != published.marker {
            around
                .checker
                .fault(format!("{content:?} has another marker bit"));
        }
        let temporal_layers = (
            numbers.map(|own| own.temporal_layer),
            published.numbers.map(|own| own.temporal_layer),
        );
        if temporal_layers.0 != temporal_layers.1 {
            around
                .checker
                .fault(format!("{content:?} is in another temporal layer"));
        }
        let id = match self.codec.kind() {
            MediaKind::Audio => ids::AUDIO_LEVEL,
            MediaKind::Video => ids::ORIENTATION,
        };
        let read = [ids::TRANSPORT, ids::DEPENDENCIES];
        let extensions = packet.header.extensions.iter();
        let extensions = extensions.filter(|e| !read.contains(&e.id));
        let extensions: Vec<_> = extensions.map(|e| (e.id, e.payload.to_vec())).collect();
        let expected = published.extension.map(|value| (id, vec![value]));
        if extensions != Vec::from_iter(expected) {
            around
                .checker
                .fault(format!("{content:?} has the extensions {extensions:?}"));
        }
        Some(Received {
            content,
            timestamp: packet.header.timestamp,
            numbers,
            at: now,
            via,
        })
    }

    fn follow(&mut self, now: Timestamp, index: u64) {
        self.last_at = Some(now);
        self.missing.remove(&index);
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            self.first = Some(index);
            return;
        };
        if index <= highest {
            self.overtaken += 1;
            return;
        }
        self.highest = Some(index);
        if index - highest > HOLE_MAX {
            self.wants_keyframe |= self.spec.insists;
            return;
        }
        for missing in highest + 1..index {
            self.missing.insert(missing, (now + GRACE, 0));
        }
    }

    /// Asks for what is missing.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Bytes>) {
        let before = self.missing.len();
        self.missing.retain(|_, (_, tries)| *tries < TRIES_MAX);
        self.wants_keyframe |= self.spec.insists && self.missing.len() < before;
        let mut numbers = Vec::new();
        for (index, (next_at, tries)) in &mut self.missing {
            if *next_at <= now && numbers.len() < 60 {
                *tries += 1;
                *next_at = now + RETRY;
                self.asked.insert(*index, (*tries, now));
                numbers.push(*index as u16);
            }
        }
        if !numbers.is_empty() && self.spec.repair != publisher::Repair::None {
            self.nacks += numbers.len() as u64;
            let nack = TransportLayerNack {
                sender_ssrc: 1,
                media_ssrc: self.ssrc,
                nacks: nack_pairs_from_sequence_numbers(&numbers),
            };
            out.push(nack.marshal().unwrap());
        }
        let is_silent = self.last_at.is_none_or(|last| now.since(last) > STUCK);
        let stuck = is_silent && self.spec.insists;
        if self.codec.kind() == MediaKind::Video
            && (self.wants_keyframe || stuck)
            && self.next_keyframe_request_at <= now
        {
            self.next_keyframe_request_at = now + STUCK;
            self.wants_keyframe = false;
            out.push(self.keyframe_request());
        }
    }

    /// Asks for a key frame as soon as allowed.
    pub fn ask_for_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    fn keyframe_request(&mut self) -> Bytes {
        self.keyframe_requests += 1;
        let pli = PictureLossIndication {
            sender_ssrc: 1,
            media_ssrc: self.ssrc,
        };
        pli.marshal().unwrap()
    }

    /// How it receives, once something came.
    pub fn receiver_report(&self, now: Timestamp) -> Option<Bytes> {
        let highest = self.highest?;
        let last = self.reports.last();
        let delay = last.map_or(0, |last| {
            now.since(last.at).as_micros() * 65_536 / 1_000_000
        });
        let report = ReceiverReport {
            ssrc: 1,
            reports: vec![ReceptionReport {
                ssrc: self.ssrc,
                last_sequence_number: highest as u32,
                last_sender_report: last.map_or(0, |last| (last.ntp >> 16) as u32),
                delay: delay as u32,
                ..ReceptionReport::default()
            }],
            ..ReceiverReport::default()
        };
        Some(report.marshal().unwrap())
    }

    /// Takes what the server says of the track.
    pub fn control(&mut self, now: Timestamp, packet: &dyn Any) {
        if let Some(report) = packet.downcast_ref::<SenderReport>()
            && report.ssrc == self.ssrc
        {
            self.reports.push(ReceivedReport {
                at: now,
                ntp: report.ntp_time,
                rtp_timestamp: report.rtp_time,
            });
        }
        if let Some(bye) = packet.downcast_ref::<Goodbye>() {
            self.goodbye |= bye.sources.contains(&self.ssrc);
        }
    }

    /// The numbers between the first and the last that came which did not.
    pub fn holes(&self) -> Vec<u64> {
        let (Some(first), Some((last, _))) = (self.first, self.received.last_key_value()) else {
            return Vec::new();
        };
        let came = |index: &u64| self.received.contains_key(index) || self.padding.contains(index);
        (first..*last).filter(|index| !came(index)).collect()
    }

    /// Whether its source was changed shortly before or after this.
    pub fn is_near_a_change(&self, at: Timestamp) -> bool {
        let near = |change: &Timestamp| at.since(*change).max(change.since(at)) < CHANGE_SETTLES;
        self.changes.iter().any(near)
    }

    /// Packets of this encoding that came.
    pub fn count_of_layer(&self, layer: u8) -> usize {
        self.received
            .values()
            .filter(|packet| packet.content.layer == layer)
            .count()
    }
}

/// As subscribers get it: other numbers than publishers use.
pub fn payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 109,
        MediaKind::Video => 120,
    }
}

/// As subscribers get it.
pub fn rtx_payload_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => 110,
        MediaKind::Video => 121,
    }
}

/// Header extension ids of subscribers.
pub mod ids {
    #![expect(missing_docs, reason = "the names say it")]
    pub const AUDIO_LEVEL: u8 = 11;
    pub const ORIENTATION: u8 = 12;
    pub const MID: u8 = 9;
    pub const TRANSPORT: u8 = 3;
    pub const DEPENDENCIES: u8 = 4;
}

/// How long a packet may be late.
const GRACE: Duration = Duration::from_millis(10);
/// Between two requests for one packet.
const RETRY: Duration = Duration::from_millis(120);
/// After so many requests a key frame is asked for instead.
const TRIES_MAX: u32 = 12;
/// A longer hole is not repaired packet by packet.
const HOLE_MAX: u64 = 400;
/// What nobody needs is repeated within a second of its coming to the server. Its way there with
/// repairs, and the one from there, may take as long again each.
const REPEAT_AGE_MAX: Duration = Duration::from_secs(4);
/// Without media for so long, a key frame is asked for.
const STUCK: Duration = Duration::from_secs(1);
/// After a change of source, and before it, repairs may be cut short.
const CHANGE_SETTLES: Duration = Duration::from_millis(2_500);
