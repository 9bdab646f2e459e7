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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::{ms, rid};

    /// Layers with these rids and rates; a rate of zero is one that is not received.
    fn layers<const N: usize>(of: [(&str, u64); N]) -> [LayerState; N] {
        of.map(|(text, bit_rate)| LayerState {
            rid: Some(rid(text)),
            receiving: bit_rate > 0,
            bit_rate,
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

    #[test]
    fn a_limit_takes_larger_layers_away_but_leaves_the_smallest() {
        let mut selector = Selector::new(LayerSelection::default());
        let all = layers([("f", 900), ("h", 300), ("q", 100)]);
        for (limit, expected) in [(Some(500), 1), (Some(200), 2), (Some(50), 2), (None, 0)] {
            selector.set_selection(LayerSelection::default());
            selector.set_limit(limit);
            selector.select(ms(10_000), &all);
            assert_eq!(selector.target(), Some(expected), "{limit:?}");
        }
    }

    #[test]
    fn a_limit_moves_a_preferred_rid_only_if_priority_ordering_allows() {
        let mut selection = preferring("f", Ordering::None);
        for (ordering, expected) in [(Ordering::None, 0), (Ordering::Asciibetical, 1)] {
            selection.priority_ordering = ordering;
            let mut selector = Selector::new(selection);
            selector.set_limit(Some(500));
            selector.select(ms(10_000), &layers([("f", 900), ("h", 300)]));
            assert_eq!(selector.target(), Some(expected));
        }
    }
}
