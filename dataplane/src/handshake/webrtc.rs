//! DTLS 1.2 by the crate `dtls` of webrtc-rs. It is asynchronous: each association is a task on
//! the runtime of its pool thread, fed through a connection in memory.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dataplane_core::srtp::SrtpProfile;
use dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use shared::protocol::{DtlsRole, Fingerprint};
use tokio::sync::{mpsc, oneshot};
use webrtc_util::{Conn, KeyingMaterialExporter};

use super::answers::fingerprint;
use super::client_hello::ClientHelloReader;
use super::{Answers, Association, Engine};

/// The engine.
pub(super) struct WebrtcEngine {
    certificate: Certificate,
    fingerprint: Fingerprint,
}

impl WebrtcEngine {
    /// With a new certificate: self-signed, ECDSA P-256 (RFC 8827 §6.5).
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub(super) fn new() -> io::Result<Self> {
        // `dtls` has rustls check signatures, and rustls panics where two of its providers are
        // compiled in and none was chosen. This fails only where one was chosen already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificate = Certificate::generate_self_signed(vec!["jackfield".to_owned()])
            .map_err(io::Error::other)?;
        let der = certificate
            .certificate
            .first()
            .ok_or(io::ErrorKind::InvalidData)?;
        let fingerprint = fingerprint(der);
        Ok(Self {
            certificate,
            fingerprint,
        })
    }
}

impl Engine for WebrtcEngine {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn start(&self, _now: Instant, answers: Answers) -> Option<Box<dyn Association>> {
        let (datagrams, received) = mpsc::channel(DATAGRAMS_MAX);
        let (stop, stopped) = oneshot::channel();
        let certificate = self.certificate.clone();
        tokio::spawn(run(certificate, answers, received, stopped));
        Some(Box::new(WebrtcAssociation {
            datagrams,
            stop: Some(stop),
        }))
    }
}

impl fmt::Debug for WebrtcEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebrtcEngine").finish_non_exhaustive()
    }
}

