//! How long packets wait on the way: their delay over the shortest of the last half minute. Not in
//! libwebrtc, whose trend line tells whether a queue grows but not whether there is one.

use super::feedback::Received;

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
}

impl QueueDelay {
    /// Adds those of one feedback, of which we heard at `heard_at`.
    pub(super) fn add(&mut self, heard_at: i64, received: &[Received]) {
        let delays = received
            .iter()
            .map(|packet| packet.arrived_at - packet.sent_at);
        let Some(shortest) = delays.min() else {
            return;
        };
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

    /// Microseconds that the luckiest packet of the last feedback waited; none if nothing came yet.
    pub(super) fn latest(&self) -> Option<i64> {
        let least = [self.present, self.former].into_iter().flatten().min()?;
        Some(self.latest? - least)
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

/// Microseconds. So long a route that has become longer is taken for a queue.
const WINDOW: i64 = 15_000_000;

/// Microseconds: the jitter that is left of the luckiest of some packets.
const EMPTY_MAX: i64 = 10_000;

/// Microseconds.
const STANDING_MIN: i64 = 5_000_000;

/// Microseconds: more is heard in a conversation.
const SHORT_MAX: i64 = 100_000;

/// Microseconds. A key frame makes it long for a moment, too.
const LONG_MIN: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feedback of two packets with these delays, in milliseconds, at this second.
    fn add(queue: &mut QueueDelay, at: i64, delays: [i64; 2]) {
        let received = delays.map(|delay| Received {
            sent_at: at * 1_000_000,
            arrived_at: at * 1_000_000 + delay * 1000,
            bytes: 1000,
            cluster: 0,
        });
        queue.add(at * 1_000_000, &received);
    }

    #[test]
    fn the_luckiest_packet_counts() {
        let mut queue = QueueDelay::default();
        assert!(queue.latest().is_none() && !queue.is_empty());
        add(&mut queue, 1, [70, 50]);
        add(&mut queue, 2, [90, 110]);
        assert_eq!(queue.latest(), Some(40_000));
        assert!(!queue.is_empty());
        add(&mut queue, 3, [59, 300]);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_that_is_never_short_for_a_second_is_long() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1, [50, 50]);
        assert!(!queue.is_long() && !queue.is_deep());
        add(&mut queue, 2, [160, 170]);
        assert!(queue.is_long() && queue.is_deep());
        add(&mut queue, 3, [140, 300]);
        assert!(!queue.is_long() && !queue.is_deep());
    }

    #[test]
    fn clocks_may_differ_by_anything() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1, [-7_000_000, -7_000_000]);
        add(&mut queue, 2, [-6_999_980, -6_999_970]);
        assert_eq!(queue.latest(), Some(20_000));
    }

    #[test]
    fn a_route_that_has_become_longer_is_believed_after_half_a_minute() {
        let mut queue = QueueDelay::default();
        add(&mut queue, 1, [50, 50]);
        for second in 2..15 {
            add(&mut queue, second, [150, 150]);
            assert!(!queue.is_empty());
            assert_eq!(queue.is_standing(), second >= 6);
        }
        for second in 15..40 {
            add(&mut queue, second, [150, 150]);
        }
        assert!(queue.is_empty() && !queue.is_standing());
    }
}
