//! What other shards say.

use shared::counters::{Counter, DropReason};
use shared::id::{PublicationId, ShardIndex};

use super::Shard;
use super::tracks::Origin;
use crate::ingress::report::ClockMapping;
use crate::outbox::Outbox;
use crate::relay::RelayMessage;
use crate::time::Timestamp;

impl Shard {
    pub(super) fn relayed(
        &mut self,
        now: Timestamp,
        from: ShardIndex,
        message: RelayMessage,
        packet: &[u8],
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        match message {
            RelayMessage::Subscribe { publication } => self.relay_to(publication, from, out),
            RelayMessage::Unsubscribe { publication } => {
                let key = self.tracks.find(publication);
                if let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) {
                    track.remote_shards.retain(|shard| *shard != from);
                }
            }
            RelayMessage::KeyframeNeeded { publication, layer } => {
                if let Some(key) = self.tracks.find(publication) {
                    self.need_keyframe(now, key, layer, out);
                }
            }
            RelayMessage::Described {
                publication,
                kind,
                layers,
                formats,
            } => {
                for leg in self
                    .tracks
                    .described(publication, kind, &layers, formats, out)
                {
                    self.start_leg(now, leg, out);
                }
            }
            RelayMessage::Gone { publication } => self.tracks.gone(publication, out),
            RelayMessage::Packet {
                publication,
                layer,
                sequence_number,
                received_at,
            } => {
                let Some(key) = self.tracks.find(publication) else {
                    return Ok(());
                };
                let Some(track) = self.tracks.get_mut(key) else {
                    return Ok(());
                };
                self.counters.increment(Counter::RelayPacketsReceived);
                let accepted =
                    track
                        .publication
                        .insert(received_at, layer, sequence_number, packet)?;
                self.turn.add(key, layer, accepted);
            }
            RelayMessage::SenderReport {
                publication,
                layer,
                ntp,
                rtp_timestamp,
            } => {
                let key = self.tracks.find(publication);
                let track = key.and_then(|key| self.tracks.get_mut(key));
                if let Some(layer) = track.and_then(|track| track.publication.layer_mut(layer)) {
                    layer.set_clock_mapping(ClockMapping { ntp, rtp_timestamp });
                }
            }
        }
        Ok(())
    }

    /// Another shard wants a publication of ours, and is told first what it is.
    fn relay_to(&mut self, id: PublicationId, shard: ShardIndex, out: &mut impl Outbox) {
        let key = self.tracks.find(id);
        let track = key.and_then(|key| self.tracks.get_mut(key));
        let Some(track) = track.filter(|track| matches!(track.origin, Origin::Owned(_))) else {
            out.relay(shard, RelayMessage::Gone { publication: id }, &[]);
            return;
        };
        if !track.remote_shards.contains(&shard) {
            track.remote_shards.push(shard);
        }
        out.relay(shard, track.publication.described(), &[]);
        for (index, layer) in (0..).zip(track.publication.layers()) {
            if let Some(mapping) = layer.clock_mapping() {
                out.relay(shard, sender_report(id, index, mapping), &[]);
            }
        }
    }
}

/// The message that carries a layer's clock to the mirrors.
pub(super) fn sender_report(
    publication: PublicationId,
    layer: u8,
    mapping: ClockMapping,
) -> RelayMessage {
    let ClockMapping { ntp, rtp_timestamp } = mapping;
    RelayMessage::SenderReport {
        publication,
        layer,
        ntp,
        rtp_timestamp,
    }
}
