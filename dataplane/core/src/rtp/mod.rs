//! RTP as it stands on the wire: headers (RFC 3550 §5.1), header extensions (RFC 8285), sequence
//! numbers, and as much of the payload formats as forwarding needs.

mod bits;
pub mod dependency_descriptor;
pub mod header;
pub mod payload;
pub mod seq;

pub use header::{Extensions, OutgoingHeader, RtpError, RtpHeader};
pub use seq::SequenceExtender;
