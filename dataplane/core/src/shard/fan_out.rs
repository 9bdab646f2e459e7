//! The end of a turn: all media that it brought goes out, publication by publication and leg by
//! leg, so that a leg's packets stand together and can leave as one message.

use arrayvec::ArrayVec;
use shared::counters::{Counter, DropReason};
use shared::id::ShardIndex;
use shared::protocol::MediaKind;

use super::Shard;
use super::runs::equalize;
use super::tracks::{LegEntry, LegKey, PublicationKey, Track};
use super::way::{Packet, Way};
use crate::ingress::Accepted;
use crate::ingress::layer::Layer;
use crate::outbox::Outbox;
use crate::relay::RelayMessage;
use crate::time::Timestamp;

/// The packets that a turn brought, in the order in which they came. The owner of the shard bounds
/// a turn by the size of its receive batch.
#[derive(Debug)]
pub(super) struct Turn {
    pending: Vec<Pending>,
}

/// A packet that stands in the cache of its layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    publication: PublicationKey,
    order: u32,
    pub(super) layer: u8,
    pub(super) sequence_number: u64,
    /// [`Accepted::newest`].
    pub(super) newest: bool,
    /// [`Accepted::resized`].
    resized: bool,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            pending: Vec::with_capacity(TURN_PACKETS),
        }
    }
}

impl Turn {
    /// Notes a packet that was put in the cache.
    pub(super) fn add(&mut self, publication: PublicationKey, layer: u8, accepted: Accepted) {
        let order = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        self.pending.push(Pending {
            publication,
            order,
            layer,
            sequence_number: accepted.sequence_number,
            newest: accepted.newest,
            resized: accepted.resized,
        });
    }

    /// Forgets the turn.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }
}

impl Shard {
    pub(super) fn fan_out(&mut self, now: Timestamp, out: &mut impl Outbox) {
        if self.turn.pending.is_empty() {
            return;
        }
        // Taken out so that the shard can be changed while it is walked; put back for its memory.
        let mut pending = core::mem::take(&mut self.turn.pending);
        // Unstable, since the stable sort allocates; the order of coming is part of the key.
        pending.sort_unstable_by_key(|packet| (packet.publication, packet.order));
        for packets in pending.chunk_by(|a, b| a.publication == b.publication) {
            if let Some(publication) = packets.first().map(|packet| packet.publication) {
                self.relay_out(publication, packets, out);
                // All before any leaves: what is padded must not have left, and nobody may begin with
                // a key frame that turns out to be too high.
                self.pad(publication, packets);
                if packets.iter().any(|packet| packet.resized) {
                    self.choose_by_height(now, publication, out);
                }
                let mut rest = packets;
                while !rest.is_empty() {
                    let (batch, later) = rest.split_at(rest.len().min(BATCH_MAX));
                    self.forward(now, publication, batch, later, out);
                    rest = later;
                }
            }
        }
        pending.clear();
        self.turn.pending = pending;
    }

    /// Lets the video of a turn leave in few messages. Packets of audio come one at a time, so there
    /// is nothing to gain.
    fn pad(&mut self, publication: PublicationKey, packets: &[Pending]) {
        if packets.len() > 1
            && let Some(track) = self.tracks.get_mut(publication)
            && track.publication.kind() == MediaKind::Video
        {
            for batch in packets.chunks(BATCH_MAX) {
                equalize(&mut track.publication, batch);
            }
        }
    }

    /// Gives a batch of one publication to all legs, and asks for the key frames that these miss.
    /// `later` is what the turn has of it behind the batch.
    fn forward(
        &mut self,
        now: Timestamp,
        publication: PublicationKey,
        batch: &[Pending],
        later: &[Pending],
        out: &mut impl Outbox,
    ) {
        let mut wanted = self.walk_legs(now, publication, batch, later, out);
        while wanted != 0 {
            let layer = wanted.trailing_zeros();
            wanted &= wanted - 1;
            // Below 32, so it fits.
            let layer = u8::try_from(layer).unwrap_or_default();
            self.wish_keyframe(now, publication, layer, out);
        }
    }

