//! Feedback messages: NACK, PLI (RFC 4585 §6), FIR (RFC 5104 §4.3.1) and REMB.

use core::iter::FusedIterator;

use super::cursor::{Cursor, Reader};
use super::goodbye::Sources;
use super::packet::{PAYLOAD_FEEDBACK, Packet, RtcpError};

/// The sequence numbers that a NACK asks for: of each entry first PID, then those that follow it
/// (RFC 4585 §6.2.1). At most 17 for every four bytes of the packet.
#[derive(Clone, Debug)]
pub struct LostNumbers<'a> {
    rest: &'a [u8],
    /// The next number that `following` is about.
    next: u16,
    /// Bit 0 stands for `next`.
    following: u32,
}

impl<'a> LostNumbers<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            next: 0,
            following: 0,
        }
    }

    /// How many numbers there are, without reading them one by one.
    pub(super) fn total(&self) -> usize {
        let (entries, _) = self.rest.as_chunks();
        let of_entry = |[_, _, b0, b1]: &[u8; 4]| 1 + b0.count_ones() + b1.count_ones();
        entries.iter().map(|entry| of_entry(entry) as usize).sum()
    }
}

impl Iterator for LostNumbers<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.following == 0 {
            let (&[p0, p1, b0, b1], rest) = self.rest.split_first_chunk()?;
            self.rest = rest;
            self.next = u16::from_be_bytes([p0, p1]);
            self.following = u32::from(u16::from_be_bytes([b0, b1])) << 1 | 1;
        }
        let skipped = self.following.trailing_zeros();
        let number = self.next.wrapping_add(u16::try_from(skipped).ok()?);
        self.following >>= skipped + 1;
        self.next = number.wrapping_add(1);
        Some(number)
    }
}

impl FusedIterator for LostNumbers<'_> {}

/// The entries of a FIR: (SSRC, number of the request). A number that was seen before is a
/// repetition of the same request (RFC 5104 §4.3.1.1).
#[derive(Clone, Debug)]
pub struct FullIntraRequests<'a> {
    rest: &'a [u8],
}

impl Iterator for FullIntraRequests<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        let (&[s0, s1, s2, s3, number, _, _, _], rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some((u32::from_be_bytes([s0, s1, s2, s3]), number))
    }
}

impl FusedIterator for FullIntraRequests<'_> {}

/// Payload-specific feedback of the given format (RFC 4585 §6.3).
pub(super) fn parse_payload_feedback(
    format: u8,
    mut reader: Reader<'_>,
) -> Result<Packet<'_>, RtcpError> {
    let sender = reader.u32()?;
    let media = reader.u32()?;
    match format {
        FORMAT_PICTURE_LOSS => Ok(Packet::PictureLossIndication { sender, media }),
        FORMAT_FULL_INTRA => Ok(Packet::FullIntraRequest {
            sender,
            entries: FullIntraRequests { rest: reader.rest },
        }),
        FORMAT_APPLICATION if reader.rest.starts_with(REMB) => {
            reader.u32()?;
            let count = reader.u8()?;
            // Six bits of exponent, eighteen of mantissa.
            let bits = reader.u24()?;
            let bitrate = u128::from(bits & 0x3_ffff) << (bits >> 18);
            Ok(Packet::ReceiverEstimatedMaximumBitrate {
                sender,
                bitrate: u64::try_from(bitrate).unwrap_or(u64::MAX),
                sources: Sources::parse(count, reader)?,
            })
        }
        _ => Ok(Packet::Other {
            packet_type: PAYLOAD_FEEDBACK,
            count: format,
        }),
    }
}

/// Writes `numbers`, which ascend (modulo 2^16), as pairs of PID and BLP.
pub(super) fn write_lost_numbers(mut numbers: &[u16], cursor: &mut Cursor<'_>) -> Option<()> {
    while let Some((&first, mut rest)) = numbers.split_first() {
        let mut following = 0_u16;
        while let Some((&number, after)) = rest.split_first() {
            match number.wrapping_sub(first) {
                0 => {}
                distance @ 1..=16 => following |= 1 << (distance - 1),
                _ => break,
            }
            rest = after;
        }
        cursor.u16(first)?;
        cursor.u16(following)?;
        numbers = rest;
    }
    Some(())
}

pub(super) const FORMAT_PICTURE_LOSS: u8 = 1;
pub(super) const FORMAT_FULL_INTRA: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;
const REMB: &[u8] = b"REMB";
