//! Oracle: the crate `rtcp` of webrtc-rs, which reads what we write and writes what we read.

use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use rtcp::goodbye::Goodbye;
use rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{SdesType, SourceDescription};
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use webrtc_util::marshal::Marshal;

use super::{Packet, ReportBlock, RtcpError, RtcpWriter, SenderInfo, packets};
use crate::time::NtpTime;

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000).prop_map(
        |([ssrc, highest, jitter, last, delay], fraction_lost, packets_lost)| ReportBlock {
            ssrc,
            fraction_lost,
            packets_lost,
            highest_sequence_number: highest,
            jitter,
            last_sender_report: last,
            delay_since_last_sender_report: delay,
        },
    )
}

fn theirs(block: &ReportBlock) -> ReceptionReport {
    ReceptionReport {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        total_lost: block.packets_lost.cast_unsigned() & 0xff_ffff,
        last_sequence_number: block.highest_sequence_number,
        jitter: block.jitter,
        last_sender_report: block.last_sender_report,
        delay: block.delay_since_last_sender_report,
    }
}

/// What `write` writes, all of it.
fn written(write: impl FnOnce(&mut RtcpWriter<'_>) -> bool) -> Vec<u8> {
    let mut out = [0xaa; 1400];
    let mut writer = RtcpWriter::new(&mut out);
    assert!(write(&mut writer));
    let length = writer.len();
    out[..length].to_vec()
}

/// The only packet in `bytes`, as they read it.
fn read_by_them<P: Clone + 'static>(bytes: &[u8]) -> P {
    let all = rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(bytes)).unwrap();
    assert_eq!(all.len(), 1);
    all[0].as_any().downcast_ref::<P>().unwrap().clone()
}

/// The only packet in `bytes`, as we read it.
fn read(bytes: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let mut all = packets(bytes);
    let first = all.next().unwrap();
    assert!(all.next().is_none());
    first
}

fn error(bytes: &[u8]) -> Option<RtcpError> {
    packets(bytes).find_map(Result::err)
}

