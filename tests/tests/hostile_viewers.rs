//! A viewer that means ill harms nobody but itself.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and makes its own numbers"
)]

use core::time::Duration;

use dataplane_core::bwe::ESTIMATE_MIN;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use shared::counters::{Counter, DropReason};
use tests::attack::Claim;
use tests::call::{Call, estimate, link};
use tests::checker::{Completeness, check_leg};
use tests::network::LinkModel;
use tests::peer::{ClientOptions, Feedback};
use tests::publisher::TrackSpec;
use webrtc_util::marshal::Marshal;

/// A call of which an honest viewer has the best picture, and another one means ill.
struct Attacked {
    call: Call,
    hostile: usize,
}

impl Attacked {
    /// It agreed to tell when packets come, and the test tells what it tells.
    fn new(seed: u64) -> Self {
        Self::by(seed, Feedback::Broken)
    }

    fn by(seed: u64, feedback: Feedback) -> Self {
        let mut call = Call::new(seed, TrackSpec::camera(), link(5_000_000));
        let options = ClientOptions {
            feedback,
            ..ClientOptions::default()
        };
        let hostile = call.world.join_over(0, options, LinkModel::default());
        call.world.run_for_ms(500);
        call.watch(hostile);
        call.world.run_for_ms(8_000);
        Self { call, hostile }
    }

    fn media_ssrc(&self) -> u32 {
        self.call.world.leg(self.hostile, 0).ssrc
    }

    /// Requests that the publisher got so far: key frames, and packets again.
    fn asked_upstream(&self) -> (u64, u64) {
        let layers = &self.call.world.track(self.call.video).layers;
        let keyframes = layers.iter().map(|layer| layer.keyframe_requests).sum();
        let nacks = layers.iter().map(|layer| layer.nacks).sum();
        (keyframes, nacks)
    }

    /// The honest viewer got the best picture without a freeze all the time, and all of it.
    fn end(mut self, since: dataplane_core::time::Timestamp) {
        let call = &self.call;
        let now = call.world.now;
        let [best, middle, lowest] = call.layers(since, now);
        assert!(best > 100, "{best}");
        assert_eq!((middle, lowest), (0, 0));
        assert_eq!(call.playback().frozen(since, now), Duration::ZERO);
        let viewer = &call.world.clients[call.viewer];
        assert_eq!(
            (viewer.arrivals.missing(), viewer.arrivals.repeated),
            (0, 0)
        );
        let viewer = call.viewer;
        let world = &mut self.call.world;
        for leg in &world.clients[viewer].subscriptions {
            let (ledger, checker) = (&world.ledger, &mut world.checker);
            check_leg(viewer, leg, ledger, Completeness::Complete, checker);
        }
        world.checker.assert_clean();
    }
}

#[test]
fn a_thousand_key_frame_requests_of_one_viewer_do_not_reach_the_publisher() {
    let mut attacked = Attacked::new(1);
    let (before, began) = (attacked.asked_upstream().0, attacked.call.world.now);
    let pli = PictureLossIndication {
        sender_ssrc: 1,
        media_ssrc: attacked.media_ssrc(),
    };
    let pli = pli.marshal().unwrap();
    for _ in 0..1_000 {
        attacked.call.world.send_rtcp(attacked.hostile, &pli);
        attacked.call.world.run_for_ms(20);
    }
    attacked.call.world.run_for_ms(1_000);
    let asked = attacked.asked_upstream().0 - before;
    // Five at once, and ten more in twenty seconds.
    assert!((1..=15).contains(&asked), "{asked}");
    attacked.end(began);
}

#[test]
fn a_storm_of_nacks_of_one_viewer_takes_nothing_from_the_others() {
    let mut attacked = Attacked::new(2);
    let (before, began) = (attacked.asked_upstream(), attacked.call.world.now);
    let ssrc = attacked.media_ssrc();
    for _ in 0..1_000 {
        let world = &mut attacked.call.world;
        let received = &world.leg(attacked.hostile, 0).received;
        let last = *received.keys().last().unwrap() as u16;
        let old: Vec<u16> = (0..64).map(|back| last.wrapping_sub(back * 3)).collect();
        let never: Vec<u16> = (0..64).map(|on| last.wrapping_add(9_000 + on)).collect();
        world.nack(attacked.hostile, ssrc, &old);
        world.nack(attacked.hostile, ssrc, &never);
        world.run_for_ms(2);
    }
    let world = &attacked.call.world;
    let repeated = world.counter(0, Counter::RtpPacketsRetransmitted);
    // Each packet ten times at most.
    let received = world.leg(attacked.hostile, 0).received.len() as u64;
    assert!((1..=received * 10).contains(&repeated), "{repeated}");
    assert_eq!(
        attacked.asked_upstream(),
        before,
        "nothing is asked of the publisher"
    );
    assert!(attacked.call.world.drops(0, DropReason::RetransmissionMiss) > 60_000);
    attacked.end(began);
}

