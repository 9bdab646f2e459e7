//! How high the pictures of a stream are, as far as it says so.

use super::SPATIAL_MAX;

/// Pixels, as they are coded: before a receiver turns or scales them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PictureHeights {
    /// Of each spatial layer, ascending; zero where it is not known.
    of: [u16; SPATIAL_MAX as usize],
}

impl PictureHeights {
    /// From those of the spatial layers, ascending. More than [`SPATIAL_MAX`] are left out.
    pub(crate) fn new(heights: impl IntoIterator<Item = u32>) -> Self {
        let mut of = [0; SPATIAL_MAX as usize];
        for (slot, height) in of.iter_mut().zip(heights) {
            *slot = u16::try_from(height).unwrap_or(u16::MAX);
        }
        Self { of }
    }

    /// Of the lowest spatial layer.
    pub(crate) fn lowest(self) -> Option<u16> {
        let [lowest, ..] = self.of;
        (lowest > 0).then_some(lowest)
    }

    /// The highest spatial layer below those that are known to be higher than `limit`: the lowest one
    /// whatever its height. None if there are no such.
    pub(crate) fn spatial_max(self, limit: u16) -> Option<u8> {
        let mut upper = (0..).zip(self.of.iter().skip(1));
        upper
            .find(|(_, height)| **height > limit)
            .map(|(below, _)| below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spatial_layers_are_left_out_from_the_first_that_is_too_high() {
        let heights = PictureHeights::new([180, 360, 720]);
        for (limit, expected) in [
            (100, Some(0)),
            (180, Some(0)),
            (359, Some(0)),
            (360, Some(1)),
            (719, Some(1)),
            (720, None),
        ] {
            assert_eq!(heights.spatial_max(limit), expected, "{limit}");
        }
    }

    #[test]
    fn what_is_not_known_leaves_nothing_out() {
        let unknown = PictureHeights::default();
        assert_eq!((unknown.lowest(), unknown.spatial_max(1)), (None, None));
        // A gap in the middle does not hide what is above it.
        let heights = PictureHeights::new([180, 0, 720]);
        assert_eq!(heights.spatial_max(360), Some(1));
    }

    #[test]
    fn a_height_beyond_all_is_the_highest_that_can_be_said() {
        let heights = PictureHeights::new([65_536, 1, 2, 3, 4]);
        assert_eq!(heights.lowest(), Some(u16::MAX));
    }
}
