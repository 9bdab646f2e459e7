//! The VP9 payload descriptor (RFC 9628 §4.2).
//!
//! ```text
//!        0 1 2 3 4 5 6 7
//!       +-+-+-+-+-+-+-+-+
//!       |I|P|L|F|B|E|V|Z|
//!       +-+-+-+-+-+-+-+-+
//! I:    |M| picture id  |  7 bits, or 15 bits over two bytes if M
//!       +-+-+-+-+-+-+-+-+
//! L:    | TID |U| SID |D|
//!       +-+-+-+-+-+-+-+-+
//! L:    |   TL0PICIDX   |  not in flexible mode (F)
//!       +-+-+-+-+-+-+-+-+
//! P, F: |   P_DIFF    |N|  one to three times, N: another follows
//!       +-+-+-+-+-+-+-+-+
//! V:    | N_S |Y|G|-|-|-|  the scalability structure
//!       +-+-+-+-+-+-+-+-+
//! Y:    | width, height |  16 bits each, for each of N_S + 1 spatial layers
//!       +-+-+-+-+-+-+-+-+
//! G:    |      N_G      |  pictures of a group
//!       +-+-+-+-+-+-+-+-+
//! N_G:  | TID |U| R |-|-|  for each of them, with R bytes of P_DIFF
//!       +-+-+-+-+-+-+-+-+
//! ```

use arrayvec::ArrayVec;

/// What a VP9 payload says before its frame data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// M: the picture id counts modulo 2^15, else modulo 2^7.
    pub picture_id_is_long: bool,
    /// P: the frame refers to earlier pictures.
    pub is_predicted: bool,
    /// F: each frame says for itself which pictures it refers to.
    pub is_flexible: bool,
    /// B: the packet is the first of its layer frame.
    pub starts_frame: bool,
    /// E: the packet is the last of its layer frame.
    pub ends_frame: bool,
    /// Z: the frames of upper spatial layers do not refer to this one.
    pub is_not_for_upper: bool,
    /// Which layer the frame is of; none if there is only one.
    pub layer: Option<LayerIndices>,
    /// TL0PICIDX: counts the pictures of the lowest temporal layer, modulo 2^8.
    pub tl0_picture_index: Option<u8>,
    /// The pictures that the frame refers to, as differences of picture ids, 1 to 127. Only in
    /// flexible mode.
    pub picture_diffs: PictureDiffs,
    /// What holds for all pictures until the next one.
    pub structure: Option<ScalabilityStructure>,
    length: usize,
}

/// Which layer a frame is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerIndices {
    /// TID, 3 bits.
    pub temporal: u8,
    /// U: from here on one can get this temporal layer.
    pub switches_up: bool,
    /// SID, 3 bits.
    pub spatial: u8,
    /// D: the frame refers to the one of the next lower spatial layer in the same picture.
    pub is_inter_layer_predicted: bool,
}

/// The scalability structure (RFC 9628 §4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalabilityStructure {
    /// `N_S` + 1: 1 to 8.
    pub spatial_count: u8,
    /// The size of each spatial layer, width and height in pixels; empty if it is not said.
    pub resolutions: ArrayVec<(u16, u16), SPATIAL_LAYERS_MAX>,
    /// The pictures of a group, which is repeated. Empty if it is not said, or if they are more than
    /// [`GROUP_PICTURES_MAX`].
    pub group: ArrayVec<GroupPicture, GROUP_PICTURES_MAX>,
}

/// One picture of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPicture {
    /// TID, 3 bits.
    pub temporal: u8,
    /// U: as in [`LayerIndices`].
    pub switches_up: bool,
    /// The pictures that it refers to, as differences of picture ids.
    pub picture_diffs: PictureDiffs,
}

/// The numbers that count the pictures of a whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_picture_index: Option<u8>,
}

/// Differences of picture ids, at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureDiffs {
    diffs: [u8; PICTURE_DIFFS_MAX],
    count: u8,
}

impl PictureDiffs {
    /// The differences.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.diffs.iter().copied().take(usize::from(self.count))
    }

    fn push(&mut self, diff: u8) -> Option<()> {
        *self.diffs.get_mut(usize::from(self.count))? = diff;
        self.count += 1;
        Some(())
    }
}

