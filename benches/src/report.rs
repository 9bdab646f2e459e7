//! Adds up what all peers saw, and prints it.

use core::fmt;
use core::time::Duration;

use serde::Serialize;

use crate::publisher::PublisherTotals;
use crate::subscriber::SubscriberResult;
use crate::track::Counts;

/// A histogram of durations in microseconds: 16 steps for each doubling.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    counts: Vec<u64>,
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, microseconds: u64) {
        let position = position(microseconds);
        if self.counts.len() <= position {
            self.counts.resize(position + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(position) {
            *count += 1;
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// What `per_mille` of 1000 do not exceed, up to 6 % too high. 0 if nothing was counted.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (total * per_mille).div_ceil(1_000).max(1);
        let mut below = 0;
        for (position, count) in (0_u64..).zip(&self.counts) {
            below += count;
            if below >= rank {
                return upper_edge(position);
            }
        }
        0
    }
}

fn position(value: u64) -> usize {
    let position = if value < 16 {
        value
    } else {
        let exponent = u64::from(value.ilog2()) - 4;
        16 + exponent * 16 + ((value >> exponent) - 16)
    };
    usize::try_from(position).unwrap_or_default()
}

fn upper_edge(position: u64) -> u64 {
    if position < 16 {
        return position;
    }
    let (exponent, step) = ((position - 16) / 16, (position - 16) % 16);
    ((step + 17) << exponent) - 1
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Subscribers that were asked for.
    pub subscribers: usize,
    /// Subscribers that connected.
    pub joined: usize,
    /// Joins that failed and were tried again.
    pub retried_joins: u64,
    /// Why subscribers failed for good, each reason once.
    pub failures: Vec<String>,
    /// Tracks that should have been received, and tracks that got packets.
    pub tracks_expected: usize,
    /// See above.
    pub tracks_received: usize,
    /// Of all publishers.
    pub publishers: Vec<PublisherTotals>,
    /// Of all subscribers.
    pub counts: Counts,
    /// Packets a second from the publishers while all had joined.
    pub packets_per_second_in: f64,
    /// Packets a second at the subscribers while all had joined.
    pub packets_per_second_out: f64,
    /// Milliseconds from the first API call to the end of DTLS.
    pub connect_ms: Quantiles,
    /// Milliseconds from the first API call to the first media.
    pub first_media_ms: Quantiles,
    /// Microseconds from publisher to subscriber.
    pub latency_us: Quantiles,
    /// Datagrams that our own sockets dropped: the load generator was too slow.
    pub socket_drops: u64,
    /// RTP packets of payload types or SSRCs that were not offered.
    pub unknown_packets: u64,
    /// Sender reports received by subscribers.
    pub sender_reports: u64,
    /// PLIs sent by subscribers.
    pub key_frame_requests: u64,
    /// Sequence numbers that subscribers asked for again, and packets that came by RTX.
    pub nacked: u64,
    /// See above.
    pub recovered: u64,
}

/// Of a distribution.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl From<&Latencies> for Quantiles {
    fn from(latencies: &Latencies) -> Self {
        let [p50, p99, max] = [500, 990, 1_000].map(|per_mille| latencies.quantile(per_mille));
        Self { p50, p99, max }
    }
}

impl Summary {
    /// What the peers saw; rates and publishers are filled in by the caller.
    pub fn new(subscribers: usize, tracks_each: usize, results: &[SubscriberResult]) -> Self {
        let (mut connect, mut media, mut latency) = Default::default();
        let mut counts = Counts::default();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for result in results {
            counts.add(&result.counts);
            Latencies::add(&mut connect, milliseconds(result.connected_after));
            if let Some(time) = result.first_media_after {
                Latencies::add(&mut media, milliseconds(time));
            }
            Latencies::merge(&mut latency, &result.latencies);
        }
        let sum = |of: fn(&SubscriberResult) -> u64| results.iter().map(of).sum();
        Self {
            subscribers,
            joined: results.len(),
            retried_joins: 0,
            failures: Vec::new(),
            tracks_expected: subscribers * tracks_each,
            tracks_received: results.iter().map(|result| result.tracks).sum(),
            publishers: Vec::new(),
            counts,
            packets_per_second_in: 0.0,
            packets_per_second_out: 0.0,
            connect_ms: Quantiles::from(&connect),
            first_media_ms: Quantiles::from(&media),
            latency_us: Quantiles::from(&latency),
            socket_drops: sum(|result| result.socket_drops),
            unknown_packets: sum(|result| result.unknown),
            sender_reports: sum(|result| result.sender_reports),
            key_frame_requests: sum(|result| result.key_frame_requests),
            nacked: sum(|result| result.nacked),
            recovered: sum(|result| result.recovered),
        }
    }

    /// Whether all joined, and every track brought packets.
    pub fn is_complete(&self) -> bool {
        self.joined == self.subscribers && self.tracks_received == self.tracks_expected
    }

    /// Whether every packet came once and unchanged to everybody.
    pub fn is_lossless(&self) -> bool {
        self.is_complete() && self.counts.is_perfect() && self.unknown_packets == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<28} {value}");
        row(
            "subscribers joined",
            &format!("{} of {}", self.joined, self.subscribers),
        )?;
        row("joins tried again", &self.retried_joins)?;
        row(
            "tracks received",
            &format!("{} of {}", self.tracks_received, self.tracks_expected),
        )?;
        row(
            "packets/s in",
            &format!("{:.0}", self.packets_per_second_in),
        )?;
        row(
            "packets/s out",
            &format!("{:.0}", self.packets_per_second_out),
        )?;
        row("received", &counts.received)?;
        row("lost", &counts.lost)?;
        row("missing at the end", &counts.missing_at_end)?;
        row("duplicates", &counts.duplicates)?;
        row("reordered", &counts.reordered)?;
        row("checked bit for bit", &counts.checked)?;
        row("  mismatched", &counts.mismatched)?;
        row("  renumbered", &counts.renumbered)?;
        row("  undecryptable", &counts.undecryptable)?;
        row("video without key frame", &counts.bad_starts)?;
        row("unknown SSRC or type", &self.unknown_packets)?;
        row("dropped by our own sockets", &self.socket_drops)?;
        row(
            "asked again / by RTX",
            &format!("{} / {}", self.nacked, self.recovered),
        )?;
        row(
            "PLIs sent / reports got",
            &format!("{} / {}", self.key_frame_requests, self.sender_reports),
        )?;
        row("connected, ms", &self.connect_ms)?;
        row("first media, ms", &self.first_media_ms)?;
        row("publisher to subscriber, us", &self.latency_us)?;
        for (index, publisher) in self.publishers.iter().enumerate() {
            row(&format!("publisher {index}"), publisher)?;
        }
        for failure in &self.failures {
            row("failed", failure)?;
        }
        Ok(())
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {}  p99 {}  max {}", self.p50, self.p99, self.max)
    }
}

