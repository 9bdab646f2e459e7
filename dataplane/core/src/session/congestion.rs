//! Congestion control towards the client of one session: what its path carries, how that is shared
//! out over the legs, and which packets wait. The parts are those of [`crate::bwe`].

mod legs;
mod repeat_budget;

use core::cmp::Ordering;
use core::time::Duration;

use shared::counters::DropReason;
use shared::protocol::EstimateReport;

pub(crate) use self::legs::LegState;
use self::legs::Legs;
pub(crate) use self::repeat_budget::RepeatBudget;
use crate::bwe::allocation::{Budget, Share};
use crate::bwe::{Admission, Batch, ESTIMATE_MAX, ESTIMATE_START, Estimator, Pacer};
use crate::bwe::{ProbePacket, Released};
use crate::egress::Asked;
use crate::rtcp::TransportFeedback;
use crate::shard::LegKey;
use crate::time::{Timestamp, report_micros};

/// A packet that waits for its turn: it has no number of ours yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) leg: LegKey,
    pub(crate) layer: u8,
    pub(crate) sequence_number: u64,
}

impl PartialOrd for Waiting {
    /// What one leg gets of one layer leaves in the order of its numbers.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let is_comparable = (self.leg, self.layer) == (other.leg, other.layer);
        is_comparable.then(|| self.sequence_number.cmp(&other.sequence_number))
    }
}

/// Congestion control towards one client. Made with the first video leg whose packets carry
/// transport-wide sequence numbers; suspended while there is none but other video.
///
/// Memory: 16 KiB of the estimator, some 400 bytes for each leg, and 8 KiB of the pacer once a
/// packet has had to wait.
#[derive(Debug)]
pub(crate) struct Congestion {
    estimator: Estimator,
    pacer: Pacer<Waiting>,
    legs: Legs,
    repeats: RepeatBudget,
    /// The first packet with a number left.
    sent_since: Option<Timestamp>,
    /// The first feedback came.
    heard_since: Option<Timestamp>,
    /// The estimate by which was allocated last.
    allocated: u64,
    /// Whether the shard looks at it between ticks.
    pub(crate) is_listed: bool,
    /// How many probes were sent: which packet is repeated next.
    probes: u64,
}

