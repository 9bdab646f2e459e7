//! The packets of a compound packet (RFC 3550 §6.1), and what is common to all of them.

use core::iter::FusedIterator;

use shared::counters::DropReason;

use super::cursor::Reader;
use super::feedback::{FullIntraRequests, LostNumbers, parse_payload_feedback};
use super::goodbye::Sources;
use super::report::{ReportBlocks, parse_receiver_report, parse_sender_report};
use super::transport_feedback::{STATUSES_MAX, TransportFeedback};
use crate::time::NtpTime;

/// The packets of an opened compound packet, in their order. The first error is the last item. A few
/// bytes can name thousands of RTP packets, so a compound that names too many is not read to its end.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets {
        rest: compound,
        statuses_left: STATUSES_MAX,
        lost_left: LOST_MAX,
    }
}

/// One packet of a compound packet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// SR (RFC 3550 §6.4.1).
    SenderReport {
        /// Who sent it.
        ssrc: u32,
        /// When it was sent, by the sender's clock.
        ntp: NtpTime,
        /// The RTP timestamp of the same instant.
        rtp_timestamp: u32,
        /// RTP packets sent since the start, modulo 2^32.
        packets: u32,
        /// Payload bytes sent since the start, modulo 2^32.
        octets: u32,
        /// How the sender receives others.
        blocks: ReportBlocks<'a>,
    },
    /// RR (RFC 3550 §6.4.2).
    ReceiverReport {
        /// Who sent it.
        ssrc: u32,
        /// How it receives others.
        blocks: ReportBlocks<'a>,
    },
    /// SDES (RFC 3550 §6.5); nothing in it is of use to us.
    SourceDescription,
    /// BYE (RFC 3550 §6.6).
    Bye {
        /// Those that left.
        sources: Sources<'a>,
    },
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack {
        /// Who asks.
        sender: u32,
        /// The SSRC whose packets are missing.
        media: u32,
        /// Their sequence numbers.
        numbers: LostNumbers<'a>,
    },
    /// PLI (RFC 4585 §6.3.1).
    PictureLossIndication {
        /// Who asks.
        sender: u32,
        /// The SSRC that is to send a key frame.
        media: u32,
    },
    /// FIR (RFC 5104 §4.3.1).
    FullIntraRequest {
        /// Who asks.
        sender: u32,
        /// The SSRCs that are to send key frames, each with the number of the request.
        entries: FullIntraRequests<'a>,
    },
    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    TransportFeedback(TransportFeedback<'a>),
    /// REMB (draft-alvestrand-rmcat-remb-03 §2.2).
    ReceiverEstimatedMaximumBitrate {
        /// Who estimates.
        sender: u32,
        /// Bits per second over all sources.
        bitrate: u64,
        /// Whose media the estimate is about.
        sources: Sources<'a>,
    },
    /// A type or format that is of no use to us.
    Other {
        /// PT.
        packet_type: u8,
        /// The five bits that are a count or a format (FMT), as the type wants it.
        count: u8,
    },
}

/// Iterator over the packets of a compound packet. Made by [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    statuses_left: u16,
    lost_left: usize,
}

impl<'a> Packets<'a> {
    fn packet(&mut self) -> Result<Packet<'a>, RtcpError> {
        let mut reader = Reader { rest: self.rest };
        let flags = reader.u8()?;
        let packet_type = reader.u8()?;
        let length = usize::from(reader.u16()?) * 4;
        if flags >> 6 != VERSION {
            return Err(RtcpError::Version);
        }
        let (mut body, rest) = reader
            .rest
            .split_at_checked(length)
            .ok_or(RtcpError::Truncated)?;
        self.rest = rest;
        if flags & PADDING_BIT != 0 {
            body = without_padding(body)?;
        }
        let packet = parse(packet_type, flags & COUNT_MASK, body, self.statuses_left)?;
        self.take_account(&packet)?;
        Ok(packet)
    }

    /// Counts the RTP packets that a packet names.
    fn take_account(&mut self, packet: &Packet<'_>) -> Result<(), RtcpError> {
        if let Packet::TransportFeedback(feedback) = packet {
            // No more than is left was read.
            self.statuses_left -= feedback.status_count;
        } else if let Packet::Nack { numbers, .. } = packet {
            let left = self.lost_left.checked_sub(numbers.total());
            self.lost_left = left.ok_or(RtcpError::TooManyLost)?;
        }
        Ok(())
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.packet();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

impl FusedIterator for Packets<'_> {}

/// Why RTCP cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// Shorter than what it announces.
    Truncated,
    /// Not RTCP version 2.
    Version,
    /// Padding of zero bytes, or of more bytes than there are.
    Padding,
    /// Transport-wide feedback with a reserved status symbol.
    ReservedStatus,
    /// Transport-wide feedback about more than [`STATUSES_MAX`] packets, with what stood before it.
    TooManyStatuses,
    /// More than [`LOST_MAX`] packets are asked for again, with what stood before it.
    TooManyLost,
}

impl From<RtcpError> for DropReason {
    fn from(_: RtcpError) -> Self {
        Self::RtcpMalformed
    }
}

fn parse(
    packet_type: u8,
    count: u8,
    body: &[u8],
    statuses_max: u16,
) -> Result<Packet<'_>, RtcpError> {
    let mut reader = Reader { rest: body };
    match (packet_type, count) {
        (SENDER_REPORT, _) => parse_sender_report(count, reader),
        (RECEIVER_REPORT, _) => parse_receiver_report(count, reader),
        (SOURCE_DESCRIPTION, _) => Ok(Packet::SourceDescription),
        (BYE, _) => Ok(Packet::Bye {
            sources: Sources::parse(count, reader)?,
        }),
        (TRANSPORT_LAYER_FEEDBACK, FORMAT_NACK) => Ok(Packet::Nack {
            sender: reader.u32()?,
            media: reader.u32()?,
            numbers: LostNumbers::new(reader.rest),
        }),
        (TRANSPORT_LAYER_FEEDBACK, FORMAT_TRANSPORT_WIDE) => {
            TransportFeedback::parse(reader, statuses_max).map(Packet::TransportFeedback)
        }
        (PAYLOAD_FEEDBACK, _) => parse_payload_feedback(count, reader),
        _ => Ok(Packet::Other { packet_type, count }),
    }
}

/// Cuts the padding off, whose last byte counts it (RFC 3550 §6.4.1).
///
/// Only the last packet of a compound packet should have some, in multiples of four bytes; but
/// browsers end transport-wide feedback with one to three bytes of it, wherever it stands.
fn without_padding(body: &[u8]) -> Result<&[u8], RtcpError> {
    match body.last() {
        None | Some(0) => Err(RtcpError::Padding),
        Some(&count) => body
            .len()
            .checked_sub(usize::from(count))
            .and_then(|length| body.get(..length))
            .ok_or(RtcpError::Padding),
    }
}

/// Packets that one compound may ask for again: as many as a browser's list of missing ones holds
/// (`kMaxNackPackets` of libwebrtc).
pub const LOST_MAX: usize = 1000;

pub(super) const VERSION: u8 = 2;
pub(super) const PADDING_BIT: u8 = 0x20;
pub(super) const COUNT_MASK: u8 = 0x1f;

pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const BYE: u8 = 203;
pub(super) const TRANSPORT_LAYER_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;

pub(super) const FORMAT_NACK: u8 = 1;
pub(super) const FORMAT_TRANSPORT_WIDE: u8 = 15;
