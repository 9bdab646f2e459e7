//! Congestion control towards one subscriber: how much its path carries, when a packet may leave,
//! and which layers fit.
//!
//! The estimator follows `GoogCC` as libwebrtc runs it (the files and constants named in here are
//! those of its `modules/congestion_controller/goog_cc` and `modules/remote_bitrate_estimator` in
//! July 2026; draft-ietf-rmcat-gcc-02 describes an earlier form), with what a server that forwards
//! whole layers needs changed: it is nearly always limited by what there is to send, so nothing but
//! a probe raises the estimate then, and it probes as long as a leg gets less than it wants.
//!
//! Rates are bits a second, all of them of the same bytes: RTP packets as they are sealed, without
//! UDP and IP. Nothing in here reads a clock, and nothing is allocated after the start.

pub mod allocation;

mod aimd;
mod alr;
mod arrival_groups;
mod delay_detector;
mod estimator;
mod feedback;
mod history;
mod link_capacity;
mod loss_based;
mod loss_model;
mod overuse;
mod pacer;
mod probe;
mod probe_result;
mod queue_delay;
mod remb;
mod round_trip;
mod snapshot;
mod surge;
#[cfg(test)]
pub(crate) mod tests;
mod throughput;
mod trendline;
mod units;
mod watchdog;

pub use self::estimator::Estimator;
pub use self::feedback::Batch;
pub use self::loss_based::LossState;
pub use self::overuse::Usage;
pub use self::pacer::{Admission, Pacer, Released};
pub use self::probe::ProbePacket;
pub use self::snapshot::Snapshot;

/// The lowest estimate (`kCongestionControllerMinBitrate`).
pub const ESTIMATE_MIN: u64 = 5_000;

/// The highest: enough for some dozens of tracks, and low enough for sums of a few to be no care.
pub const ESTIMATE_MAX: u64 = 1_000_000_000;

/// Where an estimate begins if nothing is known of the path.
pub const ESTIMATE_START: u64 = 600_000;
