//! Many who come to watch at once: the publisher hardly notices, and all soon have a picture.
#![expect(
    clippy::indexing_slicing,
    reason = "a wrong index fails the test, as it should"
)]

use core::time::Duration;

use dataplane_core::time::Timestamp;
use shared::protocol::{Event, TransportState};
use tests::World;
use tests::call::watching;
use tests::checker::Completeness;
use tests::peer::ClientOptions;
use tests::playback::Playback;
use tests::publisher::{KEYFRAME_REQUEST_INTERVAL, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

const VIEWERS: usize = 100;

/// Within a second, one after another.
struct Crowd {
    world: World,
    video: shared::id::PublicationId,
    began: Timestamp,
}

impl Crowd {
    fn join(seed: u64) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let video = world.publish(publisher, TrackSpec::camera());
        world.run_for_ms(2_000);
        let began = world.now;
        for viewer in 0..VIEWERS as u64 {
            let jitter = world.rng.duration(Duration::from_millis(10));
            world.run_until(began + Duration::from_millis(viewer * 10) + jitter);
            let viewer = world.join(0, watching());
            world.subscribe(viewer, video, SubscriptionSpec::default());
        }
        world.run_for_ms(1_500);
        Self {
            world,
            video,
            began,
        }
    }

    /// When keys were there, so that media could flow.
    fn connected_at(&self, viewer: usize) -> Timestamp {
        let session = self.world.clients[viewer].session;
        let mut events = self.world.events.iter();
        let connected = Event::SessionChanged {
            session,
            state: TransportState::Connected,
        };
        let found = events.find(|(_, event)| *event == connected);
        found.expect("connected").0
    }
}

#[test]
fn a_hundred_who_join_within_a_second_cost_the_publisher_a_few_key_frames() {
    let mut crowd = Crowd::join(1);
    let lasted = crowd.world.now.since(crowd.began);
    let most = lasted.as_nanos() / KEYFRAME_REQUEST_INTERVAL.as_nanos() + 1;
    for layer in &crowd.world.track(crowd.video).layers {
        // The publisher itself checks that they are spaced.
        let asked = layer.keyframe_requests;
        assert!(u128::from(asked) <= most, "{asked}");
    }
    crowd.world.settle(Completeness::Complete);
}

#[test]
fn of_a_hundred_who_join_within_a_second_nearly_all_have_a_picture_in_half_a_second() {
    for seed in 1..3 {
        let crowd = Crowd::join(seed);
        let mut waits: Vec<_> = (1..=VIEWERS)
            .map(|viewer| {
                let playback = Playback::of(crowd.world.leg(viewer, 0), &crowd.world.ledger);
                let first = playback.first().expect("a picture");
                first.since(crowd.connected_at(viewer))
            })
            .collect();
        waits.sort_unstable();
        let p95 = waits[VIEWERS * 95 / 100];
        assert!(p95 < Duration::from_millis(500), "seed {seed}: {p95:?}");
    }
}
