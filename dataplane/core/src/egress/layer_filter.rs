//! Which frames of a stream with layers one leg gets.
//!
//! The owner says which sub-layer it wants the leg to get at most; the filter goes there as soon as
//! the stream allows. It goes down in frame rate with the next picture. In every other direction it
//! goes where a picture begins that can be decoded and says that what follows can be, too. A picture
//! of which something has left is finished with the same spatial layers, so that the marker stands
//! where the picture ends. No frame is cut in half.
//!
//! As a safeguard against streams that say what is not so, a frame that refers to one which was
//! withheld is withheld too.

use crate::ingress::sub_layers::{LayerPosition, SubLayer};

/// One leg's choice of the frames of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerFilter {
    wanted: SubLayer,
    current: SubLayer,
    /// Of the frame that is being decided on; none before the first.
    frame: Option<u16>,
    verdict: Verdict,
    /// RTP timestamp of the picture, as the publisher sent it.
    picture: u32,
    /// Something of the picture has left.
    picture_has_left: bool,
    /// The frames that were withheld: bit `n` is the one `n` before the present frame.
    withheld: u64,
    /// The frames that have not come, or late, in the same way.
    missed: u64,
    /// The receiver was told of a cut, and not yet of its end.
    has_cut: bool,
    needs_keyframe: bool,
    /// Pictures of the lowest temporal layer that came while a higher one was waited for.
    waited: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It leaves.
    Forward,
    /// It does not.
    Withhold,
}

/// What becomes of a packet, and whether it is the first of its frame that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The same for all packets of a frame.
    pub(crate) verdict: Verdict,
    /// No packet of the frame came before.
    pub(crate) is_first: bool,
}

impl LayerFilter {
    /// A filter for a stream of which everything has been forwarded so far, up to the picture with
    /// this timestamp of the publisher's.
    pub(crate) fn new(wanted: SubLayer, picture: Option<u32>) -> Self {
        Self {
            wanted,
            current: SubLayer::TOP,
            frame: None,
            verdict: Verdict::Forward,
            picture: picture.unwrap_or_default(),
            picture_has_left: picture.is_some(),
            withheld: 0,
            missed: 0,
            has_cut: false,
            needs_keyframe: false,
            waited: 0,
        }
    }

