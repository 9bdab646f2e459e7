//! Congestion control towards the client of one session: what its path carries, how that is shared
//! out over the legs, and which packets wait. The parts are those of [`crate::bwe`].

use core::time::Duration;

use shared::counters::DropReason;
use shared::protocol::EstimateReport;

use crate::bwe::allocation::{self, Share};
use crate::bwe::{Admission, Batch, ESTIMATE_MAX, ESTIMATE_START, Estimator, Pacer};
use crate::bwe::{ProbePacket, Released};
use crate::egress::Ladder;
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

/// A leg in the allocation.
#[derive(Debug)]
pub(crate) struct LegState {
    pub(crate) leg: LegKey,
    /// The layers that the share's places stand for; empty for one that keeps to its layer.
    pub(crate) ladder: Ladder,
}

/// Congestion control towards one client. Made with the first video leg whose packets carry
/// transport-wide sequence numbers.
///
/// Memory: 16 KiB of the estimator, some 400 bytes for each leg, and 8 KiB of the pacer once a
/// packet has had to wait.
#[derive(Debug)]
pub(crate) struct Congestion {
    estimator: Estimator,
    pacer: Pacer<Waiting>,
    legs: Vec<LegState>,
    /// In the order of `legs`.
    shares: Vec<Share>,
    sums: Sums,
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
        Self {
            estimator: Estimator::new(now, ESTIMATE_START),
            pacer: Pacer::new(now),
            legs: Vec::new(),
            shares: Vec::new(),
            sums: Sums::default(),
            repeats: RepeatBudget::new(now),
            sent_since: None,
            heard_since: None,
            allocated: 0,
            is_listed: false,
            probes: 0,
        }
    }

    /// A leg begins, or begins anew with another source.
    pub(crate) fn add_leg(&mut self, leg: LegKey, share: Share) {
        self.remove_leg(leg);
        self.legs.push(LegState {
            leg,
            ladder: Ladder::default(),
        });
        self.shares.push(share);
    }

    /// A leg ends.
    pub(crate) fn remove_leg(&mut self, leg: LegKey) {
        self.forget(leg);
        if let Some(place) = self.legs.iter().position(|state| state.leg == leg) {
            self.legs.remove(place);
            self.shares.remove(place);
            self.sums = Sums::of(&self.shares);
        }
    }

    /// Every leg with its share.
    pub(crate) fn legs_mut(&mut self) -> impl Iterator<Item = (&mut LegState, &mut Share)> {
        self.legs.iter_mut().zip(&mut self.shares)
    }

    /// Shares out what the path carries, by the wishes that stand in the shares.
    pub(crate) fn allocate(&mut self, now: Timestamp) {
        self.sums = Sums::of(&self.shares);
        let budget = self.budget(now);
        self.allocated = budget;
        allocation::allocate(now, budget, &mut self.shares);
        self.sums = Sums::of(&self.shares);
        self.estimator.set_demand(allocation::demand(&self.shares));
        self.set_pace(now, budget);
    }

    /// Whether less comes through than was shared out last, so that it must be shared out anew.
    pub(crate) fn is_exceeded(&self, now: Timestamp) -> bool {
        let budget = self.budget(now);
        budget < self.allocated && budget < self.sums.granted
    }

    /// Whether the path was found to be full within the last seconds.
    pub(crate) fn is_congested(&self, now: Timestamp) -> bool {
        self.estimator.is_congested(now)
    }

    /// Whether the path is so full that much of what is sent now comes late or not at all.
    pub(crate) fn is_flooded(&self, now: Timestamp) -> bool {
        self.is_congested(now) && self.estimator.has_deep_queue()
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

    /// Drops what waits of a leg.
    pub(crate) fn forget(&mut self, leg: LegKey) {
        self.pacer.retain(|waiting| waiting.leg != leg);
    }

    /// Drops what waits and is not wanted any more.
    pub(crate) fn retain(&mut self, is_wanted: impl FnMut(&Waiting) -> bool) {
        self.pacer.retain(is_wanted);
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

    /// A packet of so many bytes is asked for again.
    ///
    /// # Errors
    /// [`DropReason::RetransmissionBudget`] if repeats have had their part of the path.
    pub(crate) fn spend_repeat(&mut self, now: Timestamp, bytes: usize) -> Result<(), DropReason> {
        let budget = self.budget(now);
        self.repeats.spend(now, budget, bytes)
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

    /// When a packet that waits may leave, or a probe is due; none if there is neither.
    pub(crate) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let (release, probe) = (self.pacer.next_at(now), self.estimator.next_at(now));
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
    /// estimated, and gets all that it wants.
    fn budget(&self, now: Timestamp) -> u64 {
        let mut estimate = self.estimator.estimate();
        if self.is_flooded(now) {
            estimate = estimate / 100 * DRAIN_PERCENT;
        }
        match (self.sent_since, self.heard_since) {
            (Some(sent), None) if now.since(sent) >= DEAF_AFTER => ESTIMATE_MAX,
            _ if self.estimator.is_congested(now) && self.estimator.has_long_queue() => estimate,
            _ if self.estimator.is_congested(now) => {
                // Loss without a queue takes no picture: it may have nothing to do with what is sent.
                let delay_based = self.estimator.snapshot().delay_based;
                estimate.max(delay_based.min(self.sums.lowest * 5 / 4))
            }
            _ => estimate.max(self.sums.lowest * 5 / 4),
        }
    }

    fn set_pace(&mut self, now: Timestamp, budget: u64) {
        let congested = self.estimator.is_congested(now);
        // What was granted leaves: if it is too much, the path will tell, and it is shared out anew.
        let pace = budget.max(self.sums.granted).saturating_mul(PACE_FACTOR);
        self.pacer.set_estimate(now, pace, congested);
    }
}

/// What the shares come to, in bits a second. It is asked for with every feedback, while the shares
/// themselves seldom change and are large.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    granted: u64,
    /// All legs at their lowest, those left out that have been paused.
    lowest: u64,
}

impl Sums {
    fn of(shares: &[Share]) -> Self {
        let lowest = |share: &Share| {
            let rates = share.wish().layers.iter();
            rates.copied().find(|rate| *rate > 0).unwrap_or_default()
        };
        let playing = shares.iter().filter(|share| !share.is_paused());
        Self {
            granted: allocation::granted(shares),
            lowest: playing.map(lowest).sum(),
        }
    }
}

/// What repeats may take of a path: a bucket that fills with a part of what the path carries.
#[derive(Debug)]
struct RepeatBudget {
    bytes: u64,
    filled_at: Timestamp,
}

impl RepeatBudget {
    fn new(now: Timestamp) -> Self {
        Self {
            bytes: REPEAT_BYTES_MIN,
            filled_at: now,
        }
    }

    fn spend(&mut self, now: Timestamp, bit_rate: u64, bytes: usize) -> Result<(), DropReason> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let elapsed = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let per_second = bit_rate / 8 / 100 * REPEAT_PERCENT;
        let filled = per_second.saturating_mul(elapsed.min(1_000_000)) / 1_000_000;
        // So short a time fills in no whole byte; it is not lost.
        if filled > 0 {
            self.filled_at = now;
            self.bytes = (self.bytes + filled).min(per_second.max(REPEAT_BYTES_MIN));
        }
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or(DropReason::RetransmissionBudget)?;
        Ok(())
    }
}

