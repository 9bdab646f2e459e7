//! A publisher of streams with layers: which frames there are, what they refer to, and how each
//! codec says so. Written from the specifications and from what browsers send.

use shared::protocol::Codec;

use crate::ingress::testing::Packet;
use crate::rtp::dependency_descriptor::testing::{DescriptorSpec, StructureSpec, TemplateSpec};

/// How layers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Vp8,
    /// Each frame says what it refers to.
    Vp9Flexible,
    /// A group of pictures is repeated.
    Vp9Group,
    /// A dependency descriptor, with AV1 or H.264.
    Described(Codec),
}

/// How spatial layers depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InterLayer {
    /// In all pictures.
    Always,
    /// In key pictures only: `_KEY`.
    Key,
}

/// A scalability mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) signal: Signal,
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) inter_layer: InterLayer,
}

impl Mode {
    pub(super) fn codec(self) -> Codec {
        match self.signal {
            Signal::Vp8 => Codec::Vp8,
            Signal::Vp9Flexible | Signal::Vp9Group => Codec::Vp9,
            Signal::Described(codec) => codec,
        }
    }

    fn pattern(self) -> &'static [Position] {
        match self.temporal {
            1 => &[(0, 1)],
            2 => &[(0, 2), (1, 1)],
            _ => &[(0, 4), (2, 1), (1, 2), (2, 1)],
        }
    }

    /// Whether one who gets up to (spatial, temporal) needs a frame.
    pub(super) fn needs(self, target: (u8, u8), frame: &Frame) -> bool {
        let is_part = frame.is_key || self.inter_layer == InterLayer::Always;
        let top = target.0.min(self.spatial - 1);
        frame.temporal <= target.1 && (frame.spatial == top || frame.spatial < top && is_part)
    }

    /// One of `-DSR` for each decode target.
    fn indications(self, frame: &Frame) -> String {
        self.targets()
            .map(|target| match target {
                _ if !self.needs(target, frame) => '-',
                _ if frame.is_key => 'S',
                (spatial, _) if spatial > frame.spatial => 'R',
                (_, temporal) if frame.temporal > 0 && temporal == frame.temporal => 'D',
                _ => 'S',
            })
            .collect()
    }

    fn targets(self) -> impl Iterator<Item = (u8, u8)> {
        (0..self.spatial).flat_map(move |s| (0..self.temporal).map(move |t| (s, t)))
    }

    /// A template for each layer: an ordinary frame of it.
    fn structure(self) -> StructureSpec {
        let template = |(spatial, temporal)| {
            let frame = Frame {
                spatial,
                temporal,
                ..Frame::default()
            };
            TemplateSpec {
                spatial,
                temporal,
                indications: self.indications(&frame),
                frame_diffs: vec![u16::from(self.spatial)],
                chain_diffs: vec![1; self.spatial.into()],
            }
        };
        StructureSpec {
            template_id_offset: 11,
            templates: self.targets().map(template).collect(),
            chains: self.targets().map(|(spatial, _)| spatial).collect(),
            chain_count: self.spatial,
            resolutions: Vec::new(),
        }
    }
}

/// Temporal layer of a picture, and how many pictures before the one is that it refers to.
type Position = (u8, u64);

/// A frame of one spatial layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Counts frames of all layers.
    pub(super) number: u64,
    pub(super) picture: u64,
    pub(super) spatial: u8,
    pub(super) temporal: u8,
    pub(super) is_key: bool,
    /// Numbers of the frames that it refers to.
    pub(super) references: Vec<u64>,
    pub(super) packet_count: u8,
}

/// The publisher.
pub(super) struct Encoder {
    pub(super) mode: Mode,
    pub(super) frames: Vec<Frame>,
    picture: u64,
    key_picture: u64,
    key_count: u8,
    base_count: u8,
    next_packet: u16,
}

