//! What packets that are asked for again may take of a path.

use shared::counters::DropReason;

use crate::time::Timestamp;

/// What repeats may take of a path: a bucket that fills with a part of what the path carries.
#[derive(Debug)]
pub(crate) struct RepeatBudget {
    bytes: u64,
    filled_at: Timestamp,
}

impl RepeatBudget {
    /// With what any path has.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            bytes: REPEAT_BYTES_MIN,
            filled_at: now,
        }
    }

    /// Takes so many bytes, on a path of `bit_rate`, of which [`PATH_MAX`] counts at most.
    ///
    /// # Errors
    /// [`DropReason::RetransmissionBudget`] if they are not there.
    pub(crate) fn spend(
        &mut self,
        now: Timestamp,
        bit_rate: u64,
        bytes: usize,
    ) -> Result<(), DropReason> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let elapsed = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let per_second = bit_rate.min(PATH_MAX) / 8 / 100 * REPEAT_PERCENT;
        let filled = per_second.saturating_mul(elapsed.min(1_000_000)) / 1_000_000;
        // So short a time fills in no whole byte; it is not lost.
        if filled > 0 {
            self.filled_at = now;
            self.bytes = (self.bytes + filled).min(per_second.max(REPEAT_BYTES_MIN));
        }
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(DropReason::RetransmissionBudget)?;
        Ok(())
    }
}

/// Of what the path carries, for packets that are asked for again.
const REPEAT_PERCENT: u64 = 20;

/// Bits a second. Where repeats take 10 Mb/s, more of them help nobody; and who asks for them to do harm
/// has no more than that of a core.
const PATH_MAX: u64 = 50_000_000;

/// A frame can be repeated on any path.
const REPEAT_BYTES_MIN: u64 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    #[test]
    fn repeats_take_a_fifth_of_the_path() {
        let mut budget = RepeatBudget::new(ms(0));
        let mut repeated = 0;
        for millis in 0..10_000 {
            for _ in 0..10 {
                repeated += usize::from(budget.spend(ms(millis), 8_000_000, 1_000).is_ok());
            }
        }
        // 200 packets of 1,000 bytes a second.
        assert!((2_000..2_050).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_path_of_which_nothing_is_known_repeats_ten_megabits_a_second() {
        let mut budget = RepeatBudget::new(ms(0));
        let repeats = (0..10_000).flat_map(|millis| [millis; 20]);
        let repeated = repeats
            .filter(|millis| budget.spend(ms(*millis), u64::MAX, 1_000).is_ok())
            .count();
        assert!((12_500..12_600).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_frame_can_be_repeated_on_the_slowest_path() {
        let mut budget = RepeatBudget::new(ms(0));
        let repeated = (0..20).filter(|_| budget.spend(ms(1), 5_000, 1_000).is_ok());
        assert_eq!(repeated.count(), 12);
    }
}
