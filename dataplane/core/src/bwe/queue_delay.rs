//! How long packets wait on the way: their delay over the shortest of the last half minute, or over
//! that which has not changed for long. Not in libwebrtc, whose trend line tells whether a queue grows
//! but not whether there is one.

use super::feedback::{Batch, Received};

/// Takes packets as they are told of.
#[derive(Debug, Default)]
pub(super) struct QueueDelay {
    /// The shortest delay in this time and in the one before, whatever the clocks differ by;
    /// microseconds.
    present: Option<i64>,
    former: Option<i64>,
    began_at: i64,
    latest: Option<i64>,
    /// When it was empty last, and when it was looked at last.
    empty_at: Option<i64>,
    /// When it was short last.
    short_at: Option<i64>,
    heard_at: i64,
    level: Level,
}

/// For how long the delay has hardly changed.
#[derive(Debug, Default)]
struct Level {
    since: i64,
    /// The shortest and the longest delay since then.
    range: Option<(i64, i64)>,
    bytes: u64,
    lost_bytes: u64,
}

impl Level {
    /// Returns the shortest delay if it is that of the route: a queue would have changed by now, or
    /// dropped much of what it had no room for.
    fn add(&mut self, heard_at: i64, delay: i64, batch: &Batch) -> Option<i64> {
        let (shortest, longest) = self.range.unwrap_or((delay, delay));
        let (shortest, longest) = (shortest.min(delay), longest.max(delay));
        if longest - shortest > LEVEL_RANGE || self.range.is_none() {
            *self = Self {
                since: heard_at,
                range: Some((delay, delay)),
                ..Self::default()
            };
            return None;
        }
        self.range = Some((shortest, longest));
        self.bytes += batch.bytes;
        self.lost_bytes += batch.lost_bytes;
        let is_lossy = self.lost_bytes > self.bytes / 10;
        (heard_at - self.since >= LEVEL_MIN && !is_lossy).then_some(shortest)
    }
}

impl QueueDelay {
    /// Adds those of one feedback, of which we heard at `heard_at`.
    pub(super) fn add(&mut self, heard_at: i64, batch: &Batch) {
        let received = batch.received.iter();
        let delays = received.map(|packet| packet.arrived_at - packet.sent_at);
        let Some(shortest) = delays.min() else {
            return;
        };
        if let Some(of_route) = self.level.add(heard_at, shortest, batch) {
            self.present = Some(of_route);
            self.former = None;
            self.began_at = heard_at;
        }
        if heard_at - self.began_at >= WINDOW {
            self.former = self.present.take();
            self.began_at = heard_at;
        }
        self.present = Some(self.present.map_or(shortest, |least| least.min(shortest)));
        self.latest = Some(shortest);
        self.heard_at = heard_at;
        if self.is_empty() {
            self.empty_at = Some(heard_at);
        }
        if !self.is_deep() {
            self.short_at = Some(heard_at);
        }
    }

    /// Nothing was heard for long before `heard_at`: what a queue does now says nothing of that time.
    pub(super) fn resume(&mut self, heard_at: i64) {
        self.empty_at = self.empty_at.map(|_| heard_at);
        self.short_at = self.short_at.map(|_| heard_at);
        self.level = Level::default();
    }

    /// Microseconds that the luckiest packet of the last feedback waited; none if nothing came yet.
    pub(super) fn latest(&self) -> Option<i64> {
        Some(self.latest? - self.least()?)
    }

    /// Whether a packet hardly waited.
    pub(super) fn has_passed(&self, packet: &Received) -> bool {
        let delay = packet.arrived_at - packet.sent_at;
        self.least().is_some_and(|least| delay - least < PASSED_MAX)
    }

    fn least(&self) -> Option<i64> {
        [self.present, self.former].into_iter().flatten().min()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.latest().is_some_and(|delay| delay < EMPTY_MAX)
    }

    /// Whether it has not been empty for so long that it is not ours: it would have drained.
    pub(super) fn is_standing(&self) -> bool {
        self.empty_at
            .is_some_and(|empty| self.heard_at - empty >= STANDING_MIN)
    }

    /// Whether packets wait long now.
    pub(super) fn is_deep(&self) -> bool {
        self.latest().is_some_and(|delay| delay >= SHORT_MAX)
    }

    /// Whether it has been long for a while, so that a packet which is lost was one too many.
    pub(super) fn is_long(&self) -> bool {
        self.short_at
            .is_some_and(|short| self.heard_at - short >= LONG_MIN)
    }
}

