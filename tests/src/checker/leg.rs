//! What one subscriber got of one subscription, looked at as a whole when all is over.

use core::time::Duration;

use dataplane_core::time::Timestamp;
use shared::protocol::MediaKind;

use super::{Checker, Fates};
use crate::codecs::{FrameNumbers, picture_mask};
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

struct Leg<'a> {
    client: usize,
    track: &'a SubscribedTrack,
    ledger: &'a Ledger,
    checker: &'a mut Checker,
    summary: LegSummary,
}

/// A packet with all that is known of it.
#[derive(Clone, Copy)]
struct Known<'a> {
    index: u64,
    packet: &'a Received,
    published: &'a Published,
}

impl Leg<'_> {
    fn fault(&mut self, what: &str) {
        let (client, ssrc) = (self.client, self.track.ssrc);
        self.checker
            .fault(format!("client {client}, leg {ssrc:x}: {what}"));
    }

    fn known<'a>(ledger: &'a Ledger, (index, packet): (u64, &'a Received)) -> Known<'a> {
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

    fn starts_keyframe(&self, content: Content) -> bool {
        let published = self.ledger.get(content).expect("checked when it came");
        published.codec.kind() == MediaKind::Audio || (content.packet == 0 && published.is_key)
    }

    /// Two packets that came with nothing between them.
    fn pair(&mut self, first: (u64, &Received), second: (u64, &Received)) {
        let ledger = self.ledger;
        let (a, b) = (Self::known(ledger, first), Self::known(ledger, second));
        for index in a.index + 1..b.index {
            if self.down(index).arrived > 0 && !self.track.padding.contains(&index) {
                self.fault(&format!("{index} arrived, and was not noticed"));
            }
        }
        let (from, to) = (a.packet.content, b.packet.content);
        if from.track == to.track
            && [a, b]
                .iter()
                .any(|of| self.track.is_near_a_change(of.packet.at))
        {
            self.there_and_back(a, b);
        } else if (from.track, from.layer) == (to.track, to.layer) {
            self.same_source(a, b);
        } else {
            self.summary.switches += 1;
            self.switch(a, b);
        }
    }

    /// To another source and back again before anything of it came: only time must not go back.
    fn there_and_back(&mut self, a: Known<'_>, b: Known<'_>) {
        let ticks = b.packet.timestamp.wrapping_sub(a.packet.timestamp) as i32;
        if ticks < 0 {
            self.fault(&format!(
                "time goes back by {ticks} ticks at {:?}",
                b.packet.content
            ));
        }
    }

    /// Numbers, timestamps and picture ids keep their distance to those of the publisher.
    fn same_source(&mut self, a: Known<'_>, b: Known<'_>) {
        let (from, to) = (a.packet, b.packet);
        if b.published.index <= a.published.index {
            self.fault(&format!("{:?} comes before {:?}", from.content, to.content));
            return;
        }
        let ticks = to.timestamp.wrapping_sub(from.timestamp);
        let published = b.published.timestamp.wrapping_sub(a.published.timestamp);
        if ticks != published {
            self.fault(&format!(
                "at {:?}, {ticks} ticks instead of {published}",
                to.content
            ));
        }
        if let (Some(from), Some(to), Some(was), Some(is)) = (
            from.numbers,
            to.numbers,
            a.published.numbers,
            b.published.numbers,
        ) {
            let mask = picture_mask(b.published.codec);
            let further = ahead(from, to, mask);
            let expected = ahead(was, is, mask);
            if further != expected {
                let at = b.packet.content;
                self.fault(&format!(
                    "at {at:?}, {further:?} pictures and base layers further instead of {expected:?}"
                ));
            }
        }
        self.account(a, b);
    }

    /// Every packet that was published between two that came, and did not come itself.
    fn account(&mut self, a: Known<'_>, b: Known<'_>) {
        let ssrc = a.published.ssrc;
        let between = self
            .ledger
            .between(ssrc, a.published.index, b.published.index);
        let holes = b.index - a.index - 1;
        let published = b.published.index - a.published.index - 1;
        if holes > published {
            self.fault(&format!(
                "{holes} numbers for {published} packets before {}",
                b.index
            ));
        }
        // Without packets of padding between them, numbers and packets are one to one.
        let one_to_one = holes == published;
        for (index, content) in between {
            let up = self.up(ssrc, index);
            let out = a.index + (index - a.published.index);
            let down = self.down(out);
            let lost_on_the_way_down = one_to_one && down.sent > 0 && down.arrived == 0;
            let captured_at = self
                .ledger
                .get(content)
                .expect("from the ledger")
                .captured_at;
            let came_up_in_time = up
                .first_arrival
                .is_some_and(|at| self.is_in_time(a, b, at) && at.since(captured_at) < REPAIRS_END);
            if came_up_in_time && one_to_one && !lost_on_the_way_down {
                self.fault(&format!(
                    "{content:?} arrived ({up:?}) and was not sent ({down:?})"
                ));
            }
            if !one_to_one && holes == 0 && came_up_in_time {
                self.fault(&format!(
                    "{content:?} arrived and its number was given away"
                ));
            }
        }
    }

    /// A packet that comes much later than its neighbours may be given up.
    fn is_in_time(&self, a: Known<'_>, b: Known<'_>, at: Timestamp) -> bool {
        let neighbours = [a, b].map(|known| self.up(known.published.ssrc, known.published.index));
        let first = neighbours
            .iter()
            .filter_map(|fates| fates.first_arrival)
            .min();
        first.is_some_and(|first| at.since(first).as_millis() < 300)
    }

    /// Another encoding or track takes over: with a key frame, one picture on, later in time.
    fn switch(&mut self, a: Known<'_>, b: Known<'_>) {
        let (from, to) = (a.packet, b.packet);
        let ticks = to.timestamp.wrapping_sub(from.timestamp) as i32;
        if ticks <= 0 {
            self.fault(&format!(
                "time goes back by {ticks} ticks at {:?}",
                to.content
            ));
        }
        let rate = f64::from(self.track.codec.clock_rate());
        let seconds = f64::from(ticks) / rate;
        let captured = b.published.captured_at.as_nanos() as f64 / 1e9
            - a.published.captured_at.as_nanos() as f64 / 1e9;
        if (seconds - captured).abs() > SWITCH_TOLERANCE_SECONDS {
            self.fault(&format!(
                "a switch takes {seconds} s, its media {captured} s"
            ));
        }
        if b.index > a.index + 1 {
            return; // What the switch began with was lost.
        }
        if !self.starts_keyframe(to.content) {
            self.fault(&format!("a switch begins with {:?}", to.content));
        }
        if let (Some(from), Some(to)) = (from.numbers, to.numbers) {
            let (pictures, bases) = ahead(from, to, picture_mask(b.published.codec));
            if pictures != 1 || bases.is_some_and(|bases| bases != 1) {
                self.fault(&format!(
                    "a switch goes {pictures} pictures, {bases:?} base layers on"
                ));
            }
        }
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

    fn up(&self, ssrc: u32, index: u64) -> Fates {
        self.checker
            .up
            .get(&(ssrc, index))
            .copied()
            .unwrap_or_default()
    }

    fn down(&self, index: u64) -> Fates {
        let key = (self.client, self.track.ssrc, index);
        self.checker.down.get(&key).copied().unwrap_or_default()
    }
}

/// How many pictures, and pictures of the lowest temporal layer, one frame is ahead of another.
fn ahead(from: FrameNumbers, to: FrameNumbers, mask: u16) -> (u16, Option<u8>) {
    let bases = to.base.zip(from.base);
    (
        to.picture.wrapping_sub(from.picture) & mask,
        bases.map(|(to, from)| to.wrapping_sub(from)),
    )
}

/// How far the timestamps of a switch may be from the truth: before sender reports have come,
/// times of arrival are all that is known.
const SWITCH_TOLERANCE_SECONDS: f64 = 0.5;

/// Later than this, a repair may find that the cache has gone on: that of audio holds little more
/// than a second.
const REPAIRS_END: Duration = Duration::from_millis(800);
