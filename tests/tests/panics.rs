//! A panic in the middle of one session's work ends that session, and no other.

use shared::counters::{Counter, DropReason, Gauge};
use shared::protocol::{CommandError, EndReason, Event};
use tests::World;
use tests::checker::Completeness;
use tests::peer::{Activity, ClientOptions};
use tests::publisher::TrackSpec;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

#[test]
fn a_panic_while_forwarding_ends_the_subscriber_it_was_about() {
    let mut world = World::new(WorldOptions::new(1));
    let publisher = world.join(0, ClientOptions::default());
    let video = world.publish(publisher, TrackSpec::video());
    let subscribers = [(); 3].map(|()| {
        let subscriber = world.join(0, ClientOptions::default());
        world.subscribe(subscriber, video, SubscriptionSpec::default());
        subscriber
    });
    world.run_for_ms(2_000);
    let [first, unlucky, last] = subscribers;
    let session = world.clients.get(unlucky).map(|client| client.session);
    world.panic_at = world.clients.get(unlucky).map(|client| client.address);
    world.run_for_ms(100);
    assert!(world.panic_at.is_none(), "it has happened");
    let reason = EndReason::InternalError;
    let ended = session.map(|session| Event::SessionEnded { session, reason });
    assert!(
        world
            .events
            .iter()
            .any(|(_, event)| Some(event) == ended.as_ref())
    );
    assert_eq!(world.inspect(unlucky), Err(CommandError::UnknownSession));
    assert_eq!(world.gauge(0, Gauge::Sessions), 3);
    assert_eq!(world.counter(0, Counter::SessionsFailed), 1);
    assert_eq!(world.drops(0, DropReason::SessionFailed), 1);
    world.run_for_ms(3_000);
    for subscriber in [first, last] {
        let leg = world.leg(subscriber, 0);
        assert!(leg.received.len() > 350, "{}", leg.received.len());
        let at = leg.received.values().map(|packet| packet.at).max();
        assert!(
            at.is_some_and(|at| world.now.since(at).as_millis() < 200),
            "media goes on"
        );
    }
    // What the turn held when it was given up may be missing at those after the unlucky one, and is
    // asked for again like any loss.
    world.settle(Completeness::Complete);
    world.close_all();
}

#[test]
fn a_panic_while_a_datagram_is_handled_ends_its_sender() {
    let mut world = World::new(WorldOptions::new(2));
    let clients = [(); 2].map(|()| world.join(0, ClientOptions::default()));
    let [unlucky, other] = clients;
    world.run_for_ms(1_000);
    // The answer to its next check panics.
    world.panic_at = world.clients.get(unlucky).map(|client| client.address);
    world.run_for_ms(3_000);
    assert_eq!(world.inspect(unlucky), Err(CommandError::UnknownSession));
    assert!(world.inspect(other).is_ok());
    assert_eq!(world.gauge(0, Gauge::Sessions), 1);
    if let Some(client) = world.clients.get_mut(unlucky) {
        client.activity = Activity::Asleep;
    }
    world.close_all();
}
