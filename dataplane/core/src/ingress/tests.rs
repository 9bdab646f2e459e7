//! What a publication does with its packets.

use core::time::Duration;

use shared::protocol::Codec;

use super::testing::{Packet, Vp8, ms, parameters, publication, publisher, rid};
use super::*;
use crate::time::NtpTime;

fn media(sequence_number: u16) -> Packet {
    Packet::new(
        1000,
        sequence_number,
        u32::from(sequence_number) * 3_000,
        &[0x90, 1, 3, 3],
    )
}

fn missing(publication: &mut Publication, now: Timestamp) -> Vec<u16> {
    let mut out = ArrayVec::<u16, 64>::new();
    let layer = publication.layer_mut(0).unwrap();
    layer
        .missing()
        .poll(now, Some(Duration::from_millis(50)), &mut out);
    out.to_vec()
}

#[test]
fn a_packet_is_kept_under_its_extended_number() {
    let mut track = publication(Codec::Vp8, &[]);
    let accepted = track.take(ms(0), 0, &media(9)).unwrap();
    assert_eq!(accepted.sequence_number, 65_545);
    let packet = track.packet(0, accepted.sequence_number).unwrap();
    assert_eq!(packet.bytes, media(9).bytes());
    assert_eq!(packet.received_at, ms(0));
}

#[test]
fn numbers_go_on_over_the_wrap() {
    let mut track = publication(Codec::Vp8, &[]);
    let mut accept = |number| {
        track
            .take(ms(0), 0, &media(number))
            .unwrap()
            .sequence_number
    };
    assert_eq!(
        [accept(65_534), accept(0), accept(65_535)],
        [131_070, 131_072, 131_071]
    );
}

#[test]
fn a_packet_that_came_before_is_a_duplicate() {
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(9)).unwrap();
    assert_eq!(track.take(ms(0), 0, &media(9)), Err(DropReason::Duplicate));
    assert_eq!(track.layers()[0].packets(), 1);
}

#[test]
fn a_packet_older_than_the_cache_is_too_late() {
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(2_000)).unwrap();
    assert_eq!(track.take(ms(0), 0, &media(976)), Err(DropReason::TooLate));
    assert!(track.take(ms(0), 0, &media(977)).is_ok());
}

#[test]
fn an_unknown_payload_type_goes_no_further() {
    let mut track = publication(Codec::Vp8, &[]);
    let packet = media(1).of_type(100);
    assert_eq!(
        track.take(ms(0), 0, &packet),
        Err(DropReason::UnknownPayloadType)
    );
    assert!(!track.receiving(ms(0)));
}

#[test]
fn padding_that_lies_goes_no_further() {
    let mut track = publication(Codec::Vp8, &[]);
    let mut bytes = media(1).padded(3).bytes();
    *bytes.last_mut().unwrap() = 200;
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(
        track.accept(ms(0), 0, &header, &bytes),
        Err(DropReason::RtpPadding)
    );
}

#[test]
fn a_layer_that_is_not_there_takes_nothing() {
    let mut track = publication(Codec::Vp8, &[]);
    assert_eq!(
        track.take(ms(0), 1, &media(1)),
        Err(DropReason::UnknownSsrc)
    );
    assert!(track.packet(1, 1).is_none());
}

#[test]
fn a_retransmission_becomes_the_packet_that_it_repeats() {
    // RFC 4588 §4.
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(1)).unwrap();
    track.take(ms(0), 0, &media(3)).unwrap();
    let mut lost = media(2).with_extension(6, &[1]).padded(9);
    lost.header.marker = true;
    let rtx = lost.retransmission(2000, 60_000);
    let accepted = track.take_retransmission(ms(5), 0, &rtx).unwrap();
    assert_eq!(accepted.sequence_number, 65_538);
    assert!(accepted.recovered);
    lost.padding = 0;
    assert_eq!(track.packet(0, 65_538).unwrap().bytes, lost.bytes());
}

#[test]
fn a_retransmission_that_is_not_needed_is_a_duplicate() {
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(1)).unwrap();
    let rtx = media(1).retransmission(2000, 5);
    assert_eq!(
        track.take_retransmission(ms(0), 0, &rtx),
        Err(DropReason::Duplicate)
    );
}

#[test]
fn a_retransmission_with_nothing_in_it_is_padding() {
    let mut track = publication(Codec::Vp8, &[]);
    let probe = Packet::new(2000, 5, 0, &[]).of_type(97).padded(250);
    assert_eq!(
        track.take_retransmission(ms(0), 0, &probe),
        Err(DropReason::PaddingOnly)
    );
}

