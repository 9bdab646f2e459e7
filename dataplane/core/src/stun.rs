//! ICE connectivity checks: STUN binding requests (RFC 8489, RFC 8445 §7) read in place, and the
//! answers to them.
//!
//! A thin layer over the crate `stun-types`, which brings the HMACs, the CRC and the writer. The
//! layer walks the attributes itself before the crate sees a message: the crate logs a warning for
//! much of what it refuses, and bytes from the network must not be able to write log lines. For the
//! same reason, and since one of its trace spans would show keys, whoever installs a `tracing`
//! subscriber should turn the target `stun_types` off.
//!
//! A request goes through two types. A [`BindingRequest`] has proved nothing; it only says which
//! session it is for. [`BindingRequest::authenticate`] turns it into an [`AuthenticatedRequest`],
//! which alone tells what ICE wants to know and can be answered. Whatever fails before that gets no
//! answer at all: a stranger is told nothing, and nobody can be made to receive our answers by a
//! forged address.
//!
//! Success is read, proved and answered without allocating; error answers allocate a little.

use core::fmt;
use core::net::SocketAddr;

use arrayvec::ArrayVec;
use shared::counters::DropReason;
use stun_types::attribute::{
    AttributeType, ErrorCode, Fingerprint, UnknownAttributes, XorMappedAddress,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, Message, MessageWriteMutSlice, ShortTermCredentials,
};
use stun_types::prelude::{AttributeWrite, MessageWrite, MessageWriteExt};

/// An ICE password, made ready for checking and signing.
#[derive(Clone)]
pub struct IcePassword(IntegrityKey);

impl IcePassword {
    /// Allocates; to be made once for a session and its ICE generation.
    pub fn new(password: &str) -> Self {
        Self(ShortTermCredentials::new(password.to_owned()).make_key())
    }
}

impl fmt::Debug for IcePassword {
    /// Never shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IcePassword(..)")
    }
}

/// A binding request that has proved nothing yet.
#[derive(Clone, Debug)]
pub struct BindingRequest<'a> {
    message: Message<'a>,
    local_ufrag: &'a str,
    remote_ufrag: &'a str,
    attributes: IceAttributes,
}

impl<'a> BindingRequest<'a> {
    /// Reads a datagram that holds one binding request and nothing else.
    ///
    /// # Errors
    ///
    /// [`StunError::Malformed`] if the datagram is no well-formed STUN message, is longer than
    /// [`MESSAGE_BYTES_MAX`], has no USERNAME of the form `local:remote` (RFC 8445 §7.2.2), or an
    /// attribute that it must not have where it stands; [`StunError::Unexpected`] if it is no
    /// binding request; [`StunError::Unauthenticated`] if MESSAGE-INTEGRITY or FINGERPRINT is
    /// missing, or FINGERPRINT is wrong (RFC 8445 §7.1 demands both).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        check_header(datagram)?;
        let mut username = None;
        let mut ice = IceAttributes::default();
        let mut ending = Ending::default();
        for attribute in Attributes::new(datagram) {
            let attribute = attribute?;
            ending.check(&attribute)?;
            match attribute.kind {
                USERNAME => username = username.or(Some(attribute.value)),
                _ => ice.take(&attribute)?,
            }
        }
        // The kinds that end a message: both must be there, and the checksum must be right.
        let fingerprint = ending.fingerprint.ok_or(StunError::Unauthenticated)?;
        if !ending.integrity || !fingerprint.is_checksum_of(datagram) {
            return Err(StunError::Unauthenticated);
        }
        let username = username.ok_or(StunError::Malformed)?;
        let (local_ufrag, remote_ufrag) = core::str::from_utf8(username)
            .ok()
            .and_then(|name| name.split_once(':'))
            .ok_or(StunError::Malformed)?;
        let message = Message::from_bytes(datagram).map_err(|_| StunError::Malformed)?;
        Ok(Self {
            message,
            local_ufrag,
            remote_ufrag,
            attributes: ice,
        })
    }

    /// Our ufrag: names the session that the request claims to be for.
    pub const fn local_ufrag(&self) -> &'a str {
        self.local_ufrag
    }

    /// The ufrag that the peer calls its own. The caller compares it with what was signalled.
    pub const fn remote_ufrag(&self) -> &'a str {
        self.remote_ufrag
    }

    /// Proves that the sender knows our password (RFC 8489 §9.1.3).
    ///
    /// # Errors
    ///
    /// [`StunError::Unauthenticated`] if it does not.
    pub fn authenticate(
        self,
        password: &IcePassword,
    ) -> Result<AuthenticatedRequest<'a>, StunError> {
        let algorithm = self
            .message
            .validate_integrity_with_key(&password.0)
            .map_err(|_| StunError::Unauthenticated)?;
        Ok(AuthenticatedRequest {
            request: self,
            algorithm,
        })
    }
}

