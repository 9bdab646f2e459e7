//! Who gets what, and that nothing flaps.

use proptest::prelude::*;

use super::*;
use crate::ingress::testing::ms;

fn wish(kind: LegKind, priority: u8, layers: &[u64]) -> Wish {
    Wish {
        kind,
        priority,
        layers: layers.iter().copied().collect(),
        asked_for_less: false,
    }
}

fn camera(layers: &[u64]) -> Share {
    Share::new(wish(LegKind::Camera, 0, layers))
}

fn screen(layers: &[u64]) -> Share {
    Share::new(wish(LegKind::Screen, 0, layers))
}

fn audio_leg() -> Share {
    Share::new(wish(LegKind::Always, 0, &[30_000]))
}

const SIMULCAST: [u64; 3] = [150_000, 500_000, 2_500_000];

fn layers(shares: &[Share]) -> Vec<Option<u8>> {
    shares.iter().map(|share| share.grant().layer).collect()
}

/// What is granted at once to legs that come in together.
fn at_once(estimate: u64, mut shares: Vec<Share>) -> Vec<Option<u8>> {
    allocate(ms(0), estimate, &mut shares);
    layers(&shares)
}

/// What legs would get of so much if nothing had to be waited for.
fn planned(room: u64, shares: &[Share]) -> Plan {
    plan(room.into(), &plan::order(shares), shares)
}

/// Allocates every 100 ms from `from` to `until`, in milliseconds.
fn run(shares: &mut [Share], from: u64, until: u64, estimate: u64) -> Vec<Option<u8>> {
    for at in (from..until).step_by(100) {
        allocate(ms(at), estimate, shares);
    }
    layers(shares)
}

#[test]
fn one_leg_gets_the_best_that_fits_with_room() {
    for (estimate, layer) in [
        (100_000, None),
        (300_000, Some(0)),
        (1_000_000, Some(1)),
        (3_500_000, Some(2)),
    ] {
        assert_eq!(
            at_once(estimate, vec![camera(&SIMULCAST)]),
            [layer],
            "{estimate}"
        );
    }
}

const LOSSY: Budget = Budget {
    estimate: 3_000_000,
    loss: 0.1,
};

#[test]
fn a_better_layer_must_fit_beside_the_repeats_of_what_is_lost() {
    let mut shares = vec![camera(&SIMULCAST)];
    allocate(ms(0), LOSSY, &mut shares);
    assert_eq!(layers(&shares), [Some(1)]);
    // What plays is not taken away for them.
    assert_eq!(run(&mut shares, 100, 3_000, 3_000_000), [Some(2)]);
    for at in 3_000..6_000 {
        allocate(ms(at), LOSSY, &mut shares);
    }
    assert_eq!(layers(&shares), [Some(2)]);
}

#[test]
fn nobody_is_refused_a_picture_for_the_repeats_of_what_is_lost() {
    let mut shares = vec![camera(&[2_600_000])];
    allocate(ms(0), LOSSY, &mut shares);
    assert_eq!(layers(&shares), [Some(0)]);
}

#[test]
fn audio_is_served_whatever_the_estimate() {
    assert_eq!(
        at_once(0, vec![audio_leg(), camera(&SIMULCAST)]),
        [Some(0), None]
    );
    // At 80 kb/s video is paused, at 300 kb/s the lowest layer plays.
    assert_eq!(
        at_once(80_000, vec![audio_leg(), camera(&SIMULCAST)]),
        [Some(0), None]
    );
    assert_eq!(
        at_once(300_000, vec![audio_leg(), camera(&SIMULCAST)]),
        [Some(0), Some(0)]
    );
}

#[test]
fn nobody_is_paused_so_that_another_gets_better() {
    let legs = vec![camera(&SIMULCAST), camera(&SIMULCAST), camera(&SIMULCAST)];
    assert_eq!(at_once(600_000, legs), [Some(0), Some(0), Some(0)]);
}

#[test]
fn among_equals_those_that_lack_most_come_first() {
    let legs = vec![
        camera(&[100_000, 200_000]),
        camera(&[100_000, 200_000, 300_000]),
    ];
    assert_eq!(at_once(370_000, legs), [Some(0), Some(1)]);
}

