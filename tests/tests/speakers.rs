//! Who speaks, who is heard best, and forwarding of the loudest only.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking, and makes its own numbers"
)]

use shared::counters::{DropReason, Gauge};
use shared::id::PublicationId;
use shared::protocol::{LayerReason, SubscriptionReport, VoiceReport};
use tests::World;
use tests::checker::Completeness;
use tests::peer::ClientOptions;
use tests::publisher::{Loudness, TrackSpec};
use tests::rng::Rng;
use tests::subscriber::SubscriptionSpec;
use tests::world::WorldOptions;

/// Some who may speak, and one who hears them all.
struct Room {
    world: World,
    listener: usize,
    /// Each is the track of the client with the same number.
    tracks: Vec<PublicationId>,
}

impl Room {
    /// All are silent; the listener is on the last shard.
    fn of(seed: u64, speakers: usize, shards: u16) -> Self {
        let mut world = World::new(WorldOptions {
            shards,
            ..WorldOptions::new(seed)
        });
        let track = |_| {
            let client = world.join(0, ClientOptions::default());
            world.publish(
                client,
                TrackSpec {
                    loudness: Loudness::Level(SILENCE),
                    ..TrackSpec::audio()
                },
            )
        };
        let tracks: Vec<_> = (0..speakers).map(track).collect();
        let listener = world.join(shards - 1, ClientOptions::default());
        for track in &tracks {
            world.subscribe(listener, *track, SubscriptionSpec::default());
        }
        world.run_for_ms(3_000);
        Self {
            world,
            listener,
            tracks,
        }
    }

    /// Somebody is as loud as that from now on.
    fn set(&mut self, speaker: usize, loudness: Loudness) {
        let track = self.tracks[speaker];
        self.world.track_mut(track).spec.loudness = loudness;
        self.note_change();
    }

    fn talk(&mut self, speaker: usize, level: u8) {
        self.set(speaker, Loudness::Level(level));
    }

    fn fall_silent(&mut self, speaker: usize) {
        self.talk(speaker, SILENCE);
    }

    fn limit(&mut self, loudest: Option<u8>) {
        self.world.limit_audio(self.listener, loudest);
        self.note_change();
    }

    /// Streams may pause and go on about now.
    fn note_change(&mut self) {
        let now = self.world.now;
        for track in &mut self.world.clients[self.listener].subscriptions {
            track.changes.push(now);
        }
    }

    /// Whose packets came to the listener in the last 100 ms.
    fn heard(&self) -> Vec<usize> {
        let is_heard = |speaker: &usize| {
            let received = &self.world.leg(self.listener, *speaker).received;
            let last = received.last_key_value().map(|(_, packet)| packet.at);
            last.is_some_and(|at| self.world.now.since(at).as_millis() < 100)
        };
        (0..self.tracks.len()).filter(is_heard).collect()
    }

    /// How long it takes from now until somebody is heard.
    fn time_until_heard(&mut self, speaker: usize) -> u64 {
        let mut millis = 0;
        while !self.heard().contains(&speaker) {
            self.world.run_for_ms(10);
            millis += 10;
            assert!(millis < 5_000, "{speaker} is never heard");
        }
        millis
    }

    fn reports(&mut self) -> Vec<SubscriptionReport> {
        self.world.measure(self.listener).unwrap().subscriptions
    }

    fn ranks(&mut self) -> Vec<Option<u16>> {
        self.reports().iter().map(|leg| leg.rank).collect()
    }

    fn reasons(&mut self) -> Vec<LayerReason> {
        self.reports().iter().map(|leg| leg.reason).collect()
    }

    fn voice(&mut self, speaker: usize) -> Option<VoiceReport> {
        self.world.measure(speaker).unwrap().publications[0].voice
    }