#[test]
fn a_storm_of_nacks_takes_a_bounded_part_of_a_core_also_where_nothing_is_known_of_the_path() {
    let mut attacked = Attacked::by(4, Feedback::None);
    let began = attacked.call.world.now;
    let ssrc = attacked.media_ssrc();
    let world = &mut attacked.call.world;
    let before = world.counter(0, Counter::RtpPacketsRetransmitted);
    for turn in 0..1_000 {
        let received = &world.leg(attacked.hostile, 0).received;
        let last = *received.keys().last().unwrap() as u16;
        // All that is kept, so that each place in the memory of repeats is asked for with two packets.
        let asked: Vec<u16> = (0..64)
            .map(|back| last.wrapping_sub(turn % 8 * 64 + back))
            .collect();
        world.nack(attacked.hostile, ssrc, &asked);
        world.run_for_ms(2);
    }
    // 10 Mb/s in packets of 700 bytes and more, for two seconds.
    let repeated = world.counter(0, Counter::RtpPacketsRetransmitted) - before;
    assert!((1..4_000).contains(&repeated), "{repeated}");
    attacked.end(began);
}

/// What is claimed in the `turn`th feedback after packet `told`, which was told of before, of
/// packets up to `newest`.
type Lie = fn(turn: u32, told: u64, newest: u64) -> Claim;

/// Numbers and time as an honest viewer would give them, 50 ms each.
fn honest(turn: u32, told: u64, newest: u64) -> Claim {
    Claim {
        base: (told + 1) as u16,
        count: (newest - told).min(400) as u16,
        reference_time: turn * 50 / 64,
        spacing: 20,
    }
}

const LIES: [(&str, Lie); 7] = [
    ("all at one moment", |turn, told, newest| Claim {
        spacing: 0,
        ..honest(turn, told, newest)
    }),
    ("seconds apart", |turn, told, newest| Claim {
        spacing: i16::MAX,
        ..honest(turn, told, newest)
    }),
    ("backwards", |turn, told, newest| Claim {
        spacing: i16::MIN,
        ..honest(turn, told, newest)
    }),
    ("days to and fro", |turn, told, newest| Claim {
        reference_time: if turn.is_multiple_of(2) { 0 } else { 0x7f_ffff },
        ..honest(turn, told, newest)
    }),
    ("always the same time", |_, told, newest| Claim {
        spacing: 1,
        ..honest(7, told, newest)
    }),
    ("packets that were never sent", |turn, told, newest| Claim {
        base: (newest + 20_000) as u16,
        count: 400,
        ..honest(turn, told, newest)
    }),
    ("the same packets again and again", |turn, _, newest| {
        Claim {
            base: (newest as u16).wrapping_sub(50),
            count: 50,
            spacing: 0,
            ..honest(turn, newest - 50, newest)
        }
    }),
];

/// Twice the best picture with its sound: more was never sent, whatever is said of it.
const PROVABLE_MAX: u64 = 3_600_000;

#[test]
fn feedback_that_lies_stays_in_bounds_and_harms_nobody_else() {
    for (what, lie) in LIES {
        let mut attacked = Attacked::new(3);
        let began = attacked.call.world.now;
        let mut told = 0;
        let mut estimates = Vec::new();
        for turn in 0..100 {
            let world = &mut attacked.call.world;
            let newest = world.clients[attacked.hostile].arrivals.highest().unwrap();
            if told == 0 {
                told = newest.saturating_sub(20);
            }
            if newest > told {
                world.claim(attacked.hostile, lie(turn, told, newest));
                told = newest;
            }
            world.run_for_ms(50);
            estimates.push(estimate(world, attacked.hostile));
        }
        for estimate in estimates {
            assert!(
                (ESTIMATE_MIN..=PROVABLE_MAX).contains(&estimate),
                "{what}: {estimate}"
            );
        }
        attacked.end(began);
    }
}
