//! SRTP and SRTCP (RFC 3711, RFC 7714) with keys from DTLS (RFC 5764): a thin context of our own
//! over the primitives of aws-lc, and of ring where that is faster.
//!
//! [`SrtpSender`] seals what we send, [`SrtpReceiver`] opens what the client sends. Neither
//! allocates after it was made. A packet that does not authenticate changes nothing.

mod cipher;
mod gcm;
mod keys;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
mod tests;
mod transform;

pub use keys::{SessionKeys, SrtpProfile};
pub use receiver::{SSRCS_MAX, SrtpReceiver};
pub use sender::SrtpSender;

/// Bytes that sealing adds to an RTP packet at most: the tag of GCM.
pub const RTP_OVERHEAD_MAX: usize = 16;

/// Bytes that sealing adds to an RTCP packet at most: the tag of GCM and the SRTCP index.
pub const RTCP_OVERHEAD_MAX: usize = 20;