#[test]
fn a_screen_climbs_before_cameras_and_priority_before_none() {
    let legs = vec![camera(&SIMULCAST), screen(&SIMULCAST)];
    assert_eq!(at_once(3_200_000, legs), [Some(0), Some(2)]);
    let preferred = Share::new(wish(LegKind::Camera, 9, &SIMULCAST));
    assert_eq!(
        at_once(1_000_000, vec![camera(&SIMULCAST), preferred]),
        [Some(0), Some(1)]
    );
}

#[test]
fn a_higher_priority_is_served_at_once() {
    let mut shares = [camera(&[300_000, 900_000]), camera(&[300_000, 900_000])];
    assert_eq!(run(&mut shares, 0, 5000, 1_500_000), [Some(1), Some(0)]);
    shares[1].set_wish(wish(LegKind::Camera, 1, &[300_000, 900_000]));
    assert_eq!(run(&mut shares, 5000, 5100, 1_500_000), [Some(0), Some(1)]);
    // It does not flap.
    assert_eq!(
        run(&mut shares, 5100, 60_000, 1_500_000),
        [Some(0), Some(1)]
    );
}

#[test]
fn a_camera_that_becomes_a_screen_is_served_at_once() {
    let mut shares = [camera(&[300_000, 900_000]), camera(&[300_000, 900_000])];
    run(&mut shares, 0, 5000, 1_500_000);
    shares[1].set_wish(wish(LegKind::Screen, 0, &[300_000, 900_000]));
    assert_eq!(run(&mut shares, 5000, 5100, 1_500_000), [Some(0), Some(1)]);
}

#[test]
fn one_that_does_not_fit_leaves_room_for_one_that_does() {
    let legs = vec![screen(&[900_000]), camera(&SIMULCAST)];
    assert_eq!(at_once(400_000, legs), [None, Some(0)]);
}

#[test]
fn layers_that_are_not_received_are_skipped() {
    let legs = vec![camera(&[0, 500_000, 0])];
    assert_eq!(at_once(5_000_000, legs), [Some(1)]);
}

#[test]
fn down_is_at_once_and_up_after_a_while() {
    let mut shares = [camera(&SIMULCAST)];
    assert_eq!(run(&mut shares, 0, 1000, 4_000_000), [Some(2)]);
    assert_eq!(run(&mut shares, 1000, 1100, 700_000), [Some(1)]);
    // Ten seconds later, and not before.
    assert_eq!(run(&mut shares, 1100, 11_000, 3_500_000), [Some(1)]);
    assert_eq!(run(&mut shares, 11_000, 11_100, 3_500_000), [Some(2)]);
}

#[test]
fn a_little_too_much_is_borne_for_a_while() {
    let mut shares = [camera(&[500_000, 1_000_000])];
    assert_eq!(run(&mut shares, 0, 1000, 2_000_000), [Some(1)]);
    assert_eq!(run(&mut shares, 1000, 2900, 930_000), [Some(1)]);
    assert_eq!(run(&mut shares, 2900, 3100, 930_000), [Some(0)]);
    // But not if it comes back in time.
    let mut shares = [camera(&[500_000, 1_000_000])];
    run(&mut shares, 0, 1000, 2_000_000);
    run(&mut shares, 1000, 2900, 930_000);
    run(&mut shares, 2900, 3000, 1_000_000);
    assert_eq!(run(&mut shares, 3000, 4900, 930_000), [Some(1)]);
}

#[test]
fn nobody_goes_down_for_a_leg_of_which_nothing_is_received() {
    let mut shares = vec![camera(&[500_000, 1_000_000]), camera(&[0, 0])];
    assert_eq!(run(&mut shares, 0, 3_000, 2_000_000), [Some(1), None]);
    // It fits, though nobody would go up to it.
    assert_eq!(run(&mut shares, 3_000, 9_000, 1_050_000), [Some(1), None]);
}

