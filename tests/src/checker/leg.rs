//! What one subscriber got of one subscription, looked at as a whole when all is over.

use shared::protocol::MediaKind;

use super::{Checker, Fates};
use crate::content::{Content, Ledger, Published};
use crate::subscriber::{Received, SubscribedTrack};

/// How much may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing between the first and the last packet: the network can be repaired.
    Complete,
    /// What the network took away for good, and nothing else.
    Accounted,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegSummary {
    /// Packets that came.
    pub packets: usize,
    /// Numbers that never came.
    pub holes: usize,
    /// Times that another encoding or track took over.
    pub switches: usize,
    /// Times that the server left something out and went on with the same encoding.
    pub restarts: usize,
}

/// Looks at one subscription. Faults go to the checker.
pub fn check_leg(
    client: usize,
    track: &SubscribedTrack,
    ledger: &Ledger,
    completeness: Completeness,
    checker: &mut Checker,
) -> LegSummary {
    let mut leg = Leg {
        client,
        track,
        ledger,
        checker,
        summary: LegSummary::default(),
    };
    leg.summary.packets = track.received.len();
    let holes = track.holes();
    leg.summary.holes = holes.len();
    let near = |index: u64| track.received.get(&index);
    // After a change of source, what was lost before it is not repaired any more.
    let is_excused = |hole: &u64| {
        let neighbours = (near(hole - 1), track.received.range(hole..).next());
        let at = neighbours
            .0
            .map(|packet| packet.at)
            .or_else(|| neighbours.1.map(|(_, next)| next.at));
        at.is_some_and(|at| track.is_near_a_change(at))
    };
    if completeness == Completeness::Complete
        && let Some(hole) = holes.iter().find(|hole| !is_excused(hole))
    {
        let (before, after) = (near(hole - 1), track.received.range(hole..).next());
        let (fates, asked) = (leg.down(*hole), track.asked.get(hole));
        leg.fault(&format!(
            "{} holes, of them {hole}: {fates:?}, asked {asked:?}, between {before:?} and {after:?}",
            holes.len()
        ));
    }
    // What comes after the first packet but belongs before it is a gift.
    let first = track.first.unwrap_or_default();
    let packets = track.received.range(first..);
    let packets: Vec<_> = packets.map(|(index, packet)| (*index, packet)).collect();
    if let Some((index, first)) = packets.first() {
        leg.starts_with_keyframe(*index, first);
    }
    for pair in packets.windows(2) {
        leg.pair(pair[0], pair[1]);
    }
    leg.no_content_twice(&packets);
    leg.summary
}

/// One subscription while it is looked at.
pub(super) struct Leg<'a> {
    client: usize,
    pub(super) track: &'a SubscribedTrack,
    pub(super) ledger: &'a Ledger,
    checker: &'a mut Checker,
    pub(super) summary: LegSummary,
}

/// A packet with all that is known of it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) index: u64,
    pub(super) packet: &'a Received,
    pub(super) published: &'a Published,
}

impl Leg<'_> {
    pub(super) fn fault(&mut self, what: &str) {
        let (client, ssrc) = (self.client, self.track.ssrc);
        self.checker
            .fault(format!("client {client}, leg {ssrc:x}: {what}"));
    }

    pub(super) fn known<'a>(ledger: &'a Ledger, (index, packet): (u64, &'a Received)) -> Known<'a> {
        Known {
            index,
            packet,
            published: ledger.get(packet.content).expect("checked when it came"),
        }
    }

    /// The first packet of all, if none before it was lost on the way down.
    fn starts_with_keyframe(&mut self, index: u64, first: &Received) {
        let key = |index| (self.client, self.track.ssrc, index);
        let was_first = self.checker.down.range(key(0)..key(index)).next().is_none();
        if was_first && !self.starts_keyframe(first.content) {
            self.fault(&format!("begins with {:?}", first.content));
        }
    }

    pub(super) fn starts_keyframe(&self, content: Content) -> bool {
        let published = self.ledger.get(content).expect("checked when it came");
        published.codec.kind() == MediaKind::Audio || (content.packet == 0 && published.is_key)
    }

    fn no_content_twice(&mut self, packets: &[(u64, &Received)]) {
        // Back at a source that it had before, a leg may begin a little before where it was.
        let settled = packets
            .iter()
            .filter(|(_, packet)| !self.track.is_near_a_change(packet.at));
        let mut contents: Vec<_> = settled.map(|(_, packet)| packet.content).collect();
        contents.sort_unstable();
        for pair in contents.windows(2) {
            if pair[0] == pair[1] {
                self.fault(&format!("{:?} came under two numbers", pair[0]));
            }
        }
    }

    /// What became of a packet on its way to the server.
    pub(super) fn up(&self, ssrc: u32, index: u64) -> Fates {
        self.checker
            .up
            .get(&(ssrc, index))
            .copied()
            .unwrap_or_default()
    }

    /// What became of a number of this leg on its way to the subscriber.
    pub(super) fn down(&self, index: u64) -> Fates {
        let key = (self.client, self.track.ssrc, index);
        self.checker.down.get(&key).copied().unwrap_or_default()
    }
}
