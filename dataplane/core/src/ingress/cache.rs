//! The packets of one layer, kept once for all of its legs.

use core::ops::{Deref, Range};

use shared::protocol::{Codec, Extension, MediaKind};

use crate::relay::Formats;
use crate::rtp::payload::{starts_keyframe, vp8};
use crate::rtp::{RtpError, RtpHeader};
use crate::time::{NtpTime, Timestamp};

/// What legs need to know of a packet again and again, so that none of them parses anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketInfo {
    /// When it came to the shard that owns the publication.
    pub(crate) received_at: Timestamp,
    /// When its media was captured, in the server's NTP time; none while the publisher has not
    /// said how its timestamps map to time.
    pub(crate) captured_at: Option<NtpTime>,
    /// As the publisher sent it.
    pub(crate) timestamp: u32,
    /// As the publisher sent it.
    pub(crate) ssrc: u32,
    /// Counts the streams of the layer: another one has other numbers and timestamps.
    pub(crate) stream: u32,
    /// As the publisher sent it.
    pub(crate) payload_type: u8,
    /// What the payload type means.
    pub(crate) codec: Codec,
    /// The M bit.
    pub(crate) marker: bool,
    /// Whether a decoder can start here: the first packet of a key frame, or any of audio.
    pub(crate) keyframe: bool,
    /// The numbers of a VP8 payload.
    pub(crate) vp8: Option<Vp8Position>,
    payload_start: u16,
    payload_end: u16,
    extensions: [ExtensionData; END_TO_END_MAX],
    extension_count: u8,
}

/// Where a packet stands in a VP8 stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Position {
    /// As it stands in the payload.
    pub(crate) descriptor: vp8::Descriptor,
    /// The picture id with 15 bits, also where the publisher counts with 7.
    pub(crate) picture_id: u16,
}

impl Vp8Position {
    /// Widens a picture id of 7 bits, given the newest frame so far. Frames are in the order of
    /// their packets: what comes after its packet is of that frame or of one up to 127 later, what
    /// comes before it is of that frame or of one up to 127 earlier. Packets without a picture do
    /// not count, so they may overtake any frame.
    pub(crate) fn widen(&mut self, sequence_number: u64, newest: &mut Option<NewestPicture>) {
        let Some(own) = self.descriptor.picture_id else {
            return;
        };
        let is_late = newest.is_some_and(|newest| sequence_number < newest.sequence_number);
        if let Some(newest) = *newest
            && !self.descriptor.picture_id_is_long
        {
            let id = newest.picture_id;
            let widened = if is_late {
                id.wrapping_sub(id.wrapping_sub(own) & SHORT_MASK)
            } else {
                id.wrapping_add(own.wrapping_sub(id) & SHORT_MASK)
            };
            self.picture_id = widened & LONG_MASK;
        }
        if !is_late {
            *newest = Some(NewestPicture {
                sequence_number,
                picture_id: self.picture_id,
            });
        }
    }
}

/// The newest packet of a layer that has a picture id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestPicture {
    sequence_number: u64,
    /// With 15 bits.
    picture_id: u16,
}

impl PacketInfo {
    /// Reads what is needed of an opened packet.
    ///
    /// # Errors
    /// If the padding lies, or the packet is longer than any datagram.
    pub(crate) fn read(
        received_at: Timestamp,
        header: &RtpHeader,
        packet: &[u8],
        codec: Codec,
        formats: &Formats,
    ) -> Result<Self, RtpError> {
        let payload = header.payload(packet)?;
        let length = |bytes: usize| u16::try_from(bytes).map_err(|_| RtpError::Truncated);
        let descriptor = if codec == Codec::Vp8 {
            vp8::Descriptor::parse(payload)
        } else {
            None
        };
        let mut info = Self {
            received_at,
            captured_at: None,
            timestamp: header.timestamp,
            ssrc: header.ssrc,
            stream: 0,
            payload_type: header.payload_type,
            codec,
            marker: header.marker,
            keyframe: starts_keyframe(codec, payload),
            vp8: descriptor.map(|descriptor| Vp8Position {
                descriptor,
                picture_id: descriptor.picture_id.unwrap_or_default(),
            }),
            payload_start: length(header.len())?,
            payload_end: length(header.len() + payload.len())?,
            extensions: [ExtensionData::NONE; END_TO_END_MAX],
            extension_count: 0,
        };
        info.read_extensions(header, packet, formats);
        Ok(info)
    }

