//! What sealing and opening one packet costs, by profile and payload size.
//!
//! `cargo bench -p benches --bench srtp`. The table has the allocations too: there must be none.

use std::hint::black_box;

use dataplane_core::rtp::header::RtpHeader;
use dataplane_core::srtp::{RTP_OVERHEAD_MAX, SessionKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use shared::protocol::DtlsRole;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::Aes128CmHmacSha1_80,
];

/// An Opus packet and a full video packet.
const PAYLOADS: [usize; 2] = [120, 1200];

const SSRC: u32 = 0x1234_5678;
const HEADER_BYTES: usize = 12;

/// Packets that are sealed beforehand for one sample of `open`.
const BATCH: u64 = 256;

#[divan::bench(args = PROFILES, consts = PAYLOADS)]
fn seal_out_of_place<const PAYLOAD: usize>(bencher: Bencher<'_, '_>, profile: SrtpProfile) {
    let sender = SrtpSender::new(&keys(profile, DtlsRole::Client));
    let payload = [0x5a; PAYLOAD];
    let mut out = packet(PAYLOAD);
    let mut index = 0;
    bencher.counter(BytesCount::new(PAYLOAD)).bench_local(|| {
        index += 1;
        sender.seal_rtp(SSRC, index, HEADER_BYTES, black_box(&payload), &mut out)
    });
}

#[divan::bench(args = PROFILES, consts = PAYLOADS)]
fn seal_in_place<const PAYLOAD: usize>(bencher: Bencher<'_, '_>, profile: SrtpProfile) {
    let sender = SrtpSender::new(&keys(profile, DtlsRole::Client));
    let mut out = packet(PAYLOAD);
    let mut index = 0;
    bencher.counter(BytesCount::new(PAYLOAD)).bench_local(|| {
        index += 1;
        let length = HEADER_BYTES + PAYLOAD;
        sender.seal_rtp_in_place(SSRC, index, HEADER_BYTES, length, black_box(&mut out))
    });
}

/// Every packet is opened once: a replay would cost next to nothing. Items are packets. Included
/// are the header's parsing, the look-up of the stream, the replay window and the cipher.
#[divan::bench(args = PROFILES, consts = PAYLOADS, sample_size = 1)]
fn open_256_packets<const PAYLOAD: usize>(bencher: Bencher<'_, '_>, profile: SrtpProfile) {
    let sender = SrtpSender::new(&keys(profile, DtlsRole::Client));
    let sealed: Vec<Vec<u8>> = (0..BATCH)
        .map(|index| {
            let mut out = packet(PAYLOAD);
            let [.., high, low] = index.to_be_bytes();
            if let Some(number) = out.get_mut(2..4) {
                number.copy_from_slice(&[high, low]);
            }
            let length = HEADER_BYTES + PAYLOAD;
            let length = sender.seal_rtp_in_place(SSRC, index, HEADER_BYTES, length, &mut out);
            out.truncate(length.expect("there is room for the tag"));
            out
        })
        .collect();
    bencher
        .counter(BytesCount::new(
            BATCH * u64::try_from(PAYLOAD).unwrap_or_default(),
        ))
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            (
                SrtpReceiver::new(&keys(profile, DtlsRole::Server)),
                sealed.clone(),
            )
        })
        .bench_local_refs(|(receiver, packets)| {
            for packet in packets {
                let header = RtpHeader::parse(packet).expect("it was sealed behind a header");
                receiver
                    .open_rtp(&header, packet)
                    .expect("it was sealed with the same keys");
            }
        });
}

fn keys(profile: SrtpProfile, role: DtlsRole) -> SessionKeys {
    let material = vec![7; profile.exporter_len()];
    SessionKeys::from_exporter(profile, role, &material).expect("the length is the profile's own")
}

/// A header, and room for a payload and a tag.
fn packet(payload: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0];
    packet.extend(SSRC.to_be_bytes());
    packet.resize(HEADER_BYTES + payload + RTP_OVERHEAD_MAX, 0x5a);
    packet
}
