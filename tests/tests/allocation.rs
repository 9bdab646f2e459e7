//! Steady forwarding takes no memory: one publisher, fifty legs, reports and ticks included.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and makes its own numbers"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;
use dataplane_core::relay::RelayMessage;
use dataplane_core::srtp::{SessionKeys, SrtpProfile};
use dataplane_core::time::{NtpTime, Timestamp};
use dataplane_core::{Outbox, Path, Shard, ShardConfig};
use shared::counters::Counter;
use shared::id::{PublicationId, SessionId, ShardIndex, SubscriptionId};
use shared::protocol::{Change, Command, DtlsRole};
use stun::agent::TransactionId;
use tests::content::{Content, Ledger};
use tests::peer::crypto::ClientSrtp;
use tests::peer::ice::credentials;
use tests::peer::{Client, ClientOptions, Feedback, Outgoing};
use tests::publisher::{PublishedTrack, TrackSpec, TransportSequence, Uplink};
use tests::rng::Rng;
use tests::setup::{publish_parameters, remote_transport, subscribe_parameters};
use tests::subscriber::{SubscribedTrack, SubscriptionSpec};

/// Counts every time that memory is asked for.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls go to the system's allocator unchanged; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, which is the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An outbox that keeps nothing and needs no memory.
struct Sink {
    slot: [u8; DATAGRAM_BYTES_MAX],
    datagrams: u64,
    started: Option<HandshakeId>,
}

impl Outbox for Sink {
    fn datagram(&mut self, _path: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        self.datagrams += u64::from(write(&mut self.slot) > 0);
    }

    fn relay(&mut self, _target: ShardIndex, _message: RelayMessage, _packet: &[u8]) -> bool {
        true
    }

    fn handshake(&mut self, id: HandshakeId, _input: HandshakeInput<'_>) -> bool {
        self.started = Some(id);
        true
    }
}

