//! What packets of each codec say of their place, and what that costs.

use shared::protocol::{Codec, Extension, ExtensionMapping};

use super::described::DescribedStream;
use super::heights::PictureHeights;
use super::rates::SubLayerRates;
use super::vp9::{Vp9Packet, Vp9Stream};
use super::*;
use crate::ingress::Publication;
use crate::ingress::testing::{Packet, ms, parameters, publication, publisher};
use crate::rtp::dependency_descriptor::testing::{DescriptorSpec, StructureSpec, TemplateSpec};
use crate::rtp::payload::vp9::Descriptor;

fn sub_layer(spatial: u8, temporal: u8) -> SubLayer {
    SubLayer { spatial, temporal }
}

#[test]
fn a_set_from_a_sub_layer_up_has_all_that_reach_as_high() {
    for least in SubLayer::all() {
        for other in SubLayer::all() {
            let reaches = other.spatial >= least.spatial && other.temporal >= least.temporal;
            assert_eq!(SubLayerSet::at_least(least).contains(other), reaches);
            let within = SubLayerSet::at_least_within(least);
            assert_eq!(
                within.contains(other),
                reaches && other.spatial == least.spatial
            );
            assert_eq!(SubLayerSet::only(least).contains(other), least == other);
        }
    }
}

#[test]
fn references_further_back_than_can_be_said_are_left_out() {
    let mut references = 0;
    for diff in [0, 1, 64, 65, 4_096] {
        refer(&mut references, diff);
    }
    assert_eq!(references, 1 | 1 << 63);
}

/// The position of a VP8 packet with these bytes of descriptor behind the first.
fn vp8(flags: u8, rest: &[u8]) -> Option<LayerPosition> {
    let payload = [&[0x90, flags], rest, &[1, 0, 0]].concat();
    let mut track = publication(Codec::Vp8, &[]);
    let accepted = track.take(ms(0), 0, &Packet::new(1000, 1, 0, &payload));
    track
        .packet(0, accepted.unwrap().sequence_number)
        .unwrap()
        .position
}

#[test]
fn vp8_tells_temporal_layers_by_tid_and_y() {
    // I, L, T; temporal layer 1 with Y.
    let position = vp8(0xe0, &[0x80, 7, 5, 0x60]).unwrap();
    assert_eq!(position.sub_layer, sub_layer(0, 1));
    assert_eq!(position.frame, 7);
    assert!(position.is_temporal_step && position.starts_frame);
    assert!(!position.needed_by.contains(sub_layer(0, 0)));
    assert!(position.needed_by.contains(sub_layer(0, 1)));
    assert_eq!(position.switches_to, SubLayerSet::NONE);
}

#[test]
fn vp8_without_tid_or_picture_id_has_no_layers() {
    assert_eq!(vp8(0xc0, &[0x80, 7, 5]), None);
    assert_eq!(vp8(0x60, &[5, 0x60]), None);
}

/// A publication whose packets have dependency descriptors, with the header extension 9.
fn described(codec: Codec) -> Publication {
    let mut with_descriptors = parameters(codec, &[]);
    with_descriptors.extensions.push(ExtensionMapping {
        id: 9,
        extension: Extension::DependencyDescriptor,
    });
    Publication::new(publisher(), &with_descriptors).unwrap()
}

#[test]
fn vp8_without_tid_has_the_layers_of_its_dependency_descriptor() {
    let mut structure = two_layers();
    structure.templates[1].spatial = 0;
    structure.templates[1].temporal = 1;
    let mut track = described(Codec::Vp8);
    let mut position = |number: u16, payload: &[u8], spec: DescriptorSpec| {
        let packet = Packet::new(1000, number, 0, payload);
        let packet = packet.with_extension(9, &spec.bytes(&structure));
        let accepted = track.take(ms(0), 0, &packet).unwrap();
        track.packet(0, accepted.sequence_number).unwrap().position
    };
    let key = DescriptorSpec {
        attaches_structure: true,
        ..DescriptorSpec::default()
    };
    assert!(position(1, &vp8_key(180), key).is_some());
    let upper = DescriptorSpec {
        template: 1,
        frame_number: 1,
        ..DescriptorSpec::default()
    };
    // Chromium leaves out of the payload what the header extension says.
    let upper = position(2, &[0x10, 1, 0, 0], upper).unwrap();
    assert_eq!(upper.sub_layer, sub_layer(0, 1));
    assert!(!upper.needed_by.contains(sub_layer(0, 0)));
}

