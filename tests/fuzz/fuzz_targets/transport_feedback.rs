//! Transport-wide feedback both ways. The input is a list of arrivals to write, and then the bytes
//! of a feedback to read.
#![no_main]

use dataplane_core::rtcp::{FeedbackHeader, Packet, RtcpWriter, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u16, u16, Vec<Option<i16>>, Vec<u8>)| {
    let (start, base_sequence_number, room, steps, body) = input;
    write(start >> 8, base_sequence_number, room, &steps);
    read(&body);
});

/// What is written covers the arrivals that it claims to, and has their times.
fn write(start: u64, base_sequence_number: u16, room: u16, steps: &[Option<i16>]) {
    let mut time = start;
    let arrivals: Vec<Option<u64>> = steps
        .iter()
        .map(|step| {
            time = time.saturating_add_signed(i64::from((*step)?));
            Some(time)
        })
        .collect();
    let header = FeedbackHeader {
        sender: 1,
        media: 2,
        base_sequence_number,
        feedback_count: 3,
    };
    let mut out = vec![0; usize::from(room) % 1500];
    let mut writer = RtcpWriter::new(&mut out);
    let covered = writer.transport_feedback(&header, arrivals.iter().copied());
    let length = writer.len();
    if covered == 0 {
        assert_eq!(length, 0);
        return;
    }
    let Some(Ok(Packet::TransportFeedback(feedback))) = packets(&out[..length]).next() else {
        panic!("our own feedback")
    };
    assert_eq!(usize::from(feedback.status_count), covered);
    for ((_, found), expected) in feedback.arrivals().zip(&arrivals) {
        let found = found.map(|ticks| ticks.cast_unsigned() % CYCLE);
        assert_eq!(found, expected.map(|ticks| ticks % CYCLE));
    }
}

/// The body of a feedback, behind a header whose length is right.
fn read(body: &[u8]) {
    let words = u16::try_from(body.len() / 4).unwrap_or(u16::MAX);
    let [w0, w1] = words.to_be_bytes();
    let mut packet = vec![0x8f, 205, w0, w1];
    packet.extend_from_slice(&body[..usize::from(words) * 4]);
    for packet in packets(&packet).flatten() {
        if let Packet::TransportFeedback(feedback) = packet {
            assert_eq!(
                feedback.arrivals().count(),
                usize::from(feedback.status_count)
            );
        }
    }
}

/// Ticks until the reference time starts again.
const CYCLE: u64 = (1 << 24) * 256;
