//! What the paths to subscribers carry, and what follows from it: which layers their legs get, which
//! packets wait, what is sent to learn more.

mod legs;

use core::time::Duration;

use shared::counters::{Counter, DropReason, Histogram};
use shared::protocol::{LayerReason, MediaKind};

use super::Shard;
use super::sessions::SessionKey;
use super::tracks::{LegKey, Tracks};
use super::way::{Pace, Packet, Way, clear_waiting};
use crate::bwe::allocation::{LegKind, Reason, Share, Wish};
use crate::bwe::{ProbePacket, Released};
use crate::egress::{Allowance, Granted, Ladder, Step};
use crate::ingress::content_type::ContentType;
use crate::outbox::Outbox;
use crate::rtcp::TransportFeedback;
use crate::session::congestion::{Congestion, LegState, Waiting};
use crate::time::Timestamp;

/// The sessions that have something waiting, or a probe under way: they are looked at between ticks.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    sessions: Vec<SessionKey>,
    next: Option<Timestamp>,
}

impl Pacing {
    /// Looks at a session between ticks, if there is anything to look for.
    pub(super) fn add(&mut self, now: Timestamp, key: SessionKey, congestion: &mut Congestion) {
        let Some(at) = congestion.next_at(now) else {
            return;
        };
        if !core::mem::replace(&mut congestion.is_listed, true) {
            self.sessions.push(key);
        }
        // Also if it is listed: a packet of a probe must not hold up one that waits.
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// A session has no congestion control any more.
    fn remove(&mut self, key: SessionKey) {
        self.sessions.retain(|other| *other != key);
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.next
    }
}

impl Shard {
    /// Shares out what the path to a client carries, and lets its legs have what follows from it.
    pub(super) fn allocate(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let is_there = session.transport.media_route().is_some();
        let Some(congestion) = session.congestion.as_deref_mut() else {
            return;
        };
        for (state, share) in congestion.legs_mut() {
            let granted = granted_step(state, share);
            share.set_wish(wish(now, &self.tracks, state));
            if let Some(granted) = granted {
                share.set_place(state.place(granted));
            }
        }
        congestion.allocate(now);
        let is_flooded = congestion.is_flooded(now);
        let mut keyframes = core::mem::take(&mut self.keyframe_wishes);
        let mut stops = false;
        for (state, share) in congestion.legs_mut() {
            let Some((entry, track)) = self.tracks.leg_and_track(state.leg) else {
                continue;
            };
            entry.leg.statistics.granted = granted(state, share);
            let Some(allowance) = allowance(state, share) else {
                continue;
            };
            entry.leg.set_allowance(allowance);
            let sub_layer = granted_step(state, share).and_then(|step| step.sub_layer);
            entry.leg.set_sub_layer(sub_layer);
            entry.leg.select(now, &track.publication);
            // What is too much would only fill the queue that the next layer's key frame waits in.
            stops |= allowance == Allowance::Nothing || is_flooded && entry.leg.leave_former();
            let wanted = entry.leg.wants_keyframe().filter(|_| is_there);
            keyframes.extend(entry.track.zip(wanted));
        }
        if stops {
            let tracks = &self.tracks;
            let cleared = congestion.retain(|waiting| {
                let entry = tracks.leg(waiting.leg);
                entry.is_some_and(|entry| entry.leg.awaits(waiting.layer))
            });
            let counters = &mut self.counters;
            counters.dropped_times(DropReason::PacerCleared, cleared);
        }
        self.pacing.add(now, key, congestion);
        self.wish_keyframes(now, &mut keyframes, out);
        self.keyframe_wishes = keyframes;
    }

    /// A client tells when packets came.
    pub(super) fn take_transport_feedback(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        feedback: &TransportFeedback<'_>,
        out: &mut impl Outbox,
    ) {
        self.counters.increment(Counter::TransportFeedbackReceived);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(congestion) = session.congestion.as_deref_mut() else {
            return;
        };
        congestion.handle_feedback(now, feedback, &mut self.feedback_batch);
        let is_due = congestion.is_exceeded(now) || congestion.has_drained(now);
        self.pacing.add(now, key, congestion);
        if is_due {
            self.allocate(now, key, out);
        }
    }

