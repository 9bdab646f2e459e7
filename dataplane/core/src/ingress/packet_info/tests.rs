use super::*;
use crate::ingress::testing::{Packet, Vp8, info, publication};

#[test]
fn only_end_to_end_extensions_are_known() {
    let packet = Packet::new(1000, 7, 0, &[1])
        .with_extension(4, b"0")
        .with_extension(6, &[2])
        .with_extension(9, &[3])
        .with_extension(6, &[4])
        .with_extension(5, &[5])
        .bytes();
    let info = info(&packet);
    let found: Vec<_> = info.extensions(&packet).collect();
    let expected = [
        (Extension::VideoOrientation, &[2][..]),
        (Extension::AudioLevel, &[5][..]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_end_to_end_extension_has_a_place() {
    assert_eq!(
        EXTENSIONS
            .iter()
            .filter(|known| known.is_end_to_end())
            .count(),
        END_TO_END_MAX
    );
}

const EXTENSIONS: [Extension; 15] = [
    Extension::Mid,
    Extension::RtpStreamId,
    Extension::RepairedRtpStreamId,
    Extension::TransportWideSequenceNumber,
    Extension::AbsoluteSendTime,
    Extension::TransmissionOffset,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::VideoContentType,
    Extension::VideoTiming,
    Extension::ColorSpace,
    Extension::DependencyDescriptor,
    Extension::VideoLayersAllocation,
    Extension::AbsoluteCaptureTime,
];

#[test]
fn picture_ids_of_7_bits_are_widened_across_their_wraps() {
    let mut newest = None;
    let mut widen = |id: u16, sequence_number| {
        NewestPicture::widen(&mut newest, sequence_number, id & 0x7f, false)
    };
    let ids = [(126, 1_126), (127, 1_127), (0, 1_128), (1, 1_129)];
    assert_eq!(ids.map(|(id, at)| widen(id, at)), [126, 127, 128, 129]);
    // Late ones, be it by 127 frames, change nothing for what follows.
    let ids = [(127, 1_127), (100, 1_100), (2, 1_002)];
    assert_eq!(ids.map(|(id, at)| widen(id, at)), [127, 100, 2]);
    for id in 130..600 {
        assert_eq!(widen(id, 1_000 + u64::from(id)), id);
    }
    // After a loss of a hundred frames too.
    assert_eq!(widen(700, 1_700), 700);
}

#[test]
fn packets_without_a_picture_do_not_make_a_frame_late() {
    let mut track = publication(Codec::Vp8, &[]);
    let mut picture_id = |number: u16, payload: &[u8]| {
        let packet = Packet::new(1000, number, 0, payload);
        let accepted = track.take(Timestamp::default(), 0, &packet).unwrap();
        let packet = track.packet(0, accepted.sequence_number).unwrap();
        packet.vp8.map(|position| position.picture_id)
    };
    let frame = |id: u16| Vp8::frame(id).short().payload();
    assert_eq!(picture_id(1, &frame(75)), Some(75));
    assert_eq!(picture_id(9, &[]), None);
    // More frames were overtaken than reordering alone explains: some were lost.
    assert_eq!(picture_id(8, &frame(82)), Some(82));
    assert_eq!(picture_id(7, &frame(81)), Some(81));
    assert_eq!(picture_id(10, &frame(83)), Some(83));
}

#[test]
fn picture_ids_of_15_bits_stay_as_they_are() {
    let mut newest = None;
    assert_eq!(NewestPicture::widen(&mut newest, 1, 20_000, true), 20_000);
    assert_eq!(NewestPicture::widen(&mut newest, 2, 5, true), 5);
}
