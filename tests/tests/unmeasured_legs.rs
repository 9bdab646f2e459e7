//! Video that goes without transport-wide sequence numbers, since it cannot be repeated as RTX: what
//! it gets follows from what is measured of other video, as long as there is some.

use core::time::Duration;

use shared::id::PublicationId;
use shared::protocol::{EstimateReport, LayerReason, SessionStatistics};
use tests::World;
use tests::call::{link, watching};
use tests::network::Direction;
use tests::peer::ClientOptions;
use tests::publisher::{Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// Somebody who sends three encodings and sound, and somebody who tells when packets come.
struct Call {
    world: World,
    video: PublicationId,
    viewer: usize,
}

const NARROW: u64 = 700_000;
const WIDE: u64 = 20_000_000;

impl Call {
    /// Over a narrow link.
    fn new(seed: u64) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let viewer = world.join(0, watching());
        world.set_link(viewer, Direction::Down, link(NARROW));
        let video = world.publish(publisher, TrackSpec::camera());
        let audio = world.publish(publisher, TrackSpec::audio());
        world.run_for_ms(3_000);
        // Nor can probes be sent beside it.
        let spec = SubscriptionSpec {
            repair: Repair::Plain,
            ..SubscriptionSpec::default()
        };
        world.subscribe(viewer, audio, spec);
        Self {
            world,
            video,
            viewer,
        }
    }

    fn subscribe(&mut self, repair: Repair) -> usize {
        let spec = SubscriptionSpec {
            repair,
            ..SubscriptionSpec::default()
        };
        self.world.subscribe(self.viewer, self.video, spec)
    }

    fn widen(&mut self) {
        self.world
            .set_link(self.viewer, Direction::Down, link(WIDE));
    }

    fn statistics(&mut self) -> SessionStatistics {
        self.world.measure(self.viewer).expect("a session")
    }

    fn estimate(&mut self) -> Option<EstimateReport> {
        self.statistics().estimate
    }

    /// Why the last subscription gets no more.
    fn last_reason(&mut self) -> LayerReason {
        let told = self.statistics().subscriptions;
        told.last().expect("a subscription").reason
    }

    /// Whether what came in the last second is all of the best encoding, and is something.
    fn gets_the_best(&self, subscription: usize) -> bool {
        let lately = self.world.now - Duration::from_secs(1);
        let track = self.world.leg(self.viewer, subscription);
        let packets = track.received.values();
        let mut layers = packets.filter(|packet| packet.at >= lately).peekable();
        layers.peek().is_some() && layers.all(|packet| packet.content.layer == 0)
    }
}

#[test]
fn what_is_left_gets_the_best_when_the_last_that_can_be_measured_ends() {
    for seed in 1..4 {
        let mut call = Call::new(seed);
        let measured = call.subscribe(Repair::Rtx);
        let other = call.subscribe(Repair::Plain);
        call.world.run_for_ms(15_000);
        assert!(!call.gets_the_best(other), "seed {seed}");
        call.widen();
        call.world.unsubscribe(call.viewer, measured);
        call.world.run_for_ms(4_000);
        assert!(call.gets_the_best(other), "seed {seed}");
        assert_eq!(call.estimate(), None);
        assert_eq!(call.last_reason(), LayerReason::Best, "seed {seed}");
        call.world.checker.assert_clean();
    }
}

#[test]
fn what_comes_after_the_last_that_could_be_measured_gets_the_best() {
    let mut call = Call::new(4);
    let measured = call.subscribe(Repair::Rtx);
    call.world.run_for_ms(15_000);
    assert_eq!(call.last_reason(), LayerReason::Bandwidth);
    call.world.unsubscribe(call.viewer, measured);
    call.widen();
    let other = call.subscribe(Repair::Plain);
    call.world.run_for_ms(4_000);
    assert!(call.gets_the_best(other));
    call.world.checker.assert_clean();
}

#[test]
fn a_path_that_can_be_measured_again_is_estimated_anew_and_its_numbers_go_on() {
    let mut call = Call::new(5);
    let measured = call.subscribe(Repair::Rtx);
    call.subscribe(Repair::Plain);
    call.widen();
    call.world.run_for_ms(15_000);
    call.world.unsubscribe(call.viewer, measured);
    call.world.run_for_ms(5_000);
    let numbers = |call: &Call| call.world.clients[call.viewer].arrivals.highest();
    let before = numbers(&call);
    let measured = call.subscribe(Repair::Rtx);
    assert_eq!(call.estimate(), None);
    call.world.run_for_ms(10_000);
    assert!(call.estimate().is_some());
    assert!(call.gets_the_best(measured));
    let arrivals = &call.world.clients[call.viewer].arrivals;
    assert!(arrivals.highest() > before.map(|number| number + 1_000));
    assert_eq!((arrivals.repeated, arrivals.missing()), (0, 0));
    call.world.checker.assert_clean();
}

#[test]
fn what_is_known_of_a_path_outlasts_its_last_video() {
    let mut call = Call::new(6);
    let measured = call.subscribe(Repair::Rtx);
    call.widen();
    call.world.run_for_ms(15_000);
    let known = call.estimate().unwrap().bit_rate;
    call.world.unsubscribe(call.viewer, measured);
    call.world.run_for_ms(500);
    let next = call.subscribe(Repair::Rtx);
    call.world.run_for_ms(300);
    let still = call.estimate().unwrap().bit_rate;
    assert!(still > known * 9 / 10, "{still} of {known}");
    call.world.run_for_ms(1_500);
    assert!(call.gets_the_best(next));
    call.world.checker.assert_clean();
}
