//! What is sent again, and what is not.

use super::*;
use crate::egress::rtx::{self, REPEATS_MAX, UNNEEDED_AGE_MAX};

#[test]
fn padding_leaves_with_the_packet_and_its_plain_repeat_but_not_with_rtx() {
    let mut bench = Bench::vp8();
    let padded = |bench: &mut Bench, number: u16| {
        let packet = delta(1000, number, 4 + number);
        let accepted = bench.track.take(bench.now, 0, &packet).unwrap();
        let layer = bench.track.layer_mut(0).unwrap();
        layer.pad(accepted.sequence_number, 2);
        let cached = bench.track.packet(0, accepted.sequence_number).unwrap();
        let forwarded = bench
            .leg
            .forward(bench.now, 0, accepted.sequence_number, &cached);
        let mut slot = [0xee; 1452];
        let written = bench
            .leg
            .write(&forwarded.unwrap(), None, &cached, &mut slot)
            .unwrap();
        (packet, bytes(&written, &slot))
    };
    bench.feed(0, &key(1000, 9, 4)).unwrap();
    let (packet, first) = padded(&mut bench, 10);
    let out = parsed(&first);
    assert!(out.header.padding);
    // The independent reader cuts padding off.
    assert_eq!(out.payload, packet.payload);
    assert_eq!(first[first.len() - 2..], [0, 2]);

    let number = out.header.sequence_number;
    let (_, _, repeat) = bench.repeat(number).unwrap();
    let repeat = parsed(&repeat);
    assert!(!repeat.header.padding);
    assert_eq!(repeat.payload[2..], packet.payload[..]);

    bench.leg.repeater = rtx::Repeater::new(Codec::Vp8.kind(), None, 0);
    let (_, _, plain) = bench.repeat(number).unwrap();
    assert_eq!(plain, first, "the same to the last bit");
}

#[test]
fn a_plain_repeat_is_the_same_to_the_last_bit() {
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    bench.leg.repeater = rtx::Repeater::new(Codec::Vp8.kind(), None, 0);
    let mut sent = Vec::new();
    sent.push(bench.feed(1, &key(1001, 1, 100)).unwrap());
    sent.push(
        bench
            .feed(1, &delta(1001, 2, 101).with_extension(6, &[1]))
            .unwrap(),
    );
    bench
        .track
        .take(bench.now, 0, &delta(1000, 1, 300))
        .unwrap();
    bench.select(preferring("f"));
    bench.now = bench.now + Duration::from_millis(40);
    sent.push(bench.feed(0, &key(1000, 2, 301)).unwrap());
    let padding = Packet::new(1000, 3, 301 * 3_000, &[]).padded(9);
    assert_eq!(bench.feed(0, &padding), Err(DropReason::PaddingOnly));
    sent.push(bench.feed(0, &delta(1000, 4, 302)).unwrap());
    bench.select(preferring("h"));
    sent.push(bench.feed(1, &key(1001, 3, 102)).unwrap());
    for (index, packet) in (0x0100..).zip(&sent) {
        let number = sequence_number(packet);
        assert_eq!(bench.repeat(number).unwrap(), (SSRC, index, packet.clone()));
    }
    let counted = bench.leg.reports().packets();
    assert_eq!(counted, 5, "repeats are not counted");
}

#[test]
fn a_repeat_of_its_own_stream_holds_the_packet_as_it_was_sent() {
    // RFC 4588 §4.
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    bench.feed(1, &key(1001, 1, 100)).unwrap();
    bench
        .track
        .take(bench.now, 0, &delta(1000, 1, 300))
        .unwrap();
    bench.select(preferring("f"));
    let mut switched = key(1000, 2, 301).with_extension(6, &[1]);
    switched.header.marker = true;
    let first = parsed(&bench.feed(0, &switched).unwrap());
    let (ssrc, index, bytes) = bench.repeat(0x0101).unwrap();
    assert_eq!((ssrc, index), (RTX_SSRC, 9));
    let again = parsed(&bytes);
    assert_eq!(
        (again.header.ssrc, again.header.payload_type),
        (RTX_SSRC, 121)
    );
    assert_eq!(again.header.sequence_number, 9);
    assert_eq!(again.header.timestamp, first.header.timestamp);
    assert!(again.header.marker);
    assert_eq!(again.header.get_extension(2), first.header.get_extension(2));
    assert_eq!(again.payload, [&[0x01, 0x01], &first.payload[..]].concat());
    // Each repeat has a number of its own: a nonce is never used twice.
    bench.now = bench.now + Duration::from_secs(1);
    assert_eq!(bench.repeat(0x0100).unwrap().1, 10);
    assert_eq!(bench.repeat(0x0101).unwrap().1, 11);
}