    /// Congestion control of a session, if it has any.
    pub(super) fn congestion(&mut self, key: SessionKey) -> Option<&mut Congestion> {
        self.sessions.get_mut(key)?.congestion.as_deref_mut()
    }

    /// Every few ticks, for the sessions of the ticker's list; `allocates` now and then. Returns
    /// whether the session is still there.
    pub(super) fn poll_congestion(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        allocates: bool,
        out: &mut impl Outbox,
    ) -> bool {
        let session = self.sessions.get_mut(key);
        let Some(congestion) = session.and_then(|session| session.congestion.as_deref_mut()) else {
            return false;
        };
        congestion.poll(now);
        let is_due = congestion.is_exceeded(now) || congestion.has_drained(now);
        self.pacing.add(now, key, congestion);
        if allocates || is_due {
            self.allocate(now, key, out);
        }
        true
    }

    /// Once a second: what is known of the path, for the figures of the shard.
    pub(super) fn record_path(&mut self, key: SessionKey) {
        let Some(report) = self.congestion(key).and_then(|c| c.report()) else {
            return;
        };
        let queue_delay = u64::from(report.queue_delay_us) * 1_000;
        let counters = &mut self.counters;
        counters.record(Histogram::PathEstimate, report.bit_rate, 1);
        counters.record(Histogram::PathQueueDelay, queue_delay, 1);
    }

    /// Between ticks: lets go what has waited, and probes.
    pub(super) fn pace(&mut self, now: Timestamp, out: &mut impl Outbox) {
        if self.pacing.next.is_none_or(|next| next > now) {
            return;
        }
        // By position: should one session's work panic, the others must still stand in the list, and
        // be looked at soon.
        let (mut position, mut next) = (0, None);
        self.pacing.next = Some(now + PACE_MIN);
        while let Some(key) = self.pacing.sessions.get(position).copied() {
            self.current = Some(key);
            match self.pace_session(now, key, out) {
                Some(at) => {
                    next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
                    position += 1;
                }
                None => {
                    self.pacing.sessions.swap_remove(position);
                }
            }
        }
        self.pacing.next = next.map(|next| next.max(now + PACE_MIN));
        self.current = None;
    }

    /// Returns when to look at the session again; none if there is nothing to look for.
    fn pace_session(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        out: &mut impl Outbox,
    ) -> Option<Timestamp> {
        self.release(now, key, out);
        self.send_probes(now, key, out);
        let congestion = self.congestion(key)?;
        let at = congestion.next_at(now);
        congestion.is_listed = at.is_some();
        at
    }

    fn release(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        while let Some(released) = self.congestion(key).and_then(|c| c.release(now)) {
            match released {
                Released::Send(waiting) => self.send_waiting(now, key, waiting, out),
                Released::Expired(waiting) => self.expire(now, key, waiting, out),
            }
        }
    }

    fn send_waiting(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        waiting: Waiting,
        out: &mut impl Outbox,
    ) {
        let Some((entry, track)) = self.tracks.leg_and_track(waiting.leg) else {
            return;
        };
        let packet = Packet::find(track, waiting.layer, waiting.sequence_number);
        let session = self.sessions.get_mut(key);
        let way = session.and_then(|session| Way::to(session, &mut self.counters, out));
        match (packet, way) {
            (Some(packet), Some(mut way)) => {
                way.send(now, entry, &packet, Pace::Paced);
            }
            (None, Some(_)) => self.expire(now, key, waiting, out),
            // The client is gone, perhaps for a while. It needs a key frame once it is back.
            (_, None) => self.abandon(key, waiting, DropReason::SubscriberNotConnected),
        }
    }

