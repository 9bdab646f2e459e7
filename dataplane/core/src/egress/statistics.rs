//! What is counted of a leg for those who ask how it fares. Nothing in here is touched by a packet
//! that is forwarded.

use core::time::Duration;

use shared::protocol::{LayerReason, Rid};

use super::leg::Leg;
use crate::ingress::report::duration_of;
use crate::time::Timestamp;

/// The figures of a leg besides those of its sender reports. Counts stay when they are full.
#[derive(Debug, Default)]
pub(crate) struct LegStatistics {
    /// As the subscriber reports it.
    pub(super) packets_lost: i32,
    /// As the subscriber reports it, in ticks of the RTP clock.
    pub(super) jitter: u32,
    feedback: [u32; 3],
    retransmitted: u32,
    retransmissions_refused: u32,
    /// Packets that the pacer dropped.
    pub(crate) packets_dropped: u32,
    rate: Rate,
    /// What came of sharing out what the path carries; none if the leg has no part in that.
    pub(crate) granted: Option<Granted>,
    /// Its place among the audio of its session, when that was ranked last.
    pub(crate) rank: Option<u16>,
    /// Why it gets no more, as it was when it was measured last.
    pub(crate) reason: Option<LayerReason>,
}

/// What came of sharing out what a path carries, for one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The best layer that is there and wanted.
    pub(crate) wanted: Option<u8>,
    /// Why it is not more.
    pub(crate) reason: LayerReason,
}

/// What a subscriber asks for by RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// Packets again (RFC 4585 §6.2.1).
    Nack,
    /// A key frame (RFC 4585 §6.3.1).
    PictureLossIndication,
    /// A key frame (RFC 5104 §4.3.1).
    FullIntraRequest,
}

impl LegStatistics {
    /// The subscriber has sent this about the leg.
    pub(crate) fn count_feedback(&mut self, feedback: Feedback) {
        let [nacks, plis, firs] = &mut self.feedback;
        increment(match feedback {
            Feedback::Nack => nacks,
            Feedback::PictureLossIndication => plis,
            Feedback::FullIntraRequest => firs,
        });
    }

    /// NACKs, PLIs and FIRs of the subscriber.
    pub(crate) fn feedback(&self) -> [u32; 3] {
        self.feedback
    }

    /// Packets that the subscriber lost, as it reports.
    pub(crate) fn packets_lost(&self) -> i32 {
        self.packets_lost
    }

    /// Packets sent again.
    pub(crate) fn retransmitted(&self) -> u32 {
        self.retransmitted
    }

    /// Packets asked for again and not sent.
    pub(crate) fn retransmissions_refused(&self) -> u32 {
        self.retransmissions_refused
    }

    /// Bits a second between the last two calls of [`Leg::measure`].
    pub(crate) fn bit_rate(&self) -> u64 {
        self.rate.bits_per_second
    }

    /// The pacer has dropped so many packets.
    pub(crate) fn count_dropped(&mut self, packets: usize) {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.packets_dropped = self.packets_dropped.saturating_add(packets);
    }

    pub(super) fn count_repeat(&mut self, sent: bool) {
        increment(if sent {
            &mut self.retransmitted
        } else {
            &mut self.retransmissions_refused
        });
    }
}

impl Leg {
    /// Measures the bit rate since the call before; to be called once a second or so.
    pub(crate) fn measure(&mut self, now: Timestamp) {
        let bytes = self.reports.bytes();
        self.statistics.rate.measure(now, bytes);
    }

    /// What the subscriber would rather have than the best layer.
    pub(crate) fn preferred_rid(&self) -> Option<Rid> {
        self.selector.preferred_rid()
    }

    /// The layer that was chosen for it, which may not have begun yet.
    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    /// Nothing leaves until a key frame has come. While a leg waits for one of another layer, the
    /// present layer goes on.
    pub(crate) fn awaits_keyframe(&self) -> bool {
        self.wants_keyframe().is_some() && (self.awaits_keyframe || self.layer().is_none())
    }

    /// The jitter that the subscriber reports (RFC 3550 §6.4.1).
    pub(crate) fn jitter(&self) -> Duration {
        duration_of(self.statistics.jitter, self.clock_rate)
    }
}

/// Bytes a second, from what was counted at two points in time.
#[derive(Debug, Default)]
struct Rate {
    measured_at: Option<Timestamp>,
    bytes: u64,
    bits_per_second: u64,
}

impl Rate {
    fn measure(&mut self, now: Timestamp, bytes: u64) {
        let since = self.measured_at.replace(now);
        let sent = bytes.saturating_sub(core::mem::replace(&mut self.bytes, bytes));
        let elapsed = since.map_or(Duration::ZERO, |since| now.since(since));
        let rate = u128::from(sent) * 8 * 1_000_000_000;
        let rate = rate.checked_div(elapsed.as_nanos()).unwrap_or_default();
        self.bits_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
    }
}

/// One more, unless it is full.
fn increment(count: &mut u32) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    #[test]
    fn a_rate_is_that_of_the_time_between_two_measurements() {
        let mut rate = Rate::default();
        rate.measure(ms(5_000), 1_000_000);
        assert_eq!(rate.bits_per_second, 0, "one point has no rate");
        rate.measure(ms(6_000), 1_125_000);
        assert_eq!(rate.bits_per_second, 1_000_000);
        rate.measure(ms(6_500), 1_156_250);
        assert_eq!(rate.bits_per_second, 500_000);
        rate.measure(ms(7_500), 1_156_250);
        assert_eq!(rate.bits_per_second, 0);
    }

    #[test]
    fn two_measurements_at_one_time_have_no_rate() {
        let mut rate = Rate::default();
        rate.measure(ms(5_000), 10);
        rate.measure(ms(5_000), 20);
        assert_eq!(rate.bits_per_second, 0);
    }

    #[test]
    fn a_full_count_stays() {
        let mut statistics = LegStatistics {
            feedback: [u32::MAX; 3],
            ..LegStatistics::default()
        };
        statistics.count_feedback(Feedback::Nack);
        assert_eq!(statistics.feedback(), [u32::MAX; 3]);
    }
}
