//! A whole shard with a publisher and a subscriber, and any datagrams in any order. Media and reports
//! are sealed with the right keys, or nothing would get through to what reads them.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::outbox::{DATAGRAM_BYTES_MAX, Outbox, Path};
use dataplane_core::relay::RelayMessage;
use dataplane_core::srtp::{SessionKeys, SrtpProfile, SrtpSender};
use dataplane_core::time::{NtpTime, Timestamp};
use dataplane_core::{Shard, ShardConfig};
use jackfield_fuzz::sign;
use libfuzzer_sys::fuzz_target;
use shared::id::{PublicationId, SessionId, ShardIndex};
use shared::protocol::*;

fuzz_target!(|steps: Vec<Step>| {
    let mut scene = Scene::new();
    for step in steps {
        scene.take(&step);
    }
});

/// Something that happens.
#[derive(Arbitrary, Debug)]
enum Step {
    /// A datagram as it is, from the publisher, the subscriber or a stranger.
    Datagram(From, Vec<u8>),
    /// A check with a right MESSAGE-INTEGRITY, and any attributes.
    Check(From, Vec<u8>),
    /// RTP: these header bits, then any extension block and payload.
    Media {
        from: From,
        flags: u8,
        kind: u8,
        number: u16,
        retransmission: bool,
        rest: Vec<u8>,
    },
    /// RTCP of this sender and any content.
    Control(From, Vec<u8>),
    /// The end of a turn.
    Turn,
    /// Time passes.
    Wait(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum From {
    Publisher,
    Subscriber,
    Stranger,
}

struct Scene {
    shard: Shard,
    now: Timestamp,
    out: Sink,
    senders: [SrtpSender; 2],
}

#[derive(Default)]
struct Sink {
    started: Vec<HandshakeId>,
}

impl Outbox for Sink {
    fn datagram(&mut self, _: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        let mut slot = [0; DATAGRAM_BYTES_MAX];
        assert!(write(&mut slot) <= DATAGRAM_BYTES_MAX);
    }

    fn relay(&mut self, _: ShardIndex, _: RelayMessage, _: &[u8]) -> bool {
        false
    }

    fn handshake(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        if matches!(input, HandshakeInput::Start { .. }) {
            self.started.push(id);
        }
        true
    }
}

impl Scene {
    fn new() -> Self {
        let config = ShardConfig::new(ShardIndex(0), 1, NtpTime::from_bits(1 << 40));
        let mut scene = Self {
            shard: Shard::new(config),
            now: Timestamp::from_millis(1),
            out: Sink::default(),
            senders: [sender(), sender()],
        };
        scene.open(From::Publisher, vec![Change::Publish(Box::new(publish()))]);
        scene.open(
            From::Subscriber,
            vec![Change::Subscribe(Box::new(subscribe()))],
        );
        scene
    }

    fn open(&mut self, who: From, changes: Vec<Change>) {
        let ice = IceCredentials {
            ufrag: ufrag(who).to_owned(),
            password: PASSWORD.to_owned(),
        };
        let digest = vec![0; 32];
        let mut all = vec![
            Change::Open(ice.clone()),
            Change::SetRemote(RemoteTransport {
                ice: IceCredentials {
                    ufrag: "peer".to_owned(),
                    ..ice
                },
                fingerprints: vec![Fingerprint {
                    algorithm: HashAlgorithm::Sha256,
                    digest,
                }],
                role: DtlsRole::Server,
            }),
        ];
        all.extend(changes);
        let command = Command::Execute {
            session: session(who),
            changes: all,
            model: None,
        };
        let reply = self.shard.handle_command(self.now, &command, &mut self.out);
        assert_eq!(reply, Ok(Reply::Done));
        self.check(who, vec![0x00, 0x25, 0x00, 0x00]);
        self.receive(who, vec![22, 254, 253]);
        let id = self.out.started.pop().expect("the handshake has begun");
        let keys = Box::new(keys(DtlsRole::Server));
        let established = HandshakeOutput::Established(keys);
        self.shard
            .handle_handshake(self.now, id, established, &mut self.out);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Datagram(from, bytes) => self.receive(*from, bytes.clone()),
            Step::Check(from, attributes) => self.check(*from, attributes.clone()),
            Step::Media {
                from,
                flags,
                kind,
                number,
                retransmission,
                rest,
            } => {
                let ssrc = if *retransmission { SSRC + 1 } else { SSRC };
                let mut header = vec![0x80 | flags & 0x3f, *kind];
                header.extend_from_slice(&number.to_be_bytes());
                header.extend_from_slice(&7_u32.to_be_bytes());
                header.extend_from_slice(&ssrc.to_be_bytes());
                self.media(*from, &header, rest, *number);
            }
            Step::Control(from, content) => self.control(*from, content),
            Step::Turn => self.shard.end_turn(self.now, &mut self.out),
            Step::Wait(millis) => {
                self.now = self.now + Duration::from_millis(u64::from(*millis));
                self.shard.handle_timeout(self.now, &mut self.out);
                while self.shard.poll_event().is_some() {}
            }
        }
    }

    /// With the header, the extension block and the CSRCs wherever the packet says that they end.
    fn media(&mut self, from: From, header: &[u8], rest: &[u8], number: u16) {
        let mut packet = header.to_vec();
        packet.extend_from_slice(rest);
        packet.truncate(1200);
        let Ok(parsed) = dataplane_core::rtp::RtpHeader::parse(&packet) else {
            return self.receive(from, packet);
        };
        let len = packet.len();
        packet.resize(len + 32, 0);
        let sealed = self.sender(from).seal_rtp_in_place(
            parsed.ssrc,
            u64::from(number),
            parsed.len(),
            len,
            &mut packet,
        );
        if let Some(sealed) = sealed {
            packet.truncate(sealed);
            self.receive(from, packet);
        }
    }

    fn control(&mut self, from: From, content: &[u8]) {
        let mut packet = content.to_vec();
        packet.truncate(1200);
        let len = packet.len();
        packet.resize(len + 64, 0);
        if let Some(sealed) = self.sender(from).seal_rtcp(len, &mut packet) {
            packet.truncate(sealed);
            self.receive(from, packet);
        }
    }

    fn check(&mut self, from: From, attributes: Vec<u8>) {
        let mut datagram = vec![0; 20];
        datagram.extend_from_slice(&attributes);
        sign(&mut datagram, &format!("{}:peer", ufrag(from)), PASSWORD);
        self.receive(from, datagram);
    }

    fn receive(&mut self, from: From, mut bytes: Vec<u8>) {
        self.shard
            .handle_datagram(self.now, path(from), &mut bytes, &mut self.out);
    }

    fn sender(&mut self, from: From) -> &mut SrtpSender {
        &mut self.senders[usize::from(matches!(from, From::Subscriber))]
    }
}

fn path(from: From) -> Path {
    let port = match from {
        From::Publisher => 1,
        From::Subscriber => 2,
        From::Stranger => 3,
    };
    Path {
        socket: 0,
        remote: SocketAddr::from(([192, 0, 2, 1], port)),
    }
}

fn ufrag(from: From) -> &'static str {
    match from {
        From::Publisher | From::Stranger => "publisher",
        From::Subscriber => "subscriber",
    }
}

