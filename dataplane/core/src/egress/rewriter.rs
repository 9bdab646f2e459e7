//! Sequence numbers, timestamps and frame numbers of a leg: continuous for its receiver, whatever
//! happens to its source.
//!
//! # The mapping is a pure function
//!
//! The numbers of a leg are cut into *spans*. In a span, everything comes from one stream of one
//! layer, and each number that leaves is a number that came plus a difference that is fixed when
//! the span begins. No two spans share an outgoing number. So a packet that is sent again is the
//! same to the last bit, however much later, or it is not sent at all. **That is a matter of
//! security**: a packet sent again under its first SRTP index uses the same nonce, and AES-GCM and
//! AES-CM lose their secrecy if another content is sealed with it.

mod span;
mod timeline;

use std::collections::VecDeque;

use self::span::Span;
use self::timeline::Timeline;
use super::frame_numbers::{FrameDeltas, LastFrame};
use super::vp8::{LastVp8, Vp8Deltas};
use crate::ingress::packet_info::PacketInfo;
use crate::ingress::sub_layers::SubLayer;
use crate::rtp::payload::{vp8, vp9};
use crate::rtp::seq::nearest;

/// Where packets come from: numbers and timestamps of one source are one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Index into the layers of the publication.
    pub(crate) layer: u8,
    /// [`PacketInfo::stream`].
    pub(crate) stream: u32,
}

/// The numbers that a packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// Our extended sequence number, which is the SRTP index.
    pub(crate) index: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
    /// The M bit.
    pub(crate) marker: bool,
    /// What to write into a VP8 payload; none if it can stay as it is.
    pub(crate) vp8: Option<vp8::Numbers>,
    /// What to write into a VP9 payload; none if it can stay as it is.
    pub(crate) vp9: Option<vp9::Numbers>,
    /// What to write into a dependency descriptor; none if it can stay as it is.
    pub(crate) frame_number: Option<u16>,
    /// The sub-layers that the receiver gets, if it is to be told of them.
    pub(crate) cut: Option<SubLayer>,
}

/// The numbers of one leg.
#[derive(Debug)]
pub(crate) struct Rewriter {
    current: Option<Span>,
    /// Of the current source: the newest number that was forwarded or skipped.
    highest_in: u64,
    /// Of the current source: the newest key frame, for which nothing is needed that came before.
    keyframe_in: u64,
    /// The next number of ours.
    next_index: u64,
    /// The highest number of ours that has left.
    highest_index: Option<u64>,
    timeline: Timeline,
    vp8: LastVp8,
    frames: LastFrame,
    /// For the next packet.
    cut: Option<SubLayer>,
    /// Spans that were left, oldest first: [`SPANS_MAX`] places, which are made when the first one
    /// is left. Many legs never leave any.
    left: VecDeque<Span>,
}

impl Rewriter {
    /// A rewriter whose first packet leaves with `first_index`.
    pub(crate) fn new(first_index: u64) -> Self {
        Self {
            current: None,
            highest_in: 0,
            keyframe_in: 0,
            next_index: first_index,
            highest_index: None,
            timeline: Timeline::default(),
            vp8: LastVp8::default(),
            frames: LastFrame::default(),
            cut: None,
            left: VecDeque::new(),
        }
    }

    /// What is being forwarded.
    pub(crate) fn source(&self) -> Option<Source> {
        self.current.map(|span| span.source)
    }

    /// What is added to the timestamps of the current source.
    pub(crate) fn timestamp_delta(&self) -> Option<u32> {
        self.current.map(|span| span.timestamp_delta)
    }

    /// The timestamp of the newest frame that left, as the current source has it.
    pub(crate) fn newest_timestamp(&self) -> Option<u32> {
        let (newest, span) = self.timeline.newest().zip(self.current)?;
        Some(newest.wrapping_sub(span.timestamp_delta))
    }

    /// Whether this packet is ahead of all of the current source that were forwarded or skipped.
    pub(crate) fn is_next(&self, source: Source, sequence_number: u64) -> bool {
        self.source() == Some(source) && sequence_number > self.highest_in
    }

    /// Whether this source was left and what came after this packet belonged to it then. To start
    /// with it would be to send all of that a second time.
    pub(crate) fn has_left_behind(&self, source: Source, sequence_number: u64) -> bool {
        let mut left = self.left.iter();
        left.any(|span| span.source == source && sequence_number <= span.last_in)
    }

    /// A key frame begins with this packet.
    pub(crate) fn follow_keyframe(&mut self, source: Source, sequence_number: u64) {
        if self.source() == Some(source) {
            self.keyframe_in = self.keyframe_in.max(sequence_number);
        }
    }

    /// Whether this packet is of the current source, and not from before its newest key frame.
    pub(crate) fn goes_on_with(&self, source: Source, sequence_number: u64) -> bool {
        self.source() == Some(source) && sequence_number >= self.keyframe_in
    }

