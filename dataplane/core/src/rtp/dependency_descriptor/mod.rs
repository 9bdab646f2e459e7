//! The Dependency Descriptor (RTP Payload Format for AV1, appendix A): a header extension that says
//! of each frame, of whatever codec, which layers it belongs to and what it depends on.
//!
//! The first packet of a key frame carries a [`Structure`] of templates; whoever reads keeps it, and
//! other descriptors point into it. They can say something of their own instead.

mod structure;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;

pub use self::structure::{
    DECODE_TARGETS_MAX, DecodeTarget, Resolution, SPATIAL_LAYERS_MAX, Structure,
    TEMPORAL_LAYERS_MAX, Template,
};
use super::bits::{BitReader, BitWriter, OutOfBits};

/// What one packet says of its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The packet is the first of its frame.
    pub starts_frame: bool,
    /// The packet is the last of its frame.
    pub ends_frame: bool,
    /// Counts frames modulo 2^16, those of all layers.
    pub frame_number: u16,
    /// The kind of the frame: a place among [`Structure::templates`].
    pub template_index: u8,
    /// Spatial layer, below [`SPATIAL_LAYERS_MAX`].
    pub spatial: u8,
    /// Temporal layer, below [`TEMPORAL_LAYERS_MAX`].
    pub temporal: u8,
    /// The packet brought a structure: a key frame starts here.
    pub has_structure: bool,
    /// What the frame says of its dependencies, or else its template.
    pub dependencies: Dependencies,
    /// The decode targets that are sent from now on, one bit each; none if nothing changes.
    pub active_targets: Option<u32>,
    /// Where they stand.
    pub mask_place: MaskPlace,
}

/// What a frame depends on, and what depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// What it is for each decode target.
    pub indications: Indications,
    /// The frames that it refers to, as differences of frame numbers: 1 to 4,096.
    pub frame_diffs: ArrayVec<u16, FRAME_DIFFS_MAX>,
    /// For each chain, the frame before it in that chain, likewise; 0 if it is the first.
    pub chain_diffs: ArrayVec<u8, DECODE_TARGETS_MAX>,
}

/// What a frame is for a decode target (§A.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// No part of it.
    NotPresent,
    /// Part of it, but no other frame in it depends on this one.
    Discardable,
    /// Part of it, and all later frames of it can be decoded if this one can.
    Switch,
    /// Part of it, and others depend on this one.
    Required,
}

/// An [`Indication`] for each decode target, two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    fn read(reader: &mut BitReader<'_>, target_count: u8) -> Result<Self, DescriptorError> {
        let mut indications = 0;
        for target in 0..target_count {
            indications |= u64::from(reader.bits(2)?) << (2 * target);
        }
        Ok(Self(indications))
    }

    /// What the frame is for this target.
    pub fn of(self, target: u8) -> Indication {
        match self.0.checked_shr(2 * u32::from(target)).unwrap_or(0) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    /// Whether the frame is part of this target.
    pub fn is_needed(self, target: u8) -> bool {
        self.of(target) != Indication::NotPresent
    }
}

/// Where the mask of active decode targets stands in a descriptor, or would stand: what
/// [`write_active_targets`] needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskPlace {
    /// The bit at which it starts.
    at: u16,
    /// Where the bits end that mean something.
    end: u16,
    is_present: bool,
    target_count: u8,
}

/// Why a descriptor cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorError {
    /// It ends too early.
    Truncated,
    /// It points into a structure that is not known (any more).
    UnknownTemplate,
    /// More layers, references or templates than anyone sends.
    Unsupported,
}

impl Descriptor {
    /// Reads a descriptor. `structure` is the last one of the stream; if the descriptor brings
    /// another, that takes its place. In case of an error nothing changes.
    ///
    /// # Errors
    /// See [`DescriptorError`].
    pub fn parse(
        data: &[u8],
        structure: &mut Option<Box<Structure>>,
    ) -> Result<Self, DescriptorError> {
        let [first, high, low, extended @ ..] = data else {
            return Err(DescriptorError::Truncated);
        };
        let mut reader = BitReader::new(data, MANDATORY_BITS);
        let flags = if extended.is_empty() {
            Flags::default()
        } else {
            Flags::read(&mut reader)?
        };
        let attached = if flags.has_structure {
            Some(Structure::read(&mut reader)?)
        } else {
            None
        };
        let known = attached.as_ref().or(structure.as_deref());
        let known = known.ok_or(DescriptorError::UnknownTemplate)?;
        let descriptor = Self {
            starts_frame: first & START_BIT != 0,
            ends_frame: first & END_BIT != 0,
            frame_number: u16::from_be_bytes([*high, *low]),
            ..Self::read(&mut reader, flags, first & TEMPLATE_ID_MASK, known)?
        };
        if let Some(attached) = attached {
            match structure {
                Some(old) => **old = attached,
                None => *structure = Some(Box::new(attached)),
            }
        }
        Ok(descriptor)
    }

