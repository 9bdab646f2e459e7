//! What a leg counts, reports, and hears of itself.

use super::*;
use crate::ingress::report::ClockMapping;

#[test]
fn sent_packets_are_counted() {
    let mut bench = Bench::vp8();
    let first = bench
        .feed(0, &key(1000, 1, 1).with_extension(6, &[1]))
        .unwrap();
    let second = bench.feed(0, &delta(1000, 2, 2).padded(50)).unwrap();
    assert_eq!(bench.leg.reports().packets(), 2);
    assert_eq!(
        bench.leg.reports().bytes(),
        (first.len() + second.len()) as u64
    );
}

#[test]
fn a_sender_report_says_where_the_media_is_now() {
    // RFC 3550 §6.4.1.
    let mut bench = Bench::new(Codec::Vp8, &["f", "h"], preferring("h"));
    let clock = |seconds: u64, rtp_timestamp| ClockMapping {
        ntp: NtpTime::from_bits(seconds << 32),
        rtp_timestamp,
    };
    let now = NtpTime::from_bits(102 << 32);
    bench.feed(1, &key(1001, 1, 1)).unwrap();
    assert_eq!(
        bench.leg.sender_report(now, &bench.track),
        None,
        "no mapping yet"
    );
    let mapping = clock(100, 3_000);
    bench
        .track
        .layer_mut(1)
        .unwrap()
        .sender_report(bench.now, NtpTime::default(), mapping);
    let report = bench.leg.sender_report(now, &bench.track).unwrap();
    assert_eq!((report.ntp, report.rtp_timestamp), (now, 183_000));
    assert_eq!((report.packets, report.octets), (1, 27));

    // After a switch the layer's clock is another one, and the leg's goes on.
    bench.feed(1, &delta(1001, 2, 2)).unwrap();
    let mapping = clock(100, 900_000 - 3_000);
    bench
        .track
        .layer_mut(0)
        .unwrap()
        .sender_report(bench.now, NtpTime::default(), mapping);
    bench
        .track
        .take(bench.now, 0, &delta(1000, 1, 300))
        .unwrap();
    bench.select(preferring("f"));
    bench.now = bench.now + Duration::from_millis(70);
    bench.feed(0, &key(1000, 2, 302)).unwrap();
    let report = bench.leg.sender_report(now, &bench.track).unwrap();
    assert_eq!(report.rtp_timestamp, 183_000);
}

#[test]
fn a_report_block_tells_loss_and_round_trip() {
    let mut bench = Bench::vp8();
    let sent = NtpTime::from_bits(10 << 32);
    let received = sent + Duration::from_millis(300);
    let mut block = ReportBlock {
        ssrc: SSRC,
        fraction_lost: 30,
        ..ReportBlock::default()
    };
    bench.leg.handle_report_block(received, &block);
    assert_eq!(bench.leg.round_trip(), None, "no sender report was seen");
    block.last_sender_report = sent.compact();
    block.delay_since_last_sender_report = 65_536 / 5;
    bench.leg.handle_report_block(received, &block);
    let round_trip = bench.leg.round_trip().unwrap().as_millis();
    assert!((99..=101).contains(&round_trip), "{round_trip}");
    assert_eq!(bench.leg.reports().fraction_lost(), 30);
    // A delay that cannot be, and a report that is not ours.
    block.delay_since_last_sender_report = 65_536;
    bench.leg.handle_report_block(received, &block);
    assert_eq!(bench.leg.round_trip(), Some(Duration::from_micros(100)));
    block.last_sender_report = sent.compact().wrapping_sub(65_536 * 100);
    bench.leg.handle_report_block(received, &block);
    assert_eq!(bench.leg.round_trip(), Some(Duration::from_micros(100)));
}

#[test]
fn a_leg_ends_with_both_of_its_sources() {
    let bench = Bench::vp8();
    assert_eq!(bench.leg.sources().as_slice(), [SSRC, RTX_SSRC]);
}
