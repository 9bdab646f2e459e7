//! What packets carry. The bytes of a payload follow from its place in its track, so that whoever
//! gets a packet can tell which one it is and that no bit of it has changed.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dataplane_core::time::Timestamp;
use shared::protocol::Codec;

use crate::codecs::{self, FrameNumbers};
use crate::rng::mixed;

/// Names one packet of media among all that are published in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// Of the world's tracks.
    pub track: u32,
    /// Which encoding.
    pub layer: u8,
    /// Counts frames of this encoding.
    pub frame: u32,
    /// Counts packets of this frame.
    pub packet: u16,
}

/// What a publisher sent.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// What its payload looks like.
    pub codec: Codec,
    /// Bytes of the payload after what the codec has before it.
    pub body_len: usize,
    /// Whether it belongs to a key frame.
    pub is_key: bool,
    /// The frame of the same encoding that it cannot be decoded without.
    pub reference: Option<u32>,
    /// The M bit.
    pub marker: bool,
    /// What it was sent under.
    pub ssrc: u32,
    /// Extended sequence number.
    pub index: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// When its media was captured.
    pub captured_at: Timestamp,
    /// The numbers of its frame; the picture id is the full one.
    pub numbers: Option<FrameNumbers>,
    /// In pixels, of a picture of 16:9, if the packet says it: the first one of a key frame may.
    pub height: Option<u16>,
    /// The value of its end-to-end header extension, if it has one.
    pub extension: Option<u8>,
}

/// All that was published, by what it carries.
#[derive(Debug, Default)]
pub struct Ledger {
    packets: BTreeMap<Content, Published>,
    by_number: BTreeMap<(u32, u64), Content>,
}

impl Ledger {
    /// Takes note of a packet before it is sent.
    pub fn publish(&mut self, content: Content, published: Published) {
        self.by_number
            .insert((published.ssrc, published.index), content);
        let before = self.packets.insert(content, published);
        assert!(before.is_none(), "the publisher sends each content once");
    }

    /// What was sent as this.
    pub fn get(&self, content: Content) -> Option<&Published> {
        self.packets.get(&content)
    }

    /// The contents that were sent between two numbers of an SSRC, both left out.
    pub fn between(&self, ssrc: u32, after: u64, before: u64) -> Vec<(u64, Content)> {
        let range = self
            .by_number
            .range((ssrc, after + 1)..(ssrc, before.max(after + 1)));
        range
            .map(|((_, index), content)| (*index, *content))
            .collect()
    }

    /// How many packets the frame of this one has.
    pub fn frame_len(&self, of: Content) -> usize {
        let first = Content { packet: 0, ..of };
        let last = Content {
            packet: u16::MAX,
            ..of
        };
        self.packets.range(first..=last).count()
    }

    /// Every packet in the order of their contents.
    pub fn iter(&self) -> impl Iterator<Item = (&Content, &Published)> {
        self.packets.iter()
    }
}

impl Published {
    /// The payload without what the codec has before it.
    pub fn body(&self, content: Content) -> Bytes {
        let mut body = BytesMut::with_capacity(self.body_len);
        body.put_u8(codecs::first_byte(self.codec, self.is_key));
        if let Some(height) = self.height {
            // RFC 6386 §9.1: the rest of the frame tag, the start code, width and height.
            body.put_slice(&[0, 0, 0x9d, 0x01, 0x2a]);
            body.put_u16_le(height / 9 * 16);
            body.put_u16_le(height);
        }
        body.put_slice(MAGIC);
        body.put_u32(content.track);
        body.put_u8(content.layer);
        body.put_u32(content.frame);
        body.put_u16(content.packet);
        let seed = u64::from(content.track) << 40
            ^ u64::from(content.layer) << 56
            ^ u64::from(content.frame) << 12
            ^ u64::from(content.packet);
        let mut word = 0;
        while body.len() + 8 <= self.body_len {
            word += 1;
            body.put_u64(mixed(seed.wrapping_add(word << 48)));
        }
        while body.len() < self.body_len {
            body.put_u8(0x5a);
        }
        body.freeze()
    }
}

/// How many bits of picture id a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureIdWidth {
    /// M bit not set.
    Seven,
    /// M bit set.
    Fifteen,
}

/// Reads what a payload says of itself: its content, the numbers of its frame, and its body.
/// `descriptor` is its dependency descriptor, if it has one.
pub fn read(
    codec: Codec,
    payload: &Bytes,
    descriptor: Option<&[u8]>,
) -> Option<(Content, Option<FrameNumbers>, Bytes)> {
    let (numbers, body) = codecs::read(codec, payload, descriptor)?;
    let mut starts = [1, 1 + SIZE_BYTES].into_iter();
    let rest = starts.find_map(|start| body.get(start..)?.strip_prefix(MAGIC))?;
    let content = Content {
        track: u32::from_be_bytes(*rest.first_chunk()?),
        layer: *rest.get(4)?,
        frame: u32::from_be_bytes(*rest.get(5..)?.first_chunk()?),
        packet: u16::from_be_bytes(*rest.get(9..)?.first_chunk()?),
    };
    Some((content, numbers, body))
}

/// Bytes of the shortest body that does not say how high its picture is.
pub const BODY_BYTES_MIN: usize = 16;

/// Bytes that say it.
pub const SIZE_BYTES: usize = 9;

const MAGIC: &[u8] = b"jack";
