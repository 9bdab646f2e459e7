//! What a leg is told: how much there is room for, whether others are louder, what feeds it.

use arrayvec::ArrayVec;
use shared::id::PublicationId;
use shared::limits::CODECS_MAX;
use shared::protocol::{CodecMapping, LayerSelection};

use super::leg::Leg;

/// Which layer the path to the subscriber has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Whatever it wants: nobody estimates the path, or the leg keeps to one layer.
    #[default]
    Unlimited,
    /// This one.
    Layer(u8),
    /// None.
    Nothing,
}

impl Leg {
    /// What there is room for from now on; [`Self::select`] comes next. Without any, nothing leaves
    /// from here on, and what comes after begins with a key frame.
    pub(crate) fn set_allowance(&mut self, allowance: Allowance) {
        if allowance == Allowance::Nothing && self.allowance != allowance {
            self.interrupt();
        }
        self.allowance = allowance;
    }

    /// Whether others are so much louder that nothing of this is to leave; [`Self::select`] comes
    /// next. Returns whether that is new. What comes after goes on with the next number.
    pub(crate) fn set_outranked(&mut self, is_outranked: bool) -> bool {
        let is_new = self.is_outranked != is_outranked;
        self.is_outranked = is_outranked;
        if is_new && is_outranked {
            self.interrupt();
        }
        is_new
    }

    /// Whether others are louder.
    pub(crate) fn is_outranked(&self) -> bool {
        self.is_outranked
    }

    /// Whether [`Self::resubscribe`] with these would change anything.
    pub(crate) fn is_fed_as(
        &self,
        source: PublicationId,
        codecs: &[CodecMapping],
        selection: &LayerSelection,
    ) -> bool {
        self.source == source
            && self.codecs.as_slice() == codecs
            && self.selector.selection() == selection
    }

    /// Feeds the leg from `source` from now on, or from another of its layers; [`Self::select`]
    /// comes next. What leaves stays continuous; another publication's video begins with a key
    /// frame, until which nothing leaves. Returns whether the leg begins anew: what waits of it is
    /// not to leave any more.
    pub(crate) fn resubscribe(
        &mut self,
        source: PublicationId,
        codecs: &[CodecMapping],
        selection: LayerSelection,
    ) -> bool {
        let codecs: ArrayVec<_, CODECS_MAX> = codecs.iter().copied().take(CODECS_MAX).collect();
        // Other payload types would make repeated packets differ from the first ones.
        let begins_anew = source != self.source || codecs != *self.codecs;
        if begins_anew {
            self.rewriter.forget_sources();
            self.selector.forget_target();
            self.allowance = Allowance::Unlimited;
            self.target = None;
            self.awaits_keyframe = false;
            self.coming = None;
        }
        self.source = source;
        *self.codecs = codecs;
        self.mapping = None;
        self.selector.set_selection(selection);
        begins_anew
    }
}
