//! A shard's UDP sockets: the seam behind which datagrams are moved in batches. All `unsafe` of
//! the data plane that has to do with sockets stands in the files of this module.
//!
//! One [`Receiver`] and one [`Sender`] belong to one shard and are used by its thread only. They
//! own all the memory that they need from the start: no packet makes them allocate.

mod address;
mod choice;
mod control;
mod delivery;
mod messages;
mod mmsg;
mod queue;
mod receive;
mod send;
mod socket;
#[cfg(test)]
mod tests;
mod turn;
mod uring;

use std::os::fd::OwnedFd;

pub use choice::Backend;
pub use mmsg::MmsgReceiver;
pub use queue::SEGMENTS_MAX;
pub use receive::PortReceiver;
pub use send::PortSender;
pub use socket::{BufferSizes, MediaSocket};
pub use uring::UringReceiver;

use dataplane_core::Path;
use dataplane_core::time::Timestamp;

/// What a shard waits for until there is something to receive.
#[derive(Debug)]
pub enum Wake {
    /// A socket that becomes readable.
    Socket(OwnedFd),
    /// An event counter (eventfd(2)) that becomes more than zero, and zero again by reading it.
    Counter(OwnedFd),
}

/// Takes datagrams in.
pub trait Receiver {
    /// Receives what the sockets hold, about 64 datagrams at most, and gives each to `deliver`.
    /// The bytes may be changed in place.
    fn receive(&mut self, deliver: impl FnMut(Arrival, &mut [u8])) -> Received;
}

/// How and when a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The way between our socket and the sender.
    pub path: Path,
    /// When the kernel took it in, on the clock of the shard; of datagrams that the kernel has
    /// joined the first one's. Never later than the call that received it, and if the kernel does
    /// not say, the time of that call.
    pub at: Timestamp,
}

/// Lets datagrams out.
pub trait Sender {
    /// Queues one datagram, as [`dataplane_core::Outbox::datagram`] says. Flushes if it must.
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize);

    /// Hands all that is queued to the kernel. Never blocks.
    fn flush(&mut self);

    /// What happened since the last call.
    fn take_statistics(&mut self) -> SendStatistics;
}

/// What one call of [`Receiver::receive`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams given to `deliver`.
    pub datagrams: usize,
    /// Datagrams thrown away since they are longer than any that we take (2,048 bytes).
    pub too_large: usize,
    /// Whether more may wait.
    pub more: bool,
}

/// What became of datagrams that were queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStatistics {
    /// Handed to the kernel.
    pub datagrams: u64,
    /// Their bytes, IP and UDP headers not counted.
    pub bytes: u64,
    /// Messages that they went in, by their lengths: the first number is of messages that held one
    /// datagram, the last of those that held [`SEGMENTS_MAX`].
    pub messages: [u64; SEGMENTS_MAX],
    /// Dropped: the kernel's send buffer was full.
    pub buffer_full: u64,
    /// Dropped: the kernel refused to send them.
    pub refused: u64,
}
