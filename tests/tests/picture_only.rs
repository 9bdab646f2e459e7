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

/// Who sends and who watches, by their places, before anything is published.
fn meeting(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(WorldOptions::new(seed));
    let publisher = world.join(0, ClientOptions::default());
    let viewer = world.join_over(0, watching(), link(3_000_000));
    (world, publisher, viewer)
}

/// The viewer's link carries so many bits a second for a while, and then everything.
fn narrow_and_open(world: &mut World, viewer: usize, bits_per_second: u64) {
    world.run_for_ms(6_000);
    world.set_link(viewer, Direction::Down, link(bits_per_second));
    world.run_for_ms(15_000);
    world.set_link(viewer, Direction::Down, LinkModel::default());
    world.run_for_ms(30_000);
}

/// Frames of a subscription that the viewer could show in the last second.
fn frames_lately(world: &World, viewer: usize, subscription: usize) -> usize {
    let playback = Playback::of(world.leg(viewer, subscription), &world.ledger);
    playback.frames(world.now - Duration::from_secs(1), world.now)
}

#[test]
fn a_picture_that_was_paused_comes_back_though_nothing_else_is_sent() {
    for seed in 1..6 {
        let (mut world, publisher, viewer) = meeting(seed);
        let video = world.publish(publisher, TrackSpec::camera());
        world.run_for_ms(2_000);
        world.subscribe(viewer, video, SubscriptionSpec::default());
        narrow_and_open(&mut world, viewer, 30_000);
        let frames = frames_lately(&world, viewer, 0);
        assert!(frames > 20, "seed {seed}: {frames}");
    }
}

/// Video that cannot be repeated in a stream of its own has no transport-wide numbers.
#[test]
fn a_picture_that_was_paused_comes_back_though_all_that_is_sent_has_no_numbers() {
    for seed in 1..6 {
        let (mut world, publisher, viewer) = meeting(seed);
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
        narrow_and_open(&mut world, viewer, 120_000);
        for position in [0, 1] {
            let frames = frames_lately(&world, viewer, position);
            assert!(frames > 20, "seed {seed}, leg {position}: {frames}");
        }
    }
}
