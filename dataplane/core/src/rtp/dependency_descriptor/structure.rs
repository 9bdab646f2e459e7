//! The template dependency structure (§A.8.3): what all frames until the next one have in common.

use arrayvec::ArrayVec;

use super::{Dependencies, DescriptorError, Indications};
use crate::rtp::bits::BitReader;

/// What a publisher says once, with a key frame, of all frames that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    template_id_offset: u8,
    decode_targets: ArrayVec<DecodeTarget, DECODE_TARGETS_MAX>,
    chain_count: u8,
    templates: ArrayVec<Template, TEMPLATES_MAX>,
    resolutions: ArrayVec<Resolution, SPATIAL_LAYERS_MAX>,
}

/// A subset of the frames that can be decoded without the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeTarget {
    /// The highest spatial layer in it.
    pub spatial: u8,
    /// The highest temporal layer in it.
    pub temporal: u8,
    /// The chain that tells whether it can still be decoded, if there is one.
    pub chain: Option<u8>,
}

/// What frames of one kind have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Spatial layer, below [`SPATIAL_LAYERS_MAX`].
    pub spatial: u8,
    /// Temporal layer, below [`TEMPORAL_LAYERS_MAX`].
    pub temporal: u8,
    /// What such a frame depends on, and what depends on it, where it does not say otherwise.
    pub dependencies: Dependencies,
}

/// In which size a spatial layer is to be shown, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// 1 to 65,536.
    pub width: u32,
    /// 1 to 65,536.
    pub height: u32,
}

impl Structure {
    /// Reads `template_dependency_structure()`.
    pub(super) fn read(reader: &mut BitReader<'_>) -> Result<Self, DescriptorError> {
        let template_id_offset = reader.byte(6)?;
        let target_count = reader.byte(5)? + 1;
        let mut structure = Self {
            template_id_offset,
            decode_targets: ArrayVec::new(),
            chain_count: 0,
            templates: ArrayVec::new(),
            resolutions: ArrayVec::new(),
        };
        structure.read_layers(reader)?;
        for template in &mut structure.templates {
            template.dependencies.indications = Indications::read(reader, target_count)?;
        }
        for template in &mut structure.templates {
            while reader.flag()? {
                let diff = u16::from(reader.byte(4)?) + 1;
                let diffs = &mut template.dependencies.frame_diffs;
                diffs
                    .try_push(diff)
                    .map_err(|_| DescriptorError::Unsupported)?;
            }
        }
        structure.find_targets(target_count);
        structure.read_chains(reader)?;
        if reader.flag()? {
            structure.read_resolutions(reader)?;
        }
        Ok(structure)
    }

    /// How many subsets there are to choose from, 1 to [`DECODE_TARGETS_MAX`].
    #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
    pub fn target_count(&self) -> u8 {
        self.decode_targets.len() as u8
    }

    /// The subsets there are to choose from.
    pub fn decode_targets(&self) -> &[DecodeTarget] {
        &self.decode_targets
    }

    /// How many chains protect them.
    pub fn chain_count(&self) -> u8 {
        self.chain_count
    }

    /// The kinds of frames, in the order of their ids.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The place among [`Self::templates`] of the kind with this id; none if the id belongs to
    /// another structure.
    pub fn template_index(&self, id: u8) -> Option<u8> {
        let index = id.wrapping_sub(self.template_id_offset) & TEMPLATE_ID_MASK;
        (usize::from(index) < self.templates.len()).then_some(index)
    }

    /// The size of a spatial layer, if the publisher said it.
    pub fn resolution(&self, spatial: u8) -> Option<Resolution> {
        self.resolutions.get(usize::from(spatial)).copied()
    }

    /// One bit for each decode target.
    pub fn all_targets(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.target_count()).min(32))
    }

    /// `template_layers()`.
    fn read_layers(&mut self, reader: &mut BitReader<'_>) -> Result<(), DescriptorError> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            let template = Template {
                spatial,
                temporal,
                dependencies: Dependencies::default(),
            };
            self.templates
                .try_push(template)
                .map_err(|_| DescriptorError::Unsupported)?;
            match reader.bits(2)? {
                0 => {}
                1 => temporal += 1,
                2 => {
                    spatial += 1;
                    temporal = 0;
                }
                _ => return Ok(()),
            }
            if usize::from(spatial) >= SPATIAL_LAYERS_MAX
                || usize::from(temporal) >= TEMPORAL_LAYERS_MAX
            {
                return Err(DescriptorError::Unsupported);
            }
        }
    }

    /// `decode_target_layers()`: a target is of the highest layers that have a frame in it.
    fn find_targets(&mut self, target_count: u8) {
        for target in 0..target_count {
            let mut found = DecodeTarget::default();
            for template in &self.templates {
                if template.dependencies.indications.is_needed(target) {
                    found.spatial = found.spatial.max(template.spatial);
                    found.temporal = found.temporal.max(template.temporal);
                }
            }
            // As many as its places: a count of five bits, plus one.
            let _ = self.decode_targets.try_push(found);
        }
    }

    /// `template_chains()`.
    fn read_chains(&mut self, reader: &mut BitReader<'_>) -> Result<(), DescriptorError> {
        self.chain_count = reader.non_symmetric(self.target_count() + 1)?;
        if self.chain_count == 0 {
            return Ok(());
        }
        for target in &mut self.decode_targets {
            target.chain = Some(reader.non_symmetric(self.chain_count)?);
        }
        for template in &mut self.templates {
            for _ in 0..self.chain_count {
                let diff = reader.byte(4)?;
                let diffs = &mut template.dependencies.chain_diffs;
                diffs
                    .try_push(diff)
                    .map_err(|_| DescriptorError::Unsupported)?;
            }
        }
        Ok(())
    }

    /// `render_resolutions()`: one for each spatial layer.
    fn read_resolutions(&mut self, reader: &mut BitReader<'_>) -> Result<(), DescriptorError> {
        let spatial_max = self.templates.last().map_or(0, |last| last.spatial);
        for _ in 0..=spatial_max {
            let resolution = Resolution {
                width: reader.bits(16)? + 1,
                height: reader.bits(16)? + 1,
            };
            self.resolutions
                .try_push(resolution)
                .map_err(|_| DescriptorError::Unsupported)?;
        }
        Ok(())
    }
}

/// Template ids have 6 bits (§A.8.2).
const TEMPLATE_ID_MASK: u8 = 0x3f;

/// Kinds of frames: as many as there are ids.
pub(super) const TEMPLATES_MAX: usize = 64;

/// Decode targets: `dt_cnt_minus_one` has 5 bits.
pub const DECODE_TARGETS_MAX: usize = 32;

/// Spatial layers: AV1 has no more operating points with more, and browsers send at most 3.
pub const SPATIAL_LAYERS_MAX: usize = 4;

/// Temporal layers (AV1 has 8).
pub const TEMPORAL_LAYERS_MAX: usize = 8;
