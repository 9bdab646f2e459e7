//! What a publisher loses on its way up says nothing of its viewers' paths.

use core::time::Duration;

use tests::call::{Call, link};
use tests::network::{Direction, LinkModel};
use tests::publisher::TrackSpec;

/// Other packets meet other moments of the link, so one seed gives another run with loss and without:
/// what they have in common shows over some.
const SEEDS: core::ops::RangeInclusive<u64> = 1..=6;

/// The lowest of a viewer's estimates over 20 seconds, in the mean over the seeds.
fn lowest_estimate(loss: f64) -> u64 {
    let lowest = |seed| {
        let mut call = Call::new(seed, TrackSpec::camera(), link(3_000_000));
        let up = LinkModel::losing(loss);
        call.world.set_link(call.publisher, Direction::Up, up);
        call.world.run_for_ms(8_000);
        let mut lowest = u64::MAX;
        call.run_watching(Duration::from_secs(20), |call, _| {
            lowest = lowest.min(call.estimate());
        });
        lowest
    };
    SEEDS.map(lowest).sum::<u64>() / SEEDS.count() as u64
}

#[test]
fn a_lossy_publisher_never_lowers_the_estimate_of_a_viewer() {
    let clean = lowest_estimate(0.0);
    for loss in [0.05, 0.2] {
        let lossy = lowest_estimate(loss);
        assert!(lossy * 20 >= clean * 19, "{loss}: {lossy} of {clean}");
    }
}