/// The position of a VP9 packet that begins with these bytes.
fn vp9(stream: &mut Vp9Stream, picture_id: u16, bytes: &[u8], marker: bool) -> LayerPosition {
    vp9_in_order(stream, picture_id, bytes, marker, true)
}

fn vp9_in_order(
    stream: &mut Vp9Stream,
    picture_id: u16,
    bytes: &[u8],
    marker: bool,
    is_newest: bool,
) -> LayerPosition {
    let mut payload = bytes.to_vec();
    payload.push(0x82);
    let descriptor = Descriptor::parse(&payload).unwrap();
    let packet = Vp9Packet {
        descriptor: &descriptor,
        picture_id,
        marker,
        is_newest,
    };
    stream.position(&packet).unwrap()
}

/// The first packet of a VP9 key picture, with a group of two pictures in two temporal layers.
fn vp9_group(picture_id: u8) -> [u8; 10] {
    [0xaa, picture_id, 0, 0, 0x08, 2, 0x04, 2, 0x24, 1]
}

/// What a VP9 picture of such a group refers to.
fn vp9_group_references(stream: &mut Vp9Stream, picture_id: u8, temporal: u8) -> u64 {
    let bytes = [0xec, picture_id, temporal << 5, 0];
    vp9(stream, picture_id.into(), &bytes, true).references
}

#[test]
fn a_vp9_group_that_comes_late_counts_if_it_is_the_newest() {
    let mut stream = Vp9Stream::default();
    vp9(&mut stream, 1, &vp9_group(1), false);
    assert_eq!(vp9_group_references(&mut stream, 2, 1), 1 << 3);
    assert_eq!(vp9_group_references(&mut stream, 3, 0), 1 << 7);
    // Of the next key picture, the second packet comes first: P is not set.
    vp9(&mut stream, 4, &[0xa4, 4, 0, 0], true);
    assert_eq!(vp9_group_references(&mut stream, 5, 0), 0);
    vp9_in_order(&mut stream, 4, &vp9_group(4), false, false);
    assert_eq!(vp9_group_references(&mut stream, 6, 0), 1 << 7);
    // An older one does not take its place.
    vp9_in_order(&mut stream, 1, &vp9_group(1), false, false);
    assert_eq!(vp9_group_references(&mut stream, 7, 1), 1 << 3);
}

#[test]
fn what_a_vp9_picture_refers_to_is_not_known_where_the_group_has_another_layer() {
    let mut stream = Vp9Stream::default();
    vp9(&mut stream, 1, &vp9_group(1), false);
    assert_eq!(vp9_group_references(&mut stream, 3, 1), 0);
    assert_eq!(vp9_group_references(&mut stream, 3, 0), 1 << 7);
}

#[test]
fn vp9_frames_refer_to_the_same_spatial_layer_and_to_the_one_below() {
    let mut stream = Vp9Stream::default();
    // I, P, L, F, B; spatial layer 1 with D; two pictures back.
    let position = vp9(&mut stream, 9, &[0xf8, 9, 0x03, 0x04], true);
    assert_eq!(position.frame, 9 * 4 + 1);
    assert_eq!(position.references, 1 | 1 << 7);
}

