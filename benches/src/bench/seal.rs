//! SRTP sealing by `aws-lc-rs` or `ring`, whichever is faster on this CPU: what publishers use, since
//! `webrtc-srtp` takes 5 us for a packet with GCM, and what the floor is made of. Subscribers open
//! with `webrtc-srtp`, so a mistake here shows.

use aws_lc_rs::aead as aws_lc;
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use ring::aead as ring_aead;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::dtls_client::MasterKey;
use crate::error::LoadError;

/// Seals the RTP packets of one direction.
pub struct Sealer(Cipher);

enum Cipher {
    Gcm { key: GcmKey, salt: [u8; 12] },
    Cm(Box<CounterMode>),
}

enum GcmKey {
    AwsLc(aws_lc::LessSafeKey),
    Ring(Box<ring_aead::LessSafeKey>),
}

impl GcmKey {
    /// By the faster library: only ring has a kernel for VAES and AVX2, only aws-lc one for AVX-512.
    fn new(bytes: &[u8]) -> Result<Self, LoadError> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("vaes")
            && std::arch::is_x86_feature_detected!("vpclmulqdq")
            && !std::arch::is_x86_feature_detected!("avx512f")
        {
            let algorithm = if bytes.len() == 16 {
                &ring_aead::AES_128_GCM
            } else {
                &ring_aead::AES_256_GCM
            };
            let key = ring_aead::UnboundKey::new(algorithm, bytes).map_err(unfit)?;
            return Ok(Self::Ring(Box::new(ring_aead::LessSafeKey::new(key))));
        }
        let algorithm = if bytes.len() == 16 {
            &aws_lc::AES_128_GCM
        } else {
            &aws_lc::AES_256_GCM
        };
        let key = aws_lc::UnboundKey::new(algorithm, bytes).map_err(unfit)?;
        Ok(Self::AwsLc(aws_lc::LessSafeKey::new(key)))
    }

    /// Encrypts `payload` into `sealed`, which is as long.
    fn seal(
        &self,
        nonce: [u8; 12],
        header: &[u8],
        payload: &[u8],
        sealed: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), LoadError> {
        match self {
            Self::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let aad = aws_lc::Aad::from(header);
                key.seal_out_of_place_scatter(nonce, aad, payload, sealed, &[], tag)
                    .map_err(unfit)
            }
            Self::Ring(key) => {
                sealed.copy_from_slice(payload);
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                let aad = ring_aead::Aad::from(header);
                let made = key
                    .seal_in_place_separate_tag(nonce, aad, sealed)
                    .map_err(unfit)?;
                tag.copy_from_slice(made.as_ref());
                Ok(())
            }
        }
    }
}

struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 16],
    authentication: hmac::Key,
}

impl core::fmt::Debug for Sealer {
    /// Leaves the keys out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// Derives the session keys (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11).
    ///
    /// # Errors
    ///
    /// [`LoadError::Srtp`] if the master key does not fit the profile.
    pub fn new(profile: ProtectionProfile, master: &MasterKey) -> Result<Self, LoadError> {
        let encryption = derive(master, LABEL_ENCRYPTION, profile.key_len())?;
        let salt = derive(master, LABEL_SALT, profile.salt_len())?;
        match profile {
            ProtectionProfile::AeadAes128Gcm | ProtectionProfile::AeadAes256Gcm => {}
            ProtectionProfile::Aes128CmHmacSha1_80 | ProtectionProfile::Aes128CmHmacSha1_32 => {
                let mut iv = [0; 16];
                iv.iter_mut().zip(&salt).for_each(|(to, from)| *to = *from);
                let authentication = derive(master, LABEL_AUTHENTICATION, SHA1_KEY_BYTES)?;
                let key = UnboundCipherKey::new(&AES_128, &encryption).map_err(unfit)?;
                return Ok(Self(Cipher::Cm(Box::new(CounterMode {
                    key: EncryptingKey::ctr(key).map_err(unfit)?,
                    salt: iv,
                    authentication: hmac::Key::new(
                        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        &authentication,
                    ),
                }))));
            }
            ProtectionProfile::Aes256CmHmacSha1_80 | ProtectionProfile::Aes256CmHmacSha1_32 => {
                return Err(LoadError::Srtp("a profile that no peer offers".to_owned()));
            }
        }
        Ok(Self(Cipher::Gcm {
            key: GcmKey::new(&encryption)?,
            salt: salt
                .try_into()
                .map_err(|_| LoadError::Srtp("a salt of another length".to_owned()))?,
        }))
    }

    /// Bytes that a packet grows by.
    pub fn overhead(&self) -> usize {
        match self.0 {
            Cipher::Gcm { .. } => GCM_TAG_BYTES,
            Cipher::Cm(_) => CM_TAG_BYTES,
        }
    }

