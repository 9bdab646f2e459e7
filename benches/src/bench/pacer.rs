//! When a track sends how many packets: by the clock, in bursts.

use core::time::Duration;
use std::time::Instant;

/// A rate, and how it is cut into bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Packets a second.
    pub rate: f64,
    /// From burst to burst.
    pub interval: Duration,
}

impl Pace {
    /// `rate` packets a second in bursts about a millisecond apart: as smooth as a rate gets that
    /// one frame after the other is sent with.
    pub fn smooth(rate: f64) -> Self {
        Self {
            rate,
            interval: Duration::from_secs_f64((1.0 / rate).max(0.001)),
        }
    }

    /// The same bursts, `factor` times as often.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            rate: self.rate * factor,
            interval: self.interval.div_f64(factor),
        }
    }
}

/// Follows a [`Pace`].
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    pace: Pace,
    start: Instant,
    next: Instant,
    sent: u64,
}

impl Pacer {
    /// The first burst comes one interval after `start`.
    pub fn new(pace: Pace, start: Instant) -> Self {
        Self {
            pace,
            start,
            next: start + pace.interval,
            sent: 0,
        }
    }

    /// Its pace.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// When the next burst is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// How many packets are due by `now`; they count as sent.
    pub fn take_due(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        let bursts = elapsed.as_nanos() / self.pace.interval.as_nanos().max(1);
        let bursts = u32::try_from(bursts).unwrap_or(u32::MAX - 1);
        self.next = self.start + self.pace.interval * (bursts + 1);
        let due = f64::from(bursts) * self.pace.interval.as_secs_f64() * self.pace.rate;
        // An interval is a whole number of nanoseconds, so `due` may fall short of an integer.
        let due = super::number::round_down(due + SLACK);
        let packets = due.saturating_sub(self.sent);
        self.sent += packets;
        packets
    }
}

/// Of a packet: what rounding may take away.
const SLACK: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_and_on_time() {
        let pace = Pace {
            rate: 270.0,
            interval: Duration::from_nanos(33_333_333),
        };
        let start = Instant::now();
        let mut pacer = Pacer::new(pace, start);
        assert_eq!(pacer.take_due(start + Duration::from_millis(33)), 0);
        for frame in 1..=300_u32 {
            let now = pacer.next();
            assert_eq!(now, start + pace.interval * frame);
            assert_eq!(pacer.take_due(now), 9, "frame {frame}");
        }
    }

    #[test]
    fn what_was_missed_is_due_at_once() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::smooth(10_000.0), start);
        assert_eq!(pacer.take_due(start + Duration::from_millis(25)), 250);
        assert_eq!(pacer.take_due(start + Duration::from_millis(25)), 0);
    }

    #[test]
    fn a_fraction_of_a_packet_is_carried_over() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::smooth(1_500.0), start);
        let sent: Vec<u64> = (1..=4)
            .map(|ms| pacer.take_due(start + Duration::from_millis(ms)))
            .collect();
        assert_eq!(sent, [1, 2, 1, 2]);
    }

    #[test]
    fn a_slow_rate_sends_one_at_a_time() {
        let pace = Pace::smooth(50.0);
        assert_eq!(pace.interval, Duration::from_millis(20));
        assert_eq!(pace.times(4.0).interval, Duration::from_millis(5));
    }
}
