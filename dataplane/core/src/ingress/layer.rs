//! One encoding of a published track: its numbers, its packets, its figures.

use core::time::Duration;

use arrayvec::ArrayVec;
use shared::counters::DropReason;
use shared::protocol::{MediaKind, Rid};

use super::Accepted;
use super::cache::{CachedPacket, PacketCache};
use super::content_type::{ContentTracker, ContentType};
use super::keyframe::{KeyframeMethod, KeyframeRequester};
use super::nack::{Gap, MissingPackets};
use super::packet_info::PacketInfo;
use super::rate_meter::RateMeter;
use super::report::{ClockMapping, Reception, duration_of};
use super::sub_layers::heights::PictureHeights;
use super::sub_layers::rates::{SUB_LAYERS_MAX, SubLayerRate, SubLayerRates};
use super::sub_layers::tracker::LayerTracker;
use crate::rtcp::ReportBlock;
use crate::rtp::SequenceExtender;
use crate::time::{NtpTime, Timestamp};

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Under the SSRC of the media.
    Media,
    /// Unwrapped from a retransmission (RFC 4588).
    Retransmission,
}

/// Whether lost packets are asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Generic NACK was negotiated (RFC 4585 §6.2.1).
    Nack,
    /// It was not, or another shard does it.
    None,
}

/// What a layer is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerConfig {
    /// Audio or video.
    pub(crate) kind: MediaKind,
    /// Of the encoding, in simulcast.
    pub(crate) rid: Option<Rid>,
    /// From `a=ssrc`, where given.
    pub(crate) ssrc: Option<u32>,
    /// Whether lost packets are asked for again.
    pub(crate) repair: Repair,
    /// How a key frame is asked for.
    pub(crate) keyframe_method: KeyframeMethod,
}

/// One encoding of a published track.
///
/// Its extended sequence numbers only ever name one packet, also when the publisher changes its
/// SSRC: they go on in a higher cycle then, in a new *stream*. That is what lets legs answer for a
/// number with the same bytes for ever.
#[derive(Debug)]
pub(crate) struct Layer {
    kind: MediaKind,
    rid: Option<Rid>,
    repair: Repair,
    cache: PacketCache,
    /// Of the present stream.
    ssrc: Option<u32>,
    extender: SequenceExtender,
    /// What is added to the extender's numbers: whole cycles.
    offset: u64,
    /// Counts streams.
    stream: u32,
    highest: Option<u64>,
    /// Of the present stream.
    lowest: u64,
    /// Of the present stream.
    tracker: LayerTracker,
    /// Of the present stream.
    content: ContentTracker,
    missing: MissingPackets,
    reception: Reception,
    /// Requests for key frames of this layer.
    pub(crate) keyframes: KeyframeRequester,
    mapping: Option<ClockMapping>,
    /// Of the last packet.
    clock_rate: Option<u32>,
    rate: RateMeter,
    /// Made with the first packet that tells its layers.
    sub_layer_rates: Option<Box<SubLayerRates>>,
    last_packet_at: Option<Timestamp>,
    packets: u64,
    bytes: u64,
    packets_lost: u64,
    /// Stays when it is full, like the next one.
    nacks: u32,
    keyframes_received: u32,
}

impl Layer {
    /// A layer of which nothing came yet.
    pub(crate) fn new(config: LayerConfig) -> Self {
        Self {
            kind: config.kind,
            rid: config.rid,
            repair: config.repair,
            cache: PacketCache::new(config.kind),
            ssrc: config.ssrc,
            extender: SequenceExtender::new(),
            offset: 0,
            stream: 0,
            highest: None,
            lowest: 0,
            tracker: LayerTracker::default(),
            content: ContentTracker::default(),
            missing: MissingPackets::default(),
            reception: Reception::default(),
            keyframes: KeyframeRequester::new(config.keyframe_method),
            mapping: None,
            clock_rate: None,
            rate: RateMeter::default(),
            sub_layer_rates: None,
            last_packet_at: None,
            packets: 0,
            bytes: 0,
            packets_lost: 0,
            nacks: 0,
            keyframes_received: 0,
        }
    }

    /// Takes an opened packet that came from the publisher itself.
    pub(crate) fn accept(
        &mut self,
        sequence_number: u16,
        info: PacketInfo,
        packet: &[u8],
        origin: Origin,
    ) -> Result<Accepted, DropReason> {
        if origin == Origin::Media && self.ssrc != Some(info.ssrc) {
            self.ssrc = Some(info.ssrc);
            self.start_stream();
        }
        let extended = self.offset + self.extender.peek(sequence_number);
        let accepted = self.insert(extended, info, packet, origin)?;
        self.extender.extend(sequence_number);
        if origin == Origin::Media {
            let rate = info.codec.clock_rate();
            self.reception
                .packet(info.received_at, extended, info.timestamp, rate);
        }
        Ok(accepted)
    }

