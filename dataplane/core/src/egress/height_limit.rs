//! Which layers are of no use to a subscriber, since they are higher than it shows them
//! (`maxHeight`).

use super::selector::LayerState;

/// Marks the layers whose pictures are known to be higher than `max_height`, and what is inside of the
/// others and higher. Should no other layer be received, the lowest of those that are stays: a picture
/// that is too high is better than none.
pub(crate) fn mark(layers: &mut [LayerState], max_height: u16) {
    for layer in layers.iter_mut() {
        layer.spatial_max = layer.heights.spatial_max(max_height);
        let lowest = layer.heights.lowest();
        layer.is_too_high = lowest.is_some_and(|height| height > max_height);
    }
    if layers
        .iter()
        .any(|layer| layer.receiving && !layer.is_too_high)
    {
        return;
    }
    let received = layers.iter_mut().filter(|layer| layer.receiving);
    if let Some(lowest) = received.min_by_key(|layer| layer.heights.lowest()) {
        lowest.is_too_high = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::sub_layers::heights::PictureHeights;

    /// Layers with these heights; zero is unknown, and a negative one is not received.
    fn marked<const N: usize>(max_height: u16, heights: [i32; N]) -> [bool; N] {
        let mut layers = heights.map(|height| LayerState {
            receiving: height >= 0,
            heights: PictureHeights::new([height.unsigned_abs()]),
            ..LayerState::default()
        });
        mark(&mut layers, max_height);
        layers.map(|layer| layer.is_too_high)
    }

    #[test]
    fn layers_above_the_limit_are_marked() {
        assert_eq!(marked(360, [720, 360, 180]), [true, false, false]);
        assert_eq!(marked(359, [720, 360, 180]), [true, true, false]);
        assert_eq!(marked(720, [720, 360, 180]), [false; 3]);
    }

    #[test]
    fn a_height_that_is_not_known_is_not_too_high() {
        assert_eq!(marked(100, [0, 720]), [false, true]);
    }

    #[test]
    fn of_those_received_the_lowest_stays() {
        assert_eq!(marked(100, [720, 360, 180]), [true, true, false]);
        assert_eq!(marked(180, [720, 360, -180]), [true, false, false]);
        assert_eq!(marked(100, [720, 360, -180]), [true, false, true]);
        assert_eq!(marked(100, [-720]), [true]);
    }

    #[test]
    fn what_is_too_high_inside_of_a_layer_is_marked_there() {
        let mut layers = [LayerState {
            receiving: true,
            heights: PictureHeights::new([180, 360, 720]),
            ..LayerState::default()
        }];
        mark(&mut layers, 400);
        assert_eq!(
            (layers[0].is_too_high, layers[0].spatial_max),
            (false, Some(1))
        );
        mark(&mut layers, 90);
        assert_eq!(
            (layers[0].is_too_high, layers[0].spatial_max),
            (false, Some(0))
        );
    }
}
