//! What a network does to datagrams. One [`Link`] is one direction between a client and its shard.

use core::time::Duration;

use arrayvec::ArrayVec;
use dataplane_core::time::Timestamp;

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
    /// Bits a second and the bytes that wait before datagrams are dropped.
    pub bottleneck: Option<Bottleneck>,
    /// While it is down nothing goes through.
    pub state: LinkState,
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

/// A narrow place with a queue in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// Bits a second.
    pub rate: u64,
    /// Bytes that may wait.
    pub queue: u64,
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

/// One direction.
#[derive(Debug)]
pub struct Link {
    /// How it behaves now.
    pub model: LinkModel,
    rng: Rng,
    in_burst: bool,
    free_at: Timestamp,
    last_arrival: Timestamp,
}

impl Link {
    /// An idle link.
    pub fn new(model: LinkModel, rng: Rng) -> Self {
        Self {
            model,
            rng,
            in_burst: false,
            free_at: Timestamp::default(),
            last_arrival: Timestamp::default(),
        }
    }

    /// When a datagram of `bytes` comes out: not at all, once or twice.
    pub fn send(&mut self, now: Timestamp, bytes: usize) -> ArrayVec<Timestamp, 2> {
        let mut arrivals = ArrayVec::new();
        if self.model.state == LinkState::Down || self.is_lost() {
            return arrivals;
        }
        let Some(sent) = self.through_bottleneck(now, bytes as u64) else {
            return arrivals;
        };
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
        let Some(Bottleneck { rate, queue }) = self.model.bottleneck else {
            return Some(now);
        };
        let waiting = self.free_at.since(now).as_nanos() * u128::from(rate) / 8_000_000_000;
        if waiting + u128::from(bytes) > u128::from(queue) {
            return None;
        }
        let time = Duration::from_nanos(bytes * 8_000_000_000 / rate);
        self.free_at = self.free_at.max(now) + time;
        Some(self.free_at)
    }
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
                queue: 2_000,
            }),
            ..LinkModel::default()
        });
        assert_eq!(link.send(ms(0), 1000).as_slice(), [ms(30)]);
        assert_eq!(link.send(ms(0), 1000).as_slice(), [ms(40)]);
        assert!(link.send(ms(0), 1000).is_empty());
        assert_eq!(link.send(ms(10), 1000).as_slice(), [ms(50)]);
    }
}
