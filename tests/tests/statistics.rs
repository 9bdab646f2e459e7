//! What a shard says of how media flows, and why a subscriber gets no more.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and makes its own numbers"
)]

use shared::counters::{Gauge, Histogram};
use shared::id::PublicationId;
use shared::protocol::{LayerReason, Ordering, SubscriptionReport};
use tests::World;
use tests::checker::Completeness;
use tests::network::LinkModel;
use tests::peer::ClientOptions;
use tests::publisher::{Flow, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

struct Call {
    world: World,
    publisher: usize,
    subscriber: usize,
    video: PublicationId,
}

impl Call {
    /// A publisher of three encodings, and a subscriber of them.
    fn new(seed: u64, preferred_rid: Option<&'static str>, fallback: Ordering) -> Self {
        let spec = SubscriptionSpec {
            preferred_rid,
            fallback,
            ..SubscriptionSpec::default()
        };
        Self::with(seed, TrackSpec::simulcast(), spec)
    }

    fn with(seed: u64, track: TrackSpec, spec: SubscriptionSpec) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let subscriber = world.join(0, ClientOptions::default());
        let video = world.publish(publisher, track);
        world.subscribe(subscriber, video, spec);
        world.run_for_ms(4_000);
        world.assert_connected(subscriber);
        Self {
            world,
            publisher,
            subscriber,
            video,
        }
    }

    fn leg(&mut self) -> SubscriptionReport {
        self.world.measure(self.subscriber).unwrap().subscriptions[0]
    }

    /// The rids that are wanted and forwarded, and why it is no more.
    fn told(&mut self) -> (String, String, LayerReason) {
        let leg = self.leg();
        let rid = |place: Option<shared::protocol::LayerPlace>| {
            let rid = place.and_then(|place| place.rid);
            rid.map(|rid| rid.to_string()).unwrap_or_default()
        };
        (rid(leg.wanted), rid(leg.current), leg.reason)
    }

    /// One of the encodings stops or goes on; some time passes.
    fn set_flow(&mut self, layer: usize, flow: Flow) {
        self.world.track_mut(self.video).layers[layer].flow = flow;
        self.world.run_for_ms(4_000);
    }

    fn end(mut self) {
        self.world.settle(Completeness::Complete);
        self.world.close_all();
    }
}

fn says(wanted: &str, current: &str, reason: LayerReason) -> (String, String, LayerReason) {
    (wanted.to_owned(), current.to_owned(), reason)
}

#[test]
fn the_figures_of_a_publication_are_those_of_its_layers() {
    let mut call = Call::new(1, Some("a"), Ordering::None);
    call.world.clients[call.subscriber].subscriptions[0].ask_for_keyframe();
    call.world.run_for_ms(500);
    let statistics = call.world.measure(call.publisher).unwrap();
    assert_eq!(statistics.estimate, None);
    let layers = &statistics.publications[0].layers;
    let rids = layers.iter().map(|layer| layer.rid.unwrap().to_string());
    assert_eq!(rids.collect::<Vec<_>>(), ["a", "b", "c"]);
    for layer in layers {
        assert!(layer.receiving && layer.packets_lost == 0, "{layer:?}");
        assert!(layer.bit_rate > 50_000, "{layer:?}");
    }
    // Each begins with a key frame, and only what somebody gets was asked for another.
    let keyframes = layers.iter().map(|layer| layer.keyframes);
    assert_eq!(keyframes.collect::<Vec<_>>(), [2, 1, 1]);
    let requests = layers.iter().map(|layer| layer.keyframe_requests);
    assert_eq!(requests.collect::<Vec<_>>(), [1, 0, 0]);
    call.end();
}

#[test]
fn the_figures_of_a_subscription_are_those_of_its_subscriber() {
    let mut call = Call::new(2, Some("b"), Ordering::None);
    let leg = call.leg();
    assert!(leg.sending && !leg.awaits_keyframe);
    let came = call.world.leg(call.subscriber, 0).received.len() as u64;
    // What is on its way has been counted and has not come.
    assert!((came..came + 10).contains(&leg.packets), "{came}: {leg:?}");
    // 20 ms each way, and up to 5 ms until a client looks at its clock.
    assert!((40_000..50_000).contains(&leg.round_trip_us), "{leg:?}");
    let layer = call.world.measure(call.publisher).unwrap().publications[0].layers[1];
    let ratio = leg.bit_rate as f64 / layer.bit_rate as f64;
    assert!((0.6..1.6).contains(&ratio), "{leg:?} of {layer:?}");
    assert_eq!(
        (leg.nacks, leg.retransmitted, leg.packets_dropped),
        (0, 0, 0)
    );
    call.end();
}

