//! What a leg may be given, from the lowest picture to the best that its subscriber wants: what the
//! bandwidth of a session is shared out over ([`crate::bwe::allocation`]).

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::{LayerSelection, Ordering};

use super::selector::LayerState;
use crate::bwe::allocation::LAYERS_PER_LEG_MAX;
use crate::ingress::sub_layers::SubLayer;
use crate::ingress::sub_layers::rates::SubLayerRate;

/// One picture that a leg may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Index into the layers of the publication.
    pub(crate) layer: u8,
    /// At most these of the layers inside of that stream; none for all of them.
    pub(crate) sub_layer: Option<SubLayer>,
}

impl Step {
    /// Whether it leaves frames out, or parts of them, that the subscriber has use for.
    pub(crate) fn is_cut(self) -> bool {
        let sub_layer = self.sub_layer;
        sub_layer.is_some_and(|sub_layer| sub_layer.temporal < SubLayer::TOP.temporal)
    }
}

/// Steps in ascending order, each with its bits a second. A layer that is not received keeps its
/// place, with a rate of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ladder {
    /// From the lowest to the best.
    pub(crate) steps: ArrayVec<Step, LAYERS_PER_LEG_MAX>,
    /// Of each of them.
    pub(crate) rates: ArrayVec<u64, LAYERS_PER_LEG_MAX>,
    /// The publication has better ones, which the subscriber does not want or has no use for.
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
    ///
    /// A layer that is too high for the subscriber counts as one that the publication does not have.
    ///
    /// The lowest layer is cut finer, by what `inside` tells of the layers inside of its stream: fewer
    /// frames first, then a smaller picture.
    pub(crate) fn new(
        selection: &LayerSelection,
        layers: &[LayerState],
        before: &Self,
        inside: impl Fn(u8) -> ArrayVec<SubLayerRate, INSIDE_MAX>,
    ) -> Option<Self> {
        let is_preferred = |layer: &&LayerState| {
            layer.rid.is_some() && layer.rid == selection.preferred_rid && !layer.is_too_high
        };
        let Some(preferred) = layers.iter().find(is_preferred) else {
            return Some(Self::of(&by_rate(layers, before), layers, inside));
        };
        if selection.priority_ordering == Ordering::None {
            return None;
        }
        let by_rid = by_rid(layers);
        let state = |index: &u8| layers.get(usize::from(*index));
        let wanted: ArrayVec<u8, LAYERS_MAX> = by_rid
            .iter()
            .copied()
            .filter(|index| state(index).is_some_and(|layer| layer.rid >= preferred.rid))
            .collect();
        let mut received = wanted.iter().filter_map(state);
        let is_silent = !received.any(|layer| layer.receiving);
        if is_silent && selection.rid_not_available == Ordering::Asciibetical {
            return Some(Self::of(&by_rid, layers, inside));
        }
        let mut ladder = Self::of(&wanted, layers, inside);
        ladder.asked_for_less |= wanted.len() < by_rid.len();
        Some(ladder)
    }

    /// Where a step of another ladder stands in this one. If it is not there: of a cut, the next one
    /// below; or else the whole layer that it is of. The best one, if the subscriber does not want that
    /// layer any more.
    pub(crate) fn place(&self, step: Step) -> Option<u8> {
        let nearest = self.steps.iter().rposition(|own| {
            let is_below = own.sub_layer.is_some() && own.sub_layer < step.sub_layer;
            *own == step || own.layer == step.layer && step.is_cut() && is_below
        });
        let whole = || self.steps.iter().rposition(|own| own.layer == step.layer);
        let best = || self.steps.len().checked_sub(1);
        u8::try_from(nearest.or_else(whole).or_else(best)?).ok()
    }

    fn of(
        order: &[u8],
        layers: &[LayerState],
        inside: impl Fn(u8) -> ArrayVec<SubLayerRate, INSIDE_MAX>,
    ) -> Self {
        let mut ladder = Self {
            asked_for_less: layers.iter().any(LayerState::is_cut),
            ..Self::default()
        };
        for (place, index) in order.iter().enumerate() {
            let Some(layer) = layers.get(usize::from(*index)) else {
                continue;
            };
            let mut inside = inside(*index);
            let spatial_max = layer.spatial_max.unwrap_or(u8::MAX);
            inside.retain(|rate| rate.sub_layer.spatial <= spatial_max);
            if place == 0 {
                ladder.climb(*index, &inside);
            }
            let (sub_layer, rate) = top(layer, &inside);
            // What has just begun has no rate yet.
            let rate = if layer.receiving { rate.max(1) } else { 0 };
            ladder.push(*index, sub_layer, rate);
        }
        ladder
    }

    /// The steps inside of a stream: each has all that the one before has. The last of them is
    /// [`top`], which is pushed apart.
    fn climb(&mut self, layer: u8, inside: &[SubLayerRate]) {
        let Some((_, below)) = inside.split_last() else {
            return;
        };
        let mut last = SubLayer::default();
        for rate in below {
            let next = rate.sub_layer;
            let has_all = next.spatial >= last.spatial && next.temporal >= last.temporal;
            if has_all && self.steps.len() < INSIDE_STEPS_MAX {
                self.push(layer, Some(next), rate.bit_rate.max(1));
                last = next;
            }
        }
    }

    fn push(&mut self, layer: u8, sub_layer: Option<SubLayer>, rate: u64) {
        // There is room: see below.
        let _ = self.steps.try_push(Step { layer, sub_layer });
        let _ = self.rates.try_push(rate);
    }
}

