//! Layers inside of a stream: where not all of them fit, the picture goes on with those that do.

use core::time::Duration;

use tests::call::{Call, link};
use tests::publisher::TrackSpec;

const SEEDS: [u64; 4] = [0, 1, 2, 3];

/// Bits a second of the one encoding. Every second frame can be left out.
const RATE: u64 = 1_600_000;

/// A call over a link that has carried everything so far, and carries this much from now on.
fn narrowed(seed: u64, bits_per_second: u64) -> Call {
    let stream = TrackSpec {
        rates: vec![RATE],
        ..TrackSpec::video()
    };
    let mut call = Call::new(seed, stream, link(10_000_000));
    call.world.run_for_ms(8_000 + 37 * seed);
    call.set_rate(bits_per_second);
    call
}

#[test]
fn where_every_second_frame_fits_the_picture_goes_on_without_a_freeze() {
    for percent in [65, 70, 75] {
        for seed in SEEDS {
            let mut call = narrowed(seed, RATE / 100 * percent);
            let from = call.world.now;
            call.world.run_for_ms(10_000);
            let (playback, now) = (call.playback(), call.world.now);
            let frozen = playback.frozen(from, now);
            assert_eq!(frozen, Duration::ZERO, "seed {seed}, {percent} %");
            // 15 a second.
            let frames = playback.frames(now - Duration::from_secs(4), now);
            assert!((50..=62).contains(&frames), "seed {seed}: {frames}");
            let lost = call.lost_sound(from, now - Duration::from_secs(1));
            assert!(lost < 0.01, "seed {seed}, {percent} %: {lost}");
        }
    }
}

#[test]
fn every_frame_comes_again_where_there_is_room_for_it() {
    for seed in SEEDS {
        let mut call = narrowed(seed, RATE / 100 * 70);
        call.world.run_for_ms(10_000);
        call.set_rate(10_000_000);
        call.world.run_for_ms(8_000);
        let (playback, now) = (call.playback(), call.world.now);
        let frames = playback.frames(now - Duration::from_secs(1), now);
        assert!(frames >= 29, "seed {seed}: {frames}");
    }
}
