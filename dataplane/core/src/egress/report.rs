//! What a leg reports (RFC 3550 §6.4.1), and what its subscriber reports of it.

use core::time::Duration;

use arrayvec::ArrayVec;

use super::leg::Leg;
use crate::ingress::Publication;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::time::NtpTime;

/// The figures of a leg. Retransmissions are not counted.
#[derive(Debug, Default)]
pub(crate) struct LegReports {
    packets: u64,
    octets: u64,
    bytes: u64,
    fraction_lost: u8,
    round_trip: Option<Duration>,
}

impl LegReports {
    /// Packets sent.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes sent, RTP headers included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the subscriber lost lately, in 1/256.
    pub(crate) fn fraction_lost(&self) -> u8 {
        self.fraction_lost
    }

    pub(super) fn sent(&mut self, bytes: usize, payload_bytes: usize) {
        self.packets += 1;
        self.octets += payload_bytes as u64;
        self.bytes += bytes as u64;
    }
}

impl Leg {
    /// Takes a report block about this leg: about its media, which is the leg's own figures, or
    /// about its retransmissions, which only tells the round trip. `now` is the server's NTP time.
    /// Returns the round trip that the block tells.
    pub(crate) fn handle_report_block(
        &mut self,
        now: NtpTime,
        block: &ReportBlock,
    ) -> Option<Duration> {
        if block.ssrc == self.ssrc {
            self.reports.fraction_lost = block.fraction_lost;
            self.statistics.packets_lost = block.packets_lost;
            self.statistics.jitter = block.jitter;
        }
        let round_trip = round_trip(now, block);
        self.reports.round_trip = round_trip.or(self.reports.round_trip);
        round_trip
    }

    /// The round trip to the subscriber, once it was measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.reports.round_trip
    }

    /// What the next sender report says: the RTP time of this very moment, from the publisher's
    /// last sender report moved forward. None before a packet was forwarded, and while the
    /// publisher has not said how its clock runs: a wrong mapping is worse than none, since lip
    /// sync rests on it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the counts of a report wrap at 2^32"
    )]
    pub(crate) fn sender_report(
        &self,
        now: NtpTime,
        publication: &Publication,
    ) -> Option<SenderInfo> {
        let source = self.rewriter.source()?;
        let layer = publication.layer(source.layer)?;
        let mapping = layer
            .clock_mapping()
            .filter(|_| layer.stream() == source.stream)?;
        let timestamp = mapping.rtp_timestamp_at(now, self.clock_rate);
        Some(SenderInfo {
            ntp: now,
            rtp_timestamp: timestamp.wrapping_add(self.rewriter.timestamp_delta()?),
            packets: self.reports.packets as u32,
            octets: self.reports.octets as u32,
        })
    }

    /// The SSRCs that end with this leg: what its BYE names (RFC 3550 §6.6).
    pub(crate) fn sources(&self) -> ArrayVec<u32, 2> {
        [Some(self.ssrc()), self.rtx_ssrc()]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// RFC 3550 §6.4.1: arrival of the report less LSR less DLSR. What is below zero (clocks are not
/// exact) counts as the shortest; what is above [`ROUND_TRIP_MAX`] is no report of ours.
fn round_trip(now: NtpTime, block: &ReportBlock) -> Option<Duration> {
    if block.last_sender_report == 0 {
        return None;
    }
    let units = now
        .compact()
        .wrapping_sub(block.last_sender_report)
        .wrapping_sub(block.delay_since_last_sender_report)
        .cast_signed();
    let units = u64::try_from(units).unwrap_or_default();
    let round_trip = Duration::from_nanos((units * 1_000_000_000) >> 16);
    (round_trip <= ROUND_TRIP_MAX).then_some(round_trip.max(ROUND_TRIP_MIN))
}

const ROUND_TRIP_MIN: Duration = Duration::from_micros(100);
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
