//! What a datagram costs until it is known what it is, and what those that are no media cost.
//!
//! `cargo bench -p benches --bench demux`. All of it goes through `Shard::handle_datagram`, on a
//! shard with 1,000 sessions; the clients take turns, so that the look-ups are not all of one entry.

mod support;

use std::hint::black_box;

use divan::Bencher;

use support::{DTLS_RECORD, Scene, check, path};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const CLIENTS: u16 = 1000;

/// A first byte of no protocol: looked at, counted, dropped.
#[divan::bench]
fn garbage(bencher: Bencher<'_, '_>) {
    datagrams(bencher, |_| vec![0xff; 100]);
}

/// RTP from an address that nobody is known at: the look-up misses, counted, dropped.
#[divan::bench]
fn rtp_of_a_stranger(bencher: Bencher<'_, '_>) {
    let mut scene = Scene::new(usize::from(CLIENTS));
    let mut packet = scene.next_packet(1200);
    let mut port = 0;
    bencher.bench_local(|| {
        port = (port + 1) % CLIENTS;
        scene.receive_from(path(20_000 + port), black_box(&mut packet));
    });
}

/// RTP whose tag is wrong, from a known address: looked up, its header parsed, refused by the
/// cipher. This is what a forger costs.
#[divan::bench]
fn rtp_that_is_forged(bencher: Bencher<'_, '_>) {
    datagrams(bencher, |_| {
        let mut packet = vec![0x80, 96];
        packet.resize(1200, 0x5a);
        packet
    });
}

/// A connectivity check: parsed, its integrity checked, answered with an integrity of our own. An
/// HMAC-SHA1 each way.
#[divan::bench]
fn stun_check(bencher: Bencher<'_, '_>) {
    datagrams(bencher, check);
}

/// A check for a user that is not here: parsed, looked up, dropped.
#[divan::bench]
fn stun_check_of_a_stranger(bencher: Bencher<'_, '_>) {
    datagrams(bencher, |client| check(20_000 + client));
}

/// A DTLS record from a known address: looked up and handed to the pool, which here takes it and
/// does nothing.
#[divan::bench]
fn dtls_record(bencher: Bencher<'_, '_>) {
    datagrams(bencher, |_| DTLS_RECORD.to_vec());
}

/// One datagram after the other, each of another client.
fn datagrams(bencher: Bencher<'_, '_>, of_client: impl Fn(u16) -> Vec<u8>) {
    let mut scene = Scene::new(usize::from(CLIENTS));
    let mut datagrams: Vec<(u16, Vec<u8>)> = (1..=CLIENTS)
        .map(|client| (client, of_client(client)))
        .collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % datagrams.len();
        if let Some((client, datagram)) = datagrams.get_mut(next) {
            scene.receive_from(path(*client), black_box(datagram));
        }
    });
}