    /// Whether there is nothing to forward.
    pub(crate) fn is_padding_only(&self) -> bool {
        self.payload_start == self.payload_end
    }

    /// Where the payload stands in the packet, without padding.
    pub(crate) fn payload(&self) -> Range<usize> {
        usize::from(self.payload_start)..usize::from(self.payload_end)
    }

    /// The end-to-end header extensions of `packet`, which this was read from.
    pub(crate) fn extensions<'a>(
        &self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = (Extension, &'a [u8])> + Clone {
        let known = self
            .extensions
            .into_iter()
            .take(usize::from(self.extension_count));
        known.filter_map(|data| {
            let start = usize::from(data.start);
            Some((
                data.extension,
                packet.get(start..start + usize::from(data.length))?,
            ))
        })
    }

    /// Notes where the end-to-end extensions stand. One that comes twice counts once, so the list
    /// cannot overflow: there are only so many of them.
    fn read_extensions(&mut self, header: &RtpHeader, packet: &[u8], formats: &Formats) {
        for (id, data) in header.extensions(packet) {
            let Some(extension) = formats.extension(id).filter(|known| known.is_end_to_end())
            else {
                continue;
            };
            let mut known = self
                .extensions
                .iter()
                .take(usize::from(self.extension_count));
            if known.any(|known| known.extension == extension) {
                continue;
            }
            let start = data.as_ptr().addr().saturating_sub(packet.as_ptr().addr());
            let (Ok(start), Ok(length)) = (u16::try_from(start), u8::try_from(data.len())) else {
                continue;
            };
            if let Some(slot) = self.extensions.get_mut(usize::from(self.extension_count)) {
                *slot = ExtensionData {
                    extension,
                    start,
                    length,
                };
                self.extension_count += 1;
            }
        }
    }
}

/// A packet in the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedPacket<'a> {
    /// Header and payload. Padding is cut off, and the header's P bit says so.
    pub(crate) bytes: &'a [u8],
    /// What is known of it.
    pub(crate) info: &'a PacketInfo,
}

impl<'a> CachedPacket<'a> {
    /// The payload without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.info.payload()).unwrap_or_default()
    }

    /// The end-to-end header extensions.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (Extension, &'a [u8])> + Clone {
        self.info.extensions(self.bytes)
    }
}

impl Deref for CachedPacket<'_> {
    type Target = PacketInfo;

    fn deref(&self) -> &PacketInfo {
        self.info
    }
}

/// The latest packets of one layer: a ring of bytes, and a ring of slots by sequence number.
///
/// A packet is found until its slot is taken by a later one, or its bytes are overwritten. Memory
/// is taken at the first packet and never grows: [`VIDEO_BYTES`] and [`VIDEO_PACKETS`] slots, or
/// [`AUDIO_BYTES`] and [`AUDIO_PACKETS`] slots.
#[derive(Debug)]
pub(crate) struct PacketCache {
    kind: MediaKind,
    bytes: Vec<u8>,
    slots: Vec<Option<Slot>>,
    /// Bytes that were ever written, gaps at the end of the ring included. Where the next packet
    /// goes is this modulo the ring's size.
    written: u64,
}

