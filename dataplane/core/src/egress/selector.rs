//! Which layer of a publication a leg should get.

use core::cmp::Reverse;
use core::time::Duration;

use shared::protocol::{LayerSelection, Ordering, Rid};

use crate::time::Timestamp;

/// What a layer is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerState {
    /// Of the encoding, in simulcast.
    pub(crate) rid: Option<Rid>,
    /// Whether a packet came lately.
    pub(crate) receiving: bool,
    /// Bits a second, lately.
    pub(crate) bit_rate: u64,
}

/// Chooses a layer by the rules of the API's `simulcast` object.
///
/// * With a preferred rid: that one. If it is not received and `ridNotAvailable` is
///   `asciibetical`: the next one that is, in the order of the rids from a to z (a is the best);
///   if there is none behind it, the nearest one before it. It is gone back to as soon as it is
///   received again.
/// * Without one, or if the publication has no such rid: the best layer that is received, which is
///   the one with the highest bit rate. Since rates vary, another one must be ahead by a quarter,
///   and the choice is kept for [`CHOICE_KEPT`], as long as its layer is received.
///
/// A ceiling on the bit rate takes the layers above it away, down to the smallest, except where
/// `priorityOrdering` is `none` and there is a preferred rid.
#[derive(Debug)]
pub(crate) struct Selector {
    selection: LayerSelection,
    limit: Option<u64>,
    target: Option<u8>,
    chosen_at: Timestamp,
}

impl Selector {
    /// Nothing chosen yet.
    pub(crate) fn new(selection: LayerSelection) -> Self {
        Self {
            selection,
            limit: None,
            target: None,
            chosen_at: Timestamp::default(),
        }
    }

    /// The layer that is wanted.
    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    /// Other wishes from now on; the next [`Self::select`] obeys them at once.
    pub(crate) fn set_selection(&mut self, selection: LayerSelection) {
        self.selection = selection;
        self.chosen_at = Timestamp::default();
    }

    /// Another publication: what was chosen means nothing any more.
    pub(crate) fn forget_target(&mut self) {
        self.target = None;
        self.chosen_at = Timestamp::default();
    }

    /// The seam for bandwidth: layers of more bits a second than this are not to be chosen.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the bandwidth estimator will set it")
    )]
    pub(crate) fn set_limit(&mut self, bits_per_second: Option<u64>) {
        self.limit = bits_per_second;
    }

    /// Chooses anew. The layers are those of the publication, in its order.
    pub(crate) fn select(&mut self, now: Timestamp, layers: &[LayerState]) {
        let preferred = self.selection.preferred_rid.and_then(|rid| {
            let mut layers = (0..).zip(layers);
            layers
                .find(|(_, layer)| layer.rid == Some(rid))
                .map(|(index, layer)| (index, *layer))
        });
        let choice = match preferred {
            Some((index, preferred)) => Some(self.by_rid(layers, index, &preferred)),
            None => self.by_rate(now, layers),
        };
        if choice != self.target {
            self.target = choice;
            self.chosen_at = now;
        }
    }

    fn by_rid(&self, layers: &[LayerState], index: u8, preferred: &LayerState) -> u8 {
        let too_large = self.selection.priority_ordering == Ordering::Asciibetical
            && self.exceeds_limit(preferred);
        let absent =
            self.selection.rid_not_available == Ordering::Asciibetical && !preferred.receiving;
        if !too_large && !absent {
            return index;
        }
        let limited = self.selection.priority_ordering == Ordering::Asciibetical;
        let fits = |layer: &LayerState| {
            layer.receiving && layer.rid.is_some() && !(limited && self.exceeds_limit(layer))
        };
        let others = (0..).zip(layers).filter(|(_, layer)| fits(layer));
        let behind = others
            .clone()
            .filter(|(_, layer)| layer.rid > preferred.rid);
        let before = others.filter(|(_, layer)| layer.rid < preferred.rid);
        let next = behind.min_by_key(|(_, layer)| layer.rid);
        let next = next.or_else(|| before.max_by_key(|(_, layer)| layer.rid));
        next.map_or(index, |(other, _)| other)
    }

    fn by_rate(&self, now: Timestamp, layers: &[LayerState]) -> Option<u8> {
        let received = (0..).zip(layers).filter(|(_, layer)| layer.receiving);
        let fitting = received
            .clone()
            .filter(|(_, layer)| !self.exceeds_limit(layer));
        // Of equally large ones the first, so that the choice does not move to and fro.
        let best = fitting.max_by_key(|(index, layer)| (layer.bit_rate, Reverse(*index)));
        let best = best.or_else(|| received.min_by_key(|(_, layer)| layer.bit_rate));
        let Some((best, best_state)) = best else {
            // Nothing is received: what was chosen, or the first, may come back.
            return self.target.or_else(|| (!layers.is_empty()).then_some(0));
        };
        let present = self
            .target
            .and_then(|target| layers.get(usize::from(target)));
        let keeps = present.is_some_and(|present| {
            let settled = now.since(self.chosen_at) < CHOICE_KEPT
                || best_state.bit_rate < present.bit_rate.saturating_mul(5) / 4;
            present.receiving && !self.exceeds_limit(present) && settled
        });
        if keeps { self.target } else { Some(best) }
    }

    fn exceeds_limit(&self, layer: &LayerState) -> bool {
        self.limit.is_some_and(|limit| layer.bit_rate > limit)
    }
}

/// How long the best layer by bit rate is kept.
pub(crate) const CHOICE_KEPT: Duration = Duration::from_secs(2);
