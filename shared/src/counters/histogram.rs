//! Where a value falls in a histogram, and where a histogram lies in the page.
//!
//! Both planes know the buckets, so only counts are shared. A bucket holds what is above the bound
//! before it, up to and including its own: as `le` means it in Prometheus.

use super::Histogram;

/// What a histogram's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds; shown in seconds.
    Nanoseconds,
    /// A number of things.
    Count,
    /// Bits a second.
    BitsPerSecond,
}

/// What a histogram has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution<'a> {
    /// Values in each bucket, in the order of [`Histogram::bounds`]; the last one is for what is
    /// above all bounds.
    pub buckets: &'a [u64],
    /// All values together, in the histogram's unit. It wraps.
    pub sum: u64,
}

impl Distribution<'_> {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |count, bucket| count.wrapping_add(*bucket))
    }
}

impl Histogram {
    /// What its values are.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Residence | Self::RoundTrip | Self::PathQueueDelay => Unit::Nanoseconds,
            Self::SendRunSegments => Unit::Count,
            Self::PathEstimate => Unit::BitsPerSecond,
        }
    }

    /// The largest value of each bucket, ascending, in the histogram's unit. One more bucket, for
    /// what is larger, has no bound.
    pub fn bounds(self) -> impl Iterator<Item = u64> {
        let scale = self.scale();
        (0..scale.bounds()).map(move |bucket| scale.bound(bucket))
    }

    /// The bucket that a value falls in.
    #[inline]
    pub(super) const fn bucket_of(self, value: u64) -> usize {
        self.scale().bucket_of(value)
    }

    /// How many buckets there are, the one without a bound included.
    #[inline]
    pub(super) const fn buckets(self) -> usize {
        self.scale().bounds() + 1
    }

    /// Its first bucket's word, counted from the first word of all histograms. Its sum stands
    /// behind its last bucket.
    #[inline]
    pub(super) fn start(self) -> usize {
        // Every histogram has an entry; the words after all are nobody's.
        STARTS.get(self.index()).copied().unwrap_or(WORDS)
    }

    const fn scale(self) -> Scale {
        match self {
            // 4.096 us to 134 ms. A bucket is at most 25 % wider than its lower bound, so that a
            // quantile told as the middle of its bucket is off by at most 12.5 %.
            Self::Residence => Scale::LogLinear {
                smallest_log2: 12,
                steps_log2: 2,
                doublings: 15,
            },
            Self::SendRunSegments => Scale::Linear { bounds: 16 },
            // 33 kb/s to 134 Mb/s.
            Self::PathEstimate => Scale::LogLinear {
                smallest_log2: 15,
                steps_log2: 1,
                doublings: 12,
            },
            // 1.05 ms to 4.3 s.
            Self::RoundTrip | Self::PathQueueDelay => Scale::LogLinear {
                smallest_log2: 20,
                steps_log2: 1,
                doublings: 12,
            },
        }
    }
}

/// How bounds follow each other.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// 1, 2, 3 and so on.
    Linear { bounds: usize },
    /// From a power of two up, the same number of equal steps in every doubling.
    LogLinear {
        smallest_log2: u32,
        steps_log2: u32,
        doublings: usize,
    },
}

impl Scale {
    /// How many bounds there are.
    const fn bounds(self) -> usize {
        match self {
            Self::Linear { bounds } => bounds,
            Self::LogLinear {
                steps_log2,
                doublings,
                ..
            } => 1 + (doublings << steps_log2),
        }
    }

    /// The largest value of a bucket that has a bound.
    const fn bound(self, bucket: usize) -> u64 {
        match (self, bucket) {
            (Self::Linear { .. }, _) => bucket as u64 + 1,
            (Self::LogLinear { smallest_log2, .. }, 0) => 1 << smallest_log2,
            (
                Self::LogLinear {
                    smallest_log2,
                    steps_log2,
                    ..
                },
                _,
            ) => {
                let steps = 1 << steps_log2;
                let (doubling, step) = ((bucket - 1) >> steps_log2, (bucket - 1) & (steps - 1));
                // From one step to the next it is 2^(smallest_log2 - steps_log2) in the first
                // doubling, and twice that in each further one.
                ((steps + step + 1) as u64) << (smallest_log2 - steps_log2) << doubling
            }
        }
    }

