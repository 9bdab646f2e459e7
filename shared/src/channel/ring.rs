//! A ring of records between one producer and one consumer, which may be different processes.
//!
//! All of its memory is 64-bit atomic words, so whatever the other process writes, and whenever,
//! is a value and never undefined behaviour. Cursors count words and run freely (2^64 words are
//! never reached). Each side keeps its own cursor to itself and only publishes it: what the other
//! process writes over it is not read again. The other side's cursor and every length are checked.
//!
//! A record is one word with its length in bytes, then its bytes, filled up to a whole word.
//! Records wrap around the end of the data.
//!
//! ```text
//! word 0       head: where the consumer is        (a cache line pair of its own)
//! word 16      tail: where the producer is        (likewise)
//! word 32      sleeping: the consumer wants the doorbell
//! word 48 ..   data: a power of two of words
//! ```

use super::sync::{AtomicU64, Ordering, fence};
use crate::limits::RECORD_BYTES_MAX;

/// The end that records are put in. `M` is the ring's memory: see [`memory_words`].
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    /// Where the next record goes.
    tail: u64,
    /// What the consumer was known to have freed.
    head: u64,
    capacity: u64,
}

/// The end that records are taken from. `M` is the ring's memory: see [`memory_words`].
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    /// Where the next record is.
    head: u64,
    /// What the producer was known to have written.
    tail: u64,
    capacity: u64,
    /// The record being read. The other process cannot reach it.
    record: Box<[u8]>,
}

/// Why a ring cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The other side wrote a cursor or a length that cannot be. It can mend this only by starting
    /// again: see [`reset`].
    #[error("the other side has corrupted the ring")]
    Corrupt,
    /// The memory is not that of a ring: too short, or the data is no power of two of words.
    #[error("the memory does not have the shape of a ring")]
    Shape,
}

/// Why a record was not pushed. The ring is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No room now: keep the record and try again later.
    #[error("the ring is full")]
    Full,
    /// Longer than [`RECORD_BYTES_MAX`], or than the whole ring: it will never fit.
    #[error("the record is too long for the ring")]
    TooLong,
    /// The other side wrote a cursor that cannot be.
    #[error("the other side has corrupted the ring")]
    Corrupt,
}

impl<M: AsRef<[AtomicU64]>> Producer<M> {
    /// Takes the producing end, going on where the ring stands. There must be one producer only:
    /// a second one breaks the records (but not memory safety).
    pub fn new(memory: M) -> Result<Self, RingError> {
        let ring = Ring::new(memory.as_ref())?;
        let (head, tail) = ring.cursors()?;
        let capacity = ring.capacity();
        Ok(Self {
            memory,
            tail,
            head,
            capacity,
        })
    }

