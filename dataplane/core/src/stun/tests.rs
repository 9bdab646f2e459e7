//! Oracles: the vectors of RFC 5769, and the crate `stun` of webrtc-rs on the other side.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use stun::attributes::{ATTR_MESSAGE_INTEGRITY, AttrType};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint;
use stun::integrity::MessageIntegrity;
use stun::message::{
    BINDING_ERROR, BINDING_REQUEST as THEIR_BINDING_REQUEST, BINDING_SUCCESS, Getter, Message,
    MessageType, Setter,
};
use stun::uattrs::UnknownAttributes;
use stun::xoraddr::XorMappedAddress;

use super::{
    AuthenticatedRequest, BindingRequest, ICE_CONTROLLED, ICE_CONTROLLING, IcePassword, IceRole,
    PRIORITY, RESPONSE_BYTES_MAX, StunError, USE_CANDIDATE, USERNAME,
};

/// RFC 5769 §2.1.
const SAMPLE_REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, // type, length, cookie
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, // transaction
    0x80, 0x22, 0x00, 0x10, // SOFTWARE
    0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, //
    0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, //
    0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, // PRIORITY
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, // ICE-CONTROLLED
    0x00, 0x06, 0x00, 0x09, // USERNAME, padded with spaces
    0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, //
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY
    0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, //
    0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, //
    0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf, // FINGERPRINT
];

/// RFC 5769 §2.2.
const SAMPLE_RESPONSE: [u8; 80] = [
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, // type, length, cookie
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, // transaction
    0x80, 0x22, 0x00, 0x0b, // SOFTWARE
    0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, //
    0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6,
    0x43, // XOR-MAPPED-ADDRESS
    0x00, 0x08, 0x00, 0x14, // MESSAGE-INTEGRITY
    0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, //
    0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, //
    0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96, // FINGERPRINT
];

/// RFC 5769 §2.
const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

const FINGERPRINT_BYTES: usize = 8;
const INTEGRITY_BYTES: usize = 24;

#[test]
fn the_sample_request_is_read_and_authenticated() {
    let request = BindingRequest::parse(&SAMPLE_REQUEST).unwrap();
    assert_eq!(
        (request.local_ufrag(), request.remote_ufrag()),
        ("evtj", "h6vY")
    );
    let request = request
        .authenticate(&IcePassword::new(SAMPLE_PASSWORD))
        .unwrap();
    assert_eq!(request.priority(), Some(0x6e00_01ff));
    let tie_breaker = 0x932f_f9b1_5126_3b36;
    assert_eq!(request.role(), Some(IceRole::Controlled { tie_breaker }));
    assert!(!request.nominates());
    assert!(!request.has_unknown_attributes());
}

#[test]
fn the_mapped_address_is_written_as_in_the_sample_response() {
    let mut out = [0; RESPONSE_BYTES_MAX];
    let password = IcePassword::new(SAMPLE_PASSWORD);
    let mapped = (Ipv4Addr::new(192, 0, 2, 1), 32853).into();
    let length = sample(&password)
        .write_success(mapped, &password, &mut out)
        .unwrap();
    assert_eq!(out[..2], SAMPLE_RESPONSE[..2]);
    assert_eq!(out[4..20], SAMPLE_RESPONSE[4..20]);
    // The sample has a SOFTWARE of 16 bytes in front of it.
    assert_eq!(out[20..32], SAMPLE_RESPONSE[36..48]);
    assert_eq!(length, SAMPLE_RESPONSE.len() - 16);
}

#[test]
fn the_other_side_accepts_the_sample_response() {
    assert_eq!(accepted(&SAMPLE_RESPONSE).typ, BINDING_SUCCESS);
}

#[test]
#[should_panic(expected = "integrity")]
fn the_other_side_refuses_a_response_that_was_changed() {
    let mut response = SAMPLE_RESPONSE;
    response[24] ^= 1;
    // Its fingerprint is made right again, so that only the integrity tells.
    let crc = fingerprint::fingerprint_value(&response[..72]);
    response[76..].copy_from_slice(&crc.to_be_bytes());
    accepted(&response);
}

#[test]
fn the_other_side_accepts_our_success_and_finds_its_address() {
    let password = IcePassword::new(SAMPLE_PASSWORD);
    for ip in [
        IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let mut out = [0; RESPONSE_BYTES_MAX];
        let request = sample(&password);
        let length = request
            .write_success((ip, 4711).into(), &password, &mut out)
            .unwrap();
        let response = accepted(&out[..length]);
        assert_eq!(response.typ, BINDING_SUCCESS);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&response).unwrap();
        assert_eq!((mapped.ip, mapped.port), (ip, 4711));
    }
}

