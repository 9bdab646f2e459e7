//! How much comes through, robust against bursts, gaps and reordering
//! (`robust_throughput_estimator.cc`).

use std::collections::VecDeque;

use super::feedback::Received;
use super::units::{bits_per_second, compact, compact_distance};

/// A window of the packets that came last, by arrival. What can be kept up from packet to packet is,
/// so that the window is hardly ever walked; and a frame that came in one piece stands there once,
/// since it is the memory of a window that was left alone for a while which costs time.
#[derive(Debug)]
pub(super) struct Throughput {
    window: VecDeque<Burst>,
    /// Of all packets in the window.
    bytes: u64,
    packets: usize,
    /// The two largest between arrivals; none if they have to be looked for.
    gaps: Option<Gaps>,
    /// Neighbours that were not sent in the order in which they came.
    inversions: usize,
    /// Of what left the window: nothing sent before it can tell the rate of sending.
    latest_discarded: Option<u32>,
}

/// Rates in bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    /// What came through: the lower of what was sent and what came, over a second or more.
    pub(super) throughput: u64,
    /// What came over the last moments: what the link carries, if it has a queue.
    pub(super) recent: u64,
    /// How much more slowly it came than it was sent, lately.
    pub(super) slowdown: Slowdown,
}

/// What a link does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slowdown {
    /// They come about as fast as they were sent.
    None,
    /// They come more slowly: others send too, or the link is the limit.
    Some,
    /// They come less than half as fast: the link is the limit.
    Much,
}

/// Packets that were sent at one moment and came at one.
#[derive(Clone, Copy, Debug)]
struct Burst {
    sent_at: u32,
    arrived_at: u32,
    bytes: u16,
    packets: u16,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Gaps {
    largest: i32,
    second: i32,
}

impl Default for Throughput {
    fn default() -> Self {
        Self {
            // One more than stays: a packet is added before the oldest goes.
            window: VecDeque::with_capacity(BURSTS_MAX + 1),
            bytes: 0,
            packets: 0,
            gaps: Some(Gaps::default()),
            inversions: 0,
            latest_discarded: None,
        }
    }
}

impl Throughput {
    /// Adds a packet that came.
    pub(super) fn add(&mut self, packet: &Received) {
        let added = Burst::of(packet);
        if self.window.back_mut().is_some_and(|last| last.take(&added)) {
            self.count(&added);
        } else {
            self.append(added);
        }
        while self.is_too_long() {
            self.discard();
        }
    }

    /// Adds what came apart from the last.
    fn append(&mut self, added: Burst) {
        let last = self.window.back().copied();
        let gap = last.map_or(0, |last| {
            compact_distance(last.arrived_at, added.arrived_at)
        });
        if gap < -REORDERING_MAX {
            self.reset();
            return;
        }
        self.count(&added);
        self.window.push_back(added);
        if gap < 0 {
            self.put_in_its_place();
        } else if let Some(last) = last {
            self.inversions += usize::from(last.is_sent_after(&added));
            if let Some(gaps) = &mut self.gaps {
                gaps.add(gap);
            }
        }
    }

    fn count(&mut self, added: &Burst) {
        self.bytes += u64::from(added.bytes);
        self.packets += usize::from(added.packets);
    }

    /// Forgets all.
    pub(super) fn reset(&mut self) {
        self.window.clear();
        self.bytes = 0;
        self.packets = 0;
        self.gaps = Some(Gaps::default());
        self.inversions = 0;
        self.latest_discarded = None;
    }

