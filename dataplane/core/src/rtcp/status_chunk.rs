//! Packet status chunks of transport-wide feedback: 16 bits that say how some packets fared
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.1 to §3.1.4).

use arrayvec::ArrayVec;

/// How one packet fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    NotReceived,
    /// It came, and its delta has one byte: 0 to 255 ticks.
    SmallDelta,
    /// It came, and its delta has two bytes and a sign.
    LargeDelta,
    Reserved,
}

impl Status {
    /// The status of a packet that came `delta` ticks after the one before it, or did not come; and
    /// the bytes of that delta.
    pub(super) fn of_delta(delta: Option<i16>) -> (Self, ArrayVec<u8, 2>) {
        let Some(delta) = delta else {
            return (Self::NotReceived, ArrayVec::new());
        };
        u8::try_from(delta).map_or_else(
            |_| (Self::LargeDelta, ArrayVec::from(delta.to_be_bytes())),
            |small| (Self::SmallDelta, [small].into_iter().collect()),
        )
    }

    const fn of_symbol(symbol: u16) -> Self {
        match symbol & 3 {
            0 => Self::NotReceived,
            1 => Self::SmallDelta,
            2 => Self::LargeDelta,
            _ => Self::Reserved,
        }
    }

    const fn symbol(self) -> u16 {
        match self {
            Self::NotReceived => 0,
            Self::SmallDelta => 1,
            Self::LargeDelta => 2,
            Self::Reserved => 3,
        }
    }
}

/// The statuses that a list of chunks spells out. It ends after as many as were announced, or with
/// the bytes; each chunk is looked at once.
#[derive(Clone, Debug)]
pub(super) struct Statuses<'a> {
    /// What follows the chunks that were looked at.
    pub(super) rest: &'a [u8],
    /// How many statuses are still to come.
    pub(super) left: u16,
    chunk: u16,
    /// Statuses of `chunk` that are still to come.
    in_chunk: u16,
}

impl<'a> Statuses<'a> {
    pub(super) const fn new(chunks: &'a [u8], count: u16) -> Self {
        Self {
            rest: chunks,
            left: count,
            chunk: 0,
            in_chunk: 0,
        }
    }

    fn next_chunk(&mut self) -> Option<()> {
        let (chunk, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        self.chunk = u16::from_be_bytes(*chunk);
        self.in_chunk = match self.chunk & (VECTOR_BIT | TWO_BITS_BIT) {
            VECTOR_BIT => ONE_BIT_SYMBOLS,
            TWO_BIT_VECTOR => TWO_BIT_SYMBOLS,
            _ => self.chunk & RUN_LENGTH_MAX,
        };
        Some(())
    }
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    fn next(&mut self) -> Option<Status> {
        if self.left == 0 {
            return None;
        }
        // A run of no packets is odd, but legal.
        while self.in_chunk == 0 {
            self.next_chunk()?;
        }
        self.left -= 1;
        self.in_chunk -= 1;
        // What stands first in a vector is in its higher bits.
        Some(match self.chunk & (VECTOR_BIT | TWO_BITS_BIT) {
            VECTOR_BIT => Status::of_symbol(self.chunk >> self.in_chunk & 1),
            TWO_BIT_VECTOR => Status::of_symbol(self.chunk >> (2 * self.in_chunk)),
            _ => Status::of_symbol(self.chunk >> RUN_LENGTH_BITS),
        })
    }
}

/// A chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The first of its statuses.
    symbols: ArrayVec<Status, { ONE_BIT_SYMBOLS as usize }>,
    /// All of them; more than `symbols` only if they are all the same.
    count: u16,
}

impl Chunk {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether some form of chunk can hold one more with this status.
    pub(super) fn can_add(&self, status: Status) -> bool {
        let fits_run = self.count < RUN_LENGTH_MAX && self.symbols.iter().all(|s| *s == status);
        let fits_one_bit = self.count < ONE_BIT_SYMBOLS
            && self
                .symbols
                .iter()
                .chain([&status])
                .all(|s| s.symbol() <= 1);
        self.count < TWO_BIT_SYMBOLS || fits_one_bit || fits_run
    }

    /// Adds one more; [`Chunk::can_add`] said that it fits.
    pub(super) fn add(&mut self, status: Status) {
        // Beyond what `symbols` holds, all are the same.
        let _ = self.symbols.try_push(status);
        self.count += 1;
    }