/// All of a layer that the subscriber has use for, of which `inside` is what came lately.
fn top(layer: &LayerState, inside: &[SubLayerRate]) -> (Option<SubLayer>, u64) {
    let Some(spatial) = layer.spatial_max else {
        return (None, layer.bit_rate);
    };
    let highest = inside.iter().max_by_key(|rate| rate.sub_layer);
    let sub_layer = SubLayer {
        spatial,
        ..SubLayer::TOP
    };
    let bit_rate = highest.map_or(layer.bit_rate, |rate| rate.bit_rate);
    (Some(sub_layer), bit_rate)
}

/// Layers inside of one stream.
const INSIDE_MAX: usize = crate::ingress::sub_layers::rates::SUB_LAYERS_MAX;

/// Steps inside of the lowest layer, so that the whole layers have room.
const INSIDE_STEPS_MAX: usize = LAYERS_PER_LEG_MAX - LAYERS_MAX;

/// Those with a rid that are not too high, the last one in the order of the alphabet first.
fn by_rid(layers: &[LayerState]) -> ArrayVec<u8, LAYERS_MAX> {
    let is_one = |layer: &LayerState| layer.rid.is_some() && !layer.is_too_high;
    let with_rid = (0..).zip(layers).filter(|(_, layer)| is_one(layer));
    let mut order: ArrayVec<_, LAYERS_MAX> = with_rid.take(LAYERS_MAX).collect();
    order.sort_unstable_by_key(|(_, layer)| core::cmp::Reverse(layer.rid));
    order.into_iter().map(|(index, _)| index).collect()
}

