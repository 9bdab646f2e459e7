//! The legs that share the path to one client: what each wants and gets of it, and of which of them
//! nothing leaves while it drains.

use core::time::Duration;

use crate::bwe::allocation::{self, Budget, Share};
use crate::egress::{Ladder, Step};
use crate::shard::LegKey;
use crate::time::Timestamp;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Legs {
    pub(super) states: Vec<LegState>,
    /// In the order of `states`.
    pub(super) shares: Vec<Share>,
    sums: Sums,
    /// Some leg is held. Most of the time none is, and the legs need not be looked at.
    holds: bool,
}

/// A leg in the allocation.
#[derive(Debug)]
pub(crate) struct LegState {
    pub(crate) leg: LegKey,
    /// The layers that the share's places stand for; empty for one that keeps to its layer.
    pub(crate) ladder: Ladder,
    unseen: Option<UnseenCut>,
    /// When what had been lost of it was given up.
    gave_up_at: Option<Timestamp>,
    held: Option<Held>,
}

/// A cut of a stream that has not shown for a while: on a screen on which nothing moves, all that is left
/// of it is its lowest layer.
#[derive(Clone, Copy, Debug)]
struct UnseenCut {
    cut: Step,
    /// What the leg gets in its place.
    given: Step,
}

/// A leg of which nothing leaves while the path drains.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// At most.
    until: Timestamp,
    /// What left before. The key frame of a lower one is small enough to leave at once.
    layer: Option<u8>,
}

/// What the shares come to, in bits a second. It is asked for with every feedback, while the shares
/// themselves seldom change and are large.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) granted: u64,
    /// All legs at their lowest, those left out that have been paused.
    pub(super) lowest: u64,
}

impl Legs {
    /// A leg begins, or wants something else from now on.
    pub(super) fn add(&mut self, leg: LegKey, share: Share) {
        self.remove(leg);
        self.states.push(LegState {
            leg,
            ladder: Ladder::default(),
            unseen: None,
            gave_up_at: None,
            held: None,
        });
        self.shares.push(share);
    }

    /// A leg ends.
    pub(super) fn remove(&mut self, leg: LegKey) {
        if let Some(place) = self.states.iter().position(|state| state.leg == leg) {
            self.states.remove(place);
            self.shares.remove(place);
            self.sum_up();
        }
    }

    /// Every leg with its share.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&mut LegState, &mut Share)> {
        self.states.iter_mut().zip(&mut self.shares)
    }

    /// What the shares come to, as of the last [`Self::sum_up`] or [`Self::allocate`].
    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// Takes note of the wishes that stand in the shares.
    pub(super) fn sum_up(&mut self) {
        self.sums = Sums::of(&self.shares);
    }

    /// Shares out so many bits a second, by the wishes that stand in the shares.
    pub(super) fn allocate(&mut self, now: Timestamp, budget: Budget) {
        allocation::allocate(now, budget, &mut self.shares);
        self.sum_up();
    }

    /// Bits a second that the legs would get at best.
    pub(super) fn demand(&self) -> u64 {
        allocation::demand(&self.shares)
    }

    /// Gives up what was lost of a leg, and holds it, if a packet that its decoder waits for was refused
    /// `times`, when there is no hope from `hopeless` times on. Returns whether it did. `layer` is what
    /// leaves of it.
    pub(super) fn give_up_if_hopeless(
        &mut self,
        now: Timestamp,
        (leg, layer): (LegKey, Option<u8>),
        times: u8,
        hopeless: u8,
    ) -> bool {
        let Some(state) = self.states.iter_mut().find(|state| state.leg == leg) else {
            return false;
        };
        let is_soon = |at| now.since(at) < GIVE_UP_INTERVAL;
        if times < hopeless || state.gave_up_at.is_some_and(is_soon) {
            return false;
        }
        state.gave_up_at = Some(now);
        self.holds = true;
        state.held = Some(Held {
            until: now + DRAIN_MAX,
            layer,
        });
        true
    }

    /// Whether any leg is held.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Whether a leg that is held may go on.
    pub(super) fn may_go_on(&self, now: Timestamp, is_flooded: bool) -> bool {
        let mut states = self.states.iter();
        states.any(|state| state.may_go_on(now, is_flooded))
    }

    /// Lets those go on that may.
    pub(super) fn let_go(&mut self, now: Timestamp, is_flooded: bool) {
        for state in &mut self.states {
            if state.may_go_on(now, is_flooded) {
                state.held = None;
            }
        }
        self.holds = self.states.iter().any(|state| state.held.is_some());
    }
}

impl LegState {
    /// Where what the leg was given stands in its ladder, which is another one now. A cut that does not
    /// show is still its place once it does: the whole stream may be far more by then.
    pub(crate) fn place(&mut self, granted: Step) -> Option<u8> {
        let step = match self.unseen {
            Some(unseen) if unseen.given == granted => unseen.cut,
            _ => granted,
        };
        let place = self.ladder.place(step)?;
        let given = self.ladder.steps.get(usize::from(place)).copied();
        self.unseen = given
            .filter(|given| step.is_cut() && *given != step)
            .map(|given| UnseenCut { cut: step, given });
        Some(place)
    }

    /// Whether nothing of this layer leaves yet.
    pub(crate) fn is_held(&self, layer: u8) -> bool {
        self.held.is_some_and(|held| held.layer == Some(layer))
    }

    pub(super) fn may_go_on(&self, now: Timestamp, is_flooded: bool) -> bool {
        self.held
            .is_some_and(|held| !is_flooded || now >= held.until)
    }
}

impl Sums {
    fn of(shares: &[Share]) -> Self {
        let lowest = |share: &Share| {
            let rates = share.wish().layers.iter();
            rates.copied().find(|rate| *rate > 0).unwrap_or_default()
        };
        let playing = shares.iter().filter(|share| !share.is_paused());
        Self {
            granted: allocation::granted(shares),
            lowest: playing.map(lowest).sum(),
        }
    }
}

/// A queue that is still deep after this is not ours.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// Between two key frames for which what was lost is given up: each is paid for by all who watch.
const GIVE_UP_INTERVAL: Duration = Duration::from_secs(1);
