//! Time as it is given to the core: a point on the owner's monotonic clock, and NTP time.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: nanoseconds since an origin that the owner chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The point `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(nanos(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    /// Stops at the origin.
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(rhs)))
    }
}

/// Whole microseconds; the longest time that a report can tell for what is longer.
pub(crate) fn report_micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// NTP time: seconds since 1900 in the upper 32 bits, fraction in the lower (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(u64);

impl NtpTime {
    /// From the 64 bits on the wire.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As the 64 bits on the wire.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The middle 32 bits, as LSR and DLSR use them: units of 1/65536 s (RFC 3550 §6.4.1).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the middle 32 bits are what is asked for"
    )]
    pub const fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// How far this is ahead of `other`, in units of 2^-32 s, wrapping.
    pub const fn offset_from(self, other: Self) -> u64 {
        self.0.wrapping_sub(other.0)
    }

    /// Moved by `offset` units of 2^-32 s, wrapping.
    pub const fn offset_by(self, offset: u64) -> Self {
        Self(self.0.wrapping_add(offset))
    }
}

impl Add<Duration> for NtpTime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let fraction = (u64::from(rhs.subsec_nanos()) << 32) / 1_000_000_000;
        let seconds = rhs.as_secs() << 32;
        Self(self.0.wrapping_add(seconds).wrapping_add(fraction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_never_goes_below_zero() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(8));
        assert_eq!(late.since(early), Duration::from_millis(3));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn half_a_second_is_half_of_the_ntp_fraction() {
        let time = NtpTime::from_bits(7 << 32) + Duration::from_millis(1500);
        assert_eq!(time.to_bits(), (8 << 32) | (1 << 31));
        assert_eq!(time.compact(), (8 << 16) | (1 << 15));
    }
}
