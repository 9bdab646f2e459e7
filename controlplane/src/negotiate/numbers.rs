//! The payload types and header-extension ids of one session. Once a number means something, it
//! means that for as long as the session lives, in every media section of the BUNDLE group.
//!
//! RFC 8843 §9.1 and RFC 8285 §6 demand it; Chrome crashes where it is broken.

use serde::{Deserialize, Serialize};
use shared::protocol::{Codec, Extension, ExtensionMapping, MediaKind};

use crate::sdp::{Feedback, Fit, Format, LocalCodec, Section, SectionCodec, SectionExtension};

/// What every number of a session means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    formats: Vec<NumberedFormat>,
    /// One bit for each payload type that the client has used for anything at all, or we for RTX.
    payload_types_taken: u128,
    extensions: Vec<ExtensionMapping>,
    /// Ids that the client has used for extensions that we do not know.
    foreign_ids: Vec<u8>,
}

/// One payload type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NumberedFormat {
    pub(super) payload_type: u8,
    pub(super) format: Format,
    pub(super) rtx_payload_type: Option<u8>,
    /// What the client understands when it sends this.
    pub(super) feedback: Feedback,
}

impl Numbers {
    /// Takes over the numbers of a section that the client described, and gives those of its codecs
    /// that do not contradict what a number means already, in the client's order.
    pub(super) fn learn(&mut self, section: &Section) -> Vec<u8> {
        let mut accepted = Vec::new();
        let is_red = |codec: &&SectionCodec| codec.format.codec == Codec::Red;
        let (red, others): (Vec<_>, Vec<_>) = section.codecs.iter().partition(is_red);
        // What RED is made of comes before it.
        for codec in others.into_iter().chain(red) {
            if self.learn_codec(codec) {
                accepted.push(codec.payload_type);
                if section.direction.sends() {
                    self.set_feedback(codec);
                }
            }
        }
        let place = |number: &u8| section.payload_types.iter().position(|own| own == number);
        accepted.sort_by_key(place);
        for payload_type in &section.payload_types {
            self.take(*payload_type);
        }
        for extension in &section.extensions {
            self.learn_extension(*extension);
        }
        accepted
    }

    fn learn_codec(&mut self, codec: &SectionCodec) -> bool {
        let known = self
            .formats
            .iter()
            .find(|known| known.payload_type == codec.payload_type);
        if let Some(known) = known {
            return known.format.fit(&codec.format) == Fit::Same;
        }
        if self.is_taken(codec.payload_type) && !self.is_unknown(codec.payload_type) {
            return false;
        }
        let block = codec.format.block_payload_type();
        let is_opus = |block| {
            let known = self.format(block);
            known.is_some_and(|known| known.format.codec == Codec::Opus)
        };
        if !block.is_none_or(is_opus) {
            return false;
        }
        let rtx = codec
            .rtx_payload_type
            .filter(|rtx| self.formats.iter().all(|f| f.payload_type != *rtx));
        self.formats.push(NumberedFormat {
            payload_type: codec.payload_type,
            format: codec.format.clone(),
            rtx_payload_type: rtx,
            feedback: codec.feedback,
        });
        self.take(codec.payload_type);
        if let Some(rtx) = rtx {
            self.take(rtx);
        }
        true
    }

    /// Takes over what the client can do with a codec when it sends it.
    pub(super) fn set_feedback(&mut self, codec: &SectionCodec) {
        for known in &mut self.formats {
            if known.payload_type == codec.payload_type {
                known.feedback = codec.feedback;
            }
        }
    }

    /// Whether `payload_type` is no RTX of ours: the client may give it a meaning that we can use.
    fn is_unknown(&self, payload_type: u8) -> bool {
        self.formats
            .iter()
            .all(|known| known.rtx_payload_type != Some(payload_type))
    }

    fn learn_extension(&mut self, offered: SectionExtension) {
        if self.extensions.iter().any(|known| known.id == offered.id)
            || self.foreign_ids.contains(&offered.id)
        {
            return;
        }
        match offered.extension {
            Some(extension) if self.extension_id(extension).is_none() => {
                self.extensions.push(ExtensionMapping {
                    id: offered.id,
                    extension,
                });
            }
            Some(_) | None => self.foreign_ids.push(offered.id),
        }
    }

    /// Whether `mapping` does not contradict what its id means in this session.
    pub(super) fn agrees(&self, mapping: ExtensionMapping) -> bool {
        self.extensions
            .iter()
            .find(|known| known.id == mapping.id)
            .is_none_or(|known| known.extension == mapping.extension)
    }

    /// What a payload type means.
    pub(super) fn format(&self, payload_type: u8) -> Option<&NumberedFormat> {
        self.formats
            .iter()
            .find(|known| known.payload_type == payload_type)
    }

    /// The client does not take retransmissions for `payload_type`. The number stays taken.
    pub(super) fn drop_rtx(&mut self, payload_type: u8) {
        for known in &mut self.formats {
            if known.payload_type == payload_type {
                known.rtx_payload_type = None;
            }
        }
    }

