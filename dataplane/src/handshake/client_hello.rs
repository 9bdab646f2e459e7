//! Reads the SRTP profiles that a DTLS client offers, before the engine sees its `ClientHello`.
//!
//! The crate `dtls` follows the client's order among the profiles that it is told of, and
//! Chromium's order begins with AES-CM, which costs five times as much as GCM. So it is told of
//! GCM alone where the client offers it. A `ClientHello` with post-quantum key shares comes in
//! several fragments (RFC 6347 §4.2.3), in any order.

/// Collects the fragments of one `ClientHello`.
#[derive(Debug, Default)]
pub(super) struct ClientHelloReader {
    message: Vec<u8>,
    /// By byte of `message`: whether it has come.
    present: Vec<bool>,
}

impl ClientHelloReader {
    /// Takes a datagram. Some, once the `ClientHello` is complete: the numbers of the profiles
    /// that it offers, in its order; none if it has no such list or cannot be read.
    pub(super) fn push(&mut self, datagram: &[u8]) -> Option<Vec<u16>> {
        let mut rest = datagram;
        while let Some((record, after)) = handshake_record(rest) {
            rest = after;
            let mut messages = record;
            while let Some((fragment, after)) = Fragment::parse(messages) {
                messages = after;
                self.add(&fragment);
            }
        }
        let complete = !self.present.is_empty() && self.present.iter().all(|here| *here);
        complete.then(|| offered_profiles(&self.message).unwrap_or_default())
    }

    fn add(&mut self, fragment: &Fragment<'_>) {
        if fragment.message_type != CLIENT_HELLO || fragment.length > MESSAGE_BYTES_MAX {
            return;
        }
        if self.message.len() != fragment.length {
            self.message = vec![0; fragment.length];
            self.present = vec![false; fragment.length];
        }
        let end = fragment.offset.saturating_add(fragment.body.len());
        if let (Some(bytes), Some(present)) = (
            self.message.get_mut(fragment.offset..end),
            self.present.get_mut(fragment.offset..end),
        ) {
            bytes.copy_from_slice(fragment.body);
            present.fill(true);
        }
    }
}

/// The first record of a datagram if it is a plain handshake record, and what follows it
/// (RFC 6347 §4.1).
fn handshake_record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = datagram.split_first_chunk::<13>()?;
    let [
        content_type,
        _,
        _,
        epoch_high,
        epoch_low,
        ..,
        length_high,
        length_low,
    ] = *header;
    if content_type != HANDSHAKE || (epoch_high, epoch_low) != (0, 0) {
        return None;
    }
    rest.split_at_checked(usize::from(u16::from_be_bytes([length_high, length_low])))
}

/// A piece of a handshake message (RFC 6347 §4.2.2).
struct Fragment<'a> {
    message_type: u8,
    length: usize,
    offset: usize,
    body: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(record: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = record.split_first_chunk::<12>()?;
        let [message_type, l0, l1, l2, _, _, o0, o1, o2, f0, f1, f2] = *header;
        let (body, after) = rest.split_at_checked(be24([f0, f1, f2]))?;
        let fragment = Self {
            message_type,
            length: be24([l0, l1, l2]),
            offset: be24([o0, o1, o2]),
            body,
        };
        Some((fragment, after))
    }
}

/// The list in the `use_srtp` extension of a `ClientHello` (RFC 5246 §7.4.1.2, RFC 5764 §4.1.1).
fn offered_profiles(hello: &[u8]) -> Option<Vec<u16>> {
    let (_version_and_random, rest) = hello.split_at_checked(2 + 32)?;
    let (_session_id, rest) = vector8(rest)?;
    let (_cookie, rest) = vector8(rest)?;
    let (_cipher_suites, rest) = vector16(rest)?;
    let (_compression_methods, rest) = vector8(rest)?;
    let (mut extensions, _) = vector16(rest)?;
    loop {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (data, after) = vector16(rest)?;
        if u16::from_be_bytes(*kind) == USE_SRTP {
            let (profiles, _mki) = vector16(data)?;
            return Some(
                profiles
                    .as_chunks()
                    .0
                    .iter()
                    .map(|p| u16::from_be_bytes(*p))
                    .collect(),
            );
        }
        extensions = after;
    }
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn be24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;
/// A `ClientHello` with every post-quantum key share there is stays well below.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A `ClientHello` that offers these profiles behind another extension.
    fn hello(profiles: &[u16]) -> Vec<u8> {
        let list: Vec<u8> = profiles.iter().flat_map(|p| p.to_be_bytes()).collect();
        let srtp = [
            &u16::try_from(list.len()).unwrap().to_be_bytes()[..],
            &list,
            &[0],
        ]
        .concat();
        let extensions = [
            &[0, 23, 0, 0][..],
            &USE_SRTP.to_be_bytes(),
            &u16::try_from(srtp.len()).unwrap().to_be_bytes(),
            &srtp,
        ]
        .concat();
        let extensions_len = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        [
            &[0xfe, 0xfd][..],
            &[7; 32],
            &[0],
            &[0],
            &[0, 2, 0xc0, 0x2b],
            &[1, 0],
            &extensions_len,
            &extensions,
        ]
        .concat()
    }

    fn datagram(message: &[u8], from: usize, to: usize) -> Vec<u8> {
        let be = |value: usize| {
            let [_, a, b, c] = u32::try_from(value).unwrap().to_be_bytes();
            [a, b, c]
        };
        let body = [
            &[CLIENT_HELLO][..],
            &be(message.len()),
            &[0, 0],
            &be(from),
            &be(to - from),
            &message[from..to],
        ]
        .concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [
            &[HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &length,
            &body,
        ]
        .concat()
    }

    #[test]
    fn the_offer_is_read_in_its_order() {
        let hello = hello(&[1, 8, 7]);
        let whole = datagram(&hello, 0, hello.len());
        assert_eq!(
            ClientHelloReader::default().push(&whole),
            Some(vec![1, 8, 7])
        );
    }

    #[test]
    fn fragments_may_come_in_any_order_and_twice() {
        let hello = hello(&[1, 8, 7]);
        let mut reader = ClientHelloReader::default();
        assert_eq!(reader.push(&datagram(&hello, 30, hello.len())), None);
        assert_eq!(reader.push(&datagram(&hello, 30, hello.len())), None);
        assert_eq!(reader.push(&datagram(&hello, 0, 40)), Some(vec![1, 8, 7]));
    }

    #[test]
    fn a_hello_without_the_extension_offers_nothing() {
        let mut hello = hello(&[1]);
        let at = hello.len() - 7;
        hello[at..at + 2].copy_from_slice(&99_u16.to_be_bytes());
        let whole = datagram(&hello, 0, hello.len());
        assert_eq!(ClientHelloReader::default().push(&whole), Some(vec![]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
            flip in any::<(u8, u8)>(),
        ) {
            let mut reader = ClientHelloReader::default();
            for datagram in &datagrams {
                reader.push(datagram);
            }
            let hello = hello(&[1, 8, 7]);
            let mut whole = datagram(&hello, 0, hello.len());
            let at = usize::from(flip.0) % whole.len();
            whole[at] = flip.1;
            ClientHelloReader::default().push(&whole);
        }
    }
}
