//! The port over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use dataplane_core::Path;

use super::{
    Arrival, MediaSocket, MmsgReceiver, MmsgSender, Received, Receiver, SEGMENTS_MAX, Sender,
};
use crate::clock;

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

/// What a call of `receive` brings.
fn receive(receiver: &mut MmsgReceiver) -> (Vec<(Arrival, Vec<u8>)>, Received) {
    let mut delivered = Vec::new();
    let received = receiver.receive(|arrival, bytes| delivered.push((arrival, bytes.to_vec())));
    (delivered, received)
}

#[test]
fn datagrams_of_all_sockets_are_delivered_with_the_ways_they_came() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let (first, second) = (peer(), peer());
    let datagrams = [
        (0, &first, content(1, 1300)),
        (0, &second, b"two".to_vec()),
        (1, &second, Vec::new()),
    ];
    for (socket, peer, bytes) in &datagrams {
        let address = sockets[usize::from(*socket)].local_addr();
        peer.send_to(bytes, address).unwrap();
    }
    let (delivered, received) = receive(&mut receiver);
    assert_eq!((received.datagrams, received.more), (3, false));
    for ((arrival, bytes), (socket, peer, sent)) in delivered.iter().zip(&datagrams) {
        assert_eq!((arrival.path, bytes), (path(*socket, peer), sent));
    }
    assert_eq!(receive(&mut receiver).1, Received::default());
}

#[test]
fn a_datagram_comes_with_the_time_at_which_the_kernel_took_it() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let before = clock::now();
    peer().send_to(b"x", sockets[0].local_addr()).unwrap();
    let after = clock::now();
    std::thread::sleep(Duration::from_millis(20));
    let (delivered, _) = receive(&mut receiver);
    let at = delivered[0].0.at;
    // The two clocks of a stamp are not read at the same instant.
    let slack = Duration::from_millis(5);
    assert!(
        before - slack <= at && at <= after + slack,
        "{before:?} {at:?} {after:?}"
    );
}

#[test]
fn what_the_kernel_has_joined_is_cut_into_datagrams_again() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let mut sender = MmsgSender::new(sockets.clone());
    let to_first = Path {
        socket: 1,
        remote: sockets[0].local_addr(),
    };
    let lengths = [1200, 1200, 1200, 700];
    for (seed, length) in (0..).zip(lengths) {
        queue(&mut sender, to_first, &content(seed, length));
    }
    sender.flush();
    let (delivered, received) = receive(&mut receiver);
    assert_eq!((received.datagrams, received.too_large), (4, 0));
    for ((seed, length), (_, bytes)) in (0..).zip(lengths).zip(&delivered) {
        assert_eq!(bytes, &content(seed, length));
    }
    // One stamp for all of them: they did come in one message.
    assert!(
        delivered
            .iter()
            .all(|(arrival, _)| arrival.at == delivered[0].0.at)
    );
}

#[test]
fn a_turn_is_bounded_and_the_rest_comes_in_order_with_the_next() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let mut sender = MmsgSender::new(sockets.clone());
    let to_first = Path {
        socket: 1,
        remote: sockets[0].local_addr(),
    };
    // Fewer messages than one call takes, but more datagrams than a turn does.
    for number in 0..160_u32 {
        queue(&mut sender, to_first, &number.to_be_bytes());
    }
    sender.flush();
    let mut next = 0_u32;
    let mut turns = Vec::new();
    loop {
        let (delivered, received) = receive(&mut receiver);
        turns.push(received.datagrams);
        for (_, bytes) in delivered {
            assert_eq!(bytes, next.to_be_bytes());
            next += 1;
        }
        if !received.more {
            break;
        }
    }
    assert_eq!(turns, [64, 64, 32]);
}

#[test]
fn a_busy_socket_does_not_keep_another_waiting() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let peer = peer();
    for _ in 0..200 {
        peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    }
    peer.send_to(b"other", sockets[1].local_addr()).unwrap();
    assert_eq!(receive(&mut receiver).1.datagrams, 64);
    let (delivered, _) = receive(&mut receiver);
    assert_eq!(delivered[0].1, b"other");
}

#[test]
fn a_full_turn_says_that_more_may_wait() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let peer = peer();
    for _ in 0..70 {
        peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    }
    let (_, first) = receive(&mut receiver);
    assert_eq!((first.datagrams, first.more), (64, true));
    let (_, second) = receive(&mut receiver);
    assert_eq!((second.datagrams, second.more), (6, false));
}

#[test]
fn a_datagram_that_is_too_long_is_thrown_away() {
    let sockets = sockets();
    let mut receiver = MmsgReceiver::new(Rc::clone(&sockets));
    let peer = peer();
    peer.send_to(&[0; 3000], sockets[0].local_addr()).unwrap();
    peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    let (delivered, received) = receive(&mut receiver);
    assert_eq!(delivered[0].1, b"x");
    assert_eq!((received.datagrams, received.too_large), (1, 1));
}
