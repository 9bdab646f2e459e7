//! What a probe measured: the rate at which its packets came
//! (`probe_bitrate_estimator.cc`, `ProbeBitrateEstimator`).

use super::feedback::Received;
use super::units::{bits_per_second, scaled};

/// The probes that are being told of.
#[derive(Debug, Default)]
pub(super) struct ProbeResults {
    /// By the cluster's id modulo the length.
    clusters: [Cluster; CLUSTERS_MAX],
    /// Something was added to one of them. Most feedback is about no probe, and leaves their memory
    /// alone.
    is_fresh: bool,
}

/// What a probe has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeResult {
    /// Which probe.
    pub(super) cluster: u8,
    /// Bits a second.
    pub(super) rate: u64,
    /// It came more slowly than it was sent: the link can carry no more than this. Else it can
    /// carry at least this.
    pub(super) saturated: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    id: u8,
    packets_min: u32,
    bytes_min: u64,
    packets: u32,
    bytes: u64,
    sent: Option<(i64, i64)>,
    arrived: Option<(i64, i64)>,
    last_sent_bytes: u64,
    first_arrived_bytes: u64,
    /// Something was added since the last result.
    is_fresh: bool,
}

impl ProbeResults {
    /// A probe begins, of so many packets and bytes at least.
    pub(super) fn begin(&mut self, id: u8, packets_min: u32, bytes_min: u64) {
        if let Some(cluster) = self.clusters.get_mut(place(id)) {
            *cluster = Cluster {
                id,
                packets_min,
                bytes_min,
                ..Cluster::default()
            };
        }
    }

    /// Adds a packet that came, if it was part of a probe.
    pub(super) fn add(&mut self, packet: &Received) {
        if packet.cluster == 0 {
            return;
        }
        let cluster = self.clusters.get_mut(place(packet.cluster));
        if let Some(cluster) = cluster.filter(|cluster| cluster.id == packet.cluster) {
            cluster.add(packet);
            self.is_fresh = true;
        }
    }

    /// The result of a probe of which something new came and of which enough has come.
    pub(super) fn poll(&mut self) -> Option<ProbeResult> {
        if !self.is_fresh {
            return None;
        }
        let mut fresh = self.clusters.iter_mut().filter(|cluster| cluster.is_fresh);
        let result = fresh.find_map(|cluster| {
            cluster.is_fresh = false;
            cluster.result()
        });
        self.is_fresh = result.is_some();
        result
    }
}

impl Cluster {
    fn add(&mut self, packet: &Received) {
        let bytes = u64::from(packet.bytes);
        self.packets += 1;
        self.bytes += bytes;
        self.is_fresh = true;
        let (first, last) = self.sent.unwrap_or((packet.sent_at, packet.sent_at));
        if packet.sent_at >= last {
            self.last_sent_bytes = bytes;
        }
        self.sent = Some((first.min(packet.sent_at), last.max(packet.sent_at)));
        let (first, last) = self
            .arrived
            .unwrap_or((packet.arrived_at, packet.arrived_at));
        if self.packets == 1 || packet.arrived_at < first {
            self.first_arrived_bytes = bytes;
        }
        self.arrived = Some((first.min(packet.arrived_at), last.max(packet.arrived_at)));
    }

    fn result(&self) -> Option<ProbeResult> {
        let is_enough = self.packets * 100 >= self.packets_min * RECEIVED_PERCENT_MIN
            && self.bytes * 100 >= self.bytes_min * u64::from(RECEIVED_PERCENT_MIN);
        let (sent, arrived) = (span(self.sent)?, span(self.arrived)?);
        if !is_enough {
            return None;
        }
        // What follows the last packet that was sent is not known, nor what went before the first
        // that came: their bytes do not count.
        let send_rate = bits_per_second(self.bytes - self.last_sent_bytes, sent);
        let receive_rate = bits_per_second(self.bytes - self.first_arrived_bytes, arrived);
        if receive_rate > send_rate.saturating_mul(RATIO_MAX) {
            return None;
        }
        let saturated = receive_rate < scaled(send_rate, UNSATURATED_MIN);
        Some(ProbeResult {
            cluster: self.id,
            rate: send_rate.min(receive_rate),
            saturated,
        })
    }
}