#[test]
fn a_retransmission_too_short_for_its_number_is_malformed() {
    let mut track = publication(Codec::Vp8, &[]);
    let short = Packet::new(2000, 5, 0, &[1]).of_type(97);
    assert_eq!(
        track.take_retransmission(ms(0), 0, &short),
        Err(DropReason::RtpMalformed)
    );
}

#[test]
fn a_retransmission_before_the_ssrc_is_known_goes_nowhere() {
    let mut parameters = parameters(Codec::Vp8, &[]);
    parameters.layers[0].ssrc = None;
    let mut track = Publication::new(publisher(), &parameters).unwrap();
    let rtx = media(1).retransmission(2000, 5);
    assert_eq!(
        track.take_retransmission(ms(0), 0, &rtx),
        Err(DropReason::UnknownSsrc)
    );
}

#[test]
fn lost_packets_are_missed_until_they_come() {
    let mut track = publication(Codec::Vp8, &[]);
    for number in [1, 2, 5, 6] {
        track.take(ms(0), 0, &media(number)).unwrap();
    }
    assert_eq!(track.layers()[0].packets_lost(), 2);
    assert_eq!(missing(&mut track, ms(10)), [3, 4]);
    track
        .take_retransmission(ms(20), 0, &media(3).retransmission(2000, 1))
        .unwrap();
    assert_eq!(track.layers()[0].packets_lost(), 1);
    assert_eq!(missing(&mut track, ms(500)), [4]);
}

#[test]
fn nothing_is_missed_where_nack_was_not_negotiated() {
    let mut parameters = parameters(Codec::Vp8, &[]);
    parameters.codecs[0].nack = false;
    let mut track = Publication::new(publisher(), &parameters).unwrap();
    track.take(ms(0), 0, &media(1)).unwrap();
    track.take(ms(0), 0, &media(5)).unwrap();
    assert_eq!(missing(&mut track, ms(100)), []);
}

#[test]
fn what_was_lost_before_the_first_packet_that_came_is_missed_too() {
    let mut track = publication(Codec::Vp8, &[]);
    for number in [8, 12, 4, 5, 7] {
        track.take(ms(0), 0, &media(number)).unwrap();
    }
    assert_eq!(track.layers()[0].packets_lost(), 4);
    assert_eq!(missing(&mut track, ms(100)), [6, 9, 10, 11]);
    track.take(ms(110), 0, &media(6)).unwrap();
    assert_eq!(track.layers()[0].packets_lost(), 3);
    assert_eq!(missing(&mut track, ms(1_000)), [9, 10, 11]);
}

#[test]
fn a_packet_of_padding_only_is_not_missed() {
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(1)).unwrap();
    let padding = Packet::new(1000, 2, 0, &[]).padded(100);
    let accepted = track.take(ms(0), 0, &padding).unwrap();
    assert!(
        track
            .packet(0, accepted.sequence_number)
            .unwrap()
            .is_padding_only()
    );
    track.take(ms(0), 0, &media(3)).unwrap();
    assert_eq!(missing(&mut track, ms(100)), []);
}

#[test]
fn a_gap_too_large_to_repair_asks_for_a_key_frame() {
    let mut track = publication(Codec::Vp8, &[]);
    track.take(ms(0), 0, &media(1)).unwrap();
    track.take(ms(0), 0, &media(1_000)).unwrap();
    assert_eq!(missing(&mut track, ms(100)), []);
    assert!(track.layer_mut(0).unwrap().keyframes.poll(ms(0)).is_some());
}

#[test]
fn a_key_frame_is_noticed_and_ends_its_requests() {
    let mut track = publication(Codec::Vp8, &[]);
    track.layer_mut(0).unwrap().keyframes.need();
    let frame = Packet::new(1000, 1, 0, &Vp8::frame(1).payload());
    assert!(!track.take(ms(0), 0, &frame).unwrap().keyframe);
    assert!(track.layers()[0].keyframes.next_at().is_some());
    let key = Packet::new(1000, 2, 0, &Vp8::key(2).payload());
    assert!(track.take(ms(0), 0, &key).unwrap().keyframe);
    assert!(track.layers()[0].keyframes.next_at().is_none());
}

#[test]
fn fir_is_asked_for_where_pli_was_not_negotiated() {
    let mut parameters = parameters(Codec::Vp8, &[]);
    parameters.codecs[0].pli = false;
    let mut track = Publication::new(publisher(), &parameters).unwrap();
    let requester = &mut track.layer_mut(0).unwrap().keyframes;
    requester.need();
    let fir = keyframe::KeyframeRequest::FullIntraRequest { sequence_number: 1 };
    assert_eq!(requester.poll(ms(0)), Some(fir));
}

