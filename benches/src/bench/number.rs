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

/// The middle of `values`, the mean of the two middle ones if there is no single one; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied().unwrap_or_default();
    if values.len().is_multiple_of(2) {
        let lower = half.checked_sub(1).and_then(|index| values.get(index));
        lower.map_or(upper, |lower| f64::midpoint(*lower, upper))
    } else {
        upper
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
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn a_ratio_to_nothing_is_nothing() {
        assert_eq!((ratio(1, 4), ratio(1, 0)), (0.25, 0.0));
    }
}
