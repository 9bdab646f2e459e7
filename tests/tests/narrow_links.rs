//! Links that carry hardly more than sound.

use core::time::Duration;

use shared::protocol::LayerReason;
use tests::call::{Call, link};
use tests::publisher::TrackSpec;

const SEEDS: [u64; 2] = [1, 2];

/// Why the viewer gets no better picture.
fn reason(call: &mut Call) -> LayerReason {
    let told = call.world.measure(call.viewer).expect("a session");
    told.subscriptions.first().expect("a picture").reason
}

#[test]
fn at_80_kilobits_there_is_whole_sound_and_no_picture_and_at_300_the_lowest_one_plays() {
    for seed in SEEDS {
        let mut call = Call::new(seed, TrackSpec::camera(), link(3_000_000));
        call.world.run_for_ms(8_000);
        call.set_rate(80_000);
        call.world.run_for_ms(5_000);
        let narrow = call.world.now;
        call.world.run_for_ms(20_000);
        let wider = call.world.now;
        assert_eq!(reason(&mut call), LayerReason::Paused, "seed {seed}");
        call.set_rate(300_000);
        call.world.run_for_ms(10_000);
        let settled = call.world.now;
        call.world.run_for_ms(20_000);
        let end = call.world.now;
        assert_eq!(call.layers(narrow, wider), [0, 0, 0], "seed {seed}");
        assert!(call.lost_sound(narrow, wider) < 0.001, "seed {seed}");
        assert_eq!(reason(&mut call), LayerReason::Bandwidth, "seed {seed}");
        let [best, middle, lowest] = call.layers(settled, end);
        assert_eq!((best, middle), (0, 0), "seed {seed}");
        // At half its frame rate at least.
        assert!(lowest > 290, "seed {seed}: {lowest}");
        assert_eq!(call.playback().frozen(settled, end), Duration::ZERO);
        let lost = call.lost_sound(settled, end - Duration::from_secs(1));
        assert!(lost < 0.001, "seed {seed}: {lost}");
    }
}
