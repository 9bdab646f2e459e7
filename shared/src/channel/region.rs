//! The shared region: what lies where in it.
//!
//! ```text
//! page 0               magic, layout version, generation, shard count
//! then for each shard
//!   page 0             heartbeat
//!   page 1             counters
//!   pages              ring of commands (control plane to data plane)
//!   pages              ring of replies and events (data plane to control plane)
//! ```

use core::ops::Range;
use core::sync::atomic::Ordering;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::mapping::{Mapping, sealed_bytes};
use super::ring::{self, Consumer, Producer, RingError};
use super::sync::AtomicU64;
use crate::counters::{self, Counters};
use crate::id::ShardIndex;
use crate::limits::{RECORD_BYTES_MAX, SHARDS_MAX};

/// The version of all that the planes share: this layout, the counters and the encoding of
/// [`crate::protocol`]. To be raised with every change to one of them.
pub const LAYOUT_VERSION: u32 = 5;

/// One region, mapped. It stays mapped until the last [`ShardMemory`] and ring end is dropped.
#[derive(Debug)]
pub struct Region {
    fd: OwnedFd,
    mapping: Arc<Mapping>,
    shard_count: u16,
}

/// The part of a region that belongs to one shard. Cheap to clone and to move into a thread.
#[derive(Clone, Debug)]
pub struct ShardMemory {
    mapping: Arc<Mapping>,
    start: usize,
}

/// The memory of one ring in a region.
#[derive(Clone, Debug)]
pub struct RingMemory {
    mapping: Arc<Mapping>,
    words: Range<usize>,
}

/// The end of a region's ring that records are put in.
pub type RegionProducer = Producer<RingMemory>;
/// The end of a region's ring that records are taken from.
pub type RegionConsumer = Consumer<RingMemory>;

/// Why there is no region.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The system refused.
    #[error("the shared region cannot be mapped: {0}")]
    Io(#[from] io::Error),
    /// Not a memfd that is sealed against shrinking and growing.
    #[error("the shared region is not sealed")]
    NotSealed,
    /// It does not begin as a region does.
    #[error("this is no shared region")]
    Magic,
    /// Made by another version of Jackfield.
    #[error("the shared region has layout {found}, this Jackfield has {LAYOUT_VERSION}")]
    Version {
        /// The layout version that the region says it has.
        found: u64,
    },
    /// None, or more than [`SHARDS_MAX`].
    #[error("a region has 1 to {SHARDS_MAX} shards, not {found}")]
    ShardCount {
        /// What was asked for, or what the region says.
        found: u64,
    },
    /// The size is not the one that its shards need.
    #[error("the shared region has {found} bytes instead of {expected}")]
    Size {
        /// In bytes.
        expected: u64,
        /// In bytes.
        found: u64,
    },
}

impl Region {
    /// Makes the region of a data plane. `generation` is random for each start, so that a control
    /// plane sees whether it met this data plane before.
    pub fn create(shards: u16, generation: u64) -> Result<Self, RegionError> {
        let words = region_words(u64::from(shards))?;
        let (fd, mapping) = Mapping::create(words)?;
        let header = [
            MAGIC,
            u64::from(LAYOUT_VERSION),
            generation,
            u64::from(shards),
        ];
        for (word, value) in mapping.as_ref().iter().zip(header) {
            word.store(value, Ordering::Release);
        }
        Ok(Self {
            fd,
            mapping: Arc::new(mapping),
            shard_count: shards,
        })
    }

    /// Maps the region that a data plane has made, if it is one of this version.
    pub fn attach(fd: OwnedFd) -> Result<Self, RegionError> {
        let found = sealed_bytes(&fd)?.ok_or(RegionError::NotSealed)?;
        if found < bytes_of(HEADER_WORDS) {
            return Err(RegionError::Size {
                expected: bytes_of(HEADER_WORDS),
                found,
            });
        }
        // The header first: it says how large the whole is.
        let header = Mapping::map(&fd, HEADER_WORDS)?;
        let shards = check_header(header.as_ref())?;
        let words = region_words(u64::from(shards))?;
        if found != bytes_of(words) {
            return Err(RegionError::Size {
                expected: bytes_of(words),
                found,
            });
        }
        let mapping = Arc::new(Mapping::map(&fd, words)?);
        Ok(Self {
            fd,
            mapping,
            shard_count: shards,
        })
    }

    /// Chosen at random by the data plane at its start.
    pub fn generation(&self) -> u64 {
        self.mapping
            .as_ref()
            .as_ref()
            .get(GENERATION_WORD)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// The part of one shard; None if there is no such shard.
    pub fn shard(&self, shard: ShardIndex) -> Option<ShardMemory> {
        let start = HEADER_WORDS + shard.as_usize() * SHARD_WORDS;
        (shard.0 < self.shard_count).then(|| ShardMemory {
            mapping: Arc::clone(&self.mapping),
            start,
        })
    }

    /// The parts of all shards, in their order.
    pub fn shards(&self) -> impl Iterator<Item = ShardMemory> + '_ {
        (0..self.shard_count).filter_map(|index| self.shard(ShardIndex(index)))
    }
}

impl AsFd for Region {
    /// The memfd, to be handed over.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ShardMemory {
    /// The control plane's end of the ring of commands.
    pub fn command_producer(&self) -> Result<RegionProducer, RingError> {
        Producer::new(self.ring(COMMANDS_START))
    }

