//! A shard with one publisher and any number of subscribers, driven through its public doors: the
//! commands, checks and keys that the control plane, clients and the handshake pool would bring.

use std::net::SocketAddr;
use std::time::Duration;

use benches::ice::{Credentials, IceAgent};
use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::outbox::{DATAGRAM_BYTES_MAX, Outbox, Path};
use dataplane_core::relay::RelayMessage;
use dataplane_core::srtp::{RTP_OVERHEAD_MAX, SessionKeys, SrtpProfile, SrtpSender};
use dataplane_core::time::{NtpTime, Timestamp};
use dataplane_core::{Shard, ShardConfig};
use shared::counters::Counter;
use shared::id::{PublicationId, SessionId, ShardIndex};
use shared::protocol::{
    Change, Codec, CodecMapping, Command, DtlsRole, Extension, ExtensionMapping, Fingerprint,
    HashAlgorithm, Hints, IceCredentials, LayerParameters, LayerSelection, MediaKind, Mid,
    PublishParameters, PublishedCodec, RemoteTransport, Reply, SubscribeParameters,
};

/// One shard, its publisher and its subscribers, all connected.
pub(crate) struct Scene {
    shard: Shard,
    out: Slot,
    now: Timestamp,
    publisher: SrtpSender,
    next_index: u64,
}

/// Keeps nothing but the last datagram: what is measured is the shard, not an arena or a socket.
#[derive(Debug)]
struct Slot {
    bytes: Box<[u8]>,
    started: Option<HandshakeId>,
}

impl Scene {
    /// `legs` subscribers of one video track, on sessions of their own.
    pub(crate) fn new(legs: usize) -> Self {
        let config = ShardConfig::new(ShardIndex(0), 1, NtpTime::from_bits(1 << 40));
        let mut scene = Self {
            shard: Shard::new(config),
            out: Slot {
                bytes: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
                started: None,
            },
            now: Timestamp::from_millis(1),
            publisher: SrtpSender::new(&keys(DtlsRole::Client)),
            next_index: 1,
        };
        scene.open(PUBLISHER, Change::Publish(Box::new(publish())));
        for leg in 0..legs {
            let subscriber = PUBLISHER + 1 + u16::try_from(leg).expect("a few thousand");
            scene.open(
                subscriber,
                Change::Subscribe(Box::new(subscribe(subscriber))),
            );
        }
        // The key frame that legs begin with.
        let mut packet = scene.packet(120, FIRST_OF_KEYFRAME);
        scene.receive(&mut packet);
        scene.end_turn();
        assert_eq!(scene.forwarded(), legs as u64, "every leg has begun");
        scene
    }

    /// The next packet of the publisher, sealed, with a payload of `bytes`.
    pub(crate) fn next_packet(&mut self, bytes: usize) -> Vec<u8> {
        self.packet(bytes, FIRST_OF_DELTA_FRAME)
    }

    /// Gives the shard a datagram of the publisher.
    pub(crate) fn receive(&mut self, datagram: &mut [u8]) {
        self.receive_from(path(PUBLISHER), datagram);
    }

    /// Gives the shard a datagram.
    pub(crate) fn receive_from(&mut self, path: Path, datagram: &mut [u8]) {
        self.shard
            .handle_datagram(self.now, path, datagram, &mut self.out);
    }

    /// Lets the shard forward what came, and goes on by a millisecond.
    pub(crate) fn end_turn(&mut self) {
        self.shard.end_turn(self.now, &mut self.out);
        self.now = self.now + Duration::from_millis(1);
    }

    /// Packets that were forwarded so far, each once for each leg.
    pub(crate) fn forwarded(&self) -> u64 {
        self.shard.counters().counter(Counter::RtpPacketsForwarded)
    }

    /// Opens a session that is connected, with one track.
    fn open(&mut self, client: u16, track: Change) {
        let command = Command::Execute {
            session: session(client),
            changes: vec![
                Change::Open(credentials("server", client)),
                Change::SetRemote(RemoteTransport {
                    ice: credentials("client", client),
                    fingerprints: vec![Fingerprint {
                        algorithm: HashAlgorithm::Sha256,
                        digest: vec![0; 32],
                    }],
                    role: DtlsRole::Server,
                }),
                track,
            ],
            model: None,
        };
        let reply = self.shard.handle_command(self.now, &command, &mut self.out);
        assert_eq!(reply, Ok(Reply::Done));
        self.receive_from(path(client), &mut check(client));
        self.receive_from(path(client), &mut DTLS_RECORD.to_vec());
        let id = self.out.started.take().expect("the handshake has begun");
        let established = HandshakeOutput::Established(Box::new(keys(DtlsRole::Server)));
        self.shard
            .handle_handshake(self.now, id, established, &mut self.out);
    }

