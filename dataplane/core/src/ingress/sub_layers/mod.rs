//! Layers inside of one RTP stream: temporal ones of VP8, and temporal and spatial ones of VP9, and
//! of all codecs with a dependency descriptor. VP8 tells its own in the payload or in that.
//!
//! Where a packet stands among them is found out once, when it comes, and kept with it; legs decide
//! by it alone. All codecs look the same to them: each packet says which sub-layers need its frame,
//! and which of them one can begin to forward with it.

pub(crate) mod described;
pub(crate) mod heights;
pub(crate) mod rates;
#[cfg(test)]
mod tests;
pub(crate) mod tracker;
pub(crate) mod vp9;

use core::fmt;

use crate::rtp::dependency_descriptor::MaskPlace;

/// What a receiver gets of one stream: everything up to this spatial and this temporal layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SubLayer {
    /// Below [`SPATIAL_MAX`].
    pub(crate) spatial: u8,
    /// Below [`TEMPORAL_MAX`].
    pub(crate) temporal: u8,
}

impl SubLayer {
    /// Everything.
    pub(crate) const TOP: Self = Self {
        spatial: SPATIAL_MAX - 1,
        temporal: TEMPORAL_MAX - 1,
    };

    /// The lower one of both in each direction.
    pub(crate) fn up_to(self, top: Self) -> Self {
        Self {
            spatial: self.spatial.min(top.spatial),
            temporal: self.temporal.min(top.temporal),
        }
    }

    /// This place among all sub-layers.
    pub(crate) fn index(self) -> u32 {
        u32::from(self.spatial.min(SPATIAL_MAX - 1)) * u32::from(TEMPORAL_MAX)
            + u32::from(self.temporal.min(TEMPORAL_MAX - 1))
    }

    /// All that there can be, ascending.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SPATIAL_MAX)
            .flat_map(|spatial| (0..TEMPORAL_MAX).map(move |temporal| Self { spatial, temporal }))
    }
}

/// Some of the sub-layers that there can be: one bit for each, by [`SubLayer::index`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubLayerSet(u32);

impl SubLayerSet {
    /// No sub-layer.
    pub(crate) const NONE: Self = Self(0);

    /// Each that reaches as high as `least` in both directions.
    pub(crate) fn at_least(least: SubLayer) -> Self {
        let row = 0xff << least.temporal & 0xff;
        let rows = u32::MAX << (u32::from(least.spatial) * u32::from(TEMPORAL_MAX));
        Self((row * EACH_ROW) & rows)
    }

    /// The same in one spatial layer only.
    pub(crate) fn at_least_within(least: SubLayer) -> Self {
        let row = 0xff << least.temporal & 0xff;
        Self(row << (u32::from(least.spatial) * u32::from(TEMPORAL_MAX)))
    }

    /// Just this one.
    pub(crate) fn only(sub_layer: SubLayer) -> Self {
        Self(1 << sub_layer.index())
    }

    /// Whether this one is among them.
    pub(crate) fn contains(self, sub_layer: SubLayer) -> bool {
        self.has(sub_layer.index())
    }

    /// Whether the one in this place is among them: [`SubLayer::index`].
    pub(crate) fn has(self, place: u32) -> bool {
        self.0.checked_shr(place).unwrap_or_default() & 1 == 1
    }

    /// Those of either.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for SubLayerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = SubLayer::all().filter(|sub_layer| self.contains(*sub_layer));
        f.debug_set()
            .entries(members.map(|member| (member.spatial, member.temporal)))
            .finish()
    }
}

/// Where a packet stands among the layers of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerPosition {
    /// The layers of its frame.
    pub(crate) sub_layer: SubLayer,
    /// The highest layers that the stream has.
    pub(crate) top: SubLayer,
    /// It is the first packet of its frame.
    pub(crate) starts_frame: bool,
    /// It is the last packet of its frame.
    pub(crate) ends_frame: bool,
    /// One who gets the temporal layer below that of the frame can get this one too from here on,
    /// without a change of the spatial layer.
    pub(crate) is_temporal_step: bool,
    /// Number of the frame, modulo 2^16. Frames of other spatial layers have other numbers.
    pub(crate) frame: u16,
    /// The frames that it refers to, as far as that is known: bit `n` is the one `n + 1` before.
    pub(crate) references: u64,
    /// Who gets one of these needs the frame.
    pub(crate) needed_by: SubLayerSet,
    /// Whatever one got before, all that follows of these can be decoded if this frame can.
    pub(crate) switches_to: SubLayerSet,
    /// Of a dependency descriptor.
    pub(crate) targets: Option<ActiveTargets>,
}

/// What it takes to tell a receiver that it gets less than the publisher sends (RTP Payload Format
/// for AV1, §A.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActiveTargets {
    /// Where the mask stands in the descriptor of this packet.
    pub(crate) place: MaskPlace,
    /// The decode targets that the publisher sends.
    pub(crate) active: u32,
    /// The targets of each spatial layer: they are numbered by spatial layer, then by temporal one.
    pub(crate) temporal_count: u8,
}

impl ActiveTargets {
    /// The targets that are left for one who gets no more than `cut`.
    pub(crate) fn up_to(&self, cut: SubLayer) -> u32 {
        let row = (1_u32 << cut.temporal.saturating_add(1).min(self.temporal_count)) - 1;
        let rows = (0..=u32::from(cut.spatial)).map(|s| s * u32::from(self.temporal_count));
        let left = rows.fold(0, |mask, shift| {
            mask | row.checked_shl(shift).unwrap_or_default()
        });
        self.active & left
    }
}

/// Adds the frame `diff` before to those that a frame refers to. One that is further back than can
/// be said is left out: whether that has been forwarded is not known any more either.
pub(crate) fn refer(references: &mut u64, diff: u32) {
    if let Some(place) = diff.checked_sub(1) {
        *references |= 1_u64.checked_shl(place).unwrap_or_default();
    }
}

/// Spatial layers of one stream: a browser sends three.
pub(crate) const SPATIAL_MAX: u8 = 4;

/// Temporal layers: TID of VP9 has 3 bits.
pub(crate) const TEMPORAL_MAX: u8 = 8;

/// One bit in each row of [`TEMPORAL_MAX`].
const EACH_ROW: u32 = 0x0101_0101;

const _: () = assert!(
    SPATIAL_MAX as u32 * TEMPORAL_MAX as u32 == u32::BITS,
    "one bit for each sub-layer"
);