#[test]
fn a_vp9_layer_that_is_gone_for_long_is_stood_in_for_by_the_one_below() {
    let mut stream = Vp9Stream::default();
    // Not used for inter-layer prediction: Z.
    let lower = [0xf9, 9, 0x00, 0x02];
    vp9(&mut stream, 1, &[0xf8, 1, 0x02, 0x02], true);
    for picture in 2..9 {
        let position = vp9(&mut stream, picture, &lower, true);
        assert!(!position.needed_by.contains(sub_layer(1, 0)), "{picture}");
    }
    let position = vp9(&mut stream, 9, &lower, true);
    assert!(position.needed_by.contains(sub_layer(1, 0)));
}

/// Two spatial layers without prediction between them.
fn two_layers() -> StructureSpec {
    let template = |spatial, indications: &str| TemplateSpec {
        spatial,
        temporal: 0,
        indications: indications.to_owned(),
        frame_diffs: vec![2],
        chain_diffs: Vec::new(),
    };
    StructureSpec {
        template_id_offset: 5,
        templates: vec![template(0, "S-"), template(1, "-S")],
        chains: Vec::new(),
        chain_count: 0,
        resolutions: Vec::new(),
    }
}

#[test]
fn who_wants_a_target_that_is_not_active_gets_the_one_below() {
    let structure = two_layers();
    let mut stream = DescribedStream::default();
    let mut position = |spec: DescriptorSpec| stream.position(&spec.bytes(&structure), true);
    let key = DescriptorSpec {
        attaches_structure: true,
        ..DescriptorSpec::default()
    };
    let base = DescriptorSpec::default();
    let before = position(key).unwrap();
    assert!(!before.needed_by.contains(sub_layer(1, 0)));
    let alone = DescriptorSpec {
        active_targets: Some(0b01),
        ..base.clone()
    };
    for spec in [alone, base] {
        let position = position(spec).unwrap();
        assert!(position.needed_by.contains(sub_layer(1, 0)));
        assert_eq!(position.targets.unwrap().up_to(SubLayer::TOP), 0b01);
    }
}

#[test]
fn a_structure_that_comes_late_counts_if_it_is_the_newest() {
    let structure = two_layers();
    let key = |frame_number| DescriptorSpec {
        attaches_structure: true,
        frame_number,
        ..DescriptorSpec::default()
    };
    let delta = DescriptorSpec {
        frame_number: 13,
        ..DescriptorSpec::default()
    };
    let mut other = two_layers();
    other.template_id_offset = 40;
    let mut stream = DescribedStream::default();
    assert!(stream.position(&key(10).bytes(&structure), true).is_some());
    assert!(stream.position(&delta.bytes(&other), true).is_none());
    assert!(stream.position(&key(12).bytes(&other), false).is_some());
    assert!(stream.position(&delta.bytes(&other), true).is_some());
    // An older one does not take its place.
    assert!(stream.position(&key(11).bytes(&structure), false).is_none());
    assert!(stream.position(&delta.bytes(&other), true).is_some());
}

#[test]
fn targets_are_left_up_to_a_sub_layer() {
    let targets = ActiveTargets {
        place: MaskPlace::default(),
        active: 0b111_111_111,
        temporal_count: 3,
    };
    assert_eq!(targets.up_to(sub_layer(0, 0)), 0b1);
    assert_eq!(targets.up_to(sub_layer(1, 1)), 0b011_011);
    assert_eq!(targets.up_to(SubLayer::TOP), 0b111_111_111);
}

#[test]
fn rates_are_forgotten_when_nothing_comes() {
    let position = vp8(0xe0, &[0x80, 7, 5, 0x00]).unwrap();
    let mut rates = SubLayerRates::new(ms(0));
    rates.add(ms(0), &position, 1_000);
    assert_eq!(rates.rates(ms(500))[0].bit_rate, 8_000);
    assert_eq!(rates.rates(ms(1_500))[0].bit_rate, 8_000);
    assert!(rates.rates(ms(2_500)).is_empty());
    rates.add(ms(2_600), &position, 500);
    assert_eq!(rates.rates(ms(2_700))[0].bit_rate, 4_000);
}

