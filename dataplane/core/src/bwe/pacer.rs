//! When a packet may leave, so that a key frame does not fill the queue of the path
//! (`pacing_controller.cc`). Numbers only: the owner keeps the bytes.

use std::collections::VecDeque;

use core::cmp::Ordering;
use core::time::Duration;

use super::ESTIMATE_START;
use super::units::{bytes_in, compact, compact_distance, micros, scaled, signed};
use crate::time::Timestamp;

/// Paces the video of one session. `T` is what the owner knows a packet by, such as its leg and
/// number; where one is less than another, it leaves first of those two that wait. What is not paced,
/// such as audio, only counts ([`Self::handle_unpaced`]).
#[derive(Debug)]
pub struct Pacer<T> {
    /// Bits a second.
    rate: u64,
    /// The path was found to be full lately: nothing may be ahead of the rate for long.
    congested: bool,
    /// Bytes that may be ahead of the rate.
    burst: i64,
    /// Bytes that have left and that the rate has not made up for.
    debt: i64,
    /// Microseconds.
    drained_at: i64,
    queue: VecDeque<Waiting<T>>,
    queued_bytes: u64,
}

/// What becomes of a packet that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It leaves at once, and was counted.
    SendNow,
    /// [`Pacer::poll`] will give it back.
    Queued,
    /// There is no room for it: it is to be dropped.
    Full,
}

/// A packet that has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released<T> {
    /// It leaves now, and was counted.
    Send(T),
    /// It has waited for so long that it is to be dropped.
    Expired(T),
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    bytes: u16,
    /// Microseconds.
    since: u32,
}

impl<T: PartialOrd> Pacer<T> {
    /// Nothing sent yet.
    pub fn new(now: Timestamp) -> Self {
        let mut pacer = Self {
            rate: 0,
            congested: false,
            burst: 0,
            debt: 0,
            drained_at: micros(now),
            // Most paths are never full: memory is taken when a packet waits for the first time.
            queue: VecDeque::new(),
            queued_bytes: 0,
        };
        pacer.set_estimate(now, ESTIMATE_START, false);
        pacer
    }

    /// The estimate has changed, or whether the path was found to be full lately. A path that was
    /// not takes a whole key frame at once, and nothing waits for long, however much it is: a screen
    /// that begins to move has many times the rate of one that stood still.
    pub fn set_estimate(&mut self, now: Timestamp, estimate: u64, congested: bool) {
        self.drain(micros(now));
        let (factor, burst) = if congested {
            (CONGESTED_FACTOR, CONGESTED_BURST)
        } else {
            (FREE_FACTOR, FREE_BURST)
        };
        self.congested = congested;
        self.rate = scaled(estimate, factor).max(1);
        self.burst = signed(bytes_in(self.rate, burst));
    }

    /// A packet leaves whatever the pacer thinks of it.
    pub fn handle_unpaced(&mut self, now: Timestamp, bytes: u16) {
        self.drain(micros(now));
        self.charge(bytes);
    }

    /// A packet is to leave; those that wait go first.
    pub fn admit(&mut self, now: Timestamp, bytes: u16, item: T) -> Admission {
        let now = micros(now);
        self.drain(now);
        if self.queue.is_empty() && self.debt <= self.burst {
            self.charge(bytes);
            return Admission::SendNow;
        }
        if self.queue.len() >= QUEUE_MAX {
            return Admission::Full;
        }
        self.queued_bytes += u64::from(bytes);
        let place = self.place_of(&item);
        // One that others have overtaken is as old as those.
        let behind = self.queue.get(place);
        let since = behind.map_or_else(|| compact(now), |behind| behind.since);
        self.queue.insert(place, Waiting { item, bytes, since });
        Admission::Queued
    }

    /// Where an item is to wait: before those that have overtaken it, nearly always none.
    fn place_of(&self, item: &T) -> usize {
        let mut place = self.queue.len();
        for (position, waiting) in self.queue.iter().enumerate().rev() {
            match waiting.item.partial_cmp(item) {
                Some(Ordering::Greater) => place = position,
                Some(Ordering::Less | Ordering::Equal) => break,
                None => {}
            }
        }
        place
    }

    /// A packet that was to leave, and was counted, does not.
    pub fn take_back(&mut self, bytes: u16) {
        self.debt = (self.debt - i64::from(bytes)).max(0);
    }

