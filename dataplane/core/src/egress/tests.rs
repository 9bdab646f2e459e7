//! A leg from the packets of its publication to the bytes in the slot. The independent reader of
//! what is written is the `rtp` crate.

mod frame_numbers;
mod layers;
mod red;
mod repeats;
mod reports;
mod waiting;

use core::time::Duration;

use arrayvec::ArrayString;
use rtp::packet::Packet as Parsed;
use shared::counters::DropReason;
use shared::id::PublicationId;
use shared::protocol::{
    Codec, CodecMapping, Extension, ExtensionMapping, Hints, LayerSelection, Ordering,
    SubscribeParameters,
};
use webrtc_util::marshal::Unmarshal;

use super::*;
use crate::ingress::Publication;
use crate::ingress::testing::{Packet, Vp8, ms, publication, publisher, rid};
use crate::rtcp::ReportBlock;
use crate::time::{NtpTime, Timestamp};

/// A publication, one leg of it, and the time.
struct Bench {
    track: Publication,
    leg: Leg,
    now: Timestamp,
}

impl Bench {
    fn new(codec: Codec, rids: &[&str], selection: LayerSelection) -> Self {
        Self::of(publication(codec, rids), leg(codec, selection))
    }

    fn of(track: Publication, leg: Leg) -> Self {
        let mut bench = Self {
            track,
            leg,
            now: ms(1_000),
        };
        bench.leg.select(bench.now, &bench.track);
        bench
    }

    fn vp8() -> Self {
        Self::new(Codec::Vp8, &[], LayerSelection::default())
    }

    /// One packet comes: what leaves?
    fn feed(&mut self, layer: u8, packet: &Packet) -> Result<Vec<u8>, DropReason> {
        let accepted = self.track.take(self.now, layer, packet).unwrap();
        let cached = self.track.packet(layer, accepted.sequence_number).unwrap();
        let forwarded = self
            .leg
            .forward(self.now, layer, accepted.sequence_number, &cached)?;
        let mut slot = [0xee; 1452];
        let written = self
            .leg
            .write(&forwarded, None, &cached, &mut slot)
            .unwrap();
        assert_eq!((written.ssrc, written.index), (SSRC, forwarded.index));
        Ok(bytes(&written, &slot))
    }

    fn repeat(&mut self, sequence_number: u16) -> Result<(u32, u64, Vec<u8>), DropReason> {
        let repeat = self
            .leg
            .retransmit(self.now, &self.track, sequence_number, |_| Ok(()))
            .map_err(|refused| refused.reason)?;
        let mut slot = [0xee; 1452];
        let written = self.leg.write_repeat(&repeat, None, &mut slot).unwrap();
        Ok((written.ssrc, written.index, bytes(&written, &slot)))
    }

    fn select(&mut self, selection: LayerSelection) {
        let source = PublicationId {
            session: publisher(),
            number: 1,
        };
        let codecs = self.leg.codecs.clone();
        self.leg.resubscribe(source, &codecs, selection);
        self.leg.select(self.now, &self.track);
    }
}

/// Header and payload as they go to be sealed.
fn bytes(written: &Written<'_>, slot: &[u8]) -> Vec<u8> {
    match written.payload {
        PayloadSource::Shared(payload) => [&slot[..written.header_len], payload].concat(),
        PayloadSource::InSlot(len) => slot[..len].to_vec(),
    }
}

fn leg(codec: Codec, selection: LayerSelection) -> Leg {
    Leg::new(&subscription(codec, selection), START)
}

