//! Which layer of a publication a leg should get.

use core::cmp::Reverse;
use core::time::Duration;

use shared::protocol::{LayerSelection, Ordering, Rid};

use crate::ingress::sub_layers::heights::PictureHeights;
use crate::time::Timestamp;

/// What a layer is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LayerState {
    /// Of the encoding, in simulcast.
    pub(crate) rid: Option<Rid>,
    /// Whether a packet came lately.
    pub(crate) receiving: bool,
    /// Bits a second, lately.
    pub(crate) bit_rate: u64,
    /// As far as they are known.
    pub(crate) heights: PictureHeights,
    /// The subscriber has no use for it: see [`crate::egress::height_limit`].
    pub(crate) is_too_high: bool,
    /// Nor for what is inside of it above this spatial layer, if one is given.
    pub(crate) spatial_max: Option<u8>,
}

impl LayerState {
    /// It is received, and of use.
    fn is_usable(&self) -> bool {
        self.receiving && !self.is_too_high
    }

    /// The subscriber has no use for it, or not for all that is inside of it.
    pub(super) fn is_cut(&self) -> bool {
        self.is_too_high || self.spatial_max.is_some()
    }
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
/// * A layer that is too high for the subscriber counts as one that the publication does not have.
///
/// What of this the path has room for is not asked here: [`crate::egress::ladder`].
#[derive(Debug)]
pub(crate) struct Selector {
    selection: LayerSelection,
    target: Option<u8>,
    chosen_at: Timestamp,
}

impl Selector {
    /// Nothing chosen yet.
    pub(crate) fn new(selection: LayerSelection) -> Self {
        Self {
            selection,
            target: None,
            chosen_at: Timestamp::default(),
        }
    }

    /// What the subscriber asked for.
    pub(crate) fn selection(&self) -> &LayerSelection {
        &self.selection
    }

    /// The layer that is wanted.
    pub(crate) fn target(&self) -> Option<u8> {
        self.target
    }

    /// The rid that the subscriber prefers.
    pub(crate) fn preferred_rid(&self) -> Option<Rid> {
        self.selection.preferred_rid
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

    /// Chooses anew. The layers are those of the publication, in its order.
    pub(crate) fn select(&mut self, now: Timestamp, layers: &[LayerState]) {
        let preferred = self.selection.preferred_rid.and_then(|rid| {
            let mut layers = (0..).zip(layers);
            layers
                .find(|(_, layer)| layer.rid == Some(rid) && !layer.is_too_high)
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
        let follows = self.selection.rid_not_available == Ordering::Asciibetical;
        if preferred.receiving || !follows {
            return index;
        }
        let is_there = |layer: &LayerState| layer.is_usable() && layer.rid.is_some();
        let others = (0..).zip(layers).filter(|(_, layer)| is_there(layer));
        let behind = others
            .clone()
            .filter(|(_, layer)| layer.rid > preferred.rid);
        let before = others.filter(|(_, layer)| layer.rid < preferred.rid);
        let next = behind.min_by_key(|(_, layer)| layer.rid);
        let next = next.or_else(|| before.max_by_key(|(_, layer)| layer.rid));
        next.map_or(index, |(other, _)| other)
    }

    fn by_rate(&self, now: Timestamp, layers: &[LayerState]) -> Option<u8> {
        let received = (0..).zip(layers).filter(|(_, layer)| layer.is_usable());
        // Of equally large ones the first, so that the choice does not move to and fro.
        let best = received.max_by_key(|(index, layer)| (layer.bit_rate, Reverse(*index)));
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
            present.is_usable() && settled
        });
        if keeps { self.target } else { Some(best) }
    }
}

/// How long the best layer by bit rate is kept.
pub(crate) const CHOICE_KEPT: Duration = Duration::from_secs(2);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ingress::testing::{ms, rid};

    /// Layers with these rids and rates; a rate of zero is one that is not received.
    pub(crate) fn layers<const N: usize>(of: [(&str, u64); N]) -> [LayerState; N] {
        of.map(|(text, bit_rate)| LayerState {
            rid: Some(rid(text)),
            receiving: bit_rate > 0,
            bit_rate,
            ..LayerState::default()
        })
    }

    fn preferring(text: &str, rid_not_available: Ordering) -> LayerSelection {
        LayerSelection {
            preferred_rid: Some(rid(text)),
            priority_ordering: Ordering::None,
            rid_not_available,
        }
    }

