//! Timestamps of a leg: what begins goes on in time from what left.

use crate::ingress::nack::MISSING_AGE_MAX;
use crate::ingress::packet_info::PacketInfo;
use crate::ingress::report::ticks_of;
use crate::rtp::seq::timestamp_is_newer;
use crate::time::{NtpTime, Timestamp};

/// The newest frame that left, if any did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeline {
    newest: Option<Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    /// With which it left.
    timestamp: u32,
    received_at: Timestamp,
    captured_at: Option<NtpTime>,
}

impl Timeline {
    /// The timestamp with which the newest frame left.
    pub(super) fn newest(&self) -> Option<u32> {
        Some(self.newest?.timestamp)
    }

    /// A packet leaves with this timestamp. Returns whether its frame comes after all that left.
    pub(super) fn follow(&mut self, timestamp: u32, info: &PacketInfo) -> bool {
        let is_newest = self
            .newest
            .is_none_or(|newest| timestamp_is_newer(timestamp, newest.timestamp));
        if is_newest {
            self.newest = Some(Newest {
                timestamp,
                received_at: info.received_at,
                captured_at: info.captured_at,
            });
        }
        is_newest
    }

    /// What is added to the timestamps of a source that starts with this packet. `before` is what was
    /// added to its own before a pause: that is kept, unless time would go back.
    pub(super) fn delta(&self, info: &PacketInfo, before: Option<u32>) -> u32 {
        let kept = before.zip(self.newest).and_then(|(delta, newest)| {
            let timestamp = info.timestamp.wrapping_add(delta);
            let ahead = u64::from(timestamp.wrapping_sub(newest.timestamp));
            (1..=ELAPSED_TICKS_MAX).contains(&ahead).then_some(delta)
        });
        kept.unwrap_or_else(|| self.next_timestamp(info).wrapping_sub(info.timestamp))
    }

    /// The timestamp with which a new source goes on: as far ahead as its media was captured later,
    /// where both sources' clocks are known, else as it came later. At least one tick ahead, since
    /// two sources must not share a frame; at most [`ELAPSED_TICKS_MAX`].
    fn next_timestamp(&self, info: &PacketInfo) -> u32 {
        let Some(newest) = self.newest else {
            return info.timestamp;
        };
        let rate = info.codec.clock_rate();
        let elapsed = ticks_of(info.received_at.since(newest.received_at), rate);
        let elapsed = elapsed.clamp(1, ELAPSED_TICKS_MAX);
        let captured = newest
            .captured_at
            .zip(info.captured_at)
            .map(|(before, now)| {
                let ahead = i128::from(now.offset_from(before).cast_signed());
                (ahead * i128::from(rate) + HALF) >> 32
            });
        let lead_max = elapsed + u64::from(rate) * LEAD_SECONDS_MAX;
        // What was captured before the newest, since its path is longer, follows it all the same.
        let ahead = captured
            .filter(|ahead| ahead.unsigned_abs() <= lead_max.into())
            .map_or(elapsed, |ahead| u64::try_from(ahead).unwrap_or(0).max(1));
        newest
            .timestamp
            .wrapping_add(u32::try_from(ahead).unwrap_or(1))
    }
}

/// A new source's timestamps never jump further ahead than this, whatever time has passed.
const ELAPSED_TICKS_MAX: u64 = 1 << 30;

/// How much further ahead sender reports may put a new source than the time of its coming says: what
/// left last may have come as late as repairs do, and clocks may disagree by a second.
const LEAD_SECONDS_MAX: u64 = 1 + MISSING_AGE_MAX.as_secs();

/// Of 2^-32 s, to round to the nearest tick.
const HALF: i128 = 1 << 31;
