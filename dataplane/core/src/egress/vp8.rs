//! Keeping the numbers of a VP8 stream continuous when its source changes (RFC 7741 §4.2).
//!
//! A receiver counts frames by their picture ids, and finds references by TL0PICIDX. Another
//! encoding of the same track counts from somewhere else, and a frame of a temporal layer that is
//! withheld must not be missed, so each span has its own differences.

use crate::ingress::packet_info::Vp8Position;
use crate::rtp::payload::vp8::Numbers;

/// What is added to the numbers of a source throughout one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vp8Deltas {
    /// Modulo 2^15.
    picture_id: u16,
    /// Modulo 2^8.
    tl0_picture_index: u8,
    /// Modulo 2^5.
    key_index: u8,
    /// A picture that is withheld, by its own id. What comes late of it, to fill a hole, takes the
    /// number of the picture before, so that receivers drop it as a repeat: parts of a picture must
    /// not pass for all of it, nor take a number away from another one.
    withheld: Option<u16>,
}

impl Vp8Deltas {
    /// The differences with which `position`, the key frame that starts a span, follows `last`.
    pub(crate) fn following(last: LastVp8, position: &Vp8Position) -> Self {
        let own = position.descriptor;
        Self {
            picture_id: last.picture_id.map_or(0, |last| {
                last.wrapping_add(1).wrapping_sub(position.picture_id) & PICTURE_ID_MASK
            }),
            tl0_picture_index: match (last.tl0_picture_index, own.tl0_picture_index) {
                (Some(last), Some(own)) => last.wrapping_add(1).wrapping_sub(own),
                _ => 0,
            },
            key_index: match (last.key_index, own.key_index) {
                (Some(last), Some(own)) => last.wrapping_add(1).wrapping_sub(own) & KEY_INDEX_MASK,
                _ => 0,
            },
            withheld: None,
        }
    }

    /// The differences for what precedes the first packet that came of a picture that is withheld,
    /// that of `position`. Some of that may be of the same picture.
    pub(crate) fn withholding(self, position: &Vp8Position) -> Self {
        Self {
            withheld: Some(position.picture_id),
            ..self
        }
    }

    /// The differences for what follows the first packet that came of a picture that is withheld: the
    /// next picture takes its number.
    pub(crate) fn without_picture(self) -> Self {
        Self {
            picture_id: self.picture_id.wrapping_sub(1) & PICTURE_ID_MASK,
            withheld: None,
            ..self
        }
    }

    /// The numbers that a packet leaves with. A function of its arguments alone.
    pub(crate) fn apply(self, position: &Vp8Position) -> Numbers {
        let own = position.descriptor;
        let tl0_picture_index = own.tl0_picture_index.unwrap_or_default();
        let key_index = own.key_index.unwrap_or_default();
        let back = u16::from(self.withheld == Some(position.picture_id));
        let picture_id = position.picture_id.wrapping_add(self.picture_id);
        Numbers {
            picture_id: picture_id.wrapping_sub(back) & PICTURE_ID_MASK,
            tl0_picture_index: tl0_picture_index.wrapping_add(self.tl0_picture_index),
            key_index: key_index.wrapping_add(self.key_index) & KEY_INDEX_MASK,
        }
    }

    /// The numbers to write in place of the packet's own; none if it can stay as it is.
    pub(crate) fn patch(self, position: &Vp8Position) -> Option<Numbers> {
        let own = position.descriptor;
        let is_short = own.picture_id.is_some() && !own.picture_id_is_long;
        (is_short || self != Self::default()).then(|| self.apply(position))
    }
}

/// The numbers of the newest frame that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastVp8 {
    picture_id: Option<u16>,
    tl0_picture_index: Option<u8>,
    key_index: Option<u8>,
}

impl LastVp8 {
    /// Takes note of a packet that leaves in order.
    pub(crate) fn follow(&mut self, deltas: Vp8Deltas, position: &Vp8Position) {
        let numbers = deltas.apply(position);
        let own = position.descriptor;
        if own.picture_id.is_some() {
            self.picture_id = Some(numbers.picture_id);
        }
        if own.tl0_picture_index.is_some() {
            self.tl0_picture_index = Some(numbers.tl0_picture_index);
        }
        if own.key_index.is_some() {
            self.key_index = Some(numbers.key_index);
        }
    }
}

const PICTURE_ID_MASK: u16 = 0x7fff;
const KEY_INDEX_MASK: u8 = 0x1f;
