//! What is known of a packet that came.

use core::ops::Range;

use shared::protocol::{Codec, Extension};

use super::sub_layers::LayerPosition;
use crate::relay::Formats;
use crate::rtp::dependency_descriptor::frame_number;
use crate::rtp::payload::{red, starts_keyframe, vp8, vp9};
use crate::rtp::{RtpError, RtpHeader};
use crate::speech::AudioLevel;
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
    /// The numbers of a VP9 payload; the picture id has 15 bits, also where the publisher counts
    /// with 7.
    pub(crate) vp9: Option<vp9::Numbers>,
    /// The frame number of the dependency descriptor.
    pub(crate) frame_number: Option<u16>,
    /// Where it stands among the layers of its stream, if that has any.
    pub(crate) position: Option<LayerPosition>,
    payload_start: u16,
    /// Where the primary encoding of RED starts; of other codecs, the payload.
    primary_start: u16,
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

/// The newest packet of a layer that has a picture id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestPicture {
    sequence_number: u64,
    /// With 15 bits.
    picture_id: u16,
}

impl NewestPicture {
    /// Widens a picture id of 7 bits to 15, given the newest frame so far. Frames are in the order
    /// of their packets: what comes after its packet is of that frame or of one up to 127 later,
    /// what comes before it is of that frame or of one up to 127 earlier. Packets without a picture
    /// do not count, so they may overtake any frame.
    pub(crate) fn widen(
        newest: &mut Option<Self>,
        sequence_number: u64,
        picture_id: u16,
        is_long: bool,
    ) -> u16 {
        let is_late = newest.is_some_and(|newest| sequence_number < newest.sequence_number);
        let widened = match *newest {
            Some(Self { picture_id: id, .. }) if !is_long => {
                if is_late {
                    id.wrapping_sub(id.wrapping_sub(picture_id) & SHORT_MASK) & LONG_MASK
                } else {
                    id.wrapping_add(picture_id.wrapping_sub(id) & SHORT_MASK) & LONG_MASK
                }
            }
            _ => picture_id,
        };
        if !is_late {
            *newest = Some(Self {
                sequence_number,
                picture_id: widened,
            });
        }
        widened
    }
}

impl PacketInfo {
    /// Reads what is needed of an opened packet.
    ///
    /// # Errors
    /// If the padding or the headers of RED lie, or the packet is longer than any datagram.
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
            vp9: None,
            frame_number: None,
            position: None,
            payload_start: length(header.len())?,
            primary_start: length(header.len() + primary_start(codec, payload)?)?,
            payload_end: length(header.len() + payload.len())?,
            extensions: [ExtensionData::NONE; END_TO_END_MAX],
            extension_count: 0,
        };
        info.read_extensions(header, packet, formats);
        info.frame_number = info
            .extension(Extension::DependencyDescriptor, packet)
            .and_then(frame_number);
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

    /// Where the payload stands without what RED repeats.
    pub(crate) fn primary_payload(&self) -> Range<usize> {
        usize::from(self.primary_start)..usize::from(self.payload_end)
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

    /// What one of these extensions of `packet` says, if it is there.
    pub(crate) fn extension<'a>(&self, wanted: Extension, packet: &'a [u8]) -> Option<&'a [u8]> {
        let mut extensions = self.extensions(packet);
        let (_, data) = extensions.find(|(extension, _)| *extension == wanted)?;
        Some(data)
    }

    /// How loud `packet` is, which this was read from, if it tells.
    pub(crate) fn audio_level(&self, packet: &[u8]) -> Option<AudioLevel> {
        AudioLevel::read(self.extension(Extension::AudioLevel, packet)?)
    }

    /// Bytes of the end-to-end header extensions in the one-byte form (RFC 8285 §4.2).
    pub(super) fn extensions_len(&self) -> usize {
        let known = self.extensions.iter().take(self.extension_count.into());
        let bytes: usize = known.map(|data| 1 + usize::from(data.length)).sum();
        bytes.next_multiple_of(4)
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

/// Where the primary encoding starts in a payload.
fn primary_start(codec: Codec, payload: &[u8]) -> Result<usize, RtpError> {
    if codec != Codec::Red || payload.is_empty() {
        return Ok(0);
    }
    red::primary_start(payload).ok_or(RtpError::Truncated)
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

/// Picture ids have 7 or 15 bits (RFC 7741 §4.2).
const SHORT_MASK: u16 = 0x7f;
const LONG_MASK: u16 = 0x7fff;

/// End-to-end extensions that there are ([`Extension::is_end_to_end`]).
const END_TO_END_MAX: usize = 8;

#[cfg(test)]
mod tests;
