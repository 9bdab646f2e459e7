//! The engines against each other, through two pools and a network that can lose datagrams.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::rtp::RtpHeader;
use dataplane_core::srtp::{SessionKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use shared::channel::pair;
use shared::id::ShardIndex;
use shared::protocol::{DtlsRole, Fingerprint};

use super::{AnswerQueue, HandshakePool, PoolClient, PoolSettings};
use crate::config::DtlsEngine;
use crate::sleeper::Sleeper;

/// One pool with one shard.
struct Side {
    pool: HandshakePool,
    client: PoolClient,
    answers: Arc<AnswerQueue>,
    outcomes: BTreeMap<HandshakeId, Vec<HandshakeOutput>>,
}

impl Side {
    fn new(engine: DtlsEngine) -> Self {
        Self::with_idle_timeout(engine, Duration::from_secs(60))
    }

    fn with_idle_timeout(engine: DtlsEngine, idle_timeout: Duration) -> Self {
        let (doorbell, _bell) = pair().unwrap();
        let answers = Arc::new(AnswerQueue::new(Arc::new(Sleeper::new(doorbell))));
        let settings = PoolSettings {
            engine,
            threads: 2,
            cores: vec![],
            idle_timeout,
            handshake_timeout: Duration::from_secs(40),
        };
        let pool = HandshakePool::start(&settings, &[Arc::clone(&answers)]).unwrap();
        let client = pool.client(ShardIndex(0));
        Self {
            pool,
            client,
            answers,
            outcomes: BTreeMap::new(),
        }
    }

    fn start(&mut self, id: u64, role: DtlsRole, fingerprint: &Fingerprint) {
        let fingerprints = std::slice::from_ref(fingerprint);
        let start = HandshakeInput::Start { role, fingerprints };
        assert!(self.client.submit(HandshakeId(id), start));
    }

    fn keys(&self, id: u64) -> Option<&SessionKeys> {
        self.outcomes
            .get(&HandshakeId(id))?
            .iter()
            .find_map(|outcome| match outcome {
                HandshakeOutput::Established(keys) => Some(keys.as_ref()),
                HandshakeOutput::Datagram(_)
                | HandshakeOutput::Failed
                | HandshakeOutput::Closed => None,
            })
    }

    fn heard(&self, id: u64, wanted: fn(&HandshakeOutput) -> bool) -> bool {
        self.outcomes
            .get(&HandshakeId(id))
            .is_some_and(|outcomes| outcomes.iter().any(wanted))
    }

    fn finish(self) {
        drop(self.client);
        self.pool.join();
    }
}

/// A server and a client with as many associations as there are datagrams to lose.
struct Network {
    server: Side,
    client: Side,
    /// By association and direction, how many datagrams have gone.
    sent: HashMap<(HandshakeId, DtlsRole), u64>,
}

impl Network {
    fn new(server: DtlsEngine, client: DtlsEngine) -> Self {
        Self {
            server: Side::new(server),
            client: Side::new(client),
            sent: HashMap::new(),
        }
    }

    fn start(&mut self, id: u64) {
        let (server, client) = (
            self.server.pool.fingerprint().clone(),
            self.client.pool.fingerprint().clone(),
        );
        self.server.start(id, DtlsRole::Server, &client);
        self.client.start(id, DtlsRole::Client, &server);
    }

    /// Carries datagrams until `done`, for 20 s at most. `loses(from, id, n)` says whether the
    /// n-th datagram of that side is lost.
    fn run(
        &mut self,
        loses: impl Fn(DtlsRole, u64, u64) -> bool,
        done: impl Fn(&Self) -> bool,
    ) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let Self {
                server,
                client,
                sent,
            } = self;
            let mut lost = |from, id: HandshakeId| {
                let count = sent.entry((id, from)).or_insert(0);
                *count += 1;
                loses(from, id.0, *count - 1)
            };
            let moved = carry(server, client, DtlsRole::Server, &mut lost)
                | carry(client, server, DtlsRole::Client, &mut lost);
            if done(self) {
                return true;
            }
            if !moved {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        false
    }

    fn both_established(&self, id: u64) -> bool {
        self.server.keys(id).is_some() && self.client.keys(id).is_some()
    }

    fn finish(self) {
        self.server.finish();
        self.client.finish();
    }
}

/// Takes all answers of one side; datagrams go to the other one.
fn carry(
    from: &mut Side,
    to: &mut Side,
    role: DtlsRole,
    lost: &mut impl FnMut(DtlsRole, HandshakeId) -> bool,
) -> bool {
    let mut moved = false;
    while let Some((id, answer)) = from.answers.pop() {
        moved = true;
        if let HandshakeOutput::Datagram(datagram) = answer {
            if !lost(role, id) {
                assert!(to.client.submit(id, HandshakeInput::Datagram(&datagram)));
            }
        } else {
            from.outcomes.entry(id).or_default().push(answer);
        }
    }
    moved
}

/// What one side seals the other one opens, both ways.
fn assert_same_keys(a: &SessionKeys, b: &SessionKeys) {
    assert_eq!(a.profile, b.profile);
    for (from, to) in [(a, b), (b, a)] {
        let header = [0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7];
        let mut packet = [&header[..], b"payload"].concat();
        let plain = packet.clone();
        packet.resize(64, 0);
        let sealed = SrtpSender::new(from).seal_rtp_in_place(7, 1, 12, plain.len(), &mut packet);
        let packet = &mut packet[..sealed.unwrap()];
        let header = RtpHeader::parse(packet).unwrap();
        let opened = SrtpReceiver::new(to).open_rtp(&header, packet).unwrap();
        assert_eq!(packet[..opened], plain);
    }
}

const ENGINES: [DtlsEngine; 2] = [DtlsEngine::Dimpl, DtlsEngine::Webrtc];

#[test]
fn every_engine_finishes_with_every_other_and_picks_gcm() {
    for server in ENGINES {
        for client in ENGINES {
            let mut network = Network::new(server, client);
            network.start(1);
            let done = network.run(|_, _, _| false, |network| network.both_established(1));
            assert!(done, "{server:?} <- {client:?}");
            let (ours, theirs) = (
                network.server.keys(1).unwrap(),
                network.client.keys(1).unwrap(),
            );
            assert_same_keys(ours, theirs);
            assert_ne!(
                ours.profile,
                SrtpProfile::Aes128CmHmacSha1_80,
                "{server:?} <- {client:?}"
            );
            network.finish();
        }
    }
}

#[test]
fn any_one_datagram_may_be_lost_in_either_direction() {
    for (server, client) in [
        (DtlsEngine::Dimpl, DtlsEngine::Webrtc),
        (DtlsEngine::Webrtc, DtlsEngine::Dimpl),
        (DtlsEngine::Dimpl, DtlsEngine::Dimpl),
    ] {
        let mut network = Network::new(server, client);
        // Association 2n loses the server's n-th datagram, 2n+1 the client's.
        let loses = |from, id: u64, n| {
            let from_server = from == DtlsRole::Server;
            id.is_multiple_of(2) == from_server && id / 2 == n
        };
        for id in 0..12 {
            network.start(id);
        }
        let done = network.run(loses, |network| {
            (0..12).all(|id| network.both_established(id))
        });
        let missing: Vec<u64> = (0..12)
            .filter(|id| !network.both_established(*id))
            .collect();
        assert!(
            done,
            "{server:?} <- {client:?}: {missing:?} did not connect"
        );
        for id in 0..12 {
            assert_same_keys(
                network.server.keys(id).unwrap(),
                network.client.keys(id).unwrap(),
            );
        }
        network.finish();
    }
}

#[test]
fn a_wrong_certificate_fails_the_handshake_and_gives_no_keys() {
    for checking in ENGINES {
        for role in [DtlsRole::Server, DtlsRole::Client] {
            let (server, client) = match role {
                DtlsRole::Server => (checking, DtlsEngine::Dimpl),
                DtlsRole::Client => (DtlsEngine::Dimpl, checking),
            };
            let mut network = Network::new(server, client);
            let (own, other) = match role {
                DtlsRole::Server => (&mut network.server, &mut network.client),
                DtlsRole::Client => (&mut network.client, &mut network.server),
            };
            // It is told of its own certificate instead of the peer's.
            let fingerprint = own.pool.fingerprint().clone();
            let opposite = match role {
                DtlsRole::Server => DtlsRole::Client,
                DtlsRole::Client => DtlsRole::Server,
            };
            own.start(1, role, &fingerprint);
            other.start(1, opposite, &fingerprint);
            let failed = |network: &Network| {
                let own = match role {
                    DtlsRole::Server => &network.server,
                    DtlsRole::Client => &network.client,
                };
                own.heard(1, |outcome| matches!(outcome, HandshakeOutput::Failed))
            };
            assert!(
                network.run(|_, _, _| false, failed),
                "{checking:?} as {role:?}"
            );
            let own = match role {
                DtlsRole::Server => &network.server,
                DtlsRole::Client => &network.client,
            };
            assert!(own.keys(1).is_none(), "{checking:?} as {role:?}");
            network.finish();
        }
    }
}

#[test]
fn the_end_of_an_association_is_told_to_the_peer() {
    for (ending, hearing) in [
        (DtlsEngine::Dimpl, DtlsEngine::Webrtc),
        (DtlsEngine::Webrtc, DtlsEngine::Dimpl),
        (DtlsEngine::Dimpl, DtlsEngine::Dimpl),
    ] {
        let mut network = Network::new(ending, hearing);
        network.start(1);
        assert!(network.run(|_, _, _| false, |network| network.both_established(1)));
        assert!(
            network
                .server
                .client
                .submit(HandshakeId(1), HandshakeInput::Stop)
        );
        let closed = |network: &Network| {
            network
                .client
                .heard(1, |outcome| matches!(outcome, HandshakeOutput::Closed))
        };
        assert!(
            network.run(|_, _, _| false, closed),
            "{ending:?} -> {hearing:?}"
        );
        assert!(
            !network
                .server
                .heard(1, |outcome| matches!(outcome, HandshakeOutput::Closed)),
            "who ends it is told nothing"
        );
        network.finish();
    }
}

#[test]
fn an_association_whose_peer_never_comes_is_given_up() {
    for engine in ENGINES {
        let mut side = Side::with_idle_timeout(engine, Duration::from_millis(50));
        let nobody = side.pool.fingerprint().clone();
        side.start(1, DtlsRole::Server, &nobody);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !side.heard(1, |outcome| matches!(outcome, HandshakeOutput::Failed)) {
            assert!(Instant::now() < deadline, "{engine:?}");
            while let Some((id, answer)) = side.answers.pop() {
                side.outcomes.entry(id).or_default().push(answer);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        side.finish();
    }
}

#[test]
fn what_is_said_of_an_unknown_association_is_ignored() {
    let mut network = Network::new(DtlsEngine::Dimpl, DtlsEngine::Dimpl);
    assert!(
        network
            .server
            .client
            .submit(HandshakeId(9), HandshakeInput::Datagram(b"hello"))
    );
    assert!(
        network
            .server
            .client
            .submit(HandshakeId(9), HandshakeInput::Stop)
    );
    network.start(1);
    assert!(network.run(|_, _, _| false, |network| network.both_established(1)));
    network.finish();
}
