//! Who is heard best of what a session receives, and loudest-N forwarding, which follows from it.

use core::num::NonZeroU8;

use shared::protocol::MediaKind;

use super::Shard;
use super::sessions::SessionKey;
use super::tracks::LegKey;
use crate::session::speakers::Speakers;
use crate::time::Timestamp;

impl Shard {
    /// Forwards to a session so many of its audio tracks from now on; none for all.
    pub(super) fn limit_audio(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        loudest: Option<NonZeroU8>,
    ) {
        let Some(speakers) = self.speakers(key) else {
            return;
        };
        speakers.loudest = loudest;
        self.rank_speakers(now, key);
        self.ticker.add_limited(key);
    }

    /// A leg begins, or is fed from another publication: if it is audio, it takes part.
    pub(super) fn add_to_speakers(&mut self, now: Timestamp, key: SessionKey, leg: LegKey) {
        let entry = self.tracks.leg(leg);
        let is_audio = entry.is_some_and(|entry| entry.leg.kind() == MediaKind::Audio);
        let session = self.sessions.get_mut(key);
        let Some(speakers) = session.and_then(|session| session.speakers.as_deref_mut()) else {
            return;
        };
        if is_audio {
            speakers.ranking.insert(leg);
            self.rank_speakers(now, key);
        }
    }

    /// Ranks the audio that a session receives, by how it sounds now, and leaves out what is not to
    /// be forwarded.
    pub(super) fn rank_speakers(&mut self, now: Timestamp, key: SessionKey) {
        let tracks = &mut self.tracks;
        let session = self.sessions.get_mut(key);
        let Some(speakers) = session.and_then(|session| session.speakers.as_deref_mut()) else {
            return;
        };
        speakers.ranking.update(now, |leg| tracks.voice(now, leg));
        for place in speakers.ranking.places() {
            let Some(entry) = tracks.leg_mut(place.key) else {
                continue;
            };
            entry.leg.statistics.rank = place.rank;
            // Also if nothing feeds it just now: what will must not find it so.
            if entry.leg.set_outranked(speakers.leaves_out(place.rank))
                && let Some((entry, track)) = tracks.leg_and_track(place.key)
            {
                entry.leg.select(now, &track.publication);
            }
        }
    }

    /// Somebody asks how the session fares: it is ranked from now on, as often as that is asked.
    pub(super) fn measure_speakers(&mut self, now: Timestamp, key: SessionKey) {
        if self.speakers(key).is_some() {
            self.rank_speakers(now, key);
        }
    }

    /// Now and then, for the sessions of the ticker's list. Returns whether the session is still one
    /// of these.
    pub(super) fn poll_speakers(&mut self, now: Timestamp, key: SessionKey) -> bool {
        let session = self.sessions.get(key);
        let speakers = session.and_then(|session| session.speakers.as_ref());
        if speakers.is_none_or(|speakers| speakers.loudest.is_none()) {
            return false;
        }
        self.rank_speakers(now, key);
        true
    }

    /// Those of a session, with all its legs of audio.
    fn speakers(&mut self, key: SessionKey) -> Option<&mut Speakers> {
        let tracks = &self.tracks;
        let session = self.sessions.get_mut(key)?;
        let legs = &session.legs;
        let speakers = session.speakers.get_or_insert_with(|| {
            let mut speakers = Box::<Speakers>::default();
            for (_, leg) in legs {
                let entry = tracks.leg(*leg);
                if entry.is_some_and(|entry| entry.leg.kind() == MediaKind::Audio) {
                    speakers.ranking.insert(*leg);
                }
            }
            speakers
        });
        Some(speakers)
    }
}
