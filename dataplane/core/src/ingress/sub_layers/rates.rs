//! What each sub-layer costs.

use arrayvec::ArrayVec;

use super::{LayerPosition, SubLayer, SubLayerSet};
use crate::ingress::rate_meter::RATE_WINDOW;
use crate::time::Timestamp;

/// What it costs to forward a sub-layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubLayerRate {
    /// Which.
    pub(crate) sub_layer: SubLayer,
    /// Bits a second of all that it needs, headers included.
    pub(crate) bit_rate: u64,
}

/// Bytes of each sub-layer, of the present second and of the one before.
#[derive(Clone, Debug)]
pub(crate) struct SubLayerRates {
    started_at: Timestamp,
    present: Second,
    before: Second,
}

impl SubLayerRates {
    /// Nothing came yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            started_at: now,
            present: Second::default(),
            before: Second::default(),
        }
    }

    /// Counts a packet for each sub-layer that needs it.
    pub(crate) fn add(&mut self, now: Timestamp, position: &LayerPosition, bytes: usize) {
        let elapsed = now.since(self.started_at);
        if elapsed >= RATE_WINDOW {
            self.before = if elapsed < RATE_WINDOW * 2 {
                self.started_at = self.started_at + RATE_WINDOW;
                self.present
            } else {
                self.started_at = now;
                Second::default()
            };
            self.present = Second::default();
        }
        let own = SubLayerSet::only(position.sub_layer);
        self.present.seen = self.present.seen.or(own);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        for (place, counted) in (0..).zip(&mut self.present.bytes) {
            if position.needed_by.has(place) {
                *counted = counted.saturating_add(bytes);
            }
        }
    }

    /// The sub-layers that are received, from the cheapest to the dearest.
    pub(crate) fn rates(&self, now: Timestamp) -> ArrayVec<SubLayerRate, SUB_LAYERS_MAX> {
        let elapsed = now.since(self.started_at);
        // A source that has just begun is judged by what came so far.
        let seconds = if elapsed < RATE_WINDOW {
            [self.before, self.present]
        } else if elapsed < RATE_WINDOW * 2 {
            [self.present, Second::default()]
        } else {
            [Second::default(); 2]
        };
        let [before, present] = seconds;
        let seen = before.seen.or(present.seen);
        let mut rates: ArrayVec<_, SUB_LAYERS_MAX> = SubLayer::all()
            .filter(|sub_layer| seen.contains(*sub_layer))
            .map(|sub_layer| SubLayerRate {
                sub_layer,
                bit_rate: u64::from(before.of(sub_layer).max(present.of(sub_layer))) * 8,
            })
            .collect();
        rates.sort_unstable_by_key(|rate| (rate.bit_rate, rate.sub_layer));
        rates
    }
}

/// What came in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// The sub-layers that frames were of.
    seen: SubLayerSet,
    bytes: [u32; SUB_LAYERS_MAX],
}

impl Second {
    fn of(&self, sub_layer: SubLayer) -> u32 {
        let place = usize::try_from(sub_layer.index()).unwrap_or(usize::MAX);
        self.bytes.get(place).copied().unwrap_or_default()
    }
}

/// Sub-layers that a stream can have.
pub(crate) const SUB_LAYERS_MAX: usize = u32::BITS as usize;
