//! Feedback of all kinds, joined with what was sent.

use super::*;
use crate::bwe::tests::feedback::FeedbackBytes;
use crate::ingress::testing::ms;

struct Bench {
    history: History,
    reader: FeedbackReader,
    batch: Batch,
}

impl Bench {
    /// Packets of 1000 bytes, sent one each millisecond from 1 s on.
    fn new(packets: u16) -> Self {
        let mut history = History::default();
        for index in 0..packets {
            history.insert(ms(1000 + u64::from(index)), 1000, 0);
        }
        Self {
            history,
            reader: FeedbackReader::default(),
            batch: Batch::default(),
        }
    }

    /// Arrival times are in ticks.
    fn read(&mut self, at: u64, base: u16, arrivals: &[Option<u64>]) -> &Batch {
        let feedback = FeedbackBytes::new(base, arrivals);
        self.reader.read(
            ms(at),
            &feedback.parse(),
            &mut self.history,
            &mut self.batch,
        );
        &self.batch
    }
}

fn arrived_at(batch: &Batch) -> Vec<i64> {
    let received = batch.received.iter();
    received.map(|packet| packet.arrived_at).collect()
}

#[test]
fn the_first_reference_time_is_now_and_arrivals_keep_their_distances() {
    let mut bench = Bench::new(10);
    let batch = bench.read(1100, 0, &[Some(512), None, Some(516), Some(600)]);
    assert_eq!(arrived_at(batch), [1_100_000, 1_101_000, 1_122_000]);
    assert_eq!(batch.received[1].sent_at, 1_002_000);
    assert_eq!((batch.bytes, batch.lost_bytes), (4000, 1000));
    assert_eq!(batch.sent, Some((1_000_000, 1_003_000)));
    assert!(!batch.clock_jumped);
}

#[test]
fn later_feedback_stands_on_the_same_clock() {
    let mut bench = Bench::new(10);
    bench.read(1100, 0, &[Some(512)]);
    let batch = bench.read(1240, 1, &[Some(512 + 800)]);
    assert_eq!(arrived_at(batch), [1_100_000 + 200_000]);
}

#[test]
fn the_reference_time_wraps() {
    let cycle = 1 << 32;
    let mut bench = Bench::new(10);
    bench.read(1100, 0, &[Some(cycle - 256)]);
    let batch = bench.read(1200, 1, &[Some(cycle + 144)]);
    assert_eq!(arrived_at(batch), [1_100_000 + 100_000]);
    assert!(!batch.clock_jumped);
}

#[test]
fn feedback_that_overtook_another_still_counts() {
    let mut bench = Bench::new(10);
    bench.read(1300, 2, &[Some(2048)]);
    let batch = bench.read(1310, 0, &[Some(1024)]);
    assert_eq!(arrived_at(batch), [1_300_000 - 256_000]);
}

#[test]
fn a_clock_that_jumps_begins_anew() {
    let mut bench = Bench::new(10);
    bench.read(1100, 0, &[Some(512)]);
    let batch = bench.read(1200, 1, &[Some(512 + 30 * 4000)]);
    assert!(batch.clock_jumped);
    // Its reference time is a whole multiple of 64 ms, and the arrival 48 ms after it.
    assert_eq!(arrived_at(batch), [1_200_000 + 48_000]);
}

#[test]
fn a_repeated_feedback_tells_nothing() {
    let mut bench = Bench::new(10);
    bench.read(1100, 0, &[Some(512), None, Some(516)]);
    assert!(
        bench
            .read(1101, 0, &[Some(512), None, Some(516)])
            .is_empty()
    );
}

#[test]
fn a_packet_that_comes_after_it_was_lost_is_counted_as_recovered() {
    let mut bench = Bench::new(10);
    bench.read(1100, 0, &[Some(512), None]);
    let batch = bench.read(1200, 1, &[Some(700)]);
    assert_eq!((batch.bytes, batch.recovered_bytes), (0, 1000));
    assert_eq!(batch.received.len(), 1);
}

#[test]
fn packets_that_overtook_each_other_are_sorted_by_arrival() {
    let mut bench = Bench::new(10);
    let batch = bench.read(1100, 0, &[Some(540), Some(520), Some(530)]);
    assert!(batch.received.is_sorted_by_key(|packet| packet.arrived_at));
    let sent: Vec<_> = batch.received.iter().map(|packet| packet.sent_at).collect();
    assert_eq!(sent, [1_001_000, 1_002_000, 1_000_000]);
}

#[test]
fn news_of_packets_that_were_not_sent_are_not_news() {
    let mut bench = Bench::new(10);
    let claimed: Vec<_> = (0..8000).map(|index| Some(512 + index)).collect();
    assert!(bench.read(1100, 10, &claimed[..1000]).is_empty());
    assert_eq!(bench.read(1100, 65_000, &claimed).received.len(), 10);
}

#[test]
fn an_arrival_hours_after_the_others_is_not_believed() {
    let mut bench = Bench::new(10);
    // Deltas add up: each of these is eight seconds after the one before.
    let claimed: Vec<_> = (0..10).map(|index| Some(512 + index * 32_000)).collect();
    let batch = bench.read(1100, 0, &claimed);
    assert_eq!(arrived_at(batch), [1_100_000, 9_100_000]);
    assert_eq!(batch.bytes, 2000);
}

#[test]
fn the_round_trip_ends_with_the_feedback() {
    let mut bench = Bench::new(10);
    let batch = bench.read(1100, 0, &[Some(512), Some(513)]);
    assert_eq!(round_trip(ms(1100), batch), Some(99_000));
}
