//! One packet on its way to one subscriber: whether it leaves now, and what it leaves as. Which packets
//! that are is decided by `fan_out`, `congestion` and `feedback`.

use shared::counters::{Counter, Counters, DropReason};
use shared::protocol::MediaKind;

use super::tracks::{LegEntry, LegKey, Track};
use crate::bwe::Admission;
use crate::egress::{Forwarded, Part, PayloadSource, Repeat, Written};
use crate::ingress::cache::CachedPacket;
use crate::outbox::{Outbox, Path};
use crate::session::Session;
use crate::session::congestion::{Congestion, Waiting};
use crate::srtp::SrtpSender;
use crate::time::Timestamp;

/// A packet of a publication, and where it stands there.
pub(super) struct Packet<'a> {
    pub(super) layer: u8,
    pub(super) sequence_number: u64,
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

    /// What is known of the path to the subscriber, if anything is.
    pub(super) fn congestion(&mut self) -> Option<&mut Congestion> {
        self.congestion.as_deref_mut()
    }

    /// Sends one packet if it is for this subscriber, now or when its turn comes. Returns whether
    /// the leg starts with it, or will.
    pub(super) fn forward(
        &mut self,
        now: Timestamp,
        (key, entry): (LegKey, &mut LegEntry),
        packet: &Packet<'_>,
    ) -> bool {
        match self.take_turn(now, (key, entry), packet) {
            Verdict::Now(pace) => self.send(now, entry, packet, pace),
            Verdict::Later { begins } => {
                self.counters.increment(Counter::RtpPacketsPaced);
                begins
            }
            Verdict::Never(reason) => {
                self.counters.dropped(reason);
                false
            }
        }
    }

    /// Decides when a packet leaves. The pacer is asked about those of pictures that are a part of what
    /// their leg forwards.
    fn take_turn(
        &mut self,
        now: Timestamp,
        (key, entry): (LegKey, &mut LegEntry),
        packet: &Packet<'_>,
    ) -> Verdict {
        let Some(congestion) = &mut self.congestion else {
            return Verdict::Now(Pace::Unpaced);
        };
        if entry.leg.kind() != MediaKind::Video {
            return Verdict::Now(Pace::Unpaced);
        }
        let (layer, sequence_number) = (packet.layer, packet.sequence_number);
        let part = entry.leg.part(layer, sequence_number, &packet.cached);
        match part {
            Part::None => return Verdict::Now(Pace::Unpaced),
            Part::Former => return Verdict::Never(DropReason::LayerNotSelected),
            Part::Past => return Verdict::Never(DropReason::TooLate),
            // What is left of the source before would come between.
            Part::Beginning => {
                clear_waiting(congestion, self.counters, key);
            }
            Part::Next => {}
        }
        let waiting = Waiting {
            leg: key,
            layer,
            sequence_number,
        };
        match congestion.admit(now, waiting, packet.cached.bytes.len()) {
            Admission::SendNow => Verdict::Now(Pace::Paced),
            Admission::Queued => {
                let begins = part == Part::Beginning;
                if begins {
                    entry.leg.expect(layer, sequence_number, &packet.cached);
                }
                Verdict::Later { begins }
            }
            Admission::Full => {
                let cleared = clear_waiting(congestion, self.counters, key);
                entry.leg.interrupt();
                entry.leg.statistics.count_dropped(1 + cleared);
                Verdict::Never(DropReason::PacerFull)
            }
        }
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
}

/// Whether the pacer was asked about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Paced,
    Unpaced,
}

/// When a packet leaves.
enum Verdict {
    Now(Pace),
    /// Whether its leg begins with it.
    Later {
        begins: bool,
    },
    Never(DropReason),
}

/// Nothing leaves of what waits of a leg. Returns how many packets that were, which are counted.
pub(super) fn clear_waiting(
    congestion: &mut Congestion,
    counters: &mut Counters,
    leg: LegKey,
) -> usize {
    let cleared = congestion.forget(leg);
    counters.dropped_times(DropReason::PacerCleared, cleared);
    cleared
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