    /// What follows the flags and the structure: the mask, and `frame_dependency_definition()`.
    fn read(
        reader: &mut BitReader<'_>,
        flags: Flags,
        template_id: u8,
        structure: &Structure,
    ) -> Result<Self, DescriptorError> {
        // In a descriptor of three bytes it would stand behind flags that would have to be added.
        let at = reader.position().max(MANDATORY_BITS + FLAG_BITS);
        let target_count = structure.target_count();
        let mut active_targets = flags.has_structure.then(|| structure.all_targets());
        if flags.has_mask {
            active_targets = Some(reader.bits(target_count.into())?);
        }
        let template_index = structure
            .template_index(template_id)
            .ok_or(DescriptorError::UnknownTemplate)?;
        let template = structure.templates().get(usize::from(template_index));
        let template = template.ok_or(DescriptorError::UnknownTemplate)?;
        let mut dependencies = template.dependencies.clone();
        if flags.custom_indications {
            dependencies.indications = Indications::read(reader, target_count)?;
        }
        if flags.custom_frame_diffs {
            dependencies.frame_diffs = frame_diffs(reader)?;
        }
        if flags.custom_chains {
            for diff in &mut dependencies.chain_diffs {
                *diff = reader.byte(8)?;
            }
        }
        let end = reader.position().max(at);
        Ok(Self {
            starts_frame: false,
            ends_frame: false,
            frame_number: 0,
            template_index,
            spatial: template.spatial,
            temporal: template.temporal,
            has_structure: flags.has_structure,
            dependencies,
            active_targets,
            mask_place: MaskPlace {
                at: bit_position(at)?,
                end: bit_position(end)?,
                is_present: flags.has_mask,
                target_count,
            },
        })
    }
}

/// Whether the descriptor `data` brings a structure, as far as its flags say so.
pub fn brings_structure(data: &[u8]) -> bool {
    data.get(MANDATORY_BITS / 8)
        .is_some_and(|flags| flags & STRUCTURE_BIT != 0)
}

/// Writes the descriptor `data` with another mask of active decode targets at the start of `out`,
/// and returns the length: at most [`MASK_BYTES_MAX`] more than `data` has. A function of its
/// arguments alone. None if `out` is too small, or `place` is not that of `data`.
///
/// Who sends fewer layers than the descriptor tells of must say so (§A.4), or a decoder may wait for
/// the others.
pub fn write_active_targets(
    data: &[u8],
    place: MaskPlace,
    active_targets: u32,
    out: &mut [u8],
) -> Option<usize> {
    let mut reader = BitReader::new(data, 0);
    let mut writer = BitWriter::new(out);
    writer.copy(&mut reader, MANDATORY_BITS)?;
    let mut flags = 0;
    if data.len() > MANDATORY_BITS / 8 {
        flags = reader.bits(FLAG_BITS).ok()?;
    }
    writer.bits(flags | MASK_FLAG, FLAG_BITS)?;
    let structure_bits = usize::from(place.at).checked_sub(MANDATORY_BITS + FLAG_BITS)?;
    writer.copy(&mut reader, structure_bits)?;
    writer.bits(active_targets, usize::from(place.target_count))?;
    let mut behind = usize::from(place.at);
    if place.is_present {
        behind += usize::from(place.target_count);
    }
    let mut reader = BitReader::new(data, behind);
    writer.copy(&mut reader, usize::from(place.end).checked_sub(behind)?)?;
    Some(writer.len())
}

/// The frame number of a descriptor (§A.8.2); none if it is too short to be one.
pub fn frame_number(data: &[u8]) -> Option<u16> {
    let number = data.get(FRAME_NUMBER)?;
    Some(u16::from_be_bytes(*number.first_chunk()?))
}

/// Writes another frame number into a descriptor. None if it is too short to be one.
pub fn write_frame_number(data: &mut [u8], number: u16) -> Option<()> {
    let place = data.get_mut(FRAME_NUMBER)?;
    place.copy_from_slice(&number.to_be_bytes());
    Some(())
}

/// Where the frame number stands.
const FRAME_NUMBER: core::ops::Range<usize> = 1..3;

/// What follows the mandatory fields.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    has_structure: bool,
    has_mask: bool,
    custom_indications: bool,
    custom_frame_diffs: bool,
    custom_chains: bool,
}

impl Flags {
    /// The beginning of `extended_descriptor_fields()`.
    fn read(reader: &mut BitReader<'_>) -> Result<Self, DescriptorError> {
        Ok(Self {
            has_structure: reader.flag()?,
            has_mask: reader.flag()?,
            custom_indications: reader.flag()?,
            custom_frame_diffs: reader.flag()?,
            custom_chains: reader.flag()?,
        })
    }
}

/// `frame_fdiffs()`.
fn frame_diffs(
    reader: &mut BitReader<'_>,
) -> Result<ArrayVec<u16, FRAME_DIFFS_MAX>, DescriptorError> {
    let mut diffs = ArrayVec::new();
    loop {
        let nibbles = usize::from(reader.byte(2)?);
        if nibbles == 0 {
            return Ok(diffs);
        }
        let diff = reader.bits(4 * nibbles)? + 1;
        let diff = u16::try_from(diff).map_err(|_| DescriptorError::Unsupported)?;
        diffs
            .try_push(diff)
            .map_err(|_| DescriptorError::Unsupported)?;
    }
}

fn bit_position(bits: usize) -> Result<u16, DescriptorError> {
    u16::try_from(bits).map_err(|_| DescriptorError::Unsupported)
}

impl From<OutOfBits> for DescriptorError {
    fn from(_: OutOfBits) -> Self {
        Self::Truncated
    }
}

/// `start_of_frame`, `end_of_frame`, `frame_dependency_template_id`, `frame_number` (§A.8.2).
const MANDATORY_BITS: usize = 24;
const START_BIT: u8 = 0x80;
const END_BIT: u8 = 0x40;
const TEMPLATE_ID_MASK: u8 = 0x3f;

/// The flags of `extended_descriptor_fields()`.
const FLAG_BITS: usize = 5;
/// `template_dependency_structure_present_flag`, the first of them.
const STRUCTURE_BIT: u8 = 0x80;
/// `active_decode_targets_present_flag` among them.
const MASK_FLAG: u32 = 0b0_1000;

/// Frames that one frame refers to: AV1 has 7 references, and one more is the spatial layer below.
pub const FRAME_DIFFS_MAX: usize = 8;

/// Bytes that [`write_active_targets`] may add: flags, and 32 bits of mask.
pub const MASK_BYTES_MAX: usize = 5;
