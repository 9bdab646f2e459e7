//! What a network does to datagrams. One [`Link`] is one direction between a client and its shard.
//!
//! It is pure: time comes in as an argument and randomness from a seed, so simulated scenarios and
//! the proxy for real clients ([`crate::impair`]) share it.

use core::time::Duration;

use arrayvec::ArrayVec;
use dataplane_core::time::Timestamp;
use serde::Serialize;

use crate::rng::Rng;

/// How a link behaves; may be changed while datagrams are under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// Every datagram takes at least this long.
    pub delay: Duration,
    /// And up to this much longer, in order.
    pub jitter: Duration,
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Losses in a row.
    pub burst: Option<Burst>,
    /// Probability that a datagram comes twice.
    pub duplication: f64,
    /// Probability that a datagram is overtaken.
    pub reordering: f64,
    /// How much later an overtaken one comes, at most.
    pub reordering_delay: Duration,
    /// A narrow place before the delay; none if there is room for everything.
    pub bottleneck: Option<Bottleneck>,
    /// While it is down nothing goes through.
    pub state: LinkState,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Whether anything goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// Losses in a row (the model of Gilbert and Elliott).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Probability that a datagram begins a bad time.
    pub begin: f64,
    /// Probability that a datagram of a bad time ends it.
    pub end: f64,
    /// Probability that a datagram of a bad time is lost.
    pub loss: f64,
}

/// A narrow place with a queue in front of it, which drops what comes when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// Bits a second, not zero. Headers below UDP are not counted.
    pub rate: u64,
    /// How much may wait.
    pub queue: QueueLimit,
}

/// When a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// What waits would be more bytes than this with the datagram that comes.
    Bytes(u64),
    /// What is there would keep the datagram that comes waiting longer (RFC 8867 §4.2).
    Time(Duration),
}

impl Default for LinkModel {
    /// 20 ms, and nothing goes wrong.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            duplication: 0.0,
            reordering: 0.0,
            reordering_delay: Duration::from_millis(8),
            bottleneck: None,
            state: LinkState::Up,
        }
    }
}

impl LinkModel {
    /// Loses datagrams independently of each other.
    pub fn losing(loss: f64) -> Self {
        Self {
            loss,
            ..Self::default()
        }
    }
}

/// What became of the datagrams of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// All that were sent into it.
    pub packets: u64,
    /// And their bytes.
    pub bytes: u64,
    /// Those of them that come out; some may still be under way.
    pub delivered_packets: u64,
    /// And their bytes.
    pub delivered_bytes: u64,
    /// Lost at random, in a burst, or because the link is down.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
}

/// One direction.
#[derive(Debug)]
pub struct Link {
    model: LinkModel,
    rng: Rng,
    in_burst: bool,
    /// Bits before the narrow place at `backlog_at`.
    backlog: u64,
    backlog_at: Timestamp,
    last_arrival: Timestamp,
    counters: LinkCounters,
}

impl Link {
    /// An idle link.
    pub fn new(model: LinkModel, rng: Rng) -> Self {
        Self {
            model,
            rng,
            in_burst: false,
            backlog: 0,
            backlog_at: Timestamp::default(),
            last_arrival: Timestamp::default(),
            counters: LinkCounters::default(),
        }
    }

    /// How it behaves now.
    pub fn model(&self) -> LinkModel {
        self.model
    }

    /// Behaves like this from now on. What is under way comes when it was said to come, as with
    /// netem(8), and what is sent from now on waits until then: for longer, there would be silence.
    pub fn set_model(&mut self, now: Timestamp, model: LinkModel) {
        let waits = self.queue_delay(now);
        self.model = model;
        if let Some(bottleneck) = model.bottleneck {
            self.backlog = self.backlog.min(bits_in(waits, bottleneck.rate));
        }
    }

    /// What became of everything so far.
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// How long a datagram that is sent now would wait before the narrow place.
    pub fn queue_delay(&mut self, now: Timestamp) -> Duration {
        self.drain(now);
        let rate = self.model.bottleneck.map(|bottleneck| bottleneck.rate);
        rate.map_or(Duration::ZERO, |rate| time_of(self.backlog, rate))
    }

