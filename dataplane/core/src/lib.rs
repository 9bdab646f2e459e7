//! The media engine of one shard, as a value that can be held: no socket, clock, thread, random
//! source, lock or async runtime is named in here (`design.md` of the project calls it sans-IO).
//!
//! # The contract
//!
//! The owner of a [`Shard`] gives it what happened, always with the time at which it happened:
//!
//! * a datagram came: [`Shard::handle_datagram`];
//! * the control plane asked for something: [`Shard::handle_command`];
//! * another shard sent a message: [`Shard::handle_relay`];
//! * the handshake pool answered: [`Shard::handle_handshake`];
//! * [`Shard::next_timeout`] has passed: [`Shard::handle_timeout`].
//!
//! Whatever is to leave is pushed into the [`Outbox`] that the owner passes in. After a batch of
//! such calls — one turn — [`Shard::end_turn`] forwards all media that the turn brought, each leg's
//! packets together, so that they can leave as one message. Events are taken with
//! [`Shard::poll_event`]. Time never goes back between calls. The same calls with the same
//! arguments give the same results, to the last byte.
#![forbid(unsafe_code)]

pub mod bwe;
pub mod handshake;
pub mod outbox;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod stun;
pub mod time;

mod egress;
mod ingress;
mod session;
mod shard;
mod speech;

pub use outbox::{Outbox, Path};
pub use shard::{Shard, ShardConfig};
