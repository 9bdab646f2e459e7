//! Numbers that stay continuous, and the proof that no number is used for two packets.

mod timestamps;

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::protocol::Codec;

use super::*;
use crate::ingress::testing::{Packet, Vp8, ms, publication};
use crate::relay::Formats;
use crate::rtp::RtpHeader;

const A: Source = Source {
    layer: 0,
    stream: 0,
};
const B: Source = Source {
    layer: 1,
    stream: 0,
};
const FIRST: u64 = 500;

/// A packet with this timestamp, received at that many milliseconds.
fn at(timestamp: u32, millis: u64) -> PacketInfo {
    let packet = Packet::new(1, 1, timestamp, &[0x10, 0]).bytes();
    let header = RtpHeader::parse(&packet).unwrap();
    PacketInfo::read(
        ms(millis),
        &header,
        &packet,
        Codec::Vp8,
        &Formats::default(),
    )
    .unwrap()
}

fn plain() -> PacketInfo {
    at(0, 0)
}

/// A packet of a VP8 frame.
fn vp8(frame: Vp8) -> PacketInfo {
    let packet = Packet::new(1, 1, 0, &frame.payload()).bytes();
    let mut track = publication(Codec::Vp8, &[]);
    let header = RtpHeader::parse(&packet).unwrap();
    let number = track
        .accept(ms(0), 0, &header, &packet)
        .unwrap()
        .sequence_number;
    *track.packet(0, number).unwrap().info
}

/// A rewriter that forwards `A` from the number 1000 on.
fn started() -> Rewriter {
    let mut rewriter = Rewriter::new(FIRST);
    assert_eq!(rewriter.start(A, 1_000, &plain()).index, FIRST);
    rewriter
}

fn index(rewriter: &mut Rewriter, source: Source, number: u64) -> Option<u64> {
    rewriter
        .map(source, number, &plain())
        .map(|rewritten| rewritten.index)
}

#[test]
fn numbers_follow_the_source_with_its_holes() {
    let mut rewriter = started();
    assert_eq!(index(&mut rewriter, A, 1_001), Some(501));
    assert_eq!(index(&mut rewriter, A, 1_004), Some(504));
    assert_eq!(index(&mut rewriter, A, 1_002), Some(502), "late");
    assert_eq!(index(&mut rewriter, A, 1_005), Some(505));
}

#[test]
fn the_cycle_of_the_source_does_not_matter() {
    let mut rewriter = Rewriter::new(32_767);
    rewriter.start(A, 131_071, &plain());
    assert_eq!(index(&mut rewriter, A, 131_072), Some(32_768));
    for number in 131_073..200_000 {
        assert_eq!(index(&mut rewriter, A, number), Some(number - 98_304));
    }
}

#[test]
fn what_came_before_the_start_belongs_to_nothing() {
    let mut rewriter = started();
    assert_eq!(index(&mut rewriter, A, 999), None);
    assert_eq!(index(&mut rewriter, B, 1_001), None);
}

#[test]
fn a_switch_goes_on_without_a_hole() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_003);
    assert_eq!(rewriter.start(B, 70_000, &plain()).index, 504);
    assert_eq!(index(&mut rewriter, B, 70_001), Some(505));
    assert_eq!(rewriter.source(), Some(B));
}

#[test]
fn a_late_packet_of_a_left_span_keeps_its_place() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_003);
    rewriter.start(B, 70_000, &plain());
    assert_eq!(index(&mut rewriter, A, 1_001), Some(501));
    assert_eq!(
        index(&mut rewriter, A, 1_004),
        None,
        "after the end of its span"
    );
}

#[test]
fn a_layer_that_is_returned_to_has_two_spans() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_002);
    rewriter.start(B, 70_000, &plain());
    assert_eq!(rewriter.start(A, 1_010, &plain()).index, 504);
    assert_eq!(index(&mut rewriter, A, 1_001), Some(501));
    assert_eq!(index(&mut rewriter, A, 1_005), None, "between the spans");
    assert_eq!(index(&mut rewriter, A, 1_011), Some(505));
}

#[test]
fn a_dropped_packet_leaves_no_hole() {
    let mut rewriter = started();
    assert!(rewriter.skip(A, 1_001));
    assert!(rewriter.skip(A, 1_002));
    assert_eq!(index(&mut rewriter, A, 1_003), Some(501));
    assert_eq!(index(&mut rewriter, A, 1_004), Some(502));
}

#[test]
fn a_packet_dropped_behind_a_hole_keeps_the_hole_open() {
    let mut rewriter = started();
    assert!(rewriter.skip(A, 1_003));
    assert_eq!(index(&mut rewriter, A, 1_004), Some(503));
    assert_eq!(index(&mut rewriter, A, 1_002), Some(502));
    assert_eq!(index(&mut rewriter, A, 1_001), Some(501));
    assert_eq!(index(&mut rewriter, A, 1_003), None);
}