proptest! {
    #[test]
    fn they_read_our_sender_reports(
        ssrc: u32, ntp: u64, numbers: [u32; 3], blocks in vec(block(), 0..=31),
    ) {
        let [rtp_timestamp, packets, octets] = numbers;
        let info = SenderInfo { ntp: NtpTime::from_bits(ntp), rtp_timestamp, packets, octets };
        let bytes = written(|writer| writer.sender_report(ssrc, &info, &blocks));
        let found: SenderReport = read_by_them(&bytes);
        let expected = SenderReport {
            ssrc,
            ntp_time: ntp,
            rtp_time: rtp_timestamp,
            packet_count: packets,
            octet_count: octets,
            reports: blocks.iter().map(theirs).collect(),
            ..SenderReport::default()
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn we_read_their_sender_reports(
        ssrc: u32, ntp: u64, numbers: [u32; 3], expected in vec(block(), 0..=31),
    ) {
        let bytes = SenderReport {
            ssrc,
            ntp_time: ntp,
            rtp_time: numbers[0],
            packet_count: numbers[1],
            octet_count: numbers[2],
            reports: expected.iter().map(theirs).collect(),
            profile_extensions: Bytes::from_static(&[1, 2, 3, 4]),
        }.marshal().unwrap();
        let Ok(Packet::SenderReport { ssrc: s, ntp: n, rtp_timestamp, packets, octets, blocks }) =
            read(&bytes) else { panic!("no sender report") };
        prop_assert_eq!((s, n.to_bits()), (ssrc, ntp));
        prop_assert_eq!([rtp_timestamp, packets, octets], numbers);
        prop_assert_eq!(blocks.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn receiver_reports_are_the_same_both_ways(ssrc: u32, blocks in vec(block(), 0..=31)) {
        let bytes = written(|writer| writer.receiver_report(ssrc, &blocks));
        let expected = ReceiverReport {
            ssrc,
            reports: blocks.iter().map(theirs).collect(),
            ..ReceiverReport::default()
        };
        prop_assert_eq!(&expected.marshal().unwrap(), &bytes);
        let Ok(Packet::ReceiverReport { ssrc: s, blocks: found }) = read(&bytes) else {
            panic!("no receiver report")
        };
        prop_assert_eq!(s, ssrc);
        prop_assert_eq!(found.collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn nacks_are_the_same_both_ways(
        sender: u32, media: u32, start: u16, offsets in btree_set(0_u16..300, 1..60),
    ) {
        let numbers: Vec<u16> = offsets.iter().map(|offset| start.wrapping_add(*offset)).collect();
        let bytes = written(|writer| writer.nack(sender, media, &numbers));
        let found: TransportLayerNack = read_by_them(&bytes);
        prop_assert_eq!((found.sender_ssrc, found.media_ssrc), (sender, media));
        let mut list: Vec<u16> = found.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        list.sort_by_key(|number| number.wrapping_sub(start));
        prop_assert_eq!(&list, &numbers);

        let bytes = TransportLayerNack {
            sender_ssrc: sender,
            media_ssrc: media,
            nacks: nack_pairs_from_sequence_numbers(&numbers),
        }.marshal().unwrap();
        let Ok(Packet::Nack { sender: s, media: m, numbers: found }) = read(&bytes) else {
            panic!("no NACK")
        };
        prop_assert_eq!((s, m), (sender, media));
        prop_assert_eq!(found.collect::<Vec<_>>(), numbers);
    }

    #[test]
    fn byes_are_the_same_both_ways(sources in vec(any::<u32>(), 0..=31)) {
        let bytes = written(|writer| writer.bye(&sources));
        prop_assert_eq!(&read_by_them::<Goodbye>(&bytes).sources, &sources);
        let reason = Bytes::from_static(b"gone");
        let bytes = Goodbye { sources: sources.clone(), reason }.marshal().unwrap();
        let Ok(Packet::Bye { sources: found }) = read(&bytes) else { panic!("no BYE") };
        prop_assert_eq!(found.collect::<Vec<_>>(), sources);
    }

    #[test]
    fn they_read_our_canonical_names(ssrc: u32, name in "[a-z0-9@.]{1,255}") {
        let bytes = written(|writer| writer.cname(ssrc, &name));
        let found: SourceDescription = read_by_them(&bytes);
        prop_assert_eq!(found.chunks.len(), 1);
        prop_assert_eq!(found.chunks[0].source, ssrc);
        prop_assert_eq!(found.chunks[0].items.len(), 1);
        prop_assert_eq!(found.chunks[0].items[0].sdes_type, SdesType::SdesCname);
        prop_assert_eq!(&found.chunks[0].items[0].text, name.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(count(&bytes) <= bytes.len() * 17);
    }

    #[test]
    fn any_body_of_a_known_type_is_read_without_a_panic(
        count_or_format in 0_u8..32, padded: bool, kind in 200_u8..208,
        words in vec(any::<[u8; 4]>(), 0..60),
    ) {
        let length = u16::try_from(words.len()).unwrap().to_be_bytes();
        let flags = 0x80 | u8::from(padded) << 5 | count_or_format;
        let mut bytes = vec![flags, kind, length[0], length[1]];
        bytes.extend(words.concat());
        count(&bytes);
    }
}

/// Reads everything there is, and says how many items that were.
fn count(bytes: &[u8]) -> usize {
    packets(bytes)
        .map(|packet| match packet {
            Ok(Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. }) => {
                blocks.count()
            }
            Ok(
                Packet::Bye { sources } | Packet::ReceiverEstimatedMaximumBitrate { sources, .. },
            ) => sources.count(),
            Ok(Packet::Nack { numbers, .. }) => numbers.count(),
            Ok(Packet::FullIntraRequest { entries, .. }) => entries.count(),
            Ok(Packet::TransportFeedback(feedback)) => feedback.arrivals().count(),
            Ok(
                Packet::SourceDescription
                | Packet::PictureLossIndication { .. }
                | Packet::Other { .. },
            )
            | Err(_) => 1,
        })
        .sum()
}

#[test]
fn picture_loss_indications_are_the_same_both_ways() {
    let bytes = written(|writer| writer.picture_loss_indication(7, 9));
    let theirs = PictureLossIndication {
        sender_ssrc: 7,
        media_ssrc: 9,
    };
    assert_eq!(theirs.marshal().unwrap(), bytes);
    let Ok(Packet::PictureLossIndication {
        sender: 7,
        media: 9,
    }) = read(&bytes)
    else {
        panic!("no PLI")
    };
}

#[test]
fn full_intra_requests_are_the_same_both_ways() {
    let bytes = written(|writer| writer.full_intra_request(7, 9, 200));
    let entry = FirEntry {
        ssrc: 9,
        sequence_number: 200,
    };
    let theirs = FullIntraRequest {
        sender_ssrc: 7,
        media_ssrc: 0,
        fir: vec![entry],
    };
    assert_eq!(theirs.marshal().unwrap(), bytes);
    let Ok(Packet::FullIntraRequest { sender: 7, entries }) = read(&bytes) else {
        panic!("no FIR")
    };
    assert_eq!(entries.collect::<Vec<_>>(), [(9, 200)]);
}

#[test]
fn we_read_their_bitrate_estimates() {
    let theirs = ReceiverEstimatedMaximumBitrate {
        sender_ssrc: 7,
        bitrate: 8_927_168.0,
        ssrcs: vec![1_215_622_422, 5],
    };
    let bytes = theirs.marshal().unwrap();
    let Ok(Packet::ReceiverEstimatedMaximumBitrate {
        sender: 7,
        bitrate,
        sources,
    }) = read(&bytes)
    else {
        panic!("no REMB")
    };
    assert_eq!(bitrate, 8_927_168);
    assert_eq!(sources.collect::<Vec<_>>(), [1_215_622_422, 5]);
}

#[test]
fn a_bitrate_beyond_64_bits_is_the_largest() {
    let mut bytes = vec![0x8f, 206, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0];
    bytes.extend_from_slice(b"REMB\x00\xff\xff\xff");
    let Ok(Packet::ReceiverEstimatedMaximumBitrate { bitrate, .. }) = read(&bytes) else {
        panic!("no REMB")
    };
    assert_eq!(bitrate, u64::MAX);
}

#[test]
fn the_packets_of_a_compound_come_in_their_order() {
    let bytes = written(|writer| {
        writer.receiver_report(1, &[])
            && writer.cname(1, "a")
            && writer.picture_loss_indication(1, 2)
            && writer.bye(&[1])
    });
    let all: Vec<_> = packets(&bytes).map(Result::unwrap).collect();
    assert!(matches!(
        all.as_slice(),
        [
            Packet::ReceiverReport { .. },
            Packet::SourceDescription,
            Packet::PictureLossIndication { .. },
            Packet::Bye { .. },
        ]
    ));
    assert_eq!(
        rtcp::packet::unmarshal(&mut Bytes::from(bytes))
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn a_packet_that_does_not_fit_leaves_the_writer_as_it_was() {
    let mut out = [0; 8 + 11];
    let mut writer = RtcpWriter::new(&mut out);
    assert!(writer.receiver_report(1, &[]));
    assert!(!writer.picture_loss_indication(1, 2));
    assert_eq!(writer.len(), 8);
    assert!(writer.bye(&[1]));
    assert_eq!(writer.len(), 16);
}

#[test]
fn more_than_the_count_can_say_is_not_written() {
    let mut out = [0; 1400];
    let mut writer = RtcpWriter::new(&mut out);
    assert!(!writer.bye(&[0; RtcpWriter::COUNT_MAX + 1]));
    assert!(!writer.cname(1, &"x".repeat(256)));
    assert!(writer.is_empty());
}

#[test]
fn losses_beyond_24_bits_are_written_as_the_nearest() {
    for (packets_lost, expected) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000)] {
        let block = ReportBlock {
            packets_lost,
            ..ReportBlock::default()
        };
        let bytes = written(|writer| writer.receiver_report(1, &[block]));
        let Ok(Packet::ReceiverReport { mut blocks, .. }) = read(&bytes) else {
            panic!("no receiver report")
        };
        assert_eq!(blocks.next().unwrap().packets_lost, expected);
    }
}

#[test]
fn a_compound_cut_at_any_byte_is_an_error() {
    let bytes = written(|writer| {
        writer.receiver_report(1, &[ReportBlock::default()]) && writer.nack(1, 2, &[3])
    });
    for length in (1..bytes.len()).filter(|length| *length != 32) {
        assert_eq!(
            error(&bytes[..length]),
            Some(RtcpError::Truncated),
            "{length}"
        );
    }
}

#[test]
fn a_count_that_lies_is_an_error() {
    // The counts say more than there are: reports, a BYE, a REMB.
    for bytes in [
        &[
            0x81, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ][..],
        &[0x81, 201, 0, 1, 0, 0, 0, 1],
        &[0x82, 203, 0, 1, 0, 0, 0, 1],
        b"\x8f\xce\0\x04\0\0\0\x01\0\0\0\0REMB\x01\0\0\0",
    ] {
        assert_eq!(error(bytes), Some(RtcpError::Truncated), "{bytes:?}");
    }
}

#[test]
fn a_body_shorter_than_its_type_is_an_error() {
    for kind in [200, 201, 205, 206] {
        for format in [1, 15] {
            assert_eq!(
                error(&[0x80 | format, kind, 0, 0]),
                Some(RtcpError::Truncated)
            );
        }
    }
}

#[test]
fn another_version_is_an_error() {
    assert_eq!(
        error(&[0x40, 201, 0, 1, 0, 0, 0, 1]),
        Some(RtcpError::Version)
    );
}

#[test]
fn nothing_is_read_behind_an_error() {
    let mut all = packets(&[0x40, 201, 0, 1, 0, 0, 0, 1, 0x80, 201, 0, 1, 0, 0, 0, 1]);
    assert!(all.next().unwrap().is_err());
    assert!(all.next().is_none());
}

#[test]
fn padding_is_cut_off() {
    // A NACK with four bytes of padding that would otherwise be another entry.
    let bytes = [
        0xa1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 0, 0, 0, 0, 4,
    ];
    let Ok(Packet::Nack { numbers, .. }) = read(&bytes) else {
        panic!("no NACK")
    };
    assert_eq!(numbers.collect::<Vec<_>>(), [9]);
}

#[test]
fn padding_that_lies_is_an_error() {
    for count in [0, 9, 255] {
        let bytes = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, count];
        assert_eq!(error(&bytes), Some(RtcpError::Padding), "{count}");
    }
    assert_eq!(error(&[0xa0, 201, 0, 0]), Some(RtcpError::Padding));
}

#[test]
fn padding_may_not_reach_into_the_fields() {
    let bytes = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 5];
    assert_eq!(error(&bytes), Some(RtcpError::Truncated));
}

#[test]
fn an_unknown_type_is_passed_over() {
    let bytes = [0x85, 207, 0, 1, 1, 2, 3, 4, 0x80, 201, 0, 1, 0, 0, 0, 1];
    let all: Vec<_> = packets(&bytes).map(Result::unwrap).collect();
    assert!(matches!(
        all.as_slice(),
        [
            Packet::Other {
                packet_type: 207,
                count: 5
            },
            Packet::ReceiverReport { ssrc: 1, .. }
        ]
    ));
}

#[test]
fn a_nack_over_the_wrap_of_the_numbers_is_one_entry() {
    let bytes = written(|writer| writer.nack(1, 2, &[65_534, 65_535, 0, 14]));
    assert_eq!(bytes.len(), 16);
    let Ok(Packet::Nack { numbers, .. }) = read(&bytes) else {
        panic!("no NACK")
    };
    assert_eq!(numbers.collect::<Vec<_>>(), [65_534, 65_535, 0, 14]);
}

/// A NACK of so many entries, each of seventeen packets.
fn nack_of(entries: u8) -> Vec<u8> {
    let mut bytes = vec![0x81, 205, 0, 2 + entries, 0, 0, 0, 7, 0, 0, 0, 9];
    for _ in 0..entries {
        bytes.extend([0, 1, 0xff, 0xff]);
    }
    bytes
}

#[test]
fn a_compound_that_asks_for_too_many_packets_is_read_as_far_as_it_may() {
    // 850 and 153 packets.
    let compound = [nack_of(50), nack_of(9)].concat();
    let read: Vec<_> = packets(&compound).map(|packet| packet.is_ok()).collect();
    assert_eq!(read, [true, false]);
    let compound = [nack_of(50), nack_of(8)].concat();
    assert_eq!(count(&compound), 58 * 17);
}

#[test]
fn a_compound_that_tells_of_too_many_packets_is_read_as_far_as_it_may() {
    // Runs of packets that did not come; 5,000 in each feedback.
    let feedback = [
        &[0x8f, 205, 0, 5][..],
        &[0, 0, 0, 7, 0, 0, 0, 9, 0, 1],
        &5_000_u16.to_be_bytes(),
        &[0, 0, 2, 3, 0x13, 0x88, 0, 0],
    ]
    .concat();
    let compound = feedback.repeat(3);
    let read: Vec<_> = packets(&compound).map(|packet| packet.err()).collect();
    assert_eq!(read, [None, Some(RtcpError::TooManyStatuses)]);
}
