//! Single attributes of a client's description.

use shared::limits::{PASSWORD_BYTES_MAX, UFRAG_BYTES_MAX};
use shared::protocol::{Fingerprint, HashAlgorithm, IceCredentials, Mid, Rid};

use super::error::SdpError;
use super::extension::extension_of;
use super::remote::{Feedback, SectionExtension, SectionTransport};
use super::{Direction, Setup};

/// The attributes of a session or of one of its media sections.
pub(super) struct Attributes<'a>(pub(super) &'a [::sdp::description::common::Attribute]);

impl<'a> Attributes<'a> {
    /// Whether the property `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|attribute| attribute.key.trim() == key)
    }

    /// The first value of `key`.
    pub(super) fn value(&self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    /// Every value of `key`.
    pub(super) fn values(&self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0
            .iter()
            .filter(move |attribute| attribute.key.trim() == key)
            .filter_map(|attribute| attribute.value.as_deref().map(str::trim))
    }

    /// The direction, if one is said.
    pub(super) fn direction(&self) -> Option<Direction> {
        self.0
            .iter()
            .find_map(|attribute| match attribute.key.trim() {
                "sendrecv" => Some(Direction::SendReceive),
                "sendonly" => Some(Direction::SendOnly),
                "recvonly" => Some(Direction::ReceiveOnly),
                "inactive" => Some(Direction::Inactive),
                _ => None,
            })
    }

    /// What is said of the transport.
    pub(super) fn transport(&self) -> Result<SectionTransport, SdpError> {
        let ice = match (self.value("ice-ufrag"), self.value("ice-pwd")) {
            (Some(ufrag), Some(password)) => Some(credentials(ufrag, password)?),
            (None, None) => None,
            (Some(_), None) => return Err(invalid("SDP contains an ice-ufrag but no ice-pwd")),
            (None, Some(_)) => return Err(invalid("SDP contains an ice-pwd but no ice-ufrag")),
        };
        let mut fingerprints = Vec::new();
        for value in self.values("fingerprint").take(FINGERPRINTS_MAX) {
            fingerprints.extend(fingerprint(value)?);
        }
        let setup = match self.value("setup") {
            None => None,
            Some("actpass") => Some(Setup::ActPass),
            Some("active") => Some(Setup::Active),
            Some("passive") => Some(Setup::Passive),
            Some(other) => return Err(invalid(&format!("a=setup:{other} is not supported"))),
        };
        Ok(SectionTransport {
            ice,
            fingerprints,
            setup,
        })
    }
}

/// An `a=extmap` value: `ID[/DIRECTION] URI [ATTRIBUTES]` (RFC 8285 §8). `None` where the id cannot
/// stand in a packet.
pub(super) fn extmap(value: &str) -> Option<SectionExtension> {
    let mut words = value.split_whitespace();
    let id = words
        .next()?
        .split('/')
        .next()?
        .parse()
        .ok()
        .filter(|id| *id != 0)?;
    Some(SectionExtension {
        id,
        extension: extension_of(words.next()?),
    })
}

/// An `a=mid` value.
pub(super) fn mid(value: &str) -> Result<Mid, SdpError> {
    let shown: String = value.chars().take(40).collect();
    if value.is_empty() || !value.bytes().all(is_token) {
        return Err(invalid(&format!("a=mid:{shown} is not a token")));
    }
    Mid::from(value).map_err(|_| invalid(&format!("a=mid:{shown} is longer than 16 bytes")))
}

/// A rid (RFC 8852 §3.1), without the mark of a paused one.
pub(super) fn rid(text: &str) -> Option<Rid> {
    let text = text.trim().trim_start_matches('~');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || !text.bytes().all(fits) {
        return None;
    }
    Rid::from(text).ok()
}

/// Adds what one `a=rtcp-fb` says, the payload type left out.
pub(super) fn feedback(words: &str, feedback: &mut Feedback) {
    let words: Vec<&str> = words.split_whitespace().collect();
    match words.as_slice() {
        ["nack"] => feedback.nack = true,
        ["nack", "pli"] => feedback.pli = true,
        ["ccm", "fir"] => feedback.fir = true,
        ["transport-cc"] => feedback.transport_cc = true,
        _ => {}
    }
}

fn credentials(ufrag: &str, password: &str) -> Result<IceCredentials, SdpError> {
    // RFC 8839 §5.4.
    let is_ice = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    if !(4..=UFRAG_BYTES_MAX).contains(&ufrag.len()) || !is_ice(ufrag) {
        return Err(invalid("a=ice-ufrag is not 4 to 256 characters of base64"));
    }
    if !(22..=PASSWORD_BYTES_MAX).contains(&password.len()) || !is_ice(password) {
        return Err(invalid("a=ice-pwd is not 22 to 256 characters of base64"));
    }
    Ok(IceCredentials {
        ufrag: ufrag.to_owned(),
        password: password.to_owned(),
    })
}

/// An `a=fingerprint` value (RFC 8122 §5). `None` for a hash function that we do not take.
fn fingerprint(value: &str) -> Result<Option<Fingerprint>, SdpError> {
    let (name, digits) = value
        .split_once(' ')
        .ok_or_else(|| invalid("a=fingerprint has no value"))?;
    let (algorithm, length) = match name.to_ascii_lowercase().as_str() {
        "sha-256" => (HashAlgorithm::Sha256, 32),
        "sha-384" => (HashAlgorithm::Sha384, 48),
        "sha-512" => (HashAlgorithm::Sha512, 64),
        _ => return Ok(None),
    };
    let byte = |text: &str| {
        let is_hex = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(text, 16).ok()).flatten()
    };
    let digest: Option<Vec<u8>> = digits.trim().split(':').map(byte).collect();
    match digest {
        Some(digest) if digest.len() == length => Ok(Some(Fingerprint { algorithm, digest })),
        _ => Err(invalid(&format!(
            "a=fingerprint:{name} is not {length} bytes in hexadecimal"
        ))),
    }
}

fn is_token(byte: u8) -> bool {
    // RFC 8866 §9, token-char.
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

pub(super) fn invalid(text: &str) -> SdpError {
    SdpError::Invalid(text.to_owned())
}

/// Fingerprints of one description that are looked at; browsers send one.
const FINGERPRINTS_MAX: usize = 8;
