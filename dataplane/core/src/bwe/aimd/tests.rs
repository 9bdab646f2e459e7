//! How the delay-based estimate moves, against values worked out by hand.

use super::*;
use crate::ingress::testing::ms;

const ROUND_TRIP: Duration = Duration::from_millis(100);

fn evidence(usage: Usage, throughput: u64) -> Evidence {
    Evidence {
        usage,
        rates: Some(Rates {
            throughput,
            recent: throughput,
            slowdown: if usage == Usage::Over {
                Slowdown::Some
            } else {
                Slowdown::None
            },
        }),
        application_limited: false,
        underused: false,
        queue_is_deep: false,
        queue_is_standing: false,
        fell_at: None,
        round_trip: ROUND_TRIP,
    }
}

/// Normal feedback every 100 ms for `seconds`.
fn calm(aimd: &mut Aimd, from: u64, seconds: u64, throughput: u64) -> u64 {
    for step in 0..=seconds * 10 {
        aimd.update(ms(from + step * 100), &evidence(Usage::Normal, throughput));
    }
    aimd.estimate()
}

#[test]
fn far_from_the_capacity_it_grows_by_eight_percent_a_second() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    let estimate = calm(&mut aimd, 0, 1, 1_000_000);
    // Each update counts for a kilobit at least, the first one too.
    assert!((1_080_000..=1_082_000).contains(&estimate), "{estimate}");
}

#[test]
fn it_does_not_grow_beyond_one_and_a_half_times_what_comes_through() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    assert_eq!(calm(&mut aimd, 0, 60, 800_000), 1_210_000);
}

#[test]
fn over_use_lowers_it_to_less_than_comes_through() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.update(ms(200), &evidence(Usage::Over, 500_000));
    assert_eq!(aimd.estimate(), 420_000);
}

#[test]
fn what_came_lately_counts() {
    let mut aimd = Aimd::new(ms(0), 3_000_000);
    let mut evidence = evidence(Usage::Over, 2_000_000);
    evidence.rates.as_mut().unwrap().recent = 500_000;
    aimd.update(ms(200), &evidence);
    assert_eq!(aimd.estimate(), 420_000);
}

#[test]
fn it_is_lowered_again_only_when_that_could_take_effect() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.update(ms(200), &evidence(Usage::Over, 900_000));
    assert_eq!(aimd.estimate(), 760_000);
    aimd.update(ms(250), &evidence(Usage::Over, 800_000));
    assert_eq!(aimd.estimate(), 760_000);
    aimd.update(ms(399), &evidence(Usage::Over, 800_000));
    assert_eq!(aimd.estimate(), 760_000);
    aimd.update(ms(400), &evidence(Usage::Over, 800_000));
    assert_eq!(aimd.estimate(), 675_000);
}

#[test]
fn after_a_fall_that_went_not_far_enough_it_is_lowered_again_at_once() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.fall(ms(200), 400_000);
    assert_eq!(aimd.estimate(), 340_000);
    let after_fall = |throughput| Evidence {
        fell_at: Some(ms(200)),
        ..evidence(Usage::Over, throughput)
    };
    aimd.update(ms(250), &after_fall(300_000));
    assert_eq!(aimd.estimate(), 250_000);
    aimd.update(ms(300), &after_fall(200_000));
    assert_eq!(aimd.estimate(), 250_000);
}

#[test]
fn a_collapse_lowers_it_at_once() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.update(ms(200), &evidence(Usage::Over, 900_000));
    aimd.update(ms(210), &evidence(Usage::Over, 200_000));
    assert_eq!(aimd.estimate(), 165_000);
}

#[test]
fn after_over_use_it_grows_by_half_a_packet_for_each_response() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.update(ms(200), &evidence(Usage::Over, 1_000_000));
    let before = aimd.estimate();
    // A frame of 845 kb/s takes three packets of 9389 bits; the response time is 400 ms.
    let estimate = calm(&mut aimd, 300, 1, 845_000);
    let grown = estimate - before;
    assert!((23_000..=24_000).contains(&grown), "{grown}");
}

