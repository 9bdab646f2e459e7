//! A client's SRTP, by the crate `webrtc-srtp`.

use core::fmt;

use bytes::Bytes;
use dataplane_core::srtp::SrtpProfile;
use shared::protocol::DtlsRole;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::marshal::{Marshal, Unmarshal};

/// Both directions.
pub struct ClientSrtp {
    outgoing: Context,
    incoming: Context,
}

impl ClientSrtp {
    /// Divides what the exporter gave (RFC 5764 §4.2), seen from the client.
    pub fn new(profile: SrtpProfile, server_role: DtlsRole, material: &[u8]) -> Self {
        let theirs = match profile {
            SrtpProfile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        };
        let (key, salt) = (theirs.key_len(), theirs.salt_len());
        let (keys, salts) = material.split_at(2 * key);
        let dtls_client = context(&keys[..key], &salts[..salt], theirs);
        let dtls_server = context(&keys[key..], &salts[salt..2 * salt], theirs);
        let (outgoing, incoming) = match server_role {
            DtlsRole::Server => (dtls_client, dtls_server),
            DtlsRole::Client => (dtls_server, dtls_client),
        };
        Self { outgoing, incoming }
    }

    /// Seals a packet.
    pub fn protect_rtp(&mut self, packet: &rtp::packet::Packet) -> Vec<u8> {
        let plain = packet.marshal().unwrap();
        self.protect_plain_rtp(&plain)
    }

    /// Seals the bytes of a packet, which may lie about themselves.
    pub fn protect_plain_rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        self.outgoing.encrypt_rtp(plain).unwrap().to_vec()
    }

    /// Seals a compound packet.
    pub fn protect_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        self.outgoing.encrypt_rtcp(plain).unwrap().to_vec()
    }

    /// None if it is not authentic, or no RTP.
    pub fn open_rtp(&mut self, sealed: &[u8]) -> Option<rtp::packet::Packet> {
        let mut plain = self.incoming.decrypt_rtp(sealed).ok()?;
        rtp::packet::Packet::unmarshal(&mut plain).ok()
    }

    /// None if it is not authentic.
    pub fn open_rtcp(&mut self, sealed: &[u8]) -> Option<Bytes> {
        self.incoming.decrypt_rtcp(sealed).ok()
    }
}

impl fmt::Debug for ClientSrtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSrtp").finish_non_exhaustive()
    }
}

/// Without replay protection: the subscriber itself tells duplicates, and must see them.
fn context(key: &[u8], salt: &[u8], profile: ProtectionProfile) -> Context {
    Context::new(key, salt, profile, None, None).unwrap()
}
