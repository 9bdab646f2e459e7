//! Two packets that came with nothing between them: whether the second may follow the first.

use std::collections::BTreeSet;

use super::leg::{Known, Leg};
use crate::codecs::{FrameNumbers, picture_mask};
use crate::subscriber::Received;
use shared::protocol::Codec;

impl Leg<'_> {
    /// Looks at both.
    pub(super) fn pair(&mut self, first: (u64, &Received), second: (u64, &Received)) {
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
        } else if (from.track, from.layer) != (to.track, to.layer) {
            self.summary.switches += 1;
            self.switch(a, b);
        } else if self.restarts(a, b) {
            self.summary.restarts += 1;
            self.switch(a, b);
        } else {
            self.same_source(a, b);
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

    /// Whether what was published between them may have been left out on purpose, up to a key frame:
    /// there are fewer numbers than packets. If the packets that it began with were lost, it shows in
    /// a key frame among those.
    fn restarts(&self, a: Known<'_>, b: Known<'_>) -> bool {
        let published = b.published.index.saturating_sub(a.published.index);
        if !self.track.may_be_cut || b.index - a.index >= published {
            return false;
        }
        let ssrc = a.published.ssrc;
        let (after, before) = (a.published.index, b.published.index);
        let mut between = self.ledger.between(ssrc, after, before).into_iter();
        let has_lost = b.index > a.index + 1;
        self.starts_keyframe(b.packet.content)
            || has_lost && between.any(|(_, content)| self.starts_keyframe(content))
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
        self.pictures(a, b);
        self.account(a, b);
    }

    /// How many pictures the second packet is further, and how many of the lowest temporal layer.
    fn pictures(&mut self, a: Known<'_>, b: Known<'_>) {
        let (Some(from), Some(to), Some(was), Some(is)) = (
            a.packet.numbers,
            b.packet.numbers,
            a.published.numbers,
            b.published.numbers,
        ) else {
            return;
        };
        let codec = b.published.codec;
        let mask = picture_mask(codec);
        let (further, expected) = (ahead(from, to, mask), ahead(was, is, mask));
        // Pictures of VP8 that are left out leave no hole in the picture ids.
        let least = if self.track.may_be_cut && codec == Codec::Vp8 {
            expected.0 - self.withheld_pictures(a, b).min(expected.0)
        } else {
            expected.0
        };
        if !(least..=expected.0).contains(&further.0) || further.1 != expected.1 {
            let at = b.packet.content;
            self.fault(&format!(
                "at {at:?}, {further:?} pictures and base layers further instead of {expected:?}"
            ));
        }
    }

    /// How many pictures of upper temporal layers come after that of the first packet, at most: what
    /// is late of a withheld one has the number of the picture before, as the second packet may have.
    fn withheld_pictures(&self, a: Known<'_>, b: Known<'_>) -> u16 {
        let (after, until) = (a.published.index, b.published.index + 1);
        let between = self.ledger.between(a.published.ssrc, after, until);
        let upper = between
            .iter()
            .filter(|(_, content)| self.is_upper(*content));
        let frames: BTreeSet<_> = upper.map(|(_, content)| content.frame).collect();
        let others = frames
            .iter()
            .filter(|frame| **frame != a.packet.content.frame);
        others.count() as u16
    }

    /// Another encoding or track takes over, or the same one after a break: with a key frame, one
    /// picture on, later in time.
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
        if !is_in_step(seconds, captured) {
            self.fault(&format!(
                "a switch from {:?} to {:?} takes {seconds} s, its media {captured} s",
                from.content, to.content
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
            let is_same = a.published.ssrc == b.published.ssrc;
            // Upper temporal layers may have been left out of what goes on, whose pictures count.
            if pictures != 1 && !is_same || bases.is_some_and(|bases| bases != 1) {
                self.fault(&format!(
                    "a switch from {:?} to {:?} goes {pictures} pictures, {bases:?} base layers on",
                    a.packet.content, b.packet.content
                ));
            }
        }
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

/// Whether a switch may take so many seconds by its timestamps if its media was captured so much
/// later. A key frame that a repair brought may be older than what it follows, but time does not go
/// back.
fn is_in_step(seconds: f64, captured: f64) -> bool {
    let truth = captured.max(0.0);
    (seconds - truth).abs() <= SWITCH_TOLERANCE_SECONDS && captured >= -REPAIRED_SECONDS_MAX
}

/// How far the timestamps of a switch may be from the truth: before sender reports have come,
/// times of arrival are all that is known.
const SWITCH_TOLERANCE_SECONDS: f64 = 0.5;

/// How much older a key frame may be than what it follows: the server asks for it so long.
const REPAIRED_SECONDS_MAX: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_takes_as_long_as_its_media_by_and_large() {
        assert!(is_in_step(2.0, 2.4) && is_in_step(2.4, 2.0));
        assert!(!is_in_step(2.0, 2.6) && !is_in_step(2.6, 2.0));
    }

    #[test]
    fn a_switch_to_a_key_frame_that_a_repair_brought_takes_next_to_no_time() {
        assert!(is_in_step(1.0 / 90_000.0, -0.6));
        assert!(!is_in_step(0.6, -0.6));
    }

    #[test]
    fn a_switch_does_not_go_back_further_than_repairs_do() {
        assert!(!is_in_step(1.0 / 90_000.0, -2.1));
    }
}
