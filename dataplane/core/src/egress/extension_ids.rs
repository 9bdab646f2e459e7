//! Which header extensions go along to a subscriber, and under which ids.

use shared::protocol::{Extension, SubscribeParameters};

/// The subscriber's id for each end-to-end header extension, by the extension's own number.
///
/// The mid extension is not carried: the server's descriptions announce each SSRC (`a=ssrc`), so a
/// receiver needs no mid to know whose packet it is (RFC 8843 §9.2), and it would cost eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtensionIds([u8; EXTENSION_KINDS]);

impl ExtensionIds {
    pub(super) fn new(parameters: &SubscribeParameters) -> Self {
        let mut ids = [0; EXTENSION_KINDS];
        for mapping in &parameters.extensions {
            if let Some(id) = ids.get_mut(mapping.extension as usize)
                && mapping.extension.is_end_to_end()
            {
                *id = mapping.id;
            }
        }
        Self(ids)
    }

    /// None if the subscriber did not negotiate it.
    pub(super) fn id(&self, extension: Extension) -> Option<u8> {
        self.0
            .get(extension as usize)
            .copied()
            .filter(|id| *id != 0)
    }
}

/// Kinds of header extensions that there are.
const EXTENSION_KINDS: usize = Extension::AbsoluteCaptureTime as usize + 1;
