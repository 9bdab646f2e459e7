//! Rates of streams, steady and not.

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Bench {
    throughput: Throughput,
    sent_at: i64,
    arrived_at: i64,
}

impl Bench {
    /// Packets of 1000 bytes, so many milliseconds from each other when sent and when they
    /// came.
    fn add(&mut self, count: usize, sent: i64, arrived: i64) -> Option<Rates> {
        for _ in 0..count {
            self.sent_at += sent * 1000;
            self.arrived_at += arrived * 1000;
            self.throughput.add(&Received {
                sent_at: self.sent_at,
                arrived_at: self.arrived_at,
                bytes: 1000,
                cluster: 0,
            });
        }
        self.throughput.rates()
    }

    fn rate(&mut self) -> u64 {
        self.throughput.rates().unwrap().throughput
    }
}

#[test]
fn ten_packets_are_needed() {
    let mut bench = Bench::default();
    assert_eq!(bench.add(9, 10, 10), None);
    assert!(bench.add(1, 10, 10).is_some());
}

#[test]
fn a_steady_stream_has_its_rate() {
    let mut bench = Bench::default();
    let rates = bench.add(200, 10, 10).unwrap();
    assert_eq!(rates.throughput, 800_000);
    assert_eq!(rates.recent, 800_000);
    assert_eq!(rates.slowdown, Slowdown::None);
}

#[test]
fn a_link_that_is_slower_than_the_sender_is_the_limit() {
    let mut bench = Bench::default();
    bench.add(200, 10, 10);
    let rates = bench.add(50, 10, 20).unwrap();
    assert_eq!(rates.recent, 400_000);
    assert_eq!(rates.slowdown, Slowdown::Some);
    // The second before still counts in the long window.
    assert!(rates.throughput >= 400_000);
}

#[test]
fn a_link_that_is_far_slower_is_told_apart() {
    let mut bench = Bench::default();
    bench.add(200, 10, 10);
    assert_eq!(bench.add(30, 10, 25).unwrap().slowdown, Slowdown::Much);
}

#[test]
fn what_comes_faster_than_it_was_sent_counts_as_sent() {
    let mut bench = Bench::default();
    assert_eq!(bench.add(100, 10, 5).unwrap().throughput, 800_000);
}

#[test]
fn one_gap_does_not_lower_the_rate() {
    let mut bench = Bench::default();
    bench.add(50, 10, 10);
    // Half a second of nothing, then what was held up comes at once.
    bench.add(1, 10, 500);
    bench.add(50, 10, 1);
    assert!(bench.rate() > 780_000, "{}", bench.rate());
}

#[test]
fn feedback_that_overtook_another_is_sorted_in() {
    let mut bench = Bench::default();
    bench.add(50, 10, 10);
    let (sent_at, arrived_at) = (bench.sent_at - 195_000, bench.arrived_at - 195_000);
    bench.throughput.add(&Received {
        sent_at,
        arrived_at,
        bytes: 1000,
        cluster: 0,
    });
    let window = &bench.throughput.window;
    assert!(window.iter().is_sorted_by_key(|burst| burst.arrived_at));
    assert_eq!(window.len(), 51);
}

#[test]
fn a_step_back_of_more_than_a_second_begins_anew() {
    let mut bench = Bench::default();
    bench.add(150, 10, 10);
    bench.arrived_at -= 1_100_000;
    assert_eq!(bench.add(1, 10, 0), None);
    assert_eq!(bench.add(10, 10, 10).unwrap().throughput, 800_000);
}

proptest! {
    #[test]
    fn what_is_kept_up_is_what_a_walk_over_the_window_finds(
        packets in proptest::collection::vec((-20_i64..60, -30_i64..80), 1..800),
    ) {
        let mut bench = Bench::default();
        for (sent, arrived) in packets {
            bench.sent_at += sent * 1000;
            bench.arrived_at += arrived * 1000;
            bench.add(1, 0, 0);
            let kept = bench.throughput.rates();
            let throughput = &mut bench.throughput;
            let packets: u16 = throughput.window.iter().map(|burst| burst.packets).sum();
            prop_assert_eq!(throughput.packets, usize::from(packets));
            prop_assert_eq!(throughput.bytes, u64::from(packets) * 1000);
            throughput.gaps = None;
            // So that the sending is looked at packet by packet.
            let inversions = core::mem::replace(&mut throughput.inversions, usize::MAX);
            prop_assert_eq!(throughput.rates(), kept);
            throughput.inversions = inversions;
        }
    }
}

#[test]
fn what_comes_in_one_piece_stands_in_the_window_once() {
    let mut bench = Bench::default();
    for _ in 0..30 {
        bench.add(1, 33, 33);
        bench.add(7, 0, 0);
    }
    assert_eq!(bench.throughput.window.len(), 30);
    // Of the first frame and of the last, one packet each does not count.
    assert_eq!(bench.rate(), (240 - 1) * 8_000_000 / (29 * 33));
}

#[test]
fn what_a_frame_in_one_piece_makes_too_old_leaves_the_window_with_it() {
    let mut bench = Bench::default();
    bench.add(1, 10, 10);
    bench.add(9, 0, 0);
    bench.add(1, 1_200, 1_200);
    bench.add(18, 0, 0);
    assert_eq!(bench.throughput.packets, 29);
    bench.add(1, 0, 0);
    assert_eq!(bench.throughput.packets, 20);
}

#[test]
fn a_piece_too_large_for_one_place_takes_two() {
    let mut bench = Bench::default();
    bench.add(1, 10, 10);
    bench.add(69, 0, 0);
    let packets = bench.throughput.window.iter().map(|burst| burst.packets);
    assert_eq!(packets.collect::<Vec<_>>(), [65, 5]);
}

#[test]
fn the_window_is_a_second_or_twenty_packets_and_never_more_than_five_hundred_places() {
    let mut bench = Bench::default();
    bench.add(1000, 10, 10);
    assert_eq!(bench.throughput.window.len(), 101);
    bench.add(30, 200, 200);
    assert_eq!(bench.throughput.window.len(), 20);
    let memory = bench.throughput.window.capacity();
    bench.add(5000, 1, 1);
    assert_eq!(bench.throughput.window.len(), 500);
    assert_eq!(bench.throughput.window.capacity(), memory);
}
