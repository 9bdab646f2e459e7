//! Writing what was decided: a header into the slot, and the payload too if it must differ from
//! what the cache holds.

use shared::protocol::Extension;

use super::forward::Forwarded;
use super::leg::Leg;
use super::rtx::{Repeat, RtxNumbers};
use crate::ingress::{CachedPacket, OSN_BYTES};
use crate::rtp::OutgoingHeader;
use crate::rtp::dependency_descriptor::{write_active_targets, write_frame_number};
use crate::rtp::payload::{vp8, vp9};

/// A packet that stands in a slot and waits to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    /// What it is sealed for.
    pub(crate) ssrc: u32,
    /// Its SRTP index.
    pub(crate) index: u64,
    /// Bytes of the RTP header at the start of the slot.
    pub(crate) header_len: usize,
    /// Where the payload is.
    pub(crate) payload: PayloadSource<'a>,
}

/// Where the payload of a written packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadSource<'a> {
    /// In the cache as it is: to be sealed out of place, behind the header.
    Shared(&'a [u8]),
    /// In the slot, behind the header: to be sealed in place. Header and payload have this many
    /// bytes together.
    InSlot(usize),
}

impl Written<'_> {
    /// Bytes of header and payload.
    pub(crate) fn len(&self) -> usize {
        match self.payload {
            PayloadSource::Shared(payload) => self.header_len + payload.len(),
            PayloadSource::InSlot(len) => len,
        }
    }
}

impl Leg {
    /// Writes a packet that [`Leg::forward`] let through, and counts it as sent. `number` is its
    /// transport-wide sequence number, for a leg that has them. The same arguments always give the
    /// same bytes. None if `out` is too small.
    pub(crate) fn write<'a>(
        &mut self,
        forwarded: &Forwarded,
        number: Option<u16>,
        packet: &CachedPacket<'a>,
        out: &mut [u8],
    ) -> Option<Written<'a>> {
        let written = self.write_plain(forwarded, number, packet, out)?;
        // RFC 3550 §6.4.1: payload octets, padding not counted.
        self.reports
            .sent(written.len(), payload_of(forwarded, packet).len());
        Some(written)
    }

    /// Writes a packet that is sent again, with a transport-wide sequence number of its own. None
    /// if `out` is too small.
    pub(crate) fn write_repeat<'a>(
        &self,
        repeat: &Repeat<'a>,
        number: Option<u16>,
        out: &mut [u8],
    ) -> Option<Written<'a>> {
        match &repeat.rtx {
            None => self.write_plain(&repeat.forwarded, None, &repeat.packet, out),
            Some(rtx) => self.write_rtx(&repeat.forwarded, (rtx, number), &repeat.packet, out),
        }
    }

    /// Writes a retransmission of nothing: `padding` bytes, one to 255. None if `out` is too small.
    pub(crate) fn write_padding<'a>(
        &self,
        rtx: &RtxNumbers,
        number: u16,
        padding: u8,
        out: &mut [u8],
    ) -> Option<Written<'a>> {
        let header = OutgoingHeader {
            padded: true,
            marker: false,
            payload_type: rtx.payload_type,
            sequence_number: wire(rtx.index),
            timestamp: 0,
            ssrc: rtx.ssrc,
        };
        let value = number.to_be_bytes();
        let extensions = self.number_id().map(|id| (id, &value[..]));
        let header_len = header.write(extensions.into_iter(), out)?;
        let len = header_len + usize::from(padding);
        let body = out.get_mut(header_len..len)?;
        body.fill(0);
        *body.last_mut()? = padding;
        Some(Written {
            ssrc: rtx.ssrc,
            index: rtx.index,
            header_len,
            payload: PayloadSource::InSlot(len),
        })
    }

    fn write_plain<'a>(
        &self,
        forwarded: &Forwarded,
        number: Option<u16>,
        packet: &CachedPacket<'a>,
        out: &mut [u8],
    ) -> Option<Written<'a>> {
        let header = OutgoingHeader {
            padded: packet.is_padded() && !forwarded.is_unwrapped,
            marker: forwarded.marker,
            payload_type: forwarded.payload_type,
            sequence_number: wire(forwarded.index),
            timestamp: forwarded.timestamp,
            ssrc: self.ssrc,
        };
        let header_len = self.write_header(&header, (forwarded, number), packet, out)?;
        let payload = if forwarded.is_unwrapped {
            PayloadSource::Shared(packet.primary_payload())
        } else if forwarded.vp8.is_none() && forwarded.vp9.is_none() {
            PayloadSource::Shared(packet.padded_payload())
        } else {
            let payload = packet.padded_payload();
            let copied = write_payload(forwarded, packet, payload, out.get_mut(header_len..)?)?;
            PayloadSource::InSlot(header_len + copied)
        };
        Some(Written {
            ssrc: self.ssrc,
            index: forwarded.index,
            header_len,
            payload,
        })
    }

    /// RFC 4588 §4: the original sequence number, then the payload as it was first sent. Padding is
    /// left out: it belongs to the packet that it was in.
    fn write_rtx<'a>(
        &self,
        forwarded: &Forwarded,
        (rtx, number): (&RtxNumbers, Option<u16>),
        packet: &CachedPacket<'_>,
        out: &mut [u8],
    ) -> Option<Written<'a>> {
        let header = OutgoingHeader {
            padded: false,
            marker: forwarded.marker,
            payload_type: rtx.payload_type,
            sequence_number: wire(rtx.index),
            timestamp: forwarded.timestamp,
            ssrc: rtx.ssrc,
        };
        let header_len = self.write_header(&header, (forwarded, number), packet, out)?;
        let (original, rest) = out
            .get_mut(header_len..)?
            .split_first_chunk_mut::<OSN_BYTES>()?;
        *original = wire(forwarded.index).to_be_bytes();
        let copied = write_payload(forwarded, packet, payload_of(forwarded, packet), rest)?;
        let payload = PayloadSource::InSlot(header_len + OSN_BYTES + copied);
        Some(Written {
            ssrc: rtx.ssrc,
            index: rtx.index,
            header_len,
            payload,
        })
    }

    fn write_header(
        &self,
        header: &OutgoingHeader,
        (forwarded, number): (&Forwarded, Option<u16>),
        packet: &CachedPacket<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let ids = self.extension_ids;
        let value = number.unwrap_or_default().to_be_bytes();
        let own = self.number_id().filter(|_| number.is_some());
        let own = own.map(|id| (id, &value[..])).into_iter();
        let extensions = packet
            .extensions()
            .filter_map(move |(extension, data)| Some((ids.id(extension)?, (extension, data))));
        if forwarded.cut.is_some() || forwarded.frame_number.is_some() {
            let mut room = [0; EXTENSION_BYTES_MAX];
            let descriptor = own_descriptor(forwarded, packet, &mut room);
            let extensions = extensions.map(|(id, (extension, data))| match descriptor {
                Some(own) if extension == Extension::DependencyDescriptor => (id, own),
                _ => (id, data),
            });
            return header.write(own.chain(extensions), out);
        }
        let extensions = extensions.map(|(id, (_, data))| (id, data));
        header.write(own.chain(extensions), out)
    }
}

