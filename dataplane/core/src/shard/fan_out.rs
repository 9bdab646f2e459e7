//! The end of a turn: all media that it brought goes out, publication by publication and leg by
//! leg, so that a leg's packets stand together and can leave as one message.

use arrayvec::ArrayVec;
use shared::counters::{Counter, Counters, DropReason};
use shared::id::ShardIndex;
use shared::protocol::MediaKind;

use super::Shard;
use super::runs::equalize;
use super::tracks::{LegEntry, LegKey, PublicationKey, Track};
use crate::bwe::Admission;
use crate::egress::{Forwarded, Part, PayloadSource, Repeat, Written};
use crate::ingress::Accepted;
use crate::ingress::cache::CachedPacket;
use crate::ingress::layer::Layer;
use crate::outbox::{Outbox, Path};
use crate::relay::RelayMessage;
use crate::session::Session;
use crate::session::congestion::{Congestion, Waiting};
use crate::srtp::SrtpSender;
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
            self.need_keyframe(now, publication, layer, out);
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
            if let Some(congestion) = &mut way.congestion
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

/// A packet that is being fanned out.
pub(super) struct Packet<'a> {
    layer: u8,
    sequence_number: u64,
    cached: CachedPacket<'a>,
}

impl<'a> Packet<'a> {
    pub(super) fn find(track: &'a Track, layer: u8, sequence_number: u64) -> Option<Self> {
        Some(Self {
            layer,
            sequence_number,
            cached: track.publication.packet(layer, sequence_number)?,
        })
    }
}

/// Everything about one subscriber that does not change from packet to packet.
pub(super) struct Way<'a, O> {
    path: Path,
    sender: &'a SrtpSender,
    congestion: Option<&'a mut Congestion>,
    counters: &'a mut Counters,
    out: &'a mut O,
}

impl<'a, O: Outbox> Way<'a, O> {
    /// None while the session is not connected.
    pub(super) fn to(
        session: &'a mut Session,
        counters: &'a mut Counters,
        out: &'a mut O,
    ) -> Option<Self> {
        let (path, sender) = session.transport.media_route()?;
        Some(Self {
            path,
            sender,
            congestion: session.congestion.as_deref_mut(),
            counters,
            out,
        })
    }

    /// Sends one packet if it is for this subscriber, now or when its turn comes. Returns whether
    /// the leg starts with it.
    fn forward(
        &mut self,
        now: Timestamp,
        (key, entry): (LegKey, &mut LegEntry),
        packet: &Packet<'_>,
    ) -> bool {
        if let Some(congestion) = &mut self.congestion
            && entry.leg.kind() == MediaKind::Video
        {
            let part = entry.leg.part(packet.layer, &packet.cached);
            if part != Part::None {
                let verdict = take_turn(congestion, now, (key, entry), packet, part);
                match verdict {
                    Verdict::Now => return self.send(now, entry, packet, Pace::Paced),
                    Verdict::Later => self.counters.increment(Counter::RtpPacketsPaced),
                    Verdict::Never(reason) => self.counters.dropped(reason),
                }
                return false;
            }
        }
        self.send(now, entry, packet, Pace::Unpaced)
    }

