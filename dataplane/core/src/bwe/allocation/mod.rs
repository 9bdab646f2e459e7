//! Shares an estimate out over the legs of a session: which layer each of them gets, and why not a
//! better one.
//!
//! Audio comes first and is never refused. Then every leg gets its lowest layer, screens before
//! cameras and each by priority; those whose lowest layer does not fit are paused. What is left
//! goes up the same order, and among equals to the one that is furthest from what it wants.
//!
//! Down is at once, up takes its time: a better layer must fit for a while, with some room and beside
//! the repeats of what is lost, and a leg that had to go down does not come up soon. And the lowest
//! layer that a leg has is not taken from it as soon as the estimate is below: an estimate may be too
//! low, and where there is nothing lower to go to, a picture is lost for certain to save one that
//! might be.

mod plan;
mod share;
#[cfg(test)]
mod tests;

use core::time::Duration;

use arrayvec::ArrayVec;
use shared::limits::SUBSCRIPTIONS_PER_SESSION_MAX;

use self::plan::{Order, Plan, Room, plan};
pub use self::share::Share;
use super::units::scaled;
use crate::time::Timestamp;

/// What a leg wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What it carries.
    pub kind: LegKind,
    /// Among legs of one kind, higher is served first.
    pub priority: u8,
    /// Bits a second of the layers that it may get, from the lowest to the best that the subscriber
    /// wants, ascending; zero for one that is not received from the publisher now. A layer keeps
    /// its place whether it is received or not.
    pub layers: ArrayVec<u64, LAYERS_PER_LEG_MAX>,
    /// The publication has better layers, but the subscriber asked for no more than these.
    pub asked_for_less: bool,
}

/// What a leg carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegKind {
    /// Served always, and before all others: audio, and video that keeps to one layer whatever the
    /// bandwidth.
    Always,
    /// Served before cameras.
    Screen,
    /// Served last.
    Camera,
}

/// What a leg gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// A place in [`Wish::layers`]; none if nothing is to be sent.
    pub layer: Option<u8>,
    /// Why it is not more.
    pub reason: Reason,
}

/// Why a leg does not get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no more.
    Best,
    /// The subscriber asked for no more.
    Asked,
    /// It gets a picture, and a better one does not fit.
    Bandwidth,
    /// The publisher does not send more.
    PublisherNotSending,
    /// Not even the lowest layer fits: nothing is sent until it does.
    Paused,
}

/// What there is to share out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Bits a second that the path carries.
    pub estimate: u64,
    /// The part of them that is lost on the way, and sent again.
    pub loss: f64,
}

impl From<u64> for Budget {
    /// Of a path that loses nothing.
    fn from(estimate: u64) -> Self {
        Self {
            estimate,
            loss: 0.0,
        }
    }
}

/// Shares the budget out. Legs beyond [`SUBSCRIPTIONS_PER_SESSION_MAX`] are left as
/// they are. To be called when the estimate, a wish or a layer's rate has changed, and at least
/// once a second, since some changes wait for their time.
pub fn allocate(now: Timestamp, budget: impl Into<Budget>, shares: &mut [Share]) {
    let Budget { estimate, loss } = budget.into();
    let shares = match shares.split_at_mut_checked(SUBSCRIPTIONS_PER_SESSION_MAX) {
        Some((shares, _)) => shares,
        None => shares,
    };
    for share in shares.iter_mut() {
        share.grant.layer = share.present();
        if !share.is_video() {
            share.grant.layer = share
                .wish
                .layers
                .iter()
                .rposition(|rate| *rate > 0)
                .and_then(place);
        }
    }
    let order = plan::order(shares);
    let hard = estimate.saturating_sub(audio(shares, 0));
    let soft = estimate / 100 * (100 - RESERVE_PERCENT);
    let soft = soft.saturating_sub(audio(shares, AUDIO_FLOOR));
    let roomy = soft / (100 + HEADROOM_PERCENT) * 100;
    // Repeats leave beside what they repeat. Nobody goes down for that alone, since a picture that plays
    // has shown that there is room for both, and nobody is refused one.
    let roomy = Room {
        lowest: roomy,
        better: scaled(roomy, 1.0 - loss.clamp(0.0, LOSS_MAX)),
    };
    admit_new(now, roomy, &order, shares);
    if must_shrink(now, hard, shares) {
        let wanted = plan(Room::from(soft), &order, shares);
        lower_to(now, &wanted, hard, shares);
    }
    let wanted = plan(roomy, &order, shares);
    raise_to(now, roomy, &wanted, &order, shares);
    for share in shares {
        share.is_new = share.is_silent();
        share.explain();
    }
}

