//! A shard's UDP sockets: the seam behind which datagrams are moved in batches. All `unsafe` of
//! the data plane that has to do with sockets stands in the files of this module.
//!
//! One [`Receiver`] and one [`Sender`] belong to one shard and are used by its thread only. They
//! own all the memory that they need from the start: no packet makes them allocate.

mod address;
mod delivery;
mod messages;
mod mmsg;
mod queue;
mod receive;
mod socket;
#[cfg(test)]
mod tests;

pub use mmsg::MmsgSender;
pub use queue::SEGMENTS_MAX;
pub use receive::MmsgReceiver;
pub use socket::{BufferSizes, MediaSocket};

use dataplane_core::Path;

/// Takes datagrams in.
pub trait Receiver {
    /// Receives what one socket holds, at most one batch, and gives each datagram to `deliver`
    /// with the way it came. The bytes may be changed in place.
    fn receive(&mut self, socket: u8, deliver: &mut dyn FnMut(Path, &mut [u8])) -> Received;
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
    /// Datagrams thrown away since they are longer than a slot.
    pub too_large: usize,
    /// Whether the batch was full, so that more may wait.
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
