//! RTP headers (RFC 3550 §5.1) and header extensions in both forms of RFC 8285.

use shared::counters::DropReason;

/// The header of a packet that came in: a view that keeps numbers, not bytes.
///
/// What it needs the bytes for, it asks for again; always give it the packet that it was parsed
/// from. SRTP leaves the header in the clear, so this works before a packet is opened too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The M bit: for video, the last packet of a frame.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// Modulo 2^16.
    pub sequence_number: u16,
    /// In units of the codec's clock rate, modulo 2^32.
    pub timestamp: u32,
    /// Who sent it.
    pub ssrc: u32,
    padded: bool,
    csrc_count: u8,
    form: Form,
    length: u32,
}

impl RtpHeader {
    /// Reads the header at the start of `packet`.
    ///
    /// # Errors
    ///
    /// [`RtpError::Truncated`] if the fixed header, the CSRCs or the extension block do not fit
    /// into the packet, [`RtpError::Version`] if it is not version 2.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let (fixed, rest) = packet
            .split_first_chunk::<FIXED_BYTES>()
            .ok_or(RtpError::Truncated)?;
        let [flags, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != VERSION {
            return Err(RtpError::Version);
        }
        let csrc_count = flags & 0x0f;
        let after_csrcs = rest
            .get(usize::from(csrc_count) * 4..)
            .ok_or(RtpError::Truncated)?;
        let mut length = u32::from(csrc_count) * 4 + 12;
        let mut form = Form::None;
        if flags & EXTENSION_BIT != 0 {
            let (prefix, block) = after_csrcs
                .split_first_chunk::<4>()
                .ok_or(RtpError::Truncated)?;
            let [p0, p1, w0, w1] = *prefix;
            let words = u16::from_be_bytes([w0, w1]);
            if block.len() < usize::from(words) * 4 {
                return Err(RtpError::Truncated);
            }
            form = Form::of_profile(u16::from_be_bytes([p0, p1]));
            length += 4 + u32::from(words) * 4;
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence_number: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            padded: flags & PADDING_BIT != 0,
            csrc_count,
            form,
            length,
        })
    }

    /// Bytes before the payload: fixed header, CSRCs and extension block.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// The header extensions of `packet` as (id, data), in their order. An element whose length
    /// lies ends the iteration (RFC 8285 §4.2 and §4.3).
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let start = FIXED_BYTES + usize::from(self.csrc_count) * 4 + 4;
        let rest = match self.form {
            Form::OneByte | Form::TwoByte => packet.get(start..self.len()).unwrap_or_default(),
            Form::None => &[],
        };
        Extensions {
            rest,
            form: self.form,
        }
    }

    /// The payload of an opened packet, without padding. It is empty if there is only padding.
    ///
    /// # Errors
    ///
    /// [`RtpError::Padding`] if the padding does not count itself or is longer than what follows
    /// the header (RFC 3550 §5.1), [`RtpError::Truncated`] if `packet` is shorter than the header.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], RtpError> {
        let body = packet.get(self.len()..).ok_or(RtpError::Truncated)?;
        if !self.padded {
            return Ok(body);
        }
        // The last byte counts the padding, itself included.
        match body.last() {
            None | Some(0) => Err(RtpError::Padding),
            Some(&count) => body
                .len()
                .checked_sub(usize::from(count))
                .and_then(|length| body.get(..length))
                .ok_or(RtpError::Padding),
        }
    }
}

/// The header extensions of one packet: (id, data). Made by [`RtpHeader::extensions`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Extensions<'a> {
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        // RFC 8285 §4.1: bytes of zero between elements are padding, in both forms.
        let skipped = self.rest.iter().position(|&byte| byte != 0)?;
        let (&first, rest) = self.rest.get(skipped..)?.split_first()?;
        let (id, length, rest) = match self.form {
            // RFC 8285 §4.2: id 15, and id 0 with a length, end the whole extension.
            Form::OneByte if matches!(first >> 4, 0 | 15) => return None,
            Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, rest),
            Form::TwoByte => {
                let (&length, rest) = rest.split_first()?;
                (first, usize::from(length), rest)
            }
            Form::None => return None,
        };
        let (data, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((id, data))
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.element();
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

/// A header that we write: no CSRCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingHeader {
    /// The P bit: padding follows the payload.
    pub padded: bool,
    /// The M bit.
    pub marker: bool,
    /// 7 bits; the eighth is cut off.
    pub payload_type: u8,
    /// Modulo 2^16.
    pub sequence_number: u16,
    /// In units of the codec's clock rate, modulo 2^32.
    pub timestamp: u32,
    /// Who sends it.
    pub ssrc: u32,
}