fn session(from: From) -> SessionId {
    SessionId::new(
        0,
        ShardIndex(0),
        [u8::from(matches!(from, From::Subscriber)); 12],
    )
}

fn keys(role: DtlsRole) -> SessionKeys {
    let material = [7; SrtpProfile::AeadAes128Gcm.exporter_len()];
    SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, role, &material).expect("long enough")
}

fn sender() -> SrtpSender {
    SrtpSender::new(&keys(DtlsRole::Client))
}

fn publish() -> PublishParameters {
    PublishParameters {
        number: 0,
        mid: Mid::from("0").expect("short"),
        kind: MediaKind::Video,
        codecs: vec![
            codec(96, Codec::Vp8),
            codec(98, Codec::Vp9),
            codec(100, Codec::H264),
            codec(102, Codec::Av1),
        ],
        extensions: extensions(),
        layers: vec![LayerParameters {
            rid: None,
            ssrc: Some(SSRC),
            rtx_ssrc: Some(SSRC + 1),
        }],
    }
}

fn codec(payload_type: u8, codec: Codec) -> PublishedCodec {
    PublishedCodec {
        payload_type,
        codec,
        rtx_payload_type: Some(payload_type + 1),
        nack: true,
        pli: true,
        fir: true,
        transport_cc: true,
    }
}

fn extensions() -> Vec<ExtensionMapping> {
    [
        Extension::Mid,
        Extension::TransportWideSequenceNumber,
        Extension::VideoOrientation,
        Extension::DependencyDescriptor,
    ]
    .into_iter()
    .zip(1..)
    .map(|(extension, id)| ExtensionMapping { id, extension })
    .collect()
}

fn subscribe() -> SubscribeParameters {
    let codecs = publish().codecs.into_iter().map(|published| CodecMapping {
        source_payload_type: published.payload_type,
        payload_type: published.payload_type,
        codec: published.codec,
        rtx_payload_type: published.rtx_payload_type,
    });
    SubscribeParameters {
        number: 0,
        mid: Mid::from("0").expect("short"),
        kind: MediaKind::Video,
        source: PublicationId {
            session: session(From::Publisher),
            number: 0,
        },
        ssrc: 77,
        rtx_ssrc: Some(78),
        codecs: codecs.collect(),
        extensions: extensions(),
        selection: LayerSelection::default(),
        hints: Hints::default(),
    }
}

const PASSWORD: &str = "a password of 22 bytes";
const SSRC: u32 = 1000;
