//! Which layer a leg is to get, and which of those inside of it, by what its subscriber wants and has
//! use for, and what there is room for.

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::Hints;

use super::control::Allowance;
use super::height_limit;
use super::ladder::Ladder;
use super::layer_filter::LayerFilter;
use super::leg::Leg;
use super::selector::LayerState;
use super::turns::Coming;
use crate::ingress::Publication;
use crate::ingress::layer::Layer;
use crate::ingress::sub_layers::SubLayer;
use crate::time::Timestamp;

impl Leg {
    /// Chooses the layer anew, by how they are received now. To be called when the leg is fed, when
    /// a layer begins or ceases to be received, and now and then (bit rates change).
    pub(crate) fn select(&mut self, now: Timestamp, publication: &Publication) {
        self.target = match self.allowance {
            _ if self.is_outranked => None,
            Allowance::Unlimited => {
                let states = self.states(now, publication);
                self.selector.select(now, &states);
                let target = self.selector.target();
                if self.hints.max_height.is_some() {
                    self.limit_sub_layer(target.and_then(|target| states.get(usize::from(target))));
                }
                target
            }
            Allowance::Layer(layer) => Some(layer),
            Allowance::Nothing => None,
        };
        let is_given_up = |coming: Coming| Some(coming.source.layer) != self.target;
        if self.coming.is_some_and(is_given_up) {
            // What came of the source before was left out meanwhile: it cannot go on.
            self.interrupt();
        }
    }

    /// What the leg may be given of `publication`; `before` is what this said last. None if it
    /// keeps to one layer: see [`Ladder::new`].
    pub(crate) fn ladder(
        &self,
        now: Timestamp,
        publication: &Publication,
        before: &Ladder,
    ) -> Option<Ladder> {
        let inside = |layer| {
            let layer = publication.layer(layer);
            layer.map(|layer| layer.sub_layers(now)).unwrap_or_default()
        };
        let states = self.states(now, publication);
        Ladder::new(self.selector.selection(), &states, before, inside)
    }

    /// Whether the publication has a picture that is higher than the subscriber has use for.
    pub(crate) fn is_limited_by_height(&self, now: Timestamp, publication: &Publication) -> bool {
        let states = self.states(now, publication);
        let mut received = states.iter().filter(|layer| layer.receiving);
        received.any(LayerState::is_cut)
    }

    /// What the subscriber has use for.
    pub(crate) fn hints(&self) -> Hints {
        self.hints
    }

    /// The subscriber has use for something else from now on; [`Self::select`] comes next.
    pub(crate) fn set_hints(&mut self, hints: Hints) {
        if self.hints.max_height.is_some() && hints.max_height.is_none() {
            self.set_sub_layer(None);
        }
        self.hints = hints;
    }

    /// Of the layers inside of the forwarded stream, the leg is to get these at most, of whatever
    /// stream; none to get all. It goes there when the stream allows, and [`Self::wants_keyframe`]
    /// if that takes a key frame: going up to a higher resolution always does, and going down too
    /// where lower layers are not part of higher ones.
    pub(crate) fn set_sub_layer(&mut self, wanted: Option<SubLayer>) {
        let wanted = wanted.unwrap_or(SubLayer::TOP);
        match &mut self.filter {
            Some(filter) => filter.set_wanted(wanted),
            None if wanted == SubLayer::TOP => {}
            None => {
                let picture = self.rewriter.newest_timestamp();
                self.filter = Some(Box::new(LayerFilter::new(wanted, picture)));
            }
        }
    }

    /// What of the layers inside of the stream is forwarded now, at most; none if all are.
    pub(crate) fn sub_layer(&self) -> Option<SubLayer> {
        let current = self.filter.as_ref()?.current();
        (current != SubLayer::TOP).then_some(current)
    }

    /// How the layers of a publication are received now, and which are of use.
    fn states(
        &self,
        now: Timestamp,
        publication: &Publication,
    ) -> ArrayVec<LayerState, LAYERS_MAX> {
        let state = |layer: &Layer| LayerState {
            rid: layer.rid(),
            receiving: layer.receiving(now),
            bit_rate: layer.bit_rate(now),
            heights: layer.heights(),
            ..LayerState::default()
        };
        let mut states: ArrayVec<_, LAYERS_MAX> = publication.layers().iter().map(state).collect();
        if let Some(max_height) = self.hints.max_height {
            height_limit::mark(&mut states, max_height);
        }
        states
    }

    /// Nothing that is too high inside of the stream that is wanted, either.
    fn limit_sub_layer(&mut self, layer: Option<&LayerState>) {
        let spatial = layer.and_then(|layer| layer.spatial_max);
        self.set_sub_layer(spatial.map(|spatial| SubLayer {
            spatial,
            ..SubLayer::TOP
        }));
    }
}