    /// None before there are [`PACKETS_MIN`] packets.
    pub(super) fn rates(&mut self) -> Option<Rates> {
        let (first, last) = (*self.window.front()?, *self.window.back()?);
        if self.packets < PACKETS_MIN {
            return None;
        }
        // The largest gap is taken to be as long as the second largest: a link that stood still and
        // then let everything through at once has not become slower. What the first packet took to
        // come is not known, so its bytes do not count.
        let gaps = self.gaps();
        let span = compact_distance(first.arrived_at, last.arrived_at) - gaps.largest + gaps.second;
        let received = rate(self.bytes - first.packet_bytes(), span);
        let throughput = self
            .sending()
            .rate()
            .map_or(received, |sent| sent.min(received));
        let recent = self.window.range(self.recent_from(&last)..);
        let first = recent.clone().next().copied().unwrap_or(last);
        let sending = Sending::of(recent.copied());
        if sending.packets < PACKETS_MIN {
            return Some(Rates {
                throughput,
                recent: throughput,
                slowdown: Slowdown::None,
            });
        }
        let span = compact_distance(first.arrived_at, last.arrived_at);
        let received = rate(sending.bytes - first.packet_bytes(), span);
        let sent = sending.rate().unwrap_or(received);
        Some(Rates {
            throughput,
            recent: received,
            slowdown: slowdown(sent, received),
        })
    }

    fn gaps(&mut self) -> Gaps {
        let pairs = self.window.iter().zip(self.window.iter().skip(1));
        *self.gaps.get_or_insert_with(|| {
            let mut gaps = Gaps::default();
            for (former, latter) in pairs {
                gaps.add(compact_distance(former.arrived_at, latter.arrived_at));
            }
            gaps
        })
    }

    fn sending(&self) -> Sending {
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else {
            return Sending::default();
        };
        let is_known = |burst: &&Burst| {
            self.latest_discarded
                .is_none_or(|discarded| compact_distance(discarded, burst.sent_at) >= 0)
        };
        if self.inversions > 0 || !is_known(&first) {
            return Sending::of(self.window.iter().filter(is_known).copied());
        }
        Sending {
            packets: self.packets,
            bytes: self.bytes,
            last_bytes: last.packet_bytes(),
            times: Some((first.sent_at, last.sent_at)),
        }
    }

    /// Feedback that overtook another: the last packet came before some of the others.
    fn put_in_its_place(&mut self) {
        let mut place = self.window.len() - 1;
        while place > 0 && self.is_before(place, place - 1) {
            self.window.swap(place, place - 1);
            place -= 1;
        }
        self.gaps = None;
        let pairs = self.window.iter().zip(self.window.iter().skip(1));
        self.inversions = pairs
            .filter(|(former, latter)| former.is_sent_after(latter))
            .count();
    }

    /// The place from which on packets are recent.
    fn recent_from(&self, last: &Burst) -> usize {
        let mut packets = 0;
        let newest_first = self.window.iter().rev();
        let recent = newest_first.take_while(|burst| {
            let age = compact_distance(burst.arrived_at, last.arrived_at);
            let is_recent = age <= RECENT_MIN || (packets < RECENT_PACKETS && age <= RECENT_MAX);
            packets += usize::from(burst.packets);
            is_recent
        });
        self.window.len() - recent.count()
    }

    fn is_before(&self, place: usize, other: usize) -> bool {
        let pair = (self.window.get(place), self.window.get(other));
        matches!(pair, (Some(a), Some(b)) if compact_distance(b.arrived_at, a.arrived_at) < 0)
    }

    fn is_too_long(&self) -> bool {
        let (Some(first), Some(last)) = (self.window.front(), self.window.back()) else {
            return false;
        };
        let span = compact_distance(first.arrived_at, last.arrived_at);
        let packets = self.packets - usize::from(first.packets);
        self.window.len() > BURSTS_MAX
            || span > SPAN_MAX
            || (packets >= PACKETS_KEPT && span > SPAN_KEPT)
    }

    fn discard(&mut self) {
        let Some(burst) = self.window.pop_front() else {
            return;
        };
        self.bytes -= u64::from(burst.bytes);
        self.packets -= usize::from(burst.packets);
        if let Some(next) = self.window.front() {
            self.inversions -= usize::from(burst.is_sent_after(next));
            let gap = compact_distance(burst.arrived_at, next.arrived_at);
            self.gaps = self.gaps.filter(|gaps| gap < gaps.second);
        }
        let later = self
            .latest_discarded
            .is_none_or(|latest| compact_distance(latest, burst.sent_at) > 0);
        if later {
            self.latest_discarded = Some(burst.sent_at);
        }
    }
}

impl Burst {
    fn of(packet: &Received) -> Self {
        Self {
            sent_at: compact(packet.sent_at),
            arrived_at: compact(packet.arrived_at),
            bytes: packet.bytes,
            packets: 1,
        }
    }