fn subscription(codec: Codec, selection: LayerSelection) -> SubscribeParameters {
    let source_payload_type = crate::ingress::testing::codec(codec).payload_type;
    SubscribeParameters {
        number: 5,
        mid: ArrayString::from("3").unwrap(),
        kind: codec.kind(),
        source: PublicationId {
            session: publisher(),
            number: 1,
        },
        ssrc: SSRC,
        rtx_ssrc: Some(RTX_SSRC),
        codecs: vec![CodecMapping {
            source_payload_type,
            payload_type: 120,
            codec,
            rtx_payload_type: Some(121),
        }],
        extensions: vec![
            ExtensionMapping {
                id: 1,
                extension: Extension::Mid,
            },
            ExtensionMapping {
                id: 2,
                extension: Extension::VideoOrientation,
            },
        ],
        selection,
        hints: Hints::default(),
    }
}

const START: Start = Start {
    sequence_number: 0x8100,
    rtx_sequence_number: 9,
};

fn preferring(text: &str) -> LayerSelection {
    LayerSelection {
        preferred_rid: Some(rid(text)),
        ..LayerSelection::default()
    }
}

fn key(ssrc: u32, number: u16, frame: u16) -> Packet {
    Packet::new(
        ssrc,
        number,
        u32::from(frame) * 3_000,
        &Vp8::key(frame).payload(),
    )
}

fn delta(ssrc: u32, number: u16, frame: u16) -> Packet {
    Packet::new(
        ssrc,
        number,
        u32::from(frame) * 3_000,
        &Vp8::frame(frame).payload(),
    )
}

fn parsed(mut packet: &[u8]) -> Parsed {
    Parsed::unmarshal(&mut packet).unwrap()
}

fn sequence_number(packet: &[u8]) -> u16 {
    parsed(packet).header.sequence_number
}

const SSRC: u32 = 0xdead_0001;
const RTX_SSRC: u32 = 0xdead_0002;

#[test]
fn a_packet_leaves_as_the_subscribers_own() {
    let mut bench = Bench::vp8();
    let mut packet = key(1000, 9, 4)
        .with_extension(4, b"0")
        .with_extension(6, &[1]);
    packet.header.marker = true;
    let packet = packet.with_extension(5, &[7]).padded(40);
    let out = parsed(&bench.feed(0, &packet).unwrap());
    assert_eq!(out.header.ssrc, SSRC);
    assert_eq!(out.header.payload_type, 120);
    assert_eq!(out.header.sequence_number, 0x0100, "below 2^15");
    assert_eq!(out.header.timestamp, 12_000);
    assert!(out.header.marker);
    assert!(!out.header.padding);
    assert_eq!(out.payload, packet.payload);
    // Only what goes end to end and what the subscriber negotiated, under its own id.
    assert_eq!(out.header.get_extension_ids(), [2]);
    assert_eq!(out.header.get_extension(2).unwrap(), [1][..]);
}

#[test]
fn a_payload_that_stays_as_it_is_is_not_copied() {
    let mut bench = Bench::vp8();
    let number = bench
        .track
        .take(bench.now, 0, &key(1000, 9, 4))
        .unwrap()
        .sequence_number;
    let cached = bench.track.packet(0, number).unwrap();
    let forwarded = bench.leg.forward(bench.now, 0, number, &cached).unwrap();
    let mut slot = [0; 1452];
    let written = bench
        .leg
        .write(&forwarded, None, &cached, &mut slot)
        .unwrap();
    let PayloadSource::Shared(payload) = written.payload else {
        panic!("{written:?}")
    };
    assert_eq!(payload.as_ptr(), cached.payload().as_ptr());
}

#[test]
fn a_slot_that_is_too_small_takes_nothing() {
    let mut bench = Bench::vp8();
    let number = bench
        .track
        .take(bench.now, 0, &key(1000, 9, 4))
        .unwrap()
        .sequence_number;
    let cached = bench.track.packet(0, number).unwrap();
    let forwarded = bench.leg.forward(bench.now, 0, number, &cached).unwrap();
    assert_eq!(
        bench.leg.write(&forwarded, None, &cached, &mut [0; 11]),
        None
    );
    assert_eq!(bench.leg.reports().packets(), 0);
}

