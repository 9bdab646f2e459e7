//! Who gets pictures and no sound has nothing left that tells of the path once these are paused.

use core::time::Duration;

use shared::protocol::Hints;
use tests::World;
use tests::call::{link, watching};
use tests::network::{Direction, LinkModel};
use tests::peer::ClientOptions;
use tests::playback::Playback;
use tests::publisher::{Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

#[test]
fn a_picture_that_was_paused_comes_back_though_nothing_else_is_sent() {
    for seed in 1..6 {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let viewer = world.join_over(0, watching(), link(3_000_000));
        let video = world.publish(publisher, TrackSpec::camera());
        world.run_for_ms(2_000);
        world.subscribe(viewer, video, SubscriptionSpec::default());
        world.run_for_ms(6_000);
        world.set_link(viewer, Direction::Down, link(30_000));
        world.run_for_ms(15_000);
        world.set_link(viewer, Direction::Down, LinkModel::default());
        world.run_for_ms(30_000);
        let playback = Playback::of(world.leg(viewer, 0), &world.ledger);
        let frames = playback.frames(world.now - Duration::from_secs(1), world.now);
        assert!(frames > 20, "seed {seed}: {frames}");
    }
}

/// Video that cannot be repeated in a stream of its own has no transport-wide numbers.
#[test]
fn a_picture_that_was_paused_comes_back_though_all_that_is_sent_has_no_numbers() {
    for seed in 1..6 {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let viewer = world.join_over(0, watching(), link(3_000_000));
        let camera = world.publish(publisher, TrackSpec::camera());
        let other = TrackSpec {
            rates: vec![150_000],
            ..TrackSpec::video()
        };
        let other = world.publish(publisher, other);
        world.run_for_ms(2_000);
        let plain = SubscriptionSpec {
            repair: Repair::Plain,
            hints: Hints {
                priority: 9,
                max_height: None,
            },
            ..SubscriptionSpec::default()
        };
        world.subscribe(viewer, camera, SubscriptionSpec::default());
        world.subscribe(viewer, other, plain);
        world.run_for_ms(6_000);
        world.set_link(viewer, Direction::Down, link(120_000));
        world.run_for_ms(15_000);
        world.set_link(viewer, Direction::Down, LinkModel::default());
        world.run_for_ms(30_000);
        for position in [0, 1] {
            let playback = Playback::of(world.leg(viewer, position), &world.ledger);
            let frames = playback.frames(world.now - Duration::from_secs(1), world.now);
            assert!(frames > 20, "seed {seed}, leg {position}: {frames}");
        }
    }
}