    /// Takes another in, if it belongs here and there is room; whether it did.
    fn take(&mut self, other: &Self) -> bool {
        let Some(bytes) = self.bytes.checked_add(other.bytes) else {
            return false;
        };
        let belongs = (self.sent_at, self.arrived_at) == (other.sent_at, other.arrived_at);
        if belongs {
            self.bytes = bytes;
            self.packets += other.packets;
        }
        belongs
    }

    /// Of one of the packets, as far as is known.
    fn packet_bytes(&self) -> u64 {
        (self.bytes / self.packets.max(1)).into()
    }

    const fn is_sent_after(&self, other: &Self) -> bool {
        compact_distance(other.sent_at, self.sent_at) > 0
    }
}

impl Gaps {
    fn add(&mut self, gap: i32) {
        self.second = self.second.max(gap.min(self.largest));
        self.largest = self.largest.max(gap);
    }
}

/// What some packets tell of the sending.
#[derive(Debug, Default)]
struct Sending {
    packets: usize,
    bytes: u64,
    last_bytes: u64,
    /// When the first and the last were sent.
    times: Option<(u32, u32)>,
}

impl Sending {
    fn of(bursts: impl Iterator<Item = Burst>) -> Self {
        let mut sending = Self::default();
        for burst in bursts {
            let at = burst.sent_at;
            let (first, last) = sending.times.unwrap_or((at, at));
            let is_first = compact_distance(at, first) > 0;
            let is_last = compact_distance(last, at) >= 0;
            sending.packets += usize::from(burst.packets);
            sending.bytes += u64::from(burst.bytes);
            if is_last {
                sending.last_bytes = burst.packet_bytes();
            }
            sending.times = Some((
                if is_first { at } else { first },
                if is_last { at } else { last },
            ));
        }
        sending
    }

    /// What follows the last packet is not known, so its bytes do not count. None if too few
    /// packets can tell.
    fn rate(&self) -> Option<u64> {
        let (first, last) = self.times?;
        let span = compact_distance(first, last);
        (self.packets >= PACKETS_MIN).then(|| rate(self.bytes - self.last_bytes, span))
    }
}

fn slowdown(sent: u64, received: u64) -> Slowdown {
    if received < sent / 2 {
        Slowdown::Much
    } else if received < sent / 10 * 9 {
        Slowdown::Some
    } else {
        Slowdown::None
    }
}

/// Bits a second.
fn rate(bytes: u64, span: i32) -> u64 {
    bits_per_second(bytes, span.max(SPAN_MIN).into())
}

/// `required_packets`.
const PACKETS_MIN: usize = 10;

/// `window_packets` and `min_window_duration`: a window that has more of both is cut.
const PACKETS_KEPT: usize = 20;
const SPAN_KEPT: i32 = 1_000_000;

/// `max_window_packets` (6 KB of memory; but frames that come in one piece count once) and
/// `max_window_duration`.
const BURSTS_MAX: usize = 500;
const SPAN_MAX: i32 = 5_000_000;

/// `kMaxReorderingTime`.
const REORDERING_MAX: i32 = 1_000_000;

/// Shorter spans count as this.
const SPAN_MIN: i32 = 1_000;

/// What is recent: 150 ms (the window of libwebrtc's older estimator, `bitrate_estimator.cc`), or up
/// to half a second if that gives fewer packets. The whole window would make a fall from 3 Mb/s to
/// 500 kb/s take five steps, each after another round trip, and mix a layer with the one before it.
const RECENT_MIN: i32 = 150_000;
const RECENT_MAX: i32 = 500_000;
const RECENT_PACKETS: usize = 20;

#[cfg(test)]
mod tests;