impl Descriptor {
    /// Reads the descriptor at the start of `payload`; None if the payload ends before it does, or
    /// with it, or if it has more than three `P_DIFF`.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: payload };
        let first = reader.byte()?;
        let mut descriptor = Self {
            is_predicted: first & P_BIT != 0,
            is_flexible: first & F_BIT != 0,
            starts_frame: first & B_BIT != 0,
            ends_frame: first & E_BIT != 0,
            is_not_for_upper: first & Z_BIT != 0,
            ..Self::default()
        };
        if first & I_BIT != 0 {
            let high = reader.byte()?;
            descriptor.picture_id_is_long = high & M_BIT != 0;
            let id = u16::from(high & !M_BIT);
            descriptor.picture_id = Some(if descriptor.picture_id_is_long {
                id << 8 | u16::from(reader.byte()?)
            } else {
                id
            });
        }
        if first & L_BIT != 0 {
            let byte = reader.byte()?;
            descriptor.layer = Some(LayerIndices {
                temporal: byte >> 5,
                switches_up: byte & U_BIT != 0,
                spatial: byte >> 1 & 0x07,
                is_inter_layer_predicted: byte & 0x01 != 0,
            });
            if !descriptor.is_flexible {
                descriptor.tl0_picture_index = Some(reader.byte()?);
            }
        }
        if descriptor.is_flexible && descriptor.is_predicted {
            descriptor.picture_diffs = reader.picture_diffs()?;
        }
        if first & V_BIT != 0 {
            descriptor.structure = Some(reader.structure()?);
        }
        if reader.rest.is_empty() {
            return None;
        }
        descriptor.length = payload.len() - reader.rest.len();
        Some(descriptor)
    }

    /// Bytes before the frame data.
    #[expect(clippy::len_without_is_empty, reason = "a descriptor is never empty")]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether the packet is the first of a key picture: it starts a frame (B), the frame is not
    /// predicted from an earlier picture (P is 0), and it is the lowest spatial layer (SID 0).
    ///
    /// Upper layers of a key picture have P 0 too, but cannot be decoded alone.
    pub fn starts_keyframe(&self) -> bool {
        let spatial = self.layer.map_or(0, |layer| layer.spatial);
        !self.is_predicted && self.starts_frame && spatial == 0
    }
}

/// Writes other numbers over those of the descriptor at the start of `payload`. A picture id keeps
/// its length: of one with 7 bits only the lower ones are written. None if the payload ends before
/// its numbers do.
pub fn rewrite(payload: &mut [u8], numbers: &Numbers) -> Option<()> {
    let (&mut first, mut rest) = payload.split_first_mut()?;
    if first & I_BIT != 0 {
        let [high, low] = numbers.picture_id?.to_be_bytes();
        let (id, behind) = rest.split_first_mut()?;
        rest = behind;
        if *id & M_BIT == 0 {
            *id = low & !M_BIT;
        } else {
            *id = M_BIT | high;
            let (id, behind) = rest.split_first_mut()?;
            *id = low;
            rest = behind;
        }
    }
    if first & L_BIT != 0 && first & F_BIT == 0 {
        *rest.get_mut(1)? = numbers.tl0_picture_index?;
    }
    Some(())
}

/// Whether `payload` is the first packet of a key picture: [`Descriptor::starts_keyframe`].
pub fn starts_keyframe(payload: &[u8]) -> bool {
    // Most packets are told by their first byte.
    payload
        .first()
        .is_some_and(|first| first & P_BIT == 0 && first & B_BIT != 0)
        && Descriptor::parse(payload).is_some_and(|descriptor| descriptor.starts_keyframe())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn picture_diffs(&mut self) -> Option<PictureDiffs> {
        let mut diffs = PictureDiffs::default();
        loop {
            let byte = self.byte()?;
            diffs.push(byte >> 1)?;
            if byte & N_BIT == 0 {
                return Some(diffs);
            }
        }
    }

    fn structure(&mut self) -> Option<ScalabilityStructure> {
        let first = self.byte()?;
        let mut structure = ScalabilityStructure {
            spatial_count: (first >> 5) + 1,
            ..ScalabilityStructure::default()
        };
        if first & Y_BIT != 0 {
            for _ in 0..structure.spatial_count {
                let size = (self.number()?, self.number()?);
                structure.resolutions.try_push(size).ok()?;
            }
        }
        if first & G_BIT != 0 {
            let count = self.byte()?;
            for _ in 0..count {
                let picture = self.group_picture()?;
                if usize::from(count) <= GROUP_PICTURES_MAX {
                    structure.group.try_push(picture).ok()?;
                }
            }
        }
        Some(structure)
    }

    fn group_picture(&mut self) -> Option<GroupPicture> {
        let first = self.byte()?;
        let mut picture_diffs = PictureDiffs::default();
        for _ in 0..first >> 2 & 0x03 {
            picture_diffs.push(self.byte()?)?;
        }
        Some(GroupPicture {
            temporal: first >> 5,
            switches_up: first & U_BIT != 0,
            picture_diffs,
        })
    }
}

