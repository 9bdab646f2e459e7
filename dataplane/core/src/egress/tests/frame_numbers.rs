//! Frame numbers of VP9 and of dependency descriptors go on over a switch between encodings.

use super::*;
use crate::ingress::testing::parameters;

const DESCRIPTOR_ID: u8 = 9;

/// A whole picture of VP9 without flexible mode (RFC 9628 §4.2), with a picture id of 15 bits.
fn vp9(ssrc: u32, number: u16, is_key: bool, picture_id: u16, tl0_picture_index: u8) -> Packet {
    let first = if is_key { 0xac } else { 0xec };
    let [high, low] = (picture_id | 0x8000).to_be_bytes();
    let payload = [first, high, low, 0, tl0_picture_index, 0xab, 0xcd];
    Packet::new(ssrc, number, u32::from(number) * 3_000, &payload)
}

/// A whole frame with one layer and the payload of a key frame or of another one of `codec`.
fn described(codec: Codec, ssrc: u32, number: u16, is_key: bool, frame_number: u16) -> Packet {
    let payload = match (codec, is_key) {
        (Codec::Av1, true) => vec![0x18, 0x0a, 1],
        (Codec::H264, true) => vec![0x67, 0x42, 1],
        (Codec::Vp8, true) => Vp8::key(number).payload(),
        (Codec::Vp8, false) => Vp8::frame(number).payload(),
        _ => vec![0x10, 0x0a, 1],
    };
    let packet = Packet::new(ssrc, number, u32::from(number) * 3_000, &payload);
    packet.with_extension(DESCRIPTOR_ID, &descriptor(is_key, frame_number))
}

/// A dependency descriptor of L1T1, with its structure in key frames.
fn descriptor(is_key: bool, frame_number: u16) -> Vec<u8> {
    let [high, low] = frame_number.to_be_bytes();
    let mut data = vec![if is_key { 0xc0 } else { 0xc1 }, high, low];
    if is_key {
        data.extend([0x80, 0x00, 0x3a, 0x41, 0x01, 0x00]);
    }
    data
}

fn bench_with_descriptors(codec: Codec) -> Bench {
    let mapping = ExtensionMapping {
        id: DESCRIPTOR_ID,
        extension: Extension::DependencyDescriptor,
    };
    let mut published = parameters(codec, &["f", "h"]);
    published.extensions.push(mapping);
    let mut subscribed = subscription(codec, preferring("h"));
    subscribed.extensions.push(mapping);
    let track = Publication::new(publisher(), &published).unwrap();
    Bench::of(track, Leg::new(&subscribed, START))
}

#[test]
fn vp9_pictures_are_counted_on_over_a_switch() {
    let mut bench = Bench::new(Codec::Vp9, &["f", "h"], preferring("h"));
    bench.feed(1, &vp9(1001, 1, true, 0x7ffe, 255)).unwrap();
    let before = vp9(1001, 2, false, 0x7fff, 0);
    let out = bench.feed(1, &before).unwrap();
    assert_eq!(
        parsed(&out).payload,
        before.payload,
        "the first source's stay"
    );
    let other = vp9(1000, 1, false, 76, 8);
    bench.track.take(bench.now, 0, &other).unwrap();
    bench.select(preferring("f"));
    let out = bench.feed(0, &vp9(1000, 2, true, 77, 9)).unwrap();
    assert_eq!(parsed(&out).payload, vp9(0, 0, true, 0, 1).payload);
    let out = bench.feed(0, &vp9(1000, 3, false, 78, 10)).unwrap();
    assert_eq!(parsed(&out).payload, vp9(0, 0, false, 1, 2).payload);
    // Sent again, both sources' are the same as they were.
    let newest = parsed(&out).header.sequence_number;
    for (back, picture) in [(0, vp9(0, 0, false, 1, 2)), (2, before)] {
        let (_, _, again) = bench.repeat(newest - back).unwrap();
        assert_eq!(parsed(&again).payload[2..], picture.payload);
    }
}

#[test]
fn frame_numbers_are_counted_on_over_a_switch_whatever_the_codec() {
    for codec in [Codec::Av1, Codec::H264, Codec::Vp8] {
        let mut bench = bench_with_descriptors(codec);
        let number = |out: &[u8]| parsed(out).header.get_extension(DESCRIPTOR_ID).unwrap();
        let key = described(codec, 1001, 1, true, 0xfffe);
        assert_eq!(
            number(&bench.feed(1, &key).unwrap()),
            descriptor(true, 0xfffe)
        );
        let delta = described(codec, 1001, 2, false, 0xffff);
        assert_eq!(
            number(&bench.feed(1, &delta).unwrap()),
            descriptor(false, 0xffff)
        );
        let other = described(codec, 1000, 1, false, 500);
        bench.track.take(bench.now, 0, &other).unwrap();
        bench.select(preferring("f"));
        let key = described(codec, 1000, 2, true, 501);
        assert_eq!(
            number(&bench.feed(0, &key).unwrap()),
            descriptor(true, 0),
            "{codec:?}"
        );
        let delta = described(codec, 1000, 3, false, 502);
        let out = bench.feed(0, &delta).unwrap();
        assert_eq!(number(&out), descriptor(false, 1));
        let (_, _, again) = bench.repeat(parsed(&out).header.sequence_number).unwrap();
        assert_eq!(number(&again), descriptor(false, 1));
    }
}
