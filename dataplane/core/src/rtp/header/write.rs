//! Writes the headers of packets that leave.

use super::{
    EXTENSION_BIT, FIXED_BYTES, Form, PADDING_BIT, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE, VERSION,
};

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
