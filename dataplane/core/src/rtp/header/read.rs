//! Reads the headers of packets that came in.

use shared::counters::DropReason;

use super::{EXTENSION_BIT, FIXED_BYTES, Form, PADDING_BIT, VERSION};

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
