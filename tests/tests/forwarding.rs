//! Media goes from one client to others, whole and in order.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use tests::World;
use tests::checker::Completeness;
use tests::peer::ClientOptions;
use tests::publisher::TrackSpec;
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
