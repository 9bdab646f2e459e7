//! Streams with layers through a leg that gets only some of them, judged by a decoder that knows
//! what refers to what.

mod decoder;
mod encoder;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use self::decoder::Decoder;
use self::encoder::{DESCRIPTOR_ID, Encoder, InterLayer, Mode, Signal};
use super::*;
use crate::egress::rtx::Repeater;
use crate::ingress::sub_layers::SubLayer;
use crate::ingress::testing::parameters;

const L1T3: Mode = Mode {
    signal: Signal::Vp8,
    spatial: 1,
    temporal: 3,
    inter_layer: InterLayer::Always,
};

fn mode(signal: Signal, spatial: u8, temporal: u8, inter_layer: InterLayer) -> Mode {
    Mode {
        signal,
        spatial,
        temporal,
        inter_layer,
    }
}

const DESCRIBED: Signal = Signal::Described(Codec::Av1);

/// A publisher, its publication, a leg of it, and its receiver.
struct Stage {
    encoder: Encoder,
    bench: Bench,
    decoder: Decoder,
    /// What left, by index.
    sent: BTreeMap<u64, Vec<u8>>,
    disturbed: BTreeSet<u64>,
}

impl Stage {
    fn new(mode: Mode) -> Self {
        let descriptor = ExtensionMapping {
            id: DESCRIPTOR_ID,
            extension: Extension::DependencyDescriptor,
        };
        let mut published = parameters(mode.codec(), &[]);
        published.extensions.push(descriptor);
        let mut subscribed = subscription(mode.codec(), LayerSelection::default());
        subscribed.extensions.push(descriptor);
        let mut bench = Bench {
            track: Publication::new(publisher(), &published).unwrap(),
            leg: Leg::new(&subscribed, START),
            now: ms(1_000),
        };
        bench.leg.select(bench.now, &bench.track);
        Self {
            encoder: Encoder::new(mode),
            bench,
            decoder: Decoder::default(),
            sent: BTreeMap::new(),
            disturbed: BTreeSet::new(),
        }
    }

    fn get(&mut self, spatial: u8, temporal: u8) {
        self.bench
            .leg
            .set_sub_layer(Some(SubLayer { spatial, temporal }));
    }

    /// What the leg gets.
    fn gets(&self) -> Option<(u8, u8)> {
        let current = self.bench.leg.sub_layer()?;
        Some((current.spatial, current.temporal))
    }

    fn wants_keyframe(&self) -> bool {
        self.bench.leg.wants_keyframe().is_some()
    }

    /// One packet comes.
    fn feed(&mut self, packet: &Packet) {
        let bench = &mut self.bench;
        let number = bench
            .track
            .take(bench.now, 0, packet)
            .unwrap()
            .sequence_number;
        let cached = bench.track.packet(0, number).unwrap();
        let Ok(forwarded) = bench.leg.forward(bench.now, 0, number, &cached) else {
            return;
        };
        let mut slot = [0xee; 1452];
        let written = bench
            .leg
            .write(&forwarded, None, &cached, &mut slot)
            .unwrap();
        let bytes = bytes(&written, &slot);
        let codec = self.encoder.mode.codec();
        self.decoder.take(codec, forwarded.index, &bytes);
        self.sent.insert(forwarded.index, bytes);
    }

    /// So many pictures come, in frames of two packets.
    fn pictures(&mut self, count: usize) {
        for _ in 0..count {
            self.picture(false);
        }
    }

    fn picture(&mut self, is_key: bool) {
        for packet in self.encoder.picture(is_key, || 2) {
            self.feed(&packet);
        }
        self.bench.now = self.bench.now + Duration::from_millis(33);
    }

    /// Every frame of the last `pictures` that the receiver of (spatial, temporal) needs has left,
    /// and no other.
    fn assert_exactly(&self, target: (u8, u8), pictures: usize) {
        let last = self.encoder.frames.last().unwrap().picture;
        let first = last + 1 - u64::try_from(pictures).unwrap();
        let mode = self.encoder.mode;
        let frames = self.encoder.frames.iter();
        let wanted: Vec<_> = frames
            .filter(|frame| frame.picture >= first && mode.needs(target, frame))
            .map(|frame| frame.number)
            .collect();
        let begins = first * u64::from(mode.spatial);
        let left: Vec<_> = self.decoder.begun().range(begins..).copied().collect();
        assert_eq!(left, wanted);
    }

