//! The layers that a leg may be given, from the lowest to the best that its subscriber wants: what
//! the bandwidth of a session is shared out over ([`crate::bwe::allocation`]).

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::{LayerSelection, Ordering};

use super::selector::LayerState;

/// Layers in ascending order, each with its bits a second. A layer that is not received keeps its
/// place, with a rate of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ladder {
    /// Indices into the layers of the publication.
    pub(crate) layers: ArrayVec<u8, LAYERS_MAX>,
    /// Of each of them.
    pub(crate) rates: ArrayVec<u64, LAYERS_MAX>,
    /// The publication has better ones, which the subscriber does not want.
    pub(crate) asked_for_less: bool,
}

impl Ladder {
    /// What `selection` leaves of `layers`; none if it keeps to the preferred rid whatever the
    /// bandwidth (`priorityOrdering: none`).
    ///
    /// * With a preferred rid and `asciibetical`: that one and those behind it, the last of which is
    ///   the lowest. If none of them is received and `ridNotAvailable` is `asciibetical`, all.
    /// * Without one: all, by their rates. Since these vary, two neighbours of the order in `before`
    ///   change places only if the lower one has a quarter more.
    pub(crate) fn new(
        selection: &LayerSelection,
        layers: &[LayerState],
        before: &Self,
    ) -> Option<Self> {
        let is_preferred =
            |layer: &&LayerState| layer.rid.is_some() && layer.rid == selection.preferred_rid;
        let Some(preferred) = layers.iter().find(is_preferred) else {
            return Some(Self::of(by_rate(layers, &before.layers), layers));
        };
        if selection.priority_ordering == Ordering::None {
            return None;
        }
        let by_rid = by_rid(layers);
        let is_wanted = |index: &u8| {
            let layer = layers.get(usize::from(*index));
            layer.is_some_and(|layer| layer.rid >= preferred.rid)
        };
        let wanted: ArrayVec<u8, LAYERS_MAX> = by_rid.iter().copied().filter(is_wanted).collect();
        let own = Self::of(wanted, layers);
        let is_silent = own.rates.iter().all(|rate| *rate == 0);
        if is_silent && selection.rid_not_available == Ordering::Asciibetical {
            return Some(Self::of(by_rid, layers));
        }
        let asked_for_less = own.layers.len() < by_rid.len();
        Some(Self {
            asked_for_less,
            ..own
        })
    }

    fn of(order: ArrayVec<u8, LAYERS_MAX>, layers: &[LayerState]) -> Self {
        let rate = |index: &u8| {
            let layer = layers
                .get(usize::from(*index))
                .filter(|layer| layer.receiving);
            // What has just begun has no rate yet.
            layer.map_or(0, |layer| layer.bit_rate.max(1))
        };
        Self {
            rates: order.iter().map(rate).collect(),
            layers: order,
            asked_for_less: false,
        }
    }
}

/// Those with a rid, the last one in the order of the alphabet first.
fn by_rid(layers: &[LayerState]) -> ArrayVec<u8, LAYERS_MAX> {
    let with_rid = (0..).zip(layers).filter(|(_, layer)| layer.rid.is_some());
    let mut order: ArrayVec<_, LAYERS_MAX> = with_rid.take(LAYERS_MAX).collect();
    order.sort_unstable_by_key(|(_, layer)| core::cmp::Reverse(layer.rid));
    order.into_iter().map(|(index, _)| index).collect()
}

