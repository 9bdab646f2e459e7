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
        let ticks = (offset * i128::from(clock_rate)) >> 32;
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
            jitter: self.jitter >> 4,
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

/// The time in ticks of an RTP clock, modulo 2^32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "modulo 2^32 is what is asked for"
)]
fn ticks(time: Timestamp, clock_rate: u32) -> u32 {
    ticks_of(time.since(Timestamp::default()), clock_rate) as u32
}