/// Spatial layers: `N_S` has 3 bits.
pub const SPATIAL_LAYERS_MAX: usize = 8;
/// Pictures of a group that is kept: browsers send 8 at the most.
pub const GROUP_PICTURES_MAX: usize = 16;
/// `P_DIFF` of one frame (RFC 9628 §4.2).
const PICTURE_DIFFS_MAX: usize = 3;

const I_BIT: u8 = 0x80;
const P_BIT: u8 = 0x40;
const L_BIT: u8 = 0x20;
const F_BIT: u8 = 0x10;
const B_BIT: u8 = 0x08;
const E_BIT: u8 = 0x04;
const V_BIT: u8 = 0x02;
const Z_BIT: u8 = 0x01;
const M_BIT: u8 = 0x80;
/// Of the layer indices, and of a picture in a group.
const U_BIT: u8 = 0x10;
/// Of a `P_DIFF`.
const N_BIT: u8 = 0x01;
/// Of the scalability structure.
const Y_BIT: u8 = 0x10;
const G_BIT: u8 = 0x08;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codecs::vp9::Vp9Packet;
    use rtp::packetizer::Depacketizer;

    use super::*;

    /// Flexible mode, 15-bit picture id, layer indices, scalability structure, data.
    const KEY: [u8; 7] = [0xba, 0x81, 0x23, 0x00, 0x08, 0x00, 0x82];

    #[test]
    fn the_first_packet_of_a_key_picture_starts_a_key_frame() {
        assert!(starts_keyframe(&KEY));
    }

    #[test]
    fn numbers_are_written_over_those_that_are_there() {
        let mut long = KEY;
        let numbers = Numbers {
            picture_id: Some(0x4567),
            tl0_picture_index: None,
        };
        rewrite(&mut long, &numbers).unwrap();
        assert_eq!(long, [0xba, 0xc5, 0x67, 0x00, 0x08, 0x00, 0x82]);
        let mut short = [0xa8, 0x23, 0x00, 0x07, 0x82];
        let numbers = Numbers {
            picture_id: Some(0x1234),
            tl0_picture_index: Some(9),
        };
        rewrite(&mut short, &numbers).unwrap();
        assert_eq!(short, [0xa8, 0x34, 0x00, 0x09, 0x82]);
        assert_eq!(rewrite(&mut short[..3], &numbers), None);
    }

    #[test]
    fn without_layers_and_picture_id_the_flags_decide() {
        assert!(starts_keyframe(&[0x08, 0x82]));
        assert!(!starts_keyframe(&[0x48, 0x82]));
        assert!(!starts_keyframe(&[0x00, 0x82]));
    }

    #[test]
    fn an_upper_spatial_layer_starts_nothing() {
        let mut packet = KEY;
        packet[3] = 0x03;
        assert!(!starts_keyframe(&packet));
    }

    #[test]
    fn an_upper_temporal_layer_number_does_not_matter() {
        let mut packet = KEY;
        packet[3] = 0x30;
        assert!(starts_keyframe(&packet));
    }

    #[test]
    fn without_flexible_mode_the_base_layer_index_is_skipped() {
        assert!(starts_keyframe(&[0xa8, 0x23, 0x00, 0x07, 0x82]));
        assert!(!starts_keyframe(&[0xa8, 0x23, 0x00, 0x07]));
    }

    #[test]
    fn a_descriptor_without_data_starts_nothing() {
        for length in 0..=4 {
            assert!(!starts_keyframe(&KEY[..length]), "{length}");
        }
    }

    #[test]
    fn every_field_of_flexible_mode_is_read() {
        // I, P, L, F, E, Z; TID 2, U, SID 1, D; two references; data.
        let payload = [0xf5, 0x80, 0x07, 0x53, 0x03, 0x08, 0x82];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.picture_id, Some(7));
        assert!(descriptor.is_predicted && descriptor.is_flexible);
        assert!(!descriptor.starts_frame && descriptor.ends_frame);
        assert!(descriptor.is_not_for_upper);
        let layer = LayerIndices {
            temporal: 2,
            switches_up: true,
            spatial: 1,
            is_inter_layer_predicted: true,
        };
        assert_eq!(descriptor.layer, Some(layer));
        assert_eq!(descriptor.tl0_picture_index, None);
        assert!(descriptor.picture_diffs.iter().eq([1, 4]));
        assert_eq!(descriptor.len(), 6);
    }

    /// No flexible mode: picture id, layer indices, TL0PICIDX; a structure of two spatial layers
    /// with sizes and a group of two pictures, the second of which refers to the first.
    const GROUP: [u8; 18] = [
        0xaa, 0x05, 0x00, 0x09, 0x38, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0x02, 0x00,
        0x34, 0x01, 0x82,
    ];

    #[test]
    fn a_scalability_structure_is_read_with_sizes_and_group() {
        let descriptor = Descriptor::parse(&GROUP).unwrap();
        assert_eq!(descriptor.tl0_picture_index, Some(9));
        let structure = descriptor.structure.as_ref().unwrap();
        assert_eq!(structure.spatial_count, 2);
        assert_eq!(structure.resolutions[..], [(320, 180), (640, 360)]);
        assert_eq!(structure.group.len(), 2);
        assert_eq!(structure.group[0], GroupPicture::default());
        assert_eq!(structure.group[1].temporal, 1);
        assert!(structure.group[1].switches_up);
        assert!(structure.group[1].picture_diffs.iter().eq([1]));
        assert_eq!(descriptor.len(), 17);
    }

    #[test]
    fn a_descriptor_cut_at_any_byte_is_none() {
        for cut in 0..GROUP.len() {
            assert_eq!(Descriptor::parse(&GROUP[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_group_larger_than_any_is_passed_over() {
        let mut payload = vec![0xaa, 0x05, 0x00, 0x09, 0x08, 17];
        payload.extend([0; 17]);
        payload.push(0x82);
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert!(descriptor.structure.unwrap().group.is_empty());
        assert_eq!(descriptor.length, payload.len() - 1);
    }

    #[test]
    fn more_than_three_references_are_refused() {
        assert_eq!(
            Descriptor::parse(&[0x50, 0x03, 0x05, 0x07, 0x08, 0x82]),
            None
        );
    }

    proptest! {
        #[test]
        fn the_rtp_crate_reads_the_same(
            mut payload in proptest::collection::vec(any::<u8>(), 1..24),
        ) {
            // The crate takes reserved bits of a scalability structure for its G bit (RFC 9628
            // §4.2.1), so structures are left to the examples above.
            payload[0] &= !0x02;
            let mut theirs = Vp9Packet::default();
            let data = theirs.depacketize(&Bytes::copy_from_slice(&payload));
            if let (Some(ours), Ok(data)) = (Descriptor::parse(&payload), data) {
                prop_assert_eq!(ours.len(), payload.len() - data.len());
                prop_assert_eq!(ours.picture_id.unwrap_or(0), theirs.picture_id);
                prop_assert_eq!(ours.tl0_picture_index.unwrap_or(0), theirs.tl0picidx);
                prop_assert!(ours.picture_diffs.iter().eq(theirs.pdiff.iter().copied()));
                let layer = ours.layer.unwrap_or_default();
                prop_assert_eq!(layer.temporal, theirs.tid);
                prop_assert_eq!(layer.spatial, theirs.sid);
                prop_assert_eq!(layer.switches_up, theirs.u);
                prop_assert_eq!(layer.is_inter_layer_predicted, theirs.d);
            }
        }
    }
}
