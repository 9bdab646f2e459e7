//! One leg in the allocation: what it wants, what it gets, and how soon it may get more.

use core::time::Duration;

use super::plan::Room;
use super::{Grant, LOWEST_PERCENT, LegKind, Reason, Wish};
use crate::time::Timestamp;

/// A leg in the allocation: what it wants, what it gets, and what became of it lately.
#[derive(Clone, Debug)]
pub struct Share {
    pub(super) wish: Wish,
    pub(super) grant: Grant,
    /// It has not taken part in an allocation yet, or not with its present priority, or had no layers
    /// to get.
    pub(super) is_new: bool,
    /// Since when a better layer fits with room.
    pub(super) fits_since: Option<Timestamp>,
    /// Since when all video together is a little more than the estimate.
    pub(super) over_since: Option<Timestamp>,
    lowered_at: Option<Timestamp>,
    /// Until when it does not come up.
    held_until: Timestamp,
    hold: Duration,
    /// What all video might take when it came up last, bits a second.
    raised_with: u64,
    /// How often it came down again soon after it had come up.
    falls: u32,
    /// When a fall was not counted, since the path had become another.
    spared_at: Option<Timestamp>,
}

impl Share {
    /// A leg that gets nothing yet.
    pub fn new(wish: Wish) -> Self {
        Self {
            wish,
            grant: Grant {
                layer: None,
                reason: Reason::Bandwidth,
            },
            is_new: true,
            fits_since: None,
            over_since: None,
            lowered_at: None,
            held_until: Timestamp::default(),
            hold: Duration::ZERO,
            raised_with: u64::MAX,
            falls: 0,
            spared_at: None,
        }
    }

    /// What the leg gets since the last [`allocate`](super::allocate).
    pub fn grant(&self) -> Grant {
        self.grant
    }

    /// What it wants.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Changes what it wants, or how large its layers are; the next [`allocate`](super::allocate) sees to it.
    pub fn set_wish(&mut self, wish: Wish) {
        let asks_for_more = wish.layers.len() > self.wish.layers.len();
        // Another order of service holds at once, also for those who have something already.
        let is_reordered = (wish.kind, wish.priority) != (self.wish.kind, self.wish.priority);
        if asks_for_more || is_reordered {
            self.is_new |= is_reordered || self.grant.layer.is_none();
            // They wait for nothing.
            self.fits_since = None;
            self.held_until = Timestamp::default();
        }
        self.wish = wish;
    }

    /// Whether what it had was taken from it, and it got nothing since.
    pub fn is_paused(&self) -> bool {
        self.grant.layer.is_none() && self.lowered_at.is_some()
    }

    /// What it gets has another place in [`Wish::layers`] from now on.
    pub fn set_place(&mut self, place: Option<u8>) {
        self.grant.layer = place;
    }

    /// Bits a second of what it gets.
    pub fn bit_rate(&self) -> u64 {
        self.rate_of(self.grant.layer)
    }

    /// Bits a second that must fit for it to keep what it gets.
    pub(super) fn needed(&self) -> u64 {
        if !self.is_video() {
            return 0;
        }
        if self.is_lowest(self.grant.layer) {
            self.bit_rate() / 100 * LOWEST_PERCENT
        } else {
            self.bit_rate()
        }
    }

    /// Whether there is nothing lower to get.
    pub(super) fn is_lowest(&self, layer: Option<u8>) -> bool {
        let mut rates = self.wish.layers.iter();
        let lowest = rates.position(|rate| *rate > 0);
        lowest == layer.map(usize::from)
    }

    pub(super) fn rate_of(&self, layer: Option<u8>) -> u64 {
        let layer = layer.and_then(|layer| self.wish.layers.get(usize::from(layer)));
        layer.copied().unwrap_or_default()
    }

    pub(super) fn is_video(&self) -> bool {
        self.wish.kind != LegKind::Always
    }

    /// Whether the publisher sends none of its layers; when it does again, that is nothing to wait
    /// for.
    pub(super) fn is_silent(&self) -> bool {
        self.wish.layers.iter().all(|rate| *rate == 0)
    }

    /// The layer that it gets, or the nearest one below it that it can still have.
    pub(super) fn present(&self) -> Option<u8> {
        let granted = self.grant.layer?;
        (0..=granted)
            .rev()
            .find(|layer| self.rate_of(Some(*layer)) > 0)
    }

