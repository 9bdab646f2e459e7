//! Keeping the numbers of frames continuous when the source of a leg changes, for VP9
//! (RFC 9628 §4.2) and for whatever has a dependency descriptor (RTP Payload Format for AV1, §A.8).
//!
//! Frames refer to each other by differences of these numbers, so unlike those of VP8
//! ([`super::vp8`]) they are never closed up where a frame is withheld: all frames of a source get
//! the same difference. A receiver takes a number that goes back for an old frame, and drops it.

use crate::ingress::packet_info::PacketInfo;
use crate::rtp::payload::vp9::Numbers;

/// What is added to the numbers of a source throughout one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameDeltas {
    /// Of VP9, modulo 2^15.
    picture_id: u16,
    /// Of VP9, modulo 2^8.
    tl0_picture_index: u8,
    /// Of the dependency descriptor, modulo 2^16.
    frame_number: u16,
}

impl FrameDeltas {
    /// The differences with which `info`, of the key frame that starts a span, follows `last`.
    pub(crate) fn following(last: LastFrame, info: &PacketInfo) -> Self {
        let own = info.vp9.unwrap_or_default();
        Self {
            picture_id: match (last.picture_id, own.picture_id) {
                (Some(last), Some(own)) => last.wrapping_add(1).wrapping_sub(own) & PICTURE_ID_MASK,
                _ => 0,
            },
            tl0_picture_index: match (last.tl0_picture_index, own.tl0_picture_index) {
                (Some(last), Some(own)) => last.wrapping_add(1).wrapping_sub(own),
                _ => 0,
            },
            frame_number: match (last.frame_number, info.frame_number) {
                (Some(last), Some(own)) => last.wrapping_add(1).wrapping_sub(own),
                _ => 0,
            },
        }
    }

    /// The numbers to write into a VP9 payload in place of its own; none if it can stay as it is.
    /// A function of its arguments alone.
    pub(crate) fn vp9(self, info: &PacketInfo) -> Option<Numbers> {
        let own = info.vp9?;
        if (self.picture_id, self.tl0_picture_index) == (0, 0) {
            return None;
        }
        Some(Numbers {
            picture_id: own
                .picture_id
                .map(|id| id.wrapping_add(self.picture_id) & PICTURE_ID_MASK),
            tl0_picture_index: own
                .tl0_picture_index
                .map(|index| index.wrapping_add(self.tl0_picture_index)),
        })
    }

    /// The number to write into a dependency descriptor in place of its own; none if it can stay as
    /// it is. A function of its arguments alone.
    pub(crate) fn frame_number(self, info: &PacketInfo) -> Option<u16> {
        let own = info.frame_number.filter(|_| self.frame_number != 0)?;
        Some(own.wrapping_add(self.frame_number))
    }
}

/// The numbers of the newest frame that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastFrame {
    picture_id: Option<u16>,
    tl0_picture_index: Option<u8>,
    frame_number: Option<u16>,
}

impl LastFrame {
    /// Takes note of a packet that leaves in order.
    pub(crate) fn follow(&mut self, deltas: FrameDeltas, info: &PacketInfo) {
        if let Some(numbers) = deltas.vp9(info).or(info.vp9) {
            self.picture_id = numbers.picture_id.or(self.picture_id);
            self.tl0_picture_index = numbers.tl0_picture_index.or(self.tl0_picture_index);
        }
        let frame_number = deltas.frame_number(info).or(info.frame_number);
        self.frame_number = frame_number.or(self.frame_number);
    }
}

const PICTURE_ID_MASK: u16 = 0x7fff;