struct WebrtcAssociation {
    datagrams: mpsc::Sender<Vec<u8>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Association for WebrtcAssociation {
    fn handle_datagram(&mut self, _now: Instant, datagram: &[u8]) {
        // Full: the peer sends faster than the task reads, and will send again.
        if let Ok(place) = self.datagrams.try_reserve() {
            place.send(datagram.to_vec());
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn close(&mut self, _now: Instant) {
        drop(self.stop.take());
    }
}

/// The life of one association, until it ends or `stopped` says so (or is dropped).
async fn run(
    certificate: Certificate,
    answers: Answers,
    mut received: mpsc::Receiver<Vec<u8>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let conn = tokio::select! {
        conn = handshake(certificate, &answers, &mut received) => conn,
        _ = &mut stopped => return,
    };
    let Some((conn, memory)) = conn else {
        answers.failed();
        return;
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            datagram = received.recv() => match datagram {
                Some(datagram) => memory.take_in(datagram).await,
                None => break,
            },
            // No data channels yet: what a client sends in them goes nowhere.
            read = conn.read(&mut buffer, None) => if read.is_err() {
                answers.closed();
                break;
            },
        }
    }
    // RFC 5246 §7.2.1: a close_notify is answered by one; an error means that it is too late.
    drop(conn.close().await);
}

/// Does the handshake and checks the certificate. None: it failed.
async fn handshake(
    certificate: Certificate,
    answers: &Answers,
    received: &mut mpsc::Receiver<Vec<u8>>,
) -> Option<(DTLSConn, Arc<MemoryConn>)> {
    let is_client = answers.role() == DtlsRole::Client;
    let memory = Arc::new(MemoryConn::new(answers.clone()));
    let profiles = if is_client {
        // The server picks, from what we offer; one that knows no GCM must find something.
        PROFILES.to_vec()
    } else {
        wait_for_offer(received, &memory).await?
    };
    let config = Config {
        certificates: vec![certificate],
        srtp_protection_profiles: profiles,
        client_auth: ClientAuthType::RequireAnyClientCert,
        // The certificate is self-signed; its fingerprint is what counts (RFC 8827 §6.5).
        insecure_skip_verify: true,
        extended_master_secret: ExtendedMasterSecretType::Require,
        mtu: MTU,
        ..Config::default()
    };
    let transport: Arc<dyn Conn + Send + Sync> = Arc::<MemoryConn>::clone(&memory);
    let mut connecting = Box::pin(DTLSConn::new(transport, config, is_client, None));
    let conn = loop {
        tokio::select! {
            conn = &mut connecting => break conn,
            datagram = received.recv() => memory.take_in(datagram?).await,
        }
    };
    let conn = conn
        .inspect_err(|error| tracing::debug!(?answers, %error, "a DTLS association has failed"))
        .ok()?;
    memory.complete(answers.role());
    let state = conn.connection_state().await;
    let accepted = state
        .peer_certificates
        .first()
        .is_some_and(|der| answers.accepts(der));
    let profile = srtp_profile(conn.selected_srtpprotection_profile())?;
    let material = state
        .export_keying_material(EXPORTER_LABEL, &[], profile.exporter_len())
        .await
        .ok()
        .filter(|_| accepted)?;
    answers.established(profile, &material);
    Some((conn, memory))
}

/// Waits for the whole `ClientHello` and says which profiles to tell the engine of: GCM alone if
/// the client offers it, since the engine follows the client's order.
async fn wait_for_offer(
    received: &mut mpsc::Receiver<Vec<u8>>,
    memory: &MemoryConn,
) -> Option<Vec<SrtpProtectionProfile>> {
    let mut reader = ClientHelloReader::default();
    loop {
        let datagram = received.recv().await?;
        let offer = reader.push(&datagram);
        memory.take_in(datagram).await;
        if let Some(offer) = offer {
            let gcm = offer.iter().any(|id| {
                [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm]
                    .iter()
                    .any(|profile| profile.dtls_id() == *id)
            });
            let [gcm_128, gcm_256, cm] = PROFILES;
            return Some(if gcm {
                vec![gcm_128, gcm_256]
            } else {
                vec![cm]
            });
        }
    }
}

/// The connection in memory: datagrams of the peer in, ours out.
struct MemoryConn {
    answers: Answers,
    incoming: mpsc::Sender<Vec<u8>>,
    received: tokio::sync::Mutex<mpsc::Receiver<Vec<u8>>>,
    last_flight: Mutex<Flight>,
    repeats: AtomicBool,
}

/// Our last flight. Once its handshake is done the crate answers no retransmission any more, so a
/// client that lost our Finished would never connect; we repeat the flight ourselves then
/// (RFC 6347 §4.2.4).
#[derive(Default)]
struct Flight {
    datagrams: Vec<Vec<u8>>,
    /// The peer has answered since: the next datagram begins a new flight.
    answered: bool,
    repeated: Option<Instant>,
}

impl MemoryConn {
    fn new(answers: Answers) -> Self {
        let (incoming, received) = mpsc::channel(DATAGRAMS_MAX);
        Self {
            answers,
            incoming,
            received: tokio::sync::Mutex::new(received),
            last_flight: Mutex::default(),
            repeats: AtomicBool::new(false),
        }
    }

    /// A datagram of the peer.
    async fn take_in(&self, datagram: Vec<u8>) {
        if datagram
            .first()
            .is_some_and(|kind| [CHANGE_CIPHER_SPEC, HANDSHAKE].contains(kind))
        {
            if self.repeats.load(Ordering::Acquire) {
                self.repeat();
                return;
            }
            self.last_flight
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .answered = true;
        }
        if let Ok(place) = self.incoming.try_reserve() {
            place.send(datagram);
        }
    }

    /// The handshake is done. Only the server sends the last flight (RFC 6347 figure 1), and only
    /// it may repeat it: a client that did too would keep the two going for ever.
    fn complete(&self, role: DtlsRole) {
        self.repeats
            .store(role == DtlsRole::Server, Ordering::Release);
    }

    fn repeat(&self) {
        let mut flight = self
            .last_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = flight
            .repeated
            .is_none_or(|last| now.duration_since(last) >= REPEAT_INTERVAL);
        if due {
            flight.repeated = Some(now);
            for datagram in &flight.datagrams {
                self.answers.datagram(datagram);
            }
        }
    }

    fn send_out(&self, datagram: &[u8]) {
        self.answers.datagram(datagram);
        if datagram
            .first()
            .is_some_and(|kind| [CHANGE_CIPHER_SPEC, HANDSHAKE].contains(kind))
        {
            let mut flight = self
                .last_flight
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if core::mem::take(&mut flight.answered) {
                flight.datagrams.clear();
            }
            if flight.datagrams.len() < FLIGHT_DATAGRAMS_MAX {
                flight.datagrams.push(datagram.to_vec());
            }
        }
    }
}

#[async_trait]
impl Conn for MemoryConn {
    async fn connect(&self, _addr: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buf: &mut [u8]) -> webrtc_util::Result<usize> {
        let datagram = self.received.lock().await.recv().await;
        let Some(datagram) = datagram else {
            // An error would make the crate's reader spin; it is ended by its own means.
            return std::future::pending().await;
        };
        let length = datagram.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(&datagram) {
            *to = *from;
        }
        Ok(length)
    }

    async fn recv_from(&self, buf: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        self.recv(buf).await.map(|length| (length, NOWHERE))
    }

    async fn send(&self, buf: &[u8]) -> webrtc_util::Result<usize> {
        self.send_out(buf);
        Ok(buf.len())
    }

    async fn send_to(&self, buf: &[u8], _target: SocketAddr) -> webrtc_util::Result<usize> {
        self.send(buf).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(NOWHERE)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(NOWHERE)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

fn srtp_profile(profile: SrtpProtectionProfile) -> Option<SrtpProfile> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
            Some(SrtpProfile::Aes128CmHmacSha1_80)
        }
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(SrtpProfile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(SrtpProfile::AeadAes256Gcm),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 | SrtpProtectionProfile::Unsupported => {
            None
        }
    }
}

/// Cheapest first.
const PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];
/// RFC 5764 §4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// The crate wants an address; it is never used.
const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
/// Bytes of a handshake fragment; headers come on top.
const MTU: usize = 1100;
/// Datagrams that wait for one association.
const DATAGRAMS_MAX: usize = 32;
/// Datagrams of one flight.
const FLIGHT_DATAGRAMS_MAX: usize = 8;
/// How often the last flight is repeated at the most.
const REPEAT_INTERVAL: Duration = Duration::from_millis(40);
/// Application data of one record.
const READ_BYTES: usize = 16 * 1024;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
