//! Publishers and subscribers on different shards.

use shared::counters::{Counter, DropReason, Gauge};
use tests::World;
use tests::checker::Completeness;
use tests::network::LinkModel;
use tests::peer::ClientOptions;
use tests::publisher::TrackSpec;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

fn two_shards(seed: u64) -> World {
    World::new(WorldOptions {
        shards: 2,
        ..WorldOptions::new(seed)
    })
}

#[test]
fn media_crosses_shards_both_ways() {
    let mut world = two_shards(1);
    let clients = [
        world.join(0, ClientOptions::default()),
        world.join(1, ClientOptions::default()),
    ];
    for (own, other) in [(0, 1), (1, 0)] {
        for spec in [TrackSpec::audio(), TrackSpec::simulcast()] {
            let track = world.publish(clients[own], spec);
            world.subscribe(clients[other], track, SubscriptionSpec::default());
        }
    }
    world.run_for_ms(5_000);
    let summaries = world.settle(Completeness::Complete);
    assert!(
        summaries.iter().flatten().all(|leg| leg.packets > 200),
        "{summaries:?}"
    );
    assert!(world.counter(0, Counter::RelayPacketsSent) > 0);
    world.close_all();
}

#[test]
fn a_packet_crosses_once_for_all_legs_of_a_shard() {
    let mut world = two_shards(2);
    let publisher = world.join(0, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    for _ in 0..20 {
        let subscriber = world.join(1, ClientOptions::default());
        world.subscribe(subscriber, audio, SubscriptionSpec::default());
    }
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
    let received = world.counter(0, Counter::RtpPacketsReceived);
    assert!(world.counter(0, Counter::RelayPacketsSent) <= received);
    assert_eq!(world.gauge(1, Gauge::Mirrors), 1);
    world.close_all();
}

#[test]
fn switches_and_losses_work_across_shards() {
    let mut world = two_shards(3);
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(1, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    let video = world.publish(publisher, TrackSpec::simulcast());
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.subscribe(subscriber, video, SubscriptionSpec::default());
    world.run_for_ms(3_000);
    for client in [publisher, subscriber] {
        world.set_links(client, LinkModel::losing(0.05));
    }
    for rid in ["c", "b", "a", "c", "a"] {
        world.resubscribe(subscriber, 1, video, Some(rid));
        world.run_for_ms(2_500);
    }
    for client in [publisher, subscriber] {
        world.set_links(client, LinkModel::default());
    }
    let summaries = world.settle(Completeness::Complete);
    assert!(summaries[subscriber][1].switches >= 4, "{summaries:?}");
    world.close_all();
}

#[test]
fn a_mirror_ends_with_its_last_leg_and_with_its_publication() {
    let mut world = two_shards(4);
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(1, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    let first = world.subscribe(subscriber, audio, SubscriptionSpec::default());
    let second = world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for_ms(2_000);
    world.unsubscribe(subscriber, first);
    world.run_for_ms(100);
    assert_eq!(world.gauge(1, Gauge::Mirrors), 1);
    world.unsubscribe(subscriber, second);
    world.run_for_ms(100);
    assert_eq!(world.gauge(1, Gauge::Mirrors), 0);
    let sent = world.counter(0, Counter::RelayPacketsSent);
    world.run_for_ms(500);
    assert_eq!(
        world.counter(0, Counter::RelayPacketsSent),
        sent,
        "nobody wants it any more"
    );
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for_ms(500);
    world.unpublish(audio);
    world.run_for_ms(100);
    assert_eq!(world.gauge(1, Gauge::Mirrors), 0);
    world.settle(Completeness::Complete);
    world.close_all();
}

#[test]
fn a_full_way_between_shards_loses_packets_and_counts_them() {
    let mut world = World::new(WorldOptions {
        shards: 2,
        relay_max: 0,
        ..WorldOptions::new(5)
    });
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(1, ClientOptions::default());
    let audio = world.publish(publisher, TrackSpec::audio());
    world.subscribe(subscriber, audio, SubscriptionSpec::default());
    world.run_for_ms(2_000);
    assert!(world.drops(0, DropReason::RelayFull) > 50);
    assert_eq!(world.leg(subscriber, 0).received.len(), 0);
    world.close_all();
}