    /// Takes an opened packet whose extended sequence number is known.
    pub(crate) fn insert(
        &mut self,
        sequence_number: u64,
        info: PacketInfo,
        packet: &[u8],
        origin: Origin,
    ) -> Result<Accepted, DropReason> {
        if self.is_too_late(sequence_number) {
            return Err(DropReason::TooLate);
        }
        if self.cache.contains(sequence_number) {
            return Err(DropReason::Duplicate);
        }
        let heights = self.tracker.heights();
        let info = self.complete(sequence_number, info, packet);
        if !self.cache.insert(sequence_number, info, packet) {
            return Err(DropReason::TooLarge);
        }
        let resumed = !self.receiving(info.received_at);
        self.count(info.received_at, packet.len());
        self.follow(info.received_at, sequence_number);
        let keyframe = info.keyframe && self.kind == MediaKind::Video;
        if keyframe {
            self.keyframes_received = self.keyframes_received.saturating_add(1);
            self.keyframes.arrived();
        }
        let recovered = origin == Origin::Retransmission;
        let newest = self.highest == Some(sequence_number);
        Ok(Accepted {
            sequence_number,
            keyframe,
            resumed,
            resized: self.tracker.heights() != heights,
            recovered,
            newest,
        })
    }

    /// The packet with this extended sequence number, while it is kept.
    pub(crate) fn packet(&self, sequence_number: u64) -> Option<CachedPacket<'_>> {
        self.cache.packet(sequence_number)
    }

    /// Pads a packet that has not left yet: [`PacketCache::pad`].
    pub(crate) fn pad(&mut self, sequence_number: u64, padding: u8) {
        self.cache.pad(sequence_number, padding);
    }

    /// The highest extended sequence number that came.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Of the encoding, in simulcast.
    pub(crate) fn rid(&self) -> Option<Rid> {
        self.rid
    }

    /// What the publisher sends it under, as far as that is known.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Which stream is the present one: [`PacketInfo::stream`].
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// Whether a packet came within the last [`RECEIVING_TIMEOUT`].
    pub(crate) fn receiving(&self, now: Timestamp) -> bool {
        self.last_packet_at
            .is_some_and(|at| now.since(at) < RECEIVING_TIMEOUT)
    }

    /// Bits a second over the last second or so, headers included.
    pub(crate) fn bit_rate(&self, now: Timestamp) -> u64 {
        self.rate.bit_rate(now)
    }

    /// Bits a second when it was received last, headers included; zero if it never was.
    pub(crate) fn last_bit_rate(&self) -> u64 {
        self.rate.last_bit_rate()
    }

    /// The layers inside of the stream that came lately, from the cheapest to the dearest, and what
    /// each costs with all that it needs. Empty if the stream does not tell of any.
    pub(crate) fn sub_layers(&self, now: Timestamp) -> ArrayVec<SubLayerRate, SUB_LAYERS_MAX> {
        let rates = self.sub_layer_rates.as_ref();
        rates.map(|rates| rates.rates(now)).unwrap_or_default()
    }

    /// What its pictures show.
    pub(crate) fn content_type(&self) -> ContentType {
        self.content.content_type()
    }

    /// How high its pictures are since the last key frame, as far as that said so.
    pub(crate) fn heights(&self) -> PictureHeights {
        self.tracker.heights()
    }

    /// Packets that came, repairs included.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of those packets, RTP headers included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets that never came, not even as a repair.
    pub(crate) fn packets_lost(&self) -> u64 {
        self.packets_lost
    }

    /// Of arrival (RFC 3550 §6.4.1).
    pub(crate) fn jitter(&self) -> Duration {
        let ticks = self.reception.jitter();
        duration_of(ticks, self.clock_rate.unwrap_or_default())
    }

    /// A NACK was sent to the publisher.
    pub(crate) fn count_nack(&mut self) {
        self.nacks = self.nacks.saturating_add(1);
    }

    /// NACKs sent to the publisher.
    pub(crate) fn nacks(&self) -> u32 {
        self.nacks
    }

    /// Key frames that came.
    pub(crate) fn keyframes_received(&self) -> u32 {
        self.keyframes_received
    }

    /// How RTP timestamps map to time, once the publisher has said so.
    pub(crate) fn clock_mapping(&self) -> Option<ClockMapping> {
        self.mapping
    }

    /// When the media with this RTP timestamp was captured, in the server's NTP time, by the last
    /// sender report; none before that and the first packet.
    pub(crate) fn captured_at(&self, rtp_timestamp: u32) -> Option<NtpTime> {
        Some(self.mapping?.ntp_of(rtp_timestamp, self.clock_rate?))
    }

    /// Takes the publisher's sender report: `reported` is its NTP time as it stands there (for the
    /// receiver report), `mapping` the same in the server's NTP time.
    pub(crate) fn sender_report(
        &mut self,
        now: Timestamp,
        reported: NtpTime,
        mapping: ClockMapping,
    ) {
        self.reception.sender_report(now, reported);
        self.mapping = Some(mapping);
    }

    /// Takes the mapping alone, as another shard tells it.
    pub(crate) fn set_clock_mapping(&mut self, mapping: ClockMapping) {
        self.mapping = Some(mapping);
    }

    /// The block for the next receiver report; none before the first packet.
    pub(crate) fn report_block(&mut self, now: Timestamp) -> Option<ReportBlock> {
        let ssrc = self.ssrc?;
        self.reception.report_block(now, ssrc)
    }

    /// The packets to ask the publisher for now (RFC 4585 §6.2.1).
    pub(crate) fn missing(&mut self) -> &mut MissingPackets {
        &mut self.missing
    }

    fn is_too_late(&self, sequence_number: u64) -> bool {
        self.highest.is_some_and(|highest| {
            sequence_number.saturating_add(self.cache.packets_max()) <= highest
        })
    }

    /// From now on the numbers are others. They go on two cycles higher, so that a late packet of
    /// the new stream's first cycle cannot take a number of the old one.
    fn start_stream(&mut self) {
        if let Some(highest) = self.highest {
            self.offset = (highest | 0xffff) + 1;
            self.extender = SequenceExtender::new();
            self.missing.clear();
            self.reception = Reception::default();
            self.mapping = None;
        }
    }

    /// Adds to `info` what the packet alone does not tell.
    fn complete(
        &mut self,
        sequence_number: u64,
        mut info: PacketInfo,
        packet: &[u8],
    ) -> PacketInfo {
        // Within a stream a number is never half a cycle ahead: [`SequenceExtender`].
        if self
            .highest
            .is_some_and(|highest| sequence_number.saturating_sub(highest) >= STREAM_DISTANCE)
        {
            self.stream = self.stream.wrapping_add(1);
            self.tracker = LayerTracker::default();
            self.content = ContentTracker::default();
            self.sub_layer_rates = None;
        }
        info.stream = self.stream;
        self.clock_rate = Some(info.codec.clock_rate());
        info.captured_at = self.captured_at(info.timestamp);
        let is_newest = self.highest < Some(sequence_number);
        self.tracker
            .complete(sequence_number, is_newest, &mut info, packet);
        if self.kind == MediaKind::Video {
            self.content.follow(sequence_number, &info, packet);
        }
        if let Some(position) = &info.position {
            let now = info.received_at;
            let rates = self
                .sub_layer_rates
                .get_or_insert_with(|| Box::new(SubLayerRates::new(now)));
            rates.add(now, position, packet.len());
        }
        info
    }

    fn count(&mut self, now: Timestamp, bytes: usize) {
        self.last_packet_at = self.last_packet_at.max(Some(now));
        self.packets += 1;
        self.bytes += bytes as u64;
        self.rate.add(now, bytes as u64);
    }

    /// Moves the highest number or the lowest, and takes note of gaps between them.
    fn follow(&mut self, now: Timestamp, sequence_number: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence_number);
            self.lowest = sequence_number;
            return;
        };
        if sequence_number >= self.lowest && sequence_number < highest {
            self.packets_lost = self.packets_lost.saturating_sub(1);
            self.missing.arrived(sequence_number);
            return;
        }
        if sequence_number < self.lowest {
            // The first to come was not the first sent. A leg may begin with this one.
            let lowest = core::mem::replace(&mut self.lowest, sequence_number);
            self.gap(now, sequence_number, lowest);
            return;
        }
        self.highest = Some(sequence_number);
        if sequence_number - highest >= STREAM_DISTANCE {
            self.lowest = sequence_number;
            return;
        }
        self.gap(now, highest, sequence_number);
    }

    /// What was sent between these two packets has not come.
    fn gap(&mut self, now: Timestamp, before: u64, after: u64) {
        self.packets_lost += after - before - 1;
        if self.repair == Repair::Nack && self.missing.gap(now, before, after) == Gap::TooLarge {
            self.keyframes.need();
        }
    }
}

/// How long a layer counts as received after its last packet. Opus in discontinuous transmission
/// still sends a packet every 400 ms.
pub(crate) const RECEIVING_TIMEOUT: Duration = Duration::from_secs(2);

/// A number so far ahead belongs to another stream of the layer.
const STREAM_DISTANCE: u64 = 1 << 15;
