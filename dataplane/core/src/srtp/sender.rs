//! Seals what we send.

use core::fmt;

use super::cipher::{RtcpCipher, RtpCipher};
use super::keys::SessionKeys;

/// One session's outgoing direction: RTP and RTCP of all of our SSRCs.
pub struct SrtpSender {
    rtp: RtpCipher,
    rtcp: RtcpCipher,
    /// The index of the next RTCP packet. RFC 3711 §3.2.3 keeps one for each stream; one for all
    /// of our SSRCs meets what that is for: each stream's index only grows, and no pair of SSRC
    /// and index, hence no IV, comes twice.
    next_rtcp_index: u32,
}

impl SrtpSender {
    /// Derives the session keys of our direction.
    pub fn new(keys: &SessionKeys) -> Self {
        Self {
            rtp: RtpCipher::new(keys.profile, keys.local()),
            rtcp: RtcpCipher::new(keys.profile, keys.local()),
            next_rtcp_index: 0,
        }
    }

    /// Seals `payload` out of place: the RTP header of `header_len` bytes stands at the start of
    /// `out` already, the sealed payload and the tag are put behind it. Returns the length of the
    /// whole packet.
    ///
    /// `index` is the extended sequence number, `roll-over counter << 16 | sequence number`
    /// (RFC 3711 §3.3.1). The caller must never seal two different packets, headers included,
    /// with the same `ssrc` and `index`: that would give the keys of GCM away (RFC 7714 §8.4). A
    /// packet that is sent again under its old number must be the same to the last bit.
    ///
    /// `None` if `out` is too small, or if `index` needs more than 48 bits: the life of the
    /// master key is over then (RFC 3711 §9.2).
    pub fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        if index > RTP_INDEX_MAX {
            return None;
        }
        self.rtp
            .seal_out_of_place(ssrc, index, header_len, payload, out)
    }

    /// Like [`Self::seal_rtp`], but header and plain payload stand in `out[..len]` already.
    pub fn seal_rtp_in_place(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        len: usize,
        out: &mut [u8],
    ) -> Option<usize> {
        if index > RTP_INDEX_MAX {
            return None;
        }
        self.rtp.seal_in_place(ssrc, index, header_len, len, out)
    }

    /// Seals the compound RTCP packet `out[..len]` in place and returns its new length, at most
    /// [`super::RTCP_OVERHEAD_MAX`] more.
    ///
    /// `None` if it is no RTCP packet, if `out` is too small, or if 2^31 packets have been sealed:
    /// the life of the master key is over then (RFC 3711 §9.2).
    pub fn seal_rtcp(&mut self, len: usize, out: &mut [u8]) -> Option<usize> {
        if self.next_rtcp_index > RTCP_INDEX_MAX {
            return None;
        }
        let sealed = self.rtcp.seal(self.next_rtcp_index, len, out)?;
        self.next_rtcp_index += 1;
        Some(sealed)
    }

    #[cfg(test)]
    pub(super) fn skip_rtcp_to(&mut self, index: u32) {
        self.next_rtcp_index = index;
    }
}

impl fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpSender")
            .field("next_rtcp_index", &self.next_rtcp_index)
            .finish_non_exhaustive()
    }
}

/// The highest index of an RTP packet: 48 bits (RFC 3711 §3.3.1).
const RTP_INDEX_MAX: u64 = (1 << 48) - 1;

/// The highest index of an RTCP packet: 31 bits (RFC 3711 §3.4).
const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;