#[test]
fn steady_forwarding_to_fifty_legs_allocates_nothing() {
    let mut rig = Rig::new();
    let publisher = rig.join(0);
    let tracks = [TrackSpec::audio(), TrackSpec::simulcast()].map(|spec| rig.publish(spec));
    for index in 1..=LEGS / 2 {
        rig.join(index);
        for track in &tracks {
            rig.subscribe(index, track.id);
        }
    }
    // Everything that the publisher will send is made before.
    let script = rig.script(publisher, tracks);
    let warm_up = script.iter().position(|(at, _)| *at > WARM_UP).unwrap();
    let mut script = script.into_iter();
    for (at, mut bytes) in script.by_ref().take(warm_up) {
        rig.step(at, &mut bytes);
    }
    let forwarded = rig.shard.counters().counter(Counter::RtpPacketsForwarded);
    let sent = rig.out.datagrams;
    let mut rest: Vec<_> = script.collect();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for (at, bytes) in &mut rest {
        rig.step(*at, bytes);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let forwarded = rig.shard.counters().counter(Counter::RtpPacketsForwarded) - forwarded;
    let control = rig.out.datagrams - sent - forwarded;
    assert!(forwarded > 20_000, "{forwarded}");
    assert!(control > 200, "reports and feedback went too: {control}");
    assert_eq!(
        allocations, 0,
        "for {forwarded} packets and {control} of control"
    );
}

/// A shard, and what drives it without any memory.
struct Rig {
    shard: Shard,
    out: Sink,
    rng: Rng,
    clients: Vec<Client>,
}

impl Rig {
    fn new() -> Self {
        let config = ShardConfig::new(ShardIndex(0), 7, NtpTime::from_bits(1 << 60));
        Self {
            shard: Shard::new(config),
            out: Sink {
                slot: [0; DATAGRAM_BYTES_MAX],
                datagrams: 0,
                started: None,
            },
            rng: Rng::new(7),
            clients: Vec::new(),
        }
    }

    /// A client whose session is connected.
    fn join(&mut self, index: usize) -> usize {
        let session = SessionId::new(1, ShardIndex(0), self.rng.bytes());
        let server = credentials(&format!("server{index}"), &mut self.rng);
        let mut client = Client::new(
            index,
            session,
            server.clone(),
            ClientOptions::default(),
            self.rng.fork(),
        );
        let remote = remote_transport(&client);
        let id = TransactionId(self.rng.bytes());
        let mut check = client.ice.check(id, &server.password);
        self.execute(
            session,
            vec![Change::Open(server), Change::SetRemote(remote)],
        );
        let path = path(&client);
        let material = [index as u8; 88];
        let profile = SrtpProfile::AeadAes128Gcm;
        self.shard
            .handle_datagram(START, path, &mut check, &mut self.out);
        self.shard
            .handle_datagram(START, path, &mut [22, 1, 1], &mut self.out);
        let material = &material[..profile.exporter_len()];
        let keys = SessionKeys::from_exporter(profile, DtlsRole::Server, material).unwrap();
        let output = HandshakeOutput::Established(Box::new(keys));
        let id = self.out.started.unwrap();
        self.shard
            .handle_handshake(START, id, output, &mut self.out);
        client.srtp = Some(ClientSrtp::new(profile, DtlsRole::Server, material));
        self.clients.push(client);
        index
    }

    fn publish(&mut self, spec: TrackSpec) -> PublishedTrack {
        let session = self.clients[0].session;
        let number = self.rng.bits() as u32;
        let id = PublicationId { session, number };
        let track = PublishedTrack::new(id, number, spec, self.rng.fork());
        let parameters = publish_parameters(&track);
        self.execute(session, vec![Change::Publish(Box::new(parameters))]);
        track
    }

    fn subscribe(&mut self, client: usize, source: PublicationId) {
        let session = self.clients[client].session;
        let number = self.rng.bits() as u32;
        let id = SubscriptionId { session, number };
        let ssrcs = (self.rng.bits() as u32, self.rng.bits() as u32);
        let codec = self.codec_of(source);
        let spec = SubscriptionSpec::default();
        let track = SubscribedTrack::new(id, source, codec, spec, ssrcs);
        let parameters = subscribe_parameters(&track, source, Feedback::TransportWide);
        self.execute(session, vec![Change::Subscribe(Box::new(parameters))]);
    }

    /// Tracks with layers are video.
    fn codec_of(&mut self, source: PublicationId) -> shared::protocol::Codec {
        let command = Command::InspectSession {
            session: source.session,
        };
        let reply = self.shard.handle_command(START, &command, &mut self.out);
        let Ok(shared::protocol::Reply::Session(report)) = reply else {
            panic!("{reply:?}");
        };
        let mut publications = report.publications.iter();
        let publication = publications
            .find(|own| own.number == source.number)
            .unwrap();
        if publication.layers.len() > 1 {
            shared::protocol::Codec::Vp8
        } else {
            shared::protocol::Codec::Opus
        }
    }

    fn execute(&mut self, session: SessionId, changes: Vec<Change>) {
        let command = Command::Execute {
            session,
            changes,
            model: None,
        };
        let reply = self.shard.handle_command(START, &command, &mut self.out);
        assert!(reply.is_ok(), "{reply:?}");
    }

    /// What the publisher sends in [`SECONDS`], media and reports, and the checks of all clients.
    fn script(
        &mut self,
        publisher: usize,
        mut tracks: [PublishedTrack; 2],
    ) -> Vec<(Timestamp, (Path, Vec<u8>))> {
        let mut script = Vec::new();
        let mut ledger = Ledger::default();
        let mut transport = TransportSequence::new(100);
        let mut srtp = self.clients[publisher].srtp.take().unwrap();
        let own = path(&self.clients[publisher]);
        for millis in (0..SECONDS * 1000).step_by(5) {
            let at = Timestamp::from_millis(2_000 + millis);
            let mut out: Vec<Outgoing> = Vec::new();
            let mut reports = Vec::new();
            for track in &mut tracks {
                let mut uplink = Uplink {
                    srtp: &mut srtp,
                    transport: &mut transport,
                    out: &mut out,
                };
                track.tick(at, &mut ledger, &mut uplink);
                if millis % 1_000 == 0 {
                    track.sender_reports(
                        at,
                        NtpTime::from_bits((2 + millis / 1000) << 32),
                        &mut reports,
                    );
                }
            }
            script.extend(out.into_iter().map(|outgoing| (at, (own, outgoing.bytes))));
            let reports = reports
                .iter()
                .map(|report| (at, (own, srtp.protect_rtcp(report))));
            script.extend(reports);
            if millis % 2_500 == 0 {
                for client in &self.clients {
                    let id = TransactionId(self.rng.bytes());
                    let check = client.ice.check(id, &client.ice.server.password);
                    script.push((at, (path(client), check)));
                }
            }
        }
        let first = Content {
            track: tracks[0].track,
            layer: 0,
            frame: 0,
            packet: 0,
        };
        assert!(ledger.get(first).is_some());
        script
    }

    /// One datagram, one turn, and the ticks that are due.
    fn step(&mut self, now: Timestamp, (path, bytes): &mut (Path, Vec<u8>)) {
        while let Some(due) = self.shard.next_timeout().filter(|due| *due <= now) {
            self.shard.handle_timeout(due, &mut self.out);
            while self.shard.poll_event().is_some() {}
        }
        self.shard.handle_datagram(now, *path, bytes, &mut self.out);
        self.shard.end_turn(now, &mut self.out);
        while self.shard.poll_event().is_some() {}
    }
}

fn path(client: &Client) -> Path {
    Path {
        socket: 0,
        remote: client.address,
    }
}

const LEGS: usize = 50;
const SECONDS: u64 = 10;
const START: Timestamp = Timestamp::from_millis(1_000);
/// Caches are taken, and every session has been visited.
const WARM_UP: Timestamp = Timestamp::from_millis(6_000);
