//! From text to [`RemoteDescription`]: bounds first, then the syntax (crate `sdp`), then the meaning.

use std::io::Cursor;

use ::sdp::description::media::MediaDescription;
use ::sdp::description::session::SessionDescription;
use shared::protocol::{Codec, MediaKind, Mid};

use super::attribute::{self, Attributes, invalid};
use super::bounds;
use super::error::SdpError;
use super::format::Format;
use super::remote::{
    Feedback, MediaType, RemoteDescription, Section, SectionCodec, SectionExtension,
    SectionTransport,
};
use super::sources;
use super::{DescriptionKind, Direction};

/// Reads a client's session description.
///
/// # Errors
/// A bound is broken, or it is not SDP, or something that WebRTC needs is missing.
pub fn parse(kind: DescriptionKind, text: &str) -> Result<RemoteDescription, SdpError> {
    let tidy = bounds::check(text)?;
    let description = SessionDescription::unmarshal(&mut Cursor::new(tidy.as_bytes()))
        .map_err(|error| SdpError::Syntax(error.to_string().chars().take(160).collect()))?;
    let session = Attributes(&description.attributes);
    let level = SessionLevel {
        transport: session.transport()?,
        direction: session.direction(),
        extensions: session
            .values("extmap")
            .filter_map(attribute::extmap)
            .collect(),
    };
    let mut sections: Vec<Section> = Vec::with_capacity(description.media_descriptions.len());
    for (index, media) in description.media_descriptions.iter().enumerate() {
        let section = section(index, media, &level)?;
        if sections.iter().any(|other| other.mid == section.mid) {
            return Err(invalid(&format!("a=mid:{} is there twice", section.mid)));
        }
        sections.push(section);
    }
    if sections.is_empty() {
        return Err(invalid("SDP contains no media section"));
    }
    Ok(RemoteDescription {
        kind,
        bundle: bundle(&session),
        extmap_allow_mixed: session.has("extmap-allow-mixed"),
        ice_lite: session.has("ice-lite"),
        candidates: tidy.matches("\r\na=candidate:").count(),
        sections,
    })
}

/// What the session says for sections that do not say it themselves.
struct SessionLevel {
    transport: SectionTransport,
    direction: Option<Direction>,
    extensions: Vec<SectionExtension>,
}

fn bundle(session: &Attributes<'_>) -> Vec<Mid> {
    let group = session
        .values("group")
        .find_map(|value| value.strip_prefix("BUNDLE"));
    group
        .unwrap_or("")
        .split_whitespace()
        .filter_map(|mid| Mid::from(mid).ok())
        .collect()
}

fn section(
    index: usize,
    media: &MediaDescription,
    level: &SessionLevel,
) -> Result<Section, SdpError> {
    let attributes = Attributes(&media.attributes);
    let name = &media.media_name;
    let mid = attributes
        .value("mid")
        .ok_or_else(|| invalid(&format!("media section {index} has no a=mid")))?;
    let own = attributes.transport()?;
    let mut extensions: Vec<SectionExtension> = attributes
        .values("extmap")
        .filter_map(attribute::extmap)
        .collect();
    if extensions.is_empty() {
        extensions.clone_from(&level.extensions);
    }
    extensions.truncate(EXTMAPS_MAX);
    let media_type = match name.media.as_str() {
        "audio" => MediaType::Media(MediaKind::Audio),
        "video" => MediaType::Media(MediaKind::Video),
        "application" => MediaType::Application,
        other => return Err(invalid(&format!("m={other} is not supported"))),
    };
    let (payload_types, codecs) = match media_type {
        MediaType::Media(kind) => codecs(kind, &name.formats, &attributes),
        MediaType::Application => (Vec::new(), Vec::new()),
    };
    Ok(Section {
        media: media_type,
        protocol: name.protos.join("/"),
        first_format: name.formats.first().cloned().unwrap_or_default(),
        mid: attribute::mid(mid)?,
        direction: attributes
            .direction()
            .or(level.direction)
            // RFC 8866 §6.7: sendrecv where nothing is said.
            .unwrap_or(Direction::SendReceive),
        // RFC 8843 §6: port 0 with a=bundle-only is not a refusal.
        rejected: name.port.value == 0 && !attributes.has("bundle-only"),
        transport: SectionTransport {
            ice: own.ice.or_else(|| level.transport.ice.clone()),
            fingerprints: if own.fingerprints.is_empty() {
                level.transport.fingerprints.clone()
            } else {
                own.fingerprints
            },
            setup: own.setup.or(level.transport.setup),
        },
        codecs,
        payload_types,
        extensions,
        layers: sources::layers(&attributes),
    })
}

