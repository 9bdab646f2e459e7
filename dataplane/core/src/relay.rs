//! What shards say to each other so that a publisher and its subscriber can sit on different
//! cores. A packet is copied once per core, not per leg.

use arrayvec::ArrayVec;
use shared::id::PublicationId;
use shared::limits::{CODECS_MAX, EXTENSIONS_MAX, LAYERS_MAX};
use shared::protocol::{Codec, Extension, ExtensionMapping, MediaKind, PublishedCodec, Rid};

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
        /// What the numbers in its packets mean.
        formats: Formats,
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
        self.rids
            .iter()
            .take(usize::from(self.count))
            .copied()
            .collect()
    }
}

/// What the payload types and the header extension ids of a publication mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    codecs: [Option<(u8, Codec)>; CODECS_MAX],
    extensions: [Option<ExtensionMapping>; EXTENSIONS_MAX],
}

impl Formats {
    /// From what was negotiated; what exceeds [`CODECS_MAX`] or [`EXTENSIONS_MAX`] is left out.
    pub fn new(codecs: &[PublishedCodec], extensions: &[ExtensionMapping]) -> Self {
        let mut formats = Self::default();
        for (slot, codec) in formats.codecs.iter_mut().zip(codecs) {
            *slot = Some((codec.payload_type, codec.codec));
        }
        for (slot, mapping) in formats.extensions.iter_mut().zip(extensions) {
            *slot = Some(*mapping);
        }
        formats
    }

    /// The codec that is sent under this payload type.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        let mut codecs = self.codecs.iter().map_while(|codec| *codec);
        codecs
            .find(|(known, _)| *known == payload_type)
            .map(|(_, codec)| codec)
    }

    /// The header extension that is sent under this id.
    pub fn extension(&self, id: u8) -> Option<Extension> {
        let mut extensions = self.extensions.iter().map_while(|mapping| *mapping);
        extensions
            .find(|mapping| mapping.id == id)
            .map(|mapping| mapping.extension)
    }
}
