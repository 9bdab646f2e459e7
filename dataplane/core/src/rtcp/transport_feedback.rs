//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which packets
//! came, and when.

use core::iter::FusedIterator;

use arrayvec::ArrayVec;

use super::cursor::{Cursor, Reader};
use super::packet::RtcpError;
use super::status_chunk::{Chunk, Status, Statuses};
use crate::outbox::DATAGRAM_BYTES_MAX;

/// Feedback that came in. All of its lengths have been checked.
#[derive(Clone, Debug)]
pub struct TransportFeedback<'a> {
    /// Who sent it.
    pub sender: u32,
    /// An SSRC of the stream; what is said is about all of the transport.
    pub media: u32,
    /// The transport-wide sequence number of the first packet that it is about.
    pub base_sequence_number: u16,
    /// How many packets it is about, at most [`STATUSES_MAX`].
    pub status_count: u16,
    /// Multiples of 64 ms by the sender's clock, modulo 2^24.
    pub reference_time: u32,
    /// Goes up by one with each feedback, modulo 2^8.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// The packets in order: transport-wide sequence number, and when the packet came, or None if
    /// it did not. Times are ticks of 250 µs by the sender's clock, whose origin is not known; they
    /// start again every 2^24 * 64 ms.
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            statuses: Statuses::new(self.chunks, self.status_count),
            deltas: Reader { rest: self.deltas },
            sequence_number: self.base_sequence_number,
            time: i64::from(self.reference_time) * TICKS_PER_REFERENCE,
        }
    }

    pub(super) fn parse(mut reader: Reader<'a>) -> Result<Self, RtcpError> {
        let (sender, media) = (reader.u32()?, reader.u32()?);
        let base_sequence_number = reader.u16()?;
        let status_count = reader.u16()?;
        let reference_time = reader.u24()?;
        let feedback_count = reader.u8()?;
        if status_count > STATUSES_MAX {
            return Err(RtcpError::TooManyStatuses);
        }
        let mut statuses = Statuses::new(reader.rest, status_count);
        let mut delta_bytes = 0;
        for status in statuses.by_ref() {
            delta_bytes += match status {
                Status::NotReceived => 0,
                Status::SmallDelta => 1,
                Status::LargeDelta => 2,
                Status::Reserved => return Err(RtcpError::ReservedStatus),
            };
        }
        let after_chunks = statuses.rest;
        if statuses.left > 0 || after_chunks.len() < delta_bytes {
            return Err(RtcpError::Truncated);
        }
        Ok(Self {
            sender,
            media,
            base_sequence_number,
            status_count,
            reference_time,
            feedback_count,
            chunks: reader.rest,
            deltas: after_chunks,
        })
    }
}

/// The packets that a feedback is about. Made by [`TransportFeedback::arrivals`].
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    statuses: Statuses<'a>,
    deltas: Reader<'a>,
    sequence_number: u16,
    time: i64,
}

impl Iterator for Arrivals<'_> {
    type Item = (u16, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        let delta = match self.statuses.next()? {
            Status::NotReceived | Status::Reserved => None,
            Status::SmallDelta => Some(i64::from(self.deltas.u8().ok()?)),
            Status::LargeDelta => Some(i64::from(self.deltas.u16().ok()?.cast_signed())),
        };
        let number = self.sequence_number;
        self.sequence_number = number.wrapping_add(1);
        self.time += delta.unwrap_or_default();
        Some((number, delta.map(|_| self.time)))
    }
}

impl FusedIterator for Arrivals<'_> {}

/// What the writer of feedback is told besides the arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackHeader {
    /// Who sends it.
    pub sender: u32,
    /// An SSRC of the stream.
    pub media: u32,
    /// The transport-wide sequence number of the first packet.
    pub base_sequence_number: u16,
    /// Goes up by one with each feedback, modulo 2^8.
    pub feedback_count: u8,
}

/// Writes the body of a feedback and returns how many packets it covers; None if that is none.
pub(super) fn write_feedback(
    header: &FeedbackHeader,
    arrivals: impl Iterator<Item = Option<u64>>,
    cursor: &mut Cursor<'_>,
) -> Option<usize> {
    let mut deltas = ArrayVec::<u8, DATAGRAM_BYTES_MAX>::new();
    let mut reference = None;
    let mut last = 0;
    let mut covered = 0_u16;
    let mut chunk = Chunk::default();
    cursor.u32(header.sender)?;
    cursor.u32(header.media)?;
    cursor.u16(header.base_sequence_number)?;
    // The status count and the reference time are known last.
    let unknown = cursor.at;
    cursor.put(&[0, 0, 0, 0, 0, header.feedback_count])?;
    for arrival in arrivals.take(STATUSES_MAX.into()) {
        let mut delta = None;
        if let Some(time) = arrival {
            let time = i64::try_from(time).ok()?;
            let start = *reference.get_or_insert(time / TICKS_PER_REFERENCE);
            let since = if deltas.is_empty() {
                start * TICKS_PER_REFERENCE
            } else {
                last
            };
            let Ok(fitting) = i16::try_from(time - since) else {
                break;
            };
            last = time;
            delta = Some(fitting);
        }
        let (status, bytes) = Status::of_delta(delta);
        // Room for the chunk that may have to be closed, for the one that is open then, and for
        // padding to the next word.
        let needed = cursor.at + 4 + deltas.len() + bytes.len();
        if needed.next_multiple_of(4) > cursor.out.len() {
            break;
        }
        if !chunk.can_add(status) {
            cursor.u16(chunk.close())?;
        }
        chunk.add(status);
        deltas.try_extend_from_slice(&bytes).ok()?;
        covered += 1;
    }
    while !chunk.is_empty() {
        cursor.u16(chunk.close())?;
    }
    cursor.put(&deltas)?;
    let [c0, c1] = covered.to_be_bytes();
    let [_, r0, r1, r2] = u32::try_from(reference? & 0xff_ffff).ok()?.to_be_bytes();
    cursor
        .out
        .get_mut(unknown..unknown + 5)?
        .copy_from_slice(&[c0, c1, r0, r1, r2]);
    Some(covered.into())
}

/// Packets that one feedback may be about. The field allows eight times as many, which would let a
/// few bytes cost much work; browsers report at least four times in a second.
pub const STATUSES_MAX: u16 = 8192;

/// How many ticks of an arrival time a second has.
pub const TICKS_PER_SECOND: u64 = 4000;

/// A reference time is in units of 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;