#[test]
fn video_begins_with_a_key_frame_that_is_asked_for() {
    let mut bench = Bench::vp8();
    assert_eq!(bench.leg.wants_keyframe(), Some(0));
    assert_eq!(
        bench.feed(0, &delta(1000, 1, 1)),
        Err(DropReason::AwaitingKeyframe)
    );
    assert!(bench.feed(0, &key(1000, 2, 2)).is_ok());
    assert_eq!(bench.leg.wants_keyframe(), None);
    assert!(bench.feed(0, &delta(1000, 3, 3)).is_ok());
}

#[test]
fn audio_begins_at_once() {
    let mut bench = Bench::new(Codec::Opus, &[], LayerSelection::default());
    assert_eq!(bench.leg.wants_keyframe(), None);
    let packet = Packet::new(1000, 1, 960, &[1, 2, 3]).of_type(111);
    assert!(bench.feed(0, &packet).is_ok());
    assert_eq!(bench.leg.layer(), Some(0));
}

#[test]
fn a_switch_waits_for_the_key_frame_while_the_old_layer_goes_on() {
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    bench.feed(1, &key(1001, 1, 1)).unwrap();
    assert_eq!(
        bench.feed(0, &key(1000, 70, 80)),
        Err(DropReason::LayerNotSelected)
    );
    bench.select(preferring("f"));
    assert_eq!(bench.leg.wants_keyframe(), Some(0));
    assert_eq!(
        bench.feed(0, &delta(1000, 71, 81)),
        Err(DropReason::AwaitingKeyframe)
    );
    assert_eq!(
        sequence_number(&bench.feed(1, &delta(1001, 2, 2)).unwrap()),
        0x0101
    );
    bench.now = bench.now + Duration::from_millis(33);
    let number = bench
        .track
        .take(bench.now, 0, &key(1000, 72, 82))
        .unwrap()
        .sequence_number;
    let cached = bench.track.packet(0, number).unwrap();
    let forwarded = bench.leg.forward(bench.now, 0, number, &cached).unwrap();
    assert!(forwarded.switched);
    assert_eq!(forwarded.index, 0x0102);
    assert_eq!(bench.leg.layer(), Some(0));
    assert_eq!(bench.leg.wants_keyframe(), None);
    assert_eq!(
        bench.feed(1, &delta(1001, 3, 3)),
        Err(DropReason::LayerNotSelected)
    );
}

#[test]
fn vp8_pictures_are_counted_on_over_a_switch() {
    // RFC 7741 §4.2.
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    bench.feed(1, &key(1001, 1, 100)).unwrap();
    bench
        .track
        .take(bench.now, 0, &delta(1000, 1, 300))
        .unwrap();
    bench.select(preferring("f"));
    let out = bench.feed(0, &key(1000, 2, 301)).unwrap();
    let expected = Vp8 {
        picture_id: 101,
        tl0_picture_index: 101,
        key_index: 4,
        ..Vp8::key(301)
    }
    .payload();
    assert_eq!(parsed(&out).payload, expected);
}

#[test]
fn a_short_picture_id_leaves_with_15_bits_and_the_rest_unchanged() {
    let mut bench = Bench::vp8();
    let short = Vp8::key(90).short();
    let out = bench
        .feed(0, &Packet::new(1000, 1, 0, &short.payload()))
        .unwrap();
    assert_eq!(
        parsed(&out).payload,
        Vp8 {
            short: false,
            ..short
        }
        .payload()
    );
}

#[test]
fn a_packet_of_padding_only_leaves_no_hole() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let padding = Packet::new(1000, 2, 3_000, &[]).padded(200);
    assert_eq!(bench.feed(0, &padding), Err(DropReason::PaddingOnly));
    assert_eq!(
        sequence_number(&bench.feed(0, &delta(1000, 3, 2)).unwrap()),
        0x0101
    );
}

