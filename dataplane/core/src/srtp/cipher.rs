//! What of a packet is encrypted, what is authenticated, and what is put where: RTP and RTCP, with
//! AES in counter mode (RFC 3711 §3) and with GCM (RFC 7714 §8 and §9).

use super::gcm::GCM_TAG_BYTES;
use super::keys::{Label, MasterKey, SrtpProfile};
use super::transform::{CM_TAG_BYTES, Cipher};

/// Protects RTP in one direction.
pub(super) struct RtpCipher(Cipher);

impl RtpCipher {
    pub(super) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let labels = [
            Label::RtpEncryption,
            Label::RtpAuthentication,
            Label::RtpSalt,
        ];
        Self(Cipher::new(profile, master, labels))
    }

    /// Seals `payload` behind the header that stands in `out`; returns the whole length.
    pub(super) fn seal_out_of_place(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let len = header_len.checked_add(payload.len())?;
        match &self.0 {
            Cipher::Gcm(gcm) => {
                let (header, rest) = out.split_at_mut_checked(header_len)?;
                let (sealed, rest) = rest.split_at_mut_checked(payload.len())?;
                let tag = rest.get_mut(..GCM_TAG_BYTES)?;
                let nonce = gcm.nonce(ssrc, index);
                gcm.seal_out_of_place(nonce, header, payload, sealed, tag)?;
                Some(len + GCM_TAG_BYTES)
            }
            Cipher::Cm(_) => {
                // aws-lc-rs has no counter mode out of place; a copy is 4 % of this transform.
                out.get_mut(header_len..len)?.copy_from_slice(payload);
                self.seal_in_place(ssrc, index, header_len, len, out)
            }
        }
    }

    /// Seals `out[header_len..len]` in place; returns the whole length.
    pub(super) fn seal_in_place(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        len: usize,
        out: &mut [u8],
    ) -> Option<usize> {
        let (packet, rest) = out.split_at_mut_checked(len)?;
        let (header, payload) = packet.split_at_mut_checked(header_len)?;
        match &self.0 {
            Cipher::Gcm(gcm) => {
                let tag = rest.get_mut(..GCM_TAG_BYTES)?;
                gcm.seal(gcm.nonce(ssrc, index), header, payload, tag)?;
                Some(len + GCM_TAG_BYTES)
            }
            Cipher::Cm(cm) => {
                let tag = rest.get_mut(..CM_TAG_BYTES)?;
                cm.apply_keystream(ssrc, index, payload)?;
                tag.copy_from_slice(&cm.tag(packet, roll_over_counter(index)));
                Some(len + CM_TAG_BYTES)
            }
        }
    }

    /// Opens `packet` in place; returns its length without the tag. `None` if it is not authentic.
    pub(super) fn open(
        &self,
        ssrc: u32,
        index: u64,
        header_len: usize,
        packet: &mut [u8],
    ) -> Option<usize> {
        let len = packet.len().checked_sub(self.0.tag_len())?;
        match &self.0 {
            Cipher::Gcm(gcm) => {
                let (header, sealed) = packet.split_at_mut_checked(header_len)?;
                gcm.open(gcm.nonce(ssrc, index), header, sealed)?;
            }
            Cipher::Cm(cm) => {
                let (packet, tag) = packet.split_at_mut_checked(len)?;
                cm.verify(packet, roll_over_counter(index), tag)?;
                cm.apply_keystream(ssrc, index, packet.get_mut(header_len..)?)?;
            }
        }
        Some(len)
    }
}

/// Protects RTCP in one direction. Packets are always encrypted: RFC 5764 §4.1.2 turns encryption
/// on for SRTCP too, so one without the E flag is not accepted.
pub(super) struct RtcpCipher(Cipher);

/// What an SRTCP packet says of itself in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RtcpIdentity {
    /// The sender of the first packet of the compound.
    pub(super) ssrc: u32,
    /// The SRTCP index, 31 bits.
    pub(super) index: u32,
}

