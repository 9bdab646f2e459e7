//! The clocks: `CLOCK_MONOTONIC`, which both planes and all shards share, and NTP time.

use std::time::{SystemTime, UNIX_EPOCH};

use dataplane_core::time::{NtpTime, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Now: nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// NTP time at [`Timestamp`] zero. Taken once: a step of the wall clock must not tear audio and
/// video apart.
pub(crate) fn ntp_origin() -> NtpTime {
    let since_unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let since_boot = now().since(Timestamp::from_nanos(0));
    NtpTime::from_bits(UNIX_EPOCH_IN_NTP << 32) + since_unix.saturating_sub(since_boot)
}

/// Seconds from 1900 to 1970 (RFC 868).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_origin_and_the_monotonic_clock_give_the_time_of_day() {
        let ntp = ntp_origin() + now().since(Timestamp::from_nanos(0));
        let seconds = (ntp.to_bits() >> 32) - UNIX_EPOCH_IN_NTP;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(wall.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(3));
    }
}
