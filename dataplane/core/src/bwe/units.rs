//! Rates and times as the estimators count them: bits a second, and microseconds by our clock.

use crate::time::Timestamp;

/// `now` as a signed number, so that differences need no care.
pub(super) fn micros(now: Timestamp) -> i64 {
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// A number of bytes for a balance that may be negative.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The lower 32 bits of a time in microseconds: enough for differences of up to half an hour.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the lower 32 bits are what is asked for"
)]
pub(super) const fn compact(micros: i64) -> u32 {
    micros as u32
}

/// How far the compact time `to` is ahead of `from`, in microseconds; negative if it is behind.
pub(super) const fn compact_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

/// Bits a second if `bytes` take `micros`; a time below a microsecond counts as one.
pub(super) fn bits_per_second(bytes: u64, micros: i64) -> u64 {
    let micros = u64::try_from(micros).unwrap_or_default().max(1);
    bytes.saturating_mul(8_000_000) / micros
}

/// Bytes that leave in `micros` at `bits_per_second`; none for a time that is negative.
pub(super) fn bytes_in(bits_per_second: u64, micros: i64) -> u64 {
    let micros = u64::try_from(micros).unwrap_or_default();
    bits_per_second.saturating_mul(micros) / 8_000_000
}

/// `rate` times `factor`, which is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion of a float saturates"
)]
pub(super) fn scaled(rate: u64, factor: f64) -> u64 {
    (rate as f64 * factor) as u64
}

/// In kilobits a second, as the formulas of the loss-based estimator count.
pub(super) fn kilobits(rate: u64) -> f64 {
    rate as f64 / 1000.0
}

/// In milliseconds, as the trend line counts.
pub(super) fn millis(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilobyte_in_a_millisecond_is_eight_megabits_a_second() {
        assert_eq!(bits_per_second(1000, 1000), 8_000_000);
        assert_eq!(bytes_in(8_000_000, 1000), 1000);
    }

    #[test]
    fn no_time_at_all_is_not_divided_by() {
        assert_eq!(bits_per_second(1, 0), 8_000_000);
        assert_eq!(bits_per_second(1, -5), 8_000_000);
        assert_eq!(bytes_in(8_000_000, -5), 0);
    }

    #[test]
    fn compact_times_keep_their_distance_over_the_wrap() {
        let (early, late) = (compact((1 << 32) - 10), compact((1 << 32) + 5));
        assert_eq!(compact_distance(early, late), 15);
        assert_eq!(compact_distance(late, early), -15);
    }
}
