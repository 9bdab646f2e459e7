//! RED (RFC 2198): as it is to those who take it, unwrapped to the others.

use super::*;
use crate::ingress::report::ClockMapping;
use crate::ingress::testing::{codec, parameters};

/// A publisher of RED under 63 and of Opus under 111, and a leg that maps both to these.
fn bench(red: (u8, Codec)) -> Bench {
    let mut published = parameters(Codec::Opus, &[]);
    let mut of_red = codec(Codec::Red);
    of_red.payload_type = 63;
    published.codecs.insert(0, of_red);
    let to = |source_payload_type, (payload_type, codec)| CodecMapping {
        source_payload_type,
        payload_type,
        codec,
        rtx_payload_type: Some(121),
    };
    let mut subscribed = subscription(Codec::Opus, LayerSelection::default());
    subscribed.codecs = vec![to(63, red), to(111, (109, Codec::Opus))];
    let track = Publication::new(publisher(), &published).unwrap();
    Bench::of(track, Leg::new(&subscribed, START))
}

/// Two frames under one header: one that went before, and a new one.
fn packet(number: u16) -> Packet {
    let [_, frame] = number.to_be_bytes();
    let header = (0x80_u32 << 24 | 111 << 24 | 960 << 10 | 3).to_be_bytes();
    let payload = [&header[..], &[111], &[frame - 1; 3], &[frame; 5]].concat();
    Packet::new(1000, number, u32::from(number) * 960, &payload).of_type(63)
}

fn parsed(bytes: &[u8]) -> Parsed {
    Parsed::unmarshal(&mut &bytes[..]).unwrap()
}

#[test]
fn red_passes_as_it_is() {
    let mut bench = bench((63, Codec::Red));
    let left = parsed(&bench.feed(0, &packet(7)).unwrap());
    assert_eq!(left.header.payload_type, 63);
    assert_eq!(left.payload[..], packet(7).payload);
}

#[test]
fn who_takes_no_red_gets_the_new_frame_alone() {
    let mut bench = bench((109, Codec::Opus));
    let left = parsed(&bench.feed(0, &packet(7)).unwrap());
    assert_eq!(left.header.payload_type, 109);
    assert_eq!(left.payload[..], [7; 5]);
    // RFC 3550 §6.4.1: the octets of the payload that was sent.
    let mapping = ClockMapping {
        ntp: NtpTime::default(),
        rtp_timestamp: 0,
    };
    let layer = bench.track.layer_mut(0).unwrap();
    layer.sender_report(bench.now, NtpTime::default(), mapping);
    let report = bench.leg.sender_report(NtpTime::default(), &bench.track);
    assert_eq!(report.unwrap().octets, 5);
    let plain = Packet::new(1000, 8, 8 * 960, &[9; 4]).of_type(111);
    let left = parsed(&bench.feed(0, &plain).unwrap());
    assert_eq!(
        (left.header.payload_type, &left.payload[..]),
        (109, &[9; 4][..])
    );
}

#[test]
fn what_was_unwrapped_is_unwrapped_again_when_it_is_repeated() {
    let mut bench = bench((109, Codec::Opus));
    let left = parsed(&bench.feed(0, &packet(7)).unwrap());
    bench.now = ms(1_100);
    let (ssrc, _, repeated) = bench.repeat(left.header.sequence_number).unwrap();
    let repeated = parsed(&repeated);
    assert_eq!((ssrc, repeated.header.payload_type), (RTX_SSRC, 121));
    assert_eq!(repeated.payload[2..], [7; 5]);
}

#[test]
fn red_whose_headers_lie_is_not_taken() {
    let mut bench = bench((63, Codec::Red));
    let lying = Packet::new(1000, 7, 0, &[0xef, 0, 3, 0xff, 111, 1]).of_type(63);
    let taken = bench.track.take(bench.now, 0, &lying);
    assert_eq!(taken, Err(DropReason::RtpMalformed));
}
