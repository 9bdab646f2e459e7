//! Any bytes as an RTP packet: what is read lies inside the packet, and reads the same once
//! written again.
#![no_main]

use dataplane_core::rtp::{OutgoingHeader, RtpHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let Ok(header) = RtpHeader::parse(packet) else {
        return;
    };
    assert!(header.len() <= packet.len());
    if let Ok(payload) = header.payload(packet) {
        assert!(header.len() + payload.len() <= packet.len());
    }

    let copy = OutgoingHeader {
        padded: is_padded(packet),
        marker: header.marker,
        payload_type: header.payload_type,
        sequence_number: header.sequence_number,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    };
    // Elements of the one-byte form can grow by one byte each in the two-byte form.
    let mut out = vec![0; packet.len() * 2 + 16];
    let length = copy
        .write(header.extensions(packet), &mut out)
        .expect("there is room");
    let written = &out[..length];
    let again = RtpHeader::parse(written).expect("our own header");
    assert_eq!(again.len(), length);
    assert_eq!(
        (
            again.marker,
            again.payload_type,
            again.sequence_number,
            again.timestamp,
            again.ssrc
        ),
        (
            header.marker,
            header.payload_type,
            header.sequence_number,
            header.timestamp,
            header.ssrc
        )
    );
    assert_eq!(is_padded(written), is_padded(packet));
    assert!(again.extensions(written).eq(header.extensions(packet)));
});

/// The P bit (RFC 3550 §5.1).
fn is_padded(packet: &[u8]) -> bool {
    packet[0] & 0x20 != 0
}
