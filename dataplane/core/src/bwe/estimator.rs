//! The estimate of one path, from all the estimators together (`goog_cc_network_control.cc`).

use core::time::Duration;

use super::aimd::{Aimd, Evidence};
use super::alr::AlrDetector;
use super::delay_detector::DelayDetector;
use super::feedback::{Batch, FeedbackReader, round_trip};
use super::history::History;
use super::loss_based::{LossBased, LossEvidence, LossState};
use super::overuse::Usage;
use super::probe::{ProbeController, ProbePacket, Situation};
use super::probe_result::ProbeResults;
use super::queue_delay::QueueDelay;
use super::remb::RembCap;
use super::round_trip::RoundTrip;
use super::snapshot::Snapshot;
use super::surge::{Sight, Surge};
use super::throughput::{Rates, Throughput};
use super::units::{micros, scaled};
use super::watchdog::Watchdog;
use super::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START};
use crate::rtcp::TransportFeedback;
use crate::time::Timestamp;

/// Estimates how much the path to one subscriber carries.
///
/// The owner calls [`Self::handle_sent`] for each packet that leaves with a transport-wide sequence
/// number, [`Self::handle_feedback`] for each feedback, and [`Self::poll`] on its ticks, some ten times a
/// second. While [`Self::wanted_probe`] gives a packet, one of that size is to be sent;
/// [`Self::next_probe_at`] tells when the next one is due.
///
/// Memory: 8192 bytes of history, which may become eight times as many, 6012 of packets that came, 2 KiB
/// of all the rest. Nothing else is allocated after the start.
#[derive(Debug)]
pub struct Estimator {
    // What every packet touches.
    history: History,
    probes: ProbeController,
    watchdog: Watchdog,
    /// Bytes that left since the last look at the application's limit.
    sent_bytes: u64,
    /// Bytes that left without a number since the last packet that had one.
    untracked_bytes: u16,
    // What feedback touches.
    reader: FeedbackReader,
    delay: DelayDetector,
    throughput: Throughput,
    rates: Option<Rates>,
    queue_delay: QueueDelay,
    results: ProbeResults,
    aimd: Aimd,
    loss_based: LossBased,
    alr: AlrDetector,
    remb: RembCap,
    heard_at: Option<Timestamp>,
    round_trip: RoundTrip,
    surge: Surge,
    estimate: u64,
}

impl Estimator {
    /// Begins with `estimate` bits a second.
    pub fn new(now: Timestamp, estimate: u64) -> Self {
        Self {
            history: History::default(),
            probes: ProbeController::default(),
            watchdog: Watchdog::new(now),
            sent_bytes: 0,
            untracked_bytes: 0,
            reader: FeedbackReader::default(),
            delay: DelayDetector::default(),
            throughput: Throughput::default(),
            rates: None,
            queue_delay: QueueDelay::default(),
            results: ProbeResults::default(),
            aimd: Aimd::new(now, estimate),
            loss_based: LossBased::default(),
            alr: AlrDetector::new(now),
            remb: RembCap::default(),
            heard_at: None,
            round_trip: RoundTrip::default(),
            surge: Surge::default(),
            estimate,
        }
    }

