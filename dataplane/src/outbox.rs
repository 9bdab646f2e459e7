//! What a shard sends: the core's `Outbox` over the port, the relays and the handshake pool.

use dataplane_core::handshake::{HandshakeId, HandshakeInput};
use dataplane_core::relay::RelayMessage;
use dataplane_core::{Outbox, Path};
use shared::counters::{Counter, Counters, DropReason, Histogram};
use shared::id::ShardIndex;

use crate::handshake::PoolClient;
use crate::port::Sender;
use crate::relay::RelaySender;

/// All ways out of a shard.
#[derive(Debug)]
pub(crate) struct ShardOutbox<S> {
    pub(crate) sender: S,
    pub(crate) relays: RelaySender,
    pub(crate) pool: PoolClient,
}

impl<S: Sender> Outbox for ShardOutbox<S> {
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        self.sender.datagram(path, write);
    }

    fn relay(&mut self, target: ShardIndex, message: RelayMessage, packet: &[u8]) -> bool {
        self.relays.send(target, message, packet)
    }

    fn handshake(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        self.pool.submit(id, input)
    }
}

impl<S: Sender> ShardOutbox<S> {
    /// Lets everything leave that the turn has brought, and counts it.
    pub(crate) fn flush(&mut self, counters: &mut Counters) {
        self.sender.flush();
        self.relays.flush();
        self.pool.flush();
        let sent = self.sender.take_statistics();
        counters.add(Counter::DatagramsSent, sent.datagrams);
        counters.add(Counter::BytesSent, sent.bytes);
        for (segments, messages) in (1..).zip(sent.messages) {
            counters.record(Histogram::SendRunSegments, segments, messages);
        }
        for _ in 0..sent.buffer_full {
            counters.dropped(DropReason::SendBufferFull);
        }
        for _ in 0..sent.refused {
            counters.dropped(DropReason::SendRefused);
        }
    }

    /// Whether something waits for room elsewhere, so that the shard must look again by itself.
    pub(crate) fn is_waiting(&self) -> bool {
        self.relays.is_waiting() || self.pool.is_waiting()
    }
}
