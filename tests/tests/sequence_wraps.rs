//! Sequence numbers, roll-over counters, picture ids and timestamps go round, on both sides.

use core::time::Duration;

use tests::World;
use tests::checker::Completeness;
use tests::network::{Direction, LinkModel};
use tests::peer::ClientOptions;
use tests::pool::PROFILES;
use tests::publisher::{Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// Many small packets: 2000 a second.
fn dense(first_sequence_number: u16) -> TrackSpec {
    TrackSpec {
        interval: Duration::from_millis(10),
        packets_per_frame: 20,
        body_len_max: 60,
        first_sequence_number: Some(first_sequence_number),
        ..TrackSpec::video()
    }
}

#[test]
fn the_publishers_numbers_wrap_under_every_profile() {
    for (seed, profile) in (1..).zip(PROFILES) {
        let options = ClientOptions {
            profile,
            ..ClientOptions::default()
        };
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, options);
        let subscriber = world.join(0, options);
        for spec in [TrackSpec::audio(), TrackSpec::simulcast()] {
            let spec = TrackSpec {
                first_sequence_number: Some(65_436),
                ..spec
            };
            let track = world.publish(publisher, spec);
            world.subscribe(subscriber, track, SubscriptionSpec::default());
        }
        world.run_for_ms(5_000);
        let summaries = world.settle(Completeness::Complete);
        assert!(
            summaries[subscriber].iter().all(|leg| leg.packets > 180),
            "{summaries:?}"
        );
    }
}

#[test]
fn the_publishers_numbers_wrap_under_loss_and_reordering() {
    for seed in 10..16 {
        let mut world = World::new(WorldOptions::new(seed));
        let model = LinkModel {
            reordering: 0.1,
            ..LinkModel::losing(0.1)
        };
        let publisher = world.join_over(0, ClientOptions::default(), model);
        let subscriber = world.join_over(0, ClientOptions::default(), model);
        let repair = if seed % 2 == 0 {
            Repair::Rtx
        } else {
            Repair::Plain
        };
        let spec = TrackSpec {
            first_sequence_number: Some(65_136),
            repair,
            ..TrackSpec::video()
        };
        let video = world.publish(publisher, spec);
        let spec = SubscriptionSpec {
            repair,
            ..SubscriptionSpec::default()
        };
        world.subscribe(subscriber, video, spec);
        world.run_for_ms(12_000);
        for client in 0..2 {
            world.set_links(client, LinkModel::default());
        }
        let summaries = world.settle(Completeness::Complete);
        assert!(summaries[subscriber][0].packets > 700, "{summaries:?}");
    }
}

#[test]
fn the_legs_numbers_wrap_twice() {
    let mut world = World::new(WorldOptions::new(20));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, dense(30_000));
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(3_000);
    world.set_link(subscriber, Direction::Down, LinkModel::losing(0.01));
    world.run_for_ms(63_000);
    world.set_link(subscriber, Direction::Down, LinkModel::default());
    world.settle(Completeness::Complete);
    let last = world.leg(subscriber, 0).received.keys().last().copied();
    assert!(last > Some(2 << 16), "{last:?}");
}

#[test]
fn a_leg_that_changes_its_source_wraps_too() {
    let mut world = World::new(WorldOptions::new(21));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let tracks = [
        world.publish(publisher, dense(65_000)),
        world.publish(publisher, dense(100)),
    ];
    world.subscribe(subscriber, tracks[0], SubscriptionSpec::default());
    world.run_for_ms(2_000);
    for turn in 0..18 {
        world.resubscribe(subscriber, 0, tracks[(turn + 1) % 2], None);
        world.run_for_ms(2_000);
    }
    let summaries = world.settle(Completeness::Complete);
    assert_eq!(summaries[subscriber][0].switches, 18);
    let last = world.leg(subscriber, 0).received.keys().last().copied();
    assert!(last > Some(1 << 16), "{last:?}");
}
