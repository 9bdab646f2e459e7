//! Viewers who are not there: they cost one key frame at most, and have a picture when they come back.
#![expect(
    clippy::indexing_slicing,
    reason = "a wrong index fails the test, as it should"
)]

use core::time::Duration;

use shared::protocol::{Event, Hints, TransportState};
use tests::World;
use tests::call::{Call, link, watching};
use tests::checker::Completeness;
use tests::network::{LinkModel, LinkState};
use tests::peer::{Activity, ClientOptions};
use tests::publisher::TrackSpec;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

fn preferring(rid: &'static str) -> SubscriptionSpec {
    SubscriptionSpec {
        preferred_rid: Some(rid),
        // What the server does not ask for of its own accord, nobody does.
        insists: false,
        ..SubscriptionSpec::default()
    }
}

fn unreachable() -> LinkModel {
    LinkModel {
        state: LinkState::Down,
        ..LinkModel::default()
    }
}

#[test]
fn a_viewer_who_does_not_connect_costs_one_key_frame() {
    for options in [ClientOptions::default(), watching()] {
        let mut world = World::new(WorldOptions::new(1));
        let publisher = world.join(0, ClientOptions::default());
        let video = world.publish(publisher, TrackSpec::simulcast());
        world.run_for_ms(2_000);
        let viewer = world.join_over(0, options, unreachable());
        world.subscribe(viewer, video, preferring("b"));
        world.run_for_ms(10_000);
        assert_eq!(world.track(video).layers[1].keyframe_requests, 1);
        world.set_links(viewer, LinkModel::default());
        world.run_for_ms(2_000);
        assert!(world.leg(viewer, 0).count_of_layer(1) > 20);
        world.settle(Completeness::Complete);
    }
}

#[test]
fn a_viewer_who_does_not_connect_costs_no_key_frame_when_pictures_become_higher() {
    let mut world = World::new(WorldOptions::new(1));
    let publisher = world.join(0, ClientOptions::default());
    let video = world.publish(
        publisher,
        TrackSpec {
            heights: vec![720, 360, 180],
            ..TrackSpec::simulcast()
        },
    );
    world.run_for_ms(2_000);
    let viewer = world.join_over(0, ClientOptions::default(), unreachable());
    let spec = SubscriptionSpec {
        hints: Hints {
            priority: 0,
            max_height: Some(360),
        },
        ..SubscriptionSpec::default()
    };
    world.subscribe(viewer, video, spec);
    world.run_for_ms(1_000);
    let requests = |world: &World| {
        let layers = world.track(video).layers.iter();
        layers.map(|layer| layer.keyframe_requests).sum::<u64>()
    };
    let before = requests(&world);
    for heights in [[360, 180, 90], [720, 360, 180], [360, 180, 90]] {
        world.track_mut(video).spec.heights = heights.to_vec();
        world.run_for_ms(2_000);
    }
    assert_eq!(requests(&world), before);
}

/// A call over a narrow link whose viewer falls silent, and what it wants meanwhile.
struct Silence {
    call: Call,
    began: dataplane_core::time::Timestamp,
}

impl Silence {
    fn begin() -> Self {
        let mut call = Call::new(1, TrackSpec::camera(), link(3_000_000));
        let (viewer, video) = (call.viewer, call.video);
        call.world.clients[viewer].subscriptions[0].spec.insists = false;
        call.world.resubscribe(viewer, 0, video, Some("b"));
        call.world.run_for_ms(5_000);
        // What it tells last is that its path is full, so that key frames wait.
        call.set_rate(300_000);
        call.world.run_for_ms(500);
        call.world.clients[viewer].activity = Activity::Asleep;
        let began = call.world.now;
        Self { call, began }
    }

    /// How long after its beginning it is noticed.
    fn noticed(&self) -> Option<Duration> {
        let session = self.call.world.clients[self.call.viewer].session;
        let lost = Event::SessionChanged {
            session,
            state: TransportState::Disconnected,
        };
        let mut events = self.call.world.events.iter();
        let (at, _) = events.find(|(_, event)| *event == lost)?;
        Some(at.since(self.began))
    }
}

#[test]
fn a_viewer_who_has_fallen_silent_costs_one_key_frame_for_a_change_of_layer() {
    let mut silence = Silence::begin();
    let call = &mut silence.call;
    call.world.run_for_ms(20_000);
    let asked = |call: &Call| call.world.track(call.video).layers[2].keyframe_requests;
    let before = asked(call);
    call.world
        .resubscribe(call.viewer, 0, call.video, Some("c"));
    call.world.run_for_ms(8_000);
    assert_eq!(asked(call) - before, 1);
}

#[test]
fn a_viewer_who_falls_silent_while_a_key_frame_waits_gets_another_when_it_comes_back() {
    let mut silence = Silence::begin();
    silence.call.world.run_for_ms(18_000);
    let noticed = silence.noticed().unwrap();
    for before in (0..200).step_by(20) {
        let mut silence = Silence::begin();
        let switch = noticed - Duration::from_millis(before);
        let call = &mut silence.call;
        call.world.run_for(switch);
        call.world
            .resubscribe(call.viewer, 0, call.video, Some("a"));
        call.world.run_for_ms(2_000);
        call.set_rate(10_000_000);
        call.world.clients[call.viewer].activity = Activity::Awake;
        call.world.run_for_ms(4_000);
        let told = call.world.measure(call.viewer).unwrap();
        let waits = told.subscriptions[0].awaits_keyframe;
        assert!(!waits, "asked for {before} ms before");
    }
}