#[test]
fn a_role_conflict_is_answered_with_487() {
    let password = IcePassword::new(SAMPLE_PASSWORD);
    let mut out = [0; RESPONSE_BYTES_MAX];
    let length = sample(&password)
        .write_role_conflict(&password, &mut out)
        .unwrap();
    let response = accepted(&out[..length]);
    assert_eq!(response.typ, BINDING_ERROR);
    assert_eq!(error_code(&response), 487);
}

#[test]
fn unknown_attributes_that_must_be_understood_are_answered_with_420() {
    let message = request(&[(0x7ffe, vec![1]), (0xfffe, vec![2]), (0x0003, vec![])]);
    let password = IcePassword::new(SAMPLE_PASSWORD);
    let request = BindingRequest::parse(&message)
        .unwrap()
        .authenticate(&password)
        .unwrap();
    assert!(request.has_unknown_attributes());
    let mut out = [0; RESPONSE_BYTES_MAX];
    let length = request
        .write_unknown_attributes(&password, &mut out)
        .unwrap();
    let response = accepted(&out[..length]);
    assert_eq!(error_code(&response), 420);
    let mut unknown = UnknownAttributes(vec![]);
    unknown.get_from(&response).unwrap();
    assert_eq!(unknown.0, [AttrType(0x7ffe), AttrType(0x0003)]);
}

#[test]
fn the_longest_answer_fits() {
    let many: Vec<_> = (0..40).map(|index| (0x7000 + index, vec![])).collect();
    let message = request(&many);
    let password = IcePassword::new(SAMPLE_PASSWORD);
    let request = BindingRequest::parse(&message)
        .unwrap()
        .authenticate(&password)
        .unwrap();
    let mut out = [0; RESPONSE_BYTES_MAX];
    let length = request
        .write_unknown_attributes(&password, &mut out)
        .unwrap();
    // The bound is for MESSAGE-INTEGRITY-SHA256, which is 12 bytes longer.
    assert_eq!(length, RESPONSE_BYTES_MAX - 12);
    for length in 0..length {
        assert_eq!(
            request.write_unknown_attributes(&password, &mut out[..length]),
            None
        );
    }
}

#[test]
fn what_the_other_side_asks_is_read() {
    let message = request(&[
        (PRIORITY, 7_u32.to_be_bytes().to_vec()),
        (USE_CANDIDATE, vec![]),
        (ICE_CONTROLLING, 9_u64.to_be_bytes().to_vec()),
    ]);
    let request = authenticated(&message).unwrap();
    assert_eq!(request.priority(), Some(7));
    assert!(request.nominates());
    assert_eq!(
        request.role(),
        Some(IceRole::Controlling { tie_breaker: 9 })
    );
    assert_eq!(request.remote_ufrag(), "theirs");
}

#[test]
fn another_password_is_refused() {
    let request = BindingRequest::parse(&SAMPLE_REQUEST).unwrap();
    let result = request.authenticate(&IcePassword::new("VOkJxbRl1RmTxUk/WvJxBu"));
    assert_eq!(result.map(|_| ()), Err(StunError::Unauthenticated));
}

#[test]
fn a_request_whose_priority_was_changed_is_refused_even_with_a_right_fingerprint() {
    let mut message = SAMPLE_REQUEST;
    message[47] ^= 1;
    let crc = fingerprint::fingerprint_value(&message[..100]);
    message[104..].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(
        authenticated(&message).map(|_| ()),
        Err(StunError::Unauthenticated)
    );
}

#[test]
fn a_wrong_fingerprint_is_refused() {
    let mut message = SAMPLE_REQUEST;
    message[107] ^= 1;
    assert_eq!(parse(&message), Err(StunError::Unauthenticated));
}

#[test]
fn a_request_without_fingerprint_is_refused() {
    // RFC 8445 §7.1.
    let mut message = SAMPLE_REQUEST[..SAMPLE_REQUEST.len() - FINGERPRINT_BYTES].to_vec();
    message[3] -= 8;
    assert_eq!(parse(&message), Err(StunError::Unauthenticated));
}

#[test]
fn a_request_without_integrity_is_refused() {
    let end = SAMPLE_REQUEST.len() - FINGERPRINT_BYTES - INTEGRITY_BYTES;
    let message = with_fingerprint(SAMPLE_REQUEST[..end].to_vec());
    assert_eq!(parse(&message), Err(StunError::Unauthenticated));
}

#[test]
fn an_attribute_behind_the_integrity_is_refused() {
    let end = SAMPLE_REQUEST.len() - FINGERPRINT_BYTES;
    let mut message = SAMPLE_REQUEST[..end].to_vec();
    message.extend_from_slice(&[0x00, 0x25, 0, 0]);
    assert_eq!(parse(&with_fingerprint(message)), Err(StunError::Malformed));
}