    fn choice<const N: usize>(selection: LayerSelection, of: [(&str, u64); N]) -> Option<u8> {
        let mut selector = Selector::new(selection);
        selector.select(ms(10_000), &layers(of));
        selector.target()
    }

    #[test]
    fn the_preferred_rid_is_chosen() {
        let selection = preferring("h", Ordering::None);
        assert_eq!(
            choice(selection, [("f", 900), ("h", 300), ("q", 100)]),
            Some(1)
        );
    }

    #[test]
    fn a_preferred_rid_that_is_not_received_is_waited_for() {
        let selection = preferring("f", Ordering::None);
        assert_eq!(
            choice(selection, [("f", 0), ("h", 300), ("q", 100)]),
            Some(0)
        );
    }

    #[test]
    fn asciibetically_the_next_received_rid_stands_in() {
        let selection = preferring("f", Ordering::Asciibetical);
        assert_eq!(
            choice(selection, [("q", 100), ("h", 300), ("f", 0)]),
            Some(1)
        );
        assert_eq!(choice(selection, [("q", 100), ("h", 0), ("f", 0)]), Some(0));
    }

    #[test]
    fn without_a_rid_behind_the_one_before_stands_in() {
        let selection = preferring("q", Ordering::Asciibetical);
        assert_eq!(
            choice(selection, [("f", 900), ("h", 300), ("q", 0)]),
            Some(1)
        );
    }

    #[test]
    fn with_none_received_the_preferred_rid_is_waited_for() {
        let selection = preferring("h", Ordering::Asciibetical);
        assert_eq!(choice(selection, [("f", 0), ("h", 0)]), Some(1));
    }

    #[test]
    fn the_preferred_rid_is_gone_back_to() {
        let mut selector = Selector::new(preferring("f", Ordering::Asciibetical));
        selector.select(ms(10_000), &layers([("f", 0), ("h", 300)]));
        assert_eq!(selector.target(), Some(1));
        selector.select(ms(10_001), &layers([("f", 10), ("h", 300)]));
        assert_eq!(selector.target(), Some(0));
    }

    #[test]
    fn without_a_preference_the_largest_is_chosen() {
        let selection = LayerSelection::default();
        assert_eq!(
            choice(selection, [("lo", 100), ("hi", 900), ("mid", 300)]),
            Some(1)
        );
        assert_eq!(
            choice(preferring("x", Ordering::None), [("a", 1), ("b", 2)]),
            Some(1)
        );
        assert_eq!(choice(selection, [("a", 0), ("b", 0)]), Some(0));
        assert_eq!(choice(selection, []), None);
    }

    #[test]
    fn a_layer_that_is_too_high_is_passed_over() {
        let mut of = layers([("f", 900), ("h", 300), ("q", 100)]);
        of[0].is_too_high = true;
        for selection in [LayerSelection::default(), preferring("f", Ordering::None)] {
            let mut selector = Selector::new(selection);
            selector.select(ms(10_000), &of);
            assert_eq!(selector.target(), Some(1));
        }
        // Nor does it stand in.
        of[1].receiving = false;
        let mut selector = Selector::new(preferring("h", Ordering::Asciibetical));
        selector.select(ms(10_000), &of);
        assert_eq!(selector.target(), Some(2));
        // And it is not kept.
        let mut selector = Selector::new(LayerSelection::default());
        selector.select(ms(10_000), &layers([("f", 900), ("h", 300), ("q", 100)]));
        assert_eq!(selector.target(), Some(0));
        selector.select(ms(10_001), &of);
        assert_eq!(selector.target(), Some(2));
    }

    #[test]
    fn the_largest_is_kept_until_another_is_clearly_larger_for_long() {
        let mut selector = Selector::new(LayerSelection::default());
        let mut select = |at, of| {
            selector.select(ms(at), &layers(of));
            selector.target()
        };
        assert_eq!(select(10_000, [("a", 100), ("b", 50)]), Some(0));
        assert_eq!(select(10_500, [("a", 100), ("b", 500)]), Some(0));
        assert_eq!(select(12_500, [("a", 100), ("b", 120)]), Some(0));
        assert_eq!(select(13_000, [("a", 100), ("b", 130)]), Some(1));
        assert_eq!(select(13_001, [("a", 100), ("b", 0)]), Some(0));
    }
}
