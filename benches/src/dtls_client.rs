//! The DTLS client of a peer, with its SRTP contexts as the result.

use core::any::Any;
use core::net::SocketAddr;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use async_trait::async_trait;
use dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::{Conn, KeyingMaterialExporter};

use crate::error::LoadError;
use crate::options::ProfileChoice;

/// A certificate and its hash. All peers of a run share one: making one takes time.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: Certificate,
    /// As in `a=fingerprint:sha-256`.
    pub fingerprint: String,
}

impl Identity {
    /// A new self-signed one.
    ///
    /// # Errors
    ///
    /// [`LoadError::Dtls`] if there is no randomness.
    pub fn generate() -> Result<Self, LoadError> {
        // `dtls` asks rustls for the one provider that was compiled in. Built together with the
        // server there are two, so the process must name one; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = Certificate::generate_self_signed(vec!["load".to_owned()])
            .map_err(|error| LoadError::Dtls(error.to_string()))?;
        let der = certificate
            .certificate
            .first()
            .map(AsRef::as_ref)
            .unwrap_or_default();
        let fingerprint = fingerprint(der);
        Ok(Self {
            certificate,
            fingerprint,
        })
    }
}

/// What DTLS gave.
pub struct Secured {
    /// Kept while the peer lives: it ends the association in the end.
    pub connection: DTLSConn,
    /// Seals what the peer sends.
    pub outgoing: Context,
    /// Opens what the peer receives.
    pub incoming: Context,
    /// What `outgoing` was made of, for who seals in another way.
    pub outgoing_key: MasterKey,
    /// What was negotiated.
    pub profile: ProtectionProfile,
}

/// The master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// As long as the profile wants.
    pub key: Vec<u8>,
    /// The same.
    pub salt: Vec<u8>,
}

impl core::fmt::Debug for MasterKey {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MasterKey").finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Secured {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Secured")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Which end of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends the `ClientHello`: what peers do against a server.
    Client,
    /// Answers it: the tests' own server.
    Server,
}

/// Carries the handshake out over `link`, and checks that the other end's certificate hashes to
/// `remote_fingerprint`.
///
/// # Errors
///
/// [`LoadError::Dtls`] if the handshake fails or the certificate is another.
pub async fn handshake(
    link: Arc<DatagramLink>,
    identity: &Identity,
    role: Role,
    choice: ProfileChoice,
    remote_fingerprint: &str,
) -> Result<Secured, LoadError> {
    let failed = |error: &dyn core::fmt::Display| LoadError::Dtls(error.to_string());
    let config = Config {
        certificates: vec![identity.certificate.clone()],
        srtp_protection_profiles: profiles(choice),
        client_auth: ClientAuthType::RequireAnyClientCert,
        extended_master_secret: ExtendedMasterSecretType::Require,
        insecure_skip_verify: true,
        ..Config::default()
    };
    let connection = DTLSConn::new(link, config, role == Role::Client, None)
        .await
        .map_err(|error| failed(&error))?;
    let state = connection.connection_state().await;
    let certificate = state
        .peer_certificates
        .first()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !fingerprint(certificate).eq_ignore_ascii_case(remote_fingerprint) {
        return Err(LoadError::Dtls(
            "the certificate is not the one of the SDP".to_owned(),
        ));
    }
    let profile = match connection.selected_srtpprotection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
            ProtectionProfile::Aes128CmHmacSha1_80
        }
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 | SrtpProtectionProfile::Unsupported => {
            return Err(LoadError::Dtls(
                "an SRTP profile that was not offered".to_owned(),
            ));
        }
    };
    let length = 2 * (profile.key_len() + profile.salt_len());
    let material = state
        .export_keying_material("EXTRACTOR-dtls_srtp", &[], length)
        .await
        .map_err(|error| failed(&error))?;
    let [client, server] = master_keys(profile, &material)?;
    let (outgoing_key, incoming_key) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    Ok(Secured {
        connection,
        outgoing: context(profile, &outgoing_key)?,
        incoming: context(profile, &incoming_key)?,
        outgoing_key,
        profile,
    })
}

