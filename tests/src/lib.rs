//! Deterministic simulation of the media core: the real [`dataplane_core::Shard`]s in virtual time,
//! a network that loses, delays and repeats, and clients and checkers that share no code with what
//! they test.
//!
//! Everything follows from one seed. A [`World`] holds shards, clients, links and one queue of
//! events; a test builds a world, lets time pass, does things in between, and asks the
//! [`checker`] at the end. A fault is found by what clients were sent, never by looking into a
//! shard.
//!
//! * [`network`]: what a link does to datagrams;
//! * [`impair`]: the same links for the datagrams of real clients (the binary `impair`);
//! * [`world`]: time, turns of the shards, the handshake pool's part;
//! * [`peer`]: a client's ICE, DTLS (keys only) and SRTP, made of independent crates;
//! * [`publisher`], [`subscriber`]: a client's media; [`codecs`]: what payloads look like;
//! * [`checker`]: what must hold;
//! * [`playback`]: what a decoder could show;
//! * [`call`]: a call over a link that is watched;
//! * [`attack`]: what clients that mean ill send;
//! * [`scenario`]: a random mix of all, from a seed.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a harness fails by panicking, and its numbers are its own"
)]

pub mod arrivals;
pub mod attack;
pub mod call;
pub mod checker;
pub mod codecs;
pub mod content;
pub mod impair;
pub mod network;
pub mod peer;
pub mod playback;
pub mod pool;
pub mod publisher;
pub mod rng;
pub mod scenario;
pub mod setup;
pub mod subscriber;
pub mod world;

pub use world::World;
