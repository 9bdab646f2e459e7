//! The packets of one layer, kept once for all of its legs.

use core::ops::{Deref, Range};

use shared::protocol::{Extension, MediaKind};

use super::packet_info::PacketInfo;

/// A packet in the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedPacket<'a> {
    /// Header and payload. The publisher's padding is cut off, and the header's P bit says so.
    pub(crate) bytes: &'a [u8],
    /// What is known of it.
    pub(crate) info: &'a PacketInfo,
    /// The payload and our own padding behind it.
    padded_payload: &'a [u8],
}

impl<'a> CachedPacket<'a> {
    /// The payload without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.info.payload()).unwrap_or_default()
    }

    /// The payload without padding and without what RED repeats.
    pub(crate) fn primary_payload(&self) -> &'a [u8] {
        self.bytes
            .get(self.info.primary_payload())
            .unwrap_or_default()
    }

    /// The payload with the padding of [`PacketCache::pad`], as it leaves to every subscriber.
    pub(crate) fn padded_payload(&self) -> &'a [u8] {
        self.padded_payload
    }

    /// Whether padding follows the payload: the P bit (RFC 3550 §5.1).
    pub(crate) fn is_padded(&self) -> bool {
        self.padded_payload.len() > self.info.payload().len()
    }

    /// Bytes of the end-to-end header extensions, as far as they make packets differ in length.
    pub(crate) fn extensions_len(&self) -> usize {
        self.info.extensions_len()
    }

    /// The end-to-end header extensions.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (Extension, &'a [u8])> + Clone {
        self.info.extensions(self.bytes)
    }

    /// What one of these extensions says, if it is there.
    pub(crate) fn extension(&self, wanted: Extension) -> Option<&'a [u8]> {
        self.info.extension(wanted, self.bytes)
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
        let Some(start) = self.reserve(packet.len() + PADDING_MAX) else {
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
                padding: 0,
                info,
            });
        }
        true
    }

    /// Puts `padding` bytes, at most [`PADDING_MAX`], behind the payload of a packet that has not
    /// left yet: they leave with it each time (RFC 3550 §5.1). To be called before the first
    /// subscriber gets the packet, since what is sent again must be the same to the last bit.
    pub(crate) fn pad(&mut self, sequence_number: u64, padding: u8) {
        let Some(slot) = self.slot(sequence_number).copied() else {
            return;
        };
        if padding == 0 || usize::from(padding) > PADDING_MAX || !self.is_whole(&slot) {
            return;
        }
        let end = self.range(slot.start, slot.length.into()).end;
        let room = self.bytes.get_mut(end..end + usize::from(padding));
        // Zeros, then their count, which counts itself.
        if let Some([zeros @ .., count]) = room {
            zeros.fill(0);
            *count = padding;
            let index = self.slot_index(sequence_number);
            if let Some(Some(slot)) = self.slots.get_mut(index) {
                slot.padding = padding;
            }
        }
    }

    /// The packet with this extended sequence number, if it is still there.
    pub(crate) fn packet(&self, sequence_number: u64) -> Option<CachedPacket<'_>> {
        let slot = self
            .slot(sequence_number)
            .filter(|slot| self.is_whole(slot))?;
        let length = usize::from(slot.length);
        let padding = usize::from(slot.padding);
        let padded = self.bytes.get(self.range(slot.start, length + padding))?;
        Some(CachedPacket {
            bytes: padded.get(..length)?,
            info: &slot.info,
            padded_payload: padded.get(slot.info.payload().start..)?,
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
        if length > PACKET_BYTES_MAX + PADDING_MAX {
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

    /// Bytes are whole as long as the writer is not more than a ring ahead of their start.
    fn is_whole(&self, slot: &Slot) -> bool {
        self.written - slot.start <= self.bytes.len() as u64
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
    /// Bytes of padding behind it.
    padding: u8,
    info: PacketInfo,
}

/// P: padding follows the payload (RFC 3550 §5.1).
const PADDING_BIT: u8 = 0x20;

/// Bytes that may be put behind a packet to make it as long as its neighbours. Encoders cut a frame
/// into packets that differ by one byte; two bytes nearly double the runs that leave as one message,
/// and more would win nothing.
pub(crate) const PADDING_MAX: usize = 2;

/// The largest packet that is kept: above every MTU that media is sent with.
pub(crate) const PACKET_BYTES_MAX: usize = 2048;

/// Bytes kept of a video layer: 1.6 s at 2.5 Mb/s.
pub(crate) const VIDEO_BYTES: usize = 512 * 1024;
/// Slots of a video layer: about 170 KiB. 1024 packets of 512 bytes fill the bytes too.
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
mod tests;
