//! All tracks of a shard: what is published here, the mirrors of what is published elsewhere, and
//! the legs that they feed.

mod reasons;
mod reports;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use shared::id::{PublicationId, SessionId, ShardIndex};
use shared::protocol::{PublishParameters, SubscribeParameters};
use slotmap::{SlotMap, new_key_type};

use self::reasons::ReasonTally;
use super::receive::Identity;
use super::sessions::SessionKey;
use crate::egress::Leg;
use crate::ingress::Publication;
use crate::outbox::Outbox;
use crate::relay::{Formats, Layers, RelayMessage};
use crate::session::ssrcs::{Binding, Stream};
use crate::speech::Voice;
use crate::time::Timestamp;

new_key_type! {
    /// A published track, or the mirror of one, on this shard.
    pub(crate) struct PublicationKey;
    /// A subscribed track on this shard.
    pub(crate) struct LegKey;
}

/// Where the packets of a track come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this shard.
    Owned(SessionKey),
    /// Another shard, which was asked for them.
    Mirrored(ShardIndex),
}

/// One track that legs of this shard, or other shards, can be fed from.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) publication: Publication,
    pub(crate) origin: Origin,
    /// Those fed here.
    pub(crate) legs: Vec<LegKey>,
    /// Shards that mirror it.
    pub(crate) remote_shards: Vec<ShardIndex>,
    /// Of the media section.
    mid: shared::protocol::Mid,
    /// Whether a packet came lately, as the control plane was told.
    pub(crate) receiving: bool,
}

/// A layer that a key frame is needed of.
pub(crate) type Wish = (PublicationKey, u8);

/// One leg, and what it hangs on.
#[derive(Debug)]
pub(crate) struct LegEntry {
    pub(crate) leg: Leg,
    pub(crate) session: SessionKey,
    /// What it is to be fed from; that may be gone.
    source: PublicationId,
    /// What it is fed from.
    pub(crate) track: Option<PublicationKey>,
}

/// The tracks and legs of a shard.
#[derive(Debug)]
pub(crate) struct Tracks {
    index: ShardIndex,
    tracks: SlotMap<PublicationKey, Track>,
    legs: SlotMap<LegKey, LegEntry>,
    by_id: HashMap<PublicationId, PublicationKey, FxBuildHasher>,
    /// Mirrors that were asked for and not described yet, with the legs that wait.
    awaited: HashMap<PublicationId, Vec<LegKey>, FxBuildHasher>,
    reasons: ReasonTally,
}

impl Tracks {
    pub(crate) fn new(index: ShardIndex) -> Self {
        Self {
            index,
            tracks: SlotMap::with_key(),
            legs: SlotMap::with_key(),
            by_id: HashMap::default(),
            awaited: HashMap::default(),
            reasons: ReasonTally::default(),
        }
    }

