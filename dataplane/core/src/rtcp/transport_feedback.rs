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

    pub(super) fn parse(mut reader: Reader<'a>, statuses_max: u16) -> Result<Self, RtcpError> {
        let (sender, media) = (reader.u32()?, reader.u32()?);
        let base_sequence_number = reader.u16()?;
        let status_count = reader.u16()?;
        let reference_time = reader.u24()?;
        let feedback_count = reader.u8()?;
        if status_count > statuses_max {
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
    if deltas.is_empty() {
        return None;
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

/// Packets that the feedback of one compound may be about. The field allows eight times as many, which
/// would let a few bytes cost much work; browsers report at least four times in a second.
pub const STATUSES_MAX: u16 = 8192;

/// How many ticks of an arrival time a second has.
pub const TICKS_PER_SECOND: u64 = 4000;

/// A reference time is in units of 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
    use webrtc_util::marshal::{Marshal, Unmarshal};

    use super::super::{Packet, RtcpWriter, packets};
    use super::*;

    const HEADER: FeedbackHeader = FeedbackHeader {
        sender: 7,
        media: 9,
        base_sequence_number: 65_530,
        feedback_count: 3,
    };

    fn written(arrivals: &[Option<u64>], room: usize) -> (Vec<u8>, usize) {
        let mut out = vec![0xaa; room];
        let mut writer = RtcpWriter::new(&mut out);
        let covered = writer.transport_feedback(&HEADER, arrivals.iter().copied());
        let length = writer.len();
        out.truncate(length);
        (out, covered)
    }

    fn read(bytes: &[u8]) -> Result<TransportFeedback<'_>, RtcpError> {
        let packet = packets(bytes).next().unwrap()?;
        let Packet::TransportFeedback(feedback) = packet else {
            panic!("{packet:?}")
        };
        Ok(feedback)
    }

    fn times(feedback: &TransportFeedback<'_>) -> Vec<Option<i64>> {
        feedback.arrivals().map(|(_, time)| time).collect()
    }

    /// A feedback packet with the given chunks and deltas.
    fn raw(status_count: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 1];
        bytes.extend_from_slice(&status_count.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 2, 3]);
        bytes.extend_from_slice(rest);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let [_, words] = u16::try_from(bytes.len() / 4 - 1).unwrap().to_be_bytes();
        bytes[3] = words;
        bytes
    }

    fn arrivals() -> impl Strategy<Value = Vec<Option<u64>>> {
        // Of seven packets, four come soon, one comes late or early, two do not come. A calm list
        // has long runs of the first kind.
        let step = (0..7, 0_i64..250, -2000_i64..30_000);
        let steps =
            (any::<bool>(), proptest::collection::vec(step, 1..200)).prop_map(|(calm, steps)| {
                let pick = |(kind, soon, jump)| match kind {
                    0..4 => Some(soon),
                    4 if calm => Some(soon),
                    4 => Some(jump),
                    5 if calm && soon > 20 => Some(soon),
                    _ => None,
                };
                steps.into_iter().map(pick).collect::<Vec<_>>()
            });
        (1_000_000_u64..1 << 40, steps).prop_map(|(start, steps)| {
            let mut time = start;
            steps
                .into_iter()
                .map(|step| {
                    time = time.saturating_add_signed(step?);
                    Some(time)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_we_write_they_and_we_read(arrivals in arrivals()) {
            let (bytes, covered) = written(&arrivals, 1400);
            if arrivals.iter().all(Option::is_none) {
                prop_assert_eq!(covered, 0);
                prop_assert!(bytes.is_empty());
                return Ok(());
            }
            prop_assert_eq!(covered, arrivals.len());
            let theirs = TransportLayerCc::unmarshal(&mut Bytes::copy_from_slice(&bytes)).unwrap();
            prop_assert_eq!(usize::from(theirs.packet_status_count), covered);
            prop_assert_eq!(theirs.base_sequence_number, HEADER.base_sequence_number);
            prop_assert_eq!(theirs.fb_pkt_count, HEADER.feedback_count);
            // Byte for byte, padding included.
            prop_assert_eq!(&theirs.marshal().unwrap(), &bytes);
            let expected: Vec<u64> = arrivals.iter().flatten().copied().collect();
            let mut time = u64::from(theirs.reference_time) * 256;
            let cycle = (1 << 24) * 256;
            for (delta, expected) in theirs.recv_deltas.iter().zip(&expected) {
                time = time.saturating_add_signed(delta.delta / 250);
                prop_assert_eq!(time % cycle, expected % cycle);
            }
            prop_assert_eq!(theirs.recv_deltas.len(), expected.len());

            let ours = read(&bytes).unwrap();
            prop_assert_eq!(ours.arrivals().count(), covered);
            for (index, (number, found)) in ours.arrivals().enumerate() {
                let offset = u16::try_from(index).unwrap();
                prop_assert_eq!(number, HEADER.base_sequence_number.wrapping_add(offset));
                let found = found.map(|ticks| ticks.cast_unsigned() % cycle);
                prop_assert_eq!(found, arrivals[index].map(|ticks| ticks % cycle));
            }
        }

        #[test]
        fn a_small_buffer_gets_a_whole_feedback_about_fewer(
            arrivals in arrivals(), room in 0_usize..120,
        ) {
            let (bytes, covered) = written(&arrivals, room);
            prop_assert!(bytes.len() <= room);
            if covered > 0 {
                let ours = read(&bytes).unwrap();
                prop_assert_eq!(usize::from(ours.status_count), covered);
                let found: Vec<_> = times(&ours).iter().map(Option::is_some).collect();
                let expected: Vec<_> = arrivals[..covered].iter().map(Option::is_some).collect();
                prop_assert_eq!(found, expected);
            } else {
                prop_assert!(bytes.is_empty());
            }
        }
    }

    #[test]
    fn a_delta_that_does_not_fit_ends_the_feedback_before_it() {
        let (bytes, covered) = written(&[Some(1000), None, Some(1000 + 32_768), Some(40_000)], 200);
        assert_eq!(covered, 2);
        assert_eq!(times(&read(&bytes).unwrap()), [Some(1000), None]);
    }

    #[test]
    fn the_largest_delta_fits() {
        let (bytes, covered) = written(&[Some(1000), Some(1000 + 32_767)], 200);
        assert_eq!(covered, 2);
        assert_eq!(
            times(&read(&bytes).unwrap()),
            [Some(1000), Some(1000 + 32_767)]
        );
    }

    #[test]
    fn without_an_arrival_nothing_is_written() {
        assert_eq!(written(&[None, None], 200), (vec![], 0));
        assert_eq!(written(&[], 200), (vec![], 0));
    }

    #[test]
    fn a_steady_stream_costs_one_chunk() {
        let arrivals: Vec<_> = (0..1000).map(|index| Some(5000 + index)).collect();
        let (bytes, covered) = written(&arrivals, 1400);
        assert_eq!(covered, 1000);
        assert_eq!(bytes.len(), (20_usize + 2 + 1000).next_multiple_of(4));
    }

    #[test]
    fn chunks_that_end_too_early_are_an_error() {
        assert_eq!(
            read(&raw(200, &[0x00, 0x64, 0, 0])).map(|_| ()),
            Err(RtcpError::Truncated)
        );
    }

    #[test]
    fn deltas_that_end_too_early_are_an_error() {
        // Four large deltas need eight bytes.
        let bytes = raw(4, &[0x40, 0x04, 0, 1, 0, 2, 0, 3]);
        assert_eq!(read(&bytes).map(|_| ()), Err(RtcpError::Truncated));
    }

    #[test]
    fn a_reserved_status_is_an_error() {
        assert_eq!(
            read(&raw(1, &[0x60, 0x01])).map(|_| ()),
            Err(RtcpError::ReservedStatus)
        );
    }

    #[test]
    fn more_statuses_than_we_look_at_are_an_error() {
        let chunks = [0x1f, 0xff, 0x1f, 0xff];
        assert!(read(&raw(STATUSES_MAX, &chunks)).is_ok());
        assert_eq!(
            read(&raw(STATUSES_MAX + 1, &chunks)).map(|_| ()),
            Err(RtcpError::TooManyStatuses)
        );
    }

    #[test]
    fn a_negative_delta_goes_back_in_time() {
        let bytes = raw(2, &[0xd8, 0x00, 8, 0xff, 0xfe]);
        let feedback = read(&bytes).unwrap();
        assert_eq!(times(&feedback), [Some(2 * 256 + 8), Some(2 * 256 + 6)]);
    }
}
