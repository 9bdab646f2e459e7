//! How often one subscriber may have a key frame made.

use core::time::Duration;

use crate::time::Timestamp;

/// Requests of one subscriber that are passed on: a few at once, as a broken link needs them, and one each
/// [`INTERVAL`] for as long as it likes. A key frame is paid for by all who watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyframeBudget {
    /// When all of the requests at once are free again; long ago if none was made.
    full_at: Timestamp,
}

impl KeyframeBudget {
    /// Takes one, if there is one.
    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let begins = self.full_at.max(now);
        let is_there = begins.since(now) <= INTERVAL * (AT_ONCE - 1);
        if is_there {
            self.full_at = begins + INTERVAL;
        }
        is_there
    }
}

const AT_ONCE: u32 = 5;

const INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::testing::ms;

    /// Requests that are passed on, of one each 100 ms in this time.
    fn passed_on(budget: &mut KeyframeBudget, millis: core::ops::Range<u64>) -> usize {
        let times = millis.step_by(100);
        times.filter(|at| budget.spend(ms(*at))).count()
    }

    #[test]
    fn five_are_free_and_then_one_in_two_seconds() {
        let mut budget = KeyframeBudget::default();
        assert_eq!(passed_on(&mut budget, 0..1_000), 5);
        assert_eq!(passed_on(&mut budget, 1_000..21_000), 10);
    }

    #[test]
    fn who_asks_for_none_has_five_again() {
        let mut budget = KeyframeBudget::default();
        passed_on(&mut budget, 0..1_000);
        assert_eq!(passed_on(&mut budget, 11_000..12_000), 5);
    }
}
