//! RTCP (RFC 3550 §6, RFC 4585, RFC 5104, transport-wide congestion control): compound packets read
//! in place, and a writer into a buffer of the caller.
//!
//! Reduced-size packets (RFC 5506) are read as well: no packet has to come first.

mod cursor;
mod feedback;
mod goodbye;
mod packet;
mod report;
mod status_chunk;
mod transport_feedback;
mod writer;

pub use feedback::{FullIntraRequests, LostNumbers};
pub use goodbye::Sources;
pub use packet::{LOST_MAX, Packet, Packets, RtcpError, packets};
pub use report::{ReportBlock, ReportBlocks, SenderInfo};
pub use transport_feedback::{
    Arrivals, FeedbackHeader, STATUSES_MAX, TICKS_PER_SECOND, TransportFeedback,
};
pub use writer::RtcpWriter;

#[cfg(test)]
mod tests;
