//! How much comes of a layer.

use core::time::Duration;

use crate::time::Timestamp;

/// Bytes of the present second and of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateMeter {
    started_at: Timestamp,
    bytes: u64,
    bytes_before: u64,
}

impl RateMeter {
    /// A packet of so many bytes came.
    pub(super) fn add(&mut self, now: Timestamp, bytes: u64) {
        *self = self.moved_to(now);
        self.bytes += bytes;
    }

    /// Bits a second.
    pub(super) fn bit_rate(self, now: Timestamp) -> u64 {
        self.moved_to(now).last_bit_rate()
    }

    /// As it was when the last packet came.
    pub(super) fn last_bit_rate(self) -> u64 {
        // A source that has just begun is judged by what came so far.
        self.bytes_before.max(self.bytes) * 8
    }

    fn moved_to(self, now: Timestamp) -> Self {
        let elapsed = now.since(self.started_at);
        if elapsed < RATE_WINDOW {
            self
        } else if elapsed < RATE_WINDOW * 2 {
            let started_at = self.started_at + RATE_WINDOW;
            Self {
                started_at,
                bytes: 0,
                bytes_before: self.bytes,
            }
        } else {
            Self {
                started_at: now,
                bytes: 0,
                bytes_before: 0,
            }
        }
    }
}

/// What the bit rate is measured over.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(1);
