//! Key frames: who needs one, and who is asked for it.

use shared::counters::Counter;

use super::Shard;
use super::tracks::{LegKey, Origin, PublicationKey};
use crate::ingress::keyframe::KeyframeRequest;
use crate::outbox::Outbox;
use crate::relay::RelayMessage;
use crate::time::Timestamp;

impl Shard {
    /// A leg begins, or its session has connected: it needs a key frame of the layer that it is to
    /// get.
    pub(super) fn start_leg(&mut self, now: Timestamp, key: LegKey, out: &mut impl Outbox) {
        let Some((entry, track)) = self.tracks.leg_and_track(key) else {
            return;
        };
        entry.leg.select(now, &track.publication);
        let session = entry.session;
        self.allocate(now, session, out);
        let Some((entry, _)) = self.tracks.leg_and_track(key) else {
            return;
        };
        if let (Some(track), Some(layer)) = (entry.track, entry.leg.wants_keyframe()) {
            self.need_keyframe(now, track, layer, out);
        }
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
            if let Some(entry) = entry.filter(|entry| entry.leg.hints().max_height.is_some()) {
                self.current = Some(entry.session);
                self.start_leg(now, leg, out);
            }
        }
        self.current = None;
    }

    /// Someone needs a key frame of a layer. It is asked for at once unless it was just now.
    pub(super) fn need_keyframe(
        &mut self,
        now: Timestamp,
        key: PublicationKey,
        layer: u8,
        out: &mut impl Outbox,
    ) {
        let track = self.tracks.get_mut(key);
        if let Some(layer) = track.and_then(|track| track.publication.layer_mut(layer)) {
            layer.keyframes.need();
        }
        self.ask_for_keyframe(now, key, layer, out);
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
