//! A whole data plane in this process: its control socket, its shards and its media sockets.

mod support;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use dataplane::{CoreChoice, IoBackend};
use shared::counters::{Counter, DropReason};
use shared::id::{SessionId, ShardIndex};
use shared::protocol::{
    Change, Command, CommandError, DtlsRole, Fingerprint, HashAlgorithm, IceCredentials,
    RemoteTransport, Reply,
};
use stun::agent::TransactionId;
use stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;
use support::{ControlPlane, Running};

const SHARD: ShardIndex = ShardIndex(0);
const LOCAL_PASSWORD: &str = "a-local-password-of-ours";

fn session(number: u8, shard: ShardIndex) -> SessionId {
    SessionId::new(0, shard, [number; 12])
}

fn open(session: SessionId) -> Command {
    let local = IceCredentials {
        ufrag: ufrag(session),
        password: LOCAL_PASSWORD.to_owned(),
    };
    let ice = IceCredentials {
        ufrag: "them".to_owned(),
        password: "x".repeat(24),
    };
    let fingerprint = Fingerprint {
        algorithm: HashAlgorithm::Sha256,
        digest: vec![7; 32],
    };
    let remote = RemoteTransport {
        ice,
        fingerprints: vec![fingerprint],
        role: DtlsRole::Server,
    };
    let changes = vec![Change::Open(local), Change::SetRemote(remote)];
    Command::Execute {
        session,
        changes,
        model: Some(b"model".to_vec()),
    }
}

fn ufrag(session: SessionId) -> String {
    session.to_string().chars().take(12).collect()
}

/// A binding request as a browser sends it (RFC 8445 §7.2.2), written by the crate `stun`.
fn binding_request(session: SessionId, password: &str) -> Message {
    let mut message = Message::new();
    let setters: [Box<dyn Setter>; 5] = [
        Box::new(TransactionId::new()),
        Box::new(BINDING_REQUEST),
        Box::new(TextAttribute::new(
            ATTR_USERNAME,
            format!("{}:them", ufrag(session)),
        )),
        Box::new(MessageIntegrity::new_short_term_integrity(
            password.to_owned(),
        )),
        Box::new(FINGERPRINT),
    ];
    message.build(&setters).expect("it works");
    message
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("it works");
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("it works");
    client
}

/// Sends a check and returns the answer, if one comes within the client's timeout.
fn check(client: &UdpSocket, to: std::net::SocketAddr, request: &Message) -> Option<Message> {
    client.send_to(&request.raw, to).expect("it works");
    let mut buffer = [0; 1500];
    let (length, from) = loop {
        match client.recv_from(&mut buffer) {
            Ok(received) => break received,
            // A socket with a timeout is told of it when the whole process was stopped meanwhile.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("no answer can be received: {error}"),
        }
    };
    assert_eq!(from, to);
    let mut answer = Message::new();
    answer
        .unmarshal_binary(buffer.get(..length).expect("its length"))
        .expect("it works");
    Some(answer)
}

#[test]
fn a_shard_that_sleeps_is_woken_by_each_datagram_whatever_moves_it() {
    for io in [IoBackend::Mmsg, IoBackend::Uring] {
        let running = Running::start(|config| config.io = io);
        let mut control = ControlPlane::attach(&running.socket).unwrap();
        let session = session(1, SHARD);
        assert_eq!(control.call(SHARD, open(session)), Ok(Reply::Done));
        let candidate = control.attachment.welcome.candidates[0][0];
        let client = client();
        // Pauses short enough for a nap, and long enough to park the executor.
        for pause in [7, 40].into_iter().cycle().take(20) {
            std::thread::sleep(Duration::from_millis(pause));
            let request = binding_request(session, LOCAL_PASSWORD);
            let asked = Instant::now();
            let answer = check(&client, candidate, &request).unwrap();
            assert_eq!(answer.typ, BINDING_SUCCESS);
            // The watchdog would wake it much later.
            let patience = Duration::from_millis(500);
            assert!(asked.elapsed() < patience, "{io:?} {:?}", asked.elapsed());
        }
        running.stop();
    }
}

#[test]
fn a_shard_that_spins_answers_clients_and_the_control_plane_and_stops() {
    let running = Running::start(|config| config.spin = true);
    let mut control = ControlPlane::attach(&running.socket).unwrap();
    let session = session(1, SHARD);
    assert_eq!(control.call(SHARD, open(session)), Ok(Reply::Done));
    let candidate = control.attachment.welcome.candidates[0][0];
    let request = binding_request(session, LOCAL_PASSWORD);
    let answer = check(&client(), candidate, &request).unwrap();
    assert_eq!(answer.typ, BINDING_SUCCESS);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(control.sessions(SHARD), [session]);
    running.stop();
}

#[test]
fn a_client_of_an_opened_session_gets_its_binding_response() {
    let running = Running::start(|_| ());
    let mut control = ControlPlane::attach(&running.socket).unwrap();
    let session = session(1, SHARD);
    assert_eq!(control.call(SHARD, open(session)), Ok(Reply::Done));
    let candidate = control.attachment.welcome.candidates[0][0];
    let client = client();
    let answer = check(
        &client,
        candidate,
        &binding_request(session, LOCAL_PASSWORD),
    )
    .unwrap();
    assert_eq!(answer.typ, BINDING_SUCCESS);
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).unwrap();
    let address = client.local_addr().unwrap();
    assert_eq!((mapped.ip, mapped.port), (address.ip(), address.port()));
    let integrity = MessageIntegrity::new_short_term_integrity(LOCAL_PASSWORD.to_owned());
    integrity.check(&mut answer.clone()).unwrap();
    running.stop();
}