impl Congestion {
    /// Nothing sent yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::with_estimator(now, Estimator::new(now, ESTIMATE_START))
    }

    fn with_estimator(now: Timestamp, estimator: Estimator) -> Self {
        Self {
            estimator,
            pacer: Pacer::new(now),
            legs: Legs::default(),
            repeats: RepeatBudget::new(now),
            sent_since: None,
            heard_since: None,
            allocated: 0,
            is_listed: false,
            probes: 0,
        }
    }

    /// Nothing is left that could be measured. Gives what waits, in the order in which it was to leave.
    pub(crate) fn suspend(self) -> (Suspended, Vec<Waiting>) {
        let waiting = self.pacer.waiting().copied().collect();
        (Suspended(self.estimator), waiting)
    }

    /// A leg begins, or wants something else from now on. What waits of it goes on to wait.
    pub(crate) fn add_leg(&mut self, leg: LegKey, share: Share) {
        self.legs.add(leg, share);
    }

    /// A leg ends. Returns how many packets that waited are dropped with it.
    pub(crate) fn remove_leg(&mut self, leg: LegKey) -> usize {
        self.legs.remove(leg);
        self.forget(leg)
    }

    /// Every leg with its share.
    pub(crate) fn legs_mut(&mut self) -> impl Iterator<Item = (&mut LegState, &mut Share)> {
        self.legs.iter_mut()
    }

    /// Shares out what the path carries, by the wishes that stand in the shares, and lets those legs go
    /// on that were held while it drained.
    pub(crate) fn allocate(&mut self, now: Timestamp) {
        if self.legs.holds() {
            let is_flooded = self.is_flooded(now);
            self.legs.let_go(now, is_flooded);
        }
        self.legs.sum_up();
        let estimate = self.budget(now);
        self.allocated = estimate;
        let loss = self.estimator.loss();
        self.legs.allocate(now, Budget { estimate, loss });
        self.estimator.set_demand(self.legs.demand());
        self.set_pace(now, estimate);
    }

    /// Whether less comes through than was shared out last, so that it must be shared out anew.
    pub(crate) fn is_exceeded(&self, now: Timestamp) -> bool {
        let budget = self.budget(now);
        budget < self.allocated && budget < self.legs.sums().granted
    }

    /// Whether the path was found to be full within the last seconds.
    pub(crate) fn is_congested(&self, now: Timestamp) -> bool {
        self.estimator.is_congested(now)
    }

    /// Whether the path is so full that much of what is sent now comes late or not at all.
    pub(crate) fn is_flooded(&self, now: Timestamp) -> bool {
        self.is_congested(now) && self.estimator.has_deep_queue(now)
    }

    /// Whether a packet may leave now, wait, or must be dropped.
    pub(crate) fn admit(&mut self, now: Timestamp, packet: Waiting, bytes: usize) -> Admission {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.pacer.admit(now, bytes, packet)
    }

    /// A packet that was admitted does not leave after all: a layer that the leg does not get.
    pub(crate) fn take_back(&mut self, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.pacer.take_back(bytes);
    }

    /// What has waited and may leave now, or must be dropped. To be asked again after each.
    pub(crate) fn release(&mut self, now: Timestamp) -> Option<Released<Waiting>> {
        self.pacer.poll(now)
    }

    /// Drops what waits of a leg. Returns how many packets that were.
    pub(crate) fn forget(&mut self, leg: LegKey) -> usize {
        self.pacer.retain(|waiting| waiting.leg != leg)
    }

    /// Drops what waits and is not wanted any more. Returns how many packets that were.
    pub(crate) fn retain(&mut self, is_wanted: impl FnMut(&Waiting) -> bool) -> usize {
        self.pacer.retain(is_wanted)
    }

    /// Whether any packet waits for its turn.
    pub(crate) fn has_waiting(&self) -> bool {
        self.pacer.waiting().next().is_some()
    }

    /// The transport-wide sequence number of the next packet.
    pub(crate) fn next_number(&self) -> u16 {
        self.estimator.next_number()
    }

    /// A packet of so many bytes has left, with the next number or without.
    pub(crate) fn sent(&mut self, now: Timestamp, number: Option<u16>, bytes: usize) {
        if number.is_some() {
            self.sent_since.get_or_insert(now);
            self.estimator.handle_sent(now, bytes);
        } else {
            self.estimator.handle_sent_untracked(bytes);
        }
    }

    /// Like [`Self::sent`], for a packet that the pacer was not asked about.
    pub(crate) fn sent_unpaced(&mut self, now: Timestamp, number: Option<u16>, bytes: usize) {
        self.sent(now, number, bytes);
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.pacer.handle_unpaced(now, bytes);
    }

    /// A packet is asked for again.
    ///
    /// # Errors
    /// [`DropReason::RetransmissionBudget`] if repeats have had their part of the path, or if others
    /// have more need of what the path carries.
    pub(crate) fn afford_repeat(
        &mut self,
        now: Timestamp,
        asked: &Asked<'_>,
    ) -> Result<(), DropReason> {
        if !asked.is_needed && self.is_congested(now) {
            return Err(DropReason::RetransmissionBudget);
        }
        self.spend_repeat(now, asked.packet.bytes.len())
    }

    fn spend_repeat(&mut self, now: Timestamp, bytes: usize) -> Result<(), DropReason> {
        let budget = self.budget(now);
        self.repeats.spend(now, budget, bytes)
    }

    /// Gives up what was lost of a leg if there is no hope for it, since a packet that its decoder
    /// waits for was refused so often. A queue that is full leaves none; else there may be room by
    /// the time that it is asked for again. Returns whether it did: nothing is to leave then of what waits
    /// of it. `layer` is what leaves of it.
    pub(crate) fn give_up_if_hopeless(
        &mut self,
        now: Timestamp,
        (leg, layer): (LegKey, Option<u8>),
        times: u8,
    ) -> bool {
        let hopeless = if self.is_flooded(now) { 1 } else { 2 };
        // Of a path of which nothing is known, nothing can be said.
        let is_hopeless = !self.is_deaf(now)
            && self
                .legs
                .give_up_if_hopeless(now, (leg, layer), times, hopeless);
        if is_hopeless {
            // Its key frame may be repeated as if nothing had been before.
            self.repeats = RepeatBudget::new(now);
        }
        is_hopeless
    }

    /// Whether a leg that is held may go on, for which [`Self::allocate`] is to be called.
    pub(crate) fn has_drained(&self, now: Timestamp) -> bool {
        self.legs.holds() && self.legs.may_go_on(now, self.is_flooded(now))
    }

    /// Whether a repeat of so many bytes leaves twice at once: if one before was lost too, since the
    /// picture stands still while a packet is asked for a third time; and where many are lost of what
    /// leaves a fifth of the path unused, since a second time shows already. A path that is full,
    /// though, loses the more the more is sent.
    pub(crate) fn affords_copy(&mut self, now: Timestamp, bytes: usize, is_another: bool) -> bool {
        (is_another || self.loses_with_room())
            && !self.is_flooded(now)
            && self.spend_repeat(now, bytes).is_ok()
    }

    fn loses_with_room(&self) -> bool {
        let has_room = self.legs.sums().granted <= self.estimator.estimate() / 5 * 4;
        has_room && self.estimator.loss() >= COPIED_LOSS_MIN
    }

    /// The client tells when packets came.
    pub(crate) fn handle_feedback(
        &mut self,
        now: Timestamp,
        feedback: &TransportFeedback<'_>,
        batch: &mut Batch,
    ) {
        self.heard_since.get_or_insert(now);
        self.estimator.handle_feedback(now, feedback, batch);
        self.set_pace(now, self.budget(now));
    }

    /// The client gives a ceiling, in bits a second.
    pub(crate) fn handle_remb(&mut self, now: Timestamp, bit_rate: u64) {
        self.estimator.handle_remb(now, bit_rate);
    }

    /// The client is in another network: its path begins anew, as if nothing had been heard of it.
    pub(crate) fn handle_route_change(&mut self, now: Timestamp) {
        self.estimator.handle_route_change(now);
        self.set_pace(now, self.budget(now));
    }

    /// What reports say of the round trip.
    pub(crate) fn handle_round_trip(&mut self, round_trip: Duration) {
        self.estimator.handle_round_trip(round_trip);
    }

    /// Time has passed.
    pub(crate) fn poll(&mut self, now: Timestamp) {
        self.estimator.poll(now);
        self.set_pace(now, self.budget(now));
    }

    /// A packet that is to be sent now to learn whether more comes through. To be asked again after
    /// each.
    pub(crate) fn wanted_probe(&self, now: Timestamp) -> Option<ProbePacket> {
        self.estimator.wanted_probe(now)
    }

    /// Counts probes: which one the next is.
    pub(crate) fn next_probe(&mut self) -> u64 {
        self.probes += 1;
        self.probes
    }

    /// When a packet that waits may leave, or one of a probe under way; none if there is neither.
    pub(crate) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let (release, probe) = (self.pacer.next_at(now), self.estimator.next_probe_at(now));
        match (release, probe) {
            (Some(release), Some(probe)) => Some(release.min(probe)),
            (release, probe) => release.or(probe),
        }
    }

    /// What is known of the path; none before the client has told anything.
    pub(crate) fn report(&self) -> Option<EstimateReport> {
        self.heard_since?;
        let snapshot = self.estimator.snapshot();
        Some(EstimateReport {
            bit_rate: snapshot.estimate,
            delay_based: snapshot.delay_based,
            loss_based: snapshot.loss_based,
            round_trip_us: report_micros(snapshot.round_trip),
            queue_delay_us: report_micros(snapshot.queue_delay),
            bytes_in_flight: snapshot.bytes_in_flight,
            application_limited: snapshot.application_limited,
        })
    }

    /// Bits a second that may be shared out.
    ///
    /// An estimate begins low, and as long as nothing has filled the path it is a guess: nobody loses
    /// a picture for that. A client that never says when packets came, though it agreed to, cannot be
    /// estimated, and gets all that it wants, up to the ceiling that it may give.
    fn budget(&self, now: Timestamp) -> u64 {
        if self.is_deaf(now) {
            return ESTIMATE_MAX.min(self.estimator.ceiling(now));
        }
        let mut estimate = self.estimator.estimate();
        if self.is_flooded(now) {
            estimate = estimate / 100 * DRAIN_PERCENT;
        }
        let pictures = self.legs.sums().lowest * 5 / 4;
        if !self.is_congested(now) {
            return estimate.max(pictures);
        }
        if self.estimator.has_long_queue() {
            return estimate;
        }
        // Loss without a queue may have nothing to do with what is sent, as long as it is not much.
        if self.estimator.loss() < MUCH_LOSS {
            return estimate.max(pictures);
        }
        estimate.max(self.estimator.snapshot().delay_based.min(pictures))
    }

    /// Whether the client does not tell when packets came, though it agreed to.
    fn is_deaf(&self, now: Timestamp) -> bool {
        let waited = |sent| now.since(sent) >= DEAF_AFTER;
        self.heard_since.is_none() && self.sent_since.is_some_and(waited)
    }

    fn set_pace(&mut self, now: Timestamp, budget: u64) {
        let congested = self.estimator.is_congested(now);
        // What was granted leaves: if it is too much, the path will tell, and it is shared out anew.
        let pace = budget
            .max(self.legs.sums().granted)
            .saturating_mul(PACE_FACTOR);
        self.pacer.set_estimate(now, pace, congested);
    }
}

