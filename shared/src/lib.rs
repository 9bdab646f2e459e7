//! The contract between Jackfield's two planes: what they call things, what they may say to each
//! other, and the shared memory that they say it through.
//!
//! Nothing here knows how packets are forwarded or how HTTP works. Both planes depend on this
//! crate; it depends on neither.

pub mod channel;
pub mod counters;
pub mod id;
pub mod limits;
pub mod protocol;
pub mod wire;