/// Every number of the `m=` line, and those that we can forward, in the same order.
fn codecs(
    kind: MediaKind,
    formats: &[String],
    attributes: &Attributes<'_>,
) -> (Vec<u8>, Vec<SectionCodec>) {
    let mut numbers: Vec<u8> = Vec::new();
    for number in formats.iter().filter_map(|text| text.parse().ok()) {
        if number < 128 && !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    let mut table = FormatTable::read(attributes);
    table
        .entries
        .retain(|entry| numbers.contains(&entry.payload_type));
    let mut codecs: Vec<SectionCodec> = numbers
        .iter()
        .filter_map(|number| {
            let format = table
                .format(*number)
                .filter(|format| format.codec.kind() == kind)?;
            Some(SectionCodec {
                payload_type: *number,
                format,
                rtx_payload_type: table.rtx_of(*number),
                feedback: table.feedback(*number),
            })
        })
        .take(shared::limits::CODECS_MAX)
        .collect();
    let is_opus = |codec: &&SectionCodec| codec.format.codec == Codec::Opus;
    let opus: Vec<u8> = codecs
        .iter()
        .filter(is_opus)
        .map(|codec| codec.payload_type)
        .collect();
    // RED of something else is not forwarded.
    codecs.retain(|codec| {
        let block = codec.format.block_payload_type();
        block.is_none_or(|block| opus.contains(&block))
    });
    (numbers, codecs)
}

/// `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of a section, gathered in one pass each.
#[derive(Default)]
struct FormatTable<'a> {
    entries: Vec<FormatLine<'a>>,
    feedback_of_all: Feedback,
}

struct FormatLine<'a> {
    payload_type: u8,
    encoding: Option<&'a str>,
    parameters: &'a str,
    feedback: Feedback,
}

impl<'a> FormatTable<'a> {
    fn read(attributes: &Attributes<'a>) -> Self {
        let mut table = Self::default();
        for value in attributes.values("rtpmap") {
            if let Some((entry, encoding)) = table.entry(value) {
                entry.encoding = entry.encoding.or(Some(encoding));
            }
        }
        for value in attributes.values("fmtp") {
            if let Some((entry, parameters)) = table.entry(value) {
                entry.parameters = parameters;
            }
        }
        for value in attributes.values("rtcp-fb") {
            if let Some(words) = value.strip_prefix('*') {
                attribute::feedback(words, &mut table.feedback_of_all);
            } else if let Some((entry, words)) = table.entry(value) {
                attribute::feedback(words, &mut entry.feedback);
            }
        }
        table
    }

    /// The entry of the payload type that `value` begins with, and the rest of `value`. There are
    /// at most 128, so the whole reading is linear.
    fn entry(&mut self, value: &'a str) -> Option<(&mut FormatLine<'a>, &'a str)> {
        let (number, rest) = value.split_once(char::is_whitespace)?;
        let payload_type: u8 = number.parse().ok().filter(|number| *number < 128)?;
        let position = self
            .entries
            .iter()
            .position(|entry| entry.payload_type == payload_type);
        let index = position.unwrap_or(self.entries.len());
        if position.is_none() {
            let feedback = Feedback::default();
            self.entries.push(FormatLine {
                payload_type,
                encoding: None,
                parameters: "",
                feedback,
            });
        }
        self.entries
            .get_mut(index)
            .map(|entry| (entry, rest.trim()))
    }

    fn line(&self, payload_type: u8) -> Option<&FormatLine<'a>> {
        self.entries
            .iter()
            .find(|entry| entry.payload_type == payload_type)
    }

    fn format(&self, payload_type: u8) -> Option<Format> {
        let line = self.line(payload_type);
        let Some(encoding) = line.and_then(|line| line.encoding) else {
            return Format::of_static_payload_type(payload_type);
        };
        let mut parts = encoding.split('/');
        let name = parts.next()?;
        let clock_rate = parts.next()?.trim().parse().ok()?;
        let channels = parts
            .next()
            .map_or(Some(1), |text| text.trim().parse().ok())?;
        Format::recognise(
            name,
            clock_rate,
            channels,
            line.map_or("", |line| line.parameters),
        )
    }

    /// RFC 4588 §8.6: `apt` names the payload type that is retransmitted.
    fn rtx_of(&self, payload_type: u8) -> Option<u8> {
        let is_rtx_of = |line: &&FormatLine<'_>| {
            let is_rtx = line.encoding.is_some_and(|encoding| {
                encoding
                    .split('/')
                    .next()
                    .is_some_and(|name| name.eq_ignore_ascii_case("rtx"))
            });
            let mut parameters = line
                .parameters
                .split(';')
                .filter_map(|pair| pair.split_once('='));
            is_rtx
                && parameters.any(|(key, value)| {
                    key.trim() == "apt" && value.trim().parse() == Ok(payload_type)
                })
        };
        self.entries
            .iter()
            .find(is_rtx_of)
            .map(|line| line.payload_type)
    }

    fn feedback(&self, payload_type: u8) -> Feedback {
        let own = self
            .line(payload_type)
            .map(|line| line.feedback)
            .unwrap_or_default();
        let all = self.feedback_of_all;
        Feedback {
            nack: own.nack || all.nack,
            pli: own.pli || all.pli,
            fir: own.fir || all.fir,
            transport_cc: own.transport_cc || all.transport_cc,
        }
    }
}

/// Extensions of one section that are looked at; Chrome offers 15.
const EXTMAPS_MAX: usize = 64;
