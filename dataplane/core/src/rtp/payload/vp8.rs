//! The VP8 payload descriptor (RFC 7741 §4.2): read, and written with other numbers.
//!
//! ```text
//!       0 1 2 3 4 5 6 7
//!      +-+-+-+-+-+-+-+-+
//!      |X|R|N|S|R| PID |
//!      +-+-+-+-+-+-+-+-+
//! X:   |I|L|T|K|  RSV  |
//!      +-+-+-+-+-+-+-+-+
//! I:   |M| PictureID   |  7 bits, or 15 bits over two bytes if M
//!      +-+-+-+-+-+-+-+-+
//! L:   |   TL0PICIDX   |
//!      +-+-+-+-+-+-+-+-+
//! T/K: |TID|Y| KEYIDX  |
//!      +-+-+-+-+-+-+-+-+
//! ```

/// What a VP8 payload says before its frame data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// S: the payload starts a partition of the frame.
    pub starts_partition: bool,
    /// PID: which partition, 0 being the first.
    pub partition: u8,
    /// N: no other frame refers to this one.
    pub non_reference: bool,
    /// `PictureID`, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// M: the picture id counts modulo 2^15, else modulo 2^7.
    pub picture_id_is_long: bool,
    /// TL0PICIDX: counts the frames of the lowest temporal layer, modulo 2^8.
    pub tl0_picture_index: Option<u8>,
    /// TID, 2 bits.
    pub temporal_layer: Option<u8>,
    /// Y: this frame refers only to the lowest temporal layer. False without a TID.
    pub layer_sync: bool,
    /// KEYIDX: counts key frames, modulo 2^5.
    pub key_index: Option<u8>,
    first: u8,
    length: u8,
}

impl Descriptor {
    /// Reads the descriptor at the start of `payload`; None if the payload ends before it does, or
    /// with it (RFC 7741 §4.2 lets no payload be without frame data).
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: payload };
        let first = reader.byte()?;
        let mut descriptor = Self {
            starts_partition: first & S_BIT != 0,
            partition: first & 0x07,
            non_reference: first & N_BIT != 0,
            first,
            ..Self::default()
        };
        let flags = if first & X_BIT != 0 {
            reader.byte()?
        } else {
            0
        };
        if flags & I_BIT != 0 {
            let high = reader.byte()?;
            descriptor.picture_id_is_long = high & M_BIT != 0;
            let id = u16::from(high & !M_BIT);
            let long = descriptor.picture_id_is_long;
            descriptor.picture_id = Some(if long {
                id << 8 | u16::from(reader.byte()?)
            } else {
                id
            });
        }
        if flags & L_BIT != 0 {
            descriptor.tl0_picture_index = Some(reader.byte()?);
        }
        if flags & (T_BIT | K_BIT) != 0 {
            let byte = reader.byte()?;
            if flags & T_BIT != 0 {
                descriptor.temporal_layer = Some(byte >> 6);
                descriptor.layer_sync = byte & Y_BIT != 0;
            }
            if flags & K_BIT != 0 {
                descriptor.key_index = Some(byte & 0x1f);
            }
        }
        if reader.rest.is_empty() {
            return None;
        }
        descriptor.length = u8::try_from(payload.len() - reader.rest.len()).ok()?;
        Some(descriptor)
    }

    /// Bytes before the frame data: 1 to 6.
    #[expect(clippy::len_without_is_empty, reason = "a descriptor is never empty")]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether this packet is the first of its frame (RFC 7741 §4.2: S is 1 and PID is 0).
    pub const fn starts_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

/// The numbers that [`rewrite`] puts in place of those of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// `PictureID`; its lower 15 bits are written.
    pub picture_id: u16,
    /// TL0PICIDX.
    pub tl0_picture_index: u8,
    /// KEYIDX; its lower 5 bits are written.
    pub key_index: u8,
}

/// Writes `descriptor` at the start of `out` with `numbers` in place of those that it has, and
/// returns the length; None if `out` is too small. A number that the source does not have is not
/// added.
///
/// A picture id is always written with 15 bits: receivers count modulo 2^15, so that the wrap of 7
/// bits looks like a jump back. What is written is thus one byte longer than the source if that
/// has 7 bits, and never longer than [`DESCRIPTOR_BYTES_MAX`].
pub fn rewrite(descriptor: &Descriptor, numbers: &Numbers, out: &mut [u8]) -> Option<usize> {
    let mut flags = 0;
    // The fixed byte and the byte of flags come first; they are known last.
    let mut writer = Writer { at: 2, out };
    if descriptor.picture_id.is_some() {
        flags |= I_BIT;
        let [high, low] = numbers.picture_id.to_be_bytes();
        writer.byte(M_BIT | high)?;
        writer.byte(low)?;
    }
    if descriptor.tl0_picture_index.is_some() {
        flags |= L_BIT;
        writer.byte(numbers.tl0_picture_index)?;
    }
    if descriptor.temporal_layer.is_some() || descriptor.key_index.is_some() {
        let mut byte = 0;
        if let Some(layer) = descriptor.temporal_layer {
            flags |= T_BIT;
            byte |= layer << 6 | if descriptor.layer_sync { Y_BIT } else { 0 };
        }
        if descriptor.key_index.is_some() {
            flags |= K_BIT;
            byte |= numbers.key_index & 0x1f;
        }
        writer.byte(byte)?;
    }
    let length = if flags == 0 { 1 } else { writer.at };
    let mut head = Writer {
        at: 0,
        out: writer.out,
    };
    head.byte(if flags == 0 {
        descriptor.first & !X_BIT
    } else {
        descriptor.first | X_BIT
    })?;
    if flags != 0 {
        head.byte(flags)?;
    }
    Some(length)
}

