//! What a negotiation draws by lot. The source is the caller's, so that tests can be repeated.

use shared::protocol::IceCredentials;

/// A source of random bytes. In production a CSPRNG: the bytes become ICE passwords.
pub trait Randomness {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// New credentials of ours. 96 bits of ufrag make it unique on the data plane; 192 bits of
/// password are beyond guessing (RFC 8839 §5.4 asks for 24 and 128).
pub(super) fn ice_credentials(source: &mut dyn Randomness) -> IceCredentials {
    IceCredentials {
        ufrag: characters::<16>(source),
        password: characters::<32>(source),
    }
}

/// An SSRC that `is_taken` does not hold; never 0, which some stacks take for "none".
pub(super) fn ssrc(source: &mut dyn Randomness, is_taken: impl Fn(u32) -> bool) -> u32 {
    let mut bytes = [0; 4];
    source.fill(&mut bytes);
    let mut ssrc = u32::from_be_bytes(bytes).max(1);
    // Counting on from a draw ends even with a poor source; a session holds far fewer than 2^32.
    while is_taken(ssrc) {
        ssrc = ssrc.wrapping_add(1).max(1);
    }
    ssrc
}

/// A name for a discovered track: 128 bits in hexadecimal.
pub(super) fn track_name(source: &mut dyn Randomness) -> String {
    let mut bytes = [0; 16];
    source.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// `<sess-id>` of our origin: 62 bits, so that it fits everybody's integers (JSEP §5.2.1).
pub(super) fn origin(source: &mut dyn Randomness) -> u64 {
    let mut bytes = [0; 8];
    source.fill(&mut bytes);
    u64::from_be_bytes(bytes) >> 2
}

/// `N` characters of the ICE alphabet, 6 bits each (RFC 8839 §5.4).
fn characters<const N: usize>(source: &mut dyn Randomness) -> String {
    let mut bytes = [0; N];
    source.fill(&mut bytes);
    bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte & 0x3f)).copied())
        .map(char::from)
        .collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Randomness for Fixed {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn credentials_are_long_enough_and_of_the_ice_alphabet() {
        let ice = ice_credentials(&mut Fixed(0xff));
        assert_eq!((ice.ufrag.len(), ice.password.len()), (16, 32));
        assert_eq!(ice.ufrag, "////////////////");
    }

    #[test]
    fn an_ssrc_is_neither_zero_nor_taken() {
        assert_eq!(ssrc(&mut Fixed(0), |_| false), 1);
        assert_eq!(ssrc(&mut Fixed(0), |ssrc| ssrc < 5), 5);
        assert_eq!(ssrc(&mut Fixed(0xff), |ssrc| ssrc == u32::MAX), 1);
    }
}
