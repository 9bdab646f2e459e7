//! A receiver that knows nothing of the filter: it looks at what left as a whole, and at whether a
//! decoder could do with it.

use std::collections::{BTreeMap, BTreeSet};

use rtp::packet::Packet as Parsed;
use shared::protocol::Codec;

use super::encoder::{DESCRIPTOR_ID, Encoder, Frame};
use crate::egress::tests::parsed;
use crate::rtp::dependency_descriptor::{Descriptor, Structure};
use crate::rtp::payload::{vp8, vp9};

/// What came of a stream.
#[derive(Default)]
pub(super) struct Decoder {
    /// By extended sequence number.
    packets: BTreeMap<u64, Came>,
    structure: Option<Box<Structure>>,
}

/// One packet that came.
struct Came {
    frame: u64,
    place: u8,
    timestamp: u32,
    marker: bool,
    /// Picture id and TL0PICIDX of VP8.
    vp8: Option<(u16, u8)>,
    /// Of the dependency descriptor.
    mask: Option<u32>,
}

impl Decoder {
    /// Takes a packet that left with this index.
    pub(super) fn take(&mut self, codec: Codec, index: u64, bytes: &[u8]) {
        let packet = parsed(bytes);
        let payload = packet.payload.as_ref();
        let (mut numbers, mut mask) = (None, None);
        let header = match codec {
            Codec::Vp8 => {
                let descriptor = vp8::Descriptor::parse(payload).unwrap();
                numbers = descriptor.picture_id.zip(descriptor.tl0_picture_index);
                descriptor.len() + 1
            }
            Codec::Vp9 => vp9::Descriptor::parse(payload).unwrap().len(),
            Codec::Av1 => 1,
            Codec::H264 => 2,
            Codec::H265 | Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Red => {
                unreachable!("no such mode")
            }
        };
        if let Some(data) = packet.header.get_extension(DESCRIPTOR_ID) {
            let descriptor = Descriptor::parse(&data, &mut self.structure);
            mask = descriptor
                .ok()
                .and_then(|descriptor| descriptor.active_targets);
        }
        let content: [u8; 5] = payload[header..header + 5].try_into().unwrap();
        let [f0, f1, f2, f3, place] = content;
        let came = Came {
            frame: u32::from_be_bytes([f0, f1, f2, f3]).into(),
            place,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            vp8: numbers,
            mask,
        };
        let before = self.packets.insert(index, came);
        assert!(before.is_none(), "{index} has left twice");
        assert_wire(index, &packet);
    }

    /// The numbers of the frames that came as a whole, in the order in which they left.
    pub(super) fn frames(&self, encoder: &Encoder) -> Vec<u64> {
        let mut places: BTreeMap<u64, BTreeSet<u8>> = BTreeMap::new();
        for came in self.packets.values() {
            places.entry(came.frame).or_default().insert(came.place);
        }
        let whole = |(number, places): (u64, BTreeSet<u8>)| {
            let count = usize::from(encoder.frame(number).packet_count);
            (places.len() == count).then_some(number)
        };
        places.into_iter().filter_map(whole).collect()
    }

    /// The frames of which something came.
    pub(super) fn begun(&self) -> BTreeSet<u64> {
        self.packets.values().map(|came| came.frame).collect()
    }

    /// The masks of a frame's packets.
    pub(super) fn masks(&self, number: u64) -> Vec<Option<u32>> {
        let packets = self.packets.values();
        packets
            .filter(|came| came.frame == number)
            .map(|came| came.mask)
            .collect()
    }

    /// Looks at everything. A frame in `disturbed` lost a packet on its way to the server, which
    /// came late, so the server could not know what it was.
    pub(super) fn check(&self, encoder: &Encoder, disturbed: &BTreeSet<u64>) {
        self.sequence_numbers_have_no_holes();
        let frames = self.frames(encoder);
        self.frames_are_decodable(encoder, &frames, disturbed);
        self.markers_end_pictures(encoder, disturbed);
        self.vp8_counts_on(encoder, &frames);
    }

    fn sequence_numbers_have_no_holes(&self) {
        let indices: Vec<_> = self.packets.keys().copied().collect();
        for pair in indices.windows(2) {
            assert_eq!(pair[0] + 1, pair[1], "a hole");
        }
    }

    fn frames_are_decodable(&self, encoder: &Encoder, frames: &[u64], disturbed: &BTreeSet<u64>) {
        let whole: BTreeSet<_> = frames.iter().copied().collect();
        let mut decodable = BTreeSet::new();
        for frame in frames.iter().map(|number| encoder.frame(*number)) {
            if frame
                .references
                .iter()
                .all(|number| decodable.contains(number))
            {
                decodable.insert(frame.number);
            }
        }
        for number in self.begun() {
            if !disturbed.contains(&number) {
                let frame = encoder.frame(number);
                assert!(whole.contains(&number), "half of {frame:?}");
                assert!(decodable.contains(&number), "cannot decode {frame:?}");
            }
        }
    }

    /// The marker stands on the last packet of a picture, and nowhere else.
    fn markers_end_pictures(&self, encoder: &Encoder, disturbed: &BTreeSet<u64>) {
        let mut pictures: BTreeMap<u64, Vec<&Came>> = BTreeMap::new();
        for came in self.packets.values() {
            let picture = encoder.frame(came.frame).picture;
            pictures.entry(picture).or_default().push(came);
        }
        let is_disturbed = |frame: &&Frame| disturbed.contains(&frame.number);
        let disturbed: BTreeSet<_> = encoder
            .frames
            .iter()
            .filter(is_disturbed)
            .map(|frame| frame.picture)
            .collect();
        for (picture, packets) in &pictures {
            let timestamp = packets[0].timestamp;
            assert!(packets.iter().all(|came| came.timestamp == timestamp));
            if disturbed.contains(picture) {
                continue;
            }
            let (last, others) = packets.split_last().unwrap();
            assert!(last.marker, "picture {picture} has no end");
            assert!(others.iter().all(|came| !came.marker), "picture {picture}");
        }
    }

    /// Picture ids go up by one with each frame, TL0PICIDX with each one of the lowest layer.
    fn vp8_counts_on(&self, encoder: &Encoder, frames: &[u64]) {
        let numbers = |number: &u64| {
            let mut packets = self.packets.values();
            let came = packets.find(|came| came.frame == *number).unwrap();
            (encoder.frame(*number).temporal, came.vp8)
        };
        let frames: Vec<_> = frames.iter().map(numbers).collect();
        for pair in frames.windows(2) {
            let ((_, Some((id, base))), (temporal, Some((next_id, next_base)))) =
                (pair[0], pair[1])
            else {
                continue;
            };
            assert_eq!(next_id, (id + 1) & 0x7fff);
            let expected = if temporal == 0 {
                base.wrapping_add(1)
            } else {
                base
            };
            assert_eq!(next_base, expected);
        }
    }
}

fn assert_wire(index: u64, packet: &Parsed) {
    assert_eq!(u64::from(packet.header.sequence_number), index & 0xffff);
}