    /// What is to be forwarded at most.
    pub(crate) fn set_wanted(&mut self, wanted: SubLayer) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.needs_keyframe = false;
            self.waited = 0;
        }
    }

    /// What is being forwarded at most.
    pub(crate) fn current(&self) -> SubLayer {
        self.current
    }

    /// What the receiver is to be told of what it gets; none if it gets everything since the last
    /// key frame.
    pub(crate) fn cut(&self) -> Option<SubLayer> {
        self.has_cut.then_some(self.current)
    }

    /// Whether only a key frame leads to what is wanted.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// A stream begins to be forwarded, with a key frame.
    pub(crate) fn start(&mut self, timestamp: u32, position: Option<&LayerPosition>) {
        *self = Self {
            current: self.wanted,
            frame: position.map(|position| position.frame),
            has_cut: self.wanted != SubLayer::TOP,
            ..Self::new(self.wanted, Some(timestamp))
        };
    }

    /// Decides on the next packet in the order of sequence numbers. `timestamp` is that of the
    /// publisher.
    pub(crate) fn decide(&mut self, timestamp: u32, position: &LayerPosition) -> Decision {
        let is_first = self.frame != Some(position.frame);
        if is_first {
            self.begin_frame(timestamp, position);
        }
        Decision {
            verdict: self.verdict,
            is_first,
        }
    }

    fn begin_frame(&mut self, timestamp: u32, position: &LayerPosition) {
        if let Some(before) = self.frame.replace(position.frame) {
            let ahead = u32::from(position.frame.wrapping_sub(before));
            // What is further back than the masks reach cannot be referred to either.
            let shifted = |mask: u64| mask.checked_shl(ahead).unwrap_or_default();
            self.withheld = shifted(self.withheld);
            self.missed = shifted(self.missed) | shifted(1).wrapping_sub(2);
        }
        if self.picture != timestamp {
            self.picture = timestamp;
            self.picture_has_left = false;
        }
        let is_decodable = position.references & self.withheld >> 1 == 0;
        if position.starts_frame {
            self.go_on(position, is_decodable);
        }
        self.look_out(position, is_decodable);
        let is_whole = self.current == SubLayer::TOP;
        self.has_cut = !is_whole || self.has_cut && !position.switches_to.contains(SubLayer::TOP);
        if position.needed_by.contains(self.current) && is_decodable {
            self.verdict = Verdict::Forward;
            self.picture_has_left = true;
        } else {
            self.verdict = Verdict::Withhold;
            self.withheld |= 1;
        }
    }

    /// Goes towards what is wanted, as far as this frame allows.
    fn go_on(&mut self, position: &LayerPosition, is_decodable: bool) {
        let starts_picture = !self.picture_has_left;
        if starts_picture {
            self.current.temporal = self.current.temporal.min(self.wanted.temporal);
        }
        if self.has_arrived(position) {
            // The stream has nothing that would tell the two apart.
            if starts_picture {
                self.current = self.wanted;
            }
        } else if is_decodable && let Some(next) = self.next(position) {
            let arrives = next == self.wanted.up_to(position.top);
            self.current = if arrives { self.wanted } else { next };
        } else if starts_picture
            && self.goes_down(position)
            && position.needed_by.contains(self.wanted)
        {
            // Without inter-layer prediction the lower layer waits for a key frame. Until then,
            // fewer frames.
            self.current.temporal = 0;
        }
    }

    fn has_arrived(&self, position: &LayerPosition) -> bool {
        self.current.up_to(position.top) == self.wanted.up_to(position.top)
    }

    fn goes_down(&self, position: &LayerPosition) -> bool {
        self.wanted.spatial < self.current.spatial.min(position.top.spatial)
    }

    /// The nearest to what is wanted that one can go to with this frame. In a picture of which
    /// something has left, only the frame rate can still go up.
    fn next(&self, position: &LayerPosition) -> Option<SubLayer> {
        let current = self.current.up_to(position.top);
        let goal = self.wanted.up_to(position.top);
        let to = |spatial: u8, temporal: u8| {
            let to = SubLayer { spatial, temporal };
            self.leads_to(position, to).then_some(to)
        };
        let best = |spatial: u8, above: u8| {
            let mut temporals = (above..=goal.temporal).rev();
            temporals.find_map(|temporal| to(spatial, temporal))
        };
        if self.goes_down(position) {
            let mut lower = goal.spatial..current.spatial;
            return lower.find_map(|spatial| best(spatial, 0).filter(|_| !self.picture_has_left));
        }
        let mut higher = (current.spatial + 1..=goal.spatial).rev();
        let higher = higher.find_map(|spatial| best(spatial, 0).filter(|_| !self.picture_has_left));
        higher.or_else(|| best(current.spatial, current.temporal + 1))
    }

    /// Whether one can go from the present sub-layer to another with this frame.
    fn leads_to(&self, position: &LayerPosition, to: SubLayer) -> bool {
        let current = self.current.up_to(position.top);
        let is_step = position.is_temporal_step
            && to.spatial == current.spatial
            && to.temporal == current.temporal + 1
            && to.temporal == position.sub_layer.temporal;
        // What the lower layer needs has been forwarded for the upper one.
        let is_part = to.spatial < current.spatial
            && to.temporal <= current.temporal
            && position.needed_by.contains(current);
        // Whether a missed frame can be decoded is not known, even if it comes late and leaves: maybe
        // what it refers to was withheld. For a step or a part, all of it was to be forwarded.
        let is_switch =
            position.switches_to.contains(to) && position.references & self.missed >> 1 == 0;
        position.needed_by.contains(to) && (is_switch || is_step || is_part)
    }

    /// Sees whether only a key frame helps. The lowest temporal layer tells, since all else can wait
    /// for it.
    fn look_out(&mut self, position: &LayerPosition, is_decodable: bool) {
        if position.sub_layer.temporal > 0 {
            return;
        }
        let is_needed = position.needed_by.contains(self.current);
        let top = position.top.spatial;
        // A picture that has begun to leave is finished first, and the next may lead down.
        let is_finished = self.goes_down(position) && self.picture_has_left;
        let waits = self.wanted.spatial.min(top) != self.current.spatial.min(top)
            && position.starts_frame
            && position.needed_by.contains(self.wanted)
            && !is_finished;
        if waits || is_needed && !is_decodable {
            self.needs_keyframe = true;
        } else if is_needed && self.has_arrived(position) {
            self.needs_keyframe = false;
            self.waited = 0;
        } else if is_needed && position.starts_frame {
            self.waited = self.waited.saturating_add(1);
            self.needs_keyframe |= self.waited >= WAITED_MAX;
        }
    }
}