/// The packet's dependency descriptor with the frame number of this leg, and a mask of the decode
/// targets that are left to it; none if there is no descriptor, or no room.
fn own_descriptor<'a>(
    forwarded: &Forwarded,
    packet: &CachedPacket<'_>,
    room: &'a mut [u8],
) -> Option<&'a [u8]> {
    let data = packet.extension(Extension::DependencyDescriptor)?;
    let targets = packet.position.and_then(|position| position.targets);
    let length = if let Some((cut, targets)) = forwarded.cut.zip(targets) {
        write_active_targets(data, targets.place, targets.up_to(cut), room)?
    } else {
        room.get_mut(..data.len())?.copy_from_slice(data);
        data.len()
    };
    let written = room.get_mut(..length)?;
    if let Some(number) = forwarded.frame_number {
        write_frame_number(written, number)?;
    }
    Some(written)
}

/// The payload that leaves, as far as the cache holds it, without padding.
fn payload_of<'a>(forwarded: &Forwarded, packet: &CachedPacket<'a>) -> &'a [u8] {
    if forwarded.is_unwrapped {
        packet.primary_payload()
    } else {
        packet.payload()
    }
}

/// Copies `payload`, that of `packet` with or without padding, with the numbers of this leg and
/// returns its length.
fn write_payload(
    forwarded: &Forwarded,
    packet: &CachedPacket<'_>,
    payload: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let (written, rest) = match (forwarded.vp8, packet.vp8) {
        (Some(numbers), Some(position)) => {
            let written = vp8::rewrite(&position.descriptor, &numbers, out)?;
            (written, payload.get(position.descriptor.len()..)?)
        }
        _ => (0, payload),
    };
    let copy = out.get_mut(written..written + rest.len())?;
    copy.copy_from_slice(rest);
    if let Some(numbers) = &forwarded.vp9 {
        vp9::rewrite(copy, numbers)?;
    }
    Some(written + rest.len())
}

/// Bytes that a header extension can have (RFC 8285 §4.3).
const EXTENSION_BYTES_MAX: usize = 255;

/// The lower 16 bits, as they stand in a packet.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower 16 bits are what is asked for"
)]
fn wire(index: u64) -> u16 {
    index as u16
}