    /// The chunk that holds as many of the first statuses as one can; the others stay. Only if it
    /// is the last one may it have fewer than a vector holds, and `can_add` sees to that.
    pub(super) fn close(&mut self) -> u16 {
        let first = self.symbols.first().copied().unwrap_or(Status::NotReceived);
        if self.symbols.iter().all(|status| *status == first) {
            let run = first.symbol() << RUN_LENGTH_BITS | self.count;
            self.symbols.clear();
            self.count = 0;
            return run;
        }
        let (form, width, capacity) = if self.count == ONE_BIT_SYMBOLS {
            (VECTOR_BIT, 1, ONE_BIT_SYMBOLS)
        } else {
            (TWO_BIT_VECTOR, 2, TWO_BIT_SYMBOLS)
        };
        let taken = self.count.min(capacity);
        let mut chunk = form;
        let mut shift = width * capacity;
        for status in self.symbols.drain(..usize::from(taken)) {
            shift -= width;
            chunk |= status.symbol() << shift;
        }
        self.count -= taken;
        chunk
    }
}

const VECTOR_BIT: u16 = 0x8000;
const TWO_BITS_BIT: u16 = 0x4000;
const TWO_BIT_VECTOR: u16 = VECTOR_BIT | TWO_BITS_BIT;
const ONE_BIT_SYMBOLS: u16 = 14;
const TWO_BIT_SYMBOLS: u16 = 7;
const RUN_LENGTH_BITS: u16 = 13;
const RUN_LENGTH_MAX: u16 = (1 << RUN_LENGTH_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of §3.1.3 and §3.1.4 of the draft.
    #[test]
    fn the_run_of_the_draft_is_read() {
        // "221 packets not received".
        let statuses: Vec<_> = Statuses::new(&[0x00, 0xdd], 221).collect();
        assert_eq!(statuses, vec![Status::NotReceived; 221]);
    }

    #[test]
    fn the_one_bit_vector_of_the_draft_is_read() {
        use Status::{NotReceived as N, SmallDelta as S};
        // "1 packet not received, 5 received, 3 not received, 3 received, 2 not received".
        let statuses: Vec<_> = Statuses::new(&[0x9f, 0x1c], 14).collect();
        assert_eq!(statuses, [N, S, S, S, S, S, N, N, N, S, S, S, N, N]);
    }

    #[test]
    fn the_two_bit_vector_of_the_draft_is_read() {
        use Status::{NotReceived as N, Reserved as R, SmallDelta as S};
        // "1 not received, 1 received without timestamp (now reserved), 3 small, 2 not received".
        let statuses: Vec<_> = Statuses::new(&[0xcd, 0x50], 7).collect();
        assert_eq!(statuses, [N, R, S, S, S, N, N]);
    }

    #[test]
    fn runs_of_nothing_end_with_the_bytes() {
        let mut statuses = Statuses::new(&[0; 8], 5);
        assert_eq!(statuses.next(), None);
        assert_eq!(statuses.left, 5);
    }

    #[test]
    fn a_long_run_is_one_chunk() {
        let mut chunk = Chunk::default();
        for _ in 0..RUN_LENGTH_MAX {
            assert!(chunk.can_add(Status::SmallDelta));
            chunk.add(Status::SmallDelta);
        }
        assert!(!chunk.can_add(Status::SmallDelta));
        assert_eq!(chunk.close(), 0x3fff);
        assert!(chunk.is_empty());
    }

    #[test]
    fn small_deltas_and_losses_share_a_vector_of_fourteen() {
        let mut chunk = Chunk::default();
        for index in 0..14 {
            let status = if index % 2 == 0 {
                Status::SmallDelta
            } else {
                Status::NotReceived
            };
            assert!(chunk.can_add(status));
            chunk.add(status);
        }
        assert!(!chunk.can_add(Status::SmallDelta));
        assert_eq!(chunk.close(), 0b1010_1010_1010_1010);
        assert!(chunk.is_empty());
    }

    #[test]
    fn a_large_delta_closes_the_first_seven() {
        let mut chunk = Chunk::default();
        for index in 0..10 {
            chunk.add(if index == 1 {
                Status::SmallDelta
            } else {
                Status::NotReceived
            });
        }
        assert!(!chunk.can_add(Status::LargeDelta));
        assert_eq!(chunk.close(), 0b1100_0100_0000_0000);
        assert!(chunk.can_add(Status::LargeDelta));
        assert_eq!(chunk.count, 3);
    }
}
