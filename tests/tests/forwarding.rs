//! Media goes from one client to others, whole and in order.

use core::time::Duration;

use shared::counters::{Counter, DropReason};
use shared::protocol::DtlsRole;
use tests::World;
use tests::checker::Completeness;
use tests::content::PictureIdWidth;
use tests::network::LinkModel;
use tests::peer::ClientOptions;
use tests::pool::PROFILES;
use tests::publisher::{Announcement, KeyframeRequests, Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

#[test]
fn audio_and_video_reach_a_subscriber_whole() {
    let mut world = World::new(WorldOptions::new(1));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    let video = world.publish(publisher, TrackSpec::video());
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(10_000);
    world.assert_connected(subscriber);
    let summaries = world.settle(Completeness::Complete);
    assert!(summaries[subscriber][0].packets > 470, "{summaries:?}");
    assert!(summaries[subscriber][1].packets > 860, "{summaries:?}");
    world.close_all();
}

#[test]
fn every_protection_profile_works_in_either_dtls_role() {
    let mut world = World::new(WorldOptions::new(2));
    let mut clients = Vec::new();
    for profile in PROFILES {
        for server_role in [DtlsRole::Server, DtlsRole::Client] {
            let options = ClientOptions {
                profile,
                server_role,
                ..ClientOptions::default()
            };
            clients.push(world.join(0, options));
        }
    }
    let tracks: Vec<_> = clients
        .iter()
        .map(|client| world.publish(*client, TrackSpec::video()))
        .collect();
    for client in &clients {
        let own = world.clients[*client].session;
        for track in tracks.iter().filter(|track| track.session != own) {
            world.subscribe(*client, *track, SubscriptionSpec::default());
        }
    }
    world.run_for_ms(4_000);
    for client in &clients {
        world.assert_connected(*client);
    }
    for legs in world.settle(Completeness::Complete) {
        assert_eq!(legs.len(), 5);
        assert!(legs.iter().all(|leg| leg.packets > 200), "{legs:?}");
    }
    world.close_all();
}

#[test]
fn one_publisher_reaches_many_subscribers_with_the_same_packets() {
    let mut world = World::new(WorldOptions::new(3));
    let publisher = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::video());
    let subscribers: Vec<_> = (0..40)
        .map(|_| world.join(0, ClientOptions::default()))
        .collect();
    for subscriber in &subscribers {
        world.subscribe(*subscriber, video, SubscriptionSpec::default());
    }
    world.run_for_ms(5_000);
    world.settle(Completeness::Complete);
    let contents = |client: usize| {
        let packets = world.leg(client, 0).received.values();
        packets.map(|packet| packet.content).collect::<Vec<_>>()
    };
    let first = contents(subscribers[0]);
    assert!(first.len() > 350, "{}", first.len());
    for subscriber in &subscribers {
        assert_eq!(contents(*subscriber), first);
    }
}

#[test]
fn tracks_that_share_a_turn_keep_their_order() {
    let mut world = World::new(WorldOptions {
        batch_max: 256,
        turn_delay_max: Duration::from_millis(20),
        ..WorldOptions::new(12)
    });
    let subscriber = world.join(0, ClientOptions::default());
    let jittery = LinkModel {
        jitter: Duration::from_millis(15),
        ..LinkModel::default()
    };
    for _ in 0..4 {
        let publisher = world.join_over(0, ClientOptions::default(), jittery);
        let spec = TrackSpec {
            packets_per_frame: 20,
            ..TrackSpec::video()
        };
        let video = world.publish(publisher, spec);
        world.subscribe(subscriber, video, SubscriptionSpec::default());
    }
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
    for leg in &world.clients[subscriber].subscriptions {
        assert!(leg.received.len() > 1_000, "{}", leg.received.len());
        assert_eq!(leg.overtaken, 0);
    }
}

#[test]
fn a_publisher_that_changes_its_ssrc_is_asked_for_a_key_frame_at_once() {
    let mut world = World::new(WorldOptions::new(13));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let spec = TrackSpec {
        announcement: Announcement::Extensions,
        ..TrackSpec::video()
    };
    let video = world.publish(publisher, spec);
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(3_000);
    let now = world.now;
    world.track_mut(video).layers[0].ssrc ^= 1;
    // Its numbers and times are other ones from here on, as if it were another source.
    world.clients[subscriber].subscriptions[0].changes.push(now);
    let before = world.leg(subscriber, 0).received.len();
    // A round trip, before the subscriber would ask of its own accord.
    world.run_for_ms(400);
    let after = world.leg(subscriber, 0).received.len();
    assert!(after > before + 10, "{before} and {after}");
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
}