#[test]
fn a_packet_lost_on_its_way_in_is_repeated_once_it_came() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.feed(0, &delta(1000, 3, 3)).unwrap();
    assert_eq!(bench.repeat(0x0101), Err(DropReason::RetransmissionMiss));
    let rtx = delta(1000, 2, 2).retransmission(2000, 1);
    bench.track.take_retransmission(bench.now, 0, &rtx).unwrap();
    assert!(bench.repeat(0x0101).is_ok());
}

#[test]
fn numbers_that_were_never_sent_are_not_repeated() {
    let mut bench = Bench::vp8();
    assert_eq!(bench.repeat(0x0100), Err(DropReason::RetransmissionMiss));
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    for number in [0x00ff, 0x0101, 0x8100, 0xffff] {
        assert_eq!(
            bench.repeat(number),
            Err(DropReason::RetransmissionMiss),
            "{number:x}"
        );
    }
}

#[test]
fn repeats_are_a_round_trip_apart_and_so_many_only() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let block = ReportBlock {
        ssrc: SSRC,
        last_sender_report: NtpTime::from_bits(10 << 32).compact(),
        ..ReportBlock::default()
    };
    bench
        .leg
        .handle_report_block(NtpTime::from_bits((10 << 32) + (1 << 31)), &block);
    assert_eq!(bench.leg.round_trip(), Some(Duration::from_millis(500)));
    bench.repeat(0x0100).unwrap();
    bench.now = bench.now + Duration::from_millis(499);
    assert_eq!(bench.repeat(0x0100), Err(DropReason::RetransmissionBudget));
    let mut repeats = 1;
    for _ in 0..100 {
        bench.now = bench.now + Duration::from_millis(500);
        repeats += u8::from(bench.repeat(0x0100).is_ok());
    }
    assert_eq!(repeats, REPEATS_MAX);
}

#[test]
fn who_asks_for_two_packets_of_one_place_in_turn_gets_them_no_more_often() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    for number in 2..=257 {
        bench.feed(0, &delta(1000, number, number)).unwrap();
    }
    bench.repeat(0x0100).unwrap();
    for _ in 0..10 {
        for number in [0x0200, 0x0100] {
            let asked = bench.repeat(number);
            assert_eq!(asked, Err(DropReason::RetransmissionBudget), "{number:x}");
        }
    }
    bench.now = bench.now + Duration::from_millis(100);
    bench.repeat(0x0200).unwrap();
}

const FULL: DropReason = DropReason::RetransmissionBudget;

/// How often a packet was refused in need, where there is no room for it.
pub(super) fn refused(bench: &mut Bench, sequence_number: u16) -> u8 {
    let (now, track) = (bench.now, &bench.track);
    let asked = bench
        .leg
        .retransmit(now, track, sequence_number, |_| Err(FULL));
    let refused = asked.map(|_| ()).unwrap_err();
    assert_eq!(refused.reason, FULL);
    refused.times_in_need
}

#[test]
fn a_repeat_for_which_there_is_no_room_is_none() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    for times in 1..2 * REPEATS_MAX {
        assert_eq!(refused(&mut bench, 0x0100), times);
    }
    assert_eq!(bench.leg.statistics.retransmitted(), 0);
    bench.repeat(0x0100).unwrap();
    assert_eq!(refused_later(&mut bench, 0x0100), 1);
}

#[test]
fn nobody_waits_for_sound_that_was_lost() {
    let mut bench = Bench::new(Codec::Opus, &[], LayerSelection::default());
    let packet = Packet::new(1000, 1, 960, &[1, 2, 3]).of_type(111);
    bench.feed(0, &packet).unwrap();
    assert_eq!(refused(&mut bench, 0x0100), 0);
}

/// The same after a round trip.
fn refused_later(bench: &mut Bench, sequence_number: u16) -> u8 {
    bench.now = bench.now + Duration::from_secs(1);
    refused(bench, sequence_number)
}

#[test]
fn a_leg_that_is_paused_repeats_nothing() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.leg.set_allowance(Allowance::Nothing);
    assert_eq!(bench.repeat(0x0100), Err(DropReason::LayerNotSelected));
    bench.leg.set_allowance(Allowance::Layer(0));
    assert!(bench.repeat(0x0100).is_ok());
}

