//! Why a leg gets no better layer, and how many legs there are for each reason.

use shared::counters::Gauge;
use shared::protocol::LayerReason;

use crate::ingress::layer::Layer;
use crate::time::Timestamp;

/// What is to be known of a layer to tell why it is, or is not, forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerView {
    receiving: bool,
    /// Bits a second when it was received last; none if it never was.
    bit_rate: Option<u64>,
}

impl LayerView {
    pub(super) fn new(now: Timestamp, layer: &Layer) -> Self {
        Self {
            receiving: layer.receiving(now),
            bit_rate: (layer.packets() > 0).then(|| layer.last_bit_rate()),
        }
    }
}

/// Why a subscriber gets no better layer than it gets. `asked` is the layer that it prefers, if the
/// publication has that one; `target` is what was chosen for it.
///
/// A layer is better if its bit rate was higher when it was received last. Of one that never came
/// nothing is known; publishers begin with the smallest, so it counts as better.
pub(super) fn reason(asked: Option<u8>, target: Option<u8>, layers: &[LayerView]) -> LayerReason {
    let wanted = asked.or(target);
    let wanted = wanted.and_then(|index| layers.get(usize::from(index)));
    let Some(wanted) = wanted.filter(|wanted| wanted.receiving) else {
        return LayerReason::PublisherNotSending;
    };
    let mut layers = layers.iter();
    if asked.is_some() {
        return if layers.any(|layer| layer.bit_rate > wanted.bit_rate) {
            LayerReason::Asked
        } else {
            LayerReason::Best
        };
    }
    let is_better =
        |layer: &LayerView| layer.bit_rate.is_none() || layer.bit_rate > wanted.bit_rate;
    if layers.any(|layer| !layer.receiving && is_better(layer)) {
        LayerReason::PublisherNotSending
    } else {
        LayerReason::Best
    }
}

/// How many legs there are for each reason.
#[derive(Debug, Default)]
pub(crate) struct ReasonTally {
    counts: [u64; REASONS.len()],
}

impl ReasonTally {
    /// A leg has come, gone, or changed.
    pub(super) fn shift(&mut self, before: Option<LayerReason>, after: Option<LayerReason>) {
        if let Some(count) = before.and_then(|reason| self.count_mut(reason)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = after.and_then(|reason| self.count_mut(reason)) {
            *count += 1;
        }
    }

    /// The gauges that show it.
    pub(crate) fn gauges(&self) -> impl Iterator<Item = (Gauge, u64)> + '_ {
        let gauges = REASONS.iter().map(|(_, gauge)| *gauge);
        gauges.zip(self.counts)
    }

    fn count_mut(&mut self, reason: LayerReason) -> Option<&mut u64> {
        let position = REASONS.iter().position(|(known, _)| *known == reason)?;
        self.counts.get_mut(position)
    }
}

const REASONS: [(LayerReason, Gauge); 6] = [
    (LayerReason::Best, Gauge::SubscriptionsBest),
    (LayerReason::Bandwidth, Gauge::SubscriptionsBandwidth),
    (
        LayerReason::PublisherNotSending,
        Gauge::SubscriptionsNotSending,
    ),
    (LayerReason::Asked, Gauge::SubscriptionsAsked),
    (LayerReason::Paused, Gauge::SubscriptionsPaused),
    (LayerReason::NotLoudest, Gauge::SubscriptionsNotLoudest),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bit_rate: u64) -> LayerView {
        LayerView {
            receiving: true,
            bit_rate: Some(bit_rate),
        }
    }

    fn stopped(bit_rate: u64) -> LayerView {
        LayerView {
            receiving: false,
            bit_rate: Some(bit_rate),
        }
    }

    const NEVER: LayerView = LayerView {
        receiving: false,
        bit_rate: None,
    };

    #[test]
    fn the_only_layer_is_the_best() {
        assert_eq!(reason(None, Some(0), &[received(30)]), LayerReason::Best);
    }

    #[test]
    fn a_silent_publisher_sends_nothing() {
        let silent = LayerReason::PublisherNotSending;
        assert_eq!(reason(None, Some(0), &[stopped(30)]), silent);
        assert_eq!(reason(None, Some(0), &[NEVER]), silent);
        assert_eq!(reason(None, None, &[]), silent);
    }

    #[test]
    fn the_largest_of_all_received_layers_is_the_best() {
        let layers = [received(900), received(300), received(100)];
        assert_eq!(reason(None, Some(0), &layers), LayerReason::Best);
    }

    #[test]
    fn a_larger_layer_that_stopped_is_missed_from_the_publisher() {
        let layers = [stopped(900), received(300), received(100)];
        let reason = reason(None, Some(1), &layers);
        assert_eq!(reason, LayerReason::PublisherNotSending);
    }

    #[test]
    fn a_smaller_layer_that_stopped_is_not_missed() {
        let layers = [received(900), received(300), stopped(100)];
        assert_eq!(reason(None, Some(0), &layers), LayerReason::Best);
    }

    #[test]
    fn a_layer_that_never_came_counts_as_a_better_one() {
        let layers = [NEVER, received(300)];
        let reason = reason(None, Some(1), &layers);
        assert_eq!(reason, LayerReason::PublisherNotSending);
    }

    #[test]
    fn who_prefers_a_small_layer_asked_for_it() {
        let layers = [received(900), received(300)];
        assert_eq!(reason(Some(1), Some(1), &layers), LayerReason::Asked);
        let layers = [stopped(900), received(300)];
        assert_eq!(reason(Some(1), Some(1), &layers), LayerReason::Asked);
    }

    #[test]
    fn who_prefers_the_largest_layer_has_the_best() {
        let layers = [received(900), received(300), NEVER];
        assert_eq!(reason(Some(0), Some(0), &layers), LayerReason::Best);
    }

    #[test]
    fn a_preferred_layer_that_stopped_is_missed_whatever_stands_in() {
        let layers = [stopped(900), received(300)];
        for target in [0, 1] {
            let reason = reason(Some(0), Some(target), &layers);
            assert_eq!(reason, LayerReason::PublisherNotSending);
        }
    }

    #[test]
    fn a_tally_follows_each_leg() {
        let mut tally = ReasonTally::default();
        let (best, asked) = (Some(LayerReason::Best), Some(LayerReason::Asked));
        tally.shift(None, best);
        tally.shift(None, best);
        tally.shift(best, asked);
        tally.shift(asked, asked);
        let of = |tally: &ReasonTally, gauge| tally.gauges().find(|(own, _)| *own == gauge);
        assert_eq!(of(&tally, Gauge::SubscriptionsBest).unwrap().1, 1);
        assert_eq!(of(&tally, Gauge::SubscriptionsAsked).unwrap().1, 1);
        tally.shift(best, None);
        tally.shift(asked, None);
        assert!(tally.gauges().all(|(_, count)| count == 0));
    }
}
