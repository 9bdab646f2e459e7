//! What is fixed from one switch of a leg to the next.

use super::{Rewritten, Source};
use crate::egress::frame_numbers::FrameDeltas;
use crate::egress::vp8::Vp8Deltas;
use crate::ingress::packet_info::PacketInfo;
use crate::ingress::sub_layers::SubLayer;

/// A run of numbers with fixed differences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) source: Source,
    pub(super) first_in: u64,
    /// Inclusive; the highest of all while this is the current span.
    pub(super) last_in: u64,
    pub(super) first_index: u64,
    pub(super) timestamp_delta: u32,
    pub(super) vp8: Vp8Deltas,
    pub(super) frames: FrameDeltas,
    pub(super) cut: Option<SubLayer>,
}

impl Span {
    /// Depends on nothing but the span and the packet: see the documentation of [`super`].
    pub(super) fn rewrite(&self, sequence_number: u64, info: &PacketInfo) -> Rewritten {
        Rewritten {
            index: self.index_of(sequence_number),
            timestamp: info.timestamp.wrapping_add(self.timestamp_delta),
            marker: info.marker || self.ends_picture(info),
            cut: self.cut,
            vp8: info.vp8.and_then(|position| self.vp8.patch(&position)),
            vp9: self.frames.vp9(info),
            frame_number: self.frames.frame_number(info),
        }
    }

    /// Whether the packet ends its picture as it leaves, since what follows of that is withheld
    /// (RFC 9628 §4.1; RTP Payload Format for AV1, §4.2).
    fn ends_picture(&self, info: &PacketInfo) -> bool {
        self.cut.zip(info.position).is_some_and(|(cut, position)| {
            position.ends_frame && position.sub_layer.spatial == cut.spatial
        })
    }

    /// Our number of a packet.
    pub(super) fn index_of(&self, sequence_number: u64) -> u64 {
        self.first_index + (sequence_number - self.first_in)
    }

    /// Whether the packet of this number belongs to it.
    pub(super) fn covers(&self, sequence_number: u64) -> bool {
        (self.first_in..=self.last_in).contains(&sequence_number)
    }

    /// Whether this number of ours does.
    pub(super) fn covers_index(&self, index: u64) -> bool {
        self.last_in >= self.first_in
            && (self.first_index..=self.index_of(self.last_in)).contains(&index)
    }
}