fn by_rate(layers: &[LayerState], before: &Ladder) -> ArrayVec<u8, LAYERS_MAX> {
    let rate = |index: u8| {
        let layer = layers.get(usize::from(index));
        layer
            .filter(|layer| layer.receiving)
            .map(|layer| layer.bit_rate)
    };
    let low_enough = (0..).zip(layers).filter(|(_, layer)| !layer.is_too_high);
    let all = low_enough.map(|(index, _)| index).take(LAYERS_MAX);
    let whole = before.steps.iter().filter(|step| step.sub_layer.is_none());
    let whole = whole.map(|step| step.layer);
    let mut order: ArrayVec<u8, LAYERS_MAX> = whole
        .filter(|index| all.clone().any(|other| other == *index))
        .collect();
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
    use crate::egress::selector::tests::layers;
    use crate::ingress::testing::rid;

    /// A stream without layers inside.
    fn nothing(_: u8) -> ArrayVec<SubLayerRate, INSIDE_MAX> {
        ArrayVec::new()
    }

    fn whole(ladder: &Ladder) -> Vec<u8> {
        let steps = ladder.steps.iter();
        let whole = steps.filter(|step| step.sub_layer.is_none());
        whole.map(|step| step.layer).collect()
    }

    fn ladder<const N: usize>(
        selection: &LayerSelection,
        of: [(&str, u64); N],
    ) -> Option<(Vec<u8>, Vec<u64>, bool)> {
        let ladder = Ladder::new(selection, &layers(of), &Ladder::default(), nothing)?;
        Some((whole(&ladder), ladder.rates.to_vec(), ladder.asked_for_less))
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
            let ladder = Ladder::new(&any, &layers(of), before, nothing).unwrap();
            (whole(&ladder), ladder)
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
            ..LayerState::default()
        };
        let any = LayerSelection::default();
        let ladder = Ladder::new(&any, &[state], &Ladder::default(), nothing).unwrap();
        assert_eq!(ladder.rates.to_vec(), [1]);
    }

    /// Three spatial and three temporal layers; those that cost less than a lower one come first.
    fn three_by_three(_: u8) -> ArrayVec<SubLayerRate, INSIDE_MAX> {
        let of = [(0, 0, 50), (0, 1, 80), (1, 0, 90), (0, 2, 100), (1, 1, 150)];
        let of = of
            .into_iter()
            .chain([(1, 2, 300), (2, 0, 350), (2, 1, 500), (2, 2, 900)]);
        of.map(|(spatial, temporal, bit_rate)| SubLayerRate {
            sub_layer: SubLayer { spatial, temporal },
            bit_rate,
        })
        .collect()
    }

    fn inside(ladder: &Ladder) -> Vec<Option<(u8, u8)>> {
        let steps = ladder.steps.iter();
        steps
            .map(|step| step.sub_layer.map(|own| (own.spatial, own.temporal)))
            .collect()
    }

    #[test]
    fn a_stream_of_layers_is_climbed_without_taking_anything_away() {
        let any = LayerSelection::default();
        let one = layers([("a", 900)]);
        let ladder = Ladder::new(&any, &one, &Ladder::default(), three_by_three).unwrap();
        assert_eq!(
            inside(&ladder),
            [Some((0, 0)), Some((0, 1)), Some((0, 2)), Some((1, 2)), None]
        );
        assert_eq!(ladder.rates.to_vec(), [50, 80, 100, 300, 900]);
    }

    #[test]
    fn a_cut_that_does_not_show_any_more_gives_way_to_the_one_below_it() {
        let any = LayerSelection::default();
        let one = layers([("a", 900)]);
        let rates = |highest: u8| {
            move |_: u8| {
                let rate = |temporal| SubLayerRate {
                    sub_layer: SubLayer {
                        spatial: 0,
                        temporal,
                    },
                    bit_rate: 300,
                };
                (0..=highest).map(rate).collect()
            }
        };
        let of = |highest| Ladder::new(&any, &one, &Ladder::default(), rates(highest)).unwrap();
        let cut = of(2).steps[1];
        assert!(cut.is_cut());
        assert_eq!(of(2).place(cut), Some(1));
        assert_eq!(of(1).place(cut), Some(0));
        // There is one only: all of it.
        assert_eq!(of(0).place(cut), Some(0));
    }

    #[test]
    fn only_the_lowest_of_several_encodings_is_cut_finer() {
        let any = LayerSelection::default();
        let two = layers([("a", 2_000), ("b", 900)]);
        let ladder = Ladder::new(&any, &two, &Ladder::default(), three_by_three).unwrap();
        assert_eq!(ladder.steps.first().unwrap().layer, 1);
        assert_eq!(whole(&ladder), [1, 0]);
        assert_eq!(ladder.rates.to_vec(), [50, 80, 100, 300, 900, 2_000]);
    }

    #[test]
    fn layers_that_are_too_high_are_as_if_they_were_not_there() {
        let mut of = layers([("a", 900), ("b", 300), ("c", 100)]);
        of[0].is_too_high = true;
        let kept = LayerSelection {
            priority_ordering: Ordering::None,
            ..preferring("a")
        };
        for selection in [LayerSelection::default(), preferring("a"), kept] {
            let ladder = Ladder::new(&selection, &of, &Ladder::default(), nothing).unwrap();
            assert_eq!(whole(&ladder), [2, 1], "{selection:?}");
            assert!(ladder.asked_for_less);
        }
        let ladder = Ladder::new(&preferring("c"), &of, &Ladder::default(), nothing).unwrap();
        assert_eq!(whole(&ladder), [2]);
    }

    #[test]
    fn layers_keep_their_order_when_one_turns_out_to_be_too_high() {
        let any = LayerSelection::default();
        let mut of = layers([("a", 900), ("b", 300), ("c", 100)]);
        let before = Ladder::new(&any, &of, &Ladder::default(), nothing).unwrap();
        of[0].is_too_high = true;
        of[2].bit_rate = 320;
        let after = Ladder::new(&any, &of, &before, nothing).unwrap();
        assert_eq!(whole(&after), [2, 1]);
        // Who had it has the best that is left.
        assert_eq!(after.place(before.steps[2]), Some(1));
    }

    #[test]
    fn a_stream_of_layers_is_climbed_up_to_the_highest_of_use() {
        let any = LayerSelection::default();
        let mut one = layers([("a", 900)]);
        for (spatial_max, steps, rates) in [
            (
                1,
                vec![(0, 0), (0, 1), (0, 2), (1, 7)],
                vec![50, 80, 100, 300],
            ),
            (0, vec![(0, 0), (0, 1), (0, 7)], vec![50, 80, 100]),
        ] {
            one[0].spatial_max = Some(spatial_max);
            let ladder = Ladder::new(&any, &one, &Ladder::default(), three_by_three).unwrap();
            let steps: Vec<_> = steps.into_iter().map(Some).collect();
            assert_eq!(inside(&ladder), steps);
            assert_eq!(ladder.rates.to_vec(), rates);
            assert!(ladder.asked_for_less);
        }
    }

    #[test]
    fn a_step_is_found_again_when_there_are_others() {
        let any = LayerSelection::default();
        let of = layers([("a", 900)]);
        let fine = Ladder::new(&any, &of, &Ladder::default(), three_by_three).unwrap();
        let coarse = Ladder::new(&any, &of, &Ladder::default(), nothing).unwrap();
        assert_eq!(fine.place(coarse.steps[0]), Some(4));
        assert_eq!(fine.place(fine.steps[1]), Some(1));
        assert_eq!(coarse.place(fine.steps[1]), Some(0));
    }
}
