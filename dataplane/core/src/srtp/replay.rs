//! The replay window of one SSRC (RFC 3711 §3.3.2).

/// Whether a packet may still be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It has not come yet.
    Fresh,
    /// It came before, or is too old to tell.
    Stale,
}

/// Which of the last `64 * (WORDS - 1)` indices have come.
///
/// A ring of words as in RFC 6479: the window moves by whole words, so that nothing is ever
/// shifted, and the one word more is the one that is being filled. At least so many indices are
/// told apart, up to 63 more.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow<const WORDS: usize> {
    highest: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// A window that `index` opened.
    pub(super) fn new(index: u64) -> Self {
        const { assert!(WORDS >= 2, "the window moves by a word") };
        let mut window = Self {
            highest: index,
            seen: [0; WORDS],
        };
        window.mark(index);
        window
    }

    /// The highest index that has come.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` may be accepted. Changes nothing: the packet is not authentic yet.
    pub(super) fn check(&self, index: u64) -> Freshness {
        if index > self.highest {
            return Freshness::Fresh;
        }
        if word_number(self.highest) - word_number(index) >= WORDS as u64 {
            return Freshness::Stale;
        }
        match self.seen.get(Self::slot(index)) {
            Some(word) if word & bit(index) == 0 => Freshness::Fresh,
            _ => Freshness::Stale,
        }
    }

    /// Remembers that `index` has come, after its packet was authenticated.
    pub(super) fn commit(&mut self, index: u64) {
        if index > self.highest {
            let steps = word_number(index) - word_number(self.highest);
            for step in 1..=steps.min(WORDS as u64) {
                let slot = Self::slot(self.highest + 64 * step);
                if let Some(word) = self.seen.get_mut(slot) {
                    *word = 0;
                }
            }
            self.highest = index;
        }
        self.mark(index);
    }

    fn mark(&mut self, index: u64) {
        if let Some(word) = self.seen.get_mut(Self::slot(index)) {
            *word |= bit(index);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "smaller than WORDS, which is a usize"
    )]
    fn slot(index: u64) -> usize {
        (word_number(index) % WORDS as u64) as usize
    }
}

fn word_number(index: u64) -> u64 {
    index / 64
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_is_fresh_once() {
        let mut window = ReplayWindow::<9>::new(1000);
        assert_eq!(window.check(1000), Freshness::Stale);
        assert_eq!(window.check(999), Freshness::Fresh);
        window.commit(999);
        assert_eq!(window.check(999), Freshness::Stale);
        assert_eq!(window.highest(), 1000);
    }

    #[test]
    fn at_least_the_last_512_indices_are_told_apart() {
        for highest in [1000, 1023, 1024, 1025, 1 << 47] {
            let window = ReplayWindow::<9>::new(highest);
            assert_eq!(window.check(highest - 512), Freshness::Fresh, "{highest}");
            assert_eq!(window.check(highest - 576), Freshness::Stale, "{highest}");
        }
    }

    #[test]
    fn a_long_jump_forgets_what_was_seen_but_does_not_let_it_in_again() {
        let mut window = ReplayWindow::<3>::new(5);
        window.commit(5 + (1 << 40));
        assert_eq!(window.check(5), Freshness::Stale);
        assert_eq!(window.check((1 << 40) + 4), Freshness::Fresh);
    }

    proptest! {
        #[test]
        fn no_index_is_ever_accepted_twice_and_none_in_the_window_is_refused(
            steps in prop::collection::vec(-700_i64..900, 1..2000),
        ) {
            let mut window = ReplayWindow::<9>::new(100_000);
            let mut seen = BTreeSet::from([100_000_u64]);
            for step in steps {
                let Some(index) = window.highest().checked_add_signed(step) else { continue };
                let fresh = window.check(index) == Freshness::Fresh;
                if fresh {
                    prop_assert!(seen.insert(index), "{index} was accepted twice");
                    window.commit(index);
                } else {
                    let too_old = index + 512 < window.highest();
                    prop_assert!(seen.contains(&index) || too_old, "{index} was refused");
                }
                prop_assert_eq!(window.highest(), seen.last().copied().unwrap());
            }
        }
    }
}
