//! Where not everything fits, or has to: who gets the better picture, and who needs none.
#![expect(
    clippy::indexing_slicing,
    reason = "a wrong index fails the test, as it should"
)]

use core::time::Duration;

use shared::id::PublicationId;
use shared::protocol::{Hints, LayerReason};
use tests::World;
use tests::network::{Bottleneck, Direction, LinkModel, QueueLimit};
use tests::peer::{ClientOptions, Feedback};
use tests::publisher::{Scene, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// Three encodings of 1.8, 0.9 and 0.5 Mb/s that say how high they are.
fn video() -> TrackSpec {
    TrackSpec {
        packets_per_frame: 12,
        heights: vec![720, 360, 180],
        ..TrackSpec::simulcast()
    }
}

fn hints(priority: u8, max_height: Option<u16>) -> Hints {
    Hints {
        priority,
        max_height,
    }
}

fn with(hints: Hints) -> SubscriptionSpec {
    SubscriptionSpec {
        hints,
        ..SubscriptionSpec::default()
    }
}

/// Someone who gets what two others send.
struct Call {
    world: World,
    sources: [PublicationId; 2],
    subscriber: usize,
}

impl Call {
    fn new(seed: u64, specs: [TrackSpec; 2], rate: u64) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let sources = specs.map(|spec| {
            let publisher = world.join(0, ClientOptions::default());
            world.publish(publisher, spec)
        });
        let options = ClientOptions {
            feedback: Feedback::TransportWide,
            ..ClientOptions::default()
        };
        let subscriber = world.join(0, options);
        let down = LinkModel {
            bottleneck: Some(Bottleneck {
                rate,
                queue: QueueLimit::Time(Duration::from_millis(300)),
            }),
            ..LinkModel::default()
        };
        world.set_link(subscriber, Direction::Down, down);
        world.run_for_ms(2_000);
        Self {
            world,
            sources,
            subscriber,
        }
    }

    fn subscribe(&mut self, hints: [Hints; 2]) {
        for (source, hints) in self.sources.into_iter().zip(hints) {
            self.world.subscribe(self.subscriber, source, with(hints));
        }
    }

    /// Which encoding of each source has come for longest in the last ten of so many seconds.
    fn after(&mut self, seconds: u64) -> [usize; 2] {
        self.world.run_for_ms((seconds - 10) * 1_000);
        let before = [0, 1].map(|leg| counts(&self.world, self.subscriber, leg));
        self.world.run_for_ms(10_000);
        let after = [0, 1].map(|leg| counts(&self.world, self.subscriber, leg));
        self.world.checker.assert_clean();
        let mut most = [0; 2];
        for ((most, before), after) in most.iter_mut().zip(before).zip(after) {
            let came = |layer: &usize| (after[*layer] - before[*layer]) << layer;
            *most = (0..3).max_by_key(came).expect("three encodings");
        }
        most
    }
}

/// Packets of each encoding that have come: half as many for a frame as of the one before.
fn counts(world: &World, client: usize, subscription: usize) -> [usize; 3] {
    let leg = world.leg(client, subscription);
    [0, 1, 2].map(|layer| leg.count_of_layer(layer))
}

/// A link that carries the best of one of two such videos, but not of both.
const NARROW: u64 = 3_000_000;

/// One that carries everything.
const WIDE: u64 = 20_000_000;

#[test]
fn a_higher_priority_gets_the_better_picture() {
    for (seed, priorities, better) in [(1, [0, 1], 1), (2, [200, 100], 0), (3, [7, 255], 1)] {
        let mut call = Call::new(seed, [video(), video()], NARROW);
        call.subscribe(priorities.map(|priority| hints(priority, None)));
        let most = call.after(40);
        assert_eq!(most[better], 0, "{priorities:?}: {most:?}");
        assert!(most[1 - better] > 0, "{priorities:?}: {most:?}");
    }
}

#[test]
fn a_priority_that_changes_changes_who_gets_the_better_picture() {
    let mut call = Call::new(4, [video(), video()], NARROW);
    call.subscribe([hints(1, None), hints(0, None)]);
    let most = call.after(40);
    assert!(most[0] == 0 && most[1] > 0, "{most:?}");
    let subscriber = call.subscriber;
    call.world.set_hints(subscriber, 1, hints(2, None));
    let most = call.after(20);
    assert!(most[0] > 0 && most[1] == 0, "{most:?}");
}

