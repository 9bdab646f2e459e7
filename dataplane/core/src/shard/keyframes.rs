//! Key frames: who needs one, and who is asked for it.

use shared::counters::Counter;

use super::Shard;
use super::sessions::SessionKey;
use super::tracks::{LegKey, Origin, PublicationKey, Wish as KeyframeWish};
use crate::ingress::keyframe::{KeyframeRequest, KeyframeRequester};
use crate::outbox::Outbox;
use crate::relay::RelayMessage;
use crate::time::Timestamp;

impl Shard {
    /// A leg begins: it needs a key frame of the layer that it is to get.
    pub(super) fn start_leg(&mut self, now: Timestamp, key: LegKey, out: &mut impl Outbox) {
        let session = self.tracks.leg(key).map(|entry| entry.session);
        if let Some(session) = session {
            self.start_legs(now, session, &[key], out);
        }
    }

    /// Legs of a session begin, or it has connected. What its path carries is shared out once for all of
    /// them: each time looks at every leg of the session.
    pub(super) fn start_legs(
        &mut self,
        now: Timestamp,
        session: SessionKey,
        legs: &[LegKey],
        out: &mut impl Outbox,
    ) {
        for leg in legs {
            self.select(now, *leg);
        }
        self.allocate(now, session, out);
        for leg in legs {
            if let Some((track, layer)) = self.keyframe_of(*leg) {
                self.need_keyframe(now, track, layer, out);
            }
        }
    }

    /// Lets a leg choose among the layers that are received.
    fn select(&mut self, now: Timestamp, key: LegKey) {
        if let Some((entry, track)) = self.tracks.leg_and_track(key) {
            entry.leg.select(now, &track.publication);
        }
    }

    /// What a leg needs a key frame of.
    pub(super) fn keyframe_of(&self, key: LegKey) -> Option<KeyframeWish> {
        let entry = self.tracks.leg(key)?;
        entry.track.zip(entry.leg.wants_keyframe())
    }

    /// The pictures of a publication have become higher or lower: those who want them no higher than
    /// they have use for choose anew.
    pub(super) fn choose_by_height(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        out: &mut impl Outbox,
    ) {
        let mut position = 0;
        while let Some(leg) = self.tracks.leg_at(key, position) {
            position += 1;
            let entry = self.tracks.leg(leg);
            let Some(entry) = entry.filter(|entry| entry.leg.hints().max_height.is_some()) else {
                continue;
            };
            let session = entry.session;
            self.current = Some(session);
            self.select(now, leg);
            self.allocate(now, session, out);
            let wanted = self.keyframe_of(leg);
            self.need_if_there(now, session, wanted, out);
        }
        self.current = None;
    }

    /// A leg of this session needs a key frame, if it needs any: it is asked for if somebody is there
    /// to see it.
    pub(super) fn need_if_there(
        &mut self,
        now: Timestamp,
        session: SessionKey,
        wanted: Option<KeyframeWish>,
        out: &mut impl Outbox,
    ) {
        if let (Some((track, layer)), true) = (wanted, self.sessions.is_connected(session)) {
            self.need_keyframe(now, track, layer, out);
        }
    }

    /// A leg could go on with a key frame of a layer. It is asked for unless it was just now; then the
    /// wish has to be made again.
    pub(super) fn wish_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        layer: u8,
        out: &mut impl Outbox,
    ) {
        if let Some(keyframes) = self.keyframes(key, layer) {
            keyframes.wish(now);
            self.ask_for_keyframe(now, key, layer, out);
        }
    }

    /// Makes all wishes of a list, and empties it.
    pub(super) fn wish_keyframes(
        &mut self,
        now: Timestamp,
        wishes: &mut Vec<KeyframeWish>,
        out: &mut impl Outbox,
    ) {
        for (publication, layer) in wishes.drain(..) {
            self.wish_keyframe(now, publication, layer, out);
        }
    }

    /// A subscriber asks for a key frame of what it gets. That is passed on as often as it may have one
    /// made, and does not count where one is on its way.
    pub(super) fn keyframe_asked(&mut self, now: Timestamp, leg: LegKey, out: &mut impl Outbox) {
        let entry = self.tracks.leg(leg);
        let wanted = entry.and_then(|entry| entry.track.zip(entry.leg.keyframe_layer()));
        let Some((track, layer)) = wanted else { return };
        let keyframes = self.keyframes(track, layer);
        if keyframes.is_none_or(|keyframes| keyframes.is_needed()) {
            return;
        }
        let entry = self.tracks.leg_mut(leg);
        if entry.is_some_and(|entry| entry.leg.spend_keyframe(now)) {
            self.need_keyframe(now, track, layer, out);
        }
    }

    /// Someone needs a key frame of a layer, and will not say so again. It is asked for at once unless
    /// it was just now.
    pub(super) fn need_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        layer: u8,
        out: &mut impl Outbox,
    ) {
        if let Some(keyframes) = self.keyframes(key, layer) {
            keyframes.need();
            self.ask_for_keyframe(now, key, layer, out);
        }
    }

    fn keyframes(&mut self, key: PublicationKey, layer: u8) -> Option<&mut KeyframeRequester> {
        let track = self.tracks.get_mut(key)?;
        let layer = track.publication.layer_mut(layer)?;
        Some(&mut layer.keyframes)
    }

    /// Passes the request on if it is due: to the publisher, or to the shard that owns it.
    pub(super) fn ask_for_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        index: u8,
        out: &mut impl Outbox,
    ) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let (origin, publication) = (track.origin, track.publication.id());
        let Some(layer) = track.publication.layer_mut(index) else {
            return;
        };
        // Without an SSRC there is nobody to ask yet; the need stays.
        let ssrc = layer.ssrc();
        if matches!(origin, Origin::Owned(_)) && ssrc.is_none() {
            return;
        }
        let Some(request) = layer.keyframes.poll(now) else {
            return;
        };
        match origin {
            Origin::Mirrored(owner) => {
                let message = RelayMessage::KeyframeNeeded {
                    publication,
                    layer: index,
                };
                out.relay(owner, message, &[]);
            }
            Origin::Owned(session) => {
                let media = ssrc.unwrap_or_default();
                self.counters.increment(Counter::KeyframeRequestsSent);
                self.send_rtcp(session, out, |sender, writer| {
                    writer.receiver_report(sender, &[]);
                    match request {
                        KeyframeRequest::PictureLossIndication => {
                            writer.picture_loss_indication(sender, media)
                        }
                        KeyframeRequest::FullIntraRequest { sequence_number } => {
                            writer.full_intra_request(sender, media, sequence_number)
                        }
                    };
                });
            }
        }
    }
}
