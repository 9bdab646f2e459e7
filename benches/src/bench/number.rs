//! Numbers of one kind as numbers of another, where the standard library has no lossless way.

/// The largest integer that is not above `value`; 0 below 0 and for what is no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and cutting the fraction off is what is wanted"
)]
pub fn round_down(value: f64) -> u64 {
    value as u64
}

/// `part` of `whole`; 0 of nothing.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// How often a second has room for something that takes `nanoseconds`; 0 if that is not known.
pub fn rate_of(nanoseconds: f64) -> f64 {
    if nanoseconds > 0.0 {
        1e9 / nanoseconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_cut_off_and_the_impossible_is_bounded() {
        let cases = [
            (2.9, 2),
            (-1.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, u64::MAX),
        ];
        for (value, expected) in cases {
            assert_eq!(round_down(value), expected, "{value}");
        }
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        assert_eq!((ratio(1, 4), ratio(1, 0)), (0.25, 0.0));
        assert_eq!((rate_of(500.0), rate_of(0.0)), (2e6, 0.0));
    }
}