/// A stream that shows no way up in frame rate in so many pictures of its lowest temporal layer, about
/// four seconds, has none but a key frame.
const WAITED_MAX: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::sub_layers::SubLayerSet;

    const LOW: SubLayer = SubLayer {
        spatial: 0,
        temporal: 0,
    };
    const HIGH: SubLayer = SubLayer {
        spatial: 0,
        temporal: 1,
    };

    /// A frame of a stream with two temporal layers, where nothing says that one can go up.
    fn frame(number: u16, sub_layer: SubLayer) -> LayerPosition {
        LayerPosition {
            sub_layer,
            top: HIGH,
            starts_frame: true,
            ends_frame: true,
            is_temporal_step: false,
            frame: number,
            references: 0,
            needed_by: SubLayerSet::at_least(sub_layer),
            switches_to: SubLayerSet::NONE,
            targets: None,
        }
    }

    fn verdict(filter: &mut LayerFilter, position: &LayerPosition) -> Verdict {
        filter.decide(position.frame.into(), position).verdict
    }

    #[test]
    fn a_picture_of_which_something_has_left_is_finished() {
        let mut filter = LayerFilter::new(LOW, Some(7));
        assert_eq!(verdict(&mut filter, &frame(7, HIGH)), Verdict::Forward);
        assert_eq!(verdict(&mut filter, &frame(8, HIGH)), Verdict::Withhold);
    }

    #[test]
    fn no_key_frame_is_needed_to_go_down_behind_a_picture_that_has_begun_to_leave() {
        let [base, middle, upper] = [0, 1, 2].map(|spatial| SubLayer {
            spatial,
            temporal: 0,
        });
        let of = |number, sub_layer| LayerPosition {
            top: upper,
            ..frame(number, sub_layer)
        };
        let mut filter = LayerFilter::new(SubLayer::TOP, Some(6));
        filter.decide(7, &of(7, base));
        filter.set_wanted(middle);
        let rest = [(8, middle), (9, upper)].map(|(number, sub_layer)| of(number, sub_layer));
        for position in &rest {
            assert_eq!(filter.decide(7, position).verdict, Verdict::Forward);
            assert!(!filter.needs_keyframe());
        }
        filter.decide(10, &of(10, base));
        assert_eq!(filter.decide(10, &of(12, upper)).verdict, Verdict::Withhold);
        assert_eq!(filter.current(), middle);
        assert!(!filter.needs_keyframe());
    }

    #[test]
    fn the_packets_of_a_frame_share_its_fate_and_only_the_first_is_first() {
        let mut filter = LayerFilter::new(LOW, None);
        let start = frame(7, HIGH);
        let rest = LayerPosition {
            starts_frame: false,
            ..start
        };
        let decisions = [start, rest].map(|position| filter.decide(7, &position));
        assert!(decisions.iter().all(|d| d.verdict == Verdict::Withhold));
        assert_eq!(decisions.map(|decision| decision.is_first), [true, false]);
    }

    #[test]
    fn what_refers_to_a_withheld_frame_is_withheld_too() {
        let mut filter = LayerFilter::new(LOW, None);
        assert_eq!(verdict(&mut filter, &frame(7, HIGH)), Verdict::Withhold);
        let mut liar = frame(9, LOW);
        liar.references = 0b10;
        assert_eq!(verdict(&mut filter, &liar), Verdict::Withhold);
        assert!(filter.needs_keyframe());
        let mut honest = frame(10, LOW);
        honest.references = 0b100_0000;
        assert_eq!(verdict(&mut filter, &honest), Verdict::Forward);
        assert!(!filter.needs_keyframe());
    }

    #[test]
    fn a_stream_that_shows_no_way_up_is_asked_for_a_key_frame_after_a_while() {
        let mut filter = LayerFilter::new(LOW, None);
        verdict(&mut filter, &frame(0, LOW));
        filter.set_wanted(HIGH);
        let mut pictures = (1..).map(|number| frame(number, [LOW, HIGH][usize::from(number % 2)]));
        let mut base_pictures = 0;
        while !filter.needs_keyframe() {
            let position = pictures.next().unwrap();
            base_pictures += u8::from(position.sub_layer == LOW);
            verdict(&mut filter, &position);
        }
        assert_eq!(base_pictures, WAITED_MAX);
        assert_eq!(filter.current(), LOW);
        let key = LayerPosition {
            switches_to: SubLayerSet::at_least(LOW),
            ..frame(200, LOW)
        };
        assert_eq!(verdict(&mut filter, &key), Verdict::Forward);
        assert_eq!(filter.current(), HIGH);
        assert!(!filter.needs_keyframe());
    }

    #[test]
    fn a_jump_of_frame_numbers_forgets_what_was_withheld() {
        let mut filter = LayerFilter::new(LOW, None);
        verdict(&mut filter, &frame(7, HIGH));
        let mut later = frame(7 + 64, LOW);
        later.references = u64::MAX;
        assert_eq!(verdict(&mut filter, &later), Verdict::Forward);
    }
}
