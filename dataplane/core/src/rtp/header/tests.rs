//! Headers, read and written, beside those of the `rtp` crate.

use proptest::prelude::*;
use rtp::header::{Extension, Header};
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

use super::*;

/// Flags and extension block as given, everything else fixed.
fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![flags, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0xca, 0xfe, 0xba, 0xbe];
    packet.extend_from_slice(rest);
    packet
}

fn extensions(rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let packet = packet(0x90, rest);
    let header = RtpHeader::parse(&packet).unwrap();
    header
        .extensions(&packet)
        .map(|(id, data)| (id, data.to_vec()))
        .collect()
}

#[test]
fn the_fixed_fields_are_read() {
    let header = RtpHeader::parse(&packet(0x80, &[])).unwrap();
    assert!(header.marker);
    assert_eq!(header.payload_type, 0x60);
    assert_eq!(header.sequence_number, 0x1234);
    assert_eq!(header.timestamp, 9);
    assert_eq!(header.ssrc, 0xcafe_babe);
    assert_eq!(header.len(), 12);
}

#[test]
fn another_version_is_refused() {
    assert_eq!(RtpHeader::parse(&packet(0x40, &[])), Err(RtpError::Version));
}

#[test]
fn a_header_cut_at_any_byte_is_refused() {
    let whole = packet(
        0x92,
        &[0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0],
    );
    assert!(RtpHeader::parse(&whole).is_ok());
    for length in 0..whole.len() {
        assert_eq!(
            RtpHeader::parse(&whole[..length]),
            Err(RtpError::Truncated),
            "{length}"
        );
    }
}

#[test]
fn an_extension_block_longer_than_the_packet_is_refused() {
    let packet = packet(0x90, &[0xbe, 0xde, 0xff, 0xff, 0x10, 7, 0, 0]);
    assert_eq!(RtpHeader::parse(&packet), Err(RtpError::Truncated));
}

#[test]
fn csrcs_are_skipped() {
    let packet = packet(0x82, &[0, 0, 0, 1, 0, 0, 0, 2, 0x55]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.payload(&packet), Ok(&[0x55][..]));
}

#[test]
fn one_byte_elements_are_read_around_padding() {
    let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0, 0, 0x21, 8, 9, 0]);
    assert_eq!(found, [(1, vec![7]), (2, vec![8, 9])]);
}

#[test]
fn id_15_ends_the_one_byte_form() {
    // RFC 8285 §4.2.
    let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0xf0, 1, 0x20, 8, 0, 0]);
    assert_eq!(found, [(1, vec![7])]);
}

#[test]
fn id_0_with_a_length_ends_the_one_byte_form() {
    // RFC 8285 §4.2.
    let found = extensions(&[0xbe, 0xde, 0, 2, 0x10, 7, 0x02, 1, 1, 1, 0x20, 8]);
    assert_eq!(found, [(1, vec![7])]);
}

#[test]
fn an_element_longer_than_the_block_is_left_out() {
    assert_eq!(
        extensions(&[0xbe, 0xde, 0, 1, 0x10, 7, 0x2f, 8]),
        [(1, vec![7])]
    );
    assert_eq!(extensions(&[0x10, 0, 0, 1, 1, 200, 7, 8]), []);
}

#[test]
fn two_byte_elements_are_read_whatever_the_appbits() {
    // RFC 8285 §4.3.
    let found = extensions(&[0x10, 0x0a, 0, 2, 1, 0, 0, 200, 3, 7, 8, 9]);
    assert_eq!(found, [(1, vec![]), (200, vec![7, 8, 9])]);
}

#[test]
fn a_block_of_an_unknown_profile_is_skipped() {
    let packet = packet(0x90, &[0xab, 0xac, 0, 1, 0x10, 7, 0, 0, 0x55]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.extensions(&packet).count(), 0);
    assert_eq!(header.payload(&packet), Ok(&[0x55][..]));
}

#[test]
fn padding_is_cut_off() {
    let packet = packet(0xa0, &[1, 2, 3, 0, 0, 3]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.payload(&packet), Ok(&[1, 2, 3][..]));
}

#[test]
fn padding_as_long_as_the_body_leaves_nothing() {
    let packet = packet(0xa0, &[0, 0, 0, 4]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.payload(&packet), Ok(&[][..]));
}

#[test]
fn padding_that_lies_is_an_error() {
    for body in [&[][..], &[1, 2, 0], &[1, 2, 4], &[255]] {
        let packet = packet(0xa0, body);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), Err(RtpError::Padding), "{body:?}");
    }
}

