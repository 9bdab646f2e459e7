//! A link that becomes narrow and wide again: the picture follows, and the sound does not suffer.

use core::time::Duration;

use dataplane_core::time::Timestamp;
use tests::call::{Call, link};
use tests::network::{Direction, LinkModel};
use tests::publisher::TrackSpec;

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// 3 Mb/s, 500 kb/s, 3 Mb/s, each for so long that all has settled.
struct Steps {
    call: Call,
    narrow_at: Timestamp,
    wide_at: Timestamp,
    /// How long after the link became narrow more than 100 ms waited for the last time.
    queued: Duration,
}

/// The encodings, best first.
const BEST: u8 = 0;
const LOWEST: u8 = 2;

impl Steps {
    fn run(seed: u64) -> Self {
        let mut call = Call::new(seed, TrackSpec::camera(), link(3_000_000));
        call.world.run_for_ms(8_000 + 37 * seed);
        let narrow_at = call.world.now;
        call.set_rate(500_000);
        let mut queued = Duration::ZERO;
        call.run_watching(Duration::from_secs(10), |call, waits| {
            if waits > Duration::from_millis(100) {
                queued = call.world.now.since(narrow_at);
            }
        });
        let wide_at = call.world.now;
        call.set_rate(3_000_000);
        call.world.run_for_ms(10_500);
        Self {
            call,
            narrow_at,
            wide_at,
            queued,
        }
    }
}

#[test]
fn the_layer_follows_down_within_two_seconds_and_up_within_eight() {
    for seed in SEEDS {
        let steps = Steps::run(seed);
        let down = steps.call.settles(steps.narrow_at, LOWEST);
        let up = steps.call.settles(steps.wide_at, BEST);
        let is_within = |time: Option<Duration>, most| time.is_some_and(|time| time <= most);
        assert!(
            is_within(down, Duration::from_secs(2)),
            "seed {seed}: {down:?}"
        );
        assert!(is_within(up, Duration::from_secs(8)), "seed {seed}: {up:?}");
        let queued = steps.queued;
        assert!(queued <= Duration::from_secs(3), "seed {seed}: {queued:?}");
    }
}

#[test]
fn the_picture_freezes_for_less_than_half_a_second_a_step_and_no_sound_is_lost() {
    for seed in SEEDS {
        let Steps {
            call,
            narrow_at,
            wide_at,
            ..
        } = Steps::run(seed);
        let (playback, now) = (call.playback(), call.world.now);
        for (from, until) in [(narrow_at, wide_at), (wide_at, now)] {
            let longest = playback.longest_gap(from, until);
            assert!(
                longest < Duration::from_millis(500),
                "seed {seed}: {longest:?}"
            );
            let frozen = playback.frozen(from, until);
            assert!(
                frozen < Duration::from_millis(500),
                "seed {seed}: {frozen:?}"
            );
            let lost = call.lost_sound(from, until - Duration::from_secs(1));
            assert!(lost < 0.01, "seed {seed}: {lost}");
        }
    }
}

/// Another route is no queue: what it carries is looked for on it, too.
#[test]
fn the_best_layer_comes_back_over_a_route_that_has_become_longer() {
    for seed in SEEDS {
        let mut call = Call::new(seed, TrackSpec::camera(), link(3_000_000));
        call.world.run_for_ms(8_000 + 37 * seed);
        call.set_rate(500_000);
        call.world.run_for_ms(10_000);
        let changed_at = call.world.now;
        let longer = LinkModel {
            delay: Duration::from_millis(75),
            ..link(3_000_000)
        };
        call.world.set_link(call.viewer, Direction::Down, longer);
        call.world.run_for_ms(14_000);
        let up = call.settles(changed_at, BEST);
        let is_soon = up.is_some_and(|up| up <= Duration::from_secs(10));
        assert!(is_soon, "seed {seed}: {up:?}");
    }
}