#[test]
fn a_leg_that_never_went_down_comes_up_after_a_second() {
    let mut shares = [camera(&SIMULCAST)];
    assert_eq!(run(&mut shares, 0, 10_000, 700_000), [Some(1)]);
    assert_eq!(run(&mut shares, 10_000, 11_000, 4_000_000), [Some(1)]);
    assert_eq!(run(&mut shares, 11_000, 11_100, 4_000_000), [Some(2)]);
}

#[test]
fn a_layer_that_fits_by_far_is_not_held_back() {
    let mut shares = [camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 2_000_000);
    assert_eq!(run(&mut shares, 1000, 1100, 300_000), [Some(0)]);
    assert_eq!(run(&mut shares, 1100, 2200, 3_000_000), [Some(1)]);
    assert_eq!(run(&mut shares, 2200, 4000, 3_000_000), [Some(1)]);
}

#[test]
fn who_comes_down_again_stays_down_for_longer() {
    let mut shares = [camera(&SIMULCAST)];
    let mut holds = Vec::new();
    let mut at = 0;
    allocate(ms(at), 4_000_000, &mut shares);
    for _ in 0..5 {
        at += 100;
        allocate(ms(at), 1_500_000, &mut shares);
        let lowered = at;
        while shares[0].grant().layer == Some(1) {
            at += 100;
            allocate(ms(at), 3_500_000, &mut shares);
        }
        holds.push((at - lowered) / 1000);
    }
    assert_eq!(holds, [10, 20, 40, 60, 60]);
}

#[test]
fn who_came_down_since_the_path_became_far_narrower_does_not_wait_for_longer() {
    let mut shares = [camera(&SIMULCAST)];
    allocate(ms(0), 4_000_000, &mut shares);
    // A moment of less, and then a path that carries a small part.
    run(&mut shares, 100, 300, 2_000_000);
    assert_eq!(run(&mut shares, 300, 11_300, 3_500_000), [Some(2)]);
    assert_eq!(run(&mut shares, 11_300, 16_000, 700_000), [Some(1)]);
    assert_eq!(run(&mut shares, 16_000, 21_500, 3_500_000), [Some(2)]);
}

#[test]
fn who_came_up_in_vain_does_not_wait_once_the_path_carries_far_more() {
    let mut shares = [camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 3_000_000);
    assert_eq!(run(&mut shares, 1000, 1100, 300_000), [Some(0)]);
    // It tries the next layer and has to come down again.
    assert_eq!(run(&mut shares, 1100, 14_000, 800_000), [Some(1)]);
    assert_eq!(run(&mut shares, 14_000, 14_100, 300_000), [Some(0)]);
    assert_eq!(run(&mut shares, 14_100, 16_000, 800_000), [Some(0)]);
    assert_eq!(run(&mut shares, 16_000, 17_500, 3_000_000), [Some(2)]);
}

#[test]
fn a_paused_leg_comes_back_by_itself() {
    let mut shares = [audio_leg(), camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 300_000);
    assert_eq!(run(&mut shares, 1000, 1100, 100_000), [Some(0), None]);
    assert_eq!(shares[1].grant().reason, Reason::Paused);
    assert_eq!(run(&mut shares, 1100, 4000, 220_000), [Some(0), None]);
    assert_eq!(run(&mut shares, 4000, 4200, 220_000), [Some(0), Some(0)]);
}

#[test]
fn a_leg_that_comes_in_gets_its_share_at_once() {
    let mut shares = vec![camera(&[300_000, 900_000])];
    assert_eq!(run(&mut shares, 0, 1000, 1_100_000), [Some(1)]);
    shares.push(camera(&[300_000, 900_000]));
    assert_eq!(run(&mut shares, 1000, 1100, 1_100_000), [Some(0), Some(0)]);
}

#[test]
fn a_layer_that_ceases_gives_way_to_the_one_below_it() {
    let mut shares = [camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 4_000_000);
    shares[0].set_wish(wish(LegKind::Camera, 0, &[150_000, 500_000, 0]));
    assert_eq!(run(&mut shares, 1000, 1100, 4_000_000), [Some(1)]);
    assert_eq!(shares[0].grant().reason, Reason::PublisherNotSending);
}