    /// The data plane's end of the ring of commands.
    pub fn command_consumer(&self) -> Result<RegionConsumer, RingError> {
        Consumer::new(self.ring(COMMANDS_START))
    }

    /// The data plane's end of the ring of replies and events.
    pub fn reply_producer(&self) -> Result<RegionProducer, RingError> {
        Producer::new(self.ring(REPLIES_START))
    }

    /// The control plane's end of the ring of replies and events.
    pub fn reply_consumer(&self) -> Result<RegionConsumer, RingError> {
        Consumer::new(self.ring(REPLIES_START))
    }

    /// Empties both rings. The data plane does this before it welcomes a control plane, when the
    /// one before is gone; ring ends that it made before are of no use after that.
    pub fn reset_rings(&self) {
        for start in [COMMANDS_START, REPLIES_START] {
            let reset = ring::reset(self.ring(start).as_ref());
            assert!(reset.is_ok(), "a region's rings have the right shape");
        }
    }

    /// Copies the shard's figures to where the control plane reads them.
    pub fn publish_counters(&self, counters: &Counters) {
        for (word, value) in self
            .words(COUNTERS_START, counters::WORDS)
            .iter()
            .zip(counters.words())
        {
            word.store(*value, Ordering::Relaxed);
        }
    }

    /// The shard's figures as last published. Those that are published meanwhile may be mixed in:
    /// each figure is whole, their sum need not be.
    pub fn read_counters(&self) -> Counters {
        let mut values = [0; counters::WORDS];
        for (value, word) in values
            .iter_mut()
            .zip(self.words(COUNTERS_START, counters::WORDS))
        {
            *value = word.load(Ordering::Relaxed);
        }
        Counters::from_words(values)
    }

    /// Says that the shard's loop has turned at this time (`CLOCK_MONOTONIC`, nanoseconds).
    pub fn store_heartbeat(&self, now_ns: u64) {
        for word in self.words(HEARTBEAT_START, 1) {
            word.store(now_ns, Ordering::Relaxed);
        }
    }

    /// When the shard's loop turned last (`CLOCK_MONOTONIC`, nanoseconds); 0 before its first turn.
    pub fn load_heartbeat(&self) -> u64 {
        self.words(HEARTBEAT_START, 1)
            .first()
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn ring(&self, offset: usize) -> RingMemory {
        let start = self.start + offset;
        let words = start..start + ring::memory_words(RING_DATA_WORDS);
        RingMemory {
            mapping: Arc::clone(&self.mapping),
            words,
        }
    }

    fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        let start = self.start + offset;
        self.mapping
            .as_ref()
            .as_ref()
            .get(start..start + count)
            .unwrap_or_default()
    }
}

impl AsRef<[AtomicU64]> for RingMemory {
    fn as_ref(&self) -> &[AtomicU64] {
        self.mapping
            .as_ref()
            .as_ref()
            .get(self.words.clone())
            .unwrap_or_default()
    }
}

/// Checks what a region says of itself; gives its number of shards.
fn check_header(words: &[AtomicU64]) -> Result<u16, RegionError> {
    let mut values = words.iter().map(|word| word.load(Ordering::Acquire));
    let mut next = || values.next().unwrap_or_default();
    let (magic, version, _generation, shards) = (next(), next(), next(), next());
    if magic != MAGIC {
        return Err(RegionError::Magic);
    }
    if version != u64::from(LAYOUT_VERSION) {
        return Err(RegionError::Version { found: version });
    }
    u16::try_from(shards).map_err(|_| RegionError::ShardCount { found: shards })
}

/// Words of a region, if it may have so many shards.
fn region_words(shards: u64) -> Result<usize, RegionError> {
    match usize::try_from(shards) {
        Ok(count @ 1..=SHARDS_MAX) => Ok(HEADER_WORDS + count * SHARD_WORDS),
        Ok(_) | Err(_) => Err(RegionError::ShardCount { found: shards }),
    }
}

fn bytes_of(words: usize) -> u64 {
    words as u64 * 8
}

/// "jackfld" and a newline, so that a file that was mangled as text does not pass.
const MAGIC: u64 = u64::from_le_bytes(*b"jackfld\n");
const GENERATION_WORD: usize = 2;
const PAGE_WORDS: usize = 4096 / 8;
const HEADER_WORDS: usize = PAGE_WORDS;
/// 256 KiB each way.
const RING_DATA_WORDS: usize = 256 * 1024 / 8;
const RING_WORDS: usize = ring::memory_words(RING_DATA_WORDS).next_multiple_of(PAGE_WORDS);
const HEARTBEAT_START: usize = 0;
const COUNTERS_START: usize = PAGE_WORDS;
const COMMANDS_START: usize = 2 * PAGE_WORDS;
const REPLIES_START: usize = COMMANDS_START + RING_WORDS;
const SHARD_WORDS: usize = REPLIES_START + RING_WORDS;

const _: () = assert!(counters::WORDS <= PAGE_WORDS, "the counters fit their page");
const _: () = assert!(
    RING_DATA_WORDS * 8 >= 3 * RECORD_BYTES_MAX,
    "several large records fit"
);
const _: () = assert!(
    SHARDS_MAX <= u16::MAX as usize,
    "a shard index names every shard"
);

#[cfg(test)]
mod tests;
