//! One leg: decides what of a publication leaves, and with which numbers.

use arrayvec::ArrayVec;
use shared::counters::DropReason;
use shared::id::PublicationId;
use shared::limits::CODECS_MAX;
use shared::protocol::{
    Codec, CodecMapping, Extension, Hints, LayerSelection, MediaKind, SubscribeParameters,
};

use super::layer_filter::{Decision, LayerFilter, Verdict};
use super::report::LegReports;
use super::rewriter::{Rewriter, Rewritten, Source};
use super::rtx::Repeater;
use super::selector::Selector;
use super::statistics::LegStatistics;
use crate::ingress::CachedPacket;
use crate::ingress::sub_layers::SubLayer;
use crate::rtp::payload::{vp8, vp9};
use crate::time::Timestamp;

/// What one subscriber gets of one publication.
#[derive(Debug)]
pub(crate) struct Leg {
    // What every packet touches.
    pub(super) ssrc: u32,
    pub(super) target: Option<u8>,
    /// The forwarded layer has become another stream, whose key frame is to come.
    pub(super) awaits_keyframe: bool,
    /// The source to start with, whose key frame has come and waits for its turn to leave.
    pub(super) coming: Option<Source>,
    pub(super) clock_rate: u32,
    pub(super) rewriter: Rewriter,
    pub(super) reports: LegReports,
    pub(super) extension_ids: ExtensionIds,
    /// The subscriber's id for transport-wide sequence numbers.
    number_id: Option<u8>,
    /// The one of `codecs` that the last packet was of: nearly always the next one's too.
    pub(super) mapping: Option<CodecMapping>,
    last_forwarded_at: Option<Timestamp>,
    /// Made when the leg is to get less of a stream for the first time.
    pub(super) filter: Option<Box<LayerFilter>>,
    // What only some do. It lies elsewhere, so that many legs' decisions fit the caches.
    pub(super) codecs: Box<ArrayVec<CodecMapping, CODECS_MAX>>,
    pub(super) repeater: Repeater,
    pub(crate) statistics: Box<LegStatistics>,
    pub(super) selector: Selector,
    pub(super) hints: Hints,
    pub(super) allowance: Allowance,
    /// Nothing is to leave, since others are louder.
    pub(super) is_outranked: bool,
    kind: MediaKind,
    source: PublicationId,
}

/// What a packet is to a leg, before anything is decided: [`Leg::part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It goes on with what leaves, or with what waits to.
    Next,
    /// The key frame that is waited for: another source begins with it.
    Beginning,
    /// It is of a source that ends, since the next one's key frame waits already.
    Former,
    /// Nothing that leaves in order: another layer's, or late.
    None,
}

/// Which layer the path to the subscriber has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Whatever it wants: nobody estimates the path, or the leg keeps to one layer.
    #[default]
    Unlimited,
    /// This one.
    Layer(u8),
    /// None.
    Nothing,
}