#[test]
fn a_wrong_password_gets_no_answer_and_is_counted() {
    let running = Running::start(|_| ());
    let mut control = ControlPlane::attach(&running.socket).unwrap();
    let session = session(1, SHARD);
    assert_eq!(control.call(SHARD, open(session)), Ok(Reply::Done));
    let candidate = control.attachment.welcome.candidates[0][0];
    let client = client();
    client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(
        check(
            &client,
            candidate,
            &binding_request(session, "a wrong password")
        )
        .is_none()
    );
    let memory = control.attachment.region.shard(SHARD).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while memory
        .read_counters()
        .drops(DropReason::StunUnauthenticated)
        == 0
    {
        assert!(Instant::now() < deadline, "it was not counted");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        memory
            .read_counters()
            .counter(Counter::BindingRequestsAnswered),
        0
    );
    running.stop();
}

#[test]
fn sessions_outlive_their_control_plane_and_the_next_one_finds_them() {
    let running = Running::start(|_| ());
    let mut first = ControlPlane::attach(&running.socket).unwrap();
    let session = session(1, SHARD);
    assert_eq!(first.call(SHARD, open(session)), Ok(Reply::Done));
    let generation = first.attachment.welcome.generation;
    // Requests that nobody will hear the answer of.
    drop(first);
    let started = Instant::now();
    let mut second = ControlPlane::attach(&running.socket).unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(second.attachment.welcome.generation, generation);
    assert_eq!(second.sessions(SHARD), [session]);
    let Ok(Reply::Session(report)) = second.call(SHARD, Command::InspectSession { session }) else {
        panic!("it is there");
    };
    assert_eq!(report.model, b"model");
    let again = second.call(SHARD, open(session));
    assert_eq!(again, Err(CommandError::SessionExists));
    running.stop();
}

#[test]
fn a_second_control_plane_is_refused_while_the_first_lives() {
    let running = Running::start(|_| ());
    let mut first = ControlPlane::attach(&running.socket).unwrap();
    assert!(ControlPlane::attach(&running.socket).is_err());
    assert_eq!(first.sessions(SHARD), []);
    running.stop();
}

#[test]
fn without_a_control_plane_it_ends_after_a_while() {
    let running = Running::start(|config| config.orphan_timeout = Duration::from_millis(300));
    let socket = running.socket.clone();
    let control = ControlPlane::attach(&running.socket).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(socket.exists(), "not while one is attached");
    drop(control);
    running.join();
    assert!(!socket.exists());
}

#[test]
fn every_shard_has_a_port_of_its_own_and_answers_there() {
    let cores = core_affinity::get_core_ids().unwrap_or_default().len();
    if cores < 2 {
        // One core cannot have two shards; the tests' machines have two at least.
        return;
    }
    let running = Running::start(|config| config.cores = CoreChoice::Count(2));
    let mut control = ControlPlane::attach(&running.socket).unwrap();
    let candidates = control.attachment.welcome.candidates.clone();
    assert_eq!(candidates[1][0].port(), candidates[0][0].port() + 1);
    for shard in [ShardIndex(0), ShardIndex(1)] {
        let session = session(1, shard);
        assert_eq!(control.call(shard, open(session)), Ok(Reply::Done));
        let request = binding_request(session, LOCAL_PASSWORD);
        let answer = check(&client(), candidates[shard.as_usize()][0], &request);
        assert_eq!(answer.unwrap().typ, BINDING_SUCCESS);
    }
    running.stop();
}

#[test]
fn an_address_of_another_machine_stops_the_start_with_a_sentence() {
    let address = "192.0.2.1".parse().unwrap();
    let path = std::env::temp_dir().join(format!("refused-{}.sock", std::process::id()));
    let config = dataplane::DataplaneConfig {
        cores: CoreChoice::Count(1),
        ..dataplane::DataplaneConfig::new(path, vec![dataplane::MediaAddress::direct(address)])
    };
    let error = dataplane::Dataplane::start(&config)
        .unwrap_err()
        .to_string();
    assert!(error.contains("192.0.2.1:40000/udp"), "{error}");
}

#[test]
fn a_nominating_check_is_answered_too() {
    let running = Running::start(|_| ());
    let mut control = ControlPlane::attach(&running.socket).unwrap();
    let session = session(1, SHARD);
    assert_eq!(control.call(SHARD, open(session)), Ok(Reply::Done));
    let mut message = Message::new();
    let setters: [Box<dyn Setter>; 6] = [
        Box::new(TransactionId::new()),
        Box::new(BINDING_REQUEST),
        Box::new(TextAttribute::new(
            ATTR_USERNAME,
            format!("{}:them", ufrag(session)),
        )),
        Box::new(stun::attributes::RawAttribute {
            typ: ATTR_USE_CANDIDATE,
            length: 0,
            value: vec![],
        }),
        Box::new(MessageIntegrity::new_short_term_integrity(
            LOCAL_PASSWORD.to_owned(),
        )),
        Box::new(FINGERPRINT),
    ];
    message.build(&setters).unwrap();
    let answer = check(
        &client(),
        control.attachment.welcome.candidates[0][0],
        &message,
    );
    assert_eq!(answer.unwrap().typ, BINDING_SUCCESS);
    running.stop();
}
