//! What packets are to a leg whose packets have to wait before they leave.

use super::*;

impl Bench {
    /// One packet comes: what is it to the leg?
    fn part(&mut self, layer: u8, packet: &Packet) -> Part {
        let accepted = self.track.take(self.now, layer, packet).unwrap();
        let cached = self.track.packet(layer, accepted.sequence_number).unwrap();
        self.leg.part(layer, accepted.sequence_number, &cached)
    }

    /// A key frame comes that has to wait.
    fn hold(&mut self, layer: u8, packet: &Packet) {
        let accepted = self.track.take(self.now, layer, packet).unwrap();
        let cached = self.track.packet(layer, accepted.sequence_number).unwrap();
        let part = self.leg.part(layer, accepted.sequence_number, &cached);
        assert_eq!(part, Part::Beginning);
        self.leg.expect(layer, accepted.sequence_number, &cached);
    }
}

/// A leg that gets the second of two layers.
fn bench() -> Bench {
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    bench.feed(1, &key(1001, 1, 1)).unwrap();
    bench
}

#[test]
fn what_others_that_left_have_overtaken_waits_for_nobody() {
    let mut bench = bench();
    assert_eq!(bench.part(1, &delta(1001, 3, 3)), Part::Next);
    bench.feed(1, &delta(1001, 6, 6)).unwrap();
    assert_eq!(bench.part(1, &delta(1001, 2, 2)), Part::None);
    // Also when its source is to end.
    bench.select(preferring("f"));
    bench.hold(0, &key(1000, 70, 80));
    assert_eq!(bench.part(1, &delta(1001, 7, 7)), Part::Former);
    assert_eq!(bench.part(1, &delta(1001, 5, 5)), Part::None);
}

#[test]
fn a_key_frame_that_is_given_up_while_it_waits_ends_the_source_before() {
    let mut bench = bench();
    bench.select(preferring("f"));
    bench.hold(0, &key(1000, 70, 80));
    assert_eq!(bench.leg.wants_keyframe(), None);
    assert_eq!(bench.part(1, &delta(1001, 2, 2)), Part::Former);
    bench.select(preferring("h"));
    // It cannot go on without what was left out.
    assert_eq!(bench.leg.wants_keyframe(), Some(1));
    assert_eq!(bench.part(1, &delta(1001, 3, 3)), Part::None);
    assert_eq!(bench.part(1, &key(1001, 4, 4)), Part::Beginning);
}

#[test]
fn what_is_late_from_before_the_key_frame_that_waits_is_past() {
    let mut bench = bench();
    bench.select(preferring("f"));
    assert_eq!(bench.part(0, &delta(1000, 60, 60)), Part::None);
    bench.hold(0, &key(1000, 70, 70));
    // It might begin the leg, and then what came between the two key frames would be missing.
    assert_eq!(bench.part(0, &key(1000, 65, 65)), Part::Past);
    assert_eq!(bench.part(0, &delta(1000, 66, 66)), Part::Past);
    assert_eq!(bench.part(0, &delta(1000, 71, 71)), Part::Next);
}

#[test]
fn a_late_part_of_the_key_frame_that_waits_leaves_with_it() {
    let mut bench = bench();
    bench.select(preferring("f"));
    assert_eq!(bench.part(0, &delta(1000, 60, 60)), Part::None);
    bench.hold(0, &key(1000, 70, 70));
    assert_eq!(bench.part(0, &key(1000, 69, 70)), Part::Next);
}

#[test]
fn what_a_source_lacked_before_it_was_interrupted_does_not_wait_for_its_key_frame() {
    let mut bench = bench();
    bench.feed(1, &delta(1001, 6, 6)).unwrap();
    bench.leg.interrupt();
    bench.hold(1, &key(1001, 9, 9));
    assert_eq!(bench.part(1, &delta(1001, 5, 5)), Part::None);
    assert!(bench.feed(1, &delta(1001, 4, 4)).is_ok());
    assert_eq!(bench.part(1, &delta(1001, 8, 8)), Part::Past);
}

#[test]
fn a_late_key_frame_begins_nothing_if_what_came_after_it_has_left() {
    let mut bench = bench();
    bench.feed(1, &delta(1001, 6, 6)).unwrap();
    bench.leg.interrupt();
    let late = key(1001, 4, 4);
    assert_eq!(bench.part(1, &late), Part::None);
    assert_eq!(bench.part(1, &key(1001, 7, 7)), Part::Beginning);
}

#[test]
fn a_key_frame_from_before_an_interrupted_source_begins_nothing() {
    let mut bench = Bench::vp8();
    bench.feed(0, &key(1000, 5, 5)).unwrap();
    bench.leg.interrupt();
    let late = key(1000, 3, 3);
    assert_eq!(bench.part(0, &late), Part::None);
    assert_eq!(bench.feed(0, &key(1000, 4, 4)), Err(DropReason::TooLate));
    assert!(bench.feed(0, &key(1000, 6, 6)).is_ok());
}
