//! Tells the protocols that share one UDP port apart (RFC 7983 §7, RFC 5761 §4).

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Connectivity checks.
    Stun,
    /// Handshake records, and data after it.
    Dtls,
    /// Media.
    Rtp,
    /// Reports and feedback.
    Rtcp,
}

/// Looks at the first two bytes only.
pub(crate) fn classify(datagram: &[u8]) -> Option<Protocol> {
    let [first, second, ..] = datagram else {
        return None;
    };
    match first {
        0..=3 => Some(Protocol::Stun),
        // 20 to 63 are DTLS; 32 to 63 is the unified header of DTLS 1.3 (RFC 9147 §4.1).
        20..=63 => Some(Protocol::Dtls),
        // RFC 5761 §4: RTCP packet types 192 to 223 are RTP payload types 64 to 95 with the
        // marker bit set, which are never used for media.
        128..=191 if (192..=223).contains(second) => Some(Protocol::Rtcp),
        128..=191 => Some(Protocol::Rtp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_the_protocol() {
        // RFC 7983 §7.
        let of = |first: u8| classify(&[first, 0]);
        assert_eq!(of(0), Some(Protocol::Stun));
        assert_eq!(of(3), Some(Protocol::Stun));
        assert_eq!(of(4), None);
        assert_eq!(of(19), None);
        assert_eq!(of(20), Some(Protocol::Dtls));
        assert_eq!(of(63), Some(Protocol::Dtls));
        assert_eq!(of(64), None);
        assert_eq!(of(127), None);
        assert_eq!(of(128), Some(Protocol::Rtp));
        assert_eq!(of(191), Some(Protocol::Rtp));
        assert_eq!(of(192), None);
    }

    #[test]
    fn the_second_byte_tells_rtcp_from_rtp() {
        // RFC 5761 §4.
        assert_eq!(classify(&[0x80, 191]), Some(Protocol::Rtp));
        assert_eq!(classify(&[0x80, 192]), Some(Protocol::Rtcp));
        assert_eq!(classify(&[0x80, 223]), Some(Protocol::Rtcp));
        assert_eq!(classify(&[0x80, 224]), Some(Protocol::Rtp));
    }

    #[test]
    fn one_byte_is_no_protocol() {
        assert_eq!(classify(&[0x80]), None);
        assert_eq!(classify(&[]), None);
    }
}