/// A binding request whose sender knows our password.
#[derive(Clone, Debug)]
pub struct AuthenticatedRequest<'a> {
    request: BindingRequest<'a>,
    /// The answer is signed in the same way (RFC 8489 §9.1.4).
    algorithm: IntegrityAlgorithm,
}

impl<'a> AuthenticatedRequest<'a> {
    /// The ufrag that the peer calls its own.
    pub const fn remote_ufrag(&self) -> &'a str {
        self.request.remote_ufrag
    }

    /// PRIORITY: what a peer-reflexive candidate of this address would have (RFC 8445 §7.1.1).
    /// Every ICE agent sends it.
    pub const fn priority(&self) -> Option<u32> {
        self.request.attributes.priority
    }

    /// USE-CANDIDATE: the peer nominates this pair (RFC 8445 §7.1.2).
    pub const fn nominates(&self) -> bool {
        self.request.attributes.use_candidate
    }

    /// The role that the peer believes to have (RFC 8445 §7.1.3). Every ICE agent sends it.
    pub const fn role(&self) -> Option<IceRole> {
        self.request.attributes.role
    }

    /// Whether there are attributes that must be understood, and are not (RFC 8489 §6.3.1): such a
    /// request is answered with [`AuthenticatedRequest::write_unknown_attributes`].
    pub const fn has_unknown_attributes(&self) -> bool {
        !self.request.attributes.unknown.is_empty()
    }

    /// Writes the success response, which tells the peer that it was seen as `mapped` (RFC 8445
    /// §7.3.1.2), into `out`; returns its length. None if `out` is too small:
    /// [`RESPONSE_BYTES_MAX`] always suffices.
    pub fn write_success(
        &self,
        mapped: SocketAddr,
        password: &IcePassword,
        out: &mut [u8],
    ) -> Option<usize> {
        let transaction = self.request.message.transaction_id();
        let writer = Message::builder_success(&self.request.message, response(out)?);
        self.finish(
            writer,
            &[&XorMappedAddress::new(mapped, transaction)],
            password,
        )
    }

    /// Writes the error response 487, Role Conflict (RFC 8445 §7.3.1.1), into `out`; returns its
    /// length. None if `out` is too small.
    pub fn write_role_conflict(&self, password: &IcePassword, out: &mut [u8]) -> Option<usize> {
        let error = ErrorCode::builder(ErrorCode::ROLE_CONFLICT).build().ok()?;
        let writer = Message::builder_error(&self.request.message, response(out)?);
        self.finish(writer, &[&error], password)
    }

    /// Writes the error response 420, Unknown Attribute, with the first
    /// [`UNKNOWN_ATTRIBUTES_MAX`] of them (RFC 8489 §6.3.1), into `out`; returns its length. None
    /// if `out` is too small.
    pub fn write_unknown_attributes(
        &self,
        password: &IcePassword,
        out: &mut [u8],
    ) -> Option<usize> {
        let error = ErrorCode::builder(ErrorCode::UNKNOWN_ATTRIBUTE)
            .build()
            .ok()?;
        let unknown = UnknownAttributes::new(&self.request.attributes.unknown);
        let writer = Message::builder_error(&self.request.message, response(out)?);
        self.finish(writer, &[&error, &unknown], password)
    }

    fn finish(
        &self,
        mut writer: MessageWriteMutSlice<'_>,
        attributes: &[&dyn AttributeWrite],
        password: &IcePassword,
    ) -> Option<usize> {
        for attribute in attributes {
            writer.add_attribute(*attribute).ok()?;
        }
        writer
            .add_message_integrity_with_key(&password.0, self.algorithm)
            .ok()?;
        writer.add_fingerprint().ok()?;
        Some(writer.finish())
    }
}