    /// The bucket that a value falls in.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "usize has 64 bits, as on every machine that this runs on"
    )]
    const fn bucket_of(self, value: u64) -> usize {
        // Bounds belong to the bucket below them, powers of two to the range above them.
        let below = value.saturating_sub(1);
        let bucket = match self {
            Self::Linear { .. } => below as usize,
            Self::LogLinear { smallest_log2, .. } if below >> smallest_log2 == 0 => 0,
            Self::LogLinear {
                smallest_log2,
                steps_log2,
                ..
            } => {
                let log2 = u64::BITS - 1 - below.leading_zeros();
                let steps = (below >> (log2 - steps_log2)) as usize & ((1 << steps_log2) - 1);
                1 + (((log2 - smallest_log2) as usize) << steps_log2) + steps
            }
        };
        if bucket < self.bounds() {
            bucket
        } else {
            self.bounds()
        }
    }
}

/// Where each histogram starts, and how many words all of them have.
#[expect(
    clippy::indexing_slicing,
    reason = "a constant: what is out of bounds does not compile"
)]
const LAYOUT: ([usize; Histogram::COUNT], usize) = {
    let mut starts = [0; Histogram::COUNT];
    let mut next = 0;
    let mut index = 0;
    while index < Histogram::COUNT {
        starts[index] = next;
        next += Histogram::ALL[index].buckets() + 1;
        index += 1;
    }
    (starts, next)
};
const STARTS: [usize; Histogram::COUNT] = LAYOUT.0;
/// Words of all histograms.
pub(super) const WORDS: usize = LAYOUT.1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn residence_is_told_apart_from_4_microseconds_to_134_milliseconds() {
        let bounds: Vec<u64> = Histogram::Residence.bounds().collect();
        assert_eq!(bounds.len(), 61);
        assert_eq!(bounds[..6], [4_096, 5_120, 6_144, 7_168, 8_192, 10_240]);
        assert_eq!(
            bounds[57..],
            [83_886_080, 100_663_296, 117_440_512, 134_217_728]
        );
    }

    #[test]
    fn a_run_has_a_bucket_for_every_number_of_segments() {
        let bounds: Vec<u64> = Histogram::SendRunSegments.bounds().collect();
        assert_eq!(bounds, (1..=16).collect::<Vec<u64>>());
    }

    #[test]
    fn round_trips_are_told_apart_from_1_millisecond_to_4_seconds() {
        let bounds: Vec<u64> = Histogram::RoundTrip.bounds().collect();
        assert_eq!(bounds.len(), 25);
        assert_eq!(bounds[..4], [1 << 20, 3 << 19, 1 << 21, 3 << 20]);
        assert_eq!(bounds.last(), Some(&(1 << 32)));
    }

    #[test]
    fn estimates_are_told_apart_from_33_kilobits_to_134_megabits_a_second() {
        let bounds: Vec<u64> = Histogram::PathEstimate.bounds().collect();
        assert_eq!(bounds.len(), 25);
        assert_eq!(bounds[..4], [32_768, 49_152, 65_536, 98_304]);
        assert_eq!(bounds.last(), Some(&134_217_728));
    }

    #[test]
    fn a_bucket_of_residence_is_at_most_a_quarter_wider_than_its_lower_bound() {
        let bounds: Vec<u64> = Histogram::Residence.bounds().collect();
        for pair in bounds.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
            assert!((pair[1] - pair[0]) * 4 <= pair[0], "{pair:?}");
        }
    }

    #[test]
    fn every_bound_is_the_largest_value_of_its_bucket() {
        for histogram in Histogram::ALL {
            for (bucket, bound) in histogram.bounds().enumerate() {
                assert_eq!(histogram.bucket_of(bound), bucket, "{histogram:?} {bound}");
                let next = histogram.bucket_of(bound + 1);
                assert_eq!(next, bucket + 1, "{histogram:?} {bound} + 1");
            }
        }
    }

    #[test]
    fn the_smallest_and_the_largest_value_have_the_first_and_the_last_bucket() {
        for histogram in Histogram::ALL {
            assert_eq!(histogram.bucket_of(0), 0);
            assert_eq!(histogram.bucket_of(u64::MAX), histogram.buckets() - 1);
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_between_the_bounds_of_its_bucket(
            value in prop_oneof![any::<u64>(), 0..200_000_000_u64, 0..20_u64],
        ) {
            for histogram in Histogram::ALL {
                let expected = histogram.bounds().take_while(|bound| *bound < value).count();
                prop_assert_eq!(histogram.bucket_of(value), expected);
            }
        }
    }
}