impl OutgoingHeader {
    /// Writes the header and `extensions`, pairs of id and data, at the start of `out` and returns
    /// its length. None if `out` is too small; what stands in `out` is arbitrary then.
    ///
    /// The one-byte form is taken if all elements fit it (ids 1 to 14, 1 to 16 bytes), else the
    /// two-byte form. An element that fits neither (id 0, or more than 255 bytes) is left out.
    /// Without elements there is no extension block.
    #[expect(
        single_use_lifetimes,
        reason = "stable Rust cannot elide it in `impl Trait`"
    )]
    pub fn write<'a>(
        &self,
        extensions: impl Iterator<Item = (u8, &'a [u8])> + Clone,
        out: &mut [u8],
    ) -> Option<usize> {
        let (fixed, rest) = out.split_first_chunk_mut::<FIXED_BYTES>()?;
        let block = write_extensions(extensions, rest)?;
        let [s0, s1] = self.sequence_number.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let extended = if block > 0 { EXTENSION_BIT } else { 0 };
        let padded = if self.padded { PADDING_BIT } else { 0 };
        let flags = VERSION << 6 | extended | padded;
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        *fixed = [flags, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        Some(FIXED_BYTES + block)
    }
}

/// Why RTP cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Shorter than what it announces.
    Truncated,
    /// Not RTP version 2.
    Version,
    /// Padding of zero bytes, or of more bytes than there are.
    Padding,
}

impl From<RtpError> for DropReason {
    fn from(error: RtpError) -> Self {
        match error {
            RtpError::Truncated | RtpError::Version => Self::RtpMalformed,
            RtpError::Padding => Self::RtpPadding,
        }
    }
}

/// How the elements of an extension block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// No block, or one of a profile that we do not know.
    None,
    OneByte,
    TwoByte,
}

impl Form {
    fn of_profile(profile: u16) -> Self {
        match profile {
            PROFILE_ONE_BYTE => Self::OneByte,
            // RFC 8285 §4.3: the last four bits are "appbits" and mean nothing to us.
            _ if profile & 0xfff0 == PROFILE_TWO_BYTE => Self::TwoByte,
            _ => Self::None,
        }
    }

    /// Bytes of the element, or None if it cannot be said in this form.
    fn element_bytes(self, id: u8, data: &[u8]) -> Option<usize> {
        match self {
            Self::OneByte if matches!(id, 1..=14) && matches!(data.len(), 1..=16) => {
                Some(1 + data.len())
            }
            Self::TwoByte if id != 0 && data.len() <= 255 => Some(2 + data.len()),
            Self::None | Self::OneByte | Self::TwoByte => None,
        }
    }
}

/// Writes the whole block with its prefix and returns its length, which is 0 without elements.
#[expect(
    single_use_lifetimes,
    reason = "stable Rust cannot elide it in `impl Trait`"
)]
fn write_extensions<'a>(
    extensions: impl Iterator<Item = (u8, &'a [u8])> + Clone,
    out: &mut [u8],
) -> Option<usize> {
    // Nearly all blocks are of the one-byte form, so that one is tried at once.
    match write_block(Form::OneByte, extensions.clone(), out)? {
        Block::Written(length) => Some(length),
        Block::TooSmallForm => match write_block(Form::TwoByte, extensions, out)? {
            Block::Written(length) => Some(length),
            Block::TooSmallForm => None,
        },
    }
}

/// What came of writing a block.
enum Block {
    /// It has so many bytes.
    Written(usize),
    /// An element fits the two-byte form only.
    TooSmallForm,
}

/// Writes a block in one pass. None if `out` is too small.
#[expect(
    single_use_lifetimes,
    reason = "stable Rust cannot elide it in `impl Trait`"
)]
fn write_block<'a>(
    form: Form,
    extensions: impl Iterator<Item = (u8, &'a [u8])>,
    out: &mut [u8],
) -> Option<Block> {
    let mut at = 0;
    for (id, data) in extensions {
        if Form::TwoByte.element_bytes(id, data).is_none() {
            continue;
        }
        if form.element_bytes(id, data).is_none() {
            return Some(Block::TooSmallForm);
        }
        at += write_element(form, id, data, out.get_mut(4 + at..)?)?;
    }
    if at == 0 {
        return Some(Block::Written(0));
    }
    let (prefix, block) = out.split_first_chunk_mut::<4>()?;
    let words = at.div_ceil(4);
    block.get_mut(at..words * 4)?.fill(0);
    let profile = if form == Form::OneByte {
        PROFILE_ONE_BYTE
    } else {
        PROFILE_TWO_BYTE
    };
    let [p0, p1] = profile.to_be_bytes();
    let [w0, w1] = u16::try_from(words).ok()?.to_be_bytes();
    *prefix = [p0, p1, w0, w1];
    Some(Block::Written(4 + words * 4))
}

