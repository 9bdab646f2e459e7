//! Reception of one layer as RFC 3550 measures it: receiver report blocks, and what the
//! publisher's sender reports say of its clock.

use core::time::Duration;

use crate::rtcp::ReportBlock;
use crate::rtp::SequenceExtender;
use crate::time::{NtpTime, Timestamp};

/// How the RTP timestamps of a layer map to time (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockMapping {
    /// In the server's NTP time.
    pub(crate) ntp: NtpTime,
    /// The RTP timestamp of the same instant.
    pub(crate) rtp_timestamp: u32,
}

impl ClockMapping {
    /// The time of an RTP timestamp less than half a cycle away.
    pub(crate) fn ntp_of(&self, rtp_timestamp: u32, clock_rate: u32) -> NtpTime {
        let ticks = i64::from(rtp_timestamp.wrapping_sub(self.rtp_timestamp).cast_signed());
        let offset = (ticks << 32)
            .checked_div(i64::from(clock_rate))
            .unwrap_or_default();
        self.ntp.offset_by(offset.cast_unsigned())
    }

    /// The RTP timestamp of a time, modulo 2^32.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "modulo 2^32 is what is asked for"
    )]
    pub(crate) fn rtp_timestamp_at(&self, ntp: NtpTime, clock_rate: u32) -> u32 {
        let offset = i128::from(ntp.offset_from(self.ntp).cast_signed());
        // To the nearest tick.
        let ticks = (offset * i128::from(clock_rate) + (1 << 31)) >> 32;
        self.rtp_timestamp.wrapping_add(ticks as u32)
    }
}

/// Counts the packets of one SSRC for receiver reports (RFC 3550 appendices A.3 and A.8).
///
/// Retransmissions under an SSRC of their own are not packets of this stream, so a packet that was
/// lost and repaired stays lost here; [`super::layer::Layer::packets_lost`] knows better.
#[derive(Debug, Default)]
pub(crate) struct Reception {
    base: Option<u64>,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Of the last packet: arrival time less timestamp, in ticks, wrapping.
    transit: Option<u32>,
    /// In 1/16 ticks.
    jitter: u32,
    sender_report: Option<ReceivedSenderReport>,
}

impl Reception {
    /// Counts a packet that came for the first time. `clock_rate` is in Hz.
    pub(crate) fn packet(
        &mut self,
        now: Timestamp,
        sequence_number: u64,
        rtp_timestamp: u32,
        clock_rate: u32,
    ) {
        self.base.get_or_insert(sequence_number);
        self.highest = self.highest.max(sequence_number);
        self.received += 1;
        // RFC 3550 A.8, with all arithmetic modulo 2^32.
        let transit = ticks(now, clock_rate).wrapping_sub(rtp_timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            // A jump of the publisher's clock is no jitter.
            let difference = difference.min(clock_rate);
            self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
        }
    }

    /// Of arrival, in ticks of the RTP clock (RFC 3550 §6.4.1).
    pub(crate) fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    /// Takes a sender report of this SSRC; `ntp` as the publisher wrote it.
    pub(crate) fn sender_report(&mut self, now: Timestamp, ntp: NtpTime) {
        self.sender_report = Some(ReceivedSenderReport {
            compact: ntp.compact(),
            received_at: now,
        });
    }

    /// The report block for `ssrc`, which ends the interval that the lost fraction is about. None
    /// before the first packet.
    pub(crate) fn report_block(&mut self, now: Timestamp, ssrc: u32) -> Option<ReportBlock> {
        let base = self.base?;
        let expected = self.highest - base + 1;
        let expected_interval = expected.saturating_sub(self.expected_before);
        let received_interval = self.received - self.received_before;
        self.expected_before = expected;
        self.received_before = self.received;
        let sender_report = self.sender_report;
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction(expected_interval, received_interval),
            packets_lost: lost(expected, self.received),
            highest_sequence_number: cycles_from_zero(self.highest, base),
            jitter: self.jitter(),
            last_sender_report: sender_report.map_or(0, |report| report.compact),
            delay_since_last_sender_report: sender_report.map_or(0, |report| report.delay(now)),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct ReceivedSenderReport {
    compact: u32,
    received_at: Timestamp,
}

impl ReceivedSenderReport {
    /// In units of 1/65536 s (RFC 3550 §6.4.1).
    fn delay(self, now: Timestamp) -> u32 {
        let nanos = now.since(self.received_at).as_nanos();
        u32::try_from((nanos << 16) / 1_000_000_000).unwrap_or(u32::MAX)
    }
}

/// RFC 3550 A.3: lost packets of an interval in 1/256; duplicates never make it negative.
fn fraction(expected: u64, received: u64) -> u8 {
    let lost = expected.saturating_sub(received);
    let fraction = (lost << 8).checked_div(expected).unwrap_or_default();
    u8::try_from(fraction).unwrap_or(u8::MAX)
}

/// RFC 3550 A.3: the cumulative number, which has 24 bits and a sign.
fn lost(expected: u64, received: u64) -> i32 {
    let lost = i64::try_from(expected).unwrap_or(i64::MAX) - received.cast_signed();
    i32::try_from(lost.clamp(-0x80_0000, 0x7f_ffff)).unwrap_or_default()
}

/// The extended highest sequence number of RFC 3550 §6.4.1, whose cycles count from the first
/// packet's.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the field has 32 bits and wraps"
)]
fn cycles_from_zero(highest: u64, base: u64) -> u32 {
    const { assert!(SequenceExtender::FIRST_CYCLE == 1 << 16) };
    (highest - (base & !0xffff)) as u32
}

