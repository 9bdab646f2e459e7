//! One stream's layers as its packets come.

use shared::protocol::{Codec, Extension};

use super::described::DescribedStream;
use super::heights::PictureHeights;
use super::vp9::{Vp9Packet, Vp9Stream};
use super::{LayerPosition, SubLayer, SubLayerSet};
use crate::ingress::packet_info::{NewestPicture, PacketInfo};
use crate::rtp::payload::{h264, vp8, vp9};

/// Finds out where packets stand. A stream without layers costs it next to nothing.
#[derive(Debug, Default)]
pub(crate) struct LayerTracker {
    /// The newest packet that has a picture id.
    newest_picture: Option<NewestPicture>,
    /// The highest temporal layer of VP8.
    temporal_top: u8,
    heights: PictureHeights,
    /// The key frame that said so.
    heights_from: u64,
    // Made with the first packet that needs it.
    vp9: Option<Box<Vp9Stream>>,
    described: Option<Box<DescribedStream>>,
}

impl LayerTracker {
    /// Adds to `info`, of `packet`, what follows from the packets before: the whole picture id, and
    /// where it stands. `is_newest` tells that it is ahead of all that came before.
    pub(crate) fn complete(
        &mut self,
        sequence_number: u64,
        is_newest: bool,
        info: &mut PacketInfo,
        packet: &[u8],
    ) {
        info.position = match info.codec {
            // Browsers leave out of the payload what the header extension says.
            Codec::Vp8 => {
                let own = self.vp8(sequence_number, info);
                own.or_else(|| self.described(is_newest, info, packet))
            }
            Codec::Vp9 => self.vp9(sequence_number, is_newest, info, packet),
            Codec::Av1 | Codec::H264 | Codec::H265 => self.described(is_newest, info, packet),
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Red => None,
        };
        // Also one that was lost and came as a repair, unless another key frame came since.
        if info.keyframe && sequence_number >= self.heights_from {
            self.follow_heights(sequence_number, info, packet);
        }
    }

    /// How high the pictures are since the last key frame; unknown before the first key frame, and for
    /// codecs and streams that do not say.
    pub(crate) fn heights(&self) -> PictureHeights {
        self.heights
    }

    fn follow_heights(&mut self, sequence_number: u64, info: &PacketInfo, packet: &[u8]) {
        let payload = packet.get(info.payload()).unwrap_or_default();
        let whole = |height: u16| PictureHeights::new([height.into()]);
        let heights = match info.codec {
            Codec::Vp8 => vp8::keyframe_height(payload).map(whole),
            Codec::Vp9 => vp9::Descriptor::parse(payload).and_then(|of| heights_of(&of)),
            Codec::Av1 | Codec::H264 | Codec::H265 => {
                let described = self.described.as_ref().and_then(|stream| stream.heights());
                described.or_else(|| {
                    let is_h264 = info.codec == Codec::H264;
                    let height = h264::keyframe_height(payload).filter(|_| is_h264);
                    height.map(whole)
                })
            }
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::G722 => None,
        };
        if let Some(heights) = heights {
            self.heights = heights;
            self.heights_from = sequence_number;
        }
    }

    /// RFC 7741 §4.2. Temporal layers are told by TID and Y; the picture id tells frames apart.
    fn vp8(&mut self, sequence_number: u64, info: &mut PacketInfo) -> Option<LayerPosition> {
        let position = info.vp8.as_mut()?;
        let descriptor = position.descriptor;
        let id = descriptor.picture_id?;
        let is_long = descriptor.picture_id_is_long;
        position.picture_id =
            NewestPicture::widen(&mut self.newest_picture, sequence_number, id, is_long);
        let temporal = descriptor.temporal_layer?;
        let sub_layer = SubLayer {
            spatial: 0,
            temporal,
        };
        self.temporal_top = self.temporal_top.max(temporal);
        Some(LayerPosition {
            sub_layer,
            top: SubLayer {
                spatial: 0,
                temporal: self.temporal_top,
            },
            starts_frame: descriptor.starts_frame(),
            ends_frame: info.marker,
            is_temporal_step: descriptor.layer_sync,
            frame: position.picture_id,
            references: 0,
            needed_by: SubLayerSet::at_least(sub_layer),
            switches_to: if info.keyframe {
                SubLayerSet::at_least(sub_layer)
            } else {
                SubLayerSet::NONE
            },
            targets: None,
        })
    }

    fn vp9(
        &mut self,
        sequence_number: u64,
        is_newest: bool,
        info: &mut PacketInfo,
        packet: &[u8],
    ) -> Option<LayerPosition> {
        let descriptor = vp9::Descriptor::parse(packet.get(info.payload())?)?;
        let id = descriptor.picture_id?;
        let is_long = descriptor.picture_id_is_long;
        let picture_id =
            NewestPicture::widen(&mut self.newest_picture, sequence_number, id, is_long);
        info.vp9 = Some(vp9::Numbers {
            picture_id: Some(picture_id),
            tl0_picture_index: descriptor.tl0_picture_index,
        });
        descriptor.layer?;
        let stream = self.vp9.get_or_insert_default();
        stream.position(&Vp9Packet {
            descriptor: &descriptor,
            picture_id,
            marker: info.marker,
            is_newest,
        })
    }

    fn described(
        &mut self,
        is_newest: bool,
        info: &PacketInfo,
        packet: &[u8],
    ) -> Option<LayerPosition> {
        let data = info.extension(Extension::DependencyDescriptor, packet)?;
        let stream = self.described.get_or_insert_default();
        stream.position(data, is_newest)
    }
}

/// As the scalability structure has them.
fn heights_of(descriptor: &vp9::Descriptor) -> Option<PictureHeights> {
    let resolutions = &descriptor.structure.as_ref()?.resolutions;
    let heights = resolutions.iter().map(|(_, height)| u32::from(*height));
    (!resolutions.is_empty()).then(|| PictureHeights::new(heights))
}