/// What is left of congestion control without anything to measure: the client goes on counting what
/// it gets, and its clock stays the same.
#[derive(Debug)]
pub(crate) struct Suspended(Estimator);

impl Suspended {
    /// Something can be measured again. Nothing is known of the path, and what the client still tells
    /// of packets from before is not taken for news.
    pub(crate) fn resume(self, now: Timestamp) -> Congestion {
        let Self(mut estimator) = self;
        estimator.handle_route_change(now);
        Congestion::with_estimator(now, estimator)
    }
}

/// A client that has not told of any packet for so long will not.
const DEAF_AFTER: Duration = Duration::from_secs(2);

/// A key frame is many times as large as other frames. It must not wait until it is too old, nor hold
/// up what follows: libwebrtc paces at 2.5 times the estimate (`kDefaultPaceMultiplier`).
const PACE_FACTOR: u64 = 2;

/// Of what was sent. A copy of each repeat is then so much more as well; of less it would hardly be seen.
const COPIED_LOSS_MIN: f64 = 0.02;

/// Of what was sent. A path that carries half of it loses half of it, if its queue is short.
const MUCH_LOSS: f64 = 0.15;

/// Of what the path carries while its queue is deep: the rest drains it, or the key frame of the next
/// layer would stand behind all of it.
const DRAIN_PERCENT: u64 = 75;

#[cfg(test)]
mod tests;