    /// Appends `header` and the sealed `payload` to `out`. `index` is the roll-over counter and the
    /// sequence number.
    ///
    /// # Errors
    ///
    /// [`LoadError::Srtp`] if the library refuses.
    pub fn seal(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let start = out.len();
        out.extend_from_slice(header);
        match &self.0 {
            Cipher::Gcm { key, salt } => {
                out.resize(start + header.len() + payload.len() + GCM_TAG_BYTES, 0);
                let (_, rest) = out.split_at_mut(start + header.len());
                let (sealed, tag) = rest.split_at_mut(payload.len());
                key.seal(gcm_nonce(salt, ssrc, index), header, payload, sealed, tag)
            }
            Cipher::Cm(mode) => {
                let CounterMode {
                    key,
                    salt,
                    authentication,
                } = mode.as_ref();
                out.extend_from_slice(payload);
                let (_, packet) = out.split_at_mut(start);
                let (_, sealed) = packet.split_at_mut(header.len());
                let iv = FixedLength::from(cm_iv(salt, ssrc, index));
                key.less_safe_encrypt(sealed, EncryptionContext::Iv128(iv))
                    .map_err(unfit)?;
                // RFC 3711 §4.2: the packet, then the roll-over counter.
                let mut tag = hmac::Context::with_key(authentication);
                tag.update(packet);
                let [_, _, roll_over @ .., _, _] = index.to_be_bytes();
                tag.update(&roll_over);
                let tag = tag.sign();
                out.extend(tag.as_ref().iter().take(CM_TAG_BYTES));
                Ok(())
            }
        }
    }
}

/// RFC 7714 §8.1: two zero bytes, SSRC, roll-over counter, sequence number; XOR the salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let [a, b, c, d] = ssrc.to_be_bytes();
    let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
    let mut iv = [0, 0, a, b, c, d, e, f, g, h, i, j];
    iv.iter_mut()
        .zip(salt)
        .for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// RFC 3711 §4.1.1: the salt, the SSRC and the index, each at its place, XOR each other.
fn cm_iv(salt: &[u8; 16], ssrc: u32, index: u64) -> [u8; 16] {
    let [a, b, c, d] = ssrc.to_be_bytes();
    let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
    let mut iv = [0, 0, 0, 0, a, b, c, d, e, f, g, h, i, j, 0, 0];
    iv.iter_mut()
        .zip(salt)
        .for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// RFC 3711 §4.3.1 and §4.3.3: the keystream of the salt with the label at byte 7.
fn derive(master: &MasterKey, label: u8, length: usize) -> Result<Vec<u8>, LoadError> {
    let mut iv = [0; 16];
    iv.iter_mut()
        .zip(&master.salt)
        .for_each(|(to, from)| *to = *from);
    if let Some(byte) = iv.get_mut(7) {
        *byte ^= label;
    }
    let algorithm = if master.key.len() == 32 {
        &AES_256
    } else {
        &AES_128
    };
    let key = UnboundCipherKey::new(algorithm, &master.key).map_err(unfit)?;
    let mut out = vec![0; length];
    EncryptingKey::ctr(key)
        .and_then(|key| {
            key.less_safe_encrypt(&mut out, EncryptionContext::Iv128(FixedLength::from(iv)))
        })
        .map_err(unfit)?;
    Ok(out)
}

fn unfit<E>(_: E) -> LoadError {
    LoadError::Srtp("the cipher refused".to_owned())
}

const LABEL_ENCRYPTION: u8 = 0;
const LABEL_AUTHENTICATION: u8 = 1;
const LABEL_SALT: u8 = 2;
const SHA1_KEY_BYTES: usize = 20;
const GCM_TAG_BYTES: usize = 16;
const CM_TAG_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use webrtc_srtp::context::Context;

    use super::*;

    #[test]
    fn webrtc_srtp_opens_what_is_sealed_with_every_profile_and_across_roll_overs() {
        for profile in [
            ProtectionProfile::AeadAes128Gcm,
            ProtectionProfile::AeadAes256Gcm,
            ProtectionProfile::Aes128CmHmacSha1_80,
        ] {
            let master = MasterKey {
                key: (1..).take(profile.key_len()).collect(),
                salt: (100..).take(profile.salt_len()).collect(),
            };
            let sealer = Sealer::new(profile, &master).unwrap();
            let mut context = Context::new(&master.key, &master.salt, profile, None, None).unwrap();
            for index in 65_530..65_540_u64 {
                let [.., high, low] = index.to_be_bytes();
                let header = [0x80, 96, high, low, 0, 0, 0, 9, 0, 0, 0, 77];
                let payload = [0x5a; 1200];
                let mut sealed = vec![1, 2, 3];
                sealer
                    .seal(77, index, &header, &payload, &mut sealed)
                    .unwrap();
                assert_eq!(sealed.len(), 3 + 12 + 1200 + sealer.overhead());
                let opened = context.decrypt_rtp(&sealed[3..]).unwrap();
                assert_eq!(
                    opened,
                    [&header[..], &payload].concat(),
                    "{profile:?} {index}"
                );
            }
        }
    }
}