impl RtcpCipher {
    pub(super) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let labels = [
            Label::RtcpEncryption,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        ];
        Self(Cipher::new(profile, master, labels))
    }

    /// Seals `out[..len]` in place; returns the whole length.
    pub(super) fn seal(&self, index: u32, len: usize, out: &mut [u8]) -> Option<usize> {
        let (packet, rest) = out.split_at_mut_checked(len)?;
        let ssrc = rtcp_ssrc(packet)?;
        let trailer = (E_FLAG | index).to_be_bytes();
        match &self.0 {
            Cipher::Gcm(gcm) => {
                // RFC 7714 §9: packet, tag, index.
                let (tag, rest) = rest.split_at_mut_checked(GCM_TAG_BYTES)?;
                rest.get_mut(..INDEX_BYTES)?.copy_from_slice(&trailer);
                let (header, payload) = packet.split_first_chunk_mut::<RTCP_HEADER_BYTES>()?;
                let nonce = gcm.nonce(ssrc, u64::from(index));
                gcm.seal(nonce, &rtcp_aad(*header, trailer), payload, tag)?;
                Some(len + GCM_TAG_BYTES + INDEX_BYTES)
            }
            Cipher::Cm(cm) => {
                // RFC 3711 §3.4: packet, index, tag.
                let (word, rest) = rest.split_at_mut_checked(INDEX_BYTES)?;
                let tag = rest.get_mut(..CM_TAG_BYTES)?;
                word.copy_from_slice(&trailer);
                cm.apply_keystream(ssrc, u64::from(index), packet.get_mut(RTCP_HEADER_BYTES..)?)?;
                tag.copy_from_slice(&cm.tag(packet, trailer));
                Some(len + INDEX_BYTES + CM_TAG_BYTES)
            }
        }
    }

    /// Reads whose and which packet this claims to be. `None` if it is too short or not encrypted.
    pub(super) fn identify(&self, packet: &[u8]) -> Option<RtcpIdentity> {
        let tag_after_index = match &self.0 {
            Cipher::Gcm(_) => 0,
            Cipher::Cm(_) => CM_TAG_BYTES,
        };
        let len = packet.len().checked_sub(self.0.tag_len() + INDEX_BYTES)?;
        let ssrc = rtcp_ssrc(packet.get(..len)?)?;
        let (packet, _) = packet.split_at_checked(packet.len() - tag_after_index)?;
        let word = u32::from_be_bytes(*packet.last_chunk()?);
        (word & E_FLAG != 0).then_some(RtcpIdentity {
            ssrc,
            index: word & !E_FLAG,
        })
    }

    /// Opens `packet` in place; returns its length without tag and index. `None` if it is not
    /// authentic.
    pub(super) fn open(&self, identity: RtcpIdentity, packet: &mut [u8]) -> Option<usize> {
        let len = packet.len().checked_sub(self.0.tag_len() + INDEX_BYTES)?;
        let trailer = (E_FLAG | identity.index).to_be_bytes();
        let (ssrc, index) = (identity.ssrc, u64::from(identity.index));
        match &self.0 {
            Cipher::Gcm(gcm) => {
                let (sealed, _) = packet.split_at_mut_checked(len + GCM_TAG_BYTES)?;
                let (header, sealed) = sealed.split_first_chunk_mut::<RTCP_HEADER_BYTES>()?;
                gcm.open(gcm.nonce(ssrc, index), &rtcp_aad(*header, trailer), sealed)?;
            }
            Cipher::Cm(cm) => {
                let (packet, rest) = packet.split_at_mut_checked(len)?;
                cm.verify(packet, trailer, rest.get(INDEX_BYTES..)?)?;
                cm.apply_keystream(ssrc, index, packet.get_mut(RTCP_HEADER_BYTES..)?)?;
            }
        }
        Some(len)
    }
}

/// The SSRC of the first packet of a compound (RFC 3550 §6.4.1). `None` if there is none.
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let (_, rest) = packet.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*rest.first_chunk()?))
}

/// RFC 7714 §9.2: the header of the first packet, then the E flag and the index.
fn rtcp_aad(header: [u8; RTCP_HEADER_BYTES], trailer: [u8; INDEX_BYTES]) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = header;
    let [i, j, k, l] = trailer;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The upper 32 bits of a 48-bit index.
fn roll_over_counter(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

/// What of an RTCP packet stays in the clear.
const RTCP_HEADER_BYTES: usize = 8;

/// The E flag and the SRTCP index.
const INDEX_BYTES: usize = 4;

/// RFC 3711 §3.4: the packet is encrypted.
const E_FLAG: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::gcm::{Gcm, Library};
    use crate::srtp::tests::hex;

    /// The session key and salt of the RFC's examples.
    fn gcms(key: &[u8]) -> [Cipher; 2] {
        let salt = hex("517569642070726f2071756f").try_into().unwrap();
        [Library::AwsLc, Library::Ring].map(|library| Cipher::Gcm(Gcm::by(library, key, salt)))
    }

    fn ascending(length: u8) -> Vec<u8> {
        (0..length).collect()
    }

    #[test]
    fn rtp_is_sealed_as_in_rfc_7714_section_16_1_1() {
        let sealed = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
            0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";
        check_rtp(&ascending(16), &hex(sealed));
    }

    #[test]
    fn rtp_is_sealed_as_in_rfc_7714_section_16_2_1() {
        let sealed = "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
            9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
        check_rtp(&ascending(32), &hex(sealed));
    }

    fn check_rtp(key: &[u8], sealed: &[u8]) {
        for cipher in gcms(key).map(RtpCipher) {
            let header = hex("8040f17b 8041f8d3 5501a0b2");
            let payload = b"Gallia est omnis divisa in partes tres";
            let mut out = [header, vec![0; payload.len() + 16]].concat();
            let length = cipher.seal_out_of_place(0x5501_a0b2, 0xf17b, 12, payload, &mut out);
            assert_eq!(length, Some(sealed.len()));
            assert_eq!(out, sealed);
            assert_eq!(
                cipher.open(0x5501_a0b2, 0xf17b, 12, &mut out),
                Some(12 + payload.len())
            );
            assert_eq!(out[12..][..payload.len()], *payload);
        }
    }

    #[test]
    fn rtcp_is_sealed_as_in_rfc_7714_section_17_1() {
        let plain = hex(
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
             deadbeef deadbeef deadbeef deadbeef deadbeef",
        );
        let sealed = hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
             c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade
             800005d4",
        );
        for cipher in gcms(&ascending(16)).map(RtcpCipher) {
            let mut out = [plain.clone(), vec![0; 20]].concat();
            assert_eq!(
                cipher.seal(0x5d4, plain.len(), &mut out),
                Some(sealed.len())
            );
            assert_eq!(out, sealed);
            let identity = cipher.identify(&out).unwrap();
            assert_eq!(
                identity,
                RtcpIdentity {
                    ssrc: 0x4d61_7273,
                    index: 0x5d4
                }
            );
            assert_eq!(cipher.open(identity, &mut out), Some(plain.len()));
            assert_eq!(out[..plain.len()], plain);
        }
    }

    #[test]
    fn rtcp_without_the_e_flag_is_not_accepted() {
        let [cipher, _] = gcms(&ascending(16)).map(RtcpCipher);
        let mut out = [hex("80c90001 4d617273"), vec![0; 20]].concat();
        cipher.seal(3, 8, &mut out).unwrap();
        assert!(cipher.identify(&out).is_some());
        out[24] &= 0x7f;
        assert_eq!(cipher.identify(&out), None);
    }
}