/// Where a leg's numbers begin; from the caller's random source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// Of the media. The upper bit is not used: the roll-over counter (RFC 3711 §3.3.1) must not
    /// move while a receiver that lost the first packets still guesses it.
    pub(crate) sequence_number: u16,
    /// Of retransmissions; likewise.
    pub(crate) rtx_sequence_number: u16,
}

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
    /// A leg that has not been fed yet. The parameters are within their limits; what exceeds them
    /// is left out.
    pub(crate) fn new(parameters: &SubscribeParameters, start: Start) -> Self {
        Self {
            ssrc: parameters.ssrc,
            target: None,
            awaits_keyframe: false,
            coming: None,
            clock_rate: 0,
            rewriter: Rewriter::new(first_index(start.sequence_number)),
            reports: LegReports::default(),
            extension_ids: ExtensionIds::new(parameters),
            number_id: number_id(parameters),
            mapping: None,
            last_forwarded_at: None,
            filter: None,
            codecs: Box::new(parameters.codecs.iter().copied().take(CODECS_MAX).collect()),
            repeater: Repeater::new(
                parameters.kind,
                parameters.rtx_ssrc,
                first_index(start.rtx_sequence_number),
            ),
            statistics: Box::default(),
            selector: Selector::new(parameters.selection),
            hints: parameters.hints,
            allowance: Allowance::default(),
            is_outranked: false,
            kind: parameters.kind,
            source: parameters.source,
        }
    }

    /// What the media leaves under.
    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What retransmissions leave under, if they have an SSRC of their own.
    pub(crate) fn rtx_ssrc(&self) -> Option<u32> {
        self.repeater.ssrc()
    }

    /// The id under which each packet carries its transport-wide sequence number; none if the
    /// subscriber does not tell when packets come.
    pub(crate) fn number_id(&self) -> Option<u8> {
        self.number_id
    }

    /// Audio or video.
    pub(crate) fn kind(&self) -> MediaKind {
        self.kind
    }

    /// The layer that is being forwarded.
    pub(crate) fn layer(&self) -> Option<u8> {
        self.rewriter.source().map(|source| source.layer)
    }

    /// When a packet was forwarded last.
    pub(crate) fn last_forwarded_at(&self) -> Option<Timestamp> {
        self.last_forwarded_at
    }

    /// The figures of this leg.
    pub(crate) fn reports(&self) -> &LegReports {
        &self.reports
    }

    /// The layer whose key frame this leg waits for; it is to be asked for until that has come.
    pub(crate) fn wants_keyframe(&self) -> Option<u8> {
        let target = self.target.filter(|_| self.kind == MediaKind::Video)?;
        if self.coming.is_some_and(|coming| coming.layer == target) {
            return None;
        }
        let filter = self.filter.as_ref();
        let waits = self.awaits_keyframe
            || self.layer() != Some(target)
            || filter.is_some_and(|filter| filter.needs_keyframe());
        waits.then_some(target)
    }

    /// The layer of which the subscriber needs a key frame when it asks for one (PLI, FIR): what it
    /// is to get, else what it gets.
    pub(crate) fn keyframe_layer(&self) -> Option<u8> {
        self.target.or_else(|| self.layer())
    }

    /// What there is room for from now on; [`Self::select`] comes next. Without any, nothing leaves
    /// from here on, and what comes after begins with a key frame.
    pub(crate) fn set_allowance(&mut self, allowance: Allowance) {
        if allowance == Allowance::Nothing && self.allowance != allowance {
            self.interrupt();
        }
        self.allowance = allowance;
    }

    /// Whether others are so much louder that nothing of this is to leave; [`Self::select`] comes
    /// next. Returns whether that is new. What comes after goes on with the next number.
    pub(crate) fn set_outranked(&mut self, is_outranked: bool) -> bool {
        let is_new = self.is_outranked != is_outranked;
        self.is_outranked = is_outranked;
        if is_new && is_outranked {
            self.interrupt();
        }
        is_new
    }

    /// Whether others are louder.
    pub(crate) fn is_outranked(&self) -> bool {
        self.is_outranked
    }

    /// Packets that were to leave did not: nothing more of this source does before a key frame.
    pub(crate) fn interrupt(&mut self) {
        self.coming = None;
        self.rewriter.interrupt();
    }

    /// Nothing more leaves of what is forwarded, if the leg is to get another layer: it goes on with
    /// the key frame of that. Returns whether there was something to leave.
    pub(crate) fn leave_former(&mut self) -> bool {
        let is_another = |layer| self.target.is_some_and(|target| target != layer);
        let leaves = self.coming.is_none() && self.layer().is_some_and(is_another);
        if leaves {
            self.interrupt();
        }
        leaves
    }

    /// Whether packets of this layer that wait may still leave.
    pub(crate) fn awaits(&self, layer: u8) -> bool {
        self.target
            .is_some_and(|target| target == layer || self.layer() == Some(layer))
    }

    /// What a packet is to the leg, should it have to wait before it leaves.
    pub(crate) fn part(&self, layer: u8, packet: &CachedPacket<'_>) -> Part {
        let source = Source {
            layer,
            stream: packet.stream,
        };
        let goes_on = self.rewriter.source() == Some(source);
        match self.coming {
            Some(coming) if coming == source => Part::Next,
            Some(_) if goes_on => Part::Former,
            None if goes_on => Part::Next,
            _ if self.target == Some(layer) && packet.keyframe => Part::Beginning,
            _ => Part::None,
        }
    }

    /// The key frame with which another source starts waits for its turn: the source before ends
    /// here.
    pub(crate) fn expect(&mut self, layer: u8, packet: &CachedPacket<'_>) {
        self.coming = Some(Source {
            layer,
            stream: packet.stream,
        });
    }

    /// Whether [`Self::resubscribe`] with these would change anything.
    pub(crate) fn is_fed_as(
        &self,
        source: PublicationId,
        codecs: &[CodecMapping],
        selection: &LayerSelection,
    ) -> bool {
        self.source == source
            && self.codecs.as_slice() == codecs
            && self.selector.selection() == selection
    }

    /// Feeds the leg from `source` from now on, or from another of its layers; [`Self::select`]
    /// comes next. What leaves stays continuous; another publication's video begins with a key
    /// frame, until which nothing leaves.
    pub(crate) fn resubscribe(
        &mut self,
        source: PublicationId,
        codecs: &[CodecMapping],
        selection: LayerSelection,
    ) {
        self.allowance = Allowance::Unlimited;
        let codecs: ArrayVec<_, CODECS_MAX> = codecs.iter().copied().take(CODECS_MAX).collect();
        // Other payload types would make repeated packets differ from the first ones.
        if source != self.source || codecs != *self.codecs {
            self.rewriter.forget_sources();
            self.selector.forget_target();
            self.target = None;
            self.awaits_keyframe = false;
            self.coming = None;
        }
        self.source = source;
        *self.codecs = codecs;
        self.mapping = None;
        self.selector.set_selection(selection);
    }

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
        // that follows would be sent twice.
        if self.rewriter.source() == Some(source) {
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

/// The subscriber's id for each end-to-end header extension, by the extension's own number.
///
/// The mid extension is not carried: the server's descriptions announce each SSRC (`a=ssrc`), so a
/// receiver needs no mid to know whose packet it is (RFC 8843 §9.2), and it would cost eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtensionIds([u8; EXTENSION_KINDS]);

impl ExtensionIds {
    fn new(parameters: &SubscribeParameters) -> Self {
        let mut ids = [0; EXTENSION_KINDS];
        for mapping in &parameters.extensions {
            if let Some(id) = ids.get_mut(mapping.extension as usize)
                && mapping.extension.is_end_to_end()
            {
                *id = mapping.id;
            }
        }
        Self(ids)
    }

    /// None if the subscriber did not negotiate it.
    pub(super) fn id(&self, extension: Extension) -> Option<u8> {
        self.0
            .get(extension as usize)
            .copied()
            .filter(|id| *id != 0)
    }
}

/// A packet that is sent again plainly would carry another number, and so be another one under the
/// same SRTP index (RFC 3711 §9.1). So video that cannot be repeated as RTX has no numbers; audio is
/// not repeated where it has.
fn number_id(parameters: &SubscribeParameters) -> Option<u8> {
    let wanted = Extension::TransportWideSequenceNumber;
    let mut extensions = parameters.extensions.iter();
    let mapping = extensions.find(|mapping| mapping.extension == wanted)?;
    let can_repeat = parameters.kind == MediaKind::Audio || parameters.rtx_ssrc.is_some();
    can_repeat.then_some(mapping.id)
}

/// RFC 3711 §3.3.1: the roll-over counter starts at zero.
fn first_index(sequence_number: u16) -> u64 {
    u64::from(sequence_number & 0x7fff)
}

/// Kinds of header extensions that there are.
const EXTENSION_KINDS: usize = Extension::AbsoluteCaptureTime as usize + 1;