    /// The next packet that has waited and is to leave, or to be dropped, now. To be asked again
    /// after each.
    pub fn poll(&mut self, now: Timestamp) -> Option<Released<T>> {
        let now = micros(now);
        self.drain(now);
        let age = compact_distance(self.queue.front()?.since, compact(now));
        let is_expired = self.congested && age > AGE_MAX;
        if !is_expired && self.debt > self.burst && !self.is_overdue(age) {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        self.queued_bytes -= u64::from(waiting.bytes);
        if is_expired {
            return Some(Released::Expired(waiting.item));
        }
        self.charge(waiting.bytes);
        Some(Released::Send(waiting.item))
    }

    /// When [`Self::poll`] gives the next packet; none if none waits.
    pub fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let front = self.queue.front()?;
        let excess = u64::try_from(self.debt - self.burst).unwrap_or_default();
        let wait = excess.saturating_mul(8_000_000).div_ceil(self.rate);
        let age = compact_distance(front.since, compact(micros(now)));
        let wait = if self.is_overdue(age) {
            0
        } else if self.congested {
            wait
        } else {
            wait.min(u64::try_from(FREE_AGE_MAX - age).unwrap_or_default())
        };
        Some(now + Duration::from_micros(wait))
    }

    /// Whether the first that waits leaves whatever is ahead of the rate: on a path that was not full
    /// lately, where nothing speaks against it.
    fn is_overdue(&self, age: i32) -> bool {
        !self.congested && (age >= FREE_AGE_MAX || self.queue.len() > FREE_QUEUE)
    }

    /// Drops those that wait and that are not to be sent any more, such as what is left of a layer
    /// that a leg has come down from. Returns how many that were; nobody hears of them again.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> usize {
        let before = self.queue.len();
        self.queue.retain(|waiting| {
            let keeps = is_wanted(&waiting.item);
            if !keeps {
                self.queued_bytes -= u64::from(waiting.bytes);
            }
            keeps
        });
        before - self.queue.len()
    }

    /// What waits, in the order in which it will leave.
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().map(|waiting| &waiting.item)
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    fn charge(&mut self, bytes: u16) {
        self.debt += i64::from(bytes);
    }

    fn drain(&mut self, now: i64) {
        let elapsed = now - self.drained_at;
        if elapsed <= 0 {
            return;
        }
        // So short a time drains no whole byte at a low rate; it is not lost.
        let drained = signed(bytes_in(self.rate, elapsed.min(DEBT_MAX)));
        if drained == 0 {
            return;
        }
        self.drained_at = now;
        let most = signed(bytes_in(self.rate, DEBT_MAX));
        self.debt = (self.debt.min(most) - drained).max(0);
    }
}

/// On a path that was full lately, or that may soon be: a little more than the estimate, and 10 ms at
/// once, in microseconds. `kStrictPacingMultiplier` is 1.1, since an encoder sends all that it may;
/// layers leave some room. `burst_interval` is 40 ms, which is as long a queue in front of a link
/// that is no faster.
const CONGESTED_FACTOR: f64 = 1.05;
const CONGESTED_BURST: i64 = 10_000;

/// On any other (`kDefaultPaceMultiplier` before feedback).
const FREE_FACTOR: f64 = 2.5;
const FREE_BURST: i64 = 250_000;

/// Debt is forgiven beyond what this time drains (`kMaxDebtInTime`), microseconds.
const DEBT_MAX: i64 = 500_000;

/// Nothing waits longer on a path that was not full, microseconds. libwebrtc sends faster, too, so
/// that nothing waits for more than 2 s (`queue_time_limit`).
const FREE_AGE_MAX: i32 = 100_000;

/// On one that was, older packets are dropped, microseconds: to send faster would be a burst into a
/// queue that is full.
const AGE_MAX: i32 = 500_000;

/// Packets that wait at most: those of two thousand a second until they are too old. Those of layers
/// inside of a stream that a leg does not get are among them, since their numbers are left out when their
/// turn comes.
const QUEUE_MAX: usize = 1024;

/// On a path that was not full more than these, two large key frames, leave in the next turn.
const FREE_QUEUE: usize = 256;

#[cfg(test)]
mod tests;
