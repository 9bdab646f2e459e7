//! Who is heard best of all whom the client of one session hears.

use core::num::NonZeroU8;

use crate::shard::LegKey;
use crate::speech::Ranking;

/// The audio that a client receives.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    /// Of all its legs of audio.
    pub(crate) ranking: Ranking<LegKey>,
    /// How many of those that have a rank are forwarded; none for all.
    pub(crate) loudest: Option<NonZeroU8>,
}

impl Speakers {
    /// Whether the owner of this rank is left out.
    pub(crate) fn leaves_out(&self, rank: Option<u16>) -> bool {
        self.loudest
            .zip(rank)
            .is_some_and(|(loudest, rank)| rank > u16::from(loudest.get()))
    }
}
