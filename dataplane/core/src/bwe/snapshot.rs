//! What an estimate rests on, for those who ask why.

use core::time::Duration;

use super::loss_based::LossState;
use super::overuse::Usage;

/// The state of an [`Estimator`](super::Estimator).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// Bits a second.
    pub estimate: u64,
    /// What the delay allows, bits a second.
    pub delay_based: u64,
    /// What the loss allows, bits a second.
    pub loss_based: u64,
    /// What comes through, bits a second; none before enough came.
    pub throughput: Option<u64>,
    /// What the queue does.
    pub usage: Usage,
    /// Whether loss limits the estimate.
    pub loss_state: LossState,
    /// The part of the bytes sent lately that was lost.
    pub loss: f64,
    /// To the subscriber and back.
    pub round_trip: Duration,
    /// How long packets wait on the way.
    pub queue_delay: Duration,
    /// Bytes of which nothing was heard yet.
    pub bytes_in_flight: u64,
    /// Much less is sent than the estimate allows.
    pub application_limited: bool,
}