    /// Puts one record in, or changes nothing. Never blocks. The consumer sees it at once, but is
    /// not woken: see [`Producer::take_sleeper`].
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        let size = size_in_words(record.len());
        if record.len() > RECORD_BYTES_MAX || size > self.capacity {
            return Err(PushError::TooLong);
        }
        let ring = Ring::new(self.memory.as_ref()).map_err(|_| PushError::Corrupt)?;
        if self.capacity - self.tail.wrapping_sub(self.head) < size {
            // Acquire: the consumer has read what we are about to write over.
            let head = ring.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(head) > self.capacity {
                return Err(PushError::Corrupt);
            }
            self.head = head;
            if self.capacity - self.tail.wrapping_sub(head) < size {
                return Err(PushError::Full);
            }
        }
        let mut words = ring.words_from(self.tail);
        if let Some(word) = words.next() {
            word.store(record.len() as u64, Ordering::Relaxed);
        }
        for (bytes, word) in record.chunks(WORD_BYTES).zip(words) {
            word.store(to_word(bytes), Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(size);
        // Release: whoever sees this tail sees the words above.
        ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Whether the consumer sleeps and must be woken now; says so once for each sleep. To be asked
    /// after the last of a batch of pushes.
    #[must_use = "the consumer sleeps on unless its doorbell is rung"]
    pub fn take_sleeper(&mut self) -> bool {
        let Ok(ring) = Ring::new(self.memory.as_ref()) else {
            return false;
        };
        // Pairs with the fence in `Consumer::prepare_sleep`: of "tail, then sleeping" here and
        // "sleeping, then tail" there, at least one side sees what the other has written.
        fence(Ordering::SeqCst);
        ring.sleeping.load(Ordering::Relaxed) == ASLEEP
            && ring
                .sleeping
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl<M: AsRef<[AtomicU64]>> Consumer<M> {
    /// Takes the consuming end, going on where the ring stands. There must be one consumer only:
    /// a second one breaks the records (but not memory safety).
    pub fn new(memory: M) -> Result<Self, RingError> {
        let ring = Ring::new(memory.as_ref())?;
        let (head, tail) = ring.cursors()?;
        let capacity = ring.capacity();
        let room = capacity.saturating_mul(WORD_BYTES as u64);
        let bytes = usize::try_from(room).map_or(RECORD_BYTES_MAX, |b| b.min(RECORD_BYTES_MAX));
        let record = vec![0; bytes].into_boxed_slice();
        Ok(Self {
            memory,
            head,
            tail,
            capacity,
            record,
        })
    }

    /// Takes the oldest record out; None if there is none. Never blocks. The bytes are a copy of
    /// what the other process has written, and can be anything.
    pub fn pop(&mut self) -> Result<Option<&[u8]>, RingError> {
        let ring = Ring::new(self.memory.as_ref())?;
        if self.tail == self.head {
            // Acquire: the words before this tail are written.
            let tail = ring.tail.load(Ordering::Acquire);
            if tail.wrapping_sub(self.head) > self.capacity {
                return Err(RingError::Corrupt);
            }
            self.tail = tail;
            if tail == self.head {
                return Ok(None);
            }
        }
        let mut words = ring.words_from(self.head);
        let length = words
            .next()
            .ok_or(RingError::Corrupt)?
            .load(Ordering::Relaxed);
        let length = usize::try_from(length).map_err(|_| RingError::Corrupt)?;
        let record = self.record.get_mut(..length).ok_or(RingError::Corrupt)?;
        let size = size_in_words(length);
        if size > self.tail.wrapping_sub(self.head) {
            return Err(RingError::Corrupt);
        }
        for (bytes, word) in record.chunks_mut(WORD_BYTES).zip(words) {
            let word = word.load(Ordering::Relaxed).to_le_bytes();
            for (byte, from) in bytes.iter_mut().zip(word) {
                *byte = from;
            }
        }
        self.head = self.head.wrapping_add(size);
        // Release: we have read the words that the producer may now write over.
        ring.head.store(self.head, Ordering::Release);
        Ok(Some(record))
    }

    /// Says that this side is about to wait for its doorbell. True: the ring is empty, wait.
    /// False: a record has come (or the ring is corrupt); do not wait, [`Consumer::pop`] it.
    #[must_use = "waiting while the ring holds records may last for ever"]
    pub fn prepare_sleep(&mut self) -> bool {
        let Ok(ring) = Ring::new(self.memory.as_ref()) else {
            return false;
        };
        ring.sleeping.store(ASLEEP, Ordering::Relaxed);
        // Pairs with the fence in `Producer::take_sleeper`.
        fence(Ordering::SeqCst);
        let empty = ring.tail.load(Ordering::Acquire) == self.head;
        if !empty {
            ring.sleeping.store(AWAKE, Ordering::Relaxed);
        }
        empty
    }

    /// Says that this side is awake though nobody rang (a timer, a packet), which saves the
    /// producer a doorbell. Optional.
    pub fn wake(&mut self) {
        if let Ok(ring) = Ring::new(self.memory.as_ref()) {
            ring.sleeping.store(AWAKE, Ordering::Relaxed);
        }
    }
}

/// Empties a ring for a new peer. Ends that were made before go wrong: make new ones.
pub fn reset(memory: &[AtomicU64]) -> Result<(), RingError> {
    let ring = Ring::new(memory)?;
    ring.sleeping.store(AWAKE, Ordering::Relaxed);
    ring.head.store(0, Ordering::Relaxed);
    ring.tail.store(0, Ordering::Release);
    Ok(())
}

/// The parts of a ring's memory.
struct Ring<'a> {
    head: &'a AtomicU64,
    tail: &'a AtomicU64,
    sleeping: &'a AtomicU64,
    data: &'a [AtomicU64],
}

impl<'a> Ring<'a> {
    fn new(memory: &'a [AtomicU64]) -> Result<Self, RingError> {
        let (front, data) = memory.split_at_checked(DATA_WORD).ok_or(RingError::Shape)?;
        let [head, tail, sleeping] =
            [HEAD_WORD, TAIL_WORD, SLEEPING_WORD].map(|word| front.get(word));
        match (head, tail, sleeping, data.len().is_power_of_two()) {
            (Some(head), Some(tail), Some(sleeping), true) => Ok(Self {
                head,
                tail,
                sleeping,
                data,
            }),
            _ => Err(RingError::Shape),
        }
    }

    fn capacity(&self) -> u64 {
        self.data.len() as u64
    }

    /// Where the ring stands, for an end that is being made.
    fn cursors(&self) -> Result<(u64, u64), RingError> {
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        if tail.wrapping_sub(head) > self.capacity() {
            return Err(RingError::Corrupt);
        }
        Ok((head, tail))
    }

    /// The words from `cursor` on, once around.
    fn words_from(&self, cursor: u64) -> impl Iterator<Item = &'a AtomicU64> + use<'a> {
        let offset = usize::try_from(cursor & (self.capacity() - 1)).unwrap_or_default();
        let (before, after) = self.data.split_at_checked(offset).unwrap_or_default();
        after.iter().chain(before)
    }
}

/// Words that a record of `length` bytes takes, its length word included.
fn size_in_words(length: usize) -> u64 {
    1 + length.div_ceil(WORD_BYTES) as u64
}

/// Up to eight bytes as a word, filled up with zeros.
fn to_word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// Words of a ring's memory whose data is `data_words` words.
pub const fn memory_words(data_words: usize) -> usize {
    DATA_WORD + data_words
}

const WORD_BYTES: usize = size_of::<u64>();
/// Two cache lines of words, since the prefetcher of x86-64 takes lines in pairs.
const LINE_WORDS: usize = 16;
const HEAD_WORD: usize = 0;
const TAIL_WORD: usize = LINE_WORDS;
const SLEEPING_WORD: usize = 2 * LINE_WORDS;
const DATA_WORD: usize = 3 * LINE_WORDS;
const AWAKE: u64 = 0;
const ASLEEP: u64 = 1;

#[cfg(test)]
mod tests;