    /// With a mid and a transport-wide sequence number, as browsers send it.
    fn packet(&mut self, payload: usize, descriptor: [u8; 6]) -> Vec<u8> {
        let index = self.next_index;
        self.next_index += 1;
        let [.., high, low] = index.to_be_bytes();
        let mut packet = vec![0x90, PAYLOAD_TYPE, high, low, 0, 0, 0, 0];
        packet.extend(SSRC.to_be_bytes());
        // RFC 8285 §4.2: two extensions of one and two bytes, filled up to eight.
        packet.extend([0xbe, 0xde, 0, 2, 0x10, b'0', 0x21, high, low, 0, 0, 0]);
        let header = packet.len();
        packet.extend(descriptor);
        let length = header + payload;
        packet.resize(length + RTP_OVERHEAD_MAX, 0x5a);
        let sealed = self
            .publisher
            .seal_rtp_in_place(SSRC, index, header, length, &mut packet);
        packet.truncate(sealed.expect("there is room for the tag"));
        packet
    }
}

impl Outbox for Slot {
    fn datagram(&mut self, _: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        assert!(write(&mut self.bytes) > 0, "what is sent has found room");
    }

    fn relay(&mut self, _: ShardIndex, _: RelayMessage, _: &[u8]) -> bool {
        true
    }

    fn handshake(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        if matches!(input, HandshakeInput::Start { .. }) {
            self.started = Some(id);
        }
        true
    }
}

/// Where a client is. Client 0 is the publisher, the others subscribe.
pub(crate) fn path(client: u16) -> Path {
    Path {
        socket: 0,
        remote: SocketAddr::from(([127, 0, 0, 1], 10_000 + client)),
    }
}

/// A connectivity check of a client, as browsers send it.
pub(crate) fn check(client: u16) -> Vec<u8> {
    let side = |name: &str| {
        let IceCredentials { ufrag, password } = credentials(name, client);
        Credentials { ufrag, password }
    };
    let agent = IceAgent::new(&side("client"), &side("server"));
    agent.binding_request().expect("the credentials are short")
}

/// The start of a DTLS handshake record: what is behind it is not the shard's matter.
pub(crate) const DTLS_RECORD: [u8; 13] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn credentials(side: &str, client: u16) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}{client}"),
        password: format!("{side}'s password of 22 bytes"),
    }
}

fn session(client: u16) -> SessionId {
    let mut random = [0; 12];
    for (byte, value) in random.iter_mut().zip(client.to_be_bytes()) {
        *byte = value;
    }
    SessionId::new(0, ShardIndex(0), random)
}

fn keys(role: DtlsRole) -> SessionKeys {
    const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
    let material = [7; PROFILE.exporter_len()];
    SessionKeys::from_exporter(PROFILE, role, &material).expect("the length is the profile's own")
}

fn publish() -> PublishParameters {
    PublishParameters {
        number: 0,
        mid: Mid::from("0").expect("short"),
        kind: MediaKind::Video,
        codecs: vec![PublishedCodec {
            payload_type: PAYLOAD_TYPE,
            codec: Codec::Vp8,
            rtx_payload_type: Some(PAYLOAD_TYPE + 1),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
        }],
        extensions: extensions(),
        layers: vec![LayerParameters {
            rid: None,
            ssrc: Some(SSRC),
            rtx_ssrc: Some(SSRC + 1),
        }],
    }
}

fn subscribe(client: u16) -> SubscribeParameters {
    SubscribeParameters {
        number: 0,
        mid: Mid::from("0").expect("short"),
        kind: MediaKind::Video,
        source: PublicationId {
            session: session(PUBLISHER),
            number: 0,
        },
        ssrc: 2 * u32::from(client),
        rtx_ssrc: Some(2 * u32::from(client) + 1),
        codecs: vec![CodecMapping {
            source_payload_type: PAYLOAD_TYPE,
            payload_type: PAYLOAD_TYPE,
            codec: Codec::Vp8,
            rtx_payload_type: Some(PAYLOAD_TYPE + 1),
        }],
        extensions: extensions(),
        selection: LayerSelection::default(),
        hints: Hints::default(),
    }
}

fn extensions() -> Vec<ExtensionMapping> {
    [Extension::Mid, Extension::TransportWideSequenceNumber]
        .into_iter()
        .zip(1..)
        .map(|(extension, id)| ExtensionMapping { id, extension })
        .collect()
}

const PUBLISHER: u16 = 0;
const PAYLOAD_TYPE: u8 = 96;
const SSRC: u32 = 0x1234_5678;
/// RFC 7741 §4.2: extended, starts a partition; a picture id of 15 bits and a TL0PICIDX; then the
/// frame's first byte (RFC 6386 §9.1), whose lowest bit is 0 for a key frame.
const FIRST_OF_KEYFRAME: [u8; 6] = [0x90, 0xc0, 0x80, 0x01, 0x00, 0x10];
const FIRST_OF_DELTA_FRAME: [u8; 6] = [0x90, 0xc0, 0x80, 0x01, 0x00, 0x11];
