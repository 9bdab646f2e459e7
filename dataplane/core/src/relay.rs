//! What shards say to each other so that a publisher and its subscriber can sit on different
//! cores. A packet is copied once per core, not per leg.

use arrayvec::ArrayVec;
use shared::id::PublicationId;
use shared::limits::LAYERS_MAX;
use shared::protocol::{MediaKind, Rid};

use crate::time::{NtpTime, Timestamp};

/// One message between two shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayMessage {
    /// To the owner: send me this publication from now on.
    Subscribe {
        /// Which.
        publication: PublicationId,
    },
    /// To the owner: nobody here wants it any more.
    Unsubscribe {
        /// Which.
        publication: PublicationId,
    },
    /// To the owner: a leg here needs a key frame.
    KeyframeNeeded {
        /// Which.
        publication: PublicationId,
        /// Index into its layers.
        layer: u8,
    },
    /// From the owner, first of all: what this publication is.
    Described {
        /// Which.
        publication: PublicationId,
        /// Audio or video.
        kind: MediaKind,
        /// Its layers in order.
        layers: Layers,
    },
    /// From the owner: the publication does not exist (any more).
    Gone {
        /// Which.
        publication: PublicationId,
    },
    /// From the owner: an opened RTP packet, which travels beside this message.
    Packet {
        /// Of which publication.
        publication: PublicationId,
        /// Index into its layers.
        layer: u8,
        /// Its extended sequence number in that layer.
        sequence_number: u64,
        /// When the owner received it.
        received_at: Timestamp,
    },
    /// From the owner: how RTP time maps to time (from the publisher's sender report).
    SenderReport {
        /// Of which publication.
        publication: PublicationId,
        /// Index into its layers.
        layer: u8,
        /// In the server's NTP time.
        ntp: NtpTime,
        /// The RTP timestamp of the same instant.
        rtp_timestamp: u32,
    },
}

/// The rids of a publication in the order of its layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    rids: [Option<Rid>; LAYERS_MAX],
    count: u8,
}

impl Layers {
    /// From at most [`LAYERS_MAX`] rids; more are left out.
    #[expect(clippy::cast_possible_truncation, reason = "at most LAYERS_MAX, which is 4")]
    pub fn new(rids: impl IntoIterator<Item = Option<Rid>>) -> Self {
        let mut layers = Self::default();
        for (slot, rid) in layers.rids.iter_mut().zip(rids) {
            *slot = rid;
            layers.count += 1;
        }
        layers
    }

    /// The rids in order, one for each layer.
    pub fn rids(&self) -> ArrayVec<Option<Rid>, LAYERS_MAX> {
        self.rids.iter().take(usize::from(self.count)).copied().collect()
    }
}