    pub(crate) fn find(&self, id: PublicationId) -> Option<PublicationKey> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, key: PublicationKey) -> Option<&Track> {
        self.tracks.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: PublicationKey) -> Option<&mut Track> {
        self.tracks.get_mut(key)
    }

    pub(crate) fn leg(&self, key: LegKey) -> Option<&LegEntry> {
        self.legs.get(key)
    }

    pub(crate) fn leg_mut(&mut self, key: LegKey) -> Option<&mut LegEntry> {
        self.legs.get_mut(key)
    }

    /// The leg of a track in this place; none behind the last one.
    pub(crate) fn leg_at(&self, key: PublicationKey, position: usize) -> Option<LegKey> {
        self.tracks.get(key)?.legs.get(position).copied()
    }

    /// A track to walk, with all legs beside it.
    pub(crate) fn fan_out_mut(
        &mut self,
        key: PublicationKey,
    ) -> Option<(&Track, &mut SlotMap<LegKey, LegEntry>)> {
        Some((self.tracks.get(key)?, &mut self.legs))
    }

    /// A leg, and the track that feeds it.
    pub(crate) fn leg_and_track(&mut self, key: LegKey) -> Option<(&mut LegEntry, &Track)> {
        let entry = self.legs.get_mut(key)?;
        let track = self.tracks.get(entry.track?)?;
        Some((entry, track))
    }

    /// How what feeds a leg sounds; none while nothing does, and if nothing tells.
    pub(crate) fn voice(&self, now: Timestamp, key: LegKey) -> Option<Voice> {
        let track = self.tracks.get(self.legs.get(key)?.track?)?;
        track.publication.voice(now)
    }

    /// Adds what a client of this shard publishes. The parameters are within their limits.
    pub(crate) fn publish(
        &mut self,
        session: SessionId,
        key: SessionKey,
        parameters: &PublishParameters,
    ) -> Option<PublicationKey> {
        let publication = Publication::new(session, parameters)?;
        let id = publication.id();
        let track = self.tracks.insert(Track {
            publication,
            origin: Origin::Owned(key),
            legs: Vec::new(),
            remote_shards: Vec::new(),
            mid: parameters.mid,
            receiving: false,
        });
        self.by_id.insert(id, track);
        Some(track)
    }

    /// Ends a track, owned or mirrored: its legs stay, but carry nothing.
    pub(crate) fn end(&mut self, key: PublicationKey, out: &mut impl Outbox) {
        let Some(track) = self.tracks.remove(key) else {
            return;
        };
        let publication = track.publication.id();
        self.by_id.remove(&publication);
        for leg in track.legs {
            if let Some(entry) = self.legs.get_mut(leg) {
                entry.track = None;
            }
        }
        for shard in track.remote_shards {
            out.relay(shard, RelayMessage::Gone { publication }, &[]);
        }
    }

    /// Adds what a client of this shard subscribes to; [`Tracks::feed`] comes next.
    pub(crate) fn subscribe(
        &mut self,
        session: SessionKey,
        parameters: &SubscribeParameters,
        start: crate::egress::Start,
    ) -> LegKey {
        let leg = Leg::new(parameters, start);
        self.legs.insert(LegEntry {
            leg,
            session,
            source: parameters.source,
            track: None,
        })
    }

    /// Feeds a leg from a publication from now on. One of another shard is asked for there, unless
    /// it is mirrored already.
    pub(crate) fn feed(&mut self, key: LegKey, source: PublicationId, out: &mut impl Outbox) {
        // Another choice of layer only: a mirror that has no other leg must not be given back, or
        // its cache would be lost, and with it what this leg may still ask for again.
        let entry = self.legs.get(key);
        if entry.is_some_and(|entry| entry.source == source && entry.track.is_some()) {
            return;
        }
        self.detach(key, out);
        let Some(entry) = self.legs.get_mut(key) else {
            return;
        };
        entry.source = source;
        let owner = source.session.shard();
        if let Some(track) = self.by_id.get(&source) {
            entry.track = Some(*track);
            if let Some(track) = self.tracks.get_mut(*track) {
                track.legs.push(key);
            }
        } else if owner != self.index {
            let waiting = self.awaited.entry(source).or_insert_with(|| {
                out.relay(
                    owner,
                    RelayMessage::Subscribe {
                        publication: source,
                    },
                    &[],
                );
                Vec::new()
            });
            waiting.push(key);
        }
    }

    /// Ends a leg.
    pub(crate) fn unsubscribe(&mut self, key: LegKey, out: &mut impl Outbox) {
        self.detach(key, out);
        if let Some(entry) = self.legs.remove(key) {
            self.reasons.shift(entry.leg.statistics.reason, None);
        }
    }

    /// Takes a leg off its track. A mirror without legs is given back to its owner.
    fn detach(&mut self, key: LegKey, out: &mut impl Outbox) {
        let Some(entry) = self.legs.get_mut(key) else {
            return;
        };
        let publication = entry.source;
        if let Some(waiting) = self.awaited.get_mut(&publication) {
            // The answer to the request makes a mirror without legs, which is given back then.
            waiting.retain(|leg| *leg != key);
        }
        let Some(track_key) = entry.track.take() else {
            return;
        };
        let Some(track) = self.tracks.get_mut(track_key) else {
            return;
        };
        track.legs.retain(|leg| *leg != key);
        if let Origin::Mirrored(owner) = track.origin
            && track.legs.is_empty()
        {
            self.tracks.remove(track_key);
            self.by_id.remove(&publication);
            out.relay(owner, RelayMessage::Unsubscribe { publication }, &[]);
        }
    }

    /// The owner has told what a publication is: the mirror is made, and its legs are fed. Returns
    /// those legs.
    pub(crate) fn described(
        &mut self,
        id: PublicationId,
        kind: shared::protocol::MediaKind,
        layers: &Layers,
        formats: Formats,
        out: &mut impl Outbox,
    ) -> Vec<LegKey> {
        let Some(legs) = self.awaited.remove(&id) else {
            return Vec::new();
        };
        let owner = id.session.shard();
        if legs.is_empty() {
            out.relay(owner, RelayMessage::Unsubscribe { publication: id }, &[]);
            return legs;
        }
        let track = self.tracks.insert(Track {
            publication: Publication::mirror(id, kind, layers, formats),
            origin: Origin::Mirrored(owner),
            legs: legs.clone(),
            remote_shards: Vec::new(),
            mid: shared::protocol::Mid::new(),
            receiving: false,
        });
        self.by_id.insert(id, track);
        for leg in &legs {
            if let Some(entry) = self.legs.get_mut(*leg) {
                entry.track = Some(track);
            }
        }
        legs
    }

    /// The owner has told that a publication is gone.
    pub(crate) fn gone(&mut self, id: PublicationId, out: &mut impl Outbox) {
        self.awaited.remove(&id);
        if let Some(key) = self.find(id)
            && matches!(
                self.tracks.get(key).map(|track| track.origin),
                Some(Origin::Mirrored(_))
            )
        {
            self.end(key, out);
        }
    }

    /// Which of a session's publications a packet of an unknown SSRC belongs to (RFC 8843 §9.2).
    pub(crate) fn identify(
        &self,
        publications: impl Iterator<Item = PublicationKey>,
        identity: &Identity<'_>,
        payload_type: u8,
    ) -> Option<Binding> {
        let mut candidates = publications.filter_map(|key| {
            let track = self.tracks.get(key)?;
            let (layer, stream) = track.identify(identity, payload_type)?;
            Some(Binding {
                publication: key,
                layer,
                stream,
            })
        });
        let binding = candidates.next()?;
        // A mid names one section; a payload type alone must not be ambiguous.
        (identity.mid.is_some() || candidates.next().is_none()).then_some(binding)
    }

    /// Every track, with whether a packet came lately if that has changed.
    pub(crate) fn refresh(&mut self, now: Timestamp) -> Vec<PublicationKey> {
        let mut changed = Vec::new();
        for (key, track) in &mut self.tracks {
            let receiving = track.publication.receiving(now);
            if receiving != track.receiving {
                track.receiving = receiving;
                changed.push(key);
            }
        }
        changed
    }

    /// Lets the legs of simulcast tracks choose their layers anew, by how those are received now.
    /// Adds to `wishes` the layers that a leg needs a key frame of whose session `is_there`.
    pub(crate) fn select_layers(
        &mut self,
        now: Timestamp,
        is_there: impl Fn(SessionKey) -> bool,
        wishes: &mut Vec<Wish>,
    ) {
        for (key, track) in &self.tracks {
            if track.publication.layers().len() < 2 {
                continue;
            }
            for leg in &track.legs {
                let Some(entry) = self.legs.get_mut(*leg) else {
                    continue;
                };
                entry.leg.select(now, &track.publication);
                let wanted = entry.leg.wants_keyframe();
                let wanted = wanted.filter(|_| is_there(entry.session));
                wishes.extend(wanted.map(|layer| (key, layer)));
            }
        }
    }

    /// Adds to `wishes` the layers whose request for a key frame is to be repeated now.
    pub(crate) fn unanswered(&self, now: Timestamp, wishes: &mut Vec<Wish>) {
        for (key, track) in &self.tracks {
            for (index, layer) in (0..).zip(track.publication.layers()) {
                if layer.keyframes.next_at().is_some_and(|at| at <= now) {
                    wishes.push((key, index));
                }
            }
        }
    }

    pub(crate) fn owned(&self) -> usize {
        self.tracks.len() - self.mirrored()
    }

    pub(crate) fn mirrored(&self) -> usize {
        let origins = self.tracks.values().map(|track| track.origin);
        origins
            .filter(|origin| matches!(origin, Origin::Mirrored(_)))
            .count()
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.legs.len()
    }

    /// How many legs there are for each reason why they get no better layer, as last measured.
    pub(crate) fn reasons(&self) -> &ReasonTally {
        &self.reasons
    }
}

impl Track {
    /// Which of its streams a packet is, if it is one of its own.
    fn identify(&self, identity: &Identity<'_>, payload_type: u8) -> Option<(u8, Stream)> {
        if identity.mid.is_some_and(|mid| mid != self.mid.as_bytes()) {
            return None;
        }
        let retransmission = self.publication.is_retransmission(payload_type);
        if !retransmission && self.publication.codec(payload_type).is_none() {
            return None;
        }
        let stream = if retransmission {
            Stream::Retransmission
        } else {
            Stream::Media
        };
        let rid = if retransmission {
            identity.repaired_rid
        } else {
            identity.rid
        };
        let layer = match rid {
            Some(rid) => self
                .publication
                .layer_of_rid(core::str::from_utf8(rid).ok()?)?,
            // Without a rid there must be but one layer.
            None if self.publication.layers().len() == 1 => 0,
            None => return None,
        };
        Some((layer, stream))
    }
}