impl PacketCache {
    /// An empty cache that owns no memory yet.
    pub(crate) fn new(kind: MediaKind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
            slots: Vec::new(),
            written: 0,
        }
    }

    /// Keeps an opened packet, which `info` was read from, without its padding. Returns false, and
    /// keeps nothing, if it is larger than a packet may be.
    pub(crate) fn insert(&mut self, sequence_number: u64, info: PacketInfo, packet: &[u8]) -> bool {
        let Some(packet) = packet.get(..info.payload().end) else {
            return false;
        };
        if self.slots.is_empty() {
            self.allocate();
        }
        let Some(start) = self.reserve(packet.len()) else {
            return false;
        };
        let range = self.range(start, packet.len());
        let (Some(room), Ok(length)) = (self.bytes.get_mut(range), u16::try_from(packet.len()))
        else {
            return false;
        };
        room.copy_from_slice(packet);
        if let Some(flags) = room.first_mut() {
            *flags &= !PADDING_BIT;
        }
        let index = self.slot_index(sequence_number);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(Slot {
                sequence_number,
                start,
                length,
                info,
            });
        }
        true
    }

    /// The packet with this extended sequence number, if it is still there.
    pub(crate) fn packet(&self, sequence_number: u64) -> Option<CachedPacket<'_>> {
        let slot = self.slot(sequence_number)?;
        // Its bytes are whole as long as the writer is not more than a ring ahead of their start.
        if self.written - slot.start > self.bytes.len() as u64 {
            return None;
        }
        let bytes = self
            .bytes
            .get(self.range(slot.start, usize::from(slot.length)))?;
        Some(CachedPacket {
            bytes,
            info: &slot.info,
        })
    }

    /// Whether this packet came already. Stays true when its bytes are gone, until its slot is
    /// taken.
    pub(crate) fn contains(&self, sequence_number: u64) -> bool {
        self.slot(sequence_number).is_some()
    }

    /// How many packets back from the newest a slot is kept.
    pub(crate) fn packets_max(&self) -> u64 {
        match self.kind {
            MediaKind::Video => VIDEO_PACKETS,
            MediaKind::Audio => AUDIO_PACKETS,
        }
    }

    fn allocate(&mut self) {
        let (bytes, packets) = match self.kind {
            MediaKind::Video => (VIDEO_BYTES, VIDEO_PACKETS),
            MediaKind::Audio => (AUDIO_BYTES, AUDIO_PACKETS),
        };
        self.bytes = vec![0; bytes];
        self.slots = (0..packets).map(|_| None).collect();
    }

    /// Takes `length` bytes in one piece and returns where they start, counted like `written`.
    fn reserve(&mut self, length: usize) -> Option<u64> {
        if length > PACKET_BYTES_MAX {
            return None;
        }
        let size = self.bytes.len() as u64;
        let length = length as u64;
        let left = size - self.written.checked_rem(size)?;
        let start = if left < length {
            self.written + left
        } else {
            self.written
        };
        self.written = start + length;
        Some(start)
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the ring's size")]
    fn range(&self, start: u64, length: usize) -> Range<usize> {
        let start = start
            .checked_rem(self.bytes.len() as u64)
            .unwrap_or_default() as usize;
        start..start + length
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the number of slots"
    )]
    fn slot_index(&self, sequence_number: u64) -> usize {
        sequence_number
            .checked_rem(self.slots.len() as u64)
            .unwrap_or_default() as usize
    }

    fn slot(&self, sequence_number: u64) -> Option<&Slot> {
        let slot = self.slots.get(self.slot_index(sequence_number))?.as_ref()?;
        (slot.sequence_number == sequence_number).then_some(slot)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence_number: u64,
    /// Counted like [`PacketCache::written`].
    start: u64,
    length: u16,
    info: PacketInfo,
}

/// Where one header extension's data stands in a packet.
#[derive(Clone, Copy, Debug)]
struct ExtensionData {
    extension: Extension,
    start: u16,
    length: u8,
}

impl ExtensionData {
    /// An unused place.
    const NONE: Self = Self {
        extension: Extension::Mid,
        start: 0,
        length: 0,
    };
}

/// Picture ids of VP8 count modulo this (RFC 7741 §4.2).
/// Picture ids have 7 or 15 bits (RFC 7741 §4.2).
const SHORT_MASK: u16 = 0x7f;
const LONG_MASK: u16 = 0x7fff;

/// P: padding follows the payload (RFC 3550 §5.1).
const PADDING_BIT: u8 = 0x20;

/// End-to-end extensions that there are ([`Extension::is_end_to_end`]).
const END_TO_END_MAX: usize = 8;

/// The largest packet that is kept: above every MTU that media is sent with.
pub(crate) const PACKET_BYTES_MAX: usize = 2048;

/// Bytes kept of a video layer: 1.6 s at 2.5 Mb/s.
pub(crate) const VIDEO_BYTES: usize = 512 * 1024;
/// Slots of a video layer: about 110 KiB. 1024 packets of 512 bytes fill the bytes too.
pub(crate) const VIDEO_PACKETS: u64 = 1024;
/// Bytes kept of an audio track: 2.5 s at 100 kb/s.
pub(crate) const AUDIO_BYTES: usize = 32 * 1024;
/// Slots of an audio track: 2.5 s of 20 ms each.
pub(crate) const AUDIO_PACKETS: u64 = 128;