    /// A packet has waited too long.
    fn expire(&mut self, now: Timestamp, key: SessionKey, waiting: Waiting, out: &mut impl Outbox) {
        self.abandon(key, waiting, DropReason::PacerExpired);
        let missed = self.keyframe_of(waiting.leg);
        self.need_if_there(now, key, missed, out);
    }

    /// A packet that has waited does not leave. What follows it is of no use before the next key
    /// frame, also if the leg was to begin with it.
    fn abandon(&mut self, key: SessionKey, waiting: Waiting, reason: DropReason) {
        self.counters.dropped(reason);
        let cleared = self.clear_waiting(key, waiting.leg);
        if let Some(entry) = self.tracks.leg_mut(waiting.leg) {
            entry.leg.interrupt();
            entry.leg.statistics.count_dropped(1 + cleared);
        }
    }

    /// Nothing leaves of what waits of a leg. Returns how many packets that were.
    pub(super) fn clear_waiting(&mut self, key: SessionKey, leg: LegKey) -> usize {
        let session = self.sessions.get_mut(key);
        let congestion = session.and_then(|session| session.congestion.as_deref_mut());
        congestion.map_or(0, |c| clear_waiting(c, &mut self.counters, leg))
    }

    /// A packet that a decoder waits for was refused so often for want of room. If there is no hope
    /// for it, nothing more of the leg leaves, so that the path drains, and then a key frame does.
    pub(super) fn give_up_repairs(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        leg: LegKey,
        times: u8,
        out: &mut impl Outbox,
    ) {
        let layer = self.tracks.leg(leg).and_then(|entry| entry.leg.layer());
        let congestion = self.congestion(key);
        let gave_up = congestion.is_some_and(|c| c.give_up_if_hopeless(now, (leg, layer), times));
        if !gave_up {
            return;
        }
        let cleared = self.clear_waiting(key, leg);
        if let Some(entry) = self.tracks.leg_mut(leg) {
            entry.leg.interrupt();
            entry.leg.statistics.count_dropped(cleared);
            self.allocate(now, key, out);
        }
    }

    fn send_probes(&mut self, now: Timestamp, key: SessionKey, out: &mut impl Outbox) {
        for _ in 0..PROBES_PER_TURN_MAX {
            let Some(probe) = self.congestion(key).and_then(|c| c.wanted_probe(now)) else {
                return;
            };
            if self.send_probe(now, key, probe, out).is_none() {
                return;
            }
            self.counters.increment(Counter::ProbePacketsSent);
        }
    }