#[test]
fn padding_never_reaches_into_the_extension_block() {
    let packet = packet(0xb0, &[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 2]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.payload(&packet), Err(RtpError::Padding));
}

#[test]
fn an_element_that_no_form_can_say_is_left_out() {
    let long = [0; 256];
    let header = outgoing();
    let mut out = [0; 400];
    let elements = [(0, &[1][..]), (1, &long[..])];
    assert_eq!(header.write(elements.into_iter(), &mut out), Some(12));
    assert_eq!(out[0], 0x80);
}

#[test]
fn a_buffer_too_small_is_told() {
    let elements = [(3, &[1, 2, 3][..]), (4, &[5][..])];
    let mut out = [0; 24];
    assert_eq!(outgoing().write(elements.into_iter(), &mut out), Some(24));
    for length in 0..24 {
        assert_eq!(
            outgoing().write(elements.into_iter(), &mut out[..length]),
            None
        );
    }
}

fn outgoing() -> OutgoingHeader {
    OutgoingHeader {
        padded: false,
        marker: true,
        payload_type: 96,
        sequence_number: 5,
        timestamp: 6,
        ssrc: 7,
    }
}

fn elements(ids: u8, bytes: usize) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    proptest::collection::btree_map(
        1..=ids,
        proptest::collection::vec(any::<u8>(), 1..=bytes),
        0..6,
    )
    .prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn what_we_write_the_rtp_crate_reads(
        padded: bool,
        marker: bool,
        payload_type in 0_u8..128,
        sequence_number: u16,
        timestamp: u32,
        ssrc: u32,
        (short, long, one_byte) in (elements(14, 16), elements(255, 60), any::<bool>()),
    ) {
        let elements = if one_byte { short } else { long };
        let header = OutgoingHeader { padded, marker, payload_type, sequence_number, timestamp, ssrc };
        let mut out = [0xaa; 600];
        let pairs = elements.iter().map(|(id, data)| (*id, data.as_slice()));
        let length = header.write(pairs, &mut out).unwrap();
        let theirs = Header::unmarshal(&mut &out[..length]).unwrap();
        prop_assert_eq!(theirs.padding, padded);
        prop_assert_eq!(theirs.marker, marker);
        prop_assert_eq!(theirs.payload_type, payload_type);
        prop_assert_eq!(theirs.sequence_number, sequence_number);
        prop_assert_eq!(theirs.timestamp, timestamp);
        prop_assert_eq!(theirs.ssrc, ssrc);
        prop_assert_eq!(theirs.marshal_size(), length);
        prop_assert_eq!(theirs.extensions.len(), elements.len());
        for (id, data) in &elements {
            let found = theirs.get_extension(*id);
            prop_assert_eq!(found.as_deref(), Some(data.as_slice()));
        }
    }

    #[test]
    fn what_the_rtp_crate_writes_we_read(
        marker: bool,
        payload_type in 0_u8..128,
        sequence_number: u16,
        timestamp: u32,
        ssrc: u32,
        csrc in proptest::collection::vec(any::<u32>(), 0..=15),
        one_byte: bool,
        elements in elements(14, 16),
    ) {
        let extension_profile = if one_byte { PROFILE_ONE_BYTE } else { PROFILE_TWO_BYTE };
        let theirs = Header {
            version: 2,
            extension: !elements.is_empty(),
            extension_profile,
            extensions: elements
                .iter()
                .map(|(id, data)| Extension { id: *id, payload: data.clone().into() })
                .collect(),
            marker,
            payload_type,
            sequence_number,
            timestamp,
            ssrc,
            csrc,
            ..Header::default()
        };
        let mut packet = theirs.marshal().unwrap().to_vec();
        let length = packet.len();
        packet.extend_from_slice(&[1, 2, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        prop_assert_eq!(header.len(), length);
        prop_assert_eq!(header.payload(&packet).unwrap(), &[1, 2, 3]);
        prop_assert_eq!(header.marker, marker);
        prop_assert_eq!(header.payload_type, payload_type);
        prop_assert_eq!(header.sequence_number, sequence_number);
        prop_assert_eq!(header.timestamp, timestamp);
        prop_assert_eq!(header.ssrc, ssrc);
        let found: Vec<_> =
            header.extensions(&packet).map(|(id, data)| (id, data.to_vec())).collect();
        prop_assert_eq!(found, elements);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        packet in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(header) = RtpHeader::parse(&packet) {
            prop_assert!(header.len() <= packet.len());
            prop_assert!(header.extensions(&packet).count() <= packet.len());
            if let Ok(payload) = header.payload(&packet) {
                prop_assert!(payload.len() <= packet.len() - header.len());
            }
        }
    }
}
