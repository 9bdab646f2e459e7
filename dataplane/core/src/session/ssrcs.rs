//! Which SSRC of a client is which layer of which of its publications.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use shared::limits::{LAYERS_MAX, PUBLICATIONS_PER_SESSION_MAX};

use crate::shard::PublicationKey;

/// What comes under an SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The publication.
    pub(crate) publication: PublicationKey,
    /// Index into its layers.
    pub(crate) layer: u8,
    /// The media itself or retransmissions of it (RFC 4588).
    pub(crate) stream: Stream,
}

/// The two streams of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The media itself.
    Media,
    /// Retransmissions (RFC 4588).
    Retransmission,
}

/// The table of one session. A stream of a layer has one SSRC at a time, so the table cannot
/// outgrow what was published, whatever a client sends.
#[derive(Debug, Default)]
pub(crate) struct SsrcTable {
    bindings: HashMap<u32, Binding, FxBuildHasher>,
}

impl SsrcTable {
    /// What comes under `ssrc`, if that is known.
    pub(crate) fn binding(&self, ssrc: u32) -> Option<Binding> {
        self.bindings.get(&ssrc).copied()
    }

    /// `ssrc` is this stream from now on; an SSRC that it had before is forgotten.
    pub(crate) fn bind(&mut self, ssrc: u32, binding: Binding) {
        self.bindings.retain(|_, known| *known != binding);
        self.bindings.insert(ssrc, binding);
        assert!(
            self.bindings.len() <= SSRCS_MAX,
            "each stream of each layer has one SSRC"
        );
    }

    /// The publication has ended.
    pub(crate) fn forget(&mut self, publication: PublicationKey) {
        self.bindings
            .retain(|_, binding| binding.publication != publication);
    }
}

/// Two streams for each layer.
const SSRCS_MAX: usize = PUBLICATIONS_PER_SESSION_MAX * LAYERS_MAX * 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn media(layer: u8) -> Binding {
        Binding {
            publication: PublicationKey::default(),
            layer,
            stream: Stream::Media,
        }
    }

    #[test]
    fn a_stream_has_one_ssrc_at_a_time() {
        let mut table = SsrcTable::default();
        for ssrc in 0..100_000 {
            table.bind(ssrc, media(0));
        }
        table.bind(7, media(1));
        assert_eq!(table.binding(99_999), Some(media(0)));
        assert_eq!(table.binding(7), Some(media(1)));
        assert_eq!(table.bindings.len(), 2);
    }

    #[test]
    fn an_ended_publication_has_no_ssrc() {
        let mut table = SsrcTable::default();
        table.bind(7, media(0));
        table.forget(PublicationKey::default());
        assert_eq!(table.binding(7), None);
    }
}
