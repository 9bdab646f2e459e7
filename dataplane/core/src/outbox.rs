//! Where the core puts what is to leave. The owner implements [`Outbox`] over batches of its own.

use core::net::SocketAddr;

use shared::id::ShardIndex;

use crate::handshake::{HandshakeId, HandshakeInput};
use crate::relay::RelayMessage;

/// Bytes that a datagram of ours never exceeds: an Ethernet MTU of 1500 less IPv6 and UDP headers.
pub const DATAGRAM_BYTES_MAX: usize = 1452;

/// The way between one of our sockets and one address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Which of the shard's sockets (one per `--media-ip`).
    pub socket: u8,
    /// The client's address and port; IPv4 is never written as mapped IPv6.
    pub remote: SocketAddr,
}

/// What the owner of a shard carries away. No call blocks; what does not fit is dropped and
/// counted by the implementation, except where a method says otherwise.
pub trait Outbox {
    /// Sends one datagram on `path`. `write` is called at most once with a slot of at least
    /// [`DATAGRAM_BYTES_MAX`] bytes whose content is arbitrary, and returns how many of them it
    /// filled; 0 takes the datagram back. Datagrams of one path leave in the order of the calls.
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize);

    /// Sends a message to another shard, with the bytes of a packet if it is about one. Returns
    /// false if the way there is full; the core counts that, and the message is lost. Only packets
    /// and key frame requests may meet that: the implementation keeps room for all others.
    fn relay(&mut self, target: ShardIndex, message: RelayMessage, packet: &[u8]) -> bool;

    /// Hands something to the handshake pool. Returns false if its queue is full; the peer's
    /// retransmission mends that for a datagram, and the core tries again for the rest.
    fn handshake(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool;
}