#[test]
fn repairs_and_key_frame_requests_are_counted_by_leg_and_by_layer() {
    let mut call = Call::with(3, TrackSpec::video(), SubscriptionSpec::default());
    for client in [call.publisher, call.subscriber] {
        call.world.set_links(client, LinkModel::losing(0.1));
    }
    call.world.run_for_ms(8_000);
    for client in [call.publisher, call.subscriber] {
        call.world.set_links(client, LinkModel::default());
    }
    call.world.clients[call.subscriber].subscriptions[0].ask_for_keyframe();
    call.world.run_for_ms(1_500);
    let leg = call.leg();
    assert!(leg.plis > 0 && leg.firs == 0, "{leg:?}");
    assert!(leg.nacks > 10, "{leg:?}");
    let track = call.world.leg(call.subscriber, 0);
    // Some of what the subscriber sent was lost.
    let asked = u64::from(leg.retransmitted) + u64::from(leg.retransmissions_refused);
    assert!(leg.retransmitted > 10 && asked <= track.nacks, "{leg:?}");
    let layer = call.world.measure(call.publisher).unwrap().publications[0].layers[0];
    assert!(layer.nacks > 10 && layer.jitter_us > 0, "{layer:?}");
    call.end();
}

#[test]
fn a_publisher_that_stops_the_wanted_layer_is_the_reason() {
    let missing = LayerReason::PublisherNotSending;
    let mut call = Call::new(4, Some("a"), Ordering::Asciibetical);
    assert_eq!(call.told(), says("a", "a", LayerReason::Best));
    call.set_flow(0, Flow::Paused);
    assert_eq!(call.told(), says("a", "b", missing));
    call.set_flow(0, Flow::Running);
    assert_eq!(call.told(), says("a", "a", LayerReason::Best));
    call.end();
}

#[test]
fn a_publisher_that_stops_the_best_layer_is_the_reason_without_a_preference_too() {
    let missing = LayerReason::PublisherNotSending;
    let mut call = Call::new(5, None, Ordering::None);
    assert_eq!(call.told(), says("a", "a", LayerReason::Best));
    call.set_flow(0, Flow::Paused);
    let (_, current, reason) = call.told();
    assert!(current == "b" || current == "c", "{current}");
    assert_eq!(reason, missing);
    call.set_flow(0, Flow::Running);
    assert_eq!(call.told(), says("a", "a", LayerReason::Best));
    call.end();
}

#[test]
fn a_layer_that_is_waited_for_leaves_the_subscriber_without_packets() {
    let mut call = Call::new(6, Some("a"), Ordering::None);
    call.set_flow(0, Flow::Paused);
    let leg = call.leg();
    assert!(!leg.sending && leg.bit_rate == 0, "{leg:?}");
    assert_eq!(leg.reason, LayerReason::PublisherNotSending);
    call.end();
}

#[test]
fn a_subscriber_that_prefers_a_small_layer_is_the_reason_itself() {
    let mut call = Call::new(7, Some("c"), Ordering::None);
    assert_eq!(call.told(), says("c", "c", LayerReason::Asked));
    call.end();
}

#[test]
fn a_publication_that_is_gone_has_no_layers_to_get() {
    let mut call = Call::new(8, Some("a"), Ordering::None);
    call.world.unpublish(call.video);
    let leg = call.leg();
    assert_eq!((leg.wanted, leg.current), (None, None));
    assert_eq!(leg.reason, LayerReason::PublisherNotSending);
    assert!(!leg.sending);
    call.world.close_all();
}

#[test]
fn the_gauges_count_subscriptions_by_their_reason() {
    let mut call = Call::new(9, Some("a"), Ordering::Asciibetical);
    let small = SubscriptionSpec {
        preferred_rid: Some("b"),
        ..SubscriptionSpec::default()
    };
    call.world.subscribe(call.subscriber, call.video, small);
    call.world.run_for_ms(2_500);
    let gauges = [
        Gauge::SubscriptionsBest,
        Gauge::SubscriptionsAsked,
        Gauge::SubscriptionsNotSending,
    ];
    let shown = |call: &mut Call| gauges.map(|gauge| call.world.gauge(0, gauge));
    assert_eq!(shown(&mut call), [1, 1, 0]);
    call.set_flow(0, Flow::Paused);
    assert_eq!(shown(&mut call), [0, 1, 1]);
    call.world.unsubscribe(call.subscriber, 1);
    assert_eq!(shown(&mut call), [0, 0, 1]);
    call.end();
}

#[test]
fn round_trips_are_shown_as_a_histogram() {
    let call = Call::new(10, Some("a"), Ordering::None);
    let (count, sum) = call.world.distribution(0, Histogram::RoundTrip);
    assert!(count > 0);
    let mean_ms = sum / count / 1_000_000;
    assert!((40..50).contains(&mean_ms), "{mean_ms}");
    call.end();
}