#[test]
fn a_late_subscriber_begins_with_a_key_frame() {
    let mut world = World::new(WorldOptions::new(4));
    let publisher = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::video());
    world.run_for_ms(3_000);
    let late = world.join(0, ClientOptions::default());
    world.subscribe(late, video, SubscriptionSpec::default());
    world.run_for_ms(2_000);
    world.settle(Completeness::Complete);
    // The check that it is a key frame is `Leg::starts_with_keyframe` of the checker.
    assert!(world.leg(late, 0).received.len() > 120);
    assert!(world.counter(0, Counter::KeyframeRequestsSent) >= 1);
    assert!(world.drops(0, DropReason::AwaitingKeyframe) > 0);
}

#[test]
fn a_pull_before_media_waits_for_it() {
    let mut world = World::new(WorldOptions::new(5));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::video());
    world.track_mut(video).flow = tests::publisher::Flow::Paused;
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(5_000);
    assert_eq!(world.leg(subscriber, 0).received.len(), 0);
    world.track_mut(video).flow = tests::publisher::Flow::Running;
    world.run_for_ms(2_000);
    world.settle(Completeness::Complete);
    assert!(world.leg(subscriber, 0).received.len() > 150);
}

#[test]
fn unannounced_ssrcs_are_bound_by_mid() {
    let mut world = World::new(WorldOptions::new(6));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    for _ in 0..3 {
        let spec = TrackSpec {
            announcement: Announcement::Extensions,
            ..TrackSpec::video()
        };
        let video = world.publish(publisher, spec);
        world.subscribe(subscriber, video, SubscriptionSpec::default());
    }
    world.run_for_ms(3_000);
    let summaries = world.settle(Completeness::Complete);
    assert!(
        summaries[subscriber].iter().all(|leg| leg.packets > 200),
        "{summaries:?}"
    );
    for (number, leg) in (1..).zip(&world.clients[subscriber].subscriptions) {
        let tracks = leg
            .received
            .values()
            .map(|packet| packet.content.track & 0xff);
        assert!(tracks.into_iter().all(|track| track == number));
    }
}

#[test]
fn padding_leaves_no_hole_and_short_picture_ids_are_widened() {
    let mut world = World::new(WorldOptions::new(7));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let spec = TrackSpec {
        probes: 0.3,
        picture_ids: PictureIdWidth::Seven,
        keyframe_requests: KeyframeRequests::Fir,
        ..TrackSpec::video()
    };
    let video = world.publish(publisher, spec);
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(8_000);
    let summaries = world.settle(Completeness::Complete);
    assert!(summaries[subscriber][0].packets > 600, "{summaries:?}");
    assert!(world.drops(0, DropReason::PaddingOnly) > 50);
}

#[test]
fn everything_a_client_sends_is_reported_to_it() {
    let mut world = World::new(WorldOptions::new(8));
    let publisher = world.join(0, ClientOptions::default());
    world.publish(publisher, TrackSpec::audio());
    world.publish(publisher, TrackSpec::simulcast());
    world.run_for_ms(5_000);
    world.settle(Completeness::Complete);
    let transport = &world.clients[publisher].transport;
    assert!(transport.sent() > 900, "{}", transport.sent());
    assert_eq!(transport.acknowledged(), transport.sent());
}

#[test]
fn a_closed_publication_ends_quietly_and_a_closed_subscription_says_goodbye() {
    let mut world = World::new(WorldOptions::new(9));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    let leg = world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for_ms(2_000);
    world.unpublish(audio);
    world.run_for_ms(500);
    assert!(!world.leg(subscriber, leg).goodbye);
    let came = world.leg(subscriber, leg).received.len();
    world.run_for_ms(1_000);
    assert_eq!(world.leg(subscriber, leg).received.len(), came);
    world.unsubscribe(subscriber, leg);
    world.run_for_ms(500);
    assert!(world.leg(subscriber, leg).goodbye);
    world.settle(Completeness::Complete);
    world.close_all();
}

#[test]
fn closing_a_session_says_goodbye_to_its_client() {
    let mut world = World::new(WorldOptions::new(10));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    let spec = TrackSpec {
        repair: Repair::None,
        ..TrackSpec::audio()
    };
    let audio = world.publish(publisher, spec);
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for(Duration::from_secs(2));
    assert!(world.close(subscriber).is_ok());
    world.run_for_ms(500);
    assert!(world.leg(subscriber, 0).goodbye);
    assert_eq!(world.pool(0).stopped, 1);
    world.close_all();
}