impl fmt::Display for PublisherTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "audio {}  video {}  key frames {} (asked {})  sent again {} of {}",
            self.audio_packets,
            self.video_packets,
            self.key_frames,
            self.key_frame_requests,
            self.retransmitted,
            self.retransmissions_asked,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_6_percent_too_high() {
        for value in [0, 1, 15, 16, 17, 100, 1_000, 123_456, 10_000_000] {
            let mut latencies = Latencies::default();
            latencies.add(value);
            let quantile = latencies.quantile(500);
            assert!(
                (value..=value + value / 16).contains(&quantile),
                "{value}: {quantile}"
            );
        }
    }

    #[test]
    fn quantiles_rank_what_was_counted() {
        let (mut latencies, mut slow) = (Latencies::default(), Latencies::default());
        for value in 1..=10 {
            latencies.add(value);
        }
        slow.add(15);
        latencies.merge(&slow);
        assert_eq!(
            (latencies.quantile(500), latencies.quantile(1_000)),
            (6, 15)
        );
        assert_eq!(Latencies::default().quantile(500), 0);
    }

    #[test]
    fn a_run_without_packets_is_not_lossless() {
        assert!(!Summary::new(0, 2, &[]).is_lossless());
        assert!(!Summary::new(1, 2, &[]).is_complete());
    }
}