    /// Nothing was missing for the listener, however often a stream paused, and time went on.
    fn end(mut self) {
        self.note_change();
        self.world.settle(Completeness::Complete);
        for speaker in 0..self.tracks.len() {
            let leg = self.world.leg(self.listener, speaker);
            assert!(leg.holes().is_empty(), "{speaker}: {:?}", leg.holes());
            let packets: Vec<_> = leg.received.values().collect();
            for pair in packets.windows(2) {
                let captured = |at: usize| self.world.ledger.get(pair[at].content).unwrap();
                let before = captured(0).captured_at.as_micros() as i64;
                let elapsed = captured(1).captured_at.as_micros() as i64 - before;
                let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                let told = i64::from(ticks) * 1_000 / 48;
                let distance = (told - elapsed).abs();
                assert!(elapsed > 0 && distance < 30_000, "{told} us for {elapsed}");
            }
        }
        self.world.close_all();
    }
}

#[test]
fn a_publication_tells_how_loud_it_is_and_whether_it_speaks() {
    let mut room = Room::of(1, 1, 1);
    let voice = |level, speaking| Some(VoiceReport { level, speaking });
    assert_eq!(room.voice(0), voice(SILENCE, false));
    room.talk(0, 25);
    room.world.run_for_ms(3_000);
    assert_eq!(room.voice(0), voice(25, true));
    room.fall_silent(0);
    room.world.run_for_ms(1_000);
    let after = room.voice(0).unwrap();
    assert!(
        !after.speaking && (30..40).contains(&after.level),
        "{after:?}"
    );
    room.set(0, Loudness::Untold);
    room.world.run_for_ms(3_000);
    assert_eq!(room.voice(0), None);
    room.end();
}

#[test]
fn subscriptions_are_ranked_for_whom_it_may_concern() {
    let mut room = Room::of(2, 4, 1);
    room.talk(1, 20);
    room.talk(3, 30);
    room.set(0, Loudness::Untold);
    room.world.run_for_ms(3_000);
    assert_eq!(room.ranks(), [None, Some(1), Some(3), Some(2)]);
    assert_eq!(room.reasons(), [LayerReason::Best; 4]);
    // One who has spoken comes before one who never did.
    room.fall_silent(1);
    room.world.run_for_ms(3_000);
    assert_eq!(room.ranks(), [None, Some(2), Some(3), Some(1)]);
    room.end();
}

#[test]
fn only_the_loudest_are_forwarded() {
    let mut room = Room::of(3, 5, 1);
    assert_eq!(room.heard(), [0, 1, 2, 3, 4]);
    room.limit(Some(2));
    room.talk(1, 30);
    room.talk(3, 25);
    room.world.run_for_ms(3_000);
    assert_eq!(room.heard(), [1, 3]);
    let (heard, left_out) = (LayerReason::Best, LayerReason::NotLoudest);
    let reasons = [left_out, heard, left_out, heard, left_out];
    assert_eq!(room.reasons(), reasons);
    assert_eq!(room.world.gauge(0, Gauge::SubscriptionsNotLoudest), 3);
    assert!(room.world.drops(0, DropReason::NotLoudest) > 300);
    room.limit(None);
    room.world.run_for_ms(200);
    assert_eq!(room.heard(), [0, 1, 2, 3, 4]);
    room.end();
}

#[test]
fn a_place_that_nobody_needs_stays_with_who_spoke_last() {
    let mut room = Room::of(4, 4, 1);
    room.limit(Some(2));
    for speaker in [2, 3] {
        room.talk(speaker, 25);
        room.world.run_for_ms(1_000);
    }
    room.fall_silent(2);
    room.fall_silent(3);
    room.world.run_for_ms(5_000);
    assert_eq!(room.heard(), [2, 3]);
    room.end();
}

#[test]
fn who_begins_to_speak_is_heard_soon_in_the_place_of_who_is_silent() {
    let mut room = Room::of(5, 4, 1);
    room.limit(Some(2));
    room.talk(0, 25);
    room.talk(1, 25);
    room.world.run_for_ms(2_000);
    room.fall_silent(1);
    room.world.run_for_ms(2_000);
    room.talk(3, 30);
    let millis = room.time_until_heard(3);
    // 40 ms of them on the way.
    assert!((150..=350).contains(&millis), "{millis} ms");
    room.world.run_for_ms(200);
    assert_eq!(room.heard(), [0, 3]);
    room.end();
}