const _: () = assert!(
    PACKET_BYTES_MAX * 8 <= AUDIO_BYTES,
    "a packet is small against the ring"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::{Packet, Vp8, ms, parameters, publication};

    fn info(packet: &[u8]) -> PacketInfo {
        let parameters = parameters(Codec::Vp8, &[]);
        let formats = Formats::new(&parameters.codecs, &parameters.extensions);
        let header = RtpHeader::parse(packet).unwrap();
        PacketInfo::read(ms(0), &header, packet, Codec::Vp8, &formats).unwrap()
    }

    fn packet(sequence_number: u64, length: usize) -> Vec<u8> {
        let number = u16::try_from(sequence_number & 0xffff).unwrap();
        let fill = number.to_be_bytes()[1];
        Packet::new(1000, number, 0, &vec![fill; length]).bytes()
    }

    fn insert(cache: &mut PacketCache, sequence_number: u64, length: usize) -> bool {
        let bytes = packet(sequence_number, length);
        cache.insert(sequence_number, info(&bytes), &bytes)
    }

    #[test]
    fn an_unused_cache_owns_no_memory() {
        let cache = PacketCache::new(MediaKind::Video);
        assert_eq!(cache.bytes.capacity() + cache.slots.capacity(), 0);
        assert!(cache.packet(1).is_none());
    }

    #[test]
    fn a_packet_is_found_as_it_was_put_in() {
        let mut cache = PacketCache::new(MediaKind::Video);
        assert!(insert(&mut cache, 65_540, 100));
        assert_eq!(cache.packet(65_540).unwrap().bytes, packet(65_540, 100));
        assert!(cache.packet(4).is_none(), "another cycle");
    }

    #[test]
    fn a_slot_taken_by_a_later_packet_forgets_the_earlier_one() {
        let mut cache = PacketCache::new(MediaKind::Audio);
        insert(&mut cache, 5, 10);
        insert(&mut cache, 5 + AUDIO_PACKETS, 10);
        assert!(cache.packet(5).is_none());
        assert!(!cache.contains(5));
        assert!(cache.packet(5 + AUDIO_PACKETS).is_some());
    }

    #[test]
    fn a_packet_whose_bytes_are_overwritten_is_gone_but_not_unknown() {
        let mut cache = PacketCache::new(MediaKind::Video);
        insert(&mut cache, 0, 1_000);
        let mut last_seen = 0;
        for number in 1..1_000 {
            insert(&mut cache, number, 1_000);
            if cache.packet(0).is_some() {
                last_seen = number;
            }
        }
        // 1012 bytes each: 518 packets fill the ring, the 519th overwrites the first.
        assert_eq!(last_seen, 517);
        assert!(cache.contains(0));
    }

    #[test]
    fn what_is_found_is_always_whole() {
        let mut cache = PacketCache::new(MediaKind::Video);
        for number in 0..20_000_u64 {
            let length = usize::try_from(number * 7_919 % 1_400).unwrap();
            insert(&mut cache, number, length);
            for old in (number.saturating_sub(1_100)..=number).step_by(13) {
                if let Some(found) = cache.packet(old) {
                    let length = usize::try_from(old * 7_919 % 1_400).unwrap();
                    assert_eq!(found.bytes, packet(old, length), "{old} after {number}");
                }
            }
        }
    }

    #[test]
    fn memory_does_not_grow() {
        let mut cache = PacketCache::new(MediaKind::Video);
        insert(&mut cache, 0, 10);
        let before = (cache.bytes.as_ptr(), cache.slots.as_ptr());
        for number in 1..5_000 {
            insert(&mut cache, number, 1_200);
        }
        assert_eq!((cache.bytes.as_ptr(), cache.slots.as_ptr()), before);
        assert_eq!(cache.bytes.len(), VIDEO_BYTES);
    }

    #[test]
    fn a_packet_larger_than_any_datagram_is_not_kept() {
        let mut cache = PacketCache::new(MediaKind::Audio);
        let length = PACKET_BYTES_MAX + 1;
        let bytes = packet(9, length);
        assert!(!cache.insert(9, info(&bytes), &bytes));
        assert!(!cache.contains(9));
    }

    #[test]
    fn padding_is_cut_off_and_no_longer_announced() {
        let mut cache = PacketCache::new(MediaKind::Video);
        let padded = Packet::new(1000, 7, 0, &[1, 2, 3]).padded(200).bytes();
        cache.insert(7, info(&padded), &padded);
        let found = cache.packet(7).unwrap();
        assert_eq!(found.bytes, Packet::new(1000, 7, 0, &[1, 2, 3]).bytes());
        assert_eq!(found.payload(), [1, 2, 3]);
    }

    #[test]
    fn only_end_to_end_extensions_are_known() {
        let packet = Packet::new(1000, 7, 0, &[1])
            .with_extension(4, b"0")
            .with_extension(6, &[2])
            .with_extension(9, &[3])
            .with_extension(6, &[4])
            .with_extension(5, &[5])
            .bytes();
        let info = info(&packet);
        let found: Vec<_> = info.extensions(&packet).collect();
        let expected = [
            (Extension::VideoOrientation, &[2][..]),
            (Extension::AudioLevel, &[5][..]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn every_end_to_end_extension_has_a_place() {
        assert_eq!(
            EXTENSIONS
                .iter()
                .filter(|known| known.is_end_to_end())
                .count(),
            END_TO_END_MAX
        );
    }

    const EXTENSIONS: [Extension; 15] = [
        Extension::Mid,
        Extension::RtpStreamId,
        Extension::RepairedRtpStreamId,
        Extension::TransportWideSequenceNumber,
        Extension::AbsoluteSendTime,
        Extension::TransmissionOffset,
        Extension::AudioLevel,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::VideoContentType,
        Extension::VideoTiming,
        Extension::ColorSpace,
        Extension::DependencyDescriptor,
        Extension::VideoLayersAllocation,
        Extension::AbsoluteCaptureTime,
    ];

    fn position(frame: Vp8) -> Vp8Position {
        let descriptor = vp8::Descriptor::parse(&frame.payload()).unwrap();
        Vp8Position {
            descriptor,
            picture_id: frame.picture_id,
        }
    }

    #[test]
    fn picture_ids_of_7_bits_are_widened_across_their_wraps() {
        let mut newest = None;
        let mut widen = |id: u16, sequence_number| {
            let mut position = position(Vp8::frame(id).short());
            position.widen(sequence_number, &mut newest);
            position.picture_id
        };
        let ids = [(126, 1_126), (127, 1_127), (0, 1_128), (1, 1_129)];
        assert_eq!(ids.map(|(id, at)| widen(id, at)), [126, 127, 128, 129]);
        // Late ones, be it by 127 frames, change nothing for what follows.
        let ids = [(127, 1_127), (100, 1_100), (2, 1_002)];
        assert_eq!(ids.map(|(id, at)| widen(id, at)), [127, 100, 2]);
        for id in 130..600 {
            assert_eq!(widen(id, 1_000 + u64::from(id)), id);
        }
        // After a loss of a hundred frames too.
        assert_eq!(widen(700, 1_700), 700);
    }

    #[test]
    fn packets_without_a_picture_do_not_make_a_frame_late() {
        let mut track = publication(Codec::Vp8, &[]);
        let mut picture_id = |number: u16, payload: &[u8]| {
            let packet = Packet::new(1000, number, 0, payload);
            let accepted = track.take(Timestamp::default(), 0, &packet).unwrap();
            let packet = track.packet(0, accepted.sequence_number).unwrap();
            packet.vp8.map(|position| position.picture_id)
        };
        let frame = |id: u16| Vp8::frame(id).short().payload();
        assert_eq!(picture_id(1, &frame(75)), Some(75));
        assert_eq!(picture_id(9, &[]), None);
        // More frames were overtaken than reordering alone explains: some were lost.
        assert_eq!(picture_id(8, &frame(82)), Some(82));
        assert_eq!(picture_id(7, &frame(81)), Some(81));
        assert_eq!(picture_id(10, &frame(83)), Some(83));
    }

    #[test]
    fn picture_ids_of_15_bits_stay_as_they_are() {
        let mut newest = None;
        position(Vp8::frame(20_000)).widen(1, &mut newest);
        let mut position = position(Vp8::frame(5));
        position.widen(2, &mut newest);
        assert_eq!(position.picture_id, 5);
    }
}
