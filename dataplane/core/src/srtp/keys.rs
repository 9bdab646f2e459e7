//! Master keys from the DTLS exporter, and the session keys that are derived from them.

use core::fmt;

use arrayvec::ArrayVec;
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use shared::protocol::DtlsRole;

/// How packets are protected: the protection profiles of DTLS-SRTP that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764 §4.1.2): the one that everybody has.
    Aes128CmHmacSha1_80,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714 §14.2): the cheapest by far, so the one that we prefer.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714 §14.2).
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// Bytes of a master key and of an encryption key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt and of a session salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of the authentication tag of a packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes to take from the DTLS exporter, label `EXTRACTOR-dtls_srtp` (RFC 5764 §4.2).
    pub const fn exporter_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Its number in the `use_srtp` extension of DTLS (RFC 5764 §4.1.2, RFC 7714 §14.2).
    pub const fn dtls_id(self) -> u16 {
        match self {
            Self::Aes128CmHmacSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }
}

/// The master keys of one DTLS association, both directions.
///
/// `Debug` shows the profile only.
#[derive(Clone)]
pub struct SessionKeys {
    /// How packets are protected, in both directions.
    pub profile: SrtpProfile,
    local: MasterKey,
    remote: MasterKey,
}

impl SessionKeys {
    /// Divides what the DTLS exporter gave: client key, server key, client salt, server salt
    /// (RFC 5764 §4.2). `role` is our part in the handshake. `None` if `material` is not of
    /// [`SrtpProfile::exporter_len`] bytes.
    pub fn from_exporter(profile: SrtpProfile, role: DtlsRole, material: &[u8]) -> Option<Self> {
        let (client_key, rest) = material.split_at_checked(profile.key_len())?;
        let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
        if server_salt.len() != profile.salt_len() {
            return None;
        }
        let client = MasterKey::new(client_key, client_salt)?;
        let server = MasterKey::new(server_key, server_salt)?;
        Some(match role {
            DtlsRole::Client => Self {
                profile,
                local: client,
                remote: server,
            },
            DtlsRole::Server => Self {
                profile,
                local: server,
                remote: client,
            },
        })
    }

    /// What protects the packets that we send.
    pub(super) fn local(&self) -> &MasterKey {
        &self.local
    }

    /// What protects the packets that the peer sends.
    pub(super) fn remote(&self) -> &MasterKey {
        &self.remote
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// One direction's master key and master salt.
#[derive(Clone)]
pub(super) struct MasterKey {
    key: ArrayVec<u8, KEY_BYTES_MAX>,
    salt: ArrayVec<u8, SALT_BYTES_MAX>,
}

impl MasterKey {
    fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        Some(Self {
            key: ArrayVec::try_from(key).ok()?,
            salt: ArrayVec::try_from(salt).ok()?,
        })
    }

    /// Fills `out` with the session key of `label`: RFC 3711 §4.3.1 with a key derivation rate of
    /// zero (RFC 5764 §4.1.2) and the AES-CM PRF of §4.3.3; for 256-bit keys the PRF of RFC 6188
    /// §3, as RFC 7714 §11 asks.
    pub(super) fn derive(&self, label: Label, out: &mut [u8]) {
        // x = key_id XOR master_salt, aligned at their right ends: the label is the topmost byte of
        // the 56-bit key_id. RFC 7714 §11: a salt of 96 bits is filled up with zeros on its right.
        let mut counter_block = [0; 16];
        for (byte, salt) in counter_block.iter_mut().zip(&self.salt) {
            *byte = *salt;
        }
        let [_, _, _, _, _, _, _, label_byte, ..] = &mut counter_block;
        *label_byte ^= label as u8;

        let algorithm = if self.key.len() == AES_256_KEY_BYTES {
            &AES_256
        } else {
            &AES_128
        };
        let key = UnboundCipherKey::new(algorithm, &self.key)
            .and_then(EncryptingKey::ctr)
            .expect("a master key is of 16 or 32 bytes");
        out.fill(0);
        key.less_safe_encrypt(
            out,
            EncryptionContext::Iv128(FixedLength::from(&counter_block)),
        )
        .expect("AES in counter mode takes any length");
    }
}

/// What a session key is for: the labels of RFC 3711 §4.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Bytes of the longest master key, that of AES-256.
pub(super) const KEY_BYTES_MAX: usize = 32;

/// Bytes of the longest master salt, that of AES-CM.
const SALT_BYTES_MAX: usize = 14;

const AES_256_KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::hex;

    const PROFILES: [SrtpProfile; 3] = [
        SrtpProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
    ];

    #[test]
    fn session_keys_are_derived_as_in_rfc_3711_appendix_b_3() {
        let master = MasterKey::new(
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        let (mut key, mut salt, mut authentication) = ([0; 16], [0; 14], [0; 94]);
        master.derive(Label::RtpEncryption, &mut key);
        master.derive(Label::RtpSalt, &mut salt);
        master.derive(Label::RtpAuthentication, &mut authentication);
        assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            authentication[..16],
            hex("CEBE321F6FF7716B6FD4AB49AF256A15")
        );
        // The last row of the appendix: the block counter has carried on past the first block.
        assert_eq!(authentication[80..], hex("6B68642C59BBFC2F34DB60DBDFB2"));
    }

    #[test]
    fn the_exporter_is_divided_as_in_rfc_5764_section_4_2() {
        for profile in PROFILES {
            let material: Vec<u8> = (0..).take(profile.exporter_len()).collect();
            let (key, salt) = (profile.key_len(), profile.salt_len());
            let client = SessionKeys::from_exporter(profile, DtlsRole::Client, &material).unwrap();
            assert_eq!(client.local.key[..], material[..key]);
            assert_eq!(client.remote.key[..], material[key..2 * key]);
            assert_eq!(client.local.salt[..], material[2 * key..2 * key + salt]);
            assert_eq!(client.remote.salt[..], material[2 * key + salt..]);

            let server = SessionKeys::from_exporter(profile, DtlsRole::Server, &material).unwrap();
            assert_eq!(server.local.key, client.remote.key);
            assert_eq!(server.remote.salt, client.local.salt);
        }
    }

    #[test]
    fn exporter_material_of_another_length_is_refused() {
        for profile in PROFILES {
            for length in [0, 1, profile.exporter_len() - 1, profile.exporter_len() + 1] {
                let keys = SessionKeys::from_exporter(profile, DtlsRole::Client, &vec![0; length]);
                assert!(keys.is_none(), "{profile:?}, {length} bytes");
            }
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let material = [0xab; SrtpProfile::AeadAes128Gcm.exporter_len()];
        let keys =
            SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, DtlsRole::Client, &material);
        assert_eq!(
            format!("{:?}", keys.unwrap()),
            "SessionKeys { profile: AeadAes128Gcm, .. }"
        );
    }
}
