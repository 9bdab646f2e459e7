//! The layers of VP9, from its payload descriptor.

use arrayvec::ArrayVec;

use super::{LayerPosition, SPATIAL_MAX, SubLayer, SubLayerSet, refer};
use crate::rtp::payload::vp9::{
    Descriptor, GROUP_PICTURES_MAX, GroupPicture, LayerIndices, PictureDiffs,
};

/// What must be kept of a VP9 stream to understand its packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vp9Stream {
    /// What the pictures of a group refer to, without flexible mode; empty if it is not known.
    group: ArrayVec<GroupPicture, GROUP_PICTURES_MAX>,
    /// The picture with which the group begins.
    group_start: Option<u16>,
    /// The highest layers that are sent.
    top: SubLayer,
    /// Pictures in a row that ended below it.
    lower_pictures: u8,
}

/// A packet of a VP9 stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vp9Packet<'a> {
    /// Its descriptor.
    pub(crate) descriptor: &'a Descriptor,
    /// The picture id with 15 bits.
    pub(crate) picture_id: u16,
    /// The M bit: the last packet of its picture.
    pub(crate) marker: bool,
    /// It is ahead of all that came before.
    pub(crate) is_newest: bool,
}

impl Vp9Stream {
    /// Where a packet stands; none if it does not say, or in a layer that we do not know of.
    pub(crate) fn position(&mut self, packet: &Vp9Packet<'_>) -> Option<LayerPosition> {
        let descriptor = packet.descriptor;
        let layer = descriptor.layer?;
        descriptor.picture_id?;
        if layer.spatial >= SPATIAL_MAX {
            return None;
        }
        self.follow_group(packet);
        if packet.is_newest {
            self.follow(packet, layer);
        }
        let sub_layer = SubLayer {
            spatial: layer.spatial,
            temporal: layer.temporal,
        };
        let switches_to = if descriptor.is_predicted {
            SubLayerSet::NONE
        } else {
            SubLayerSet::at_least(sub_layer)
        };
        Some(LayerPosition {
            sub_layer,
            top: self.top,
            starts_frame: descriptor.starts_frame,
            ends_frame: descriptor.ends_frame,
            is_temporal_step: layer.switches_up,
            frame: frame(packet.picture_id, layer.spatial),
            references: self.references(packet, layer),
            needed_by: self.needed_by(sub_layer, descriptor.is_not_for_upper),
            switches_to,
            targets: None,
        })
    }

    /// Takes note of a structure, also of one that was lost and came as a repair, if it is no older
    /// than what is known. A key picture begins a group of its own: while its structure is missing,
    /// nothing is known.
    fn follow_group(&mut self, packet: &Vp9Packet<'_>) {
        let ahead = self.since_group_start(packet.picture_id);
        let is_older = ahead.is_some_and(|ahead| ahead > PICTURE_ID_MASK / 2);
        if let Some(structure) = &packet.descriptor.structure {
            if packet.is_newest || !is_older {
                self.group.clone_from(&structure.group);
                self.group_start = Some(packet.picture_id);
            }
        } else if packet.is_newest && !packet.descriptor.is_predicted && ahead != Some(0) {
            self.group.clear();
            self.group_start = Some(packet.picture_id);
        }
    }

    /// Pictures since the one with which the group begins.
    fn since_group_start(&self, picture_id: u16) -> Option<u16> {
        let start = self.group_start?;
        Some(picture_id.wrapping_sub(start) & PICTURE_ID_MASK)
    }

    /// Takes note of the highest spatial layer. That goes down late, since encoders leave out a
    /// frame of it now and then.
    fn follow(&mut self, packet: &Vp9Packet<'_>, layer: LayerIndices) {
        self.top.temporal = self.top.temporal.max(layer.temporal);
        if layer.spatial >= self.top.spatial {
            self.top.spatial = layer.spatial;
            self.lower_pictures = 0;
        } else if packet.marker {
            self.lower_pictures += 1;
            if self.lower_pictures >= LOWER_PICTURES_MAX {
                self.top.spatial = layer.spatial;
                self.lower_pictures = 0;
            }
        }
    }

    /// A frame is needed by those who get its spatial layer, and by those above if these refer to
    /// it. Who wants more than is sent gets the highest there is.
    fn needed_by(&self, sub_layer: SubLayer, is_not_for_upper: bool) -> SubLayerSet {
        if is_not_for_upper && sub_layer.spatial < self.top.spatial {
            SubLayerSet::at_least_within(sub_layer)
        } else {
            SubLayerSet::at_least(sub_layer)
        }
    }

    fn references(&self, packet: &Vp9Packet<'_>, layer: LayerIndices) -> u64 {
        let mut references = 0;
        if layer.is_inter_layer_predicted && layer.spatial > 0 {
            refer(&mut references, 1);
        }
        if packet.descriptor.is_predicted {
            for diff in self.picture_diffs(packet, layer).iter() {
                refer(&mut references, u32::from(diff) * u32::from(SPATIAL_MAX));
            }
        }
        references
    }

    /// The earlier pictures that the packet's refers to, in its own spatial layer, as far as that is
    /// known. Where the group has another temporal layer, another group has begun with a picture of
    /// which nothing came.
    fn picture_diffs(&self, packet: &Vp9Packet<'_>, layer: LayerIndices) -> PictureDiffs {
        if packet.descriptor.is_flexible {
            return packet.descriptor.picture_diffs;
        }
        let since = self.since_group_start(packet.picture_id);
        since
            .and_then(|since| usize::from(since).checked_rem(self.group.len()))
            .and_then(|place| self.group.get(place))
            .filter(|picture| picture.temporal == layer.temporal)
            .map(|picture| picture.picture_diffs)
            .unwrap_or_default()
    }
}

/// Layer frames are numbered through: [`SPATIAL_MAX`] numbers for a picture. That agrees with the
/// cycle of picture ids, since 2^16 divides 2^15 times as many.
fn frame(picture_id: u16, spatial: u8) -> u16 {
    picture_id
        .wrapping_mul(u16::from(SPATIAL_MAX))
        .wrapping_add(u16::from(spatial))
}

const PICTURE_ID_MASK: u16 = 0x7fff;

/// A spatial layer that is missing in so many pictures in a row is not sent any more.
const LOWER_PICTURES_MAX: u8 = 8;