#[test]
fn padding_that_was_overtaken_fills_its_hole() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.feed(0, &delta(1000, 3, 2)).unwrap();
    let out = bench
        .feed(0, &Packet::new(1000, 2, 3_000, &[]).padded(200))
        .unwrap();
    assert_eq!(sequence_number(&out), 0x0101);
    assert!(parsed(&out).payload.is_empty());
}

#[test]
fn a_codec_that_is_not_mapped_leaves_no_hole() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    let codecs = core::mem::take(&mut bench.leg.codecs);
    bench.leg.mapping = None;
    assert_eq!(
        bench.feed(0, &delta(1000, 2, 2)),
        Err(DropReason::CodecNotMapped)
    );
    bench.leg.codecs = codecs;
    assert_eq!(
        sequence_number(&bench.feed(0, &delta(1000, 3, 3)).unwrap()),
        0x0101
    );
}

#[test]
fn another_stream_of_the_layer_begins_with_a_key_frame() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    assert_eq!(
        bench.feed(0, &delta(4_711, 500, 9)),
        Err(DropReason::AwaitingKeyframe)
    );
    assert_eq!(bench.leg.wants_keyframe(), Some(0));
    assert_eq!(
        sequence_number(&bench.feed(0, &key(4_711, 501, 10)).unwrap()),
        0x0101
    );
    assert_eq!(bench.leg.wants_keyframe(), None);
}

#[test]
fn another_publication_starts_with_its_key_frame_and_goes_on() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.track = publication(Codec::Vp8, &[]);
    let other = PublicationId {
        session: publisher(),
        number: 2,
    };
    let codecs = bench.leg.codecs.clone();
    bench
        .leg
        .resubscribe(other, &codecs, LayerSelection::default());
    bench.leg.select(bench.now, &bench.track);
    assert_eq!(bench.leg.wants_keyframe(), Some(0));
    assert_eq!(bench.repeat(0x0100), Err(DropReason::RetransmissionMiss));
    assert_eq!(
        bench.feed(0, &delta(1000, 2, 2)),
        Err(DropReason::AwaitingKeyframe)
    );
    let out = parsed(&bench.feed(0, &key(1000, 3, 3)).unwrap());
    assert_eq!(out.header.sequence_number, 0x0101);
    assert_eq!(
        out.payload,
        Vp8 {
            key_index: 4,
            ..Vp8::key(2)
        }
        .payload()
    );
}

#[test]
fn a_layer_that_falls_silent_is_replaced_where_that_is_wanted() {
    let selection = LayerSelection {
        rid_not_available: Ordering::Asciibetical,
        ..preferring("f")
    };
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], selection);
    bench.feed(0, &key(1000, 1, 1)).unwrap();
    bench.now = bench.now + Duration::from_secs(3);
    bench.track.take(bench.now, 1, &delta(1001, 1, 1)).unwrap();
    bench.leg.select(bench.now, &bench.track);
    assert_eq!(bench.leg.wants_keyframe(), Some(1));
    assert!(bench.feed(1, &key(1001, 2, 2)).is_ok());
}

#[test]
fn a_packet_of_another_stream_is_never_sent_in_place_of_the_first() {
    let mut bench = Bench::vp8();
    let packet = key(1000, 1, 1);
    let number = bench
        .track
        .take(bench.now, 0, &packet)
        .unwrap()
        .sequence_number;
    let cached = bench.track.packet(0, number).unwrap();
    bench.leg.forward(bench.now, 0, number, &cached).unwrap();
    // A mirror whose streams are counted otherwise: the same number is another packet there.
    bench.track = publication(Codec::Vp8, &[]);
    bench
        .track
        .insert(bench.now, 0, 1, &packet.bytes())
        .unwrap();
    bench
        .track
        .insert(bench.now, 0, number, &delta(1000, 1, 7).bytes())
        .unwrap();
    assert_eq!(bench.repeat(0x0100), Err(DropReason::RetransmissionMiss));
}
