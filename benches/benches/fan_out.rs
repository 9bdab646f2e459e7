//! What forwarding costs: from a sealed packet of the publisher to one sealed packet for each leg.
//!
//! `cargo bench -p benches --bench fan_out`. Items are packets that leave, so the reciprocal of the
//! items a second is the cost per leg. AES-128-GCM both ways, VP8 with a mid and a transport-wide
//! sequence number, each leg a session of its own. The way out is one slot that is written over
//! and over: system calls, and the cache misses of a large arena, are not included.

mod support;

use divan::Bencher;
use divan::counter::ItemsCount;

use support::Scene;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// An Opus packet and a full video packet.
const PAYLOADS: [usize; 2] = [120, 1200];
const LEGS: [usize; 4] = [1, 10, 100, 1000];

/// One turn with one packet: opened, kept in the cache; then for each leg decided, its header
/// written, its payload sealed out of place.
#[divan::bench(args = LEGS, consts = PAYLOADS)]
fn one_packet_to_legs<const PAYLOAD: usize>(bencher: Bencher<'_, '_>, legs: usize) {
    turns::<PAYLOAD>(bencher, legs, 1);
}

/// One turn with sixteen packets, as a frame or a burst brings them: each leg's packets stand
/// together, so what is looked up for a leg is looked up once.
#[divan::bench(consts = PAYLOADS)]
fn sixteen_packets_to_100_legs<const PAYLOAD: usize>(bencher: Bencher<'_, '_>) {
    turns::<PAYLOAD>(bencher, 100, 16);
}

/// One turn with one packet that nobody subscribes to: what a publisher costs alone. Opened,
/// numbered, kept in the cache.
#[divan::bench(consts = PAYLOADS)]
fn one_packet_without_legs<const PAYLOAD: usize>(bencher: Bencher<'_, '_>) {
    turns::<PAYLOAD>(bencher, 0, 1);
}

fn turns<const PAYLOAD: usize>(bencher: Bencher<'_, '_>, legs: usize, packets: usize) {
    let scene = std::cell::RefCell::new(Scene::new(legs));
    let before = scene.borrow().forwarded();
    let turns = std::cell::Cell::new(0_u64);
    bencher
        .counter(ItemsCount::new(packets * legs.max(1)))
        // Sealing what the publisher sends is not measured.
        .with_inputs(|| {
            let mut scene = scene.borrow_mut();
            let next = |_| scene.next_packet(PAYLOAD);
            (0..packets).map(next).collect::<Vec<_>>()
        })
        .bench_local_refs(|batch| {
            let mut scene = scene.borrow_mut();
            for packet in batch {
                scene.receive(packet);
            }
            scene.end_turn();
            turns.set(turns.get() + 1);
        });
    let forwarded = scene.borrow().forwarded() - before;
    let expected = turns.get() * (packets * legs) as u64;
    assert_eq!(forwarded, expected, "every packet went to every leg");
}