#[test]
fn a_packet_that_was_overtaken_cannot_be_dropped() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_002);
    assert!(
        !rewriter.skip(A, 1_001),
        "its number is open and would be asked for"
    );
    assert_eq!(index(&mut rewriter, A, 1_001), Some(501));
}

#[test]
fn packets_dropped_before_the_first_change_nothing() {
    let mut rewriter = Rewriter::new(FIRST);
    assert!(rewriter.skip(A, 7));
    assert_eq!(rewriter.start(A, 8, &plain()).index, FIRST);
    assert!(
        rewriter.skip(B, 9),
        "another source's packets take no number"
    );
    assert_eq!(index(&mut rewriter, A, 9), Some(FIRST + 1));
}

#[test]
fn a_huge_gap_becomes_a_hole_that_receivers_can_follow() {
    let mut rewriter = started();
    let far = 1_000 + 30_000;
    assert_eq!(index(&mut rewriter, A, far), Some(501 + HOLE_MAX));
    assert_eq!(index(&mut rewriter, A, far + 1), Some(502 + HOLE_MAX));
    assert_eq!(index(&mut rewriter, A, 1_001), None);
    assert!(rewriter.skip(A, far + 30_000));
    assert_eq!(
        index(&mut rewriter, A, far + 30_001),
        Some(503 + 2 * HOLE_MAX)
    );
}

#[test]
fn a_number_leads_back_to_its_source() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_003);
    rewriter.start(B, 70_000, &plain());
    index(&mut rewriter, B, 70_001);
    assert_eq!(rewriter.reverse(500), Some((A, 1_000, 500)));
    assert_eq!(
        rewriter.reverse(502),
        Some((A, 1_002, 502)),
        "a hole may be filled meanwhile"
    );
    assert_eq!(rewriter.reverse(505), Some((B, 70_001, 505)));
    assert_eq!(rewriter.reverse(506), None, "not used yet");
    assert_eq!(rewriter.reverse(499), None, "before the first");
}

#[test]
fn a_number_leads_back_over_its_wraps() {
    let mut rewriter = Rewriter::new(32_000);
    rewriter.start(A, 1_000, &plain());
    for number in 1_001..101_000 {
        index(&mut rewriter, A, number);
    }
    // 131,999 was the last: 927 modulo 2^16.
    assert_eq!(rewriter.reverse(927), Some((A, 100_999, 131_999)));
    assert_eq!(rewriter.reverse(65_535), Some((A, 100_071, 131_071)));
    assert_eq!(rewriter.reverse(928), None);
}

#[test]
fn only_so_many_spans_are_remembered() {
    let mut rewriter = started();
    let left = u64::try_from(SPANS_MAX).unwrap() + 1;
    for switch in 0..left {
        let source = if switch % 2 == 0 { B } else { A };
        rewriter.start(source, 10_000 + switch * 10, &plain());
    }
    assert_eq!(rewriter.reverse(500), None);
    assert_eq!(rewriter.reverse(501), Some((B, 10_000, 501)));
    assert_eq!(index(&mut rewriter, A, 1_000), None);
}

#[test]
fn another_publication_goes_on_where_the_last_one_ended() {
    let mut rewriter = started();
    index(&mut rewriter, A, 1_001);
    rewriter.forget_sources();
    assert_eq!(rewriter.source(), None);
    assert_eq!(rewriter.reverse(500), None, "its bytes are out of reach");
    assert_eq!(index(&mut rewriter, A, 1_002), None);
    assert_eq!(rewriter.start(A, 1_002, &plain()).index, 502);
}

#[test]
fn vp8_numbers_of_the_first_source_stay() {
    let mut rewriter = Rewriter::new(FIRST);
    assert_eq!(rewriter.start(A, 1, &vp8(Vp8::key(20_000))).vp8, None);
}

#[test]
fn vp8_numbers_go_on_over_a_switch() {
    // RFC 7741 §4.2.
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1, &vp8(Vp8::key(0x7ffe)));
    rewriter.map(
        A,
        2,
        &vp8(Vp8 {
            key_index: 31,
            ..Vp8::frame(0x7fff)
        }),
    );
    let numbers = rewriter.start(B, 1, &vp8(Vp8::key(9))).vp8.unwrap();
    assert_eq!(
        (
            numbers.picture_id,
            numbers.tl0_picture_index,
            numbers.key_index
        ),
        (0, 0, 0)
    );
    let numbers = rewriter
        .map(B, 2, &vp8(Vp8::frame(10)))
        .unwrap()
        .vp8
        .unwrap();
    assert_eq!(
        (
            numbers.picture_id,
            numbers.tl0_picture_index,
            numbers.key_index
        ),
        (1, 1, 0)
    );
    // A late packet of the source before keeps its own.
    assert_eq!(
        rewriter.map(A, 2, &vp8(Vp8::frame(0x7fff))).unwrap().vp8,
        None
    );
}