/// Whether `payload` is the first packet of a key frame: S is 1, PID is 0, and the inverse key
/// frame flag of the VP8 payload header is 0 (RFC 7741 §4.3).
pub fn starts_keyframe(payload: &[u8]) -> bool {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    descriptor.starts_frame()
        && payload
            .get(descriptor.len())
            .is_some_and(|header| header & 0x01 == 0)
}

/// The height in pixels of the key frame that `payload` starts, without the scaling that it may ask
/// for; None if it starts none, or does not say.
///
/// RFC 6386 §9.1: behind the frame tag of 3 bytes stand a start code of 3, and 16 bits each of width
/// and height, the upper 2 of which are the scaling.
pub fn keyframe_height(payload: &[u8]) -> Option<u16> {
    let descriptor = Descriptor::parse(payload).filter(Descriptor::starts_frame)?;
    let frame = payload.get(descriptor.len()..)?.first_chunk::<10>()?;
    let [tag, _, _, 0x9d, 0x01, 0x2a, _, _, low, high] = *frame else {
        return None;
    };
    let height = u16::from_le_bytes([low, high]) & 0x3fff;
    (tag & 0x01 == 0 && height > 0).then_some(height)
}

/// Bytes of the longest descriptor.
pub const DESCRIPTOR_BYTES_MAX: usize = 6;

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

struct Writer<'a> {
    at: usize,
    out: &'a mut [u8],
}

impl Writer<'_> {
    fn byte(&mut self, byte: u8) -> Option<()> {
        *self.out.get_mut(self.at)? = byte;
        self.at += 1;
        Some(())
    }
}

