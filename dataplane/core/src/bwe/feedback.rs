//! Transport-wide feedback joined with what was sent: who came, when by our clock, and who did not.
//!
//! A subscriber chooses every bit of it, so: only what was sent is joined, each packet once; a time
//! that cannot be is not believed; and the work is bounded by what one compound may tell of.

use super::history::{HISTORY_MAX, History, Sent};
use super::units::{compact, compact_distance, micros};
use crate::rtcp::TransportFeedback;
use crate::time::Timestamp;

/// What one feedback told. One of these serves all sessions of a shard: its memory is taken once.
#[derive(Debug)]
pub struct Batch {
    /// Those that came, in the order in which they came.
    pub(super) received: Vec<Received>,
    /// Bytes of all packets that were told of, lost ones included.
    pub(super) bytes: u64,
    pub(super) lost_bytes: u64,
    /// Bytes of packets that came after they had been told to be lost.
    pub(super) recovered_bytes: u64,
    /// When the earliest and the latest of them were sent, in microseconds.
    pub(super) sent: Option<(i64, i64)>,
    /// The receiver's clock has jumped: earlier arrivals cannot be compared with these.
    pub(super) clock_jumped: bool,
}

/// A packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Microseconds by our clock.
    pub(super) sent_at: i64,
    /// Microseconds by our clock, plus a part that is the same for all packets.
    pub(super) arrived_at: i64,
    pub(super) bytes: u16,
    /// The probe that it was part of; zero for none.
    pub(super) cluster: u8,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            // Each packet of the history comes at most once.
            received: Vec::with_capacity(HISTORY_MAX),
            bytes: 0,
            lost_bytes: 0,
            recovered_bytes: 0,
            sent: None,
            clock_jumped: false,
        }
    }
}

impl Batch {
    /// Whether it told nothing new.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_none()
    }

    fn clear(&mut self) {
        self.received.clear();
        self.bytes = 0;
        self.lost_bytes = 0;
        self.recovered_bytes = 0;
        self.sent = None;
        self.clock_jumped = false;
    }

    fn add(&mut self, sent: Sent, arrived_at: Option<i64>) {
        let bytes = u64::from(sent.bytes);
        let (first, last) = self.sent.unwrap_or((sent.at, sent.at));
        self.sent = Some((first.min(sent.at), last.max(sent.at)));
        if sent.was_lost {
            self.recovered_bytes += bytes;
        } else {
            self.bytes += bytes;
        }
        let Some(arrived_at) = arrived_at else {
            self.lost_bytes += bytes;
            return;
        };
        self.received.push(Received {
            sent_at: sent.at,
            arrived_at,
            bytes: sent.bytes,
            cluster: sent.cluster,
        });
    }

    /// In the order of arrival; nearly always they are already.
    fn sort(&mut self) {
        if !self.received.is_sorted_by_key(|packet| packet.arrived_at) {
            self.received
                .sort_unstable_by_key(|packet| (packet.arrived_at, packet.sent_at));
        }
    }
}

/// Reads the feedback of one session.
#[derive(Debug, Default)]
pub(super) struct FeedbackReader {
    clock: Option<RemoteClock>,
}

/// How the receiver's reference times map to ours.
#[derive(Clone, Copy, Debug)]
struct RemoteClock {
    /// Of the last feedback: multiples of 64 ms, modulo 2^24.
    reference: u32,
    /// The same in microseconds by our clock.
    base: i64,
}

impl FeedbackReader {
    /// Fills `batch` with what is new in `feedback`.
    pub(super) fn read(
        &mut self,
        now: Timestamp,
        feedback: &TransportFeedback<'_>,
        history: &mut History,
        batch: &mut Batch,
    ) {
        batch.clear();
        let base = self.base(micros(now), feedback.reference_time, batch);
        let origin = i64::from(feedback.reference_time) * TICKS_PER_REFERENCE;
        let first = history.extend(feedback.base_sequence_number);
        for (number, (_, arrival)) in (first..history.next_number()).zip(feedback.arrivals()) {
            let Some(ticks) = arrival else {
                if let Some(sent) = history.lost(now, number) {
                    batch.add(sent, None);
                }
                continue;
            };
            let after = (ticks - origin) * MICROS_PER_TICK;
            // Neither here nor there: it came, or the receiver would not lie about it.
            if after.abs() > SPREAD_MAX {
                continue;
            }
            if let Some(sent) = history.received(now, number) {
                batch.add(sent, Some(base + after));
            }
        }
        batch.sort();
    }

    /// The reference time by our clock. Of all the times that the 24 bits may mean it is the one
    /// nearest to the last (`transport_feedback.cc`, `GetBaseDelta`).
    fn base(&mut self, now: i64, reference: u32, batch: &mut Batch) -> i64 {
        let ahead = self.clock.map(|clock| {
            // The upper bits of a number of 32 bits have the sign that is wanted.
            let ahead = compact_distance(clock.reference << 8, reference << 8) >> 8;
            clock.base + i64::from(ahead) * MICROS_PER_REFERENCE
        });
        let near = ahead.filter(|base| (base - now).abs() <= DRIFT_MAX);
        batch.clock_jumped = near.is_none() && ahead.is_some();
        let base = near.unwrap_or(now);
        self.clock = Some(RemoteClock { reference, base });
        base
    }
}

/// How long it takes the receiver's feedback to tell of the packet that came last, at least:
/// nothing. So this is the longest that the round trip may be.
pub(super) fn round_trip(now: Timestamp, batch: &Batch) -> Option<i64> {
    let last = batch.received.last()?;
    Some(i64::from(compact_distance(
        compact(last.sent_at),
        compact(micros(now)),
    )))
}

const TICKS_PER_REFERENCE: i64 = 256;
const MICROS_PER_TICK: i64 = 250;
const MICROS_PER_REFERENCE: i64 = 64_000;

/// A reference time further from now than this, by the first one, is another clock's. Two clocks
/// that differ by one part in ten thousand are so far apart after a day.
const DRIFT_MAX: i64 = 10_000_000;

/// Arrivals within one feedback are not further from its reference time than this; browsers send
/// one at least four times a second while packets come.
const SPREAD_MAX: i64 = 10_000_000;

#[cfg(test)]
mod tests;