    /// From the next packet on, the receiver gets these sub-layers and is told so.
    pub(crate) fn set_cut(&mut self, cut: Option<SubLayer>) {
        self.cut = cut;
    }

    /// The numbers of a packet that belongs to a span: the next one of the current source, or a
    /// late one of any span. None if it belongs to none: another source, before the start of a span
    /// or after its end.
    pub(crate) fn map(
        &mut self,
        source: Source,
        sequence_number: u64,
        info: &PacketInfo,
    ) -> Option<Rewritten> {
        if let Some(span) = self.current
            && span.source == source
            && sequence_number > self.highest_in
        {
            let span = self.span_after_gap(span, sequence_number);
            let span = self.span_with_cut(span, sequence_number);
            return Some(self.advance(span, sequence_number, info));
        }
        let span = self.span_of(source, sequence_number)?;
        let rewritten = span.rewrite(sequence_number, info);
        self.highest_index = self.highest_index.max(Some(rewritten.index));
        // What overtook it may have been dropped on purpose. Then the next source follows this one.
        let follows = self.source().is_none_or(|current| current == source);
        if follows && self.timeline.follow(rewritten.timestamp, info) {
            self.follow_frame(span, info);
        }
        Some(rewritten)
    }

    /// Starts a span with this packet: its source is the current one from now on.
    pub(crate) fn start(
        &mut self,
        source: Source,
        sequence_number: u64,
        info: &PacketInfo,
    ) -> Rewritten {
        self.leave(self.highest_in);
        self.take_back_unsent();
        self.keyframe_in = sequence_number;
        let span = Span {
            source,
            first_in: sequence_number,
            last_in: u64::MAX,
            first_index: self.next_index,
            timestamp_delta: self.timeline.delta(info, self.delta_before_pause(source)),
            vp8: info
                .vp8
                .map(|position| Vp8Deltas::following(self.vp8, &position))
                .unwrap_or_default(),
            frames: FrameDeltas::following(self.frames, info),
            cut: self.cut,
        };
        self.current = Some(span);
        self.advance(span, sequence_number, info)
    }

    /// A packet of the current source is dropped on purpose: the next one takes its place. Returns
    /// false if that place cannot be closed any more, since newer packets have left: then the
    /// packet must be forwarded after all, or its receiver would ask for it for ever.
    pub(crate) fn skip(&mut self, source: Source, sequence_number: u64) -> bool {
        let Some(span) = self.current.filter(|span| span.source == source) else {
            return true;
        };
        if sequence_number <= self.highest_in {
            return self.span_of(source, sequence_number).is_none();
        }
        let span = self.span_after_gap(span, sequence_number);
        let next = self.divide(span, sequence_number);
        self.current = Some(Span {
            first_in: sequence_number + 1,
            ..next
        });
        self.highest_in = sequence_number;
        self.next_index = next.first_index;
        true
    }

    /// The next packet of the current source is skipped since its layer is not wanted. With the
    /// first one that came of a picture, the next picture takes the number of that, too.
    pub(crate) fn skip_next(
        &mut self,
        sequence_number: u64,
        info: &PacketInfo,
        is_first_of_picture: bool,
    ) {
        let Some(span) = self.current else {
            return;
        };
        let begun = info.vp8.filter(|_| is_first_of_picture);
        if let Some(position) = begun {
            // Nothing has left yet of what is missing before it.
            let hole = self.divide(span, self.highest_in + 1);
            self.current = Some(Span {
                vp8: hole.vp8.withholding(&position),
                ..hole
            });
        }
        self.skip(span.source, sequence_number);
        if begun.is_some()
            && let Some(span) = &mut self.current
        {
            // Nothing has left with this span yet.
            span.vp8 = span.vp8.without_picture();
        }
    }

    /// What was sent with this sequence number: the source, and its number there. None for numbers
    /// that were not used yet, or whose span is forgotten.
    pub(crate) fn reverse(&self, sequence_number: u16) -> Option<(Source, u64, u64)> {
        let newest = self.next_index.checked_sub(1)?;
        self.reverse_index(nearest::<16>(newest, u64::from(sequence_number)))
    }

    fn reverse_index(&self, index: u64) -> Option<(Source, u64, u64)> {
        let current = self.current.map(|span| Span {
            last_in: self.highest_in,
            ..span
        });
        let mut spans = current.iter().chain(self.left.iter().rev());
        let span = spans.find(|span| span.covers_index(index))?;
        Some((
            span.source,
            span.first_in + (index - span.first_index),
            index,
        ))
    }

    /// Where the packet came from that left last, or `back` packets before that one, and its number
    /// there.
    pub(crate) fn newest_but(&self, back: u64) -> Option<(Source, u64)> {
        let index = self.highest_index?.checked_sub(back)?;
        let (source, number, _) = self.reverse_index(index)?;
        Some((source, number))
    }