/// A packet of VP8 with this timestamp that came at this millisecond.
fn vp8_at(frame: Vp8, timestamp: u32, millis: u64) -> PacketInfo {
    let mut info = vp8(frame);
    info.timestamp = timestamp;
    info.received_at = ms(millis);
    info
}

/// A rewriter of which a packet was sent, the next one is late, and the one after was padding.
fn overtaken_by_padding() -> Rewriter {
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1, &vp8_at(Vp8::key(10), 3_000, 1_000));
    assert!(rewriter.skip(A, 3));
    rewriter
}

#[test]
fn a_switch_goes_on_from_a_frame_that_padding_overtook() {
    let mut rewriter = overtaken_by_padding();
    let late = vp8_at(Vp8::frame(11), 6_000, 1_040);
    assert_eq!(rewriter.map(A, 2, &late).unwrap().index, FIRST + 1);
    let switched = rewriter.start(B, 1, &vp8_at(Vp8::key(70), 9, 1_050));
    assert_eq!(switched.index, FIRST + 2);
    assert_eq!(switched.timestamp, 6_900, "10 ms after the late frame");
    assert_eq!(switched.vp8.unwrap().picture_id, 12);
}

#[test]
fn what_begins_follows_a_frame_that_left_after_its_source_was_interrupted() {
    let mut rewriter = overtaken_by_padding();
    rewriter.interrupt();
    let late = vp8_at(Vp8::frame(11), 6_000, 1_040);
    assert_eq!(rewriter.map(A, 2, &late).unwrap().index, FIRST + 1);
    let begun = rewriter.start(A, 9, &vp8_at(Vp8::key(18), 27_000, 1_300));
    assert_eq!(begun.index, FIRST + 2);
    assert_eq!(begun.vp8.unwrap().picture_id, 12);
}

#[test]
fn a_hole_at_the_end_of_a_source_is_not_filled_after_the_switch() {
    let mut rewriter = started();
    assert!(rewriter.skip(A, 1_002));
    assert!(rewriter.skip(A, 1_004));
    assert_eq!(rewriter.start(B, 70_000, &plain()).index, 501);
    assert_eq!(index(&mut rewriter, A, 1_001), None);
    assert_eq!(index(&mut rewriter, A, 1_003), None);
    assert_eq!(rewriter.reverse(501), Some((B, 70_000, 501)));
    assert_eq!(rewriter.reverse(500), Some((A, 1_000, 500)));
}

#[test]
fn vp8_picture_ids_of_7_bits_become_15() {
    let mut rewriter = Rewriter::new(FIRST);
    let numbers = rewriter
        .start(A, 1, &vp8(Vp8::key(100).short()))
        .vp8
        .unwrap();
    assert_eq!(numbers.picture_id, 100);
}

/// What happens to a leg.
#[derive(Clone, Debug)]
enum Step {
    Packet {
        layer: u8,
        ahead: u64,
        keyframe: bool,
    },
    Late {
        layer: u8,
        behind: u64,
    },
    Skip {
        ahead: u64,
        begins_picture: bool,
    },
    Switch(u8),
}

#[expect(
    clippy::disallowed_types,
    reason = "`prop_oneof!` shares its strategies in an `Arc`"
)]
fn step() -> impl Strategy<Value = Step> {
    let ahead = prop_oneof![8 => 1_u64..4, 1 => 1_u64..40_000];
    prop_oneof![
        8 => (0_u8..3, ahead.clone(), any::<bool>())
            .prop_map(|(layer, ahead, keyframe)| Step::Packet { layer, ahead, keyframe }),
        4 => (0_u8..3, 0_u64..60).prop_map(|(layer, behind)| Step::Late { layer, behind }),
        2 => (ahead, any::<bool>())
            .prop_map(|(ahead, begins_picture)| Step::Skip { ahead, begins_picture }),
        1 => (0_u8..3).prop_map(Step::Switch),
    ]
}