/// The role that an agent believes to have, with the number that settles a conflict (RFC 8445
/// §7.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// ICE-CONTROLLING.
    Controlling {
        /// The larger one wins.
        tie_breaker: u64,
    },
    /// ICE-CONTROLLED.
    Controlled {
        /// The larger one wins.
        tie_breaker: u64,
    },
}

/// Why a STUN message is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// It cannot be read.
    Malformed,
    /// It is no binding request.
    Unexpected,
    /// MESSAGE-INTEGRITY or FINGERPRINT is missing or wrong.
    Unauthenticated,
}

impl From<StunError> for DropReason {
    fn from(error: StunError) -> Self {
        match error {
            StunError::Malformed => Self::StunMalformed,
            StunError::Unexpected => Self::StunUnexpected,
            StunError::Unauthenticated => Self::StunUnauthenticated,
        }
    }
}

/// What a request says about ICE.
#[derive(Clone, Debug, Default)]
struct IceAttributes {
    priority: Option<u32>,
    use_candidate: bool,
    role: Option<IceRole>,
    unknown: ArrayVec<AttributeType, UNKNOWN_ATTRIBUTES_MAX>,
}

impl IceAttributes {
    /// Of attributes that come twice, the first counts (RFC 8489 §14).
    fn take(&mut self, attribute: &RawAttribute<'_>) -> Result<(), StunError> {
        match attribute.kind {
            PRIORITY => {
                let priority = u32::from_be_bytes(attribute.array()?);
                self.priority.get_or_insert(priority);
            }
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => {
                let tie_breaker = u64::from_be_bytes(attribute.array()?);
                self.role
                    .get_or_insert(IceRole::Controlling { tie_breaker });
            }
            ICE_CONTROLLED => {
                let tie_breaker = u64::from_be_bytes(attribute.array()?);
                self.role.get_or_insert(IceRole::Controlled { tie_breaker });
            }
            kind if kind < COMPREHENSION_OPTIONAL && !KNOWN.contains(&kind) => {
                // Those beyond the bound are not named in the answer.
                let _ = self.unknown.try_push(kind.into());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The attributes that end a message, in the order that RFC 8489 §14.5 to §14.7 wants.
///
/// What stands behind MESSAGE-INTEGRITY is not covered by it, and a receiver should pass over it.
/// No ICE agent sends such a message, so it is refused instead.
#[derive(Debug, Default)]
struct Ending<'a> {
    integrity: bool,
    fingerprint: Option<RawAttribute<'a>>,
}

impl<'a> Ending<'a> {
    fn check(&mut self, attribute: &RawAttribute<'a>) -> Result<(), StunError> {
        match attribute.kind {
            _ if self.fingerprint.is_some() => return Err(StunError::Malformed),
            FINGERPRINT => self.fingerprint = Some(*attribute),
            MESSAGE_INTEGRITY if self.integrity => return Err(StunError::Malformed),
            MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => self.integrity = true,
            _ if self.integrity => return Err(StunError::Malformed),
            _ => {}
        }
        Ok(())
    }
}

/// One attribute as it stands in the message.
#[derive(Clone, Copy, Debug)]
struct RawAttribute<'a> {
    kind: u16,
    /// Without padding.
    value: &'a [u8],
    /// Of its header, from the start of the message.
    offset: usize,
}

impl RawAttribute<'_> {
    fn array<const COUNT: usize>(&self) -> Result<[u8; COUNT], StunError> {
        self.value.try_into().map_err(|_| StunError::Malformed)
    }

    /// Whether this FINGERPRINT, the last attribute of `message`, is right (RFC 8489 §14.7).
    fn is_checksum_of(&self, message: &[u8]) -> bool {
        let Some(covered) = message.get(..self.offset) else {
            return false;
        };
        let checksum = u32::from_be_bytes(Fingerprint::compute(&[covered])) ^ FINGERPRINT_XOR;
        self.value == checksum.to_be_bytes()
    }
}

/// The attributes of a message whose header has been checked.
#[derive(Debug)]
struct Attributes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    fn new(message: &'a [u8]) -> Self {
        Self {
            rest: message.get(HEADER_BYTES..).unwrap_or_default(),
            offset: HEADER_BYTES,
        }
    }