    /// The packets are looked up once, then given to each leg. Returns the layers that a key frame
    /// is needed of, one bit each.
    fn walk_legs(
        &mut self,
        now: Timestamp,
        publication: PublicationKey,
        batch: &[Pending],
        later: &[Pending],
        out: &mut impl Outbox,
    ) -> u32 {
        let mut keyframes_wanted = 0;
        let Some((track, legs)) = self.tracks.fan_out_mut(publication) else {
            return keyframes_wanted;
        };
        let packets: ArrayVec<Packet<'_>, BATCH_MAX> = batch
            .iter()
            .filter_map(|pending| Packet::find(track, pending.layer, pending.sequence_number))
            .collect();
        for leg in &track.legs {
            let Some(entry) = legs.get_mut(*leg) else {
                continue;
            };
            self.current = Some(entry.session);
            let session = self.sessions.get_mut(entry.session);
            let Some(mut way) = session.and_then(|s| Way::to(s, &mut self.counters, out)) else {
                for _ in &packets {
                    self.counters.dropped(DropReason::SubscriberNotConnected);
                }
                continue;
            };
            let mut rest = packets.as_slice();
            while let Some((packet, others)) = rest.split_first() {
                rest = others;
                if way.forward(now, (*leg, entry), packet) {
                    let to_come = ToCome { batch: rest, later };
                    way.catch_up(now, track, (*leg, entry), packet, &to_come);
                }
            }
            // Probes are begun by feedback and by ticks, which see to it themselves.
            if let Some(congestion) = way.congestion()
                && congestion.has_waiting()
            {
                self.pacing.add(now, entry.session, congestion);
            }
            if let Some(layer) = entry.leg.wants_keyframe() {
                keyframes_wanted |= 1 << layer;
            }
        }
        self.current = None;
        keyframes_wanted
    }

    /// Copies each packet once to every other shard that has legs of it.
    fn relay_out(
        &mut self,
        publication: PublicationKey,
        packets: &[Pending],
        out: &mut impl Outbox,
    ) {
        let Some(track) = self.tracks.get(publication) else {
            return;
        };
        for shard in &track.remote_shards {
            for packet in packets {
                let sent = relay_packet(track, *shard, *packet, out);
                match sent {
                    Some(true) => self.counters.increment(Counter::RelayPacketsSent),
                    Some(false) => self.counters.dropped(DropReason::RelayFull),
                    None => {}
                }
            }
        }
    }
}

fn relay_packet(
    track: &Track,
    shard: ShardIndex,
    packet: Pending,
    out: &mut impl Outbox,
) -> Option<bool> {
    let cached = track
        .publication
        .packet(packet.layer, packet.sequence_number)?;
    let message = RelayMessage::Packet {
        publication: track.publication.id(),
        layer: packet.layer,
        sequence_number: packet.sequence_number,
        received_at: cached.received_at,
    };
    Some(out.relay(shard, message, cached.bytes))
}

impl<O: Outbox> Way<'_, O> {
    /// Sends what had overtaken the packet that the leg starts with: one that was lost and came as
    /// a repair. The leg refused all of it, since it waited for that one. What comes `later` in
    /// this turn is still to be forwarded.
    fn catch_up(
        &mut self,
        now: Timestamp,
        track: &Track,
        (key, entry): (LegKey, &mut LegEntry),
        first: &Packet<'_>,
        to_come: &ToCome<'_>,
    ) {
        let layer = first.layer;
        let highest = track.publication.layer(layer).and_then(Layer::highest);
        let Some(highest) = highest else {
            return;
        };
        for sequence_number in (first.sequence_number + 1..=highest).take(CATCH_UP_MAX) {
            if to_come.contains(layer, sequence_number) {
                continue;
            }
            if let Some(packet) = Packet::find(track, layer, sequence_number) {
                self.forward(now, (key, entry), &packet);
            }
        }
    }
}

/// What the turn still has for a leg.
struct ToCome<'a> {
    /// Of the batch that is being forwarded.
    batch: &'a [Packet<'a>],
    /// Behind that batch.
    later: &'a [Pending],
}

impl ToCome<'_> {
    fn contains(&self, layer: u8, sequence_number: u64) -> bool {
        let wanted = (layer, sequence_number);
        let mut batch = self.batch.iter();
        let mut later = self.later.iter();
        batch.any(|packet| (packet.layer, packet.sequence_number) == wanted)
            || later.any(|packet| (packet.layer, packet.sequence_number) == wanted)
    }
}

/// Packets of one publication that are fanned out together: as many as one receive call brings.
pub(super) const BATCH_MAX: usize = 64;

/// Packets that follow at once when a leg starts with a repaired one: half a second of 5 Mb/s. What
/// is beyond them the subscriber asks for again.
const CATCH_UP_MAX: usize = 256;

/// Room for the packets of an ordinary turn.
const TURN_PACKETS: usize = 1024;
