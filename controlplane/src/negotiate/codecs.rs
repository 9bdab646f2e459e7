//! Where a publisher's codecs meet a subscriber's.

use shared::protocol::{CodecMapping, Extension, ExtensionMapping, MediaKind, PublishedCodec};

use super::error::{ErrorCode, ItemError};
use super::line::{Candidates, MediaLine};
use super::model::SessionModel;
use super::numbers::{Numbers, offered_feedback};
use super::published::{PublishedFormat, PublishedTrack};
use crate::sdp::{Fit, Format};

/// For each payload type of the publisher, those of `payload_types` that could carry it.
pub(super) fn candidates(
    published: &PublishedTrack,
    payload_types: &[u8],
    numbers: &Numbers,
) -> Vec<Candidates> {
    let of_source = |source: &PublishedFormat| {
        let mut fits: Vec<(Fit, u8)> = payload_types
            .iter()
            .filter_map(|number| {
                let fit = source.format.fit(&numbers.format(*number)?.format);
                (fit != Fit::None).then_some((fit, *number))
            })
            .collect();
        // The best first; those that are equally good stay in their order.
        fits.sort_by_key(|(fit, _)| core::cmp::Reverse(*fit));
        Candidates {
            source_payload_type: source.codec.payload_type,
            payload_types: fits.into_iter().map(|(_, number)| number).collect(),
        }
    };
    published.codecs.iter().map(of_source).collect()
}

/// The mapping, once it is known which payload types the subscriber takes.
///
/// # Errors
/// What the publisher sends (the first of its codecs) is not among them.
pub(super) fn settle(
    candidates: &[Candidates],
    accepted: &[u8],
    numbers: &Numbers,
) -> Result<Vec<CodecMapping>, ItemError> {
    let mapping = |of: &Candidates| {
        let number = of
            .payload_types
            .iter()
            .find(|number| accepted.contains(number))?;
        let known = numbers.format(*number)?;
        Some(CodecMapping {
            source_payload_type: of.source_payload_type,
            payload_type: *number,
            codec: known.format.codec,
            rtx_payload_type: known.rtx_payload_type,
        })
    };
    if candidates.first().and_then(mapping).is_none() {
        return Err(missing_codec());
    }
    Ok(candidates.iter().filter_map(mapping).collect())
}

/// The mapping onto a line whose codecs are settled already.
pub(super) fn map_onto(
    published: &PublishedTrack,
    line: &MediaLine,
    numbers: &Numbers,
) -> Result<Vec<CodecMapping>, ItemError> {
    let payload_types = &line.payload_types;
    settle(
        &candidates(published, payload_types, numbers),
        payload_types,
        numbers,
    )
}

/// The payload type of one of a publisher's formats for an offer of ours. None if there are no more
/// numbers, or if the blocks of its RED, which keep their numbers, would mean something else.
pub(super) fn offered_number(
    published: &PublishedTrack,
    source: &PublishedFormat,
    numbers: &mut Numbers,
) -> Option<u8> {
    if let Some(block) = source.format.block_payload_type() {
        let mut others = published.codecs.iter();
        let opus = others.find(|other| other.codec.payload_type == block)?;
        let number = numbers.number_for(&opus.format, block, opus.codec.rtx_payload_type);
        number.filter(|number| *number == block)?;
    }
    let PublishedCodec {
        payload_type,
        rtx_payload_type,
        ..
    } = source.codec;
    numbers.number_for(&source.format, payload_type, rtx_payload_type)
}

/// The documented complaint.
pub(super) fn missing_codec() -> ItemError {
    ItemError {
        code: ErrorCode::InvalidSessionDescription,
        description: "The subscriber's SDP is missing the published track's codec".to_owned(),
    }
}

/// What may come from the client in `line`.
pub(super) fn published_codecs(model: &SessionModel, line: &MediaLine) -> Vec<PublishedCodec> {
    let transport_wide = model.extensions_of(line).into_iter().any(is_transport_wide);
    let ours = offered_feedback(line.kind);
    let codec = |number: &u8| {
        let known = model.numbers.format(*number)?;
        Some(PublishedCodec {
            payload_type: *number,
            codec: known.format.codec,
            rtx_payload_type: known.rtx_payload_type,
            nack: known.feedback.nack && ours.nack,
            pli: known.feedback.pli && ours.pli,
            fir: known.feedback.fir && ours.fir,
            transport_cc: known.feedback.transport_cc && transport_wide,
        })
    };
    line.payload_types.iter().filter_map(codec).collect()
}

/// Whether a section that only we send in has this extension: what goes from publisher to subscriber,
/// the mid, and the number by which a client tells when each packet came, if it does.
pub(super) fn is_for_subscriber(extension: Extension, tells_arrivals: bool) -> bool {
    let is_numbered = extension == Extension::TransportWideSequenceNumber;
    extension == Extension::Mid || is_numbered && tells_arrivals || extension.is_end_to_end()
}

/// Whether transport-wide feedback has something to count by.
pub(super) fn is_transport_wide(mapping: ExtensionMapping) -> bool {
    mapping.extension == Extension::TransportWideSequenceNumber
}

/// What we offer a client that pushes without an offer of its own: each format with Chrome's
/// numbers for it and for its retransmissions.
pub(super) fn usual_formats(kind: MediaKind) -> Vec<(Format, u8, Option<u8>)> {
    let lines: &[(&str, &str, u8, u8)] = match kind {
        MediaKind::Audio => &USUAL_AUDIO,
        MediaKind::Video => &USUAL_VIDEO,
    };
    let format = |(name, parameters, number, rtx): &(&str, &str, u8, u8)| {
        let (clock_rate, channels) = match (kind, *name) {
            (MediaKind::Video, _) => (90_000, 1),
            (MediaKind::Audio, "opus") => (48_000, 2),
            (MediaKind::Audio, _) => (8_000, 1),
        };
        let format = Format::recognise(name, clock_rate, channels, parameters)?;
        Some((format, *number, (kind == MediaKind::Video).then_some(*rtx)))
    };
    lines.iter().filter_map(format).collect()
}

const USUAL_AUDIO: [(&str, &str, u8, u8); 4] = [
    ("opus", "minptime=10;useinbandfec=1", 111, 0),
    ("G722", "", 9, 0),
    ("PCMU", "", 0, 0),
    ("PCMA", "", 8, 0),
];

const USUAL_VIDEO: [(&str, &str, u8, u8); 9] = [
    ("VP8", "", 96, 97),
    (
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        108,
        109,
    ),
    (
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
        114,
        115,
    ),
    (
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        102,
        103,
    ),
    (
        "H264",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
        116,
        117,
    ),
    ("AV1", "level-idx=5;profile=0;tier=0", 45, 46),
    ("VP9", "profile-id=0", 98, 99),
    ("VP9", "profile-id=2", 100, 101),
    (
        "H265",
        "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        49,
        50,
    ),
];