    /// The current source goes on no more; another packet of it may start a span of its own.
    pub(crate) fn interrupt(&mut self) {
        self.leave(self.highest_in);
    }

    /// Forgets all sources: another publication feeds the leg from now on, whose numbers have
    /// nothing to do with those of the one before. What leaves stays continuous.
    pub(crate) fn forget_sources(&mut self) {
        self.current = None;
        self.left.clear();
    }

    /// `span`, or if the packets missing before `sequence_number` are too many to be a hole, a new
    /// one in which they are [`HOLE_MAX`]: receivers take a jump of half a cycle for one back.
    fn span_after_gap(&mut self, span: Span, sequence_number: u64) -> Span {
        if sequence_number - self.highest_in - 1 <= HOLE_MAX {
            return span;
        }
        self.leave(self.highest_in);
        let first_index = self.next_index + HOLE_MAX;
        let span = Span {
            first_in: sequence_number,
            first_index,
            ..span
        };
        self.current = Some(span);
        span
    }

    /// `span`, or if something else is to be told to the receiver from `sequence_number` on, a new
    /// one with the same differences.
    fn span_with_cut(&mut self, span: Span, sequence_number: u64) -> Span {
        if span.cut == self.cut {
            return span;
        }
        let next = self.divide(span, sequence_number);
        let span = Span {
            cut: self.cut,
            ..next
        };
        self.current = Some(span);
        span
    }

    /// Ends `span`, the current one, before `sequence_number`, and returns one that goes on there in
    /// the same way.
    fn divide(&mut self, span: Span, sequence_number: u64) -> Span {
        let first_index = span.index_of(sequence_number);
        if sequence_number > span.first_in {
            self.leave(sequence_number - 1);
        }
        Span {
            first_in: sequence_number,
            first_index,
            ..span
        }
    }

    /// The current span ends with the number `last_in`. One that has forwarded nothing is not kept.
    fn leave(&mut self, last_in: u64) {
        let Some(span) = self.current.take() else {
            return;
        };
        if last_in < span.first_in {
            return;
        }
        if self.left.is_empty() {
            self.left.reserve_exact(SPANS_MAX);
        }
        if self.left.len() >= SPANS_MAX {
            self.left.pop_front();
        }
        self.left.push_back(Span { last_in, ..span });
    }

    /// Takes back the numbers kept for packets that were lost before a skipped one, if nothing has
    /// left behind them: a frame of the source before must not come between it and the next. They
    /// were never used, so they may mean something else from now on.
    fn take_back_unsent(&mut self) {
        let Some(highest_index) = self.highest_index else {
            return;
        };
        self.next_index = highest_index + 1;
        self.left.retain(|span| span.first_index <= highest_index);
        if let Some(span) = self.left.back_mut() {
            let last_in = span.first_in + (highest_index - span.first_index);
            span.last_in = span.last_in.min(last_in);
        }
    }

    /// Forwards the newest packet of the current span.
    fn advance(&mut self, span: Span, sequence_number: u64, info: &PacketInfo) -> Rewritten {
        let rewritten = span.rewrite(sequence_number, info);
        self.highest_in = sequence_number;
        self.next_index = rewritten.index + 1;
        self.highest_index = self.highest_index.max(Some(rewritten.index));
        self.timeline.follow(rewritten.timestamp, info);
        self.follow_frame(span, info);
        rewritten
    }

    /// Takes note of the numbers of the newest frame.
    fn follow_frame(&mut self, span: Span, info: &PacketInfo) {
        if let Some(position) = &info.vp8 {
            self.vp8.follow(span.vp8, position);
        }
        self.frames.follow(span.frames, info);
    }

    /// What was added to the timestamps of a source, if it was the last one before this.
    fn delta_before_pause(&self, source: Source) -> Option<u32> {
        let before = self.left.back().filter(|span| span.source == source);
        Some(before?.timestamp_delta)
    }

    /// The span that a packet belongs to which is not the newest.
    fn span_of(&self, source: Source, sequence_number: u64) -> Option<Span> {
        let current = self.current.map(|span| Span {
            last_in: self.highest_in,
            ..span
        });
        let mut spans = current.iter().chain(self.left.iter().rev());
        spans
            .find(|span| span.source == source && span.covers(sequence_number))
            .copied()
    }
}

/// Spans that are remembered: 3 KiB for a leg. Older ones cannot be answered for any more. A leg
/// that gets every second picture of 60 a second leaves 30 spans in that time, so this is two
/// seconds.
pub(crate) const SPANS_MAX: usize = 64;

/// The longest hole that is handed on to the receiver: what a cache can fill. A longer one is cut
/// down to this, so that the receiver still sees that something is missing.
pub(crate) const HOLE_MAX: u64 = 1024;

const _: () = assert!(
    HOLE_MAX < 1 << 15,
    "a receiver must take it for a jump ahead"
);

#[cfg(test)]
mod tests;
