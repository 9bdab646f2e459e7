//! Sender and receiver reports (RFC 3550 §6.4).

use core::iter::FusedIterator;

use super::cursor::{Cursor, Reader};
use super::packet::{Packet, RtcpError};
use crate::time::NtpTime;

/// How one source is received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Of the source.
    pub ssrc: u32,
    /// Packets lost since the last report, in 1/256 of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the start; negative if duplicates came. 24 bits: what is beyond them is
    /// written as the nearest number that fits.
    pub packets_lost: i32,
    /// The highest sequence number that came, cycles in the upper 16 bits.
    pub highest_sequence_number: u32,
    /// Mean deviation of the interarrival time, in units of the RTP timestamp.
    pub jitter: u32,
    /// [`NtpTime::compact`] of the last sender report that came; 0 if none did.
    pub last_sender_report: u32,
    /// Time since it came, in 1/65536 s; 0 if none did.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        Ok(Self {
            ssrc: reader.u32()?,
            fraction_lost: reader.u8()?,
            // 24 bits with a sign.
            packets_lost: (reader.u24()? << 8).cast_signed() >> 8,
            highest_sequence_number: reader.u32()?,
            jitter: reader.u32()?,
            last_sender_report: reader.u32()?,
            delay_since_last_sender_report: reader.u32()?,
        })
    }

    pub(super) fn write(&self, cursor: &mut Cursor<'_>) -> Option<()> {
        let lost = self
            .packets_lost
            .clamp(-0x80_0000, 0x7f_ffff)
            .cast_unsigned();
        cursor.u32(self.ssrc)?;
        cursor.u32(u32::from(self.fraction_lost) << 24 | lost & 0xff_ffff)?;
        cursor.u32(self.highest_sequence_number)?;
        cursor.u32(self.jitter)?;
        cursor.u32(self.last_sender_report)?;
        cursor.u32(self.delay_since_last_sender_report)
    }
}

/// The report blocks of one report.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    rest: &'a [u8],
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.rest.split_at_checked(BLOCK_BYTES)?;
        self.rest = rest;
        ReportBlock::parse(Reader { rest: block }).ok()
    }
}

impl FusedIterator for ReportBlocks<'_> {}

/// What a sender says of itself in its report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report is sent.
    pub ntp: NtpTime,
    /// The RTP timestamp of the same instant.
    pub rtp_timestamp: u32,
    /// RTP packets sent since the start, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent since the start, modulo 2^32.
    pub octets: u32,
}

pub(super) fn parse_sender_report(
    count: u8,
    mut reader: Reader<'_>,
) -> Result<Packet<'_>, RtcpError> {
    Ok(Packet::SenderReport {
        ssrc: reader.u32()?,
        ntp: NtpTime::from_bits(reader.u64()?),
        rtp_timestamp: reader.u32()?,
        packets: reader.u32()?,
        octets: reader.u32()?,
        blocks: blocks(count, reader)?,
    })
}

pub(super) fn parse_receiver_report(
    count: u8,
    mut reader: Reader<'_>,
) -> Result<Packet<'_>, RtcpError> {
    Ok(Packet::ReceiverReport {
        ssrc: reader.u32()?,
        blocks: blocks(count, reader)?,
    })
}

/// Profile-specific extensions may follow the blocks; they are passed over.
fn blocks(count: u8, reader: Reader<'_>) -> Result<ReportBlocks<'_>, RtcpError> {
    let rest = reader.rest.get(..usize::from(count) * BLOCK_BYTES);
    rest.map(|rest| ReportBlocks { rest })
        .ok_or(RtcpError::Truncated)
}

const BLOCK_BYTES: usize = 24;
