//! What payloads of each codec look like: where frames and key frames begin, and the numbers of
//! frames. Those of AV1 stand in a dependency descriptor beside the payload.

use bytes::{BufMut, Bytes, BytesMut};
use rtp::codecs::vp8::Vp8Packet;
use rtp::codecs::vp9::Vp9Packet;
use rtp::packetizer::Depacketizer;
use shared::protocol::Codec;

use crate::content::{Content, PictureIdWidth, Published};

/// The numbers by which a receiver puts frames in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNumbers {
    /// The picture id of VP8 and VP9, 15 bits; the frame number of AV1, 16 bits.
    pub picture: u16,
    /// TL0PICIDX, of VP8 and VP9.
    pub base: Option<u8>,
    /// Temporal layer.
    pub temporal_layer: u8,
}

/// Whether every second frame of a codec is of an upper temporal layer.
pub fn has_temporal_layers(codec: Codec) -> bool {
    matches!(codec, Codec::Vp8 | Codec::Vp9)
}

/// What of a picture number counts.
pub fn picture_mask(codec: Codec) -> u16 {
    if codec == Codec::Av1 {
        u16::MAX
    } else {
        0x7fff
    }
}

/// What a payload begins with, before its body.
pub fn head(published: &Published, content: Content, width: PictureIdWidth) -> Bytes {
    let is_first = content.packet == 0;
    let mut head = BytesMut::new();
    match (published.codec, published.numbers) {
        (Codec::Vp8, Some(numbers)) => {
            // X, and S on the first packet of a frame; then I, L, T (RFC 7741 §4.2).
            head.put_u8(if is_first { 0x90 } else { 0x80 });
            head.put_u8(0xe0);
            put_picture_id(&mut head, numbers.picture, width);
            head.put_u8(numbers.base.unwrap_or_default());
            head.put_u8(numbers.temporal_layer << 6);
        }
        (Codec::Vp9, Some(numbers)) => {
            // I, L; P but in key frames; B and E at both ends of a frame (RFC 9628 §4.2).
            let predicted = if published.is_key { 0 } else { 0x40 };
            let begins = if is_first { 0x08 } else { 0 };
            let ends = if published.marker { 0x04 } else { 0 };
            head.put_u8(0xa0 | predicted | begins | ends);
            put_picture_id(&mut head, numbers.picture, width);
            head.put_u8(numbers.temporal_layer << 5);
            head.put_u8(numbers.base.unwrap_or_default());
        }
        (Codec::Av1, _) => {
            // Z and Y: one OBU over all packets of a frame. N: a new sequence (§4.4).
            let goes_on = if is_first { 0 } else { 0x80 };
            let continues = if published.marker { 0 } else { 0x40 };
            let new = if is_first && published.is_key {
                0x08
            } else {
                0
            };
            head.put_u8(0x10 | goes_on | continues | new);
        }
        (Codec::H264, _) => {
            // FU-A: one slice over all packets of a frame, of an IDR picture or of another one
            // (RFC 6184 §5.8). Parameters would say how high the picture is, which is not known here.
            let place = match (is_first, published.marker) {
                (true, _) => 0x80,
                (false, true) => 0x40,
                (false, false) => 0,
            };
            head.put_slice(&[0x7c, place | if published.is_key { 5 } else { 1 }]);
        }
        _ => {}
    }
    head.freeze()
}

/// The first byte of a body.
pub fn first_byte(codec: Codec, is_key: bool) -> u8 {
    match (codec, is_key) {
        // first_mb_in_slice is 0 (H.264 §7.3.3, §9.1).
        (Codec::H264, _) => 0x88,
        // The lowest bit of a VP8 frame header is zero in a key frame (RFC 7741 §4.3).
        (_, true) => 0x10,
        (_, false) => 0x11,
    }
}

/// The dependency descriptor of a packet: one layer, with its structure on the first packet of key
/// frames (RTP Payload Format for AV1, §A.8).
pub fn dependency_descriptor(published: &Published, content: Content) -> Option<Bytes> {
    let numbers = published
        .numbers
        .filter(|_| published.codec == Codec::Av1)?;
    let starts = if content.packet == 0 { 0x80 } else { 0 };
    let ends = if published.marker { 0x40 } else { 0 };
    let template = u8::from(!published.is_key);
    let mut descriptor = BytesMut::new();
    descriptor.put_u8(starts | ends | template);
    descriptor.put_u16(numbers.picture);
    if published.is_key && content.packet == 0 {
        descriptor.put_slice(&STRUCTURE);
    }
    Some(descriptor.freeze())
}

/// Reads what a payload and its dependency descriptor say: numbers, and where the body starts.
pub fn read(
    codec: Codec,
    payload: &Bytes,
    descriptor: Option<&[u8]>,
) -> Option<(Option<FrameNumbers>, Bytes)> {
    match codec {
        Codec::Vp8 => {
            let mut packet = Vp8Packet::default();
            let body = packet.depacketize(payload).ok()?;
            let numbers = FrameNumbers {
                picture: packet.picture_id,
                base: Some(packet.tl0_pic_idx),
                temporal_layer: packet.tid,
            };
            Some((Some(numbers), body))
        }
        Codec::Vp9 => {
            let mut packet = Vp9Packet::default();
            let body = packet.depacketize(payload).ok()?;
            let numbers = FrameNumbers {
                picture: packet.picture_id,
                base: Some(packet.tl0picidx),
                temporal_layer: packet.tid,
            };
            Some((Some(numbers), body))
        }
        Codec::Av1 => {
            let number = descriptor?.get(1..3)?.first_chunk()?;
            let numbers = FrameNumbers {
                picture: u16::from_be_bytes(*number),
                base: None,
                temporal_layer: 0,
            };
            Some((Some(numbers), payload.slice_ref(payload.get(1..)?)))
        }
        Codec::H264 => Some((None, payload.slice_ref(payload.get(2..)?))),
        Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::H265 => {
            Some((None, payload.clone()))
        }
    }
}

fn put_picture_id(head: &mut BytesMut, id: u16, width: PictureIdWidth) {
    match width {
        PictureIdWidth::Seven => head.put_u8((id & 0x7f) as u8),
        PictureIdWidth::Fifteen => head.put_u16(id | 0x8000),
    }
}

/// The flag of a structure, and one of a single decode target with two templates: a key frame, and
/// a frame that refers to the one before. A chain protects it.
const STRUCTURE: [u8; 6] = [0x80, 0x00, 0x3a, 0x41, 0x01, 0x00];