#[test]
fn a_publisher_that_sends_again_is_shown_at_once() {
    let mut shares = [camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 4_000_000);
    shares[0].set_wish(wish(LegKind::Camera, 0, &[0, 0, 0]));
    assert_eq!(run(&mut shares, 1000, 2000, 4_000_000), [None]);
    shares[0].set_wish(wish(LegKind::Camera, 0, &SIMULCAST));
    assert_eq!(run(&mut shares, 2000, 2100, 4_000_000), [Some(2)]);
}

#[test]
fn who_asks_for_more_does_not_wait_for_an_old_fall() {
    let mut shares = [camera(&SIMULCAST)];
    run(&mut shares, 0, 1000, 4_000_000);
    run(&mut shares, 1000, 1100, 700_000);
    shares[0].set_wish(wish(LegKind::Camera, 0, &SIMULCAST[..2]));
    run(&mut shares, 1100, 1200, 4_000_000);
    shares[0].set_wish(wish(LegKind::Camera, 0, &SIMULCAST));
    assert_eq!(run(&mut shares, 1200, 2300, 4_000_000), [Some(2)]);
}

#[test]
fn each_leg_can_be_told_why_it_does_not_get_more() {
    let mut less = wish(LegKind::Camera, 0, &SIMULCAST[..1]);
    less.asked_for_less = true;
    let mut shares = [
        camera(&SIMULCAST[..1]),
        Share::new(less),
        camera(&SIMULCAST),
        camera(&[0, 0]),
        camera(&[800_000]),
    ];
    allocate(ms(0), 900_000, &mut shares);
    let reasons: Vec<_> = shares.iter().map(|share| share.grant().reason).collect();
    let expected = [
        Reason::Best,
        Reason::Asked,
        Reason::Bandwidth,
        Reason::PublisherNotSending,
        Reason::Paused,
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn the_lowest_layer_is_kept_while_most_of_it_fits() {
    let mut shares = [audio_leg(), camera(&[800_000])];
    for (at, estimate, expected) in [
        (0, 1_000_000, Some(0)),
        (5_000, 600_000, Some(0)),
        (10_000, 540_000, Some(0)),
        (15_000, 400_000, None),
        // Back only if all of it fits.
        (60_000, 700_000, None),
        (70_000, 1_200_000, Some(0)),
    ] {
        allocate(ms(at), estimate, &mut shares);
        allocate(ms(at + 2_500), estimate, &mut shares);
        assert_eq!(shares[1].grant().layer, expected, "at {at}");
    }
}

#[test]
fn the_demand_is_the_best_of_all() {
    let mut shares = [audio_leg(), camera(&SIMULCAST), camera(&SIMULCAST)];
    allocate(ms(0), 1_000_000, &mut shares);
    // 5,030 kb/s, and something to spare.
    assert_eq!(demand(&shares) / 1000, 6539);
}

#[test]
fn who_gets_no_picture_for_want_of_bandwidth_demands_one() {
    let mut shares = [camera(&[800_000])];
    allocate(ms(0), 100_000, &mut shares);
    assert_eq!(demand(&shares), 1_040_000);
}

#[test]
fn what_is_not_held_back_by_bandwidth_demands_nothing() {
    let mut less = wish(LegKind::Camera, 0, &SIMULCAST[..1]);
    less.asked_for_less = true;
    let mut shares = [audio_leg(), Share::new(less), camera(&[0, 0])];
    allocate(ms(0), 1_000_000, &mut shares);
    assert_eq!(demand(&shares), 0);
}

/// A camera whose layers are so far from each other.
fn climbing(steps: &[u64]) -> Share {
    let mut total = 0;
    let layers = steps.iter().map(|step| {
        total += step;
        total
    });
    camera(&layers.collect::<Vec<_>>())
}

fn legs() -> impl Strategy<Value = Vec<Share>> {
    let rates = proptest::collection::vec(20_000_u64..1_000_000, 1..6);
    let leg = (0..4, 0_u8..3, rates).prop_map(|(kind, priority, steps)| {
        let layers = climbing(&steps).wish().layers.clone();
        match kind {
            0 => audio_leg(),
            1 => Share::new(wish(LegKind::Screen, priority, &layers)),
            // Its publisher sends nothing.
            2 => camera(&layers.iter().map(|_| 0).collect::<Vec<_>>()),
            _ => Share::new(wish(LegKind::Camera, priority, &layers)),
        }
    });
    proptest::collection::vec(leg, 1..12)
}

proptest! {
    #[test]
    fn video_takes_what_audio_leaves_and_hardly_ever_more(
        mut shares in legs(),
        estimates in proptest::collection::vec(0_u64..10_000_000, 1..60),
    ) {
        let mut over_since = None;
        for (at, estimate) in (0..).map(|step| step * 300).zip(estimates) {
            allocate(ms(at), estimate, &mut shares);
            // Of a leg's lowest layer, only what must fit.
            let video: u64 = shares.iter().map(Share::needed).sum();
            let audio = shares.iter().filter(|share| !share.is_video());
            let audio: u64 = audio.map(Share::bit_rate).sum();
            let left = estimate.saturating_sub(audio);
            prop_assert!(video <= left + left / 8 + 100);
            over_since = (video > left).then(|| over_since.unwrap_or(at));
            prop_assert!(over_since.is_none_or(|since| at - since < 2000));
            prop_assert!(shares.iter().all(|s| s.is_video() || s.grant().layer.is_some()));
        }
    }

    #[test]
    fn an_estimate_that_jitters_by_a_tenth_moves_nothing_for_long(
        mut shares in legs(),
        estimate in 100_000_u64..10_000_000,
        jitter in proptest::collection::vec((90_u64..=110, 1_usize..40), 100),
    ) {
        let steps = jitter.iter().flat_map(|(part, times)| core::iter::repeat_n(*part, *times));
        let mut changes = vec![0; shares.len()];
        let mut before = layers(&shares);
        let mut seconds = 0.0;
        for (at, part) in (0..).zip(steps) {
            allocate(ms(at * 100), estimate * part / 100, &mut shares);
            let after = layers(&shares);
            for ((count, before), after) in changes.iter_mut().zip(&before).zip(&after) {
                *count += usize::from(before != after);
            }
            before = after;
            seconds = at as f64 / 10.0;
        }
        // Some steps to settle, and then at most two changes for each time it was held.
        for count in changes {
            prop_assert!(count as f64 <= 12.0 + seconds / 20.0, "{count} in {seconds} s");
        }
    }

    #[test]
    fn more_never_gives_one_leg_less(
        steps in proptest::collection::vec(1_u64..1_000_000, 1..16),
        low in 0_u64..8_000_000,
        more in 0_u64..8_000_000,
    ) {
        let shares = [climbing(&steps)];
        let (small, large) = (planned(low, &shares), planned(low + more, &shares));
        prop_assert!(large[0] >= small[0]);
    }

    #[test]
    fn more_never_gives_the_worst_of_equals_less(
        steps in proptest::collection::vec(1_u64..1_000_000, 1..16),
        count in 1_usize..9,
        low in 0_u64..8_000_000,
        more in 0_u64..8_000_000,
    ) {
        let shares = vec![climbing(&steps); count];
        let (small, large) = (planned(low, &shares), planned(low + more, &shares));
        prop_assert!(large.iter().min() >= small.iter().min());
        let served = |plan: &Plan| plan.iter().flatten().count();
        prop_assert!(served(&large) >= served(&small));
    }

    #[test]
    fn with_enough_for_all_everyone_gets_the_best(mut shares in legs()) {
        let best = |share: &Share| share.wish().layers.last().copied().unwrap_or_default();
        let enough = shares.iter().map(best).sum::<u64>() * 2 + 1_000_000;
        allocate(ms(0), enough, &mut shares);
        for share in &shares {
            let reason = if share.is_silent() {
                Reason::PublisherNotSending
            } else {
                Reason::Best
            };
            prop_assert_eq!(share.grant().reason, reason);
        }
    }
}