    /// When a datagram of `bytes` comes out: not at all, once or twice.
    pub fn send(&mut self, now: Timestamp, bytes: usize) -> ArrayVec<Timestamp, 2> {
        let mut arrivals = ArrayVec::new();
        self.counters.packets += 1;
        self.counters.bytes += bytes as u64;
        if self.model.state == LinkState::Down || self.is_lost() {
            self.counters.lost += 1;
            return arrivals;
        }
        let Some(sent) = self.through_bottleneck(now, bytes as u64) else {
            self.counters.overflowed += 1;
            return arrivals;
        };
        self.counters.delivered_packets += 1;
        self.counters.delivered_bytes += bytes as u64;
        let arrival = sent + self.model.delay + self.rng.duration(self.model.jitter);
        if self.rng.chance(self.model.reordering) {
            arrivals.push(arrival + self.rng.duration(self.model.reordering_delay));
        } else {
            self.last_arrival = arrival.max(self.last_arrival);
            arrivals.push(self.last_arrival);
        }
        if self.rng.chance(self.model.duplication) {
            arrivals.push(arrival + self.rng.duration(self.model.reordering_delay));
        }
        arrivals
    }

    fn is_lost(&mut self) -> bool {
        let mut lost = self.rng.chance(self.model.loss);
        if let Some(burst) = self.model.burst {
            let turn = if self.in_burst {
                burst.end
            } else {
                burst.begin
            };
            self.in_burst ^= self.rng.chance(turn);
            lost |= self.in_burst && self.rng.chance(burst.loss);
        }
        lost
    }

    /// When the datagram has left the narrow place; none if its queue is full.
    fn through_bottleneck(&mut self, now: Timestamp, bytes: u64) -> Option<Timestamp> {
        self.drain(now);
        let Some(Bottleneck { rate, queue }) = self.model.bottleneck else {
            return Some(now);
        };
        let is_full = match queue {
            QueueLimit::Bytes(limit) => self.backlog / 8 + bytes > limit,
            QueueLimit::Time(limit) => time_of(self.backlog, rate) > limit,
        };
        if is_full {
            return None;
        }
        self.backlog += bytes * 8;
        Some(now + time_of(self.backlog, rate))
    }

    fn drain(&mut self, now: Timestamp) {
        let time = now.since(self.backlog_at);
        self.backlog_at = self.backlog_at.max(now);
        self.backlog = self.model.bottleneck.map_or(0, |bottleneck| {
            self.backlog.saturating_sub(bits_in(time, bottleneck.rate))
        });
    }
}

