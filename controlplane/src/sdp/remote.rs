//! A client's session description, as types.

use arrayvec::ArrayVec;
use shared::limits::LAYERS_MAX;
use shared::protocol::{
    Extension, Fingerprint, IceCredentials, LayerParameters, MediaKind, Mid, Rid,
};

use super::format::Format;
use super::{DescriptionKind, Direction, Setup};

/// A client's offer or answer. Its candidates were counted, and otherwise ignored: an ICE-lite
/// agent learns the client's addresses from its checks (RFC 8445 §7.3.1.3), so that no name or
/// address that a description holds is ever resolved or contacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDescription {
    /// Which.
    pub kind: DescriptionKind,
    /// The mids of `a=group:BUNDLE`, in their order.
    pub bundle: Vec<Mid>,
    /// Whether `a=extmap-allow-mixed` is there.
    pub extmap_allow_mixed: bool,
    /// Whether `a=ice-lite` is there.
    pub ice_lite: bool,
    /// How many candidates there were.
    pub candidates: usize,
    /// In their order.
    pub sections: Vec<Section>,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is for.
    pub media: MediaType,
    /// `<proto>` of the `m=` line.
    pub protocol: String,
    /// The first `<fmt>` of the `m=` line, for a rejection to repeat.
    pub first_format: String,
    /// `a=mid`.
    pub mid: Mid,
    /// As the client sees it.
    pub direction: Direction,
    /// Whether the port is 0 without `a=bundle-only`: stopped, or refused.
    pub rejected: bool,
    /// Of this section, or else of the session.
    pub transport: SectionTransport,
    /// Those that we can forward, in the client's order of preference.
    pub codecs: Vec<SectionCodec>,
    /// Every number of the `m=` line, those that we do not know included.
    pub payload_types: Vec<u8>,
    /// Every id, those of extensions that we do not know included.
    pub extensions: Vec<SectionExtension>,
    /// The encodings that the client sends, if it sends any. See [`Self::sends_simulcast`].
    pub layers: ArrayVec<LayerParameters, LAYERS_MAX>,
}

/// `<media>` of an `m=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum MediaType {
    /// `audio` or `video`.
    Media(MediaKind),
    /// `application`: data channels.
    Application,
}

/// What a media section says of the transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionTransport {
    /// `a=ice-ufrag` and `a=ice-pwd`.
    pub ice: Option<IceCredentials>,
    /// `a=fingerprint`, those with a hash function that we take.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
}

/// One payload type of a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionCodec {
    /// Its number.
    pub payload_type: u8,
    /// What it means.
    pub format: Format,
    /// The number whose `apt` is this one (RFC 4588 §8.6).
    pub rtx_payload_type: Option<u8>,
    /// `a=rtcp-fb`, its own and those of `*`.
    pub feedback: Feedback,
}

/// RTCP feedback messages (`a=rtcp-fb`) that we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Feedback {
    /// `nack` (RFC 4585 §6.2.1).
    pub nack: bool,
    /// `nack pli` (RFC 4585 §6.3.1).
    pub pli: bool,
    /// `ccm fir` (RFC 5104 §4.3.1).
    pub fir: bool,
    /// `transport-cc`.
    pub transport_cc: bool,
}

/// One `a=extmap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionExtension {
    /// 1 to 255.
    pub id: u8,
    /// What it is, if we know it.
    pub extension: Option<Extension>,
}

impl Section {
    /// Audio or video, if it is that.
    pub fn media_kind(&self) -> Option<MediaKind> {
        match self.media {
            MediaType::Media(kind) => Some(kind),
            MediaType::Application => None,
        }
    }

    /// The rids that the client sends, in its order; empty without simulcast.
    pub fn rids(&self) -> impl Iterator<Item = Rid> + '_ {
        self.layers.iter().filter_map(|layer| layer.rid)
    }

    /// Whether several encodings come, or one with a rid.
    pub fn sends_simulcast(&self) -> bool {
        self.rids().next().is_some()
    }

    /// Whether the client will tell when each packet came (`a=rtcp-fb:* transport-cc`).
    pub fn tells_arrivals(&self) -> bool {
        self.codecs.iter().any(|codec| codec.feedback.transport_cc)
    }

    /// Whether it could be answered at all: RTP over DTLS-SRTP with feedback, or data channels.
    pub fn is_over_dtls(&self) -> bool {
        match self.media {
            MediaType::Media(_) => {
                matches!(
                    self.protocol.as_str(),
                    "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "RTP/SAVPF"
                )
            }
            MediaType::Application => self.protocol.contains("DTLS"),
        }
    }
}

impl MediaType {
    /// As the `m=` line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Media(MediaKind::Audio) => "audio",
            Self::Media(MediaKind::Video) => "video",
            Self::Application => "application",
        }
    }
}