/// A duration in whole ticks of an RTP clock.
pub(crate) fn ticks_of(duration: Duration, clock_rate: u32) -> u64 {
    let ticks = duration.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// How long so many ticks of an RTP clock last; no time while the clock is not known.
pub(crate) fn duration_of(ticks: u32, clock_rate: u32) -> Duration {
    let nanos = (u64::from(ticks) * 1_000_000_000).checked_div(u64::from(clock_rate));
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// The time in ticks of an RTP clock, modulo 2^32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "modulo 2^32 is what is asked for"
)]
fn ticks(time: Timestamp, clock_rate: u32) -> u32 {
    ticks_of(time.since(Timestamp::default()), clock_rate) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    const RATE: u32 = 90_000;

    /// Packets with these extended numbers, 10 ms apart in both clocks.
    fn received(numbers: &[u64]) -> Reception {
        let mut reception = Reception::default();
        for number in numbers {
            let at = number - 65_536;
            let timestamp = u32::try_from(at * 900).unwrap();
            reception.packet(ms(at * 10), *number, timestamp, RATE);
        }
        reception
    }

    #[test]
    fn nothing_is_reported_before_the_first_packet() {
        assert_eq!(Reception::default().report_block(ms(0), 7), None);
    }

    #[test]
    fn losses_are_reported_for_the_interval_and_in_all() {
        // RFC 3550 A.3.
        let mut reception = received(&[65_536, 65_537, 65_539, 65_543]);
        let block = reception.report_block(ms(100), 7).unwrap();
        assert_eq!((block.ssrc, block.packets_lost), (7, 4));
        assert_eq!(block.fraction_lost, 128);
        assert_eq!(block.highest_sequence_number, 7);
        for number in 65_544..65_548 {
            reception.packet(ms(0), number, 0, RATE);
        }
        let block = reception.report_block(ms(100), 7).unwrap();
        assert_eq!((block.packets_lost, block.fraction_lost), (4, 0));
    }

    #[test]
    fn duplicates_make_no_negative_fraction() {
        let mut reception = received(&[65_536, 65_537, 65_537, 65_537]);
        let block = reception.report_block(ms(0), 7).unwrap();
        assert_eq!((block.packets_lost, block.fraction_lost), (-2, 0));
    }

    #[test]
    fn cycles_count_from_the_first_packet() {
        let mut reception = received(&[65_536 + 65_535, 131_072 + 4]);
        let block = reception.report_block(ms(0), 7).unwrap();
        assert_eq!(block.highest_sequence_number, 65_540);
    }

    #[test]
    fn a_steady_stream_has_no_jitter() {
        let mut reception = received(&[65_536, 65_537, 65_538, 65_539]);
        assert_eq!(reception.report_block(ms(0), 7).unwrap().jitter, 0);
    }

    #[test]
    fn jitter_nears_the_mean_deviation() {
        // RFC 3550 A.8: packets that are alternately 0 and 10 ms late.
        let mut reception = Reception::default();
        for n in 0..500_u32 {
            let late = u64::from(n % 2 * 10);
            reception.packet(
                ms(u64::from(n) * 20 + late),
                65_536 + u64::from(n),
                n * 1_800,
                RATE,
            );
        }
        let jitter = reception.report_block(ms(0), 7).unwrap().jitter;
        assert!((890..=900).contains(&jitter), "{jitter}");
    }

    #[test]
    fn hostile_timestamps_do_not_overflow_the_jitter() {
        let mut reception = Reception::default();
        for n in 0..10_000_u32 {
            reception.packet(ms(u64::MAX / 2_000_000), 65_536, n << 31, RATE);
        }
        assert!(reception.report_block(ms(0), 7).unwrap().jitter <= RATE);
    }

    #[test]
    fn ticks_of_an_unknown_clock_last_no_time() {
        assert_eq!(duration_of(900, RATE), Duration::from_millis(10));
        assert_eq!(duration_of(900, 0), Duration::ZERO);
    }

    #[test]
    fn a_sender_report_is_told_back() {
        // RFC 3550 §6.4.1: the middle bits of its time, and how long ago it came.
        let mut reception = received(&[65_536]);
        reception.sender_report(ms(1_000), NtpTime::from_bits(0x1122_3344_5566_7788));
        let block = reception.report_block(ms(2_500), 7).unwrap();
        assert_eq!(block.last_sender_report, 0x3344_5566);
        assert_eq!(block.delay_since_last_sender_report, 98_304);
    }

    #[test]
    fn a_mapping_goes_both_ways() {
        let mapping = ClockMapping {
            ntp: NtpTime::from_bits(50 << 32),
            rtp_timestamp: 100,
        };
        let half_before = NtpTime::from_bits((49 << 32) + (1 << 31));
        assert_eq!(
            mapping.ntp_of(100_u32.wrapping_sub(45_000), RATE),
            half_before
        );
        assert_eq!(
            mapping.rtp_timestamp_at(half_before, RATE),
            100_u32.wrapping_sub(45_000)
        );
        assert_eq!(
            mapping.rtp_timestamp_at(NtpTime::from_bits(52 << 32), RATE),
            180_100
        );
    }
}