fn write_element(form: Form, id: u8, data: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = form.element_bytes(id, data)?;
    let (head, tail) = out
        .get_mut(..length)?
        .split_at_mut_checked(length - data.len())?;
    let count = u8::try_from(data.len()).ok()?;
    match head {
        [one] => *one = id << 4 | count.checked_sub(1)?,
        [first, second] => (*first, *second) = (id, count),
        _ => return None,
    }
    tail.copy_from_slice(data);
    Some(length)
}

const VERSION: u8 = 2;
const FIXED_BYTES: usize = 12;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const PROFILE_ONE_BYTE: u16 = 0xbede;
const PROFILE_TWO_BYTE: u16 = 0x1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtp::header::{Extension, Header};
    use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

    use super::*;

    /// Flags and extension block as given, everything else fixed.
    fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![flags, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0xca, 0xfe, 0xba, 0xbe];
        packet.extend_from_slice(rest);
        packet
    }

    fn extensions(rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let packet = packet(0x90, rest);
        let header = RtpHeader::parse(&packet).unwrap();
        header
            .extensions(&packet)
            .map(|(id, data)| (id, data.to_vec()))
            .collect()
    }

    #[test]
    fn the_fixed_fields_are_read() {
        let header = RtpHeader::parse(&packet(0x80, &[])).unwrap();
        assert!(header.marker);
        assert_eq!(header.payload_type, 0x60);
        assert_eq!(header.sequence_number, 0x1234);
        assert_eq!(header.timestamp, 9);
        assert_eq!(header.ssrc, 0xcafe_babe);
        assert_eq!(header.len(), 12);
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(RtpHeader::parse(&packet(0x40, &[])), Err(RtpError::Version));
    }

    #[test]
    fn a_header_cut_at_any_byte_is_refused() {
        let whole = packet(
            0x92,
            &[0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0],
        );
        assert!(RtpHeader::parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(
                RtpHeader::parse(&whole[..length]),
                Err(RtpError::Truncated),
                "{length}"
            );
        }
    }

    #[test]
    fn an_extension_block_longer_than_the_packet_is_refused() {
        let packet = packet(0x90, &[0xbe, 0xde, 0xff, 0xff, 0x10, 7, 0, 0]);
        assert_eq!(RtpHeader::parse(&packet), Err(RtpError::Truncated));
    }

    #[test]
    fn csrcs_are_skipped() {
        let packet = packet(0x82, &[0, 0, 0, 1, 0, 0, 0, 2, 0x55]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), Ok(&[0x55][..]));
    }

    #[test]
    fn one_byte_elements_are_read_around_padding() {
        let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0, 0, 0x21, 8, 9, 0]);
        assert_eq!(found, [(1, vec![7]), (2, vec![8, 9])]);
    }

    #[test]
    fn id_15_ends_the_one_byte_form() {
        // RFC 8285 §4.2.
        let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0xf0, 1, 0x20, 8, 0, 0]);
        assert_eq!(found, [(1, vec![7])]);
    }

    #[test]
    fn id_0_with_a_length_ends_the_one_byte_form() {
        // RFC 8285 §4.2.
        let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0x02, 1, 1, 1, 0x20, 8]);
        assert_eq!(found, [(1, vec![7])]);
    }

    #[test]
    fn an_element_longer_than_the_block_is_left_out() {
        assert_eq!(
            extensions(&[0xbe, 0xde, 0, 1, 0x10, 7, 0x2f, 8]),
            [(1, vec![7])]
        );
        assert_eq!(extensions(&[0x10, 0, 0, 1, 1, 200, 7, 8]), []);
    }

    #[test]
    fn two_byte_elements_are_read_whatever_the_appbits() {
        // RFC 8285 §4.3.
        let found = extensions(&[0x10, 0x0a, 0, 2, 1, 0, 0, 200, 3, 7, 8, 9]);
        assert_eq!(found, [(1, vec![]), (200, vec![7, 8, 9])]);
    }

    #[test]
    fn a_block_of_an_unknown_profile_is_skipped() {
        let packet = packet(0x90, &[0xab, 0xac, 0, 1, 0x10, 7, 0, 0, 0x55]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).count(), 0);
        assert_eq!(header.payload(&packet), Ok(&[0x55][..]));
    }

    #[test]
    fn padding_is_cut_off() {
        let packet = packet(0xa0, &[1, 2, 3, 0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), Ok(&[1, 2, 3][..]));
    }

    #[test]
    fn padding_as_long_as_the_body_leaves_nothing() {
        let packet = packet(0xa0, &[0, 0, 0, 4]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), Ok(&[][..]));
    }

    #[test]
    fn padding_that_lies_is_an_error() {
        for body in [&[][..], &[1, 2, 0], &[1, 2, 4], &[255]] {
            let packet = packet(0xa0, body);
            let header = RtpHeader::parse(&packet).unwrap();
            assert_eq!(header.payload(&packet), Err(RtpError::Padding), "{body:?}");
        }
    }

    #[test]
    fn padding_never_reaches_into_the_extension_block() {
        let packet = packet(0xb0, &[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 2]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), Err(RtpError::Padding));
    }

    #[test]
    fn an_element_that_no_form_can_say_is_left_out() {
        let long = [0; 256];
        let header = outgoing();
        let mut out = [0; 400];
        let elements = [(0, &[1][..]), (1, &long[..])];
        assert_eq!(header.write(elements.into_iter(), &mut out), Some(12));
        assert_eq!(out[0], 0x80);
    }

    #[test]
    fn a_buffer_too_small_is_told() {
        let elements = [(3, &[1, 2, 3][..]), (4, &[5][..])];
        let mut out = [0; 24];
        assert_eq!(outgoing().write(elements.into_iter(), &mut out), Some(24));
        for length in 0..24 {
            assert_eq!(
                outgoing().write(elements.into_iter(), &mut out[..length]),
                None
            );
        }
    }

    fn outgoing() -> OutgoingHeader {
        OutgoingHeader {
            padded: false,
            marker: true,
            payload_type: 96,
            sequence_number: 5,
            timestamp: 6,
            ssrc: 7,
        }
    }

    fn elements(ids: u8, bytes: usize) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        proptest::collection::btree_map(
            1..=ids,
            proptest::collection::vec(any::<u8>(), 1..=bytes),
            0..6,
        )
        .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_we_write_the_rtp_crate_reads(
            padded: bool,
            marker: bool,
            payload_type in 0_u8..128,
            sequence_number: u16,
            timestamp: u32,
            ssrc: u32,
            (short, long, one_byte) in (elements(14, 16), elements(255, 60), any::<bool>()),
        ) {
            let elements = if one_byte { short } else { long };
            let header = OutgoingHeader { padded, marker, payload_type, sequence_number, timestamp, ssrc };
            let mut out = [0xaa; 600];
            let pairs = elements.iter().map(|(id, data)| (*id, data.as_slice()));
            let length = header.write(pairs, &mut out).unwrap();
            let theirs = Header::unmarshal(&mut &out[..length]).unwrap();
            prop_assert_eq!(theirs.padding, padded);
            prop_assert_eq!(theirs.marker, marker);
            prop_assert_eq!(theirs.payload_type, payload_type);
            prop_assert_eq!(theirs.sequence_number, sequence_number);
            prop_assert_eq!(theirs.timestamp, timestamp);
            prop_assert_eq!(theirs.ssrc, ssrc);
            prop_assert_eq!(theirs.marshal_size(), length);
            prop_assert_eq!(theirs.extensions.len(), elements.len());
            for (id, data) in &elements {
                let found = theirs.get_extension(*id);
                prop_assert_eq!(found.as_deref(), Some(data.as_slice()));
            }
        }

        #[test]
        fn what_the_rtp_crate_writes_we_read(
            marker: bool,
            payload_type in 0_u8..128,
            sequence_number: u16,
            timestamp: u32,
            ssrc: u32,
            csrc in proptest::collection::vec(any::<u32>(), 0..=15),
            one_byte: bool,
            elements in elements(14, 16),
        ) {
            let extension_profile = if one_byte { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE };
            let theirs = Header {
                version: 2,
                extension: !elements.is_empty(),
                extension_profile,
                extensions: elements
                    .iter()
                    .map(|(id, data)| Extension { id: *id, payload: data.clone().into() })
                    .collect(),
                marker,
                payload_type,
                sequence_number,
                timestamp,
                ssrc,
                csrc,
                ..Header::default()
            };
            let mut packet = theirs.marshal().unwrap().to_vec();
            let length = packet.len();
            packet.extend_from_slice(&[1, 2, 3]);
            let header = RtpHeader::parse(&packet).unwrap();
            prop_assert_eq!(header.len(), length);
            prop_assert_eq!(header.payload(&packet).unwrap(), &[1, 2, 3]);
            prop_assert_eq!(header.marker, marker);
            prop_assert_eq!(header.payload_type, payload_type);
            prop_assert_eq!(header.sequence_number, sequence_number);
            prop_assert_eq!(header.timestamp, timestamp);
            prop_assert_eq!(header.ssrc, ssrc);
            let found: Vec<_> =
                header.extensions(&packet).map(|(id, data)| (id, data.to_vec())).collect();
            prop_assert_eq!(found, elements);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            packet in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            if let Ok(header) = RtpHeader::parse(&packet) {
                prop_assert!(header.len() <= packet.len());
                prop_assert!(header.extensions(&packet).count() <= packet.len());
                if let Ok(payload) = header.payload(&packet) {
                    prop_assert!(payload.len() <= packet.len() - header.len());
                }
            }
        }
    }
}