/// A client that has not told of any packet for so long will not.
const DEAF_AFTER: Duration = Duration::from_secs(2);

/// A key frame is many times as large as other frames. It must not wait until it is too old, nor hold
/// up what follows: libwebrtc paces at 2.5 times the estimate (`kDefaultPaceMultiplier`).
const PACE_FACTOR: u64 = 2;

/// Of what the path carries while its queue is deep: the rest drains it, or the key frame of the next
/// layer would stand behind all of it.
const DRAIN_PERCENT: u64 = 75;

/// Of what the path carries, for packets that are asked for again.
const REPEAT_PERCENT: u64 = 20;

/// A frame can be repeated on any path.
const REPEAT_BYTES_MIN: u64 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bwe::allocation::{LegKind, Wish};
    use crate::ingress::testing::ms;

    fn wish(rates: &[u64]) -> Wish {
        Wish {
            kind: LegKind::Camera,
            priority: 0,
            layers: rates.iter().copied().collect(),
            asked_for_less: false,
            paused: false,
        }
    }

    fn with_leg(rates: &[u64]) -> Congestion {
        let mut congestion = Congestion::new(ms(0));
        congestion.add_leg(LegKey::default(), Share::new(wish(rates)));
        congestion
    }

    fn granted(congestion: &Congestion) -> Option<u8> {
        congestion.shares[0].grant().layer
    }

    #[test]
    fn before_the_first_feedback_nobody_is_refused_a_picture() {
        let mut congestion = with_leg(&[3_000_000]);
        congestion.allocate(ms(0));
        assert_eq!(granted(&congestion), Some(0));
    }

    #[test]
    fn before_the_first_feedback_the_better_layers_wait() {
        let mut congestion = with_leg(&[100_000, 3_000_000]);
        congestion.allocate(ms(0));
        assert_eq!(granted(&congestion), Some(0));
    }

    #[test]
    fn who_never_tells_of_a_packet_gets_what_it_wants() {
        let mut congestion = with_leg(&[100_000, 3_000_000]);
        for tick in 0..300 {
            congestion.sent(ms(tick * 20), Some(0), 1000);
            congestion.poll(ms(tick * 20));
            congestion.allocate(ms(tick * 20));
        }
        assert_eq!(granted(&congestion), Some(1));
    }

    #[test]
    fn repeats_take_a_fifth_of_the_path() {
        let mut budget = RepeatBudget::new(ms(0));
        let mut repeated = 0;
        for millis in 0..10_000 {
            for _ in 0..10 {
                repeated += usize::from(budget.spend(ms(millis), 8_000_000, 1_000).is_ok());
            }
        }
        // 200 packets of 1,000 bytes a second.
        assert!((2_000..2_050).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_frame_can_be_repeated_on_the_slowest_path() {
        let mut budget = RepeatBudget::new(ms(0));
        let repeated = (0..20).filter(|_| budget.spend(ms(1), 5_000, 1_000).is_ok());
        assert_eq!(repeated.count(), 12);
    }

    #[test]
    fn what_waits_of_a_leg_goes_with_it() {
        let mut congestion = with_leg(&[100_000]);
        let packet = |sequence_number| Waiting {
            leg: LegKey::default(),
            layer: 0,
            sequence_number,
        };
        for number in 0..200 {
            congestion.admit(ms(0), packet(number), 1_200);
        }
        assert!(congestion.next_at(ms(0)).is_some());
        congestion.remove_leg(LegKey::default());
        assert!(congestion.shares.is_empty() && congestion.legs.is_empty());
        assert_eq!(congestion.release(ms(400)), None);
    }
}
