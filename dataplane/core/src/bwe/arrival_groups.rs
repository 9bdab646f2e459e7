//! Groups of packets that were sent together, and how much later than it was sent each group came
//! (`inter_arrival_delta.cc`, `InterArrivalDelta`; draft-ietf-rmcat-gcc-02 §5.2).

use super::feedback::Received;

/// Takes packets in the order of arrival, tells of groups.
#[derive(Debug, Default)]
pub(super) struct ArrivalGroups {
    current: Option<Group>,
    previous: Option<Group>,
    reordered: u8,
}

/// From one group to the next, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupDelta {
    /// Between their last packets, when they were sent.
    pub(super) sent: i64,
    /// Between their last packets, when they came.
    pub(super) arrived: i64,
    /// When the later one came.
    pub(super) at: i64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_at: i64,
    last_sent_at: i64,
    first_arrived_at: i64,
    last_arrived_at: i64,
    last_heard_at: i64,
}

impl ArrivalGroups {
    /// Adds a packet of which we heard at `heard_at`; if it begins a group, the one before it is
    /// whole and is compared with its predecessor.
    pub(super) fn add(&mut self, heard_at: i64, packet: &Received) -> Option<GroupDelta> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group::new(heard_at, packet));
            return None;
        };
        // It was overtaken by this group.
        if packet.sent_at < current.first_sent_at {
            return None;
        }
        if current.includes(packet) {
            current.last_sent_at = current.last_sent_at.max(packet.sent_at);
            current.last_arrived_at = packet.arrived_at;
            current.last_heard_at = heard_at;
            return None;
        }
        let whole = *current;
        self.current = Some(Group::new(heard_at, packet));
        let previous = self.previous.replace(whole)?;
        self.compare(&previous, &whole)
    }

    fn compare(&mut self, previous: &Group, whole: &Group) -> Option<GroupDelta> {
        let delta = GroupDelta {
            sent: whole.last_sent_at - previous.last_sent_at,
            arrived: whole.last_arrived_at - previous.last_arrived_at,
            at: whole.last_arrived_at,
        };
        let heard = whole.last_heard_at - previous.last_heard_at;
        if delta.arrived - heard >= OFFSET_MAX {
            *self = Self::default();
            return None;
        }
        if delta.arrived < 0 {
            self.reordered += 1;
            if self.reordered >= REORDERED_MAX {
                *self = Self::default();
            }
            return None;
        }
        self.reordered = 0;
        Some(delta)
    }
}

impl Group {
    const fn new(heard_at: i64, packet: &Received) -> Self {
        Self {
            first_sent_at: packet.sent_at,
            last_sent_at: packet.sent_at,
            first_arrived_at: packet.arrived_at,
            last_arrived_at: packet.arrived_at,
            last_heard_at: heard_at,
        }
    }

    const fn includes(&self, packet: &Received) -> bool {
        self.is_burst_with(packet) || packet.sent_at - self.first_sent_at <= GROUP_SPAN
    }

    /// Whether the packet was held up together with the group and came right behind it: then what
    /// lies between their arrivals says nothing about a queue.
    const fn is_burst_with(&self, packet: &Received) -> bool {
        let sent = packet.sent_at - self.last_sent_at;
        let arrived = packet.arrived_at - self.last_arrived_at;
        if sent == 0 {
            return true;
        }
        arrived < sent
            && arrived <= BURST_GAP_MAX
            && packet.arrived_at - self.first_arrived_at < BURST_SPAN_MAX
    }
}

/// Packets sent within this belong together (`kSendTimeGroupLength`).
const GROUP_SPAN: i64 = 5_000;

/// `kBurstDeltaThreshold`.
const BURST_GAP_MAX: i64 = 5_000;

/// `kMaxBurstDuration`.
const BURST_SPAN_MAX: i64 = 100_000;

/// Further apart by the receiver's clock than by ours: it was set (`kArrivalTimeOffsetThreshold`).
const OFFSET_MAX: i64 = 3_000_000;

/// Groups in a row that came before their predecessors (`kReorderedResetThreshold`).
const REORDERED_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// The deltas that packets give, each (sent at, arrived at) in milliseconds. What came is told
    /// 20 ms after it should have come.
    fn deltas(packets: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut groups = ArrivalGroups::default();
        let add = |&(sent, arrived): &(i64, i64)| {
            let packet = Received {
                sent_at: sent * 1000,
                arrived_at: arrived * 1000,
                bytes: 1200,
                cluster: 0,
            };
            groups.add((sent + 70) * 1000, &packet)
        };
        let found = packets.iter().filter_map(add);
        found
            .map(|delta| (delta.sent / 1000, delta.arrived / 1000))
            .collect()
    }

    #[test]
    fn a_group_is_told_of_when_the_next_but_one_begins() {
        assert_eq!(deltas(&[(0, 50), (20, 70), (40, 95)]), [(20, 20)]);
        assert_eq!(
            deltas(&[(0, 50), (20, 70), (40, 95), (60, 110)]),
            [(20, 20), (20, 25)]
        );
    }

    #[test]
    fn packets_within_five_milliseconds_are_one_group() {
        // The groups end with the packets sent at 5, 25 and 45.
        let packets = [
            (0, 50),
            (5, 56),
            (20, 70),
            (25, 80),
            (40, 99),
            (45, 109),
            (60, 120),
        ];
        assert_eq!(deltas(&packets), [(20, 24), (20, 29)]);
    }

    #[test]
    fn packets_sent_at_one_moment_are_one_group_however_long_they_take() {
        let packets = [(0, 50), (0, 90), (0, 130), (33, 140), (66, 180)];
        assert_eq!(deltas(&packets), [(33, 10)]);
    }

    #[test]
    fn packets_that_were_held_up_together_are_one_group() {
        // Nothing comes through for 100 ms, and then all at once.
        let packets = [
            (0, 50),
            (20, 70),
            (40, 190),
            (60, 191),
            (80, 192),
            (100, 193),
            (120, 213),
            (140, 233),
        ];
        assert_eq!(deltas(&packets), [(20, 20), (80, 123), (20, 20)]);
    }

    #[test]
    fn a_packet_that_was_overtaken_is_left_out() {
        assert_eq!(deltas(&[(0, 50), (20, 70), (10, 71), (40, 90)]), [(20, 20)]);
    }

    #[test]
    fn a_clock_that_is_set_gives_no_delta() {
        let packets = [
            (0, 50),
            (20, 70),
            (40, 4090),
            (60, 4110),
            (80, 4130),
            (100, 4150),
            (120, 4170),
        ];
        assert_eq!(deltas(&packets), [(20, 20), (20, 20)]);
    }
}