    /// Sends a packet once more that left lately, or else padding. None if there is no stream of
    /// retransmissions to send it in, or no way.
    fn send_probe(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        probe: ProbePacket,
        out: &mut impl Outbox,
    ) -> Option<()> {
        let session = self.sessions.get_mut(key)?;
        let count = session.congestion.as_deref_mut()?.next_probe();
        let legs = session.legs.iter().map(|(_, leg)| *leg);
        let tracks = &self.tracks;
        let mut legs = legs.filter(|leg| {
            let leg = tracks.leg(*leg).map(|entry| &entry.leg);
            leg.is_some_and(|leg| leg.number_id().is_some() && leg.rtx_ssrc().is_some())
        });
        // One that is being sent has packets to repeat.
        let first = legs.clone().next()?;
        let leg = legs
            .find(|leg| {
                tracks
                    .leg(*leg)
                    .is_some_and(|entry| entry.leg.layer().is_some())
            })
            .unwrap_or(first);
        let mut way = Way::to(session, &mut self.counters, out)?;
        let repeated = self.tracks.leg_and_track(leg).and_then(|(entry, track)| {
            let repeat = entry.leg.probe(
                now,
                &track.publication,
                count % PROBED_PACKETS,
                probe.bytes.into(),
            )?;
            Some(way.repeat(now, entry, &repeat))
        });
        let sent = match repeated {
            Some(sent) => sent,
            None => {
                let entry = self.tracks.leg_mut(leg)?;
                let rtx = entry.leg.padding()?;
                let number = way.next_number(entry)?;
                let padding = u8::try_from(probe.bytes).unwrap_or(u8::MAX).max(1);
                way.send_written(now, Some(number), |slot| {
                    entry.leg.write_padding(&rtx, number, padding, slot)
                })
            }
        };
        (sent > 0).then_some(())
    }
}

/// What a leg wants, by how its source is received now.
fn wish(now: Timestamp, tracks: &Tracks, state: &mut LegState) -> Wish {
    let Some(entry) = tracks.leg(state.leg) else {
        return nothing();
    };
    let Some(track) = entry.track.and_then(|track| tracks.get(track)) else {
        return nothing();
    };
    let publication = &track.publication;
    let ladder = match publication.kind() {
        MediaKind::Audio => None,
        MediaKind::Video => entry.leg.ladder(now, publication, &state.ladder),
    };
    let Some(ladder) = ladder else {
        state.ladder = Ladder::default();
        let layer = entry
            .leg
            .target()
            .and_then(|layer| publication.layer(layer));
        let received = layer.filter(|layer| layer.receiving(now));
        return Wish {
            kind: LegKind::Always,
            layers: received.iter().map(|layer| layer.bit_rate(now)).collect(),
            ..nothing()
        };
    };
    let wish = Wish {
        kind: match publication.content_type(now) {
            ContentType::Screen => LegKind::Screen,
            ContentType::Camera => LegKind::Camera,
        },
        priority: entry.leg.hints().priority,
        layers: ladder.rates.iter().copied().collect(),
        asked_for_less: ladder.asked_for_less,
    };
    state.ladder = ladder;
    wish
}

/// The wish of a leg that has no source.
fn nothing() -> Wish {
    Wish {
        kind: LegKind::Camera,
        priority: 0,
        layers: [].into_iter().collect(),
        asked_for_less: false,
    }
}

/// What a leg has been given.
fn granted_step(state: &LegState, share: &Share) -> Option<Step> {
    let place = share.grant().layer?;
    state.ladder.steps.get(usize::from(place)).copied()
}

/// What follows from a leg's share; none if it stays as it is, since its source is silent.
fn allowance(state: &LegState, share: &Share) -> Option<Allowance> {
    let grant = share.grant();
    match (share.wish().kind, grant.layer) {
        (LegKind::Always, _) => Some(Allowance::Unlimited),
        (LegKind::Screen | LegKind::Camera, Some(place)) => {
            let layer = state.ladder.steps.get(usize::from(place))?.layer;
            let is_held = state.is_held(layer);
            Some(if is_held {
                Allowance::Nothing
            } else {
                Allowance::Layer(layer)
            })
        }
        (LegKind::Screen | LegKind::Camera, None) => {
            (grant.reason != Reason::PublisherNotSending).then_some(Allowance::Nothing)
        }
    }
}

/// What is told of a leg's share; nothing of one that keeps to its layer.
fn granted(state: &LegState, share: &Share) -> Option<Granted> {
    if share.wish().kind == LegKind::Always {
        return None;
    }
    let mut rates = share.wish().layers.iter();
    let best = rates.rposition(|rate| *rate > 0);
    Some(Granted {
        wanted: best.and_then(|place| Some(state.ladder.steps.get(place)?.layer)),
        reason: match share.grant().reason {
            Reason::Best => LayerReason::Best,
            Reason::Asked => LayerReason::Asked,
            Reason::Bandwidth => LayerReason::Bandwidth,
            Reason::PublisherNotSending => LayerReason::PublisherNotSending,
            Reason::Paused => LayerReason::Paused,
        },
    })
}

/// Sessions between ticks are looked at no more often than this.
const PACE_MIN: Duration = Duration::from_millis(1);

/// Probe packets that one session sends at once.
const PROBES_PER_TURN_MAX: usize = 64;

/// Packets that probes repeat, the newest ones, in turn.
const PROBED_PACKETS: u64 = 16;
