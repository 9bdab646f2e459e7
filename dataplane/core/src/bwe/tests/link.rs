//! A path: a bottleneck with a queue, then delay, jitter and loss (RFC 8867 §4.2).

use super::rng::Rng;

/// Times are in microseconds.
#[derive(Clone, Debug)]
pub(super) struct PathConfig {
    /// (from, bits a second), in ascending order.
    pub(super) capacity: Vec<(u64, f64)>,
    /// One way, after the bottleneck.
    pub(super) delay: u64,
    /// What does not leave within this time is dropped on arrival.
    pub(super) queue: u64,
    /// Deviation of the jitter; it is cut at three of them.
    pub(super) jitter: f64,
    /// The part that is lost at random.
    pub(super) loss: f64,
}

impl Default for PathConfig {
    /// 4 Mb/s as RFC 8867 §4.2 and §4.3 have it, without jitter.
    fn default() -> Self {
        Self {
            capacity: vec![(0, 4e6)],
            delay: 50_000,
            queue: 300_000,
            jitter: 0.0,
            loss: 0.0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Path {
    config: PathConfig,
    rng: Rng,
    backlog_bits: f64,
    backlog_at: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It leaves the bottleneck then; the flow's own delay comes on top.
    Leaves(u64),
    QueueFull,
    LostAtRandom,
}

impl Path {
    pub(super) fn new(config: PathConfig, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            backlog_bits: 0.0,
            backlog_at: 0,
        }
    }

    pub(super) fn delay(&self) -> u64 {
        self.config.delay
    }

    pub(super) fn capacity_at(&self, at: u64) -> f64 {
        let past = self
            .config
            .capacity
            .iter()
            .take_while(|(from, _)| *from <= at);
        past.last().unwrap().1
    }

    /// How long what comes now has to wait, in microseconds.
    pub(super) fn queue_delay(&mut self, now: u64) -> u64 {
        self.advance(now);
        self.empty_at(now).saturating_sub(now)
    }

    /// The longest jitter, which an in-order path adds to what follows too.
    pub(super) fn jitter(&mut self) -> u64 {
        (self.rng.normal().abs() * self.config.jitter) as u64
    }

    pub(super) fn send(&mut self, now: u64, bytes: u64) -> Fate {
        self.advance(now);
        if self.backlog_bits > self.capacity_at(now) * self.config.queue as f64 / 1e6 {
            return Fate::QueueFull;
        }
        self.backlog_bits += (bytes * 8) as f64;
        if self.rng.unit() < self.config.loss {
            return Fate::LostAtRandom;
        }
        Fate::Leaves(self.empty_at(now))
    }

    fn advance(&mut self, now: u64) {
        let mut at = self.backlog_at;
        while at < now && self.backlog_bits > 0.0 {
            let until = self.next_change(at).min(now);
            let drained = self.capacity_at(at) * (until - at) as f64 / 1e6;
            self.backlog_bits = (self.backlog_bits - drained).max(0.0);
            at = until;
        }
        self.backlog_at = now;
    }

    fn empty_at(&self, now: u64) -> u64 {
        let (mut at, mut bits) = (now, self.backlog_bits);
        loop {
            let capacity = self.capacity_at(at);
            let takes = bits / capacity * 1e6;
            let until = self.next_change(at);
            if takes <= (until - at) as f64 {
                return at + takes as u64;
            }
            bits -= capacity * (until - at) as f64 / 1e6;
            at = until;
        }
    }

    fn next_change(&self, at: u64) -> u64 {
        let mut later = self.config.capacity.iter().filter(|(from, _)| *from > at);
        later.next().map_or(u64::MAX / 2, |(from, _)| *from)
    }
}

#[test]
fn a_packet_takes_its_bits_over_the_capacity() {
    let mut path = Path::new(PathConfig::default(), 1);
    // 1000 bytes at 4 Mb/s.
    assert_eq!(path.send(0, 1000), Fate::Leaves(2000));
    assert_eq!(path.send(0, 1000), Fate::Leaves(4000));
    assert_eq!(path.send(3000, 1000), Fate::Leaves(6000));
    assert_eq!(path.queue_delay(3000), 3000);
    assert_eq!(path.send(10_000, 1000), Fate::Leaves(12_000));
}

#[test]
fn a_change_of_the_capacity_counts_from_then_on() {
    let config = PathConfig {
        capacity: vec![(0, 4e6), (1000, 1e6)],
        ..PathConfig::default()
    };
    // 4000 bits are through when it changes; the other 4000 take four times as long.
    assert_eq!(Path::new(config, 1).send(0, 1000), Fate::Leaves(5000));
}

#[test]
fn a_full_queue_drops() {
    let mut path = Path::new(PathConfig::default(), 1);
    let sent = (0..1000).take_while(|_| path.send(0, 1000) != Fate::QueueFull);
    // 300 ms at 4 Mb/s are 150 packets.
    assert_eq!(sent.count(), 151);
}