#[test]
fn a_layer_counts_as_received_for_two_seconds() {
    let mut track = publication(Codec::Vp8, &["f", "h"]);
    assert!(track.take(ms(100), 0, &media(1)).unwrap().resumed);
    assert!(!track.take(ms(100), 0, &media(2)).unwrap().resumed);
    assert!(track.layers()[0].receiving(ms(2_099)));
    assert!(!track.layers()[1].receiving(ms(100)));
    assert!(!track.receiving(ms(2_100)));
    assert!(track.take(ms(2_100), 0, &media(3)).unwrap().resumed);
}

#[test]
fn the_bit_rate_is_that_of_the_last_second() {
    let mut track = publication(Codec::Vp8, &[]);
    for number in 0..300_u16 {
        let packet = Packet::new(1000, number, 0, &[0x90; 988]);
        track
            .take(ms(10_000 + u64::from(number) * 10), 0, &packet)
            .unwrap();
    }
    let rate = track.layers()[0].bit_rate(ms(13_000));
    assert!((790_000..=810_000).contains(&rate), "{rate}");
    assert_eq!(track.layers()[0].bit_rate(ms(20_000)), 0);
}

#[test]
fn another_ssrc_of_a_layer_gets_numbers_of_its_own() {
    let mut track = publication(Codec::Vp8, &[]);
    let first = track.take(ms(0), 0, &media(100)).unwrap().sequence_number;
    let mut other = media(104);
    other.header.ssrc = 4_711;
    let second = track.take(ms(0), 0, &other).unwrap().sequence_number;
    assert!(second > first + 65_536);
    let stream = |track: &Publication, number| track.packet(0, number).unwrap().stream;
    assert_ne!(stream(&track, first), stream(&track, second));
    assert_eq!(track.layers()[0].ssrc(), Some(4_711));
    // Reordered packets of the new stream are still above all of the old one.
    other.header.sequence_number = 103;
    assert_eq!(
        track.take(ms(0), 0, &other).unwrap().sequence_number,
        second - 1
    );
    assert_eq!(stream(&track, second - 1), stream(&track, second));
    assert_eq!(missing(&mut track, ms(100)), []);
}

#[test]
fn the_time_of_capture_follows_from_the_sender_report() {
    let mut track = publication(Codec::Vp8, &[]);
    let mapping = report::ClockMapping {
        ntp: NtpTime::from_bits(50 << 32),
        rtp_timestamp: 3_000_u32.wrapping_sub(90_000),
    };
    let number = track.take(ms(0), 0, &media(1)).unwrap().sequence_number;
    assert_eq!(track.packet(0, number).unwrap().captured_at, None);
    track
        .layer_mut(0)
        .unwrap()
        .sender_report(ms(0), NtpTime::default(), mapping);
    let number = track.take(ms(0), 0, &media(2)).unwrap().sequence_number;
    let expected = NtpTime::from_bits((51 << 32) + (1 << 32) / 30);
    assert_eq!(track.packet(0, number).unwrap().captured_at, Some(expected));
}

#[test]
fn a_mirror_answers_like_the_original() {
    let mut track = publication(Codec::Vp8, &["f", "h"]);
    let RelayMessage::Described {
        publication,
        kind,
        layers,
        formats,
    } = track.described()
    else {
        panic!("not a description");
    };
    let mut mirror = Publication::mirror(publication, kind, &layers, formats);
    assert_eq!(mirror.id(), track.id());
    assert_eq!(mirror.layer_of_rid("h"), Some(1));
    assert_eq!(mirror.layers()[1].rid(), Some(rid("h")));
    let mut key = Packet::new(1001, 9, 5, &Vp8::key(1).payload()).padded(30);
    key.extensions.push((6, vec![3]));
    let number = track.take(ms(5), 1, &key).unwrap().sequence_number;
    let original = track.packet(1, number).unwrap();
    let accepted = mirror.insert(ms(5), 1, number, original.bytes).unwrap();
    assert!(accepted.keyframe);
    let copy = mirror.packet(1, number).unwrap();
    assert_eq!(copy.bytes, original.bytes);
    assert_eq!(
        (copy.vp8, copy.payload()),
        (original.vp8, original.payload())
    );
    assert_eq!(copy.extensions().count(), 1);
    assert_eq!(
        mirror.insert(ms(5), 1, number, copy_of(original)),
        Err(DropReason::Duplicate)
    );
}

fn copy_of(packet: CachedPacket<'_>) -> &[u8] {
    packet.bytes
}

#[test]
fn a_publication_beyond_the_limits_is_refused() {
    let mut parameters = parameters(Codec::Vp8, &["a", "b", "c", "d", "e"]);
    assert!(Publication::new(publisher(), &parameters).is_none());
    parameters.layers.clear();
    assert!(Publication::new(publisher(), &parameters).is_none());
}
