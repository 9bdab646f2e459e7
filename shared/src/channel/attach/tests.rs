use std::thread;

use super::*;
use crate::channel::{BellState, links};
use crate::id::ShardIndex;
use crate::protocol::HashAlgorithm;

/// A data plane with so many shards: its region, its links, and those for the control plane.
fn data_plane(shards: u16) -> (Welcome, Region, Vec<Link>, Vec<Link>) {
    let region = Region::create(shards, 0x1234_5678_9abc).expect("a region");
    let (ours, theirs) = (0..shards).map(|_| links().expect("links")).unzip();
    let address = |shard: u16| SocketAddr::from(([127, 0, 0, 1], 20_000 + shard));
    let welcome = Welcome {
        generation: region.generation(),
        process_id: std::process::id(),
        fingerprint: Fingerprint {
            algorithm: HashAlgorithm::Sha256,
            digest: vec![0xab; 32],
        },
        candidates: (0..shards)
            .map(|shard| vec![address(shard), address(shard + 1)])
            .collect(),
    };
    (welcome, region, ours, theirs)
}

fn hello(version: u32) -> Vec<u8> {
    [&MAGIC[..], &version.to_le_bytes()].concat()
}

/// What a control plane makes of a data plane that sends these bytes.
fn received(bytes: &[u8]) -> AttachError {
    let (near, mut far) = UnixStream::pair().expect("a pair");
    far.write_all(bytes).expect("written");
    far.shutdown(std::net::Shutdown::Write).expect("shut down");
    receive_welcome(&near).expect_err("refused")
}

/// What a data plane makes of a control plane that sends these bytes.
fn sent(bytes: &[u8]) -> (AttachError, Vec<u8>) {
    let (welcome, region, _ours, theirs) = data_plane(1);
    let (near, mut far) = UnixStream::pair().expect("a pair");
    far.write_all(bytes).expect("written");
    far.shutdown(std::net::Shutdown::Write).expect("shut down");
    let error = send_welcome(&near, &welcome, &region, &theirs).expect_err("refused");
    drop(near);
    let mut answer = Vec::new();
    // Ends in a reset where the data plane has left bytes unread; the answer comes before that.
    far.read_to_end(&mut answer).ok();
    (error, answer)
}

#[test]
fn a_control_plane_gets_the_region_and_working_bells() {
    // 256 shards have 513 descriptors: more than one message takes.
    for shards in [1, 256] {
        let (welcome, region, ours, theirs) = data_plane(shards);
        let (near, far) = UnixStream::pair().expect("a pair");
        let client = thread::spawn(move || (receive_welcome(&far).expect("received"), far));
        send_welcome(&near, &welcome, &region, &theirs).expect("sent");
        let (attachment, _far) = client.join().expect("joined");
        assert_eq!(attachment.welcome, welcome);
        assert_eq!(attachment.region.shard_count(), shards);

        let last = usize::from(shards) - 1;
        let shard = ShardIndex(shards - 1);
        let memory = attachment.region.shard(shard).expect("a shard");
        memory
            .command_producer()
            .expect("a producer")
            .push(b"hi")
            .expect("room");
        attachment.links[last].doorbell.ring();
        assert_eq!(peek(&ours[last].bell), 1);
        let memory = region.shard(shard).expect("a shard");
        let mut commands = memory.command_consumer().expect("a consumer");
        assert_eq!(commands.pop(), Ok(Some(&b"hi"[..])));
        ours[last].doorbell.ring();
        assert_eq!(peek(&attachment.links[last].bell), 1);
        assert_eq!(peek(&attachment.links[0].bell), usize::from(shards == 1));
    }
}

/// How many times the bell has been rung.
fn peek(bell: &super::super::Bell) -> usize {
    let flags = rustix::net::RecvFlags::DONTWAIT | rustix::net::RecvFlags::PEEK;
    rustix::net::recv(bell, &mut [0; 8], flags).map_or(0, |(length, _)| length)
}

#[test]
fn the_connection_stays_open_until_one_side_ends() {
    let (welcome, region, _ours, theirs) = data_plane(1);
    let (near, far) = UnixStream::pair().expect("a pair");
    let client = thread::spawn(move || (receive_welcome(&far).expect("received"), far));
    send_welcome(&near, &welcome, &region, &theirs).expect("sent");
    let (attachment, far) = client.join().expect("joined");
    assert_eq!(
        near.read_timeout().expect("a setting"),
        None,
        "as it was before"
    );
    near.set_nonblocking(true).expect("set");
    let waiting = (&near).read(&mut [0; 8]).expect_err("nothing to read");
    assert_eq!(waiting.kind(), io::ErrorKind::WouldBlock);
    drop((attachment, far));
    assert_eq!((&near).read(&mut [0; 8]).expect("the end"), 0);
}

