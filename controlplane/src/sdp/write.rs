//! Our session descriptions, from types to text. Every line ends in CRLF (RFC 8866 §5).

use std::fmt::Write as _;
use std::net::SocketAddr;

use shared::protocol::{
    ExtensionMapping, Fingerprint, HashAlgorithm, IceCredentials, MediaKind, Mid, Rid,
};

use super::extension::uri_of;
use super::format::Format;
use super::remote::{Feedback, MediaType};
use super::{Direction, Setup};

/// An offer or answer of ours, complete.
#[derive(Clone, Debug)]
pub struct LocalDescription<'a> {
    /// `<sess-id>` of the origin; the same in every description of a session.
    pub origin: u64,
    /// `<sess-version>` of the origin; goes up with every description (RFC 3264 §8).
    pub version: u64,
    /// Of our ICE agent, which is lite.
    pub ice: &'a IceCredentials,
    /// One host candidate each, the best first.
    pub addresses: &'a [SocketAddr],
    /// Of our certificate.
    pub fingerprint: &'a Fingerprint,
    /// Our part in the DTLS handshake.
    pub setup: Setup,
    /// Whether `a=extmap-allow-mixed` is said.
    pub extmap_allow_mixed: bool,
    /// `a=group:BUNDLE`, in its own order: the first section of it describes the transport
    /// (RFC 8843 §7.2.1). Chrome makes a new transport when another comes first.
    pub bundle: &'a [Mid],
    /// In their order.
    pub sections: &'a [LocalSection],
}

/// One media section of ours.
#[derive(Clone, Debug)]
pub enum LocalSection {
    /// Audio or video.
    Media(Box<LocalMedia>),
    /// Port 0.
    Rejected(RejectedSection),
}

/// A media section that is not used: port 0, outside of the BUNDLE group (RFC 8843 §7.3.3).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RejectedSection {
    /// `<media>`.
    pub media: MediaType,
    /// `<proto>`.
    pub protocol: String,
    /// `<fmt>`: one must be there.
    pub format: String,
    /// `a=mid`.
    pub mid: Mid,
}

/// A media section for audio or video.
#[derive(Clone, Debug)]
pub struct LocalMedia {
    /// Which of the two.
    pub kind: MediaKind,
    /// `a=mid`.
    pub mid: Mid,
    /// As we see it.
    pub direction: Direction,
    /// In the order of preference.
    pub codecs: Vec<LocalCodec>,
    /// `a=extmap`.
    pub extensions: Vec<ExtensionMapping>,
    /// `a=rid:.. recv` and `a=simulcast:recv`; empty without simulcast.
    pub receive_rids: Vec<Rid>,
    /// What we send with; written if the direction has sending in it.
    pub source: Option<LocalSource>,
}

/// One codec of a media section of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCodec {
    /// Its number.
    pub payload_type: u8,
    /// What it means.
    pub format: Format,
    /// The number of its retransmissions.
    pub rtx_payload_type: Option<u8>,
    /// `a=rtcp-fb`.
    pub feedback: Feedback,
}

/// The stream that we send in a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSource {
    /// Of the media.
    pub ssrc: u32,
    /// Of the retransmissions.
    pub rtx_ssrc: Option<u32>,
    /// The first half of `a=msid`: tracks that share it are played in step.
    pub stream: String,
    /// The second half of `a=msid`.
    pub track: String,
    /// `a=ssrc:.. cname`.
    pub cname: String,
}

impl LocalDescription<'_> {
    /// The text.
    pub fn write(&self) -> String {
        let mut sdp = Writer(String::with_capacity(1024));
        sdp.line(format_args!("v=0"));
        sdp.line(format_args!(
            "o=- {} {} IN IP4 127.0.0.1",
            self.origin, self.version
        ));
        sdp.line(format_args!("s=-"));
        sdp.line(format_args!("t=0 0"));
        if !self.bundle.is_empty() {
            let mids: Vec<&str> = self.bundle.iter().map(Mid::as_str).collect();
            sdp.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
        }
        if self.extmap_allow_mixed {
            sdp.line(format_args!("a=extmap-allow-mixed"));
        }
        // RFC 8839 §5.3: the agent answers checks and makes none.
        sdp.line(format_args!("a=ice-lite"));
        // JSEP §5.2.1: candidates stand in the first section of the BUNDLE group only.
        let tagged = self.bundle.first();
        for section in self.sections {
            match section {
                LocalSection::Rejected(rejected) => sdp.rejected(rejected),
                LocalSection::Media(media) => {
                    self.media(&mut sdp, media);
                    if tagged == Some(&media.mid) {
                        sdp.candidates(self.addresses);
                    }
                }
            }
        }
        sdp.0
    }

    fn media(&self, sdp: &mut Writer, media: &LocalMedia) {
        let numbers: Vec<String> = media
            .payload_types()
            .map(|number| number.to_string())
            .collect();
        let default = self.addresses.first();
        sdp.line(format_args!(
            "m={} {} UDP/TLS/RTP/SAVPF {}",
            MediaType::Media(media.kind).as_str(),
            default.map_or(9, SocketAddr::port),
            numbers.join(" ")
        ));
        match default {
            Some(SocketAddr::V4(address)) => sdp.line(format_args!("c=IN IP4 {}", address.ip())),
            Some(SocketAddr::V6(address)) => sdp.line(format_args!("c=IN IP6 {}", address.ip())),
            None => sdp.line(format_args!("c=IN IP4 0.0.0.0")),
        }
        sdp.line(format_args!("a=ice-ufrag:{}", self.ice.ufrag));
        sdp.line(format_args!("a=ice-pwd:{}", self.ice.password));
        sdp.fingerprint(self.fingerprint);
        sdp.line(format_args!("a=setup:{}", self.setup.as_str()));
        sdp.line(format_args!("a=mid:{}", media.mid));
        for mapping in &media.extensions {
            sdp.line(format_args!(
                "a=extmap:{} {}",
                mapping.id,
                uri_of(mapping.extension)
            ));
        }
        sdp.line(format_args!("a={}", media.direction.as_str()));
        let source = media.source.as_ref().filter(|_| media.direction.sends());
        if let Some(source) = source {
            sdp.line(format_args!("a=msid:{} {}", source.stream, source.track));
        }
        sdp.line(format_args!("a=rtcp-mux"));
        sdp.line(format_args!("a=rtcp-rsize"));
        for codec in &media.codecs {
            sdp.codec(codec);
        }
        if media.direction.receives() && !media.receive_rids.is_empty() {
            sdp.rids(&media.receive_rids);
        }
        if let Some(source) = source {
            sdp.source(source);
        }
    }
}

