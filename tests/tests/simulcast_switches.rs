//! A subscriber gets one layer at a time, and changes without a break in its numbers.

use core::time::Duration;

use shared::counters::Counter;
use shared::id::PublicationId;
use shared::protocol::Ordering;
use tests::World;
use tests::checker::Completeness;
use tests::content::PictureIdWidth;
use tests::network::{Direction, LinkModel};
use tests::peer::ClientOptions;
use tests::publisher::{Announcement, Flow, Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

fn preferring(rid: &'static str) -> SubscriptionSpec {
    SubscriptionSpec {
        preferred_rid: Some(rid),
        ..SubscriptionSpec::default()
    }
}

fn call(seed: u64, spec: TrackSpec, rid: &'static str) -> (World, PublicationId, usize) {
    let mut world = World::new(WorldOptions::new(seed));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    let video = world.publish(publisher, spec);
    world.subscribe(subscriber, video, preferring(rid));
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for_ms(3_000);
    world.assert_connected(subscriber);
    (world, video, subscriber)
}

#[test]
fn each_rid_can_be_pulled() {
    for (layer, rid) in (0..).zip(["a", "b", "c"]) {
        let (mut world, _, subscriber) = call(1, TrackSpec::simulcast(), rid);
        world.settle(Completeness::Complete);
        let leg = world.leg(subscriber, 0);
        assert!(leg.count_of_layer(layer) > 50, "{rid}");
        assert_eq!(leg.count_of_layer(layer), leg.received.len());
    }
}

#[test]
fn switches_are_continuous_and_begin_with_a_key_frame() {
    for (seed, picture_ids, announcement) in [
        (2, PictureIdWidth::Fifteen, Announcement::Extensions),
        (3, PictureIdWidth::Seven, Announcement::Ssrc),
    ] {
        let spec = TrackSpec {
            picture_ids,
            announcement,
            ..TrackSpec::simulcast()
        };
        let (mut world, video, subscriber) = call(seed, spec, "a");
        for rid in ["b", "c", "a", "c", "b", "a"] {
            world.resubscribe(subscriber, 0, video, Some(rid));
            world.run_for_ms(1_300);
        }
        let summaries = world.settle(Completeness::Complete);
        assert_eq!(summaries[subscriber][0].switches, 6);
        assert_eq!(world.counter(0, Counter::LayerSwitches), 6);
    }
}

#[test]
fn switches_are_continuous_under_loss() {
    let (mut world, video, subscriber) = call(4, TrackSpec::simulcast(), "a");
    for client in 0..2 {
        world.set_links(client, LinkModel::losing(0.05));
    }
    for rid in ["b", "c", "a", "c", "b", "a", "b", "a"] {
        world.resubscribe(subscriber, 0, video, Some(rid));
        world.run_for_ms(2_500);
    }
    for client in 0..2 {
        world.set_links(client, LinkModel::default());
    }
    let summaries = world.settle(Completeness::Complete);
    assert!(summaries[subscriber][0].switches >= 6, "{summaries:?}");
}

#[test]
fn a_switch_to_a_repaired_key_frame_brings_what_overtook_it() {
    let mut world = World::new(WorldOptions::new(8));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::simulcast());
    // One that asks for nothing again: a hole that the server leaves stays open.
    let spec = SubscriptionSpec {
        repair: Repair::None,
        ..preferring("a")
    };
    world.subscribe(subscriber, video, spec);
    world.run_for_ms(3_000);
    world.set_link(publisher, Direction::Up, LinkModel::losing(0.2));
    for rid in ["b", "c", "a", "c", "b", "a", "b", "a"] {
        world.resubscribe(subscriber, 0, video, Some(rid));
        world.run_for_ms(2_500);
    }
    world.set_link(publisher, Direction::Up, LinkModel::default());
    let summaries = world.settle(Completeness::Complete);
    assert!(summaries[subscriber][0].switches >= 6, "{summaries:?}");
}

#[test]
fn a_switch_keeps_its_time_while_seconds_of_media_wait_on_the_way_up() {
    let (mut world, video, subscriber) = call(9, TrackSpec::simulcast(), "a");
    let publisher = 0;
    // The last frame that leaves is from before the delay, the next one from within it.
    world.track_mut(video).layers[0].flow = Flow::Paused;
    world.run_for_ms(200);
    let slow = LinkModel {
        delay: Duration::from_millis(1_500),
        ..LinkModel::default()
    };
    world.set_link(publisher, Direction::Up, slow);
    world.run_for_ms(4_000);
    world.resubscribe(subscriber, 0, video, Some("b"));
    world.run_for_ms(5_000);
    // The checker compares the switch with when its media was captured, and so all reports.
    let summaries = world.settle(Completeness::Complete);
    assert_eq!(summaries[subscriber][0].switches, 1);
}

#[test]
fn a_layer_that_ceases_is_replaced_only_if_that_is_allowed() {
    for (fallback, stays) in [(Ordering::None, true), (Ordering::Asciibetical, false)] {
        let (mut world, video, subscriber) = call(5, TrackSpec::simulcast(), "a");
        world.clients[subscriber].subscriptions[0].spec.fallback = fallback;
        world.resubscribe(subscriber, 0, video, Some("a"));
        world.track_mut(video).layers[0].flow = Flow::Paused;
        world.run_for_ms(4_000);
        let replaced = world.leg(subscriber, 0).count_of_layer(1);
        assert_eq!(replaced == 0, stays, "{fallback:?}: {replaced}");
        world.track_mut(video).layers[0].flow = Flow::Running;
        world.run_for_ms(3_000);
        let last = world.leg(subscriber, 0).received.values().last();
        assert_eq!(
            last.map(|packet| packet.content.layer),
            Some(0),
            "it is gone back to"
        );
        world.settle(Completeness::Complete);
    }
}

#[test]
fn another_publication_of_the_same_or_of_another_client_takes_over() {
    let (mut world, video, subscriber) = call(6, TrackSpec::simulcast(), "a");
    let other = world.join(0, ClientOptions::default());
    let plain = world.publish(other, TrackSpec::video());
    world.run_for_ms(2_000);
    for source in [plain, video, plain, video] {
        world.resubscribe(subscriber, 0, source, Some("a"));
        world.run_for_ms(1_700);
    }
    let summaries = world.settle(Completeness::Complete);
    assert_eq!(summaries[subscriber][0].switches, 4);
    world.close_all();
}

#[test]
fn two_hundred_wishes_for_a_key_frame_are_one_request() {
    let mut world = World::new(WorldOptions::new(7));
    let publisher = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::simulcast());
    for _ in 0..50 {
        let subscriber = world.join(0, ClientOptions::default());
        world.subscribe(subscriber, video, preferring("b"));
    }
    world.run_for_ms(3_000);
    let before = world.track(video).layers[1].keyframe_requests;
    for client in 1..51 {
        world.clients[client].subscriptions[0].ask_for_keyframe();
    }
    // Their clocks differ by up to 5 ms, and a request takes 40 ms to be answered.
    world.run_for_ms(400);
    assert_eq!(world.track(video).layers[1].keyframe_requests - before, 1);
    assert_eq!(
        world.track(video).layers[0].keyframe_requests,
        0,
        "nobody gets this one"
    );
    world.settle(Completeness::Complete);
}