    /// A packet is sent again plainly: it is the same to the last bit. One that is a second old may be of
    /// no use any more.
    fn assert_repeats(&mut self, index: u64) {
        self.bench.leg.repeater = Repeater::new(self.encoder.mode.codec().kind(), None, 0);
        let number = u16::try_from(index & 0xffff).unwrap();
        match self.bench.repeat(number) {
            Err(DropReason::TooLate) => {}
            repeat => assert_eq!(repeat, Ok((SSRC, index, self.sent[&index].clone()))),
        }
    }

    fn assert_all_repeat(&mut self, back: usize) {
        let recent: Vec<_> = self.sent.keys().rev().take(back).copied().collect();
        for index in recent {
            self.assert_repeats(index);
        }
    }

    fn check(&mut self) {
        self.decoder.check(&self.encoder, &self.disturbed);
        self.assert_all_repeat(30);
    }
}

#[test]
fn without_a_wish_every_layer_leaves_as_it_came() {
    for mode in random::MODES {
        let mut stage = Stage::new(mode);
        stage.pictures(9);
        let frames = stage.encoder.frames.iter().map(|frame| frame.number);
        assert!(stage.decoder.begun().into_iter().eq(frames));
        assert_eq!(stage.gets(), None);
        stage.check();
        let last = stage.encoder.frames.last().unwrap().number;
        assert_eq!(stage.decoder.masks(last), [None; 2]);
    }
}

#[test]
fn nobody_waits_for_lost_frames_of_a_frame_rate_that_was_left() {
    let mut stage = Stage::new(L1T3);
    stage.picture(true);
    stage.pictures(4);
    let indices: Vec<u64> = stage.sent.keys().copied().collect();
    stage.get(0, 0);
    stage.pictures(1);
    // Two packets each; pictures of the lowest temporal layer are every fourth.
    for (frame, pair) in stage.encoder.frames.clone().iter().zip(indices.chunks(2)) {
        let number = u16::try_from(pair[0] & 0xffff).unwrap();
        let times = repeats::refused(&mut stage.bench, number);
        assert_eq!(times, u8::from(frame.temporal == 0), "{frame:?}");
    }
}

#[test]
fn frame_rate_goes_down_with_the_next_picture() {
    for mode in random::MODES {
        let mut stage = Stage::new(mode);
        stage.pictures(5);
        stage.get(3, 0);
        stage.pictures(12);
        stage.assert_exactly((3, 0), 12);
        assert!(!stage.wants_keyframe());
        stage.check();
    }
}

#[test]
fn frame_rate_goes_up_without_a_key_frame() {
    for mode in random::MODES {
        let mut stage = Stage::new(mode);
        stage.get(3, 0);
        stage.pictures(6);
        stage.get(3, 7);
        // One period for each step.
        stage.pictures(8);
        assert!(!stage.wants_keyframe());
        stage.pictures(8);
        stage.assert_exactly((3, 7), 8);
        stage.check();
    }
}

#[test]
fn with_inter_layer_prediction_resolution_goes_down_with_the_next_picture() {
    for signal in [Signal::Vp9Flexible, Signal::Vp9Group, DESCRIBED] {
        let mut stage = Stage::new(mode(signal, 3, 3, InterLayer::Always));
        stage.pictures(6);
        stage.get(1, 2);
        stage.pictures(7);
        stage.assert_exactly((1, 2), 7);
        stage.get(0, 2);
        stage.pictures(5);
        stage.assert_exactly((0, 2), 5);
        assert_eq!(stage.gets(), Some((0, 2)));
        assert!(!stage.wants_keyframe());
        stage.check();
    }
}

#[test]
fn resolution_goes_up_with_a_key_frame_that_is_asked_for() {
    for inter_layer in [InterLayer::Always, InterLayer::Key] {
        for signal in [Signal::Vp9Flexible, Signal::Vp9Group, DESCRIBED] {
            let mut stage = Stage::new(mode(signal, 3, 3, inter_layer));
            stage.get(0, 2);
            stage.pictures(6);
            assert!(!stage.wants_keyframe());
            stage.get(2, 2);
            stage.pictures(6);
            assert!(stage.wants_keyframe());
            stage.assert_exactly((0, 2), 6);
            stage.picture(true);
            assert!(!stage.wants_keyframe());
            stage.pictures(6);
            stage.assert_exactly((2, 2), 7);
            stage.check();
        }
    }
}

