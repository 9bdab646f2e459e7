//! A steady link that loses packets at random: its rate is used, and repairs keep the picture going.
#![expect(
    clippy::indexing_slicing,
    reason = "a wrong index fails the test, as it should"
)]

use core::time::Duration;

use dataplane_core::time::Timestamp;
use tests::call::{Call, link};
use tests::network::LinkModel;
use tests::publisher::TrackSpec;

const SEEDS: [u64; 2] = [1, 2];

const RATE: u64 = 2_000_000;

/// 5 % of what is sent to the viewer is lost.
fn lossy() -> LinkModel {
    LinkModel {
        loss: 0.05,
        ..link(RATE)
    }
}

/// A minute of a call, after half a minute of it: probes are lost as well, so that it may take more than
/// ten seconds until it is known what fits.
struct Minute {
    call: Call,
    from: Timestamp,
    /// The estimates, lowest first.
    estimates: Vec<u64>,
    /// Of the packets that were sent, the part that a full queue dropped.
    caused: f64,
}

impl Minute {
    fn run(seed: u64, best: u64) -> Self {
        let camera = TrackSpec {
            rates: vec![best, 500_000, 150_000],
            ..TrackSpec::camera()
        };
        let mut call = Call::new(seed, camera, lossy());
        call.world.run_for_ms(30_000);
        let (from, before) = (call.world.now, call.world.down[call.viewer].counters());
        let mut estimates = Vec::new();
        call.run_watching(Duration::from_secs(60), |call, _| {
            estimates.push(call.estimate());
        });
        estimates.sort_unstable();
        let after = call.world.down[call.viewer].counters();
        let overflowed = (after.overflowed - before.overflowed) as f64;
        let caused = overflowed / (after.packets - before.packets) as f64;
        Self {
            call,
            from,
            estimates,
            caused,
        }
    }
}

/// The best encoding does not fit, so the server looks for more all the time. What it finds is what
/// it can use: what it sends comes in steps.
#[test]
fn the_estimate_reaches_most_of_the_link_whatever_is_lost_at_random() {
    for seed in SEEDS {
        let minute = Minute::run(seed, 1_900_000);
        let median = minute.estimates[minute.estimates.len() / 2];
        assert!(median >= RATE * 85 / 100, "seed {seed}: {median}");
        assert!(median <= RATE * 105 / 100, "seed {seed}: {median}");
        assert!(minute.caused < 0.01, "seed {seed}: {}", minute.caused);
    }
}

#[test]
fn with_retransmissions_the_best_picture_that_fits_plays_without_a_freeze() {
    for seed in SEEDS {
        let minute = Minute::run(seed, 1_300_000);
        let (call, from) = (&minute.call, minute.from);
        let now = call.world.now;
        let playback = call.playback();
        let longest = playback.longest_gap(from, now);
        let [_, middle, lowest] = call.layers(from, now);
        assert_eq!((middle, lowest), (0, 0), "seed {seed}");
        assert!(
            longest < Duration::from_millis(500),
            "seed {seed}: {longest:?}"
        );
        assert!(minute.caused < 0.01, "seed {seed}: {}", minute.caused);
    }
}

#[test]
fn where_there_is_room_hardly_any_packet_is_asked_for_a_second_time() {
    let link = LinkModel {
        loss: 0.1,
        ..link(3_000_000)
    };
    let camera = TrackSpec {
        rates: vec![1_300_000],
        ..TrackSpec::video()
    };
    let mut call = Call::new(1, camera, link);
    call.world.run_for_ms(60_000);
    let asked = |times: u32| {
        let asked = call.picture().asked.values();
        asked.filter(|(tries, _)| *tries >= times).count()
    };
    // A tenth of the first repeats would be lost, and a hundredth is where two leave.
    let (once, twice) = (asked(1), asked(2));
    assert!(once > 500, "{once}");
    assert!(twice * 16 < once, "{twice} of {once}");
}