impl LocalMedia {
    /// Each codec's number and, behind it, that of its retransmissions.
    fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.codecs
            .iter()
            .flat_map(|codec| core::iter::once(codec.payload_type).chain(codec.rtx_payload_type))
    }
}

struct Writer(String);

impl Writer {
    fn line(&mut self, line: core::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "{line}\r\n");
    }

    fn rejected(&mut self, section: &RejectedSection) {
        let format = if section.format.is_empty() {
            "0"
        } else {
            &section.format
        };
        self.line(format_args!(
            "m={} 0 {} {format}",
            section.media.as_str(),
            section.protocol
        ));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        self.line(format_args!("a=mid:{}", section.mid));
        self.line(format_args!("a=inactive"));
    }

    fn codec(&mut self, codec: &LocalCodec) {
        let number = codec.payload_type;
        self.line(format_args!(
            "a=rtpmap:{number} {}",
            codec.format.encoding()
        ));
        let feedback = codec.feedback;
        for (wanted, name) in [
            (feedback.transport_cc, "transport-cc"),
            (feedback.fir, "ccm fir"),
            (feedback.nack, "nack"),
            (feedback.pli, "nack pli"),
        ] {
            if wanted {
                self.line(format_args!("a=rtcp-fb:{number} {name}"));
            }
        }
        if !codec.format.parameters.is_empty() {
            self.line(format_args!("a=fmtp:{number} {}", codec.format.parameters));
        }
        if let Some(rtx) = codec.rtx_payload_type {
            // RFC 4588 §8.6.
            self.line(format_args!(
                "a=rtpmap:{rtx} rtx/{}",
                codec.format.codec.clock_rate()
            ));
            self.line(format_args!("a=fmtp:{rtx} apt={number}"));
        }
    }

    fn rids(&mut self, rids: &[Rid]) {
        for rid in rids {
            self.line(format_args!("a=rid:{rid} recv"));
        }
        // A single rid is not simulcast (RFC 8853 §5.1).
        if rids.len() > 1 {
            let list: Vec<&str> = rids.iter().map(Rid::as_str).collect();
            self.line(format_args!("a=simulcast:recv {}", list.join(";")));
        }
    }

    fn source(&mut self, source: &LocalSource) {
        let LocalSource {
            ssrc,
            rtx_ssrc,
            stream,
            track,
            cname,
        } = source;
        if let Some(rtx) = rtx_ssrc {
            self.line(format_args!("a=ssrc-group:FID {ssrc} {rtx}"));
        }
        for ssrc in core::iter::once(ssrc).chain(rtx_ssrc) {
            self.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
            self.line(format_args!("a=ssrc:{ssrc} msid:{stream} {track}"));
        }
    }

    fn fingerprint(&mut self, fingerprint: &Fingerprint) {
        let name = match fingerprint.algorithm {
            HashAlgorithm::Sha256 => "sha-256",
            HashAlgorithm::Sha384 => "sha-384",
            HashAlgorithm::Sha512 => "sha-512",
        };
        let bytes: Vec<String> = fingerprint
            .digest
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        self.line(format_args!("a=fingerprint:{name} {}", bytes.join(":")));
    }

    fn candidates(&mut self, addresses: &[SocketAddr]) {
        for (index, address) in addresses.iter().enumerate() {
            // RFC 8445 §5.1.2.1: type preference 126 (host), component 1; earlier ones first.
            let preference = u16::MAX.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX));
            let priority = (126_u32 << 24) | (u32::from(preference) << 8) | 255;
            self.line(format_args!(
                "a=candidate:{} 1 udp {priority} {} {} typ host",
                index.saturating_add(1),
                address.ip(),
                address.port()
            ));
        }
        self.line(format_args!("a=end-of-candidates"));
    }
}
