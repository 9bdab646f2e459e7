//! Hundreds of changes between encodings, at any time and in any order: whatever the codec, what a
//! subscriber gets goes on without a break in its numbers, and can be decoded.
#![expect(
    clippy::indexing_slicing,
    reason = "a wrong index fails the test, as it should"
)]

use core::time::Duration;

use shared::counters::Counter;
use shared::protocol::Codec;
use tests::World;
use tests::checker::Completeness;
use tests::network::LinkModel;
use tests::peer::ClientOptions;
use tests::playback::Playback;
use tests::publisher::TrackSpec;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// The numbers themselves are seen to by the checkers.
fn switch_at_random(codec: Codec, wanted: u64, model: LinkModel, seed: u64) {
    let mut world = World::new(WorldOptions::new(seed));
    let publisher = world.join_over(0, ClientOptions::default(), model);
    let subscriber = world.join_over(0, ClientOptions::default(), model);
    let spec = TrackSpec {
        codec,
        ..TrackSpec::simulcast()
    };
    let video = world.publish(publisher, spec);
    let preferred = SubscriptionSpec {
        preferred_rid: Some("a"),
        ..SubscriptionSpec::default()
    };
    world.subscribe(subscriber, video, preferred);
    world.run_for_ms(3_000);
    let began = world.now;
    while world.counter(0, Counter::LayerSwitches) < wanted {
        let rid = world.rng.pick(&["a", "b", "c"]);
        world.resubscribe(subscriber, 0, video, Some(rid));
        let time = world.rng.between(20, 700);
        world.run_for_ms(time);
    }
    let playback = Playback::of(world.leg(subscriber, 0), &world.ledger);
    let longest = playback.longest_gap(began, world.now);
    assert!(longest < Duration::from_secs(1), "{codec:?}: {longest:?}");
    for client in [publisher, subscriber] {
        world.set_links(client, LinkModel::default());
    }
    let summaries = world.settle(Completeness::Complete);
    let switches = summaries[subscriber][0].switches as u64;
    assert!(switches >= wanted * 9 / 10, "{codec:?}: {switches}");
}

#[test]
fn five_hundred_switches_of_vp8_are_continuous() {
    switch_at_random(Codec::Vp8, 500, LinkModel::default(), 1);
}

#[test]
fn five_hundred_switches_of_vp9_are_continuous() {
    switch_at_random(Codec::Vp9, 500, LinkModel::default(), 2);
}

#[test]
fn five_hundred_switches_of_h264_are_continuous() {
    switch_at_random(Codec::H264, 500, LinkModel::default(), 3);
}

#[test]
fn five_hundred_switches_of_av1_are_continuous() {
    switch_at_random(Codec::Av1, 500, LinkModel::default(), 4);
}

#[test]
fn switches_of_every_codec_are_continuous_under_loss() {
    for (codec, seed) in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]
        .into_iter()
        .zip(5..)
    {
        switch_at_random(codec, 150, LinkModel::losing(0.02), seed);
    }
}
