//! Any bytes as a STUN message. The checksum is made right, since nothing else would get through;
//! what is authenticated is answered. Without a right HMAC nothing may be.
#![no_main]

use dataplane_core::stun::{BindingRequest, IcePassword, RESPONSE_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (repaired, bytes) = input;
    let mut datagram = bytes.to_vec();
    if repaired {
        repair(&mut datagram);
    }
    let Ok(request) = BindingRequest::parse(&datagram) else {
        return;
    };
    assert!(request.local_ufrag().len() + request.remote_ufrag().len() < datagram.len());
    let password = IcePassword::new("a password of 22 bytes");
    if let Ok(request) = request.authenticate(&password) {
        let mut out = [0; RESPONSE_BYTES_MAX];
        let mapped = ([192, 0, 2, 1], 1).into();
        assert!(request.write_success(mapped, &password, &mut out).is_some());
        assert!(request.write_role_conflict(&password, &mut out).is_some());
        assert!(
            request
                .write_unknown_attributes(&password, &mut out)
                .is_some()
        );
    }
});

/// Turns the bytes into a binding request with right header, and FINGERPRINT behind them.
fn repair(datagram: &mut Vec<u8>) {
    datagram.resize(datagram.len().clamp(20, 1400).next_multiple_of(4), 0);
    let length = u16::try_from(datagram.len() - 20 + 8).expect("at most 1408");
    datagram[..2].copy_from_slice(&[0, 1]);
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    let checksum = crc32(datagram) ^ 0x5354_554e;
    datagram.extend_from_slice(&[0x80, 0x28, 0, 4]);
    datagram.extend_from_slice(&checksum.to_be_bytes());
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
