//! One leg: what it consists of, and what is known of it.

use arrayvec::ArrayVec;
use shared::id::PublicationId;
use shared::limits::CODECS_MAX;
use shared::protocol::{CodecMapping, Extension, Hints, MediaKind, SubscribeParameters};

use super::control::Allowance;
use super::extension_ids::ExtensionIds;
use super::keyframe_budget::KeyframeBudget;
use super::layer_filter::LayerFilter;
use super::report::LegReports;
use super::rewriter::Rewriter;
use super::rtx::Repeater;
use super::selector::Selector;
use super::statistics::LegStatistics;
use super::turns::Coming;
use crate::time::Timestamp;

/// What one subscriber gets of one publication.
#[derive(Debug)]
pub(crate) struct Leg {
    // What every packet touches.
    pub(super) ssrc: u32,
    pub(super) target: Option<u8>,
    /// The forwarded layer has become another stream, whose key frame is to come.
    pub(super) awaits_keyframe: bool,
    /// What to start with: it has come and waits for its turn to leave.
    pub(super) coming: Option<Coming>,
    pub(super) clock_rate: u32,
    pub(super) rewriter: Rewriter,
    pub(super) reports: LegReports,
    pub(super) extension_ids: ExtensionIds,
    /// The subscriber's id for transport-wide sequence numbers.
    number_id: Option<u8>,
    /// The one of `codecs` that the last packet was of: nearly always the next one's too.
    pub(super) mapping: Option<CodecMapping>,
    pub(super) last_forwarded_at: Option<Timestamp>,
    /// Made when the leg is to get less of a stream for the first time.
    pub(super) filter: Option<Box<LayerFilter>>,
    // What only some do. It lies elsewhere, so that many legs' decisions fit the caches.
    pub(super) codecs: Box<ArrayVec<CodecMapping, CODECS_MAX>>,
    pub(super) repeater: Repeater,
    pub(crate) statistics: Box<LegStatistics>,
    pub(super) selector: Selector,
    pub(super) hints: Hints,
    pub(super) allowance: Allowance,
    keyframe_budget: KeyframeBudget,
    /// Nothing is to leave, since others are louder.
    pub(super) is_outranked: bool,
    pub(super) kind: MediaKind,
    pub(super) source: PublicationId,
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
            keyframe_budget: KeyframeBudget::default(),
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

    /// Whether what the path carries can be told by this leg: it is large, and each packet has a
    /// number.
    pub(crate) fn is_measured(&self) -> bool {
        self.kind == MediaKind::Video && self.number_id.is_some()
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
        if self
            .coming
            .is_some_and(|coming| coming.source.layer == target)
        {
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

    /// Whether the subscriber may have one made now, which counts.
    pub(crate) fn spend_keyframe(&mut self, now: Timestamp) -> bool {
        self.keyframe_budget.spend(now)
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