#[test]
fn who_speaks_louder_takes_the_place_of_the_quietest_speaker() {
    let mut room = Room::of(6, 3, 1);
    room.limit(Some(2));
    room.talk(0, 20);
    room.talk(1, 38);
    room.world.run_for_ms(2_000);
    room.talk(2, 25);
    let millis = room.time_until_heard(2);
    assert!(millis <= 350, "{millis} ms");
    room.world.run_for_ms(1_000);
    assert_eq!(room.heard(), [0, 2]);
    room.end();
}

#[test]
fn who_does_not_tell_how_loud_it_is_is_always_heard() {
    let mut room = Room::of(7, 4, 1);
    room.set(0, Loudness::Untold);
    room.limit(Some(1));
    room.talk(2, 20);
    room.world.run_for_ms(4_000);
    assert_eq!(room.heard(), [0, 2]);
    assert_eq!(room.ranks()[0], None);
    room.end();
}

#[test]
fn speakers_of_another_shard_are_ranked_too() {
    let mut room = Room::of(8, 3, 2);
    room.limit(Some(1));
    for speaker in [2, 0, 1] {
        room.talk(speaker, 25);
        room.world.run_for_ms(2_000);
        assert_eq!(room.heard(), [speaker]);
        room.fall_silent(speaker);
        room.world.run_for_ms(2_000);
    }
    room.end();
}

#[test]
fn a_subscription_that_is_made_later_takes_part() {
    let mut room = Room::of(9, 2, 1);
    room.limit(Some(1));
    room.talk(0, 20);
    room.world.run_for_ms(2_000);
    let another = room.world.join(0, ClientOptions::default());
    let quiet = TrackSpec {
        loudness: Loudness::Level(60),
        ..TrackSpec::audio()
    };
    let track = room.world.publish(another, quiet);
    room.world.run_for_ms(2_000);
    let listener = room.listener;
    let leg = room
        .world
        .subscribe(listener, track, SubscriptionSpec::default());
    room.world.run_for_ms(1_000);
    assert!(room.world.leg(listener, leg).received.is_empty());
    room.world.track_mut(track).spec.loudness = Loudness::Level(10);
    room.world.run_for_ms(2_000);
    assert!(!room.world.leg(listener, leg).received.is_empty());
    room.world.unsubscribe(listener, leg);
    room.world.run_for_ms(500);
    assert_eq!(room.heard(), [0]);
    room.end();
}

#[test]
fn a_subscription_that_is_fed_from_a_speaker_is_heard() {
    let mut room = Room::of(10, 3, 1);
    room.limit(Some(1));
    room.talk(2, 20);
    room.world.run_for_ms(2_000);
    assert_eq!(room.heard(), [2]);
    room.world.unsubscribe(room.listener, 2);
    let speaker = room.tracks[2];
    room.world.resubscribe(room.listener, 1, speaker, None);
    room.world.run_for_ms(500);
    assert_eq!(room.heard(), [1]);
    assert_eq!(room.reports()[1].rank, Some(1));
    room.world.settle(Completeness::Complete);
    room.world.close_all();
}

#[test]
fn streams_stay_whole_however_people_interrupt_each_other() {
    for seed in 0..12 {
        let mut room = Room::of(100 + seed, 5, 1 + (seed % 2) as u16);
        let mut rng = Rng::new(seed);
        for _ in 0..25 {
            let speaker = rng.pick(&[0, 1, 2, 3, 4]);
            match rng.below(4) {
                0 => room.fall_silent(speaker),
                1 => room.limit(rng.pick(&[None, Some(1), Some(2), Some(3)])),
                _ => room.talk(speaker, rng.pick(&[10, 18, 25, 32, 39, 41, 50])),
            }
            room.world.run_for_ms(rng.between(20, 1_500));
        }
        room.limit(Some(2));
        room.world.run_for_ms(2_000);
        assert_eq!(room.heard().len(), 2, "seed {seed}");
        room.end();
    }
}

/// What a muted microphone says.
const SILENCE: u8 = 127;
