//! Decides whether a packet leaves, and with which numbers.

use shared::counters::DropReason;
use shared::protocol::{Codec, CodecMapping, MediaKind};

use super::layer_filter::{Decision, Verdict};
use super::leg::Leg;
use super::rewriter::{Rewritten, Source};
use crate::ingress::CachedPacket;
use crate::ingress::sub_layers::SubLayer;
use crate::rtp::payload::{vp8, vp9};
use crate::time::Timestamp;

/// How a packet leaves: what is decided, as a small value. The bytes follow from this and from the
/// cached packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// Our extended sequence number: roll-over counter and sequence number, the SRTP index.
    pub(crate) index: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// The subscriber's.
    pub(crate) payload_type: u8,
    /// The M bit.
    pub(crate) marker: bool,
    /// The leg begins with this packet, or changes to another layer or source with it.
    pub(crate) starts: bool,
    /// It changes.
    pub(crate) switched: bool,
    /// What to write into a VP8 payload; none if it can stay as it is.
    pub(crate) vp8: Option<vp8::Numbers>,
    /// What to write into a VP9 payload; none if it can stay as it is.
    pub(crate) vp9: Option<vp9::Numbers>,
    /// The frame number to write into a dependency descriptor; none if it can stay as it is.
    pub(crate) frame_number: Option<u16>,
    /// What to write into a dependency descriptor: the sub-layers that are left.
    pub(crate) cut: Option<SubLayer>,
    /// The primary encoding of RED leaves alone: the subscriber takes no RED.
    pub(crate) is_unwrapped: bool,
}

impl Leg {
    /// Decides whether and how a packet of `layer` leaves.
    ///
    /// # Errors
    /// [`DropReason::LayerNotSelected`], [`DropReason::NotLoudest`], [`DropReason::AwaitingKeyframe`],
    /// [`DropReason::CodecNotMapped`], [`DropReason::TooLate`] for a packet from before the leg's
    /// beginning, or [`DropReason::PaddingOnly`]: the hole that such a packet
    /// would leave is closed. So it is with a packet of a sub-layer that is not wanted, which is
    /// [`DropReason::LayerNotSelected`] too.
    pub(crate) fn forward(
        &mut self,
        now: Timestamp,
        layer: u8,
        sequence_number: u64,
        packet: &CachedPacket<'_>,
    ) -> Result<Forwarded, DropReason> {
        let source = Source {
            layer,
            stream: packet.stream,
        };
        let Some(mapping) = self.cached_mapping(packet.payload_type) else {
            self.rewriter.skip(source, sequence_number);
            return Err(DropReason::CodecNotMapped);
        };
        if packet.is_padding_only() && self.rewriter.skip(source, sequence_number) {
            return Err(DropReason::PaddingOnly);
        }
        if self.withholds(source, sequence_number, packet) {
            return Err(DropReason::LayerNotSelected);
        }
        let before = self.rewriter.source();
        let rewritten = match self.rewriter.map(source, sequence_number, packet.info) {
            Some(rewritten) => rewritten,
            None => self.start(source, sequence_number, packet)?,
        };
        let starts = before != self.rewriter.source();
        if packet.keyframe && self.kind == MediaKind::Video {
            self.rewriter.follow_keyframe(source, sequence_number);
        }
        self.clock_rate = packet.codec.clock_rate();
        self.last_forwarded_at = Some(now);
        Ok(Forwarded {
            starts,
            switched: starts && before.is_some(),
            ..forwarded(rewritten, mapping, packet.codec)
        })
    }

    /// Starts to forward another source, if this packet is one to start with.
    fn start(
        &mut self,
        source: Source,
        sequence_number: u64,
        packet: &CachedPacket<'_>,
    ) -> Result<Rewritten, DropReason> {
        if self.target != Some(source.layer) {
            return Err(if self.is_outranked {
                DropReason::NotLoudest
            } else {
                DropReason::LayerNotSelected
            });
        }
        // Before the start of what is being forwarded, or in a gap that was cut down: to start with
        // it would be to go back in time. With audio, where one can start with any packet, all
        // that follows would be sent twice. Likewise if the source was interrupted since.
        if self.rewriter.source() == Some(source)
            || self.rewriter.has_left_behind(source, sequence_number)
        {
            return Err(DropReason::TooLate);
        }
        if !packet.keyframe {
            // The layer that is forwarded goes on as another stream.
            self.awaits_keyframe |= self.layer() == Some(source.layer);
            return Err(DropReason::AwaitingKeyframe);
        }
        self.awaits_keyframe = false;
        self.coming = None;
        if let Some(filter) = &mut self.filter {
            filter.start(packet.timestamp, packet.position.as_ref());
            self.rewriter.set_cut(filter.cut());
        }
        Ok(self.rewriter.start(source, sequence_number, packet.info))
    }

    /// Whether the packet is of a sub-layer that the leg does not get; the hole that it leaves is
    /// closed. A late packet is never withheld: its receiver waits for it.
    fn withholds(
        &mut self,
        source: Source,
        sequence_number: u64,
        packet: &CachedPacket<'_>,
    ) -> bool {
        let Some((filter, position)) = self.filter.as_mut().zip(packet.position.as_ref()) else {
            return false;
        };
        if !self.rewriter.is_next(source, sequence_number) {
            return false;
        }
        let Decision { verdict, is_first } = filter.decide(packet.timestamp, position);
        match verdict {
            Verdict::Forward => self.rewriter.set_cut(filter.cut()),
            Verdict::Withhold => self
                .rewriter
                .skip_next(sequence_number, packet.info, is_first),
        }
        verdict == Verdict::Withhold
    }

    /// Whether what leaves now is decoded with this packet, or with what follows it alone.
    pub(super) fn needs(
        &self,
        source: Source,
        sequence_number: u64,
        packet: &CachedPacket<'_>,
    ) -> bool {
        // Nothing waits for a picture of a higher frame rate. For the upper part of a picture its
        // decoder does wait, though such parts are not sent any more.
        let is_extra = self
            .filter
            .as_ref()
            .zip(packet.position.as_ref())
            .is_some_and(|(filter, position)| {
                position.sub_layer.temporal > filter.current().temporal
            });
        !is_extra && self.rewriter.goes_on_with(source, sequence_number)
    }

    fn cached_mapping(&mut self, source_payload_type: u8) -> Option<CodecMapping> {
        if self
            .mapping
            .is_none_or(|mapping| mapping.source_payload_type != source_payload_type)
        {
            self.mapping = self.mapping(source_payload_type).copied();
        }
        self.mapping
    }

    pub(super) fn mapping(&self, source_payload_type: u8) -> Option<&CodecMapping> {
        self.codecs
            .iter()
            .find(|codec| codec.source_payload_type == source_payload_type)
    }
}

/// A packet of a source that goes on.
pub(super) fn forwarded(rewritten: Rewritten, mapping: CodecMapping, codec: Codec) -> Forwarded {
    Forwarded {
        index: rewritten.index,
        timestamp: rewritten.timestamp,
        payload_type: mapping.payload_type,
        marker: rewritten.marker,
        starts: false,
        switched: false,
        vp8: rewritten.vp8,
        vp9: rewritten.vp9,
        frame_number: rewritten.frame_number,
        cut: rewritten.cut,
        is_unwrapped: codec == Codec::Red && mapping.codec != Codec::Red,
    }
}
