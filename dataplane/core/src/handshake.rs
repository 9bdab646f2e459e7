//! The seam to the DTLS engines, which run on a pool beside the shards: a handshake takes longer
//! than many packets may wait.

use arrayvec::ArrayVec;
use shared::protocol::{DtlsRole, Fingerprint};

use crate::srtp::SessionKeys;

/// Names one session's DTLS association between a shard and the pool; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandshakeId(pub u64);

/// From the shard to the pool.
#[derive(Debug)]
pub enum HandshakeInput<'a> {
    /// Makes the association. As client the pool sends the first flight at once.
    Start {
        /// Our part.
        role: DtlsRole,
        /// What the peer's certificate must hash to (one of them).
        fingerprints: &'a [Fingerprint],
    },
    /// A datagram from an address that ICE has validated.
    Datagram(&'a [u8]),
    /// The session has ended: the peer is told (`close_notify`), then all is forgotten.
    Stop,
}

/// From the pool to the shard.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are datagrams"
)]
pub enum HandshakeOutput {
    /// To be sent to the peer.
    Datagram(ArrayVec<u8, { crate::outbox::DATAGRAM_BYTES_MAX }>),
    /// The peer proved that it owns the certificate, which matched; these are the keys.
    Established(Box<SessionKeys>),
    /// The handshake failed, or the certificate did not match. Nothing more will come.
    Failed,
    /// The peer ended the association (`close_notify`).
    Closed,
}