/// Microseconds. So long, at most, a route that has become longer is taken for a queue.
const WINDOW: i64 = 15_000_000;

/// Microseconds. That of a queue which others fill goes up and down by more, and so does one of ours
/// since no two frames are equally large.
const LEVEL_MIN: i64 = 3_000_000;
const LEVEL_RANGE: i64 = 5_000;

/// Microseconds: the jitter that is left of the luckiest of some packets.
const EMPTY_MAX: i64 = 10_000;

/// Microseconds: what the jitter of any packet is below.
const PASSED_MAX: i64 = 25_000;

/// Microseconds.
const STANDING_MIN: i64 = 5_000_000;

/// Microseconds: more is heard in a conversation.
const SHORT_MAX: i64 = 100_000;

/// Microseconds. A key frame makes it long for a moment, too.
const LONG_MIN: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feedback of two packets with these delays, in milliseconds, at this time in milliseconds.
    fn add(queue: &mut QueueDelay, at: i64, delays: [i64; 2]) {
        add_lossy(queue, at, delays, 0);
    }

    fn add_lossy(queue: &mut QueueDelay, at: i64, delays: [i64; 2], lost_bytes: u64) {
        let received = delays.map(|delay| Received {
            sent_at: at * 1_000,
            arrived_at: (at + delay) * 1_000,
            bytes: 1000,
            cluster: 0,
        });
        let batch = Batch {
            received: received.to_vec(),
            bytes: 2_000 + lost_bytes,
            lost_bytes,
            ..Batch::default()
        };
        queue.add(at * 1_000, &batch);
    }

    #[test]
    fn the_luckiest_packet_counts() {
        let mut queue = QueueDelay::default();
        assert!(queue.latest().is_none() && !queue.is_empty());
        add(&mut queue, 1_000, [70, 50]);
        add(&mut queue, 2_000, [90, 110]);
        assert_eq!(queue.latest(), Some(40_000));
        assert!(!queue.is_empty());
        add(&mut queue, 3_000, [59, 300]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_silence_does_not_make_it_long() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1_000, [50, 50]);
        queue.resume(9_000_000);
        add(&mut queue, 9_000, [200, 200]);
        assert!(queue.is_deep() && !queue.is_long() && !queue.is_standing());
        add(&mut queue, 11_000, [200, 200]);
        assert!(queue.is_long());
    }

    #[test]
    fn one_that_is_never_short_for_a_second_is_long() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1_000, [50, 50]);
        assert!(!queue.is_long() && !queue.is_deep());
        add(&mut queue, 2_000, [160, 170]);
        assert!(queue.is_long() && queue.is_deep());
        add(&mut queue, 3_000, [140, 300]);
        assert!(!queue.is_long() && !queue.is_deep());
    }

    #[test]
    fn clocks_may_differ_by_anything() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1_000, [-7_000_000, -7_000_000]);
        add(&mut queue, 2_000, [-6_999_980, -6_999_970]);
        assert_eq!(queue.latest(), Some(20_000));
    }

    #[test]
    fn a_delay_that_has_not_changed_for_seconds_is_that_of_the_route() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 0, [50, 50]);
        for step in 1..=30 {
            add(&mut queue, step * 100, [150 + step % 5, 170]);
            assert!(!queue.is_empty());
        }
        add(&mut queue, 3_100, [152, 170]);
        assert!(queue.is_empty() && !queue.is_standing());
        assert_eq!(queue.latest(), Some(2_000));
    }

    #[test]
    fn a_delay_that_changes_is_that_of_a_queue() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 0, [50, 50]);
        for step in 1..140 {
            add(&mut queue, step * 100, [150 + step % 7, 170]);
            assert!(!queue.is_empty());
            assert_eq!(queue.is_standing(), step >= 50);
        }
    }

    #[test]
    fn one_at_which_much_is_lost_is_that_of_a_full_queue() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 0, [50, 50]);
        for step in 1..140 {
            add_lossy(&mut queue, step * 100, [150, 150], 300);
            assert!(!queue.is_empty());
        }
    }

    #[test]
    fn a_longer_route_on_which_delays_vary_is_believed_after_half_a_minute() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1_000, [50, 50]);
        for second in 2..40 {
            add(&mut queue, second * 1_000, [150 + second % 2 * 7, 160]);
            assert_eq!(queue.is_empty(), second >= 30, "{second}");
        }
        assert!(!queue.is_standing());
    }
}