/// How long `bits` take at `rate` bits a second.
fn time_of(bits: u64, rate: u64) -> Duration {
    let nanos = u128::from(bits) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many bits pass in this time at `rate` bits a second.
fn bits_in(time: Duration, rate: u64) -> u64 {
    let bits = time.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(bits).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(model: LinkModel) -> Link {
        Link::new(model, Rng::new(7))
    }

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_good_link_only_delays() {
        let mut link = link(LinkModel::default());
        assert_eq!(link.send(ms(100), 1000).as_slice(), [ms(120)]);
    }

    #[test]
    fn jitter_alone_keeps_the_order() {
        let jitter = Duration::from_millis(30);
        let mut link = link(LinkModel {
            jitter,
            ..LinkModel::default()
        });
        let arrivals: Vec<_> = (0..100).flat_map(|at| link.send(ms(at), 100)).collect();
        assert!(arrivals.is_sorted());
        assert_eq!(arrivals.len(), 100);
    }

    #[test]
    fn losses_are_as_many_as_asked_for() {
        let mut link = link(LinkModel::losing(0.25));
        let arrived = (0..10_000).filter(|at| !link.send(ms(*at), 100).is_empty());
        assert!((7_300..7_700).contains(&arrived.count()));
    }

    #[test]
    fn bursts_lose_datagrams_in_a_row() {
        let burst = Some(Burst {
            begin: 0.01,
            end: 0.1,
            loss: 1.0,
        });
        let mut link = link(LinkModel {
            burst,
            ..LinkModel::default()
        });
        let lost: Vec<_> = (0..10_000)
            .map(|at| link.send(ms(at), 100).is_empty())
            .collect();
        let in_a_row = lost.windows(2).filter(|pair| pair[0] && pair[1]).count();
        assert!(in_a_row * 2 > lost.iter().filter(|lost| **lost).count());
    }

    #[test]
    fn a_narrow_place_spaces_datagrams_and_drops_what_cannot_wait() {
        // 1000 bytes take 10 ms; two of them may wait.
        let mut link = link(LinkModel {
            bottleneck: Some(Bottleneck {
                rate: 800_000,
                queue: QueueLimit::Bytes(2_000),
            }),
            ..LinkModel::default()
        });
        assert_eq!(link.send(ms(0), 1000).as_slice(), [ms(30)]);
        assert_eq!(link.send(ms(0), 1000).as_slice(), [ms(40)]);
        assert!(link.send(ms(0), 1000).is_empty());
        assert_eq!(link.send(ms(10), 1000).as_slice(), [ms(50)]);
    }

    #[test]
    fn a_queue_of_some_time_drops_what_would_wait_longer() {
        let mut link = narrow(800_000, Duration::from_millis(300));
        // 10 ms each: 30 of them keep the next one waiting for 300 ms, which is still allowed.
        let taken = (0..100).filter(|_| !link.send(ms(0), 1000).is_empty());
        assert_eq!(taken.count(), 31);
        assert_eq!(link.queue_delay(ms(0)), Duration::from_millis(310));
        assert_eq!(link.queue_delay(ms(250)), Duration::from_millis(60));
    }

    #[test]
    fn a_narrow_place_lets_its_rate_through() {
        let mut link = narrow(500_000, Duration::from_millis(300));
        // 1 Mb/s for 10 s.
        let last = (0..10_000).flat_map(|at| link.send(ms(at), 125)).max();
        let counters = link.counters();
        let time = last.unwrap().since(Timestamp::default()).as_secs_f64();
        let rate = counters.delivered_bytes as f64 * 8.0 / time;
        assert!((495_000.0..505_000.0).contains(&rate), "{rate}");
        assert_eq!(
            counters.packets,
            counters.delivered_packets + counters.overflowed
        );
    }

    #[test]
    fn another_rate_counts_from_then_on() {
        let mut link = narrow(800_000, Duration::from_secs(1));
        for _ in 0..20 {
            link.send(ms(0), 1000);
        }
        // Half of the 200 ms are through; the other half is under way.
        set_rate(&mut link, ms(100), 200_000);
        assert_eq!(link.queue_delay(ms(100)), Duration::from_millis(100));
        assert_eq!(link.send(ms(100), 1000).as_slice(), [ms(260)]);
    }

    #[test]
    fn a_higher_rate_drains_what_waits_faster() {
        let mut link = narrow(200_000, Duration::from_secs(1));
        for _ in 0..10 {
            link.send(ms(0), 1000);
        }
        set_rate(&mut link, ms(0), 800_000);
        assert_eq!(link.queue_delay(ms(0)), Duration::from_millis(100));
    }

    #[test]
    fn nothing_waits_any_more_when_a_narrow_place_is_gone() {
        let mut link = narrow(80_000, Duration::from_secs(1));
        let before = link.send(ms(0), 1000);
        link.set_model(ms(10), LinkModel::default());
        assert_eq!(link.queue_delay(ms(10)), Duration::ZERO);
        // But what was sent before is not overtaken.
        assert_eq!(link.send(ms(10), 1000), before);
        assert_eq!(link.send(ms(200), 1000).as_slice(), [ms(220)]);
    }

    #[test]
    fn a_link_that_is_down_loses_everything() {
        let mut link = link(LinkModel {
            state: LinkState::Down,
            ..LinkModel::default()
        });
        assert!(link.send(ms(0), 1000).is_empty());
        assert_eq!((link.counters().packets, link.counters().lost), (1, 1));
    }

    fn set_rate(link: &mut Link, now: Timestamp, rate: u64) {
        let mut model = link.model();
        model.bottleneck.as_mut().unwrap().rate = rate;
        link.set_model(now, model);
    }

    fn narrow(rate: u64, queue: Duration) -> Link {
        link(LinkModel {
            bottleneck: Some(Bottleneck {
                rate,
                queue: QueueLimit::Time(queue),
            }),
            ..LinkModel::default()
        })
    }
}
