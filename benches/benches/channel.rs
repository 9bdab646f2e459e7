//! What the channel between the planes costs: its rings, and the page of counters.
//!
//! `cargo bench -p benches --bench channel`. The region is a real one, mapped as between processes.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use divan::Bencher;
use shared::channel::{Region, RegionConsumer, RegionProducer, ShardMemory};
use shared::counters::{Counter, Counters, Histogram};
use shared::id::ShardIndex;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A small event, and a transaction with a model.
const RECORDS: [usize; 2] = [64, 4096];

/// One record in and out again, in one thread: the copies and the atomics, with nobody to wait for.
#[divan::bench(consts = RECORDS)]
fn push_and_pop<const RECORD: usize>(bencher: Bencher<'_, '_>) {
    let memory = shard_memory();
    let mut producer = memory.command_producer().expect("a ring");
    let mut consumer = memory.command_consumer().expect("a ring");
    let record = vec![0x5a; RECORD];
    bencher.bench_local(|| {
        producer
            .push(black_box(&record))
            .expect("the ring is empty");
        let popped = consumer.pop().expect("the ring is in order");
        assert_eq!(popped.map(<[u8]>::len), Some(RECORD));
    });
}

/// A record there and back through two rings, to a thread that does nothing but answer. Neither
/// sleeps, so no doorbell is rung; it takes two cores that are free, or the scheduler is measured.
#[divan::bench(consts = RECORDS)]
fn round_trip_between_threads<const RECORD: usize>(bencher: Bencher<'_, '_>) {
    let memory = shard_memory();
    let mut commands = memory.command_producer().expect("a ring");
    let mut replies = memory.reply_consumer().expect("a ring");
    let their_commands = memory.command_consumer().expect("a ring");
    let their_replies = memory.reply_producer().expect("a ring");
    let record = vec![0x5a; RECORD];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| answer(&stop, their_commands, their_replies));
        bencher.bench_local(|| {
            commands
                .push(black_box(&record))
                .expect("the ring is empty");
            while replies.pop().expect("the ring is in order").is_none() {
                std::hint::spin_loop();
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
}

fn answer(stop: &AtomicBool, mut commands: RegionConsumer, mut replies: RegionProducer) {
    while !stop.load(Ordering::Relaxed) {
        match commands.pop().expect("the ring is in order") {
            Some(record) => replies.push(record).expect("the ring is empty"),
            None => std::hint::spin_loop(),
        }
    }
}

/// One counter: what nearly every step of a packet does.
#[divan::bench]
fn increment_a_counter(bencher: Bencher<'_, '_>) {
    let mut counters = Counters::default();
    bencher.bench_local(|| black_box(&mut counters).increment(Counter::RtpPacketsForwarded));
}

/// One value, from 4 us to 134 ms: its bucket found, two words written.
#[divan::bench]
fn record_in_a_histogram(bencher: Bencher<'_, '_>) {
    let mut counters = Counters::default();
    let mut value = 1;
    bencher.bench_local(|| {
        value = value * 5 % 134_217_757;
        black_box(&mut counters).record(Histogram::Residence, black_box(value), 1);
    });
}

/// The whole page copied to where the control plane reads it: once in every turn.
#[divan::bench]
fn publish_the_counters(bencher: Bencher<'_, '_>) {
    let (memory, counters) = (shard_memory(), Counters::default());
    bencher.bench_local(|| memory.publish_counters(black_box(&counters)));
}

/// A region stays mapped as long as the parts of its shards are in use.
fn shard_memory() -> ShardMemory {
    let region = Region::create(1, 1).expect("memory for a region");
    region
        .shard(ShardIndex(0))
        .expect("the region has one shard")
}
