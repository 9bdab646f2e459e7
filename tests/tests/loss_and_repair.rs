//! What a network loses is asked for again, on both sides, and comes.
#![expect(
    clippy::cast_possible_truncation,
    reason = "the lower 16 bits are the number"
)]

use core::time::Duration;

use shared::counters::{Counter, DropReason};
use tests::World;
use tests::checker::Completeness;
use tests::network::{Bottleneck, Burst, Direction, LinkModel, LinkState, QueueLimit};
use tests::peer::ClientOptions;
use tests::publisher::{Flow, Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// One publisher of audio and video, and one subscriber; both repair like this.
fn call(seed: u64, repair: Repair) -> (World, usize, usize) {
    let mut world = World::new(WorldOptions::new(seed));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    for spec in [TrackSpec::audio(), TrackSpec::video()] {
        let track = world.publish(publisher, TrackSpec { repair, ..spec });
        let spec = SubscriptionSpec {
            repair,
            ..SubscriptionSpec::default()
        };
        world.subscribe(subscriber, track, spec);
    }
    world.run_for_ms(1_500);
    world.assert_connected(subscriber);
    (world, publisher, subscriber)
}

#[test]
fn losses_on_the_way_down_are_repaired_with_rtx() {
    let (mut world, _, subscriber) = call(1, Repair::Rtx);
    world.set_link(subscriber, Direction::Down, LinkModel::losing(0.1));
    world.run_for_ms(10_000);
    world.set_link(subscriber, Direction::Down, LinkModel::default());
    world.settle(Completeness::Complete);
    assert!(world.counter(0, Counter::RtpPacketsRetransmitted) > 80);
    assert_eq!(
        world.checker.sent.repeats, 0,
        "with RTX every number is new"
    );
}

#[test]
fn losses_on_the_way_down_are_repaired_plainly_with_the_same_bytes() {
    let (mut world, _, subscriber) = call(2, Repair::Plain);
    world.set_link(subscriber, Direction::Down, LinkModel::losing(0.1));
    world.run_for_ms(10_000);
    world.set_link(subscriber, Direction::Down, LinkModel::default());
    world.settle(Completeness::Complete);
    // That a repeat is the same to the last bit is checked for each: `SentByServer`.
    assert!(world.checker.sent.repeats > 80);
}

#[test]
fn losses_on_the_way_up_are_repaired_before_they_are_forwarded() {
    for (seed, repair) in [(3, Repair::Rtx), (4, Repair::Plain)] {
        let (mut world, publisher, _) = call(seed, repair);
        world.set_link(publisher, Direction::Up, LinkModel::losing(0.1));
        world.run_for_ms(10_000);
        world.set_link(publisher, Direction::Up, LinkModel::default());
        world.settle(Completeness::Complete);
        assert!(world.counter(0, Counter::NacksSent) > 80);
    }
}

#[test]
fn losses_on_both_ways_with_jitter_and_reordering_are_repaired() {
    let (mut world, publisher, subscriber) = call(5, Repair::Rtx);
    let model = LinkModel {
        jitter: Duration::from_millis(10),
        reordering: 0.05,
        duplication: 0.02,
        ..LinkModel::losing(0.05)
    };
    world.set_links(publisher, model);
    world.set_links(subscriber, model);
    world.run_for_ms(20_000);
    world.set_links(publisher, LinkModel::default());
    world.set_links(subscriber, LinkModel::default());
    world.settle(Completeness::Complete);
    assert!(
        world.drops(0, DropReason::RtpReplayed) > 10,
        "the network repeats datagrams"
    );
}

#[test]
fn bursts_are_repaired_or_accounted_for() {
    let (mut world, publisher, subscriber) = call(6, Repair::Rtx);
    let model = LinkModel {
        burst: Some(Burst {
            begin: 0.004,
            end: 0.08,
            loss: 0.9,
        }),
        ..LinkModel::default()
    };
    world.set_links(publisher, model);
    world.set_links(subscriber, model);
    world.run_for_ms(20_000);
    world.set_links(publisher, LinkModel::default());
    world.set_links(subscriber, LinkModel::default());
    let summaries = world.settle(Completeness::Accounted);
    assert!(summaries[subscriber][1].packets > 1_500, "{summaries:?}");
}

#[test]
fn without_repair_what_is_lost_stays_lost_and_nothing_else() {
    let (mut world, _, subscriber) = call(7, Repair::None);
    world.set_link(subscriber, Direction::Down, LinkModel::losing(0.05));
    world.run_for_ms(10_000);
    let summaries = world.settle(Completeness::Accounted);
    assert!(
        summaries[subscriber].iter().all(|leg| leg.holes > 10),
        "{summaries:?}"
    );
    assert_eq!(world.counter(0, Counter::NacksReceived), 0);
}

#[test]
fn after_an_outage_video_goes_on_with_a_key_frame() {
    let (mut world, publisher, subscriber) = call(8, Repair::Rtx);
    world.run_for_ms(2_000);
    let before = world.counter(0, Counter::KeyframesReceived);
    let down = LinkModel {
        state: LinkState::Down,
        ..LinkModel::default()
    };
    world.set_link(publisher, Direction::Up, down);
    world.run_for_ms(5_000);
    world.set_link(publisher, Direction::Up, LinkModel::default());
    world.run_for_ms(3_000);
    world.settle(Completeness::Accounted);
    assert!(world.counter(0, Counter::KeyframesReceived) > before);
    let last = world.leg(subscriber, 1).received.values().last();
    assert!(last.is_some_and(|packet| world.now.since(packet.at) < Duration::from_secs(5)));
}

#[test]
fn a_packet_is_sent_again_at_most_ten_times() {
    let (mut world, _, subscriber) = call(9, Repair::Plain);
    world.run_for_ms(1_000);
    // Two packets that came stay wanted for ever.
    let leg = world.leg(subscriber, 1);
    let (ssrc, number) = (leg.ssrc, leg.received.keys().last().copied());
    let repeats = world.checker.sent.repeats;
    for _ in 0..60 {
        world.nack(subscriber, ssrc, &[number.unwrap_or_default() as u16]);
        world.run_for_ms(30);
    }
    assert_eq!(world.checker.sent.repeats - repeats, 10);
    assert_eq!(world.drops(0, DropReason::RetransmissionBudget), 50);
}

#[test]
fn a_packet_whose_bytes_are_gone_is_not_sent_again() {
    let mut world = World::new(WorldOptions::new(11));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    // So large and many that the cache runs out of bytes before it runs out of places.
    let spec = TrackSpec {
        packets_per_frame: 40,
        body_len_max: 1_150,
        body_len_min: 1_100,
        ..TrackSpec::video()
    };
    let video = world.publish(publisher, spec);
    let spec = SubscriptionSpec {
        repair: Repair::Plain,
        ..SubscriptionSpec::default()
    };
    world.subscribe(subscriber, video, spec);
    world.run_for_ms(3_000);
    world.track_mut(video).flow = Flow::Paused;
    world.run_for_ms(100);
    let leg = world.leg(subscriber, 0);
    let (ssrc, last) = (
        leg.ssrc,
        leg.received.keys().last().copied().unwrap_or_default(),
    );
    let missed = world.drops(0, DropReason::RetransmissionMiss);
    let repeats = world.checker.sent.repeats;
    for back in (0..1_000).rev().step_by(5) {
        world.nack(subscriber, ssrc, &[(last - back) as u16]);
        world.run_for_ms(5);
    }
    world.run_for_ms(100);
    // Each is sent again as it was, which is checked for all (`SentByServer`), or not at all.
    let repeated = world.checker.sent.repeats - repeats;
    let missed = world.drops(0, DropReason::RetransmissionMiss) - missed;
    assert!(repeated > 50 && missed > 20, "{repeated} and {missed}");
    assert_eq!(repeated + missed, 200);
    world.settle(Completeness::Complete);
}

#[test]
fn a_packet_asked_for_in_the_turn_that_brings_it_leaves_with_one_content() {
    let mut world = World::new(WorldOptions {
        batch_max: 256,
        turn_delay_max: Duration::from_millis(10),
        ..WorldOptions::new(12)
    });
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    // Of nearly one size, so that what leaves together is padded to be equally long.
    let spec = TrackSpec {
        packets_per_frame: 12,
        body_len_min: 1_000,
        body_len_max: 1_003,
        ..TrackSpec::video()
    };
    let video = world.publish(publisher, spec);
    let spec = SubscriptionSpec {
        repair: Repair::Plain,
        ..SubscriptionSpec::default()
    };
    world.subscribe(subscriber, video, spec);
    world.run_for_ms(1_500);
    world.set_link(publisher, Direction::Up, LinkModel::losing(0.1));
    // What is lost on the way up is asked for all the time, so also just when it comes.
    for _ in 0..1_000 {
        let leg = world.leg(subscriber, 0);
        let ssrc = leg.ssrc;
        let holes: Vec<_> = leg.holes().iter().map(|hole| *hole as u16).collect();
        if !holes.is_empty() {
            world.nack(subscriber, ssrc, &holes);
        }
        world.run_for_ms(3);
    }
    world.set_link(publisher, Direction::Up, LinkModel::default());
    // That one number never stands for two contents is checked for each: `SentByServer`.
    world.settle(Completeness::Complete);
    assert!(world.counter(0, Counter::RtpPacketsRecovered) > 100);
}

#[test]
fn a_narrow_link_delays_but_changes_nothing() {
    let (mut world, publisher, _) = call(10, Repair::Rtx);
    let narrow = LinkModel {
        bottleneck: Some(Bottleneck {
            rate: 600_000,
            queue: QueueLimit::Bytes(30_000),
        }),
        ..LinkModel::default()
    };
    world.set_link(publisher, Direction::Up, narrow);
    world.run_for_ms(10_000);
    world.set_link(publisher, Direction::Up, LinkModel::default());
    world.settle(Completeness::Accounted);
}

#[test]
fn a_late_audio_packet_does_not_begin_a_leg_anew() {
    for seed in 20..40 {
        let mut world = World::new(WorldOptions::new(seed));
        let model = LinkModel {
            reordering: 0.5,
            reordering_delay: Duration::from_millis(100),
            ..LinkModel::default()
        };
        let publisher = world.join_over(0, ClientOptions::default(), model);
        let subscriber = world.join(0, ClientOptions::default());
        let audio = world.publish(publisher, TrackSpec::audio());
        world.subscribe(subscriber, audio, SubscriptionSpec::default());
        world.run_for_ms(2_000);
        let legs = world.settle(Completeness::Complete);
        assert!(legs[subscriber][0].packets > 60, "{legs:?}");
    }
}
