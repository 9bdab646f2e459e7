//! Descriptors for tests, written by the syntax of §A.8 bit by bit.

/// Bits that are to become bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<bool>);

impl Bits {
    /// `f(count)`.
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        self.0
            .extend((0..count).rev().map(|place| value >> place & 1 == 1));
    }

    /// `ns(count)`.
    fn put_non_symmetric(&mut self, value: u32, count: u32) {
        let width = 32 - count.leading_zeros();
        let short = (1 << width) - count;
        if value < short {
            self.put(value, width - 1);
        } else {
            self.put(value + short, width);
        }
    }

    /// With zeros up to the next byte.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let set = (0..).zip(bits).filter(|(_, bit)| **bit);
            set.fold(0, |byte, (place, _)| byte | 0x80 >> place)
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// A kind of frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateSpec {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// One of `-DSR` for each decode target.
    pub(crate) indications: String,
    pub(crate) frame_diffs: Vec<u16>,
    pub(crate) chain_diffs: Vec<u8>,
}

/// A structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StructureSpec {
    pub(crate) template_id_offset: u8,
    /// In the order of their layers.
    pub(crate) templates: Vec<TemplateSpec>,
    /// The chain of each decode target.
    pub(crate) chains: Vec<u8>,
    pub(crate) chain_count: u8,
    pub(crate) resolutions: Vec<(u32, u32)>,
}

impl StructureSpec {
    fn put(&self, bits: &mut Bits) {
        let target_count = u32::try_from(self.templates[0].indications.len()).unwrap();
        bits.put(self.template_id_offset.into(), 6);
        bits.put(target_count - 1, 5);
        for pair in self.templates.windows(2) {
            let next = if pair[1].spatial > pair[0].spatial {
                2
            } else {
                u32::from(pair[1].temporal - pair[0].temporal)
            };
            bits.put(next, 2);
        }
        bits.put(3, 2);
        for template in &self.templates {
            put_indications(bits, &template.indications);
        }
        for template in &self.templates {
            for diff in &template.frame_diffs {
                bits.put(1, 1);
                bits.put(u32::from(*diff) - 1, 4);
            }
            bits.put(0, 1);
        }
        bits.put_non_symmetric(self.chain_count.into(), target_count + 1);
        if self.chain_count > 0 {
            for chain in &self.chains {
                bits.put_non_symmetric((*chain).into(), self.chain_count.into());
            }
            for template in &self.templates {
                for diff in &template.chain_diffs {
                    bits.put((*diff).into(), 4);
                }
            }
        }
        bits.put(u32::from(!self.resolutions.is_empty()), 1);
        for (width, height) in &self.resolutions {
            bits.put(width - 1, 16);
            bits.put(height - 1, 16);
        }
    }
}

/// What one packet says of its frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DescriptorSpec {
    pub(crate) starts_frame: bool,
    pub(crate) ends_frame: bool,
    /// Place among the templates.
    pub(crate) template: u8,
    pub(crate) frame_number: u16,
    pub(crate) attaches_structure: bool,
    pub(crate) active_targets: Option<u32>,
    pub(crate) indications: Option<String>,
    pub(crate) frame_diffs: Option<Vec<u16>>,
    pub(crate) chain_diffs: Option<Vec<u8>>,
}

impl DescriptorSpec {
    /// As it stands in a packet.
    pub(crate) fn bytes(&self, structure: &StructureSpec) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(self.starts_frame.into(), 1);
        bits.put(self.ends_frame.into(), 1);
        let id = (self.template + structure.template_id_offset) & 63;
        bits.put(id.into(), 6);
        bits.put(self.frame_number.into(), 16);
        let flags = [
            self.attaches_structure,
            self.active_targets.is_some(),
            self.indications.is_some(),
            self.frame_diffs.is_some(),
            self.chain_diffs.is_some(),
        ];
        if flags == [false; 5] {
            return bits.bytes();
        }
        for flag in flags {
            bits.put(flag.into(), 1);
        }
        if self.attaches_structure {
            structure.put(&mut bits);
        }
        if let Some(mask) = self.active_targets {
            let count = structure.templates[0].indications.len();
            bits.put(mask, u32::try_from(count).unwrap());
        }
        if let Some(indications) = &self.indications {
            put_indications(&mut bits, indications);
        }
        if let Some(diffs) = &self.frame_diffs {
            for diff in diffs {
                let diff = u32::from(*diff) - 1;
                let nibbles = (1..=3).find(|nibbles| diff >> (4 * nibbles) == 0).unwrap();
                bits.put(nibbles, 2);
                bits.put(diff, 4 * nibbles);
            }
            bits.put(0, 2);
        }
        for diff in self.chain_diffs.iter().flatten() {
            bits.put((*diff).into(), 8);
        }
        bits.bytes()
    }
}

fn put_indications(bits: &mut Bits, indications: &str) {
    for indication in indications.chars() {
        bits.put(u32::try_from("-DSR".find(indication).unwrap()).unwrap(), 2);
    }
}
