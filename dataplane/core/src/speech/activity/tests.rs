use proptest::prelude::*;

use super::*;
use crate::ingress::testing::ms;

/// A microphone that sends Opus.
#[derive(Clone, Copy)]
struct Microphone {
    activity: SpeechActivity,
    now: u64,
    rtp_timestamp: u32,
}

impl Microphone {
    fn new() -> Self {
        Self {
            activity: SpeechActivity::default(),
            now: 5_000,
            // It wraps soon.
            rtp_timestamp: u32::MAX - 10_000,
        }
    }

    /// One packet of so many milliseconds, at the end of these.
    fn packet(&mut self, millis: u64, decibels: Option<u8>) {
        self.pass(millis);
        self.activity.packet(Heard {
            at: ms(self.now),
            rtp_timestamp: self.rtp_timestamp,
            clock_rate: 48_000,
            level: decibels.map(AudioLevel::of_decibels),
        });
    }

    /// Packets of 20 ms.
    fn send(&mut self, millis: u64, decibels: u8) {
        for _ in 0..millis / 20 {
            self.packet(20, Some(decibels));
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        let ticks = u32::try_from(millis).unwrap() * 48;
        self.rtp_timestamp = self.rtp_timestamp.wrapping_add(ticks);
    }

    fn voice(&self) -> Voice {
        self.activity.voice(ms(self.now)).unwrap()
    }

    fn level(&self) -> u8 {
        self.voice().level.decibels()
    }

    fn is_speaking(&self) -> bool {
        self.voice().speaking
    }

    /// Sends until it counts as speaking, or no more, and tells how long that took.
    fn time_until(&mut self, speaking: bool, decibels: u8) -> u64 {
        let start = self.now;
        while self.is_speaking() != speaking {
            self.packet(20, Some(decibels));
            assert!(self.now < start + 5_000, "never");
        }
        self.now - start
    }
}

#[test]
fn a_steady_level_is_told_as_it_is() {
    let mut microphone = Microphone::new();
    microphone.send(3_000, 25);
    assert_eq!(microphone.level(), 25);
    microphone.send(3_000, 127);
    assert!((48..=52).contains(&microphone.level()));
}

#[test]
fn who_speaks_is_known_within_a_fifth_of_a_second() {
    let mut microphone = Microphone::new();
    microphone.packet(20, Some(127));
    let time = microphone.time_until(true, 25);
    assert!((100..=200).contains(&time), "{time} ms");
}

#[test]
fn a_cough_is_no_speech() {
    let mut microphone = Microphone::new();
    microphone.send(1_000, 60);
    microphone.send(100, 5);
    microphone.send(20, 60);
    assert!(!microphone.is_speaking());
}

#[test]
fn noise_is_no_speech_however_long() {
    let mut microphone = Microphone::new();
    microphone.send(10_000, 45);
    assert!(!microphone.is_speaking());
    assert_eq!(microphone.level(), 45);
}

#[test]
fn pauses_between_words_do_not_end_speech() {
    let mut microphone = Microphone::new();
    microphone.send(1_000, 25);
    for _ in 0..20 {
        microphone.send(300, 70);
        assert!(microphone.is_speaking());
        microphone.send(300, 25);
        assert!(microphone.is_speaking());
    }
    // Half of the time is 3 dB.
    assert!((25..=31).contains(&microphone.level()));
}

#[test]
fn silence_ends_speech_within_a_second() {
    let mut microphone = Microphone::new();
    microphone.send(3_000, 25);
    let time = microphone.time_until(false, 127);
    assert!((600..=800).contains(&time), "{time} ms");
}

#[test]
fn silence_without_packets_ends_speech_too() {
    let mut microphone = Microphone::new();
    microphone.send(3_000, 25);
    microphone.pass(300);
    assert!(microphone.is_speaking());
    microphone.pass(700);
    assert!(!microphone.is_speaking());
    assert!(microphone.level() > 30);
}

#[test]
fn after_a_gap_one_packet_is_no_speech() {
    for stands_still in [false, true] {
        let mut microphone = Microphone::new();
        microphone.send(3_000, 25);
        let before = microphone.rtp_timestamp;
        microphone.pass(2_000);
        if stands_still {
            microphone.rtp_timestamp = before;
        }
        microphone.packet(20, Some(25));
        assert!(!microphone.is_speaking());
    }
}

#[test]
fn the_comfort_noise_of_a_silent_microphone_stays_silent() {
    let mut microphone = Microphone::new();
    microphone.send(2_000, 25);
    for _ in 0..10 {
        microphone.packet(400, Some(70));
    }
    assert!(!microphone.is_speaking());
    assert!(microphone.level() > 55);
}

#[test]
fn packets_that_were_held_up_count_for_their_media() {
    let mut steady = Microphone::new();
    steady.send(1_000, 25);
    let mut bursts = steady;
    for _ in 0..10 {
        steady.send(100, 25);
        // Nothing for 100 ms, and then all at once.
        bursts.now += 100;
        for _ in 0..5 {
            bursts.packet(20, Some(25));
            bursts.now -= 20;
        }
    }
    assert_eq!(bursts.voice(), steady.voice());
}

#[test]
fn longer_packets_count_for_more() {
    let mut short = Microphone::new();
    let mut long = Microphone::new();
    short.send(600, 25);
    for _ in 0..10 {
        long.packet(60, Some(25));
    }
    // As packets of 20 ms they would come to 30.
    assert!((25..=28).contains(&short.level()));
    assert!(long.level().abs_diff(short.level()) <= 1);
}

#[test]
fn nothing_is_known_of_who_tells_no_levels() {
    let mut microphone = Microphone::new();
    for _ in 0..50 {
        microphone.packet(20, None);
    }
    assert_eq!(microphone.activity.voice(ms(microphone.now)), None);
}

#[test]
fn who_ceases_to_tell_levels_is_not_taken_for_silent() {
    let mut microphone = Microphone::new();
    microphone.send(1_000, 25);
    for _ in 0..110 {
        microphone.packet(20, None);
    }
    assert_eq!(microphone.activity.voice(ms(microphone.now)), None);
}

#[test]
fn now_and_then_a_packet_without_a_level_changes_nothing() {
    let mut microphone = Microphone::new();
    for _ in 0..300 {
        microphone.packet(20, Some(25));
        microphone.packet(20, None);
    }
    assert!(microphone.is_speaking());
    assert_eq!(microphone.level(), 25);
}

proptest! {
    #[test]
    fn who_speaks_does_not_change_faster_than_it_may(
        packets in proptest::collection::vec((any::<bool>(), 10..500_u64, 0..=127_u8), 1..400),
    ) {
        let mut microphone = Microphone::new();
        microphone.packet(20, Some(127));
        let (mut speaking, mut since) = (false, microphone.now);
        for (follows_a_gap, gap, decibels) in packets {
            let before = microphone.now;
            microphone.packet(if follows_a_gap { gap } else { 20 }, Some(decibels));
            if microphone.is_speaking() != speaking {
                let lasted = microphone.now - since;
                prop_assert!(lasted >= if speaking { 400 } else { 100 }, "{lasted} ms");
                // It fell silent somewhere in the gap.
                (speaking, since) = (!speaking, if speaking { before } else { microphone.now });
            }
        }
    }
}