/// Bits a second that all legs together would be sent if everything fit, and none if nothing is
/// held back by bandwidth: what an estimator is to look for.
pub fn demand(shares: &[Share]) -> u64 {
    let is_held_back =
        |share: &Share| matches!(share.grant.reason, Reason::Bandwidth | Reason::Paused);
    if !shares.iter().any(is_held_back) {
        return 0;
    }
    let best = |share: &Share| share.wish.layers.iter().max().copied().unwrap_or_default();
    let all: u64 = shares.iter().map(best).sum();
    all.saturating_mul(DEMAND_PERCENT) / 100
}

/// Bits a second of all that is granted.
pub fn granted(shares: &[Share]) -> u64 {
    shares.iter().map(Share::bit_rate).sum()
}

/// Whether the video does not fit any more. An estimate that over-use has lowered is less than what
/// the path carries, so that its queue drains; a little above it does no harm for a while.
fn must_shrink(now: Timestamp, hard: u64, shares: &mut [Share]) -> bool {
    let video: u64 = shares.iter().map(Share::needed).sum();
    let mut longest = Duration::ZERO;
    for share in shares.iter_mut() {
        let is_over = video > hard && share.is_video() && share.grant.layer.is_some();
        share.over_since = is_over.then(|| share.over_since.unwrap_or(now));
        longest = share
            .over_since
            .map_or(longest, |since| longest.max(now.since(since)));
    }
    video > hard && (longest >= OVERSHOOT_FOR || video / (100 + OVERSHOOT_PERCENT) * 100 > hard)
}

/// Legs that come in, or come up in the order of service, are served at once: others go down for them
/// if the order says so. Nobody does for one that there is nothing of yet.
fn admit_new(now: Timestamp, roomy: Room, order: &Order, shares: &mut [Share]) {
    let comes_in = |share: &Share| share.is_new && share.is_video() && !share.is_silent();
    if !shares.iter().any(comes_in) {
        return;
    }
    let wanted = plan(roomy, order, shares);
    lower_to(now, &wanted, roomy.lowest, shares);
}

fn lower_to(now: Timestamp, wanted: &Plan, room: u64, shares: &mut [Share]) {
    for (share, layer) in shares.iter_mut().zip(wanted) {
        if share.is_video() && *layer < share.grant.layer {
            share.lower(now, *layer, room);
        }
    }
}

/// In the order of service, as long as it fits.
fn raise_to(now: Timestamp, roomy: Room, wanted: &Plan, order: &Order, shares: &mut [Share]) {
    let mut used = video(shares);
    for index in order {
        let index = usize::from(*index);
        let (Some(share), Some(layer)) = (shares.get_mut(index), wanted.get(index)) else {
            continue;
        };
        match layer {
            Some(better) if *layer > share.grant.layer => {
                let others = used - share.bit_rate();
                share.raise(now, *better, roomy, others);
                used = others + share.bit_rate();
            }
            _ => share.fits_since = None,
        }
    }
}

/// Bits a second of all audio; each leg counts for at least `floor`.
fn audio(shares: &[Share], floor: u64) -> u64 {
    let audio = shares.iter().filter(|share| !share.is_video());
    let granted = audio.filter(|share| share.grant.layer.is_some());
    granted.map(|share| share.bit_rate().max(floor)).sum()
}

fn video(shares: &[Share]) -> u64 {
    let video = shares.iter().filter(|share| share.is_video());
    video.map(Share::bit_rate).sum()
}

fn place(index: usize) -> Option<u8> {
    u8::try_from(index).ok()
}

/// Layers of one leg: four encodings of four temporal layers, or as many of SVC.
pub const LAYERS_PER_LEG_MAX: usize = 16;

/// Of the estimate, kept for retransmissions and for layers that vary.
const RESERVE_PERCENT: u64 = 3;

/// An estimate of this part of the best layers' rates grants them all: with the headroom, the
/// reserve, and something for rates that vary from second to second.
const DEMAND_PERCENT: u64 = 130;
const _: () = assert!(DEMAND_PERCENT * (100 - RESERVE_PERCENT) > 100 * (100 + HEADROOM_PERCENT));

/// What is granted may exceed the estimate by so much (`kDefaultBackoffFactor` is 0.85), and for so
/// long.
const OVERSHOOT_PERCENT: u64 = 12;
const OVERSHOOT_FOR: Duration = Duration::from_secs(2);

/// A leg keeps its lowest layer as long as so much of it fits.
const LOWEST_PERCENT: u64 = 60;

/// A better layer must fit with so much room.
const HEADROOM_PERCENT: u64 = 6;

/// More loss than that is taken for a passing one, or not answered with repeats.
const LOSS_MAX: f64 = 0.2;

/// Bits a second kept for an audio leg, which may have been silent when it was measured.
const AUDIO_FLOOR: u64 = 32_000;