/// Takes a packet of the first layer, and tells whether another height is known since.
fn take(track: &mut Publication, number: u16, payload: &[u8]) -> bool {
    let packet = Packet::new(1000, number, u32::from(number) * 3_000, payload);
    track.take(ms(0), 0, &packet).unwrap().resized
}

fn heights(track: &Publication) -> PictureHeights {
    track.layers()[0].heights()
}

/// The first packet of a VP8 key frame of this height.
fn vp8_key(height: u8) -> [u8; 11] {
    [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, height, 0]
}

#[test]
fn each_vp8_key_frame_says_how_high_the_pictures_are_from_then_on() {
    let mut track = publication(Codec::Vp8, &[]);
    assert_eq!(heights(&track), PictureHeights::default());
    assert!(take(&mut track, 1, &vp8_key(180)));
    assert!(!take(&mut track, 2, &[0x10, 0x11, 0, 0]));
    assert!(!take(&mut track, 3, &vp8_key(180)));
    assert_eq!(heights(&track), PictureHeights::new([180]));
    assert!(take(&mut track, 4, &vp8_key(90)));
    assert_eq!(heights(&track), PictureHeights::new([90]));
}

#[test]
fn a_key_frame_that_comes_late_counts_if_it_is_the_newest() {
    let mut track = publication(Codec::Vp8, &[]);
    take(&mut track, 1, &vp8_key(180));
    take(&mut track, 5, &[0x10, 0x11, 0, 0]);
    assert!(take(&mut track, 4, &vp8_key(90)));
    assert!(!take(&mut track, 3, &vp8_key(200)));
    assert_eq!(heights(&track), PictureHeights::new([90]));
}

#[test]
fn a_vp9_structure_tells_the_height_of_each_spatial_layer() {
    let mut track = publication(Codec::Vp9, &[]);
    // I, L, F, B, V; two spatial layers with their sizes.
    let key = [0xba, 5, 0, 0x30, 1, 0x40, 0, 180, 2, 0x80, 1, 0x68, 0x82];
    assert!(take(&mut track, 1, &key));
    assert_eq!(heights(&track), PictureHeights::new([180, 360]));
    // One without sizes says nothing of them.
    assert!(!take(&mut track, 2, &[0xba, 6, 0, 0x20, 0x82]));
    assert_eq!(heights(&track), PictureHeights::new([180, 360]));
}

#[test]
fn an_h264_parameter_set_tells_the_height() {
    let mut track = publication(Codec::H264, &[]);
    let set = [
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xba, 0x10, 0x00, 0x00,
    ];
    assert!(take(&mut track, 1, &set));
    // The picture itself comes in packets of its own.
    assert!(!take(&mut track, 2, &[0x65, 0x88, 0x84]));
    assert_eq!(heights(&track), PictureHeights::new([720]));
}

#[test]
fn a_dependency_descriptor_tells_the_height_of_each_spatial_layer() {
    let mut track = described(Codec::Av1);
    let key = DescriptorSpec {
        attaches_structure: true,
        ..DescriptorSpec::default()
    };
    let mut structure = two_layers();
    structure.resolutions = vec![(320, 180), (640, 360)];
    let packet = Packet::new(1000, 1, 0, &[0x18, 0x0a]);
    let packet = packet.with_extension(9, &key.bytes(&structure));
    assert!(track.take(ms(0), 0, &packet).unwrap().resized);
    assert_eq!(heights(&track), PictureHeights::new([180, 360]));
}

#[test]
fn another_stream_of_a_layer_is_of_unknown_height() {
    let mut track = publication(Codec::Vp8, &[]);
    take(&mut track, 1, &vp8_key(180));
    // Under another SSRC.
    let packet = Packet::new(77, 1, 0, &[0x10, 0x11, 0, 0]);
    assert!(track.take(ms(0), 0, &packet).unwrap().resized);
    assert_eq!(heights(&track), PictureHeights::default());
}
