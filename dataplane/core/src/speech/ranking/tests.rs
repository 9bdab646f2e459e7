use proptest::prelude::*;

use super::*;
use crate::ingress::testing::ms;
use crate::speech::activity::{Heard, SpeechActivity};

fn speaking(decibels: u8) -> Option<Voice> {
    Some(Voice {
        level: AudioLevel::of_decibels(decibels),
        speaking: true,
    })
}

fn silent() -> Option<Voice> {
    Some(Voice {
        level: AudioLevel::of_decibels(70),
        speaking: false,
    })
}

/// Speakers called by their numbers.
struct Room {
    ranking: Ranking<usize>,
    now: u64,
}

impl Room {
    fn of(people: usize) -> Self {
        let mut ranking = Ranking::default();
        for person in 0..people {
            ranking.insert(person);
        }
        Self {
            ranking,
            now: 10_000,
        }
    }

    /// They sound so for a while. Returns the order at the end.
    fn hear<const N: usize>(&mut self, millis: u64, voices: [Option<Voice>; N]) -> Vec<usize> {
        for _ in 0..millis / 100 {
            self.now += 100;
            let voice = |person| voices.get(person).copied().flatten();
            self.ranking.update(ms(self.now), voice);
        }
        self.order()
    }

    fn order(&self) -> Vec<usize> {
        self.ranking.places().map(|place| place.key).collect()
    }
}

#[test]
fn the_loudest_of_those_who_speak_is_the_first() {
    let mut room = Room::of(4);
    let order = room.hear(100, [speaking(35), silent(), speaking(20), speaking(28)]);
    assert_eq!(order, [2, 3, 0, 1]);
}

#[test]
fn who_begins_to_speak_comes_before_the_silent_at_once() {
    let mut room = Room::of(3);
    assert_eq!(room.hear(1_000, [silent(), silent(), silent()]), [0, 1, 2]);
    let order = room.hear(100, [silent(), silent(), speaking(40)]);
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn those_who_spoke_last_are_the_first_of_the_silent() {
    let mut room = Room::of(3);
    room.hear(1_000, [speaking(20), silent(), silent()]);
    room.hear(1_000, [silent(), silent(), speaking(30)]);
    let order = room.hear(5_000, [silent(), silent(), silent()]);
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn a_little_louder_changes_nothing() {
    let mut room = Room::of(2);
    room.hear(1_000, [speaking(25), speaking(27)]);
    let order = room.hear(10_000, [speaking(26), speaking(24)]);
    assert_eq!(order, [0, 1]);
}

#[test]
fn much_louder_takes_its_time() {
    let mut room = Room::of(2);
    room.hear(100, [speaking(25), speaking(40)]);
    assert_eq!(room.hear(400, [speaking(25), speaking(15)]), [0, 1]);
    assert_eq!(room.hear(100, [speaking(25), speaking(15)]), [1, 0]);
}

#[test]
fn those_without_levels_have_no_rank_and_stay_behind() {
    let mut room = Room::of(3);
    room.hear(100, [None, speaking(30), silent()]);
    let places: Vec<_> = room.ranking.places().collect();
    let of = |key, rank| Place { key, rank };
    assert_eq!(places, [of(1, Some(1)), of(2, Some(2)), of(0, None)]);
}

#[test]
fn who_is_fed_from_elsewhere_begins_anew() {
    let mut room = Room::of(2);
    room.hear(1_000, [speaking(20), silent()]);
    room.ranking.insert(0);
    assert_eq!(room.hear(100, [silent(), silent()]), [1, 0]);
    room.ranking.remove(1);
    assert_eq!(room.order(), [0]);
}

/// Microphones that are talked into at random, and who is heard best of them.
struct Meeting {
    microphones: Vec<SpeechActivity>,
    ranking: Ranking<usize>,
    now: u64,
}

impl Meeting {
    fn of(people: usize) -> Self {
        Self {
            microphones: vec![SpeechActivity::default(); people],
            ranking: Room::of(people).ranking,
            now: 10_000,
        }
    }

    /// 100 ms of sound of these levels, and a new ranking.
    fn hear(&mut self, levels: &[u8]) -> Vec<usize> {
        for _ in 0..5 {
            self.now += 20;
            for (microphone, decibels) in self.microphones.iter_mut().zip(levels) {
                microphone.packet(Heard {
                    at: ms(self.now),
                    rtp_timestamp: u32::try_from(self.now * 48).unwrap(),
                    clock_rate: 48_000,
                    level: Some(AudioLevel::of_decibels(*decibels)),
                });
            }
        }
        let (now, microphones) = (ms(self.now), &self.microphones);
        self.ranking
            .update(now, |person| microphones[person].voice(now));
        self.ranking.places().map(|place| place.key).collect()
    }
}

proptest! {
    #[test]
    fn no_pair_of_speakers_changes_its_order_again_and_again(
        sounds in proptest::collection::vec(proptest::array::uniform5(0..=127_u8), 1..100),
    ) {
        let mut room = Room::of(5);
        let mut before = room.hear(100, [30; 5].map(speaking));
        let mut changes = vec![Vec::new(); 25];
        for levels in sounds {
            let order = room.hear(100, levels.map(speaking));
            let place = |order: &[usize], of| order.iter().position(|who| *who == of);
            for (a, b) in (0..5).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let was = place(&before, a) < place(&before, b);
                if (place(&order, a) < place(&order, b)) != was {
                    changes[a * 5 + b].push(room.now);
                }
            }
            before = order;
        }
        // Each of two may pass the other once while its level is kept.
        for pair in changes {
            for of_three in pair.windows(3) {
                prop_assert!(of_three[2] - of_three[0] >= 500, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_loudest_steady_one_is_first_within_a_second(
        noise in proptest::collection::vec(proptest::collection::vec(27..=127_u8, 5), 50),
        loudest in 0..5_usize,
    ) {
        let mut meeting = Meeting::of(5);
        for (number, levels) in (0..).zip(&noise) {
            let mut levels = levels.clone();
            if number >= 30 {
                levels[loudest] = 20;
            }
            let order = meeting.hear(&levels);
            if number >= 40 {
                prop_assert_eq!(order[0], loudest, "after {} ms", (number - 29) * 100);
            }
        }
    }
}