/// RFC 5764 §4.2: client key, server key, client salt, server salt.
fn master_keys(profile: ProtectionProfile, material: &[u8]) -> Result<[MasterKey; 2], LoadError> {
    let short = || LoadError::Srtp("the exporter gave too little".to_owned());
    let (client_key, rest) = material
        .split_at_checked(profile.key_len())
        .ok_or_else(short)?;
    let (server_key, rest) = rest.split_at_checked(profile.key_len()).ok_or_else(short)?;
    let (client_salt, server_salt) = rest
        .split_at_checked(profile.salt_len())
        .ok_or_else(short)?;
    Ok(
        [(client_key, client_salt), (server_key, server_salt)].map(|(key, salt)| MasterKey {
            key: key.to_vec(),
            salt: salt.to_vec(),
        }),
    )
}

/// Duplicates are counted by the subscriber, so the context lets them through.
fn context(profile: ProtectionProfile, master: &MasterKey) -> Result<Context, LoadError> {
    Context::new(&master.key, &master.salt, profile, None, None)
        .map_err(|error| LoadError::Srtp(error.to_string()))
}

fn profiles(choice: ProfileChoice) -> Vec<SrtpProtectionProfile> {
    use SrtpProtectionProfile::{
        Srtp_Aead_Aes_128_Gcm, Srtp_Aead_Aes_256_Gcm, Srtp_Aes128_Cm_Hmac_Sha1_80,
    };
    match choice {
        ProfileChoice::Gcm128 => vec![Srtp_Aead_Aes_128_Gcm],
        ProfileChoice::Gcm256 => vec![Srtp_Aead_Aes_256_Gcm],
        ProfileChoice::Cm => vec![Srtp_Aes128_Cm_Hmac_Sha1_80],
        ProfileChoice::Any => {
            vec![
                Srtp_Aes128_Cm_Hmac_Sha1_80,
                Srtp_Aead_Aes_256_Gcm,
                Srtp_Aead_Aes_128_Gcm,
            ]
        }
    }
}

/// RFC 8122 §5: upper-case hexadecimal bytes with colons between.
fn fingerprint(der: &[u8]) -> String {
    let digest = Sha256::digest(der);
    digest
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// The DTLS part of a peer's socket: datagrams come out of a channel, since the socket is shared
/// with STUN and SRTP.
#[derive(Debug)]
pub struct DatagramLink {
    socket: std::net::UdpSocket,
    remote: SocketAddr,
    incoming: Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl DatagramLink {
    /// A link to `remote`, and the end that DTLS datagrams are put in at. It sends through a
    /// descriptor of its own, so that the socket can leave the runtime after the handshake.
    ///
    /// # Errors
    ///
    /// The process has no more descriptors.
    pub fn new(
        socket: &UdpSocket,
        remote: SocketAddr,
    ) -> io::Result<(Arc<Self>, mpsc::Sender<Vec<u8>>)> {
        let (sender, receiver) = mpsc::channel(64);
        let link = Self {
            socket: socket.as_fd().try_clone_to_owned()?.into(),
            remote,
            incoming: Mutex::new(receiver),
        };
        Ok((Arc::new(link), sender))
    }
}

type UtilResult<T> = Result<T, webrtc_util::Error>;

fn closed() -> webrtc_util::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

#[async_trait]
impl Conn for DatagramLink {
    async fn connect(&self, _: SocketAddr) -> UtilResult<()> {
        Ok(())
    }

    async fn recv(&self, buf: &mut [u8]) -> UtilResult<usize> {
        let datagram = self.incoming.lock().await.recv().await.ok_or_else(closed)?;
        let room = buf
            .get_mut(..datagram.len())
            .ok_or(webrtc_util::Error::ErrBufferShort)?;
        room.copy_from_slice(&datagram);
        Ok(datagram.len())
    }

    async fn recv_from(&self, buf: &mut [u8]) -> UtilResult<(usize, SocketAddr)> {
        Ok((self.recv(buf).await?, self.remote))
    }

    async fn send(&self, buf: &[u8]) -> UtilResult<usize> {
        self.send_to(buf, self.remote).await
    }

    async fn send_to(&self, buf: &[u8], target: SocketAddr) -> UtilResult<usize> {
        match self.socket.send_to(buf, target) {
            // A full socket is a loss like any other: DTLS repeats what it needs.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(buf.len()),
            result => Ok(result?),
        }
    }

    fn local_addr(&self) -> UtilResult<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }

    async fn close(&self) -> UtilResult<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