#[test]
fn a_screen_climbs_before_a_camera() {
    let screen = TrackSpec {
        scene: Scene::Screen,
        ..video()
    };
    for (seed, specs, better) in [(5, [video(), screen.clone()], 1), (6, [screen, video()], 0)] {
        let mut call = Call::new(seed, specs, NARROW);
        // A priority counts among equals only.
        let mut wanted = [hints(9, None); 2];
        wanted[better] = hints(0, None);
        call.subscribe(wanted);
        let most = call.after(60);
        assert_eq!(most[better], 0, "{most:?}");
        assert!(most[1 - better] > 0, "{most:?}");
    }
}

#[test]
fn no_picture_comes_that_is_higher_than_asked_for_though_the_path_would_carry_it() {
    let mut call = Call::new(7, [video(), video()], WIDE);
    call.subscribe([hints(0, Some(360)), hints(0, Some(359))]);
    assert_eq!(call.after(30), [1, 2]);
    let subscriber = call.subscriber;
    assert_eq!(counts(&call.world, subscriber, 0)[0], 0);
    assert_eq!(counts(&call.world, subscriber, 1)[..2], [0, 0]);
    for leg in call.world.measure(subscriber).unwrap().subscriptions {
        assert_eq!(leg.reason, LayerReason::Asked);
    }
}

#[test]
fn a_limit_of_height_can_be_raised_and_lowered_in_a_call() {
    let mut call = Call::new(8, [video(), video()], WIDE);
    call.subscribe([hints(0, Some(180)), hints(0, None)]);
    assert_eq!(call.after(20), [2, 0]);
    let subscriber = call.subscriber;
    call.world.set_hints(subscriber, 0, hints(0, Some(1_080)));
    call.world.set_hints(subscriber, 1, hints(0, Some(400)));
    assert_eq!(call.after(15), [0, 1]);
}

#[test]
fn the_lowest_picture_comes_however_high_it_is() {
    let mut call = Call::new(9, [video(), video()], WIDE);
    call.subscribe([hints(0, Some(1)), hints(0, Some(90))]);
    assert_eq!(call.after(15), [2, 2]);
}

#[test]
fn a_height_that_nobody_tells_binds_nothing() {
    let silent = TrackSpec {
        heights: Vec::new(),
        ..video()
    };
    let mut call = Call::new(10, [silent.clone(), silent], WIDE);
    call.subscribe([hints(0, Some(1)), hints(0, Some(360))]);
    assert_eq!(call.after(20), [0, 0]);
}

#[test]
fn a_height_is_kept_to_without_feedback_and_across_shards() {
    for (seed, shard, feedback) in [
        (11, 0, Feedback::None),
        (12, 1, Feedback::TransportWide),
        (13, 1, Feedback::None),
    ] {
        let mut world = World::new(WorldOptions {
            shards: 2,
            ..WorldOptions::new(seed)
        });
        let publisher = world.join(0, ClientOptions::default());
        let options = ClientOptions {
            feedback,
            ..ClientOptions::default()
        };
        let subscriber = world.join(shard, options);
        let source = world.publish(publisher, video());
        world.run_for_ms(2_000);
        world.subscribe(subscriber, source, with(hints(0, Some(360))));
        world.run_for_ms(15_000);
        let counts = counts(&world, subscriber, 0);
        assert!(counts[1] > 500 && counts[0] == 0, "seed {seed}: {counts:?}");
        world.checker.assert_clean();
    }
}

#[test]
fn a_picture_that_grows_too_high_is_left_for_a_lower_one() {
    let mut call = Call::new(14, [video(), video()], WIDE);
    call.subscribe([hints(0, Some(720)), hints(0, Some(720))]);
    assert_eq!(call.after(20), [0, 0]);
    let (source, subscriber) = (call.sources[0], call.subscriber);
    call.world.track_mut(source).spec.heights = vec![1_080, 540, 270];
    // The next key frame tells.
    call.world.clients[subscriber].subscriptions[0].ask_for_keyframe();
    assert_eq!(call.after(15), [1, 0]);
}
