//! Clients move, fall silent, come back, and restart ICE.

use core::time::Duration;

use shared::counters::{Counter, DropReason, Gauge};
use shared::protocol::{EndReason, Event, TransportState};
use tests::World;
use tests::checker::Completeness;
use tests::network::{LinkModel, LinkState};
use tests::peer::{Activity, ClientOptions};
use tests::publisher::TrackSpec;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

fn call(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(WorldOptions::new(seed));
    let publisher = world.join(0, ClientOptions::default());
    let subscriber = world.join(0, ClientOptions::default());
    for spec in [TrackSpec::audio(), TrackSpec::video()] {
        let track = world.publish(publisher, spec);
        world.subscribe(subscriber, track, SubscriptionSpec::default());
    }
    world.run_for_ms(3_000);
    world.assert_connected(subscriber);
    (world, publisher, subscriber)
}

#[test]
fn a_subscriber_that_moves_loses_only_what_was_under_way_and_gets_that_again() {
    let (mut world, _, subscriber) = call(1);
    world.move_client(subscriber, ([10, 9, 9, 9], 1234).into());
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
    assert_eq!(world.counter(0, Counter::AddressChanges), 1);
}

#[test]
fn a_publisher_that_moves_is_heard_again_after_its_check() {
    let (mut world, publisher, _) = call(2);
    world.move_client(publisher, ([10, 9, 9, 9], 1234).into());
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
    assert_eq!(world.counter(0, Counter::AddressChanges), 1);
}

#[test]
fn media_from_an_address_without_a_check_is_dropped() {
    let (mut world, publisher, _) = call(3);
    let before = world.drops(0, DropReason::UnknownAddress);
    let bytes = world.media_of(publisher);
    world.inject(0, ([10, 9, 9, 9], 7).into(), bytes);
    world.run_for_ms(100);
    assert_eq!(world.drops(0, DropReason::UnknownAddress), before + 1);
}

#[test]
fn a_client_that_falls_silent_is_disconnected_and_comes_back() {
    let (mut world, _, subscriber) = call(4);
    let session = world.clients[subscriber].session;
    let count = |world: &World, state| {
        let event = Event::SessionChanged { session, state };
        world
            .events
            .iter()
            .filter(|(_, seen)| *seen == event)
            .count()
    };
    world.clients[subscriber].activity = Activity::Asleep;
    world.run_for_ms(18_000);
    assert_eq!(count(&world, TransportState::Disconnected), 1);
    let sent = world.checker.sent.packets;
    world.run_for_ms(2_000);
    assert_eq!(
        world.checker.sent.packets, sent,
        "nothing is sent without consent"
    );
    world.clients[subscriber].activity = Activity::Awake;
    world.run_for_ms(5_000);
    assert_eq!(count(&world, TransportState::Connected), 2);
    assert!(world.checker.sent.packets > sent + 200);
    world.settle(Completeness::Accounted);
}

#[test]
fn a_client_that_does_not_come_back_is_given_up() {
    let (mut world, publisher, _) = call(5);
    let session = world.clients[publisher].session;
    world.clients[publisher].activity = Activity::Asleep;
    world.run_for(Duration::from_secs(50));
    let reason = EndReason::ConnectionLost;
    let ended = Event::SessionEnded { session, reason };
    assert!(world.events.iter().any(|(_, event)| *event == ended));
    assert_eq!(world.gauge(0, Gauge::Sessions), 1);
    assert_eq!(world.gauge(0, Gauge::Publications), 0);
    world.close_all();
}

#[test]
fn a_client_that_never_connects_is_given_up() {
    let mut world = World::new(WorldOptions::new(6));
    let model = LinkModel {
        state: LinkState::Down,
        ..LinkModel::default()
    };
    let client = world.join_over(0, ClientOptions::default(), model);
    let session = world.clients[client].session;
    world.run_for(Duration::from_secs(65));
    let reason = EndReason::NeverConnected;
    let ended = Event::SessionEnded { session, reason };
    assert!(world.events.iter().any(|(_, event)| *event == ended));
    world.close_all();
}

#[test]
fn an_ice_restart_loses_nothing() {
    let (mut world, publisher, subscriber) = call(7);
    for client in [publisher, subscriber] {
        world.restart_ice(client);
        world.run_for_ms(1_500);
    }
    // And one with a move to another network, which is what it is for.
    world.restart_ice(subscriber);
    world.move_client(subscriber, ([10, 9, 9, 9], 1234).into());
    world.run_for_ms(3_000);
    world.settle(Completeness::Complete);
    world.close_all();
}

#[test]
fn a_wrong_certificate_fails_the_session() {
    let mut world = World::new(WorldOptions::new(8));
    let client = world.join(0, ClientOptions::default());
    world.clients[client].digest[0] ^= 1;
    world.run_for_ms(3_000);
    assert!(!world.clients[client].server_is_ready);
    assert_eq!(world.counter(0, Counter::HandshakesFailed), 1);
    assert_eq!(
        world.inspect(client).map(|report| report.state),
        Ok(TransportState::Failed)
    );
}