#[test]
fn without_inter_layer_prediction_resolution_goes_down_with_a_key_frame_and_frame_rate_before() {
    for signal in [Signal::Vp9Flexible, Signal::Vp9Group, DESCRIBED] {
        let mut stage = Stage::new(mode(signal, 3, 3, InterLayer::Key));
        stage.get(2, 2);
        // A frame of the lowest resolution has been withheld to which others refer.
        stage.pictures(5);
        stage.get(0, 2);
        stage.pictures(8);
        assert!(stage.wants_keyframe());
        stage.picture(true);
        stage.pictures(7);
        stage.assert_exactly((0, 2), 8);
        assert!(!stage.wants_keyframe());
        stage.check();
        // Only the lowest temporal layer of the upper resolution left meanwhile.
        let meanwhile = stage.decoder.begun();
        let meanwhile: Vec<_> = meanwhile.range(15..39).copied().collect();
        assert!(
            meanwhile
                .iter()
                .all(|number| stage.encoder.frame(*number).temporal == 0)
        );
    }
}

#[test]
fn a_leg_begins_with_what_is_wanted() {
    for mode in random::MODES {
        let mut stage = Stage::new(mode);
        stage.get(1, 1);
        stage.pictures(9);
        stage.assert_exactly((1, 1), 9);
        stage.check();
    }
}

#[test]
fn a_receiver_is_told_which_decode_targets_are_left() {
    // RTP Payload Format for AV1, §A.4.
    let mut stage = Stage::new(mode(DESCRIBED, 3, 3, InterLayer::Always));
    stage.pictures(4);
    stage.get(1, 1);
    stage.pictures(8);
    let masks = |stage: &Stage| {
        let begun = stage.decoder.begun();
        stage.decoder.masks(*begun.last().unwrap())
    };
    assert_eq!(masks(&stage), [Some(0b011_011); 2]);
    stage.bench.leg.set_sub_layer(None);
    stage.picture(true);
    // The structure of a key frame says that all are sent.
    assert_eq!(masks(&stage), [None; 2]);
    stage.check();
}

#[test]
fn a_late_packet_of_a_layer_that_is_not_wanted_closes_its_hole() {
    let mut stage = Stage::new(L1T3);
    stage.pictures(4);
    stage.get(0, 0);
    stage.pictures(1);
    // The first of two packets comes after the picture behind it.
    let packets = stage.encoder.picture(false, || 2);
    stage.feed(&packets[1]);
    stage
        .disturbed
        .insert(stage.encoder.frames.last().unwrap().number);
    stage.pictures(3);
    stage.feed(&packets[0]);
    stage.pictures(4);
    stage.check();
}

#[test]
fn a_sub_layer_costs_what_it_needs() {
    let mut stage = Stage::new(mode(Signal::Vp9Flexible, 2, 2, InterLayer::Always));
    stage.pictures(60);
    let layer = stage.bench.track.layer(0).unwrap();
    let rates = layer.sub_layers(stage.bench.now);
    let order: Vec<_> = rates
        .iter()
        .map(|rate| (rate.sub_layer.spatial, rate.sub_layer.temporal))
        .collect();
    assert_eq!(order.len(), 4);
    assert_eq!(order.first(), Some(&(0, 0)));
    assert_eq!(order.last(), Some(&(1, 1)));
    let whole = layer.bit_rate(stage.bench.now);
    let top = rates.last().unwrap().bit_rate;
    assert!(top.abs_diff(whole) * 20 < whole, "{top} of {whole}");
    let base = rates.first().unwrap().bit_rate;
    assert!((whole / 8..whole / 3).contains(&base), "{base} of {whole}");
}

#[test]
fn a_stream_without_layers_has_no_sub_layers() {
    let mut bench = Bench::new(Codec::H264, &[], LayerSelection::default());
    let packet = Packet::new(1000, 1, 0, &[0x65, 0x80, 0]);
    bench.feed(0, &packet).unwrap();
    assert!(
        bench
            .track
            .layer(0)
            .unwrap()
            .sub_layers(bench.now)
            .is_empty()
    );
}