#[test]
fn nobody_waits_for_what_came_before_a_key_frame() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.feed(0, &delta(1000, 2, 2)).unwrap();
    bench.feed(0, &key(1000, 3, 3)).unwrap();
    bench.feed(0, &delta(1000, 4, 4)).unwrap();
    let times = [0x0100, 0x0101, 0x0102, 0x0103].map(|number| refused(&mut bench, number));
    assert_eq!(times, [0, 0, 1, 1]);
}

#[test]
fn nobody_waits_for_what_was_lost_before_the_leg_was_interrupted() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.leg.interrupt();
    assert_eq!(refused(&mut bench, 0x0100), 0);
    bench.feed(0, &key(1000, 2, 2)).unwrap();
    assert_eq!(refused(&mut bench, 0x0100), 0);
    assert_eq!(refused(&mut bench, 0x0101), 1);
}

#[test]
fn other_payload_types_make_the_packets_before_unrepeatable() {
    // Under the same index they would be another content.
    let mut bench = Bench::vp8();
    bench.leg.repeater = rtx::Repeater::new(Codec::Vp8.kind(), None, 0);
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let source = PublicationId {
        session: publisher(),
        number: 1,
    };
    let mut codecs = bench.leg.codecs.clone();
    codecs[0].payload_type = 99;
    bench
        .leg
        .resubscribe(source, &codecs, LayerSelection::default());
    bench.leg.select(bench.now, &bench.track);
    assert_eq!(bench.repeat(0x0100), Err(DropReason::RetransmissionMiss));
    let out = parsed(&bench.feed(0, &key(1000, 2, 2)).unwrap());
    assert_eq!(
        (out.header.sequence_number, out.header.payload_type),
        (0x0101, 99)
    );
}

#[test]
fn a_repeat_that_was_lost_too_can_leave_twice() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let (track, leg) = (&bench.track, &mut bench.leg);
    let mut ask = |now| leg.retransmit(now, track, 0x0100, |_| Ok(())).unwrap();
    let first = ask(ms(1_000));
    let second = ask(ms(1_100));
    assert_eq!((first.is_another, second.is_another), (false, true));
    let copy = leg.copy(&second).unwrap();
    assert_eq!(copy.forwarded, second.forwarded);
    let numbers = [first, second, copy].map(|repeat| repeat.rtx.unwrap().index);
    assert_eq!(numbers, [9, 10, 11]);
}

#[test]
fn a_plain_repeat_has_no_copy() {
    let mut bench = Bench::vp8();
    bench.leg.repeater = rtx::Repeater::new(Codec::Vp8.kind(), None, 0);
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let (track, leg) = (&bench.track, &mut bench.leg);
    let repeat = leg.retransmit(ms(1_000), track, 0x0100, |_| Ok(()));
    assert!(leg.copy(&repeat.unwrap()).is_none());
}

/// The sequence number in the retransmission stream of a probe that repeats the newest packet.
fn probed(bench: &mut Bench, bytes_max: usize) -> Option<u64> {
    let (now, track) = (bench.now, &bench.track);
    let repeat = bench.leg.probe(now, track, 0, bytes_max)?;
    Some(repeat.rtx.unwrap().index)
}

#[test]
fn a_probe_repeats_nothing_that_a_receiver_has_given_up() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.now = bench.now + UNNEEDED_AGE_MAX;
    assert!(probed(&mut bench, 1_200).is_some());
    bench.now = bench.now + Duration::from_micros(1);
    assert_eq!(probed(&mut bench, 1_200), None);
}

#[test]
fn what_no_decoder_waits_for_any_more_is_not_repeated() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.feed(0, &delta(1000, 2, 2)).unwrap();
    bench.now = bench.now + UNNEEDED_AGE_MAX + Duration::from_micros(1);
    assert!(bench.repeat(0x0101).is_ok(), "what follows needs it");
    bench.feed(0, &key(1000, 3, 3)).unwrap();
    assert!(bench.repeat(0x0102).is_ok());
    bench.now = bench.now + Duration::from_secs(1);
    assert_eq!(bench.repeat(0x0101), Err(DropReason::TooLate));
    assert!(bench.repeat(0x0102).is_ok());
}

#[test]
fn what_is_too_large_for_a_probe_takes_no_number() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let mut sizes = 1..1_500;
    let first = sizes.find_map(|bytes_max| probed(&mut bench, bytes_max));
    assert_eq!(first, Some(9), "the first of the stream");
    assert!(sizes.start > 10, "smaller ones were refused");
    assert_eq!(probed(&mut bench, 5), None);
    assert_eq!(probed(&mut bench, 1_500), Some(10));
}
