//! What becomes of the legs of one client as its path is told of.

use arrayvec::ArrayVec;

use super::*;
use crate::bwe::allocation::{LegKind, Wish};
use crate::bwe::tests::feedback::FeedbackBytes;
use crate::egress::{Ladder, Step};
use crate::ingress::sub_layers::SubLayer;
use crate::ingress::testing::ms;

fn wish(rates: &[u64]) -> Wish {
    Wish {
        kind: LegKind::Camera,
        priority: 0,
        layers: rates.iter().copied().collect(),
        asked_for_less: false,
    }
}

fn with_leg(rates: &[u64]) -> Congestion {
    let mut congestion = Congestion::new(ms(0));
    congestion.add_leg(LegKey::default(), Share::new(wish(rates)));
    congestion
}

fn granted(congestion: &Congestion) -> Option<u8> {
    congestion.legs.shares[0].grant().layer
}

#[test]
fn before_the_first_feedback_nobody_is_refused_a_picture() {
    let mut congestion = with_leg(&[3_000_000]);
    congestion.allocate(ms(0));
    assert_eq!(granted(&congestion), Some(0));
}

#[test]
fn before_the_first_feedback_the_better_layers_wait() {
    let mut congestion = with_leg(&[100_000, 3_000_000]);
    congestion.allocate(ms(0));
    assert_eq!(granted(&congestion), Some(0));
}

#[test]
fn who_never_tells_of_a_packet_gets_what_it_wants() {
    let mut congestion = with_leg(&[100_000, 3_000_000]);
    for tick in 0..300 {
        congestion.sent(ms(tick * 20), Some(0), 1000);
        congestion.poll(ms(tick * 20));
        congestion.allocate(ms(tick * 20));
    }
    assert_eq!(granted(&congestion), Some(1));
}

#[test]
fn who_gives_but_a_ceiling_gets_no_more_than_that() {
    let mut congestion = with_leg(&[100_000, 3_000_000]);
    for tick in 0..300 {
        congestion.sent(ms(tick * 20), Some(0), 1000);
        congestion.handle_remb(ms(tick * 20), 1_000_000);
        congestion.poll(ms(tick * 20));
        congestion.allocate(ms(tick * 20));
    }
    assert_eq!(granted(&congestion), Some(0));
}

/// What a stream of two temporal layers may be cut to.
fn ladder(cuts: &[u8]) -> Ladder {
    let cuts = cuts.iter().map(|temporal| SubLayer {
        spatial: 0,
        temporal: *temporal,
    });
    let steps = cuts.map(Some).chain([None]);
    let steps: ArrayVec<_, _> = steps
        .map(|sub_layer| Step {
            layer: 0,
            sub_layer,
        })
        .collect();
    Ladder {
        rates: steps.iter().map(|_| 100_000).collect(),
        steps,
        asked_for_less: false,
    }
}

#[test]
fn a_cut_that_does_not_show_for_a_while_is_still_the_place_of_the_leg() {
    let mut congestion = with_leg(&[100_000]);
    let (state, _) = congestion.legs_mut().next().unwrap();
    state.ladder = ladder(&[0, 1]);
    let cut = state.ladder.steps[1];
    // Nothing moves on the screen.
    for _ in 0..3 {
        state.ladder = ladder(&[]);
        let given = state.place(cut).unwrap();
        assert_eq!(given, 0);
        let whole = state.ladder.steps[0];
        assert_eq!(state.place(whole), Some(0));
    }
    let whole = state.ladder.steps[0];
    state.ladder = ladder(&[0, 1]);
    assert_eq!(state.place(whole), Some(1));
    // It has come up since.
    assert_eq!(state.place(whole), Some(2));
}

/// Sends 100 packets a second of 1000 bytes for five seconds, of each ten of which so many are lost,
/// and shares out what the client tells of.
fn run_losing(congestion: &mut Congestion, lost: impl Fn(u64) -> u64) {
    let mut batch = Batch::default();
    for tenth in 0..50 {
        let (start, first) = (tenth * 100, congestion.next_number());
        for index in 0..10 {
            congestion.sent(ms(start + index * 10), Some(0), 1000);
        }
        let arrivals: Vec<_> = (0..10)
            .map(|index| (index >= lost(tenth)).then_some((start + index * 10) * 4))
            .collect();
        let feedback = FeedbackBytes::new(first, &arrivals);
        congestion.handle_feedback(ms(start + 140), &feedback.parse(), &mut batch);
        congestion.allocate(ms(start + 140));
    }
}

