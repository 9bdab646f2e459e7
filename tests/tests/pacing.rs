//! What waits for its turn on a narrow path leaves in the order in which it was sent, whatever its leg
//! is to get meanwhile: no number is left out for a repair to fill.

use core::time::Duration;

use shared::protocol::Ordering;
use tests::call::{Call, link};
use tests::checker::Completeness;
use tests::network::{Direction, LinkModel};
use tests::publisher::{Repair, TrackSpec};
use tests::subscriber::SubscriptionSpec;

const SEEDS: [u64; 4] = [1, 2, 3, 4];

#[test]
fn changes_of_the_wanted_layer_make_no_hole() {
    for seed in SEEDS {
        let mut call = Call::new(seed, TrackSpec::camera(), link(700_000));
        let (viewer, video) = (call.viewer, call.video);
        let spec = &mut call.world.clients[viewer].subscriptions[0].spec;
        spec.priority_ordering = Ordering::Asciibetical;
        call.world.run_for_ms(5_000);
        for _ in 0..60 {
            let rid = call.world.rng.pick(&[None, Some("b"), Some("c")]);
            call.world.resubscribe(viewer, 0, video, rid);
            let time = call.world.rng.between(20, 600);
            call.world.run_for_ms(time);
        }
        call.world.settle(Completeness::Accounted);
    }
}

#[test]
fn what_has_overtaken_the_beginning_of_a_key_frame_follows_it() {
    for seed in SEEDS {
        let mut call = Call::new(seed, TrackSpec::camera(), link(700_000));
        let (viewer, video) = (call.viewer, call.video);
        let reordering = LinkModel {
            reordering: 0.3,
            reordering_delay: Duration::from_millis(10),
            ..LinkModel::default()
        };
        call.world
            .set_link(call.publisher, Direction::Up, reordering);
        // Nothing that it misses comes again.
        let spec = SubscriptionSpec {
            repair: Repair::None,
            ..SubscriptionSpec::default()
        };
        for _ in 0..60 {
            let rate = call.world.rng.between(250_000, 900_000);
            call.set_rate(rate);
            let another = call.world.subscribe(viewer, video, spec);
            call.world.run_for_ms(700);
            call.world.unsubscribe(viewer, another);
        }
        call.world.settle(Completeness::Accounted);
    }
}
