//! The transforms: AES in counter mode with HMAC-SHA1 (RFC 3711 §4) and AES-GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::keys::{KEY_BYTES_MAX, Label, MasterKey, SrtpProfile};

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
                let aad = Aad::from(&*header);
                gcm.key
                    .seal_out_of_place_scatter(nonce, aad, payload, sealed, &[], tag)
                    .ok()?;
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
                gcm.seal(nonce, &rtcp_aad(header, trailer), payload, tag)?;
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
                gcm.open(gcm.nonce(ssrc, index), &rtcp_aad(header, trailer), sealed)?;
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
fn rtcp_aad(header: &[u8; RTCP_HEADER_BYTES], trailer: [u8; INDEX_BYTES]) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = *header;
    let [i, j, k, l] = trailer;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The upper 32 bits of a 48-bit index.
fn roll_over_counter(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

/// The session keys of one direction, RTP or RTCP.
enum Cipher {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Cipher {
    fn new(profile: SrtpProfile, master: &MasterKey, labels: [Label; 3]) -> Self {
        let [encryption, authentication, salt_label] = labels;
        let mut key_bytes = [0; KEY_BYTES_MAX];
        let (key, _) = key_bytes.split_at_mut(profile.key_len());
        master.derive(encryption, key);
        let algorithm = match profile {
            SrtpProfile::Aes128CmHmacSha1_80 => {
                let mut salt = [0; 16];
                let (salt_bytes, _) = salt.split_at_mut(profile.salt_len());
                master.derive(salt_label, salt_bytes);
                let mut authentication_key = [0; CM_AUTHENTICATION_KEY_BYTES];
                master.derive(authentication, &mut authentication_key);
                return Self::Cm(Box::new(Cm::new(key, salt, &authentication_key)));
            }
            SrtpProfile::AeadAes128Gcm => &AES_128_GCM,
            SrtpProfile::AeadAes256Gcm => &AES_256_GCM,
        };
        let mut salt = [0; 12];
        master.derive(salt_label, &mut salt);
        let key = UnboundKey::new(algorithm, key).expect("the key is of the profile's length");
        Self::Gcm(Gcm {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    const fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => GCM_TAG_BYTES,
            Self::Cm(_) => CM_TAG_BYTES,
        }
    }
}

/// AES-GCM with either length of key.
struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    /// RFC 7714 §8.1 for RTP: two zero bytes, SSRC, roll-over counter, sequence number. §9.1 for
    /// RTCP: two zero bytes, SSRC, two zero bytes, a zero bit and the 31-bit index. Which is the
    /// same once the index is written with 48 bits. All of it XOR the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let [a, b, c, d] = ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        let mut iv = [0, 0, a, b, c, d, e, f, g, h, i, j];
        for (byte, salt) in iv.iter_mut().zip(&self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(iv)
    }

    fn seal(&self, nonce: Nonce, aad: &[u8], payload: &mut [u8], tag: &mut [u8]) -> Option<()> {
        self.key
            .seal_in_place_scatter(nonce, Aad::from(aad), payload, &[], tag)
            .ok()
    }

    /// `sealed` is ciphertext and tag.
    fn open(&self, nonce: Nonce, aad: &[u8], sealed: &mut [u8]) -> Option<()> {
        self.key
            .open_in_place(nonce, Aad::from(aad), sealed)
            .ok()
            .map(|_| ())
    }
}

/// AES in counter mode, HMAC-SHA1 cut to 80 bits.
struct Cm {
    key: EncryptingKey,
    /// With two zero bytes behind it: the place of the block counter.
    salt: [u8; 16],
    authentication: hmac::Key,
}

impl Cm {
    fn new(key: &[u8], salt: [u8; 16], authentication_key: &[u8]) -> Self {
        let key = UnboundCipherKey::new(&AES_128, key)
            .and_then(EncryptingKey::ctr)
            .expect("the key is of 16 bytes");
        let algorithm = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        Self {
            key,
            salt,
            authentication: hmac::Key::new(algorithm, authentication_key),
        }
    }

    /// Encrypts or decrypts, which is the same. RFC 3711 §4.1.1:
    /// `IV = (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16)`.
    fn apply_keystream(&self, ssrc: u32, index: u64, payload: &mut [u8]) -> Option<()> {
        let block =
            u128::from_be_bytes(self.salt) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        let iv = EncryptionContext::Iv128(FixedLength::from(&block.to_be_bytes()));
        self.key.less_safe_encrypt(payload, iv).ok().map(|_| ())
    }

    /// RFC 3711 §4.2: over the packet, then the roll-over counter (RTP) or E flag and index (RTCP).
    fn tag(&self, packet: &[u8], suffix: [u8; 4]) -> [u8; CM_TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(packet);
        context.update(&suffix);
        let mut tag = [0; CM_TAG_BYTES];
        for (byte, digest) in tag.iter_mut().zip(context.sign().as_ref()) {
            *byte = *digest;
        }
        tag
    }

    fn verify(&self, packet: &[u8], suffix: [u8; 4], tag: &[u8]) -> Option<()> {
        verify_slices_are_equal(&self.tag(packet, suffix), tag).ok()
    }
}

const GCM_TAG_BYTES: usize = SrtpProfile::AeadAes128Gcm.tag_len();
const CM_TAG_BYTES: usize = SrtpProfile::Aes128CmHmacSha1_80.tag_len();

/// RFC 3711 §5.2: 160 bits.
const CM_AUTHENTICATION_KEY_BYTES: usize = 20;

/// What of an RTCP packet stays in the clear.
const RTCP_HEADER_BYTES: usize = 8;

/// The E flag and the SRTCP index.
const INDEX_BYTES: usize = 4;

/// RFC 3711 §3.4: the packet is encrypted.
const E_FLAG: u32 = 1 << 31;