    fn attribute(&mut self) -> Option<RawAttribute<'a>> {
        let (&[k0, k1, l0, l1], body) = self.rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let (padded, rest) = body.split_at_checked(length.next_multiple_of(4))?;
        let kind = u16::from_be_bytes([k0, k1]);
        let attribute = RawAttribute {
            kind,
            value: padded.get(..length)?,
            offset: self.offset,
        };
        self.offset += 4 + padded.len();
        self.rest = rest;
        Some(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<RawAttribute<'a>, StunError>;

    /// The first error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.attribute().ok_or(StunError::Malformed);
        if attribute.is_err() {
            self.rest = &[];
        }
        Some(attribute)
    }
}

/// RFC 8489 §5: two bits of zero, the type, the length of what follows in whole words, the cookie.
fn check_header(datagram: &[u8]) -> Result<(), StunError> {
    let Some((&[t0, t1, l0, l1, cookie @ ..], _)) = datagram.split_first_chunk::<8>() else {
        return Err(StunError::Malformed);
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let whole = datagram.len() == HEADER_BYTES + length && length.is_multiple_of(4);
    if t0 & 0xc0 != 0 || cookie != MAGIC_COOKIE || !whole || datagram.len() > MESSAGE_BYTES_MAX {
        return Err(StunError::Malformed);
    }
    if [t0, t1] == BINDING_REQUEST {
        Ok(())
    } else {
        Err(StunError::Unexpected)
    }
}

/// The crate's writer panics if there is no room for the header.
fn response(out: &mut [u8]) -> Option<MessageWriteMutSlice<'_>> {
    (out.len() >= HEADER_BYTES).then(|| MessageWriteMutSlice::new(out))
}

/// Bytes of a message that is looked at: more than a path carries unfragmented.
pub const MESSAGE_BYTES_MAX: usize = 1500;

/// Bytes of the longest answer: the header, ERROR-CODE with its reason, UNKNOWN-ATTRIBUTES,
/// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT.
pub const RESPONSE_BYTES_MAX: usize = HEADER_BYTES + 28 + (4 + 2 * UNKNOWN_ATTRIBUTES_MAX) + 36 + 8;

/// Unknown attributes that an answer names.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 8;

const HEADER_BYTES: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const FINGERPRINT_XOR: u32 = 0x5354_554e;

// RFC 8489 §18.3, RFC 8445 §16.1.
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
/// From here on, an attribute that is not known is passed over (RFC 8489 §14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Attributes that RFC 8489 defines: where they are not expected they are passed over (§6.3).
const KNOWN: [u16; 11] = [
    0x0001, // MAPPED-ADDRESS
    USERNAME,
    MESSAGE_INTEGRITY,
    0x0009, // ERROR-CODE
    0x000a, // UNKNOWN-ATTRIBUTES
    0x0014, // REALM
    0x0015, // NONCE
    MESSAGE_INTEGRITY_SHA256,
    0x001d, // PASSWORD-ALGORITHM
    0x001e, // USERHASH
    0x0020, // XOR-MAPPED-ADDRESS
];

#[cfg(test)]
mod tests;
