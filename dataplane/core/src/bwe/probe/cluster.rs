//! One probe: so many packets and bytes at a rate (`bitrate_prober.cc`).

use super::super::units::bytes_in;
use crate::time::Timestamp;

/// Packets that leave at one rate.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: u8,
    pub(super) rate: u64,
    pub(super) bytes_min: u64,
    pub(super) created_at: Timestamp,
    /// When its first packet left, later if it fell behind; microseconds.
    started_at: Option<i64>,
    /// When its last packet left.
    last_at: i64,
    bytes: u64,
    packets: u32,
}

impl Cluster {
    /// One that has not begun to be sent.
    pub(super) fn new(now: Timestamp, id: u8, rate: u64) -> Self {
        let bytes_min = bytes_in(rate, SPAN_MIN).max(u64::from(PACKET_BYTES_MIN) * 5);
        Self {
            id,
            rate,
            bytes_min,
            created_at: now,
            started_at: None,
            last_at: 0,
            bytes: 0,
            packets: 0,
        }
    }

    /// When the next packet is to leave, by those that have left. What has no numbers of its own is
    /// counted with them, and may be more than the probe's rate: that must not put off the result,
    /// which is to tell that all of it comes through.
    pub(super) fn due_at(&self, now: i64) -> i64 {
        let Some(started_at) = self.started_at else {
            return now;
        };
        let bits = self.bytes.saturating_mul(8_000_000);
        let micros = bits.checked_div(self.rate).unwrap_or(u64::MAX);
        started_at
            .saturating_add(i64::try_from(micros).unwrap_or(i64::MAX))
            .min(self.last_at + GAP_MAX)
    }

    pub(super) fn sent(&mut self, now: i64, bytes: u16) {
        // What fell behind is not made up for by a burst, which would measure nothing.
        let late = now - self.due_at(now);
        let started_at = *self.started_at.get_or_insert(now);
        if late > LATENESS_MAX {
            self.started_at = Some(started_at + late);
        }
        self.last_at = now;
        self.bytes += u64::from(bytes);
        self.packets += 1;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.bytes >= self.bytes_min && self.packets >= PACKETS_MIN
    }

    /// Five packets are enough, and a few more do not matter.
    pub(super) fn packet_bytes(&self) -> u16 {
        let bytes = self.bytes_min.div_ceil(PACKETS_MIN.into());
        u16::try_from(bytes)
            .unwrap_or(PACKET_BYTES_MAX)
            .clamp(PACKET_BYTES_MIN, PACKET_BYTES_MAX)
    }
}

/// Packets of one probe at least (`min_probe_packets_sent`).
pub(super) const PACKETS_MIN: u32 = 5;

/// How long it takes at least, in microseconds. `min_probe_duration` is 15 ms; jitter of as much
/// would make of the half of a rate the whole.
const SPAN_MIN: i64 = 25_000;

const PACKET_BYTES_MIN: u16 = 200;
const PACKET_BYTES_MAX: u16 = 1200;

/// Between two packets, microseconds: more than at the lowest rate.
const GAP_MAX: i64 = 200_000;

/// Microseconds.
const LATENESS_MAX: i64 = 5_000;