    /// What an id means.
    pub(super) fn extension(&self, id: u8) -> Option<ExtensionMapping> {
        self.extensions.iter().find(|known| known.id == id).copied()
    }

    /// The id of `extension`, if it has one.
    pub(super) fn extension_id(&self, extension: Extension) -> Option<u8> {
        self.extensions
            .iter()
            .find(|known| known.extension == extension)
            .map(|known| known.id)
    }

    /// The payload type of `format` for an offer of ours: the one that means it already, else
    /// `wanted` if it is free, else another. `None`: there are no more numbers.
    ///
    /// Retransmissions of video are offered always: they are between us and the client, whatever
    /// the publisher does.
    pub(super) fn number_for(
        &mut self,
        format: &Format,
        wanted: u8,
        wanted_rtx: Option<u8>,
    ) -> Option<u8> {
        let same = self
            .formats
            .iter()
            .find(|known| known.format.fit(format) == Fit::Same);
        if let Some(known) = same {
            return Some(known.payload_type);
        }
        let payload_type = self.free_payload_type(wanted)?;
        self.take(payload_type);
        let is_video = format.codec.kind() == MediaKind::Video;
        let rtx = if is_video {
            self.free_payload_type(wanted_rtx.unwrap_or_else(|| payload_type.saturating_add(1)))
        } else {
            None
        };
        if let Some(rtx) = rtx {
            self.take(rtx);
        }
        self.formats.push(NumberedFormat {
            payload_type,
            format: format.clone(),
            rtx_payload_type: rtx,
            feedback: offered_feedback(format.codec.kind()),
        });
        Some(payload_type)
    }

    /// The id of `extension` for an offer of ours: the one that it has, else Chrome's, else a free
    /// one of the one-byte form. `None`: there are no more.
    pub(super) fn id_for(&mut self, extension: Extension) -> Option<u8> {
        if let Some(id) = self.extension_id(extension) {
            return Some(id);
        }
        let is_free = |id: &u8| {
            !self.foreign_ids.contains(id) && self.extensions.iter().all(|known| known.id != *id)
        };
        let id = core::iter::once(usual_id(extension))
            .chain(1..=14)
            .find(is_free)?;
        self.extensions.push(ExtensionMapping { id, extension });
        Some(id)
    }

    /// A codec as we write it; `feedback` is what we want of it.
    pub(super) fn local_codec(&self, payload_type: u8, feedback: Feedback) -> Option<LocalCodec> {
        let known = self.format(payload_type)?;
        Some(LocalCodec {
            payload_type,
            format: known.format.clone(),
            rtx_payload_type: known.rtx_payload_type,
            feedback,
        })
    }

    fn is_taken(&self, payload_type: u8) -> bool {
        1_u128
            .checked_shl(u32::from(payload_type))
            .is_none_or(|bit| self.payload_types_taken & bit != 0)
    }

    fn take(&mut self, payload_type: u8) {
        self.payload_types_taken |= 1_u128.checked_shl(u32::from(payload_type)).unwrap_or(0);
    }

    fn free_payload_type(&self, wanted: u8) -> Option<u8> {
        // RFC 5761 §4: 64 to 95 cannot be told from RTCP. 0 to 34 are static (RFC 3551 §6).
        let usable = |number: u8| matches!(number, 35..=63 | 96..=127) || wanted_is_static(number);
        let wanted = core::iter::once(wanted).filter(|number| usable(*number));
        wanted
            .chain((96..=127).chain(35..=63))
            .find(|number| !self.is_taken(*number))
    }
}

/// The feedback that we offer and take, whoever sends. No REMB: transport-wide feedback says all of
/// it, and more.
pub(super) fn offered_feedback(kind: MediaKind) -> Feedback {
    let video = kind == MediaKind::Video;
    Feedback {
        nack: video,
        pli: video,
        fir: video,
        transport_cc: true,
    }
}

/// Only the three that we know by their static numbers.
fn wanted_is_static(number: u8) -> bool {
    Format::of_static_payload_type(number).is_some()
}

/// The ids of an audio-first offer of Chrome.
fn usual_id(extension: Extension) -> u8 {
    match extension {
        Extension::AudioLevel => 1,
        Extension::AbsoluteSendTime => 2,
        Extension::TransportWideSequenceNumber => 3,
        Extension::Mid => 4,
        Extension::PlayoutDelay => 5,
        Extension::VideoContentType => 6,
        Extension::VideoTiming => 7,
        Extension::ColorSpace => 8,
        Extension::DependencyDescriptor => 9,
        Extension::RtpStreamId => 10,
        Extension::RepairedRtpStreamId => 11,
        Extension::AbsoluteCaptureTime | Extension::VideoLayersAllocation => 12,
        Extension::VideoOrientation => 13,
        Extension::TransmissionOffset => 14,
    }
}
