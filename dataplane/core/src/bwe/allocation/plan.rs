//! What each leg would get of a budget if nothing had to be waited for.

use core::cmp::Reverse;

use arrayvec::ArrayVec;
use shared::limits::SUBSCRIPTIONS_PER_SESSION_MAX;

use super::{LAYERS_PER_LEG_MAX, LOWEST_PERCENT, Share, place};

/// A layer, or none, for each leg.
pub(super) type Plan = ArrayVec<Option<u8>, SUBSCRIPTIONS_PER_SESSION_MAX>;

/// Places of legs in the order in which they are served; audio is not among them.
pub(super) type Order = ArrayVec<u16, SUBSCRIPTIONS_PER_SESSION_MAX>;

/// Screens before cameras, then by priority, then as they came.
pub(super) fn order(shares: &[Share]) -> Order {
    let mut order: Order = (0..)
        .zip(shares)
        .filter(|(_, share)| share.is_video())
        .map(|(index, _)| index)
        .collect();
    order.sort_unstable_by_key(|index| {
        let share = shares.get(usize::from(*index));
        (share.map(class), *index)
    });
    order
}

/// Bits a second that all video may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// With the lowest layer of a leg as the last one that is granted.
    pub(super) lowest: u64,
    /// With a better one; not more.
    pub(super) better: u64,
}

impl Room {
    /// What is there for a layer, which may be the lowest of its leg.
    pub(super) fn of(self, is_lowest: bool) -> u64 {
        if is_lowest { self.lowest } else { self.better }
    }
}

impl From<u64> for Room {
    fn from(room: u64) -> Self {
        Self {
            lowest: room,
            better: room,
        }
    }
}

/// Shares out what there is room for.
pub(super) fn plan(room: Room, order: &Order, shares: &[Share]) -> Plan {
    let mut planner = Planner {
        room,
        taken: 0,
        shares,
        plan: shares.iter().map(|_| None).collect(),
    };
    // Nobody is paused so that another one gets better.
    for index in order {
        planner.step(*index);
    }
    let class_of = |index: u16| shares.get(usize::from(index)).map(class);
    for equals in order.chunk_by(|a, b| class_of(*a) == class_of(*b)) {
        // Those that lack most first: each round, those that lack as much take one step.
        for lacking in (1..=LAYERS_PER_LEG_MAX).rev() {
            for index in equals {
                if planner.lacks(*index) == lacking {
                    planner.step(*index);
                }
            }
        }
    }
    planner.plan
}

type Class = (super::LegKind, Reverse<u8>);

fn class(share: &Share) -> Class {
    (share.wish.kind, Reverse(share.wish.priority))
}

struct Planner<'a> {
    room: Room,
    taken: u64,
    shares: &'a [Share],
    plan: Plan,
}

impl Planner<'_> {
    /// Layers between what a leg that gets something has and what it wants.
    fn lacks(&self, index: u16) -> usize {
        let index = usize::from(index);
        let (Some(share), Some(Some(layer))) = (self.shares.get(index), self.plan.get(index))
        else {
            return 0;
        };
        let better = share.wish.layers.iter().skip(usize::from(*layer) + 1);
        better.filter(|rate| **rate > 0).count()
    }

    /// Takes the leg to its next better layer, if that fits.
    fn step(&mut self, index: u16) {
        let index = usize::from(index);
        let (Some(share), Some(layer)) = (self.shares.get(index), self.plan.get_mut(index)) else {
            return;
        };
        let from = layer.map_or(0, |layer| usize::from(layer) + 1);
        let mut better = share.wish.layers.iter().enumerate().skip(from);
        let Some((next, rate)) = better.find(|(_, rate)| **rate > 0) else {
            return;
        };
        let cost = rate.saturating_sub(share.rate_of(*layer));
        // What it has already at its lowest it keeps, if most of it fits.
        let keeps = layer.is_none() && share.grant().layer.is_some();
        let fits = if keeps {
            cost / 100 * LOWEST_PERCENT
        } else {
            cost
        };
        if self.taken + fits <= self.room.of(layer.is_none()) {
            self.taken += cost;
            *layer = place(next);
        }
    }
}
