//! Any bytes as a STUN message. Half of them get a right length, MESSAGE-INTEGRITY and FINGERPRINT,
//! since nothing else would get through to the answers; the others must not be authenticated.
#![no_main]

use dataplane_core::stun::{BindingRequest, IcePassword, RESPONSE_BYTES_MAX};
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha1::Sha1;

fuzz_target!(|input: (bool, &[u8])| {
    let (signed, bytes) = input;
    let mut datagram = bytes.to_vec();
    if signed {
        sign(&mut datagram);
    }
    let Ok(request) = BindingRequest::parse(&datagram) else {
        return;
    };
    assert!(request.local_ufrag().len() + request.remote_ufrag().len() < datagram.len());
    let password = IcePassword::new(PASSWORD);
    let Ok(request) = request.authenticate(&password) else {
        return;
    };
    assert!(signed, "an HMAC was forged");
    let mut out = [0; RESPONSE_BYTES_MAX];
    let mapped = ([192, 0, 2, 1], 1).into();
    assert!(request.write_success(mapped, &password, &mut out).is_some());
    assert!(request.write_role_conflict(&password, &mut out).is_some());
    assert!(
        request
            .write_unknown_attributes(&password, &mut out)
            .is_some()
    );
});

/// Turns the bytes into a binding request with a right header (RFC 8489 §5) and a USERNAME, and puts
/// MESSAGE-INTEGRITY (§14.5) and FINGERPRINT (§14.7) behind them.
fn sign(datagram: &mut Vec<u8>) {
    datagram.resize(datagram.len().clamp(20, 1400).next_multiple_of(4), 0);
    datagram[..2].copy_from_slice(&[0, 1]);
    datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    datagram.splice(20..20, *b"\x00\x06\x00\x03a:b\x00");
    set_length(datagram, 24);
    let mut hmac = Hmac::<Sha1>::new_from_slice(PASSWORD.as_bytes()).expect("any length");
    hmac.update(datagram);
    datagram.extend_from_slice(&[0x00, 0x08, 0, 20]);
    datagram.extend_from_slice(&hmac.finalize().into_bytes());
    set_length(datagram, 8);
    let checksum = crc32(datagram) ^ 0x5354_554e;
    datagram.extend_from_slice(&[0x80, 0x28, 0, 4]);
    datagram.extend_from_slice(&checksum.to_be_bytes());
}

/// Writes the length of the message with `more` bytes behind what there is.
fn set_length(datagram: &mut [u8], more: usize) {
    let length = u16::try_from(datagram.len() - 20 + more).expect("at most 1440");
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The checksum of RFC 8489 §14.7, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

const PASSWORD: &str = "a password of 22 bytes";
