//! Over-use by the delays of packets: groups, their trend, and what it means
//! (`delay_based_bwe.cc`).

use super::arrival_groups::ArrivalGroups;
use super::feedback::Received;
use super::overuse::{OveruseDetector, Usage};
use super::trendline::Trendline;

/// Takes packets in the order of arrival, tells what the queue does.
#[derive(Debug, Default)]
pub(super) struct DelayDetector {
    groups: ArrivalGroups,
    trendline: Trendline,
    detector: OveruseDetector,
    /// What was sent before this stands behind a probe; microseconds.
    probed_until: Option<i64>,
}

impl DelayDetector {
    /// What the queue does.
    pub(super) fn usage(&self) -> Usage {
        self.detector.usage()
    }

    /// Adds a packet of which we heard at `heard_at`. Probes and what stands behind them are left
    /// out: they may fill the queue for a moment, which is no over-use.
    pub(super) fn add(&mut self, heard_at: i64, packet: &Received) {
        if packet.cluster != 0 {
            self.probed_until = Some(packet.sent_at + PROBE_SHADOW);
        }
        if self
            .probed_until
            .is_some_and(|until| packet.sent_at < until)
        {
            return;
        }
        if let Some(delta) = self.groups.add(heard_at, packet) {
            self.trendline.add(&delta);
            self.detector.update(&self.trendline, &delta);
        }
    }
}

/// How long a queue that a probe has filled takes to drain, microseconds.
const PROBE_SHADOW: i64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 20 ms from `from` ms on; each comes `later` ms later than the one before.
    fn add(detector: &mut DelayDetector, from: i64, count: i64, later: i64, cluster: u8) {
        for index in 0..count {
            let sent_at = (from + index * 20) * 1000;
            let packet = Received {
                sent_at,
                arrived_at: sent_at + index * later * 1000,
                bytes: 1000,
                cluster,
            };
            detector.add(sent_at, &packet);
        }
    }

    #[test]
    fn a_queue_that_fills_is_over_use() {
        let mut detector = DelayDetector::default();
        add(&mut detector, 0, 50, 0, 0);
        assert_eq!(detector.usage(), Usage::Normal);
        add(&mut detector, 1000, 20, 10, 0);
        assert_eq!(detector.usage(), Usage::Over);
    }

    #[test]
    fn a_queue_that_a_probe_fills_is_not() {
        let mut detector = DelayDetector::default();
        add(&mut detector, 0, 50, 0, 0);
        add(&mut detector, 1000, 20, 10, 7);
        // What was sent right behind it does not count either.
        add(&mut detector, 1400, 4, 50, 0);
        add(&mut detector, 1500, 30, 0, 0);
        assert_eq!(detector.usage(), Usage::Normal);
    }
}