    /// The transport-wide sequence number that the next packet is to carry.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower 16 bits stand in the packet"
    )]
    pub fn next_number(&self) -> u16 {
        self.history.next_number() as u16
    }

    /// The packet that carries [`Self::next_number`] leaves.
    pub fn handle_sent(&mut self, now: Timestamp, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        let bytes = bytes.saturating_add(core::mem::take(&mut self.untracked_bytes));
        self.watchdog.sent(now);
        self.sent_bytes += u64::from(bytes);
        let cluster = self.probes.sent(now, bytes);
        self.history.insert(now, bytes, cluster);
    }

    /// A packet leaves that has no transport-wide sequence number. It counts with the next one that
    /// has, so that what comes through is all that comes through.
    pub fn handle_sent_untracked(&mut self, bytes: usize) {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX);
        self.untracked_bytes = self.untracked_bytes.saturating_add(bytes);
    }

    /// Feedback came. `batch` is memory for it that the owner keeps.
    pub fn handle_feedback(
        &mut self,
        now: Timestamp,
        feedback: &TransportFeedback<'_>,
        batch: &mut Batch,
    ) {
        self.reader.read(now, feedback, &mut self.history, batch);
        if batch.is_empty() {
            return;
        }
        self.watchdog.heard(now);
        let silent = self
            .heard_at
            .is_some_and(|heard| now.since(heard) >= STALE_MIN);
        self.heard_at = Some(now);
        if batch.clock_jumped || silent {
            self.delay = DelayDetector::default();
            self.queue_delay.resume(micros(now));
        }
        if batch.clock_jumped {
            self.throughput.reset();
            self.queue_delay = QueueDelay::default();
        }
        self.queue_delay.add(micros(now), batch);
        for packet in &batch.received {
            self.delay.add(micros(now), packet);
            self.throughput.add(packet);
            self.results.add(packet);
        }
        if let Some(sample) = round_trip(now, batch) {
            self.round_trip.handle_feedback(duration(sample));
        }
        self.rates = self.throughput.rates();
        self.look_at_alr(now);
        self.update(now, batch);
        self.poll_probes(now);
    }

    /// Packets go another way from now on, of which nothing is known (`OnNetworkRouteChange`). The
    /// only time that memory is taken after the start.
    pub fn handle_route_change(&mut self, now: Timestamp) {
        let fresh = Self::new(now, self.estimate.min(ESTIMATE_START));
        let mut former = core::mem::replace(self, fresh);
        former.history.forget();
        former.probes.restart();
        // The receiver goes on counting, and its clock is the same.
        self.history = former.history;
        self.probes = former.probes;
        self.reader = former.reader;
    }

    /// The round trip as reports tell it.
    pub fn handle_round_trip(&mut self, round_trip: Duration) {
        self.round_trip.handle_report(round_trip);
    }

    /// A REMB came; bits a second.
    pub fn handle_remb(&mut self, now: Timestamp, bit_rate: u64) {
        self.remb.set(now, bit_rate);
        self.conclude(now);
    }

    /// Bits a second that would be sent if they came through: of all legs, what they want at best.
    pub fn set_demand(&mut self, bit_rate: u64) {
        self.probes.set_demand(bit_rate);
    }

    /// Time has passed.
    pub fn poll(&mut self, now: Timestamp) {
        self.look_at_alr(now);
        if let Some(factor) = self.watchdog.lower(now, self.round_trip.get()) {
            let lowered = scaled(self.estimate, factor);
            self.aimd.set_estimate(now, lowered);
        }
        self.conclude(now);
        self.poll_probes(now);
    }

    /// When [`Self::wanted_probe`] gives the next packet of the probe under way; none without one.
    pub fn next_probe_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.probes.next_packet_at(now)
    }

    /// Bits a second that the path carries.
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Bits a second that the client wants no more of, as it said lately (REMB).
    pub fn ceiling(&self, now: Timestamp) -> u64 {
        self.remb.limit(now)
    }

    /// The part of the bytes sent lately that was lost.
    pub fn loss(&self) -> f64 {
        self.loss_based.average_loss()
    }

    /// Whether the path was found to be full within the last seconds, so that bursts would do harm.
    pub fn is_congested(&self, now: Timestamp) -> bool {
        self.delay.usage() == Usage::Over
            || self.loss_based.state() != LossState::DelayBased
            || self
                .aimd
                .decreased_at()
                .is_some_and(|decreased| now.since(decreased) < CONGESTED_FOR)
    }

    /// Whether packets have waited long on the way for a while. What is lost then was too much for the
    /// path; else it may be lost whatever is sent.
    pub fn has_long_queue(&self) -> bool {
        self.queue_delay.is_long()
    }

    /// Whether packets wait long on the way now, or soon will: the path has become far narrower, and
    /// what was sent before that was known is still to come.
    pub fn has_deep_queue(&self, now: Timestamp) -> bool {
        self.queue_delay.is_deep() || self.surge.is_fresh(now)
    }

    /// A packet that is to be sent now, as a probe. To be asked again after each.
    pub fn wanted_probe(&self, now: Timestamp) -> Option<ProbePacket> {
        self.probes.wanted(now)
    }

    /// What the estimate rests on.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            estimate: self.estimate,
            delay_based: self.aimd.estimate(),
            loss_based: self.loss_based.estimate(),
            throughput: self.rates.map(|rates| rates.throughput),
            usage: self.delay.usage(),
            loss_state: self.loss_based.state(),
            loss: self.loss(),
            round_trip: self.round_trip.get(),
            queue_delay: duration(self.queue_delay.latest().unwrap_or_default()),
            bytes_in_flight: self.history.bytes_in_flight(),
            application_limited: self.alr.is_limited(),
        }
    }

    fn update(&mut self, now: Timestamp, batch: &Batch) {
        while let Some(result) = self.results.poll() {
            let situation = self.situation(now);
            if let Some(rate) = self.probes.judge(&result, &situation)
                && (situation.calm || rate < self.estimate)
            {
                self.aimd.set_estimate(now, self.floored(rate));
                self.loss_based.proven(self.aimd.estimate());
            }
        }
        let application_limited = self.alr.is_limited();
        let sight = self
            .surge
            .look(now, batch, &self.queue_delay, self.estimate);
        match sight {
            Sight::Narrower(carried) => self.aimd.fall(now, carried),
            Sight::AsBefore(estimate) => {
                self.aimd.set_estimate(now, estimate);
                self.update_delay_based(now, application_limited);
            }
            Sight::Nothing => self.update_delay_based(now, application_limited),
        }
        if self.aimd.take_capacity_exceeded() {
            self.probes.capacity_exceeded();
        }
        self.loss_based.update(
            batch,
            &LossEvidence {
                delay_based: self.aimd.estimate(),
                throughput: self.rates.map(|rates| rates.throughput),
                application_limited,
            },
        );
        self.conclude(now);
    }

    fn update_delay_based(&mut self, now: Timestamp, application_limited: bool) {
        let evidence = Evidence {
            usage: self.delay.usage(),
            rates: self.rates,
            application_limited,
            underused: application_limited || !self.is_filled(),
            queue_is_deep: self.queue_delay.is_deep(),
            queue_is_standing: self.queue_delay.is_standing(),
            fell_at: self.surge.fell_at(),
            round_trip: self.round_trip.get(),
        };
        self.aimd.update(now, &evidence);
    }

    /// A probe does not lower the estimate far below what comes through without it
    /// (`kProbeDropThroughputFraction`).
    fn floored(&self, rate: u64) -> u64 {
        let throughput = self.rates.map_or(0, |rates| rates.throughput);
        rate.max(scaled(throughput, PROBE_DROP_FACTOR).min(self.aimd.estimate()))
    }

    fn conclude(&mut self, now: Timestamp) {
        let before = self.estimate;
        self.estimate = self
            .aimd
            .estimate()
            .min(self.loss_based.estimate())
            .min(self.remb.limit(now))
            .clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        if self.estimate < before {
            self.probes.lowered(now, before, self.estimate);
        }
    }

    fn situation(&self, now: Timestamp) -> Situation {
        Situation {
            estimate: self.estimate,
            underused: self.is_underused(now),
            queue_is_empty: self.queue_delay.is_empty(),
            calm: self.is_calm() || self.watchdog.is_idle(now),
        }
    }

    /// By what was heard last. Once all video is paused and there is no sound, nothing is heard any
    /// more but of probes.
    fn is_calm(&self) -> bool {
        self.delay.usage() == Usage::Normal
            && self.loss_based.state() != LossState::Decreasing
            && !self.watchdog.is_overdue(self.round_trip.get())
    }

    /// A layer that leaves a sixth of the estimate unused is no limit of the application in
    /// libwebrtc's sense, which is made for encoders; but it is for a server that sends layers.
    fn is_underused(&self, now: Timestamp) -> bool {
        self.alr.was_limited(now, ALR_REMEMBERED) || !self.is_filled()
    }

    /// Whether about as much comes through as is estimated.
    fn is_filled(&self) -> bool {
        let full = scaled(self.estimate, FULL_USE);
        self.rates.is_none_or(|rates| rates.throughput >= full)
    }

    fn look_at_alr(&mut self, now: Timestamp) {
        let sent = core::mem::take(&mut self.sent_bytes);
        self.alr.update(now, sent, self.estimate);
    }

    fn poll_probes(&mut self, now: Timestamp) {
        let situation = self.situation(now);
        if let Some(begun) = self.probes.update(now, &situation) {
            // It left before. Where hardly anything has numbers it may be the bytes of seconds, and
            // the first packet of the probe would seem to be as large as all of them.
            self.untracked_bytes = 0;
            if self.watchdog.is_idle(now) {
                // What was lost before says nothing of the path now. With hardly anything to tell of,
                // it would be remembered for more than a minute, and forbid the result.
                self.loss_based = LossBased::default();
            }
            self.results
                .begin(begun.id, begun.packets_min, begun.bytes_min);
        }
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// `kStreamTimeOut`: after so long without feedback, delays are not compared with those before.
const STALE_MIN: Duration = Duration::from_secs(2);

const PROBE_DROP_FACTOR: f64 = 0.85;

/// `kAlrEndedTimeout`.
const ALR_REMEMBERED: Duration = Duration::from_secs(3);

/// What of the estimate is used by one who fills the link.
const FULL_USE: f64 = 0.85;

const CONGESTED_FOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
