//! The transforms: AES in counter mode with HMAC-SHA1 (RFC 3711 §4), or AES-GCM ([`super::gcm`]).

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::gcm::{GCM_TAG_BYTES, Gcm};
use super::keys::{KEY_BYTES_MAX, Label, MasterKey, SrtpProfile};

/// The session keys of one direction, RTP or RTCP.
pub(super) enum Cipher {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Cipher {
    pub(super) fn new(profile: SrtpProfile, master: &MasterKey, labels: [Label; 3]) -> Self {
        let [encryption, authentication, salt_label] = labels;
        let mut key_bytes = [0; KEY_BYTES_MAX];
        let (key, _) = key_bytes.split_at_mut(profile.key_len());
        master.derive(encryption, key);
        match profile {
            SrtpProfile::Aes128CmHmacSha1_80 => {
                let mut salt = [0; 16];
                let (salt_bytes, _) = salt.split_at_mut(profile.salt_len());
                master.derive(salt_label, salt_bytes);
                let mut authentication_key = [0; CM_AUTHENTICATION_KEY_BYTES];
                master.derive(authentication, &mut authentication_key);
                Self::Cm(Box::new(Cm::new(key, salt, &authentication_key)))
            }
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                let mut salt = [0; 12];
                master.derive(salt_label, &mut salt);
                Self::Gcm(Gcm::new(key, salt))
            }
        }
    }

    pub(super) const fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => GCM_TAG_BYTES,
            Self::Cm(_) => CM_TAG_BYTES,
        }
    }
}

/// AES in counter mode, HMAC-SHA1 cut to 80 bits.
pub(super) struct Cm {
    key: EncryptingKey,
    /// With two zero bytes behind it: the place of the block counter.
    salt: [u8; 16],
    authentication: hmac::Key,
}

impl Cm {
    pub(super) fn new(key: &[u8], salt: [u8; 16], authentication_key: &[u8]) -> Self {
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
    pub(super) fn apply_keystream(&self, ssrc: u32, index: u64, payload: &mut [u8]) -> Option<()> {
        let block =
            u128::from_be_bytes(self.salt) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        let iv = EncryptionContext::Iv128(FixedLength::from(&block.to_be_bytes()));
        self.key.less_safe_encrypt(payload, iv).ok().map(|_| ())
    }

    /// RFC 3711 §4.2: over the packet, then the roll-over counter (RTP) or E flag and index (RTCP).
    pub(super) fn tag(&self, packet: &[u8], suffix: [u8; 4]) -> [u8; CM_TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(packet);
        context.update(&suffix);
        let mut tag = [0; CM_TAG_BYTES];
        for (byte, digest) in tag.iter_mut().zip(context.sign().as_ref()) {
            *byte = *digest;
        }
        tag
    }

    pub(super) fn verify(&self, packet: &[u8], suffix: [u8; 4], tag: &[u8]) -> Option<()> {
        verify_slices_are_equal(&self.tag(packet, suffix), tag).ok()
    }
}

/// Bytes of an HMAC-SHA1 cut to 80 bits.
pub(super) const CM_TAG_BYTES: usize = SrtpProfile::Aes128CmHmacSha1_80.tag_len();

/// RFC 3711 §5.2: 160 bits.
const CM_AUTHENTICATION_KEY_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::hex;

    #[test]
    fn the_counter_mode_keystream_is_that_of_rfc_3711_appendix_b_2() {
        let mut salt = [0; 16];
        salt[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let cm = Cm::new(&hex("2B7E151628AED2A6ABF7158809CF4F3C"), salt, &[0; 20]);
        let mut keystream = [0; 48];
        cm.apply_keystream(0, 0, &mut keystream).unwrap();
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
            41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(keystream[..], hex(expected));
    }
}
