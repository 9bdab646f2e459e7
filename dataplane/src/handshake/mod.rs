//! The handshake pool: DTLS beside the media cores. A handshake takes half a millisecond of CPU,
//! for which no packet should wait.
//!
//! [`Engine`] is the seam between the pool and who does DTLS: [`dimpl`] or [`webrtc`].

mod answers;
mod client_hello;
mod dimpl;
mod pool;
#[cfg(test)]
mod tests;
mod webrtc;

use std::time::Instant;

use dataplane_core::handshake::{HandshakeId, HandshakeInput};
use shared::id::ShardIndex;
use shared::protocol::{DtlsRole, Fingerprint};

pub(crate) use answers::{AnswerQueue, Answers};
pub(crate) use pool::{HandshakePool, PoolClient, PoolSettings};

/// Who does DTLS.
pub(crate) trait Engine: Send {
    /// Of the certificate that all associations of this engine use.
    fn fingerprint(&self) -> Fingerprint;

    /// Begins an association; its part and its answers go by `answers`. As client it sends the
    /// first flight at once. None if it cannot begin.
    fn start(&self, now: Instant, answers: Answers) -> Option<Box<dyn Association>>;
}

/// One DTLS association. It says what comes of it by its [`Answers`].
pub(crate) trait Association: Send {
    /// Takes a datagram of the peer.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Association::handle_timeout`] wants to be called next, if the engine keeps no timers
    /// of its own.
    fn next_timeout(&self) -> Option<Instant>;

    /// Tells the peer that the association is over (`close_notify`, RFC 5246 §7.2.1).
    fn close(&mut self, now: Instant);
}

/// Names an association in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    shard: ShardIndex,
    id: HandshakeId,
}

/// Something that a shard hands to the pool.
#[derive(Debug)]
struct Job {
    key: Key,
    input: Input,
}

/// [`HandshakeInput`], owned.
#[derive(Debug)]
enum Input {
    Start {
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
    },
    Datagram(Vec<u8>),
    Stop,
}

impl From<HandshakeInput<'_>> for Input {
    fn from(input: HandshakeInput<'_>) -> Self {
        match input {
            HandshakeInput::Start { role, fingerprints } => Self::Start {
                role,
                fingerprints: fingerprints.to_vec(),
            },
            HandshakeInput::Datagram(datagram) => Self::Datagram(datagram.to_vec()),
            HandshakeInput::Stop => Self::Stop,
        }
    }
}