const X_BIT: u8 = 0x80;
const N_BIT: u8 = 0x20;
const S_BIT: u8 = 0x10;
const I_BIT: u8 = 0x80;
const L_BIT: u8 = 0x40;
const T_BIT: u8 = 0x20;
const K_BIT: u8 = 0x10;
const M_BIT: u8 = 0x80;
const Y_BIT: u8 = 0x20;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codecs::vp8::Vp8Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;

    /// First packet of a key frame: X, S; I, L, T, K; long picture id.
    const LONG: [u8; 8] = [0x90, 0xf0, 0x92, 0x34, 0x56, 0x6b, 0x50, 0x01];
    /// The same with a picture id of 7 bits.
    const SHORT: [u8; 7] = [0x90, 0xf0, 0x12, 0x56, 0x6b, 0x50, 0x01];

    const NUMBERS: Numbers = Numbers {
        picture_id: 0x7fff,
        tl0_picture_index: 9,
        key_index: 3,
    };

    #[test]
    fn every_field_is_read() {
        let descriptor = Descriptor::parse(&LONG).unwrap();
        assert!(descriptor.starts_frame());
        assert_eq!(descriptor.picture_id, Some(0x1234));
        assert!(descriptor.picture_id_is_long);
        assert_eq!(descriptor.tl0_picture_index, Some(0x56));
        assert_eq!(descriptor.temporal_layer, Some(1));
        assert!(descriptor.layer_sync);
        assert_eq!(descriptor.key_index, Some(11));
        assert_eq!(descriptor.len(), 6);
    }

    #[test]
    fn a_descriptor_cut_at_any_byte_is_none() {
        for whole in [&LONG[..], &SHORT] {
            let length = Descriptor::parse(whole).unwrap().len();
            for cut in 0..=length {
                assert_eq!(Descriptor::parse(&whole[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn a_key_frame_starts_at_its_first_packet_only() {
        assert!(starts_keyframe(&LONG));
        for (at, value) in [(0, 0x80), (0, 0x91), (6, 0x51)] {
            let mut packet = LONG;
            packet[at] = value;
            assert!(!starts_keyframe(&packet), "byte {at} is {value:#x}");
        }
    }

    /// First packet of a key frame of libvpx, 640 by 360.
    const KEY_FRAME: [u8; 11] = [
        0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01,
    ];

    #[test]
    fn a_key_frame_says_how_high_it_is() {
        assert_eq!(keyframe_height(&KEY_FRAME), Some(360));
        let behind = [&LONG[..6], &KEY_FRAME[1..], &[0; 3]].concat();
        assert_eq!(keyframe_height(&behind), Some(360));
        // To be shown twice as high.
        let mut scaled = KEY_FRAME;
        scaled[10] |= 0xc0;
        assert_eq!(keyframe_height(&scaled), Some(360));
    }

    #[test]
    fn what_is_not_the_start_of_a_whole_key_frame_header_has_no_height() {
        // A later partition, a delta frame, another start code, a height of zero.
        for (at, value) in [(0, 0x11), (0, 0x00), (1, 0x11), (4, 0x9c), (9, 0x00)] {
            let mut packet = KEY_FRAME;
            packet[at] = value;
            packet[10] &= if at == 9 { 0 } else { 0xff };
            assert_eq!(keyframe_height(&packet), None, "byte {at} is {value:#x}");
        }
        for cut in 0..KEY_FRAME.len() {
            assert_eq!(keyframe_height(&KEY_FRAME[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_rewritten_descriptor_has_the_new_numbers_and_the_old_flags() {
        let mut out = [0; DESCRIPTOR_BYTES_MAX];
        let old = Descriptor::parse(&LONG).unwrap();
        assert_eq!(rewrite(&old, &NUMBERS, &mut out), Some(6));
        assert_eq!(out, [0x90, 0xf0, 0xff, 0xff, 9, 0x63]);
    }

    #[test]
    fn a_short_picture_id_grows_by_one_byte() {
        let mut out = [0; DESCRIPTOR_BYTES_MAX];
        let old = Descriptor::parse(&SHORT).unwrap();
        assert_eq!(old.len(), 5);
        assert_eq!(rewrite(&old, &NUMBERS, &mut out), Some(6));
        assert_eq!(out, [0x90, 0xf0, 0xff, 0xff, 9, 0x63]);
    }

    #[test]
    fn a_descriptor_without_numbers_stays_one_byte() {
        let mut out = [0; DESCRIPTOR_BYTES_MAX];
        let old = Descriptor::parse(&[0x35, 1]).unwrap();
        assert_eq!(rewrite(&old, &NUMBERS, &mut out), Some(1));
        assert_eq!(out[0], 0x35);
    }

    #[test]
    fn a_buffer_too_small_for_the_descriptor_is_told() {
        let old = Descriptor::parse(&LONG).unwrap();
        for length in 0..6 {
            assert_eq!(
                rewrite(&old, &NUMBERS, &mut [0; 6][..length]),
                None,
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_rtp_crate_reads_the_same(payload in proptest::collection::vec(any::<u8>(), 1..12)) {
            let mut theirs = Vp8Packet::default();
            let data = theirs.depacketize(&Bytes::copy_from_slice(&payload));
            if let (Some(ours), Ok(data)) = (Descriptor::parse(&payload), data) {
                prop_assert_eq!(ours.len(), payload.len() - data.len());
                prop_assert_eq!(ours.picture_id.unwrap_or(0), theirs.picture_id);
                prop_assert_eq!(ours.tl0_picture_index.unwrap_or(0), theirs.tl0_pic_idx);
                prop_assert_eq!(ours.temporal_layer.unwrap_or(0), theirs.tid);
                prop_assert_eq!(ours.layer_sync, theirs.y == 1);
                prop_assert_eq!(ours.key_index.unwrap_or(0), theirs.key_idx);
            }
        }

        #[test]
        fn what_is_rewritten_reads_back(
            payload in proptest::collection::vec(any::<u8>(), 1..12),
            picture_id in 0_u16..0x8000,
            tl0_picture_index: u8,
            key_index in 0_u8..32,
        ) {
            let Some(old) = Descriptor::parse(&payload) else { return Ok(()) };
            let numbers = Numbers { picture_id, tl0_picture_index, key_index };
            let mut out = [1; DESCRIPTOR_BYTES_MAX + 1];
            let length = rewrite(&old, &numbers, &mut out).unwrap();
            let new = Descriptor::parse(&out[..=length]).unwrap();
            prop_assert_eq!(new.len(), length);
            prop_assert_eq!(new.picture_id, old.picture_id.map(|_| picture_id));
            prop_assert_eq!(new.picture_id_is_long, old.picture_id.is_some());
            prop_assert_eq!(new.tl0_picture_index, old.tl0_picture_index.map(|_| tl0_picture_index));
            prop_assert_eq!(new.key_index, old.key_index.map(|_| key_index));
            prop_assert_eq!(new.temporal_layer, old.temporal_layer);
            prop_assert_eq!(new.layer_sync, old.layer_sync);
            prop_assert_eq!(new.starts_frame(), old.starts_frame());
            prop_assert_eq!(new.non_reference, old.non_reference);
        }
    }
}
