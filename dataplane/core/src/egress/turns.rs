//! Packets that may have to wait for their turn: what each is to the leg, and what that means for
//! the source that it goes on with.

use super::leg::Leg;
use super::rewriter::Source;
use crate::ingress::CachedPacket;

/// What a packet is to a leg, before anything is decided: [`Leg::part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It goes on with what leaves, or with what waits to.
    Next,
    /// The key frame that is waited for: another source begins with it.
    Beginning,
    /// It is of a source that ends, since the next one's key frame waits already.
    Former,
    /// It came late, from before the key frame that waits: the leg begins behind it.
    Past,
    /// Nothing that leaves in order: another layer's, or one that others which left have overtaken.
    None,
}

/// A key frame that waits for its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    pub(super) source: Source,
    /// Of its first packet that came, as the source numbers.
    first: u64,
    timestamp: u32,
}

impl Coming {
    /// Whether this packet is of the key frame or behind it. A part of the key frame may come after
    /// its first one: parameter sets that were lost on the way, without which it is of no use.
    fn includes(&self, sequence_number: u64, packet: &CachedPacket<'_>) -> bool {
        sequence_number >= self.first || packet.timestamp == self.timestamp
    }
}

impl Leg {
    /// Packets that were to leave did not: nothing more of this source does before a key frame.
    pub(crate) fn interrupt(&mut self) {
        self.coming = None;
        self.rewriter.interrupt();
    }

    /// Nothing more leaves of what is forwarded, if the leg is to get another layer: it goes on with
    /// the key frame of that. Returns whether there was something to leave.
    pub(crate) fn leave_former(&mut self) -> bool {
        let is_another = |layer| self.target.is_some_and(|target| target != layer);
        let leaves = self.coming.is_none() && self.layer().is_some_and(is_another);
        if leaves {
            self.interrupt();
        }
        leaves
    }

    /// Whether packets of this layer that wait may still leave.
    pub(crate) fn awaits(&self, layer: u8) -> bool {
        self.target
            .is_some_and(|target| target == layer || self.layer() == Some(layer))
    }

    /// What a packet is to the leg, should it have to wait before it leaves.
    pub(crate) fn part(&self, layer: u8, sequence_number: u64, packet: &CachedPacket<'_>) -> Part {
        let source = Source {
            layer,
            stream: packet.stream,
        };
        let goes_on = self.rewriter.source() == Some(source);
        match self.coming {
            Some(coming) if coming.source == source => {
                if coming.includes(sequence_number, packet) {
                    Part::Next
                } else if self.rewriter.has_left_behind(source, sequence_number) {
                    Part::None
                } else {
                    Part::Past
                }
            }
            // What came after it has left: its receiver waits for it.
            _ if goes_on && !self.rewriter.is_next(source, sequence_number) => Part::None,
            Some(_) if goes_on => Part::Former,
            None if goes_on => Part::Next,
            _ if self.target != Some(layer) || !packet.keyframe => Part::None,
            _ if self.rewriter.has_left_behind(source, sequence_number) => Part::None,
            _ => Part::Beginning,
        }
    }

    /// The key frame with which another source starts waits for its turn: the source before ends
    /// here.
    pub(crate) fn expect(&mut self, layer: u8, sequence_number: u64, packet: &CachedPacket<'_>) {
        self.coming = Some(Coming {
            source: Source {
                layer,
                stream: packet.stream,
            },
            first: sequence_number,
            timestamp: packet.timestamp,
        });
    }
}