#[test]
fn where_packets_are_lost_whatever_is_sent_nobody_is_refused_a_picture() {
    // More than has been proved to come through.
    let mut congestion = with_leg(&[5_000_000]);
    run_losing(&mut congestion, |tenth| tenth % 2);
    assert!(congestion.is_congested(ms(5_000)));
    assert_eq!(granted(&congestion), Some(0));
}

#[test]
fn where_much_is_lost_a_picture_that_does_not_fit_is_paused() {
    let mut congestion = with_leg(&[5_000_000]);
    run_losing(&mut congestion, |_| 4);
    assert_eq!(granted(&congestion), None);
}

#[test]
fn a_repeat_leaves_twice_after_one_that_was_lost() {
    let mut congestion = with_leg(&[100_000]);
    assert!(!congestion.affords_copy(ms(0), 1_000, false));
    assert!(congestion.affords_copy(ms(0), 1_000, true));
}

#[test]
fn where_much_is_lost_and_there_is_room_every_repeat_leaves_twice() {
    for (rate, expected) in [(100_000, true), (2_000_000, false)] {
        let mut congestion = with_leg(&[rate]);
        run_losing(&mut congestion, |tenth| tenth % 2);
        let copied = congestion.affords_copy(ms(5_000), 1_000, false);
        assert_eq!(copied, expected, "{rate}");
    }
    let mut congestion = with_leg(&[100_000]);
    run_losing(&mut congestion, |_| 0);
    assert!(!congestion.affords_copy(ms(5_000), 1_000, false));
}

#[test]
fn repairs_are_given_up_when_there_is_no_room_for_the_second_time() {
    let mut congestion = with_leg(&[100_000]);
    let leg = (LegKey::default(), Some(0));
    while congestion.spend_repeat(ms(0), 100).is_ok() {}
    assert!(!congestion.give_up_if_hopeless(ms(0), leg, 0));
    assert!(!congestion.give_up_if_hopeless(ms(0), leg, 1));
    assert!(congestion.give_up_if_hopeless(ms(100), leg, 2));
    // The key frame may be repeated.
    assert!(congestion.spend_repeat(ms(100), 1_200).is_ok());
}

#[test]
fn what_was_given_up_is_held_until_the_path_has_drained() {
    let mut congestion = with_leg(&[100_000]);
    assert!(congestion.give_up_if_hopeless(ms(0), (LegKey::default(), Some(0)), 2));
    assert!(congestion.legs.states[0].is_held(0));
    assert!(
        !congestion.legs.states[0].is_held(1),
        "a lower layer goes on"
    );
    // This path never was full.
    assert!(congestion.has_drained(ms(1)));
    congestion.allocate(ms(1));
    assert!(!congestion.legs.states[0].is_held(0) && !congestion.has_drained(ms(2)));
}

#[test]
fn what_is_held_goes_on_though_the_path_does_not_drain() {
    let mut congestion = with_leg(&[100_000]);
    assert!(congestion.give_up_if_hopeless(ms(0), (LegKey::default(), Some(0)), 2));
    let state = &congestion.legs.states[0];
    assert!(!state.may_go_on(ms(499), true));
    assert!(state.may_go_on(ms(500), true));
}

#[test]
fn repairs_are_given_up_once_a_second_at_most() {
    let mut congestion = with_leg(&[100_000]);
    let leg = (LegKey::default(), Some(0));
    let times = (0..100).filter(|step| congestion.give_up_if_hopeless(ms(step * 50), leg, 9));
    assert_eq!(times.count(), 5);
}

#[test]
fn what_waits_of_a_leg_goes_with_it() {
    let mut congestion = with_leg(&[100_000]);
    let packet = |sequence_number| Waiting {
        leg: LegKey::default(),
        layer: 0,
        sequence_number,
    };
    for number in 0..200 {
        congestion.admit(ms(0), packet(number), 1_200);
    }
    assert!(congestion.next_at(ms(0)).is_some());
    congestion.remove_leg(LegKey::default());
    assert!(congestion.legs.shares.is_empty() && congestion.legs.states.is_empty());
    assert_eq!(congestion.release(ms(400)), None);
}
