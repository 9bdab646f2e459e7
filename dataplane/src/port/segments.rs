//! Which datagrams leave in one message: the queue of a turn, chained by path, and the rule that
//! cuts a chain into messages of equal segments. Plain numbers; no socket, no `unsafe`.

use dataplane_core::Path;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Datagrams that wait in the slots of an arena, chained by path in the order they came.
#[derive(Debug)]
pub(super) struct Chains {
    /// By slot.
    lengths: Box<[u16]>,
    /// By slot: the next one on the same path, or [`NONE`].
    next: Box<[u16]>,
    used: u16,
    /// In the order of their first datagrams.
    chains: Vec<Chain>,
    by_path: HashMap<Path, u16, FxBuildHasher>,
}

/// The datagrams of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) path: Path,
    first: u16,
    last: u16,
}

/// Datagrams of one path that can leave as one message: all have `segment` bytes, but the last
/// may be shorter (udp(7), `UDP_SEGMENT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Slot of the first.
    pub(super) first: u16,
    /// How many.
    pub(super) count: u16,
    /// Bytes of each but the last.
    pub(super) segment: u16,
}

impl Chains {
    /// Room for `slots` datagrams.
    pub(super) fn new(slots: u16) -> Self {
        let count = usize::from(slots);
        Self {
            lengths: vec![0; count].into_boxed_slice(),
            next: vec![NONE; count].into_boxed_slice(),
            used: 0,
            chains: Vec::with_capacity(count),
            // The map must never grow: twice the room that it needs at its usual load.
            by_path: HashMap::with_capacity_and_hasher(2 * count, FxBuildHasher),
        }
    }

    /// The slot that the next datagram goes to; None if all are in use.
    pub(super) fn free_slot(&self) -> Option<u16> {
        (usize::from(self.used) < self.lengths.len()).then_some(self.used)
    }

    /// Takes the slot of [`Chains::free_slot`] for a datagram of `length` bytes on `path`.
    pub(super) fn push(&mut self, path: Path, length: u16) {
        let slot = self.used;
        if let Some(place) = self.lengths.get_mut(usize::from(slot)) {
            *place = length;
        }
        set(&mut self.next, slot, NONE);
        self.used += 1;
        let known = self.by_path.get(&path).copied();
        if let Some(chain) = known.and_then(|index| self.chains.get_mut(usize::from(index))) {
            set(&mut self.next, chain.last, slot);
            chain.last = slot;
        } else if let Ok(index) = u16::try_from(self.chains.len()) {
            self.chains.push(Chain {
                path,
                first: slot,
                last: slot,
            });
            self.by_path.insert(path, index);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.chains.clear();
        self.by_path.clear();
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The paths that have datagrams, in the order of their first ones.
    pub(super) fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The runs of one chain, in order.
    pub(super) fn runs(&self, chain: &Chain) -> Runs<'_> {
        Runs {
            chains: self,
            slot: chain.first,
        }
    }

    /// The slots of one run with their lengths, in order.
    pub(super) fn slots(&self, run: Run) -> impl Iterator<Item = (u16, u16)> + '_ {
        let mut slot = run.first;
        (0..run.count).map(move |_| {
            let this = slot;
            slot = self.after(this);
            (this, self.length(this))
        })
    }

    fn length(&self, slot: u16) -> u16 {
        self.lengths
            .get(usize::from(slot))
            .copied()
            .unwrap_or_default()
    }

    fn after(&self, slot: u16) -> u16 {
        self.next.get(usize::from(slot)).copied().unwrap_or(NONE)
    }
}

/// Iterator of [`Chains::runs`].
#[derive(Debug)]
pub(super) struct Runs<'a> {
    chains: &'a Chains,
    slot: u16,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.slot == NONE {
            return None;
        }
        let first = self.slot;
        let segment = self.chains.length(first);
        let mut run = Run {
            first,
            count: 1,
            segment,
        };
        self.slot = self.chains.after(first);
        while self.slot != NONE && run.count < SEGMENTS_MAX {
            let length = self.chains.length(self.slot);
            if length > segment {
                break;
            }
            run.count += 1;
            self.slot = self.chains.after(self.slot);
            if length < segment {
                break;
            }
        }
        Some(run)
    }
}

fn set(words: &mut [u16], index: u16, value: u16) {
    if let Some(word) = words.get_mut(usize::from(index)) {
        *word = value;
    }
}

/// No slot.
const NONE: u16 = u16::MAX;

/// Segments of one message. More gain little (measured), and fewer lost at once are easier to
/// mend. The kernel allows 64 (128 since Linux 6.9).
pub(super) const SEGMENTS_MAX: u16 = 16;

const _: () = assert!(
    SEGMENTS_MAX as usize * dataplane_core::outbox::DATAGRAM_BYTES_MAX <= 65_507,
    "a message of the longest segments fits a UDP datagram"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(port: u16) -> Path {
        Path {
            socket: 0,
            remote: ([127, 0, 0, 1], port).into(),
        }
    }

    /// The runs of each path, as lists of lengths.
    fn cut(datagrams: &[(u16, u16)]) -> Vec<Vec<Vec<u16>>> {
        let mut chains = Chains::new(1024);
        for (port, length) in datagrams {
            chains.push(path(*port), *length);
        }
        let lengths = |run| chains.slots(run).map(|(_, length)| length).collect();
        chains
            .chains()
            .iter()
            .map(|chain| chains.runs(chain).map(lengths).collect())
            .collect()
    }

    #[test]
    fn equal_datagrams_of_one_path_make_one_run_whatever_stands_between() {
        let runs = cut(&[(1, 100), (2, 7), (1, 100), (1, 100)]);
        assert_eq!(runs, [vec![vec![100, 100, 100]], vec![vec![7]]]);
    }

    #[test]
    fn a_shorter_datagram_ends_a_run_and_a_longer_one_starts_the_next() {
        let runs = cut(&[(1, 100), (1, 100), (1, 40), (1, 40), (1, 50)]);
        assert_eq!(runs, [vec![vec![100, 100, 40], vec![40], vec![50]]]);
    }

    #[test]
    fn a_run_has_at_most_sixteen_segments() {
        let runs = cut(&[(1, 100); 33]);
        let counts: Vec<usize> = runs[0].iter().map(Vec::len).collect();
        assert_eq!(counts, [16, 16, 1]);
    }

    proptest! {
        #[test]
        fn no_datagram_is_lost_or_overtaken_on_its_path(
            datagrams in prop::collection::vec((1..5_u16, 1..4_u16), 0..100)
        ) {
            let runs = cut(&datagrams);
            let mut ports = Vec::new();
            for (port, _) in &datagrams {
                if !ports.contains(port) {
                    ports.push(*port);
                }
            }
            prop_assert_eq!(runs.len(), ports.len());
            for (port, runs) in ports.iter().zip(&runs) {
                let sent: Vec<u16> = runs.iter().flatten().copied().collect();
                let queued: Vec<u16> =
                    datagrams.iter().filter(|(p, _)| p == port).map(|(_, l)| *l).collect();
                prop_assert_eq!(sent, queued);
                for run in runs {
                    let (last, equal) = run.split_last().unwrap();
                    let first = run[0];
                    prop_assert!(equal.iter().all(|length| *length == first) && *last <= first);
                }
            }
        }
    }
}
