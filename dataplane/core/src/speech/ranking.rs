//! Who of several is heard best.

use core::cmp::Reverse;
use core::time::Duration;

use super::activity::Voice;
use super::level::AudioLevel;
use crate::time::Timestamp;

/// An order that does not flap: those who speak, the loudest first, then those who spoke last, and at
/// the end those of whom no levels are known.
///
/// Whoever begins to speak comes before all who are silent at once, which [`SpeechActivity`] sees to
/// that it does not happen at every noise. Among those who speak, everybody is ranked by a level that
/// is kept for [`LEVEL_KEPT`] and then changes only if the real one is more than [`LEVEL_MARGIN`]
/// away. So whoever is louder than all others by more than twice that is the first soon, and nobody
/// moves twice in [`LEVEL_KEPT`] by what was measured of it.
///
/// [`SpeechActivity`]: super::activity::SpeechActivity
#[derive(Debug)]
pub(crate) struct Ranking<K> {
    /// The first is heard best.
    entries: Vec<Entry<K>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    key: K,
    standing: Standing,
}

/// What one is ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Speaking { level: AudioLevel, since: Timestamp },
    Silent { since: Timestamp },
    Unknown,
}

/// A place in a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<K> {
    /// Whose.
    pub(crate) key: K,
    /// 1 for the first; none for those of whom no levels are known.
    pub(crate) rank: Option<u16>,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<K: Copy + PartialEq> Ranking<K> {
    /// One more, of whom nothing is known yet. One that is there already begins anew.
    pub(crate) fn insert(&mut self, key: K) {
        self.remove(key);
        self.entries.push(Entry {
            key,
            standing: Standing::Unknown,
        });
    }

    /// One less.
    pub(crate) fn remove(&mut self, key: K) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Ranks all anew by how they sound now; a voice of none is one of whom no levels are known.
    pub(crate) fn update(&mut self, now: Timestamp, voice: impl Fn(K) -> Option<Voice>) {
        for entry in &mut self.entries {
            entry.standing = entry.standing.after(now, voice(entry.key));
        }
        // Stable: of those that are equal, who was before stays before.
        self.entries.sort_by_key(|entry| entry.standing.order());
    }

    /// All, in their order.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place<K>> {
        let places = (1_u16..).zip(&self.entries);
        places.map(|(rank, entry)| Place {
            key: entry.key,
            rank: (entry.standing != Standing::Unknown).then_some(rank),
        })
    }
}

impl Standing {
    fn after(self, now: Timestamp, voice: Option<Voice>) -> Self {
        let Some(voice) = voice else {
            return Self::Unknown;
        };
        match self {
            Self::Speaking { level, since } if voice.speaking => {
                let distance = voice.level.decibels().abs_diff(level.decibels());
                if distance > LEVEL_MARGIN && now.since(since) >= LEVEL_KEPT {
                    Self::speaking(now, voice)
                } else {
                    self
                }
            }
            _ if voice.speaking => Self::speaking(now, voice),
            Self::Silent { .. } => self,
            Self::Speaking { .. } => Self::Silent { since: now },
            // Nobody has heard it.
            Self::Unknown => Self::Silent {
                since: Timestamp::default(),
            },
        }
    }

    fn speaking(now: Timestamp, voice: Voice) -> Self {
        Self::Speaking {
            level: voice.level,
            since: now,
        }
    }

    /// The least comes first.
    fn order(self) -> (u8, AudioLevel, Reverse<Timestamp>) {
        match self {
            Self::Speaking { level, .. } => (0, level, Reverse(Timestamp::default())),
            Self::Silent { since } => (1, AudioLevel::SILENCE, Reverse(since)),
            Self::Unknown => (2, AudioLevel::SILENCE, Reverse(Timestamp::default())),
        }
    }
}

/// By how many dB a level must differ from that by which its owner is ranked.
const LEVEL_MARGIN: u8 = 3;

/// How long somebody who speaks is ranked by one level, at least.
const LEVEL_KEPT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