    /// Goes down, since all video may take no more than `room`.
    pub(super) fn lower(&mut self, now: Timestamp, layer: Option<u8>, room: u64) {
        let calm_for = self.lowered_at.map(|lowered| now.since(lowered));
        // A fall by several layers is one.
        if calm_for.is_none_or(|calm| calm > FALL) {
            let again = calm_for.is_some_and(|calm| calm < self.hold + REPEAT_WITHIN);
            if !again {
                self.falls = 0;
            } else if !self.spare(now, room) {
                self.falls = self.falls.saturating_add(1);
            }
        }
        let (base, most) = match layer {
            Some(_) => (LAYER_HOLD, LAYER_HOLD_MAX),
            None => (PAUSE_HOLD, PAUSE_HOLD_MAX),
        };
        self.hold = base
            .saturating_mul(1 << self.falls.min(DOUBLINGS_MAX))
            .min(most);
        self.lowered_at = Some(now);
        self.held_until = now + self.hold;
        self.fits_since = None;
        self.over_since = None;
        self.grant.layer = layer;
    }

    /// Does not hold a fall to `room` against the layer that did not fit, if the path has become far
    /// narrower: that says nothing of what it carried before. One that does so time and again is no other
    /// path. Returns whether it does not.
    fn spare(&mut self, now: Timestamp, room: u64) -> bool {
        let is_another_path = room.saturating_mul(NARROWER_FACTOR) < self.raised_with;
        let is_first = self
            .spared_at
            .is_none_or(|spared| now.since(spared) >= LAYER_HOLD_MAX);
        let is_spared = is_another_path && is_first;
        if is_spared {
            self.spared_at = Some(now);
        }
        is_spared
    }

    /// Goes up to the best layer up to `wanted` for which it is time. All video may take `roomy`,
    /// of which the others take `others`.
    pub(super) fn raise(&mut self, now: Timestamp, wanted: u8, roomy: Room, others: u64) {
        let since = *self.fits_since.get_or_insert(now);
        if now.since(since) < RAISE_AFTER && !self.is_new {
            return;
        }
        let is_another_path = roomy.lowest / OTHER_FACTOR >= self.raised_with;
        let next = self.grant.layer.map_or(0, |layer| layer + 1);
        let lowest = self.wish.layers.iter().position(|rate| *rate > 0);
        let better = (next..=wanted).rev().find(|layer| {
            let rate = self.rate_of(Some(*layer));
            let all = others + rate;
            let roomy = roomy.of(lowest == Some(usize::from(*layer)));
            let is_clear = self.falls == 0 && all.saturating_mul(CLEAR_PERCENT) / 100 <= roomy;
            let is_time = self.is_new || is_clear || is_another_path || now >= self.held_until;
            rate > 0 && all <= roomy && is_time
        });
        if better.is_some() {
            self.grant.layer = better;
            self.fits_since = None;
            self.raised_with = roomy.lowest;
        }
    }

    pub(super) fn explain(&mut self) {
        let best = self.wish.layers.iter().rposition(|rate| *rate > 0);
        let granted = self.grant.layer.map(usize::from);
        let is_whole = best.is_some_and(|best| best + 1 == self.wish.layers.len());
        self.grant.reason = if best.is_none() {
            Reason::PublisherNotSending
        } else if granted.is_none() {
            Reason::Paused
        } else if granted < best {
            Reason::Bandwidth
        } else if !is_whole {
            Reason::PublisherNotSending
        } else if self.wish.asked_for_less {
            Reason::Asked
        } else {
            Reason::Best
        };
    }
}

/// A better layer must have fit for so long.
const RAISE_AFTER: Duration = Duration::from_secs(1);

/// A layer that fits with so much room is not what the leg came down from, at its first fall.
const CLEAR_PERCENT: u64 = 150;

/// A path that carries so many times what it seemed to carry when the leg came up in vain has become
/// another: nothing is known against it.
const OTHER_FACTOR: u64 = 2;

/// And one that carries so small a part of that has become another, too: a probe that was believed though
/// it should not have been is not so far off.
const NARROWER_FACTOR: u64 = 3;

/// How long a leg stays down; twice as long if it comes down again soon after.
const LAYER_HOLD: Duration = Duration::from_secs(10);
const LAYER_HOLD_MAX: Duration = Duration::from_secs(60);
const REPEAT_WITHIN: Duration = Duration::from_secs(30);

/// How long it stays paused: not so long, since any picture is better than none.
const PAUSE_HOLD: Duration = Duration::from_secs(3);
const PAUSE_HOLD_MAX: Duration = Duration::from_secs(12);

const DOUBLINGS_MAX: u32 = 5;

/// Steps down within this time are one fall.
const FALL: Duration = Duration::from_secs(3);