#[test]
fn a_second_control_plane_gets_the_same() {
    let (welcome, region, ours, theirs) = data_plane(1);
    for _ in 0..2 {
        let (near, far) = UnixStream::pair().expect("a pair");
        let client = thread::spawn(move || receive_welcome(&far).expect("received"));
        send_welcome(&near, &welcome, &region, &theirs).expect("sent");
        let attachment = client.join().expect("joined");
        attachment.links[0].doorbell.ring();
        drop(attachment);
        // The data plane holds the control plane's ends too, so nothing is closed.
        assert_eq!(peek(&ours[0].bell), 1);
        assert_eq!(ours[0].bell.drain().expect("drained"), BellState::Open);
    }
}

#[test]
fn another_version_is_named_on_both_sides() {
    let (error, answer) = sent(&hello(LAYOUT_VERSION + 3));
    assert!(matches!(error, AttachError::Version { found } if found == LAYOUT_VERSION + 3));
    // What it answers is what a client of that version understands.
    assert_eq!(answer.get(..8), Some(&MAGIC[..]));
    assert_eq!(answer.get(8..12), Some(&LAYOUT_VERSION.to_le_bytes()[..]));

    let words = [LAYOUT_VERSION + 3, 0, 0].map(u32::to_le_bytes);
    let error = received(&[&MAGIC[..], words.as_flattened()].concat());
    assert!(matches!(error, AttachError::Version { found } if found == LAYOUT_VERSION + 3));
}

#[test]
fn a_stranger_is_turned_away() {
    let (error, answer) = sent(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(error, AttachError::Magic));
    assert_eq!(answer, b"");
    assert!(matches!(
        received(b"HTTP/1.1 400 Bad Request"),
        AttachError::Magic
    ));
}

#[test]
fn one_who_hangs_up_is_an_error() {
    assert!(matches!(
        sent(&hello(LAYOUT_VERSION)[..11]).0,
        AttachError::Io(_)
    ));
    assert!(matches!(received(&[]), AttachError::Io(_)));
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for (body, descriptors) in [(u32::MAX, 3), (100, u32::MAX)] {
        let words = [LAYOUT_VERSION, body, descriptors].map(u32::to_le_bytes);
        let error = received(&[&MAGIC[..], words.as_flattened()].concat());
        assert!(matches!(error, AttachError::Welcome(_)), "{error}");
    }
}

#[test]
fn a_welcome_that_contradicts_the_region_is_refused() {
    type Break = fn(&mut Welcome);
    let breaks: [Break; 5] = [
        |welcome| welcome.generation += 1,
        |welcome| welcome.candidates.clear(),
        |welcome| welcome.candidates[0].clear(),
        |welcome| {
            let one = welcome.candidates[0][0];
            welcome.candidates[0] = vec![one; CANDIDATES_PER_SHARD_MAX + 1];
        },
        |welcome| welcome.fingerprint.digest.truncate(31),
    ];
    for change in breaks {
        let (good, region, _ours, theirs) = data_plane(1);
        let mut bad = good;
        change(&mut bad);
        let (near, far) = UnixStream::pair().expect("a pair");
        let error = send_welcome(&near, &bad, &region, &theirs).expect_err("refused");
        assert!(matches!(error, AttachError::Welcome(_)), "{error}");

        // A data plane that does not look gets it refused by the other side.
        let body = postcard::to_stdvec(&bad).expect("encoded");
        Header {
            version: LAYOUT_VERSION,
            body: body.len(),
            descriptors: 3,
        }
        .write(&near)
        .expect("written");
        (&near).write_all(&body).expect("written");
        let [link] = &theirs[..] else {
            unreachable!("one shard")
        };
        let fds = [region.as_fd(), link.doorbell.as_fd(), link.bell.as_fd()];
        send_descriptors(&near, &fds).expect("sent");
        let error = receive_welcome(&far).expect_err("refused");
        assert!(matches!(error, AttachError::Welcome(_)), "{error}");
    }
}

#[test]
fn the_largest_welcome_fits() {
    let (mut welcome, region, _ours, theirs) = data_plane(256);
    let address = SocketAddr::from(([u16::MAX; 8], u16::MAX));
    welcome.candidates = vec![vec![address; CANDIDATES_PER_SHARD_MAX]; 256];
    let (near, far) = UnixStream::pair().expect("a pair");
    let client = thread::spawn(move || receive_welcome(&far).expect("received"));
    send_welcome(&near, &welcome, &region, &theirs).expect("sent");
    assert_eq!(client.join().expect("joined").welcome, welcome);
}
