//! The shared-memory channel between the planes.
//!
//! The data plane makes one [`Region`] and gives it to each control plane that attaches
//! ([`send_welcome`], [`receive_welcome`]). For each shard the region holds a ring of commands, a
//! ring of replies and events, a page of counters and a heartbeat. A [`Doorbell`] wakes the other
//! side, and is rung only when it sleeps.
//!
//! How to receive without losing a wake-up (the same on both sides):
//!
//! 1. [`pop`](ring::Consumer::pop) until the ring is empty.
//! 2. [`prepare_sleep`](ring::Consumer::prepare_sleep); if it says that a record came meanwhile, go
//!    to 1.
//! 3. Wait until the [`Bell`] is readable, [`drain`](Bell::drain) it, go to 1.
//!
//! How to send: [`push`](ring::Producer::push) one or more records, then ring if
//! [`take_sleeper`](ring::Producer::take_sleeper) says so. A full ring keeps what it has; the
//! producer keeps the record and tries again later, on its own clock: nobody rings for room.

pub mod ring;
mod sync;

#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod descriptors;
#[cfg(not(loom))]
mod doorbell;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod region;

#[cfg(not(loom))]
pub use attach::{
    AttachError, Attachment, CANDIDATES_PER_SHARD_MAX, Welcome, receive_welcome, send_welcome,
};
#[cfg(not(loom))]
pub use doorbell::{Bell, BellState, Doorbell, Link, links, pair};
#[cfg(not(loom))]
pub use region::{
    LAYOUT_VERSION, Region, RegionConsumer, RegionError, RegionProducer, RingMemory, ShardMemory,
};
pub use ring::{PushError, RingError};