    /// Sends one packet whose turn has come. Returns whether the leg starts with it.
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        entry: &mut LegEntry,
        packet: &Packet<'_>,
        pace: Pace,
    ) -> bool {
        let (layer, sequence_number) = (packet.layer, packet.sequence_number);
        let cached = &packet.cached;
        let forwarded = match entry.leg.forward(now, layer, sequence_number, cached) {
            Ok(forwarded) => forwarded,
            Err(reason) => {
                self.counters.dropped(reason);
                if let (Some(congestion), Pace::Paced) = (&mut self.congestion, pace) {
                    congestion.take_back(cached.bytes.len());
                }
                return false;
            }
        };
        let number = self.next_number(entry);
        let mut sent = 0;
        self.out.datagram(self.path, |slot| {
            sent = seal(entry, (&forwarded, number), cached, self.sender, slot).unwrap_or(0);
            sent
        });
        if let (Some(congestion), 1..) = (&mut self.congestion, sent) {
            match pace {
                Pace::Paced => congestion.sent(now, number, sent),
                Pace::Unpaced => congestion.sent_unpaced(now, number, sent),
            }
        }
        self.counters.increment(Counter::RtpPacketsForwarded);
        if forwarded.switched {
            self.counters.increment(Counter::LayerSwitches);
        }
        forwarded.starts
    }

    /// Sends a packet again, asked for or as a probe. Returns its size, zero if it did not leave.
    pub(super) fn repeat(
        &mut self,
        now: Timestamp,
        entry: &LegEntry,
        repeat: &Repeat<'_>,
    ) -> usize {
        let number = self.next_number(entry).filter(|_| repeat.rtx.is_some());
        let write = |slot: &mut [u8]| entry.leg.write_repeat(repeat, number, slot);
        self.send_written(now, number, write)
    }

    /// Sends what `write` leaves in the slot, unpaced. Returns its size, zero if it did not leave.
    pub(super) fn send_written<'w>(
        &mut self,
        now: Timestamp,
        number: Option<u16>,
        write: impl FnOnce(&mut [u8]) -> Option<Written<'w>>,
    ) -> usize {
        let mut sent = 0;
        self.out.datagram(self.path, |slot| {
            let written = write(slot);
            let sealed = written.and_then(|written| seal_written(&written, self.sender, slot));
            sent = sealed.unwrap_or(0);
            sent
        });
        if let (Some(congestion), 1..) = (&mut self.congestion, sent) {
            congestion.sent_unpaced(now, number, sent);
        }
        sent
    }

    /// The transport-wide sequence number of the next packet of a leg.
    pub(super) fn next_number(&self, entry: &LegEntry) -> Option<u16> {
        entry.leg.number_id()?;
        Some(self.congestion.as_ref()?.next_number())
    }

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

/// Whether the pacer was asked about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Paced,
    Unpaced,
}

/// When a packet leaves.
enum Verdict {
    Now,
    Later,
    Never(DropReason),
}

/// Asks the pacer when a packet leaves that is a part of what its leg forwards.
fn take_turn(
    congestion: &mut Congestion,
    now: Timestamp,
    (key, entry): (LegKey, &mut LegEntry),
    packet: &Packet<'_>,
    part: Part,
) -> Verdict {
    match part {
        Part::Former => return Verdict::Never(DropReason::LayerNotSelected),
        // What is left of the source before would come between.
        Part::Beginning => congestion.forget(key),
        Part::Next | Part::None => {}
    }
    let waiting = Waiting {
        leg: key,
        layer: packet.layer,
        sequence_number: packet.sequence_number,
    };
    match congestion.admit(now, waiting, packet.cached.bytes.len()) {
        Admission::SendNow => Verdict::Now,
        Admission::Queued => {
            if part == Part::Beginning {
                entry.leg.expect(packet.layer, &packet.cached);
            }
            Verdict::Later
        }
        Admission::Full => {
            congestion.forget(key);
            entry.leg.interrupt();
            entry.leg.statistics.count_dropped();
            Verdict::Never(DropReason::PacerFull)
        }
    }
}

/// Writes and seals one packet. The payload goes from the cache into the slot in the one pass that
/// encrypts it, unless the leg had to change it.
fn seal(
    entry: &mut LegEntry,
    (forwarded, number): (&Forwarded, Option<u16>),
    cached: &CachedPacket<'_>,
    sender: &SrtpSender,
    slot: &mut [u8],
) -> Option<usize> {
    let written = entry.leg.write(forwarded, number, cached, slot)?;
    seal_written(&written, sender, slot)
}

fn seal_written(written: &Written<'_>, sender: &SrtpSender, slot: &mut [u8]) -> Option<usize> {
    let (ssrc, index, header_len) = (written.ssrc, written.index, written.header_len);
    match written.payload {
        PayloadSource::Shared(payload) => sender.seal_rtp(ssrc, index, header_len, payload, slot),
        PayloadSource::InSlot(len) => sender.seal_rtp_in_place(ssrc, index, header_len, len, slot),
    }
}

/// Packets of one publication that are fanned out together: as many as one receive call brings.
pub(super) const BATCH_MAX: usize = 64;

/// Packets that follow at once when a leg starts with a repaired one: half a second of 5 Mb/s. What
/// is beyond them the subscriber asks for again.
const CATCH_UP_MAX: usize = 256;

/// Room for the packets of an ordinary turn.
const TURN_PACKETS: usize = 1024;
