//! The one source of randomness of a simulation: the same seed gives the same numbers for ever.

use core::time::Duration;

/// Sebastiano Vigna's `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// A number from `start` to `end`, `end` not included.
    pub fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    /// True with this probability (0 to 1).
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what a double holds.
        ((self.bits() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A duration below `end`.
    pub fn duration(&mut self, end: Duration) -> Duration {
        match u64::try_from(end.as_nanos()).unwrap() {
            0 => Duration::ZERO,
            nanos => Duration::from_nanos(self.below(nanos)),
        }
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.bits() as u8)
    }

    /// A generator for a part of the world, so that what one part draws does not move the others.
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}

/// Mixes the bits of a number so that near ones become unlike.
pub fn mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a over bytes, for traces and for telling contents apart.
pub fn hash(start: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(start ^ 0xcbf2_9ce4_8422_2325, step)
}
