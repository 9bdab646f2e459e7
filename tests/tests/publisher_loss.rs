//! What a publisher loses on its way up says nothing of its viewers' paths.

use core::time::Duration;

use tests::call::{Call, link};
use tests::network::{Direction, LinkModel};
use tests::publisher::TrackSpec;

const SEEDS: [u64; 2] = [1, 3];

/// The viewer's estimates over 20 seconds, lowest first.
fn estimates(seed: u64, loss: f64) -> Vec<u64> {
    let mut call = Call::new(seed, TrackSpec::camera(), link(3_000_000));
    let up = LinkModel::losing(loss);
    call.world.set_link(call.publisher, Direction::Up, up);
    call.world.run_for_ms(8_000);
    let mut estimates = Vec::new();
    call.run_watching(Duration::from_secs(20), |call, _| {
        estimates.push(call.estimate());
    });
    estimates.sort_unstable();
    estimates
}

#[test]
fn a_lossy_publisher_never_lowers_the_estimate_of_a_viewer() {
    for seed in SEEDS {
        let clean = estimates(seed, 0.0);
        for loss in [0.05, 0.2] {
            let lossy = estimates(seed, loss);
            // Other packets meet other moments of the link, so the same seed gives another run.
            assert!(
                lossy[0] * 10 >= clean[0] * 9,
                "seed {seed}, {loss}: {}",
                lossy[0]
            );
        }
    }
}
