//! The port over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use dataplane_core::Path;

use super::{MediaSocket, MmsgReceiver, MmsgSender, Received, Receiver, SEGMENTS_MAX, Sender};

fn sockets() -> Rc<[MediaSocket]> {
    ["127.0.0.1:0", "127.0.0.2:0"]
        .map(|address| MediaSocket::bind(address.parse().unwrap()).unwrap())
        .into()
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn path(socket: u8, peer: &UdpSocket) -> Path {
    Path {
        socket,
        remote: peer.local_addr().unwrap(),
    }
}

fn queue(sender: &mut MmsgSender, path: Path, bytes: &[u8]) {
    sender.datagram(path, |slot| {
        slot[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    });
}

fn heard(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 4096];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

/// A datagram that is like no other.
fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| at.to_le_bytes()[0].wrapping_mul(31) ^ seed)
        .collect()
}

#[test]
fn a_run_leaves_as_one_message_and_arrives_bit_exact_and_in_order() {
    let sockets = sockets();
    let mut sender = MmsgSender::new(Rc::clone(&sockets));
    let (first, second) = (peer(), peer());
    let lengths = [1200, 1200, 1200, 1200, 700];
    for (seed, length) in (0..).zip(lengths) {
        queue(&mut sender, path(0, &first), &content(seed, length));
        queue(&mut sender, path(1, &second), &content(seed + 100, 64));
    }
    sender.flush();
    for (seed, length) in (0..).zip(lengths) {
        assert_eq!(
            heard(&first),
            (content(seed, length), sockets[0].local_addr())
        );
        assert_eq!(
            heard(&second),
            (content(seed + 100, 64), sockets[1].local_addr())
        );
    }
    let statistics = sender.take_statistics();
    assert_eq!(statistics.datagrams, 10);
    let mut messages = [0; SEGMENTS_MAX];
    messages[4] = 2;
    assert_eq!(statistics.messages, messages);
    assert_eq!(statistics.bytes, 4 * 1200 + 700 + 5 * 64);
    assert_eq!((statistics.refused, statistics.buffer_full), (0, 0));
}

#[test]
fn more_datagrams_than_the_queue_holds_are_flushed_in_between() {
    let mut sender = MmsgSender::new(sockets());
    // Several peers, since one's default receive buffer would not hold them all.
    let peers: Vec<UdpSocket> = (0..11).map(|_| peer()).collect();
    for number in 0..1100_u32 {
        let peer = &peers[number as usize % peers.len()];
        queue(&mut sender, path(0, peer), &number.to_be_bytes());
    }
    sender.flush();
    for number in 0..1100_u32 {
        assert_eq!(
            heard(&peers[number as usize % peers.len()]).0,
            number.to_be_bytes()
        );
    }
    assert_eq!(sender.take_statistics().datagrams, 1100);
}

#[test]
fn a_datagram_that_was_taken_back_is_not_sent() {
    let mut sender = MmsgSender::new(sockets());
    let peer = peer();
    sender.datagram(path(0, &peer), |_| 0);
    queue(&mut sender, path(0, &peer), b"after");
    sender.flush();
    assert_eq!(heard(&peer).0, b"after");
    assert_eq!(sender.take_statistics().datagrams, 1);
}

#[test]
fn refused_destinations_are_counted_and_the_others_get_theirs() {
    let refusing = [
        // EAFNOSUPPORT: an IPv6 address through an IPv4 socket.
        "[2001:db8::1]:9",
        // EACCES: the broadcast address of loopback.
        "127.255.255.255:9",
        // EINVAL: there is no such port.
        "127.0.0.1:0",
    ];
    for remote in refusing {
        let mut sender = MmsgSender::new(sockets());
        let (first, last) = (peer(), peer());
        let refused = Path {
            socket: 0,
            remote: remote.parse().unwrap(),
        };
        queue(&mut sender, path(0, &first), b"before");
        for _ in 0..2 {
            queue(&mut sender, refused, b"nowhere");
        }
        queue(&mut sender, path(0, &last), b"after");
        sender.flush();
        assert_eq!(heard(&first).0, b"before", "{remote}");
        assert_eq!(heard(&last).0, b"after", "{remote}");
        let statistics = sender.take_statistics();
        assert_eq!(
            (statistics.datagrams, statistics.refused),
            (2, 2),
            "{remote}"
        );
    }
}

#[test]
fn a_refused_run_leaves_segmentation_on_for_the_others() {
    let mut sender = MmsgSender::new(sockets());
    let peer = peer();
    let nowhere = Path {
        socket: 0,
        remote: "127.0.0.1:0".parse().unwrap(),
    };
    for path in [nowhere, path(0, &peer)] {
        for content in [b"one", b"two"] {
            queue(&mut sender, path, content);
        }
        sender.flush();
    }
    assert_eq!(
        (heard(&peer).0, heard(&peer).0),
        (b"one".to_vec(), b"two".to_vec())
    );
    assert_eq!(sender.take_statistics().messages[..2], [0, 1]);
}

#[test]
fn a_batch_is_delivered_with_the_ways_it_came() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let (first, second) = (peer(), peer());
    first
        .send_to(&content(1, 1300), sockets[0].local_addr())
        .unwrap();
    second.send_to(b"two", sockets[0].local_addr()).unwrap();
    second
        .send_to(b"elsewhere", sockets[1].local_addr())
        .unwrap();
    let mut delivered = Vec::new();
    let received = receiver.receive(0, &mut |path, bytes| delivered.push((path, bytes.to_vec())));
    assert_eq!(
        received,
        Received {
            datagrams: 2,
            too_large: 0,
            more: false
        }
    );
    assert_eq!(
        delivered,
        [
            (path(0, &first), content(1, 1300)),
            (path(0, &second), b"two".to_vec())
        ]
    );
    assert_eq!(receiver.receive(0, &mut |_, _| ()), Received::default());
    assert_eq!(receiver.receive(1, &mut |_, _| ()).datagrams, 1);
    assert_eq!(receiver.receive(7, &mut |_, _| ()), Received::default());
}

#[test]
fn a_full_batch_says_that_more_may_wait() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let peer = peer();
    for _ in 0..70 {
        peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    }
    let first = receiver.receive(0, &mut |_, _| ());
    assert_eq!((first.datagrams, first.more), (64, true));
    let second = receiver.receive(0, &mut |_, _| ());
    assert_eq!((second.datagrams, second.more), (6, false));
}

#[test]
fn a_datagram_longer_than_a_slot_is_thrown_away() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let peer = peer();
    peer.send_to(&[0; 3000], sockets[0].local_addr()).unwrap();
    peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    let received = receiver.receive(0, &mut |_, bytes| assert_eq!(bytes, b"x"));
    assert_eq!((received.datagrams, received.too_large), (1, 1));
}