/// The content of a packet follows from where it comes from.
fn content(source: Source, number: u64) -> PacketInfo {
    let id = u16::try_from(number / 3 % 128).unwrap();
    let mut info = vp8(Vp8::key(id).short());
    info.timestamp =
        u32::try_from(number / 3 * 3_000 % (1 << 32)).unwrap() ^ u32::from(source.layer);
    info
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// An index is never used for two different packets or in two different ways: see the
    /// documentation of the module.
    #[test]
    fn an_index_always_means_the_same_packet(steps in prop::collection::vec(step(), 1..300)) {
        let mut rewriter = Rewriter::new(FIRST);
        let mut highest = [70_000_u64, 140_000, 210_000];
        let mut target = 0;
        let mut sent = BTreeMap::<u64, (Source, u64, Rewritten)>::new();
        for step in steps {
            let (layer, number, keyframe) = match step {
                Step::Switch(layer) => { target = layer; continue }
                Step::Skip { ahead, begins_picture } => {
                    let Some(source) = rewriter.source() else { continue };
                    let own = &mut highest[usize::from(source.layer)];
                    *own += ahead;
                    if rewriter.is_next(source, *own) {
                        rewriter.skip_next(*own, &content(source, *own), begins_picture);
                    } else {
                        rewriter.skip(source, *own);
                    }
                    continue;
                }
                Step::Packet { layer, ahead, keyframe } => {
                    highest[usize::from(layer)] += ahead;
                    (layer, highest[usize::from(layer)], keyframe)
                }
                Step::Late { layer, behind } => (layer, highest[usize::from(layer)] - behind, false),
            };
            let source = Source { layer, stream: 0 };
            let info = content(source, number);
            let rewritten = match rewriter.map(source, number, &info) {
                Some(rewritten) => rewritten,
                None if layer == target && keyframe && rewriter.source() != Some(source) => {
                    rewriter.start(source, number, &info)
                }
                None => continue,
            };
            let known = sent.entry(rewritten.index).or_insert((source, number, rewritten));
            prop_assert_eq!(*known, (source, number, rewritten));
            prop_assert!(rewritten.index >= FIRST);
        }
        // Whatever can still be answered for is answered as it was first sent.
        for (index, (source, number, rewritten)) in sent {
            let wire = u16::try_from(index & 0xffff).unwrap();
            if let Some((found, found_number, found_index)) = rewriter.reverse(wire)
                && found_index == index
            {
                prop_assert_eq!((found, found_number), (source, number));
                let again = rewriter.map(source, number, &content(source, number));
                prop_assert_eq!(again, Some(rewritten));
            }
        }
    }
}

#[test]
fn a_picture_that_is_skipped_leaves_no_hole_in_numbers_or_picture_ids() {
    let mut rewriter = Rewriter::new(FIRST);
    rewriter.start(A, 1_000, &vp8(Vp8::key(70)));
    // Two packets of one picture.
    rewriter.skip_next(1_001, &vp8(Vp8::frame(71)), true);
    rewriter.skip_next(1_002, &vp8(Vp8::frame(71)), false);
    let next = rewriter.map(A, 1_003, &vp8(Vp8::frame(72))).unwrap();
    assert_eq!(next.index, FIRST + 1);
    assert_eq!(next.vp8.unwrap().picture_id, 71);
    assert_eq!(next.vp8.unwrap().tl0_picture_index, 72);
}

#[test]
fn what_comes_late_of_a_withheld_picture_has_the_number_of_the_one_before() {
    let mut rewriter = Rewriter::new(FIRST);
    let sent = |rewriter: &mut Rewriter, number, picture| {
        let rewritten = rewriter.map(A, number, &vp8(Vp8::frame(picture).short()));
        rewritten.unwrap().vp8.unwrap().picture_id
    };
    rewriter.start(A, 1_000, &vp8(Vp8::key(70).short()));
    // Pictures of three packets, 71 and 73 withheld. Of each that comes, the second is the first
    // to come.
    rewriter.skip_next(1_002, &vp8(Vp8::frame(71).short()), true);
    assert_eq!(sent(&mut rewriter, 1_005, 72), 71);
    rewriter.skip_next(1_008, &vp8(Vp8::frame(73).short()), true);
    assert_eq!(sent(&mut rewriter, 1_010, 74), 72);
    let mut late = |number, picture| sent(&mut rewriter, number, picture);
    assert_eq!([late(1_001, 71), late(1_003, 71)], [70, 70]);
    assert_eq!([late(1_004, 72), late(1_006, 72)], [71, 71]);
    assert_eq!([late(1_007, 73), late(1_009, 73)], [71, 71]);
}

#[test]
fn a_cut_holds_from_the_next_packet_on() {
    let cut = SubLayer {
        spatial: 0,
        temporal: 1,
    };
    let mut rewriter = started();
    rewriter.set_cut(Some(cut));
    // Two were lost before it: they are what they would have been.
    let next = rewriter.map(A, 1_003, &plain()).unwrap();
    assert_eq!((next.index, next.cut), (FIRST + 3, Some(cut)));
    let late = rewriter.map(A, 1_002, &plain()).unwrap();
    assert_eq!((late.index, late.cut), (FIRST + 2, None));
    assert_eq!(rewriter.reverse(502), Some((A, 1_002, FIRST + 2)));
    assert_eq!(rewriter.reverse(503), Some((A, 1_003, FIRST + 3)));
}
