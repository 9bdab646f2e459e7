//! DTLS by the crate `dimpl`, in its DTLS 1.2 mode: there the server picks the SRTP profile, GCM
//! first; in DTLS 1.3 it would follow the client's order, and Chromium's begins with the dearest.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use dataplane_core::srtp::SrtpProfile;
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use shared::protocol::{DtlsRole, Fingerprint};

use super::answers::fingerprint;
use super::{Answers, Association, Engine};

/// The engine.
pub(super) struct DimplEngine {
    config: Arc<Config>,
    certificate: DtlsCertificate,
}

impl DimplEngine {
    /// With a new certificate: self-signed, ECDSA P-256 (RFC 8827 §6.5).
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub(super) fn new() -> io::Result<Self> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(io::Error::other)?;
        let config = Config::builder()
            .mtu(MTU)
            // A STUN check with MESSAGE-INTEGRITY has proved the address already; the cookie
            // (RFC 6347 §4.2.1) would only cost a round trip.
            .use_server_cookie(false)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            config: Arc::new(config),
            certificate,
        })
    }
}

impl Engine for DimplEngine {
    fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate.certificate)
    }

    fn start(&self, now: Instant, answers: Answers) -> Option<Box<dyn Association>> {
        let mut dtls = Dtls::new_12(Arc::clone(&self.config), self.certificate.clone(), now);
        if answers.role() == DtlsRole::Client {
            dtls.set_active(true);
        }
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        let mut association = DimplAssociation {
            dtls,
            answers,
            buffer,
            accepted: false,
            timeout: None,
        };
        association.handle_timeout(now);
        Some(Box::new(association))
    }
}

struct DimplAssociation {
    dtls: Dtls,
    answers: Answers,
    buffer: Box<[u8]>,
    /// The peer's certificate was seen, and is the right one.
    accepted: bool,
    timeout: Option<Instant>,
}

impl Association for DimplAssociation {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let result = self.dtls.handle_timeout(now);
        let result = result.and_then(|()| self.dtls.handle_packet(datagram));
        // What it has to say goes out even if it failed: an alert.
        self.drain();
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let result = self.dtls.handle_timeout(now);
        self.drain();
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn close(&mut self, now: Instant) {
        let closed = self
            .dtls
            .handle_timeout(now)
            .and_then(|()| self.dtls.close());
        if closed.is_ok() {
            self.drain();
        }
    }
}

impl DimplAssociation {
    /// Takes all that the engine has to say.
    fn drain(&mut self) {
        // Bounded, should the engine ever go round in circles; a flight is a few datagrams.
        for _ in 0..OUTPUTS_MAX {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(datagram) => self.answers.datagram(datagram),
                Output::PeerCert(certificate) => {
                    self.accepted = self.answers.accepts(certificate);
                }
                Output::KeyingMaterial(material, profile) => match srtp_profile(profile) {
                    Some(profile) if self.accepted => {
                        self.answers.established(profile, &material);
                    }
                    Some(_) | None => self.answers.failed(),
                },
                Output::CloseNotify => self.answers.ended(),
                Output::BufferTooSmall { needed } => {
                    self.buffer = vec![0; needed.min(BUFFER_BYTES_MAX)].into_boxed_slice();
                }
                Output::Timeout(timeout) => {
                    self.timeout = Some(timeout);
                    return;
                }
                // No data channels yet: what a client sends in them goes nowhere.
                Output::Connected | Output::ApplicationData(_) => {}
                _ => {}
            }
        }
    }

    fn fail(&mut self, error: &dimpl::Error) {
        tracing::debug!(answers = ?self.answers, %error, "a DTLS association has failed");
        self.timeout = None;
        self.answers.ended();
    }
}

impl fmt::Debug for DimplEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DimplEngine").finish_non_exhaustive()
    }
}

fn srtp_profile(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmHmacSha1_80),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        _ => None,
    }
}

/// Bytes of a datagram: what WebRTC stacks send, safe on any path.
const MTU: usize = 1150;
/// First size of the buffer for outputs; certificates fit.
const BUFFER_BYTES: usize = 2048;
/// What it may grow to: a certificate of this size has no business here.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Outputs of one call.
const OUTPUTS_MAX: usize = 256;
