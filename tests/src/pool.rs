//! Stands in for the handshake pool. What it exchanges with clients are not DTLS records, only
//! datagrams that look like them to the demultiplexer; what matters to the core is when keys come,
//! in which role, and that the right peer has the same ones.

use core::time::Duration;
use std::collections::BTreeMap;

use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::srtp::{SessionKeys, SrtpProfile};
use shared::protocol::{DtlsRole, Fingerprint};

use crate::rng::Rng;

/// One flight of the stand-in for DTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flight {
    /// From the side that is DTLS client.
    ClientHello(Parameters),
    /// From the side that is DTLS server, which then has the keys.
    ServerFinished(Parameters),
    /// `close_notify`.
    Close,
}

/// What a side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The client's choice; ours is to take it.
    pub profile: SrtpProfile,
    /// The hash of the sender's certificate.
    pub digest: [u8; 32],
    /// What the exporter gives, if the sender is the pool.
    pub material: Vec<u8>,
}

impl Flight {
    /// As a datagram that RFC 7983 takes for DTLS.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, parameters) = match self {
            Self::ClientHello(parameters) => (1, Some(parameters)),
            Self::ServerFinished(parameters) => (2, Some(parameters)),
            Self::Close => (3, None),
        };
        let mut bytes = vec![22, 0xfe, 0xfd, kind];
        if let Some(parameters) = parameters {
            bytes.push(parameters.profile.dtls_id() as u8);
            bytes.extend(parameters.digest);
            bytes.extend(&parameters.material);
        }
        bytes
    }

    /// None if it is no such datagram.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let kind = *head.strip_prefix(&[22, 0xfe, 0xfd])?.first()?;
        if kind == 3 {
            return Some(Self::Close);
        }
        let (profile, rest) = rest.split_first()?;
        let profile = PROFILES
            .into_iter()
            .find(|known| known.dtls_id() == u16::from(*profile))?;
        let (digest, material) = rest.split_first_chunk::<32>()?;
        let parameters = Parameters {
            profile,
            digest: *digest,
            material: material.to_vec(),
        };
        match kind {
            1 => Some(Self::ClientHello(parameters)),
            2 => Some(Self::ServerFinished(parameters)),
            _ => None,
        }
    }
}

/// What comes out of the pool, and how much later.
pub type Due = (Duration, HandshakeOutput);

/// All associations of one shard.
#[derive(Debug)]
pub struct Pool {
    associations: BTreeMap<HandshakeId, Association>,
    rng: Rng,
    /// Associations that were stopped.
    pub stopped: usize,
}

#[derive(Debug)]
struct Association {
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    material: Vec<u8>,
    done: bool,
}

impl Pool {
    /// An idle pool.
    pub fn new(rng: Rng) -> Self {
        Self {
            associations: BTreeMap::new(),
            rng,
            stopped: 0,
        }
    }

    /// How many associations it knows.
    pub fn len(&self) -> usize {
        self.associations.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.associations.is_empty()
    }

    /// Takes what a shard hands over.
    pub fn input(&mut self, id: HandshakeId, input: &HandshakeInput<'_>) -> Vec<Due> {
        match input {
            HandshakeInput::Start { role, fingerprints } => {
                let association = Association {
                    role: *role,
                    fingerprints: fingerprints.to_vec(),
                    material: self.rng.bytes::<MATERIAL_BYTES>().to_vec(),
                    done: false,
                };
                let before = self.associations.insert(id, association);
                assert!(before.is_none(), "an association starts once");
                self.retransmit(id).into_iter().collect()
            }
            HandshakeInput::Datagram(bytes) => self.datagram(id, bytes),
            HandshakeInput::Stop => {
                assert!(
                    self.associations.remove(&id).is_some(),
                    "only what runs is stopped"
                );
                self.stopped += 1;
                Vec::new()
            }
        }
    }

    /// As client, the first flight, until it was answered.
    pub fn retransmit(&mut self, id: HandshakeId) -> Option<Due> {
        let association = self.associations.get(&id)?;
        if association.role == DtlsRole::Server || association.done {
            return None;
        }
        let hello = Flight::ClientHello(Parameters {
            // A list in truth; the peer takes what it likes.
            profile: SrtpProfile::AeadAes128Gcm,
            digest: [0; 32],
            material: association.material.clone(),
        });
        Some((THINKING, datagram(&hello)))
    }

    fn datagram(&mut self, id: HandshakeId, bytes: &[u8]) -> Vec<Due> {
        let association = self
            .associations
            .get_mut(&id)
            .expect("Start comes before Datagram");
        let mut due = Vec::new();
        let parameters = match (Flight::parse(bytes), association.role) {
            (Some(Flight::ClientHello(parameters)), DtlsRole::Server)
            | (Some(Flight::ServerFinished(parameters)), DtlsRole::Client) => parameters,
            (Some(Flight::Close), _) => return vec![(THINKING, HandshakeOutput::Closed)],
            _ => return due,
        };
        let known = &association.fingerprints;
        if !known
            .iter()
            .any(|fingerprint| fingerprint.digest == parameters.digest)
        {
            return vec![(THINKING, HandshakeOutput::Failed)];
        }
        if association.role == DtlsRole::Server {
            let finished = Flight::ServerFinished(Parameters {
                profile: parameters.profile,
                digest: [0; 32],
                material: association.material.clone(),
            });
            due.push((THINKING, datagram(&finished)));
        }
        if !association.done {
            association.done = true;
            let length = parameters.profile.exporter_len();
            let material = &association.material[..length];
            let keys = SessionKeys::from_exporter(parameters.profile, association.role, material);
            due.push((
                THINKING,
                HandshakeOutput::Established(Box::new(keys.unwrap())),
            ));
        }
        due
    }
}

fn datagram(flight: &Flight) -> HandshakeOutput {
    HandshakeOutput::Datagram(flight.to_bytes().as_slice().try_into().unwrap())
}

/// All that we speak.
pub const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::Aes128CmHmacSha1_80,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
];

/// Enough for every profile.
const MATERIAL_BYTES: usize = 88;

/// What the pool needs for an answer.
const THINKING: Duration = Duration::from_millis(3);

/// When an unanswered first flight is repeated.
pub const RETRANSMISSION_INTERVAL: Duration = Duration::from_millis(200);