#[test]
fn a_throughput_above_the_known_capacity_ends_the_slow_growth() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    aimd.update(ms(200), &evidence(Usage::Over, 1_000_000));
    let before = aimd.estimate();
    let estimate = calm(&mut aimd, 300, 1, 1_200_000);
    assert!(estimate > before + before / 13, "{estimate}");
    assert!(aimd.take_capacity_exceeded() && !aimd.take_capacity_exceeded());
}

#[test]
fn an_empty_queue_that_drains_holds_it() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    for step in 0..20 {
        aimd.update(ms(step * 100), &evidence(Usage::Under, 1_000_000));
    }
    assert_eq!(aimd.estimate(), 1_000_000);
}

#[test]
fn over_use_never_raises_it() {
    let mut aimd = Aimd::new(ms(0), 300_000);
    aimd.update(ms(200), &evidence(Usage::Over, 2_000_000));
    assert_eq!(aimd.estimate(), 300_000);
}

#[test]
fn an_application_that_sends_little_proves_nothing() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    let mut little = evidence(Usage::Normal, 40_000);
    little.application_limited = true;
    little.underused = true;
    little.rates.as_mut().unwrap().slowdown = Slowdown::None;
    for step in 0..100 {
        aimd.update(ms(step * 100), &little);
    }
    assert_eq!(aimd.estimate(), 1_000_000);
    // Nor does it make a late packet a collapse.
    little.usage = Usage::Over;
    aimd.update(ms(11_000), &little);
    assert_eq!(aimd.estimate(), 850_000);
    aimd.update(ms(12_000), &evidence(Usage::Under, 40_000));
    aimd.update(ms(13_000), &little);
    assert_eq!(aimd.estimate(), 722_500);
    // But a queue that goes on filling shows something.
    aimd.update(ms(13_400), &little);
    assert_eq!(aimd.estimate(), 505_749);
}

#[test]
fn who_sends_little_is_left_enough_to_send_more() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    let mut little = evidence(Usage::Over, 40_000);
    little.underused = true;
    aimd.update(ms(0), &little);
    assert_eq!(aimd.estimate(), 850_000);
    aimd.update(ms(400), &little);
    assert_eq!(aimd.estimate(), 150_000);
    // One who fills the link is not.
    little.underused = false;
    aimd.update(ms(1000), &little);
    assert_eq!(aimd.estimate(), 29_000);
}

#[test]
fn a_link_that_halves_the_rate_is_believed_at_once() {
    let mut aimd = Aimd::new(ms(0), 3_000_000);
    let mut halved = evidence(Usage::Over, 500_000);
    halved.underused = true;
    halved.rates.as_mut().unwrap().slowdown = Slowdown::Much;
    aimd.update(ms(0), &halved);
    assert_eq!(aimd.estimate(), 425_000);
}

#[test]
fn what_comes_through_a_deep_queue_is_believed_at_once() {
    // A full queue drops what comes too fast, and lets the rest through without a slowdown.
    let mut aimd = Aimd::new(ms(0), 3_000_000);
    let mut full = evidence(Usage::Over, 500_000);
    full.underused = true;
    full.rates.as_mut().unwrap().slowdown = Slowdown::None;
    full.queue_is_deep = true;
    aimd.update(ms(0), &full);
    assert_eq!(aimd.estimate(), 425_000);
}

#[test]
fn beside_a_queue_of_others_it_gives_up_little() {
    let mut aimd = Aimd::new(ms(0), 500_000);
    let mut crowded = evidence(Usage::Over, 400_000);
    crowded.queue_is_standing = true;
    aimd.update(ms(200), &crowded);
    assert_eq!(aimd.estimate(), 475_000);
}

#[test]
fn without_a_measured_rate_over_use_halves_it() {
    let mut aimd = Aimd::new(ms(0), 1_000_000);
    let mut blind = evidence(Usage::Over, 0);
    blind.rates = None;
    aimd.update(ms(200), &blind);
    aimd.update(ms(250), &blind);
    assert_eq!(aimd.estimate(), 500_000);
}
