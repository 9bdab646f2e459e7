//! What several fuzz targets need.

use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Turns the bytes into a binding request with a right header (RFC 8489 §5) and this USERNAME, and puts
/// MESSAGE-INTEGRITY (§14.5) and FINGERPRINT (§14.7) behind them.
pub fn sign(datagram: &mut Vec<u8>, username: &str, password: &str) {
    datagram.resize(datagram.len().clamp(20, 1300).next_multiple_of(4), 0);
    datagram[..2].copy_from_slice(&[0, 1]);
    datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    let mut attribute = vec![
        0x00,
        0x06,
        0x00,
        u8::try_from(username.len()).expect("short"),
    ];
    attribute.extend_from_slice(username.as_bytes());
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    datagram.splice(20..20, attribute);
    set_length(datagram, 24);
    let mut hmac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("any length");
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
