//! The macro benchmark: a real server on a core of its own, loaded from the others.
//!
//! [`stage::Stage::set`] starts the [`server`] and lets publishers and subscribers [`join`]; after
//! that their sockets belong to [`load`] threads, where a [`publisher`] sends by the clock and a
//! [`receiver`] counts and checks. [`measure`] holds one rate and reads what the kernel
//! ([`process`]), the server ([`metrics`]) and the subscribers say; [`floor`] is what sealing and
//! sending cost without any server.

pub mod arrivals;
pub mod case;
pub mod cores;
pub mod floor;
pub mod header;
pub mod join;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod number;
pub mod options;
pub mod pacer;
pub mod process;
pub mod publisher;
pub mod ramp;
pub mod receiver;
pub mod run;
pub mod scenario;
pub mod seal;
pub mod server;
pub mod stage;
pub mod storm;
pub mod svg;
pub mod sys;
pub mod table;
pub mod tally;
pub mod text;
