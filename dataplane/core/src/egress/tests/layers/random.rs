//! Every mode under changing wishes, with losses that are repaired late.

use proptest::prelude::*;

use super::*;

/// Every mode that a browser sends, and its kin.
pub(super) const MODES: [Mode; 14] = {
    const fn mode(signal: Signal, spatial: u8, temporal: u8, inter_layer: InterLayer) -> Mode {
        Mode {
            signal,
            spatial,
            temporal,
            inter_layer,
        }
    }
    const H264: Signal = Signal::Described(Codec::H264);
    [
        mode(Signal::Vp8, 1, 2, InterLayer::Always),
        L1T3,
        mode(H264, 1, 2, InterLayer::Always),
        mode(H264, 1, 3, InterLayer::Always),
        mode(DESCRIBED, 1, 3, InterLayer::Always),
        mode(DESCRIBED, 2, 3, InterLayer::Always),
        mode(DESCRIBED, 3, 3, InterLayer::Always),
        mode(DESCRIBED, 3, 3, InterLayer::Key),
        mode(Signal::Vp9Flexible, 1, 3, InterLayer::Always),
        mode(Signal::Vp9Flexible, 2, 2, InterLayer::Always),
        mode(Signal::Vp9Flexible, 3, 3, InterLayer::Always),
        mode(Signal::Vp9Flexible, 3, 3, InterLayer::Key),
        mode(Signal::Vp9Group, 3, 3, InterLayer::Always),
        mode(Signal::Vp9Group, 2, 3, InterLayer::Key),
    ]
};

/// What happens with one picture.
#[derive(Clone, Debug)]
struct Step {
    wish: Option<(u8, u8)>,
    /// Of one frame after the other.
    packet_counts: Vec<u8>,
    /// A packet of the picture that is lost, and how many pictures later it comes.
    loss: Option<(usize, usize)>,
}

fn step() -> impl Strategy<Value = Step> {
    let wish = proptest::option::weighted(0.15, (0_u8..4, 0_u8..4));
    let loss = proptest::option::weighted(0.15, (0_usize..9, 1_usize..5));
    let packet_counts = proptest::collection::vec(1_u8..4, 3);
    (wish, packet_counts, loss).prop_map(|(wish, packet_counts, loss)| Step {
        wish,
        packet_counts,
        loss,
    })
}

/// Plays it all. A key frame comes with the next picture once it is asked for.
fn play(mode: Mode, steps: &[Step]) -> Stage {
    let mut stage = Stage::new(mode);
    let mut late: Vec<(usize, Packet)> = Vec::new();
    stage.pictures(1);
    for (at, step) in steps.iter().enumerate() {
        if let Some((spatial, temporal)) = step.wish {
            stage.get(spatial, temporal);
        }
        let is_key = stage.wants_keyframe();
        let mut counts = step.packet_counts.iter().copied();
        let first_frame = stage.encoder.frames.len();
        let packets = stage.encoder.picture(is_key, || counts.next().unwrap());
        let lost = step.loss.map(|(place, _)| place % packets.len());
        let mut frames = (first_frame..stage.encoder.frames.len()).flat_map(|frame| {
            let frame = &stage.encoder.frames[frame];
            (0..frame.packet_count).map(|_| frame.number)
        });
        let lost_frame = lost.and_then(|lost| frames.nth(lost));
        drop(frames);
        stage.disturbed.extend(lost_frame);
        for (place, packet) in packets.into_iter().enumerate() {
            if lost == Some(place) {
                let delay = step.loss.map_or(0, |(_, delay)| delay);
                late.push((at + delay, packet));
            } else {
                stage.feed(&packet);
            }
        }
        for (_, packet) in late.extract_if(.., |(due, _)| *due <= at) {
            stage.feed(&packet);
        }
        stage.bench.now = stage.bench.now + Duration::from_millis(33);
    }
    for (_, packet) in late {
        stage.feed(&packet);
    }
    stage.pictures(1);
    stage
}

/// The lowest temporal layer of the upper resolution leaves, and a frame of the middle one, which
/// refers to a withheld frame, comes late and leaves only to fill its hole. What refers to it is
/// nothing to go down with.
#[test]
fn a_late_frame_of_a_layer_that_was_withheld_is_no_way_down() {
    let mut stage = Stage::new(mode(DESCRIBED, 3, 3, InterLayer::Key));
    stage.pictures(2);
    stage.get(2, 0);
    stage.pictures(10);
    let mut packets = stage.encoder.picture(false, || 1);
    let late = packets.remove(1);
    stage.disturbed.insert(37);
    for packet in &packets {
        stage.feed(packet);
    }
    stage.pictures(1);
    stage.feed(&late);
    stage.get(0, 0);
    // Here is picture 16, whose middle frame refers to the late one.
    stage.pictures(4);
    assert_eq!(stage.gets(), Some((2, 0)));
    assert!(stage.wants_keyframe());
    stage.picture(true);
    stage.pictures(4);
    stage.assert_exactly((0, 0), 5);
    stage.check();
}

/// The structure of a key picture is lost, and comes as a repair when one who gets the lower frame
/// rate wants the upper one.
#[test]
fn a_repaired_group_of_pictures_tells_what_the_next_ones_refer_to() {
    let mut stage = Stage::new(mode(Signal::Vp9Group, 2, 3, InterLayer::Key));
    stage.get(0, 1);
    // So many that the old group does not fit the new one.
    stage.pictures(9);
    let mut packets = stage.encoder.picture(true, || 2);
    let late = packets.remove(0);
    stage.disturbed.insert(18);
    for packet in &packets {
        stage.feed(packet);
    }
    stage.pictures(1);
    stage.feed(&late);
    stage.get(0, 2);
    stage.pictures(2);
    let left: Vec<_> = stage.decoder.begun().range(18..).copied().collect();
    assert_eq!(left, [18, 22, 24]);
    stage.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_wished_and_lost_what_leaves_can_be_decoded(
        mode in proptest::sample::select(&MODES[..]),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        play(mode, &steps).check();
    }

    #[test]
    fn what_is_wished_is_reached_once_the_network_is_calm(
        mode in proptest::sample::select(&MODES[..]),
        mut steps in proptest::collection::vec(step(), 1..60),
        wish in (0_u8..4, 0_u8..4),
    ) {
        let calm = Step { wish: Some(wish), packet_counts: vec![1, 2, 1], loss: None };
        steps.extend(std::iter::repeat_n(calm, 20));
        let stage = play(mode, &steps);
        stage.assert_exactly(wish, 5);
    }
}