impl Encoder {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            frames: Vec::new(),
            picture: 0,
            key_picture: 0,
            key_count: 0,
            base_count: 0,
            next_packet: 0xff80,
        }
    }

    /// The packets of the next picture, each frame in that many.
    pub(super) fn picture(
        &mut self,
        is_key: bool,
        mut packet_count: impl FnMut() -> u8,
    ) -> Vec<Packet> {
        let is_key = is_key || self.picture == 0;
        if is_key {
            self.key_picture = self.picture;
            self.key_count += 1;
        }
        let pattern = self.mode.pattern();
        let since = usize::try_from(self.picture - self.key_picture).unwrap();
        let (temporal, back) = pattern[since % pattern.len()];
        if temporal == 0 {
            self.base_count = self.base_count.wrapping_add(1);
        }
        let spatial_count = u64::from(self.mode.spatial);
        let mut packets = Vec::new();
        for spatial in 0..self.mode.spatial {
            let number = self.picture * spatial_count + u64::from(spatial);
            let mut references = Vec::new();
            if !is_key {
                references.push(number - back * spatial_count);
            }
            if spatial > 0 && (is_key || self.mode.inter_layer == InterLayer::Always) {
                references.push(number - 1);
            }
            self.frames.push(Frame {
                number,
                picture: self.picture,
                spatial,
                temporal,
                is_key,
                references,
                packet_count: packet_count(),
            });
            let frame = self.frames.last().unwrap().clone();
            for place in 0..frame.packet_count {
                packets.push(self.packet(&frame, back, place));
            }
        }
        self.picture += 1;
        packets
    }

    fn packet(&mut self, frame: &Frame, back: u64, place: u8) -> Packet {
        let is_last = place + 1 == frame.packet_count;
        let timestamp = u32::try_from(frame.picture * 3_000).unwrap();
        let mut payload = match self.mode.signal {
            Signal::Vp8 => self.vp8(frame, place),
            Signal::Vp9Flexible | Signal::Vp9Group => self.vp9(frame, back, place),
            // The aggregation header, with N where a coded video sequence starts.
            Signal::Described(Codec::Av1) => {
                let starts = frame.is_key && frame.spatial == 0 && place == 0;
                vec![if starts { 0x18 } else { 0x10 }]
            }
            // A slice: of an IDR picture, or not.
            Signal::Described(_) if frame.is_key && place == 0 => vec![0x65, 0x80],
            Signal::Described(_) => vec![0x61, 0x00],
        };
        payload.extend(u32::try_from(frame.number).unwrap().to_be_bytes());
        payload.push(place);
        payload.extend(vec![place; 10 + usize::from(frame.spatial) * 30]);
        let mut packet = Packet::new(1000, self.next_packet, timestamp, &payload);
        packet.header.marker = is_last && frame.spatial + 1 == self.mode.spatial;
        self.next_packet = self.next_packet.wrapping_add(1);
        if matches!(self.mode.signal, Signal::Described(_)) {
            packet = packet.with_extension(DESCRIPTOR_ID, &self.descriptor(frame, place));
        }
        packet
    }

    /// RFC 7741 §4.2.
    fn vp8(&self, frame: &Frame, place: u8) -> Vec<u8> {
        let refers_to_base = frame
            .references
            .iter()
            .all(|number| self.frame(*number).temporal == 0);
        let sync = frame.temporal > 0 && refers_to_base;
        let start = if place == 0 { 0x90 } else { 0x80 };
        let mut payload = vec![start, 0xf0];
        let id = u16::try_from((frame.picture + 0x7ff0) & 0x7fff).unwrap();
        payload.extend((0x8000 | id).to_be_bytes());
        payload.push(self.base_count);
        payload.push(frame.temporal << 6 | u8::from(sync) << 5 | self.key_count & 0x1f);
        payload.push(u8::from(!frame.is_key));
        payload
    }

    /// RFC 9628 §4.2.
    fn vp9(&self, frame: &Frame, back: u64, place: u8) -> Vec<u8> {
        let mode = self.mode;
        let is_flexible = mode.signal == Signal::Vp9Flexible;
        let starts = place == 0;
        let ends = place + 1 == frame.packet_count;
        let is_part = frame.is_key || mode.inter_layer == InterLayer::Always;
        let is_for_upper = frame.spatial + 1 < mode.spatial && is_part;
        let has_structure = frame.is_key && frame.spatial == 0 && starts;
        let flags = [
            true,
            !frame.is_key,
            true,
            is_flexible,
            starts,
            ends,
            has_structure,
            !is_for_upper,
        ];
        let flags = flags
            .iter()
            .fold(0, |byte, flag| byte << 1 | u8::from(*flag));
        let mut payload = vec![flags];
        let id = u16::try_from((frame.picture + 0x7ff0) & 0x7fff).unwrap();
        payload.extend((0x8000 | id).to_be_bytes());
        let same_layer = |number: &&u64| self.frame(**number).spatial == frame.spatial;
        let switches_up = frame
            .references
            .iter()
            .filter(same_layer)
            .all(|number| self.frame(*number).temporal < frame.temporal);
        let predicted = frame.spatial > 0 && is_part;
        payload.push(
            frame.temporal << 5
                | u8::from(switches_up) << 4
                | frame.spatial << 1
                | u8::from(predicted),
        );
        if !is_flexible {
            payload.push(self.base_count);
        } else if !frame.is_key {
            payload.push(u8::try_from(back).unwrap() << 1);
        }
        if has_structure {
            payload.extend(self.vp9_structure(is_flexible));
        }
        payload
    }

    fn vp9_structure(&self, is_flexible: bool) -> Vec<u8> {
        let spatial = (self.mode.spatial - 1) << 5;
        if is_flexible {
            return vec![spatial];
        }
        let pattern = self.mode.pattern();
        let mut structure = vec![spatial | 0x08, u8::try_from(pattern.len()).unwrap()];
        for (temporal, back) in pattern {
            structure.extend([temporal << 5 | 1 << 2, u8::try_from(*back).unwrap()]);
        }
        structure
    }

    /// RTP Payload Format for AV1, §A.8.
    fn descriptor(&self, frame: &Frame, place: u8) -> Vec<u8> {
        let mode = self.mode;
        let structure = mode.structure();
        let template = frame.spatial * mode.temporal + frame.temporal;
        let indications = mode.indications(frame);
        let diffs: Vec<_> = frame
            .references
            .iter()
            .map(|number| u16::try_from(frame.number - number).unwrap())
            .collect();
        let usual = &structure.templates[usize::from(template)];
        let spec = DescriptorSpec {
            starts_frame: place == 0,
            ends_frame: place + 1 == frame.packet_count,
            template,
            frame_number: u16::try_from((frame.number + 0xfff0) & 0xffff).unwrap(),
            attaches_structure: frame.is_key && frame.spatial == 0 && place == 0,
            active_targets: None,
            indications: (indications != usual.indications).then_some(indications),
            frame_diffs: (diffs != usual.frame_diffs).then_some(diffs),
            chain_diffs: None,
        };
        spec.bytes(&structure)
    }

    pub(super) fn frame(&self, number: u64) -> &Frame {
        &self.frames[usize::try_from(number).unwrap()]
    }
}

/// Of the dependency descriptor, on both sides.
pub(super) const DESCRIPTOR_ID: u8 = 9;