#[test]
fn anything_behind_the_fingerprint_is_refused() {
    let mut message = SAMPLE_REQUEST.to_vec();
    message.extend_from_slice(&[0x80, 0x22, 0, 0]);
    message[3] += 4;
    assert_eq!(parse(&message), Err(StunError::Malformed));
}

#[test]
fn a_length_that_is_not_that_of_the_datagram_is_refused() {
    let mut longer = SAMPLE_REQUEST.to_vec();
    longer.extend_from_slice(&[0; 4]);
    assert_eq!(parse(&longer), Err(StunError::Malformed));
    for length in 0..SAMPLE_REQUEST.len() {
        assert_eq!(
            parse(&SAMPLE_REQUEST[..length]),
            Err(StunError::Malformed),
            "{length}"
        );
    }
}

#[test]
fn responses_and_indications_are_unexpected() {
    assert_eq!(parse(&SAMPLE_RESPONSE), Err(StunError::Unexpected));
    let mut indication = SAMPLE_REQUEST;
    indication[1] = 0x11;
    assert_eq!(parse(&indication), Err(StunError::Unexpected));
}

#[test]
fn a_username_without_colon_is_refused() {
    let message = signed(&[(USERNAME, b"ours".to_vec())]);
    assert_eq!(parse(&message), Err(StunError::Malformed));
}

#[test]
fn a_username_that_is_no_text_is_refused() {
    let message = signed(&[(USERNAME, vec![0xff, b':', 0xfe])]);
    assert_eq!(parse(&message), Err(StunError::Malformed));
}

#[test]
fn a_number_of_the_wrong_size_is_refused() {
    for kind in [PRIORITY, ICE_CONTROLLED, ICE_CONTROLLING] {
        assert_eq!(
            parse(&request(&[(kind, vec![0; 5])])),
            Err(StunError::Malformed)
        );
    }
}

#[test]
fn a_password_never_shows() {
    let shown = format!("{:?}", IcePassword::new(SAMPLE_PASSWORD));
    assert!(
        !shown.contains("VOkJ") && !shown.contains("86, 79"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn a_request_with_any_byte_changed_is_refused(at in 0..SAMPLE_REQUEST.len(), by in 1_u8..) {
        let mut message = SAMPLE_REQUEST;
        message[at] ^= by;
        prop_assert!(authenticated(&message).is_err());
    }

    #[test]
    fn garbage_behind_a_right_header_never_panics(
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut message = SAMPLE_REQUEST[..20].to_vec();
        message.extend_from_slice(&body);
        message.resize(message.len().next_multiple_of(4), 0);
        let length = u16::try_from(message.len() - 20).unwrap();
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let _ = authenticated(&message);
        let _ = authenticated(&with_fingerprint(message));
    }
}

fn parse(message: &[u8]) -> Result<(), StunError> {
    BindingRequest::parse(message).map(|_| ())
}

fn authenticated(message: &[u8]) -> Result<AuthenticatedRequest<'_>, StunError> {
    BindingRequest::parse(message)?.authenticate(&IcePassword::new(SAMPLE_PASSWORD))
}

fn sample(password: &IcePassword) -> AuthenticatedRequest<'static> {
    BindingRequest::parse(&SAMPLE_REQUEST)
        .unwrap()
        .authenticate(password)
        .unwrap()
}

/// A request made by the other side, from "theirs" to "ours", with more attributes.
fn request(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut all = vec![(USERNAME, b"ours:theirs".to_vec())];
    all.extend_from_slice(attributes);
    signed(&all)
}

fn signed(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut message = Message::new();
    message.set_type(THEIR_BINDING_REQUEST);
    message.new_transaction_id().unwrap();
    message.write_header();
    for (kind, value) in attributes {
        message.add(AttrType(*kind), value);
    }
    integrity().add_to(&mut message).unwrap();
    fingerprint::FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn integrity() -> MessageIntegrity {
    MessageIntegrity::new_short_term_integrity(SAMPLE_PASSWORD.to_owned())
}

/// The response as the other side reads it, after it has checked fingerprint and integrity.
fn accepted(response: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(response).unwrap();
    fingerprint::FINGERPRINT
        .check(&message)
        .expect("fingerprint");
    assert!(message.contains(ATTR_MESSAGE_INTEGRITY));
    integrity().check(&mut message).expect("integrity");
    let kinds: [MessageType; 2] = [BINDING_SUCCESS, BINDING_ERROR];
    assert!(kinds.contains(&message.typ));
    message
}

fn error_code(response: &Message) -> u16 {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(response).unwrap();
    error.code.0
}

/// The message with its length made right for a FINGERPRINT, and that FINGERPRINT.
fn with_fingerprint(mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len() - 20 + FINGERPRINT_BYTES).unwrap();
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = fingerprint::fingerprint_value(&message);
    message.extend_from_slice(&[0x80, 0x28, 0, 4]);
    message.extend_from_slice(&crc.to_be_bytes());
    message
}
