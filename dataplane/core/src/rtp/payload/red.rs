//! RED: a packet that repeats the audio of the packets before it (RFC 2198).

/// Where the primary encoding starts in a payload of RED: behind the headers of all blocks and the
/// redundant blocks. None if the headers lie, or if nothing is left for the primary one.
pub fn primary_start(payload: &[u8]) -> Option<usize> {
    let mut header = 0;
    let mut redundant = 0;
    loop {
        match payload.get(header..)? {
            // RFC 2198 §3: F is zero in the last header, which is that of the primary encoding.
            [last, ..] if last & FOLLOWED == 0 => break,
            [_, _, high, low, ..] => {
                redundant += usize::from(u16::from_be_bytes([*high, *low]) & LENGTH_MASK);
                header += HEADER_BYTES;
            }
            _ => return None,
        }
    }
    let start = header + 1 + redundant;
    (start < payload.len()).then_some(start)
}

/// F: another header follows.
const FOLLOWED: u8 = 0x80;

/// Of the header of a redundant block: F, payload type, timestamp offset, and length.
const HEADER_BYTES: usize = 4;

/// The lower ten bits of the header of a redundant block are its length.
const LENGTH_MASK: u16 = 0x3ff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A payload as libwebrtc makes it, of Opus under 111.
    fn red(redundant: &[&[u8]], primary: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (block, back) in redundant.iter().zip((1..=redundant.len()).rev()) {
            let offset = u32::try_from(960 * back).unwrap();
            let length = u32::try_from(block.len()).unwrap();
            payload.extend((0x80 << 24 | 111 << 24 | offset << 10 | length).to_be_bytes());
        }
        payload.push(111);
        payload.extend(redundant.concat());
        payload.extend(primary);
        payload
    }

    #[test]
    fn the_primary_encoding_is_behind_everything_else() {
        for redundant in [&[][..], &[&[1; 30][..]], &[&[1; 1023], &[2; 7]]] {
            let payload = red(redundant, &[9, 9, 9]);
            assert_eq!(primary_start(&payload), Some(payload.len() - 3));
        }
    }

    #[test]
    fn a_payload_that_ends_too_soon_has_none() {
        let payload = red(&[&[1, 2, 3]], &[9]);
        for length in 0..payload.len() {
            assert_eq!(primary_start(&payload[..length]), None, "{length}");
        }
    }

    #[test]
    fn headers_without_an_end_have_none() {
        assert_eq!(primary_start(&[0xff; 1200]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..1500),
        ) {
            if let Some(start) = primary_start(&payload) {
                prop_assert!(start < payload.len());
            }
        }
    }
}