/// Of a probe that took some time, but not too much of it.
fn span(times: Option<(i64, i64)>) -> Option<i64> {
    let (first, last) = times?;
    let span = last - first;
    (span > 0 && span <= SPAN_MAX).then_some(span)
}

fn place(id: u8) -> usize {
    usize::from(id) % CLUSTERS_MAX
}

/// Probes whose feedback can be awaited at the same time.
const CLUSTERS_MAX: usize = 4;

/// `kMinReceivedProbesRatio` and `kMinReceivedBytesRatio`.
const RECEIVED_PERCENT_MIN: u32 = 80;

/// `kMaxValidRatio`: what comes more than twice as fast as it was sent was held up on the way.
const RATIO_MAX: u64 = 2;

/// `kMinRatioForUnsaturatedLink`.
const UNSATURATED_MIN: f64 = 0.9;

/// `kMaxProbeInterval`, microseconds.
const SPAN_MAX: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of five packets of 1000 bytes, so many milliseconds from each other when sent and
    /// when they came.
    fn result(sent: i64, arrived: i64) -> Option<ProbeResult> {
        some_of(5, sent, arrived)
    }

    fn some_of(packets: i64, sent: i64, arrived: i64) -> Option<ProbeResult> {
        let mut results = ProbeResults::default();
        results.begin(7, 5, 5000);
        for index in 0..packets {
            results.add(&packet(
                7,
                index * sent * 1000,
                50_000 + index * arrived * 1000,
            ));
        }
        results.poll()
    }

    fn packet(cluster: u8, sent_at: i64, arrived_at: i64) -> Received {
        Received {
            sent_at,
            arrived_at,
            bytes: 1000,
            cluster,
        }
    }

    // The values are those of `probe_bitrate_estimator_unittest.cc`.

    #[test]
    fn what_comes_as_fast_as_it_was_sent_is_the_rate() {
        let result = result(10, 10).unwrap();
        assert_eq!((result.rate, result.saturated), (800_000, false));
    }

    #[test]
    fn what_comes_a_little_faster_counts_as_sent() {
        assert_eq!(result(10, 8).unwrap().rate, 800_000);
    }

    #[test]
    fn what_comes_more_slowly_shows_the_capacity() {
        // Sent at 1600 kb/s, came at 1142.
        let found = result(5, 7).unwrap();
        assert!((found.rate / 1000).abs_diff(1142) <= 10 && found.saturated);
        // Sent at 8 Mb/s, came at 4.
        assert_eq!(result(1, 2).unwrap().rate, 4_000_000);
    }

    #[test]
    fn what_comes_ten_times_as_fast_measures_nothing() {
        assert_eq!(result(10, 1), None);
    }

    #[test]
    fn four_of_five_are_enough_and_three_are_not() {
        assert!(some_of(4, 10, 10).is_some());
        assert_eq!(some_of(3, 10, 10), None);
    }

    #[test]
    fn without_time_between_packets_nothing_is_measured() {
        assert_eq!(result(0, 10), None);
        assert_eq!(result(10, 0), None);
        assert_eq!(result(10, 300), None);
    }

    #[test]
    fn packets_of_no_or_of_another_probe_do_not_count() {
        let mut results = ProbeResults::default();
        results.begin(7, 5, 5000);
        for index in 0..10 {
            results.add(&packet(0, index * 1000, index * 1000));
            results.add(&packet(3, index * 1000, index * 1000));
        }
        assert_eq!(results.poll(), None);
    }

    #[test]
    fn a_result_is_told_again_only_if_more_came() {
        let mut results = ProbeResults::default();
        results.begin(7, 5, 5000);
        for index in 0..4 {
            results.add(&packet(7, index * 10_000, index * 10_000));
        }
        assert!(results.poll().is_some());
        assert_eq!(results.poll(), None);
        results.add(&packet(7, 40_000, 60_000));
        assert_eq!(results.poll().unwrap().rate, 4000 * 8 * 1000 / 60);
    }
}