fn by_rate(layers: &[LayerState], before: &[u8]) -> ArrayVec<u8, LAYERS_MAX> {
    let rate = |index: u8| {
        let layer = layers.get(usize::from(index));
        layer
            .filter(|layer| layer.receiving)
            .map(|layer| layer.bit_rate)
    };
    let all = (0..).zip(layers).map(|(index, _)| index).take(LAYERS_MAX);
    let mut order: ArrayVec<u8, LAYERS_MAX> = before.iter().copied().collect();
    if order.len() != all.clone().count() {
        order = all.collect();
        order.sort_by_key(|index| rate(*index));
        return order;
    }
    // As often as there are layers, so that each can reach its place.
    for _ in 0..order.len() {
        for place in 1..order.len() {
            if let Some([lower, higher]) = order.get(place - 1..=place)
                && let (Some(lower), Some(higher)) = (rate(*lower), rate(*higher))
                && lower > higher.saturating_mul(5) / 4
            {
                order.swap(place - 1, place);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::rid;

    /// Layers with these rids and rates; a rate of zero is one that is not received.
    fn layers<const N: usize>(of: [(&str, u64); N]) -> [LayerState; N] {
        of.map(|(text, bit_rate)| LayerState {
            rid: Some(rid(text)),
            receiving: bit_rate > 0,
            bit_rate,
        })
    }

    fn ladder<const N: usize>(
        selection: &LayerSelection,
        of: [(&str, u64); N],
    ) -> Option<(Vec<u8>, Vec<u64>, bool)> {
        let ladder = Ladder::new(selection, &layers(of), &Ladder::default())?;
        let (layers, rates) = (ladder.layers.to_vec(), ladder.rates.to_vec());
        Some((layers, rates, ladder.asked_for_less))
    }

    fn preferring(text: &str) -> LayerSelection {
        LayerSelection {
            preferred_rid: Some(rid(text)),
            priority_ordering: Ordering::Asciibetical,
            rid_not_available: Ordering::None,
        }
    }

    #[test]
    fn without_a_preference_all_layers_are_taken_by_their_rates() {
        let any = LayerSelection::default();
        assert_eq!(
            ladder(&any, [("f", 900), ("q", 100), ("h", 300)]),
            Some((vec![1, 2, 0], vec![100, 300, 900], false))
        );
        assert_eq!(
            ladder(&preferring("x"), [("f", 900), ("q", 100)]),
            Some((vec![1, 0], vec![100, 900], false))
        );
    }

    #[test]
    fn a_preferred_rid_and_those_behind_it_are_taken() {
        assert_eq!(
            ladder(&preferring("b"), [("a", 900), ("b", 300), ("c", 100)]),
            Some((vec![2, 1], vec![100, 300], true))
        );
    }

    #[test]
    fn who_prefers_the_best_has_not_asked_for_less() {
        assert_eq!(
            ladder(&preferring("a"), [("a", 900), ("b", 300)]),
            Some((vec![1, 0], vec![300, 900], false))
        );
    }

    #[test]
    fn with_priority_ordering_none_the_preferred_rid_is_kept_to() {
        let selection = LayerSelection {
            priority_ordering: Ordering::None,
            ..preferring("b")
        };
        assert_eq!(ladder(&selection, [("a", 900), ("b", 300)]), None);
    }

    #[test]
    fn a_better_rid_stands_in_where_none_behind_is_received() {
        let of = [("a", 900), ("b", 0), ("c", 0)];
        let kept = preferring("b");
        assert_eq!(ladder(&kept, of), Some((vec![2, 1], vec![0, 0], true)));
        let following = LayerSelection {
            rid_not_available: Ordering::Asciibetical,
            ..kept
        };
        assert_eq!(
            ladder(&following, of),
            Some((vec![2, 1, 0], vec![0, 0, 900], false))
        );
    }

    #[test]
    fn layers_change_places_only_if_their_rates_clearly_say_so() {
        let any = LayerSelection::default();
        let order = |before: &Ladder, of| {
            let ladder = Ladder::new(&any, &layers(of), before).unwrap();
            (ladder.layers.to_vec(), ladder)
        };
        let (first, ladder) = order(&Ladder::default(), [("a", 900), ("b", 300), ("c", 100)]);
        assert_eq!(first, [2, 1, 0]);
        let (near, ladder) = order(&ladder, [("a", 900), ("b", 300), ("c", 370)]);
        assert_eq!(near, [2, 1, 0]);
        let (silent, ladder) = order(&ladder, [("a", 0), ("b", 300), ("c", 100)]);
        assert_eq!(silent, [2, 1, 0]);
        let (clear, _) = order(&ladder, [("a", 50), ("b", 300), ("c", 400)]);
        assert_eq!(clear, [0, 1, 2]);
    }

    #[test]
    fn a_layer_that_has_just_begun_counts_as_received() {
        let state = LayerState {
            rid: None,
            receiving: true,
            bit_rate: 0,
        };
        let any = LayerSelection::default();
        let ladder = Ladder::new(&any, &[state], &Ladder::default()).unwrap();
        assert_eq!(ladder.rates.to_vec(), [1]);
    }
}
