//! Any bytes as a compound RTCP packet: all of it is read, in bounded work, and what we can write
//! reads the same once written again.
#![no_main]

use dataplane_core::rtcp::{Packet, RtcpWriter, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|compound: &[u8]| {
    let mut count = 0;
    for packet in packets(compound) {
        count += 1;
        let Ok(packet) = packet else { break };
        inspect(&packet, compound.len());
    }
    assert!(count <= compound.len().div_ceil(4));
});

fn inspect(packet: &Packet<'_>, length: usize) {
    let mut out = [0; 2048];
    let mut writer = RtcpWriter::new(&mut out);
    match packet {
        Packet::SenderReport { blocks, .. } => {
            assert!(blocks.clone().count() <= RtcpWriter::COUNT_MAX);
        }
        Packet::ReceiverReport { ssrc, blocks } => {
            let all: Vec<_> = blocks.clone().collect();
            assert!(writer.receiver_report(*ssrc, &all));
            let written = writer.len();
            let Some(Ok(Packet::ReceiverReport { blocks, .. })) = packets(&out[..written]).next()
            else {
                panic!("our own receiver report")
            };
            assert!(blocks.eq(all));
        }
        Packet::Bye { sources } => {
            let all: Vec<_> = sources.clone().collect();
            assert!(writer.bye(&all));
        }
        Packet::Nack { numbers, .. } => assert!(numbers.clone().count() * 4 <= length * 17),
        Packet::FullIntraRequest { entries, .. } => {
            assert!(entries.clone().count() * 8 <= length);
        }
        Packet::TransportFeedback(feedback) => {
            assert_eq!(
                feedback.arrivals().count(),
                usize::from(feedback.status_count)
            );
        }
        Packet::ReceiverEstimatedMaximumBitrate { sources, .. } => {
            assert!(sources.clone().count() * 4 <= length);
        }
        _ => {}
    }
}
