//! The layers of a stream that are told by dependency descriptors.

use super::heights::PictureHeights;
use super::{
    ActiveTargets, LayerPosition, SPATIAL_MAX, SubLayer, SubLayerSet, TEMPORAL_MAX, refer,
};
use crate::rtp::dependency_descriptor::{
    DECODE_TARGETS_MAX, DecodeTarget, Descriptor, Indication, SPATIAL_LAYERS_MAX, Structure,
    TEMPORAL_LAYERS_MAX, brings_structure,
};

/// What must be kept of a stream to understand its descriptors.
#[derive(Clone, Debug, Default)]
pub(crate) struct DescribedStream {
    structure: Option<Box<Structure>>,
    /// The frame that brought it.
    structure_frame: u16,
    /// The decode targets that are sent.
    active: u32,
    /// The highest layers of those.
    top: SubLayer,
    /// The sub-layers that each decode target stands for.
    served: [SubLayerSet; DECODE_TARGETS_MAX],
    /// Temporal layers of each spatial one; none if the targets are numbered otherwise.
    temporal_count: Option<u8>,
}

impl DescribedStream {
    /// Where a packet with this descriptor stands; none if it cannot be read. What holds from this
    /// packet on is taken note of, if no later one came before.
    pub(crate) fn position(&mut self, data: &[u8], is_newest: bool) -> Option<LayerPosition> {
        let brings = brings_structure(data);
        if brings && !is_newest && !self.is_renewed_by(data) {
            return None;
        }
        let descriptor = Descriptor::parse(data, &mut self.structure).ok()?;
        if brings {
            self.structure_frame = descriptor.frame_number;
        }
        if brings || is_newest {
            self.follow(&descriptor);
        }
        let sub_layer = SubLayer {
            spatial: descriptor.spatial,
            temporal: descriptor.temporal,
        };
        let mut references = 0;
        for diff in &descriptor.dependencies.frame_diffs {
            refer(&mut references, u32::from(*diff));
        }
        let (needed_by, switches_to) = self.indicated(&descriptor);
        Some(LayerPosition {
            sub_layer,
            top: self.top,
            starts_frame: descriptor.starts_frame,
            ends_frame: descriptor.ends_frame,
            is_temporal_step: false,
            frame: descriptor.frame_number,
            references,
            needed_by,
            switches_to,
            targets: self.temporal_count.map(|temporal_count| ActiveTargets {
                place: descriptor.mask_place,
                active: descriptor.active_targets.unwrap_or(self.active),
                temporal_count,
            }),
        })
    }

    /// How high the pictures of each spatial layer are; none if the structure does not say.
    pub(crate) fn heights(&self) -> Option<PictureHeights> {
        let structure = self.structure.as_ref()?;
        structure.resolution(0)?;
        let resolutions = (0..SPATIAL_MAX).map_while(|spatial| structure.resolution(spatial));
        Some(PictureHeights::new(resolutions.map(|size| size.height)))
    }

    /// Whether the structure that a late packet brings is newer than what is known: one that was
    /// lost and came as a repair, which others wait for.
    fn is_renewed_by(&self, data: &[u8]) -> bool {
        let frame = match data {
            [_, high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return false,
        };
        let ahead = frame.wrapping_sub(self.structure_frame);
        self.structure.is_none() || (1..1 << 15).contains(&ahead)
    }

    fn follow(&mut self, descriptor: &Descriptor) {
        let Some(active) = descriptor.active_targets else {
            return;
        };
        if let Some(structure) = &self.structure
            && (descriptor.has_structure || active != self.active)
        {
            self.active = active;
            self.top = top(structure, active);
            self.served = served(structure, active);
            self.temporal_count = temporal_count(structure.decode_targets());
        }
    }

    /// The sub-layers that need the frame, and those that one can switch to with it.
    fn indicated(&self, descriptor: &Descriptor) -> (SubLayerSet, SubLayerSet) {
        let (mut needed_by, mut switches_to) = (SubLayerSet::NONE, SubLayerSet::NONE);
        let count = self.structure.as_ref().map_or(0, |s| s.target_count());
        for (target, served) in (0..count).zip(self.served) {
            match descriptor.dependencies.indications.of(target) {
                Indication::NotPresent => {}
                Indication::Discardable | Indication::Required => {
                    needed_by = needed_by.or(served);
                }
                Indication::Switch => {
                    needed_by = needed_by.or(served);
                    switches_to = switches_to.or(served);
                }
            }
        }
        (needed_by, switches_to)
    }
}

/// The decode targets that are sent, by their numbers.
fn active_targets(
    structure: &Structure,
    active: u32,
) -> impl Iterator<Item = (usize, &DecodeTarget)> {
    let all = structure.decode_targets().iter().enumerate();
    all.filter(move |(index, _)| active >> index & 1 == 1)
}

fn top(structure: &Structure, active: u32) -> SubLayer {
    active_targets(structure, active).fold(SubLayer::default(), |top, (_, target)| SubLayer {
        spatial: top.spatial.max(target.spatial),
        temporal: top.temporal.max(target.temporal),
    })
}

/// Each sub-layer is served by the highest active target that does not exceed it, or if there is
/// none, by the lowest.
fn served(structure: &Structure, active: u32) -> [SubLayerSet; DECODE_TARGETS_MAX] {
    let mut served = [SubLayerSet::NONE; DECODE_TARGETS_MAX];
    let layers = |target: &DecodeTarget| (target.spatial, target.temporal);
    let targets = || active_targets(structure, active);
    for sub_layer in SubLayer::all() {
        let fits = |target: &DecodeTarget| {
            target.spatial <= sub_layer.spatial && target.temporal <= sub_layer.temporal
        };
        let best = targets()
            .filter(|(_, target)| fits(target))
            .max_by_key(|(_, target)| layers(target));
        let best = best.or_else(|| targets().min_by_key(|(_, target)| layers(target)));
        if let Some(set) = best.and_then(|(index, _)| served.get_mut(index)) {
            *set = set.or(SubLayerSet::only(sub_layer));
        }
    }
    served
}

/// How many temporal layers each spatial one has, if targets are numbered by spatial layer, then by
/// temporal one, as browsers do.
fn temporal_count(targets: &[DecodeTarget]) -> Option<u8> {
    let count = targets.iter().map(|target| target.temporal).max()? + 1;
    let mut numbered = (0..).zip(targets);
    numbered
        .all(|(index, target): (u8, _)| target.spatial * count + target.temporal == index)
        .then_some(count)
}

const _: () = assert!(
    SPATIAL_LAYERS_MAX == SPATIAL_MAX as usize && TEMPORAL_LAYERS_MAX == TEMPORAL_MAX as usize,
    "every layer of a descriptor is a sub-layer"
);
