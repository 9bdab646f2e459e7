//! A whole port: both ends, and the wait between.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;

use dataplane_core::Path;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{bind, heard, peer, queue, receive, receive_all, receiver, sender, sockets};
use crate::port::{Backend, MediaSocket, Sender, Wake};

with_both_backends! {
    every_datagram_arrives_once_and_in_order_by_ipv4_and_ipv6,
    a_flood_that_exceeds_all_buffers_arrives_whole,
    what_is_waited_for_is_ready_if_and_only_if_something_came,
    a_port_can_be_stopped_and_started_again,
}

fn every_datagram_arrives_once_and_in_order_by_ipv4_and_ipv6(backend: Backend) {
    let ours = bind(&["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"]);
    let theirs = bind(&["127.0.0.1:0", "[::1]:0", "127.0.0.3:0"]);
    let mut sender = sender(&ours, backend);
    let mut receiver = receiver(&theirs, backend);
    let mut random = 1_u32;
    let mut sent = [0_u32; 3];
    let mut arrived = [0_u32; 3];
    for _ in 0..200 {
        for _ in 0..20 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [_, shape, socket, _] = random.to_be_bytes().map(usize::from);
            let socket = socket % 3;
            // Mostly equal lengths, so that there are runs of all kinds.
            let length = [1200, 1200, 1200, 100, 4][shape % 5];
            let path = Path {
                socket: u8::try_from(socket).unwrap(),
                remote: theirs[socket].local_addr(),
            };
            sender.datagram(path, |space| {
                space[..4].copy_from_slice(&sent[socket].to_be_bytes());
                length
            });
            sent[socket] += 1;
        }
        sender.flush();
        for (arrival, bytes) in receive_all(&mut receiver) {
            let socket = usize::from(arrival.path.socket);
            assert_eq!(arrival.path.remote, ours[socket].local_addr());
            assert_eq!(bytes[..4], arrived[socket].to_be_bytes());
            arrived[socket] += 1;
        }
    }
    assert_eq!(arrived, sent);
    let statistics = sender.take_statistics();
    assert_eq!(statistics.datagrams, 4000);
    assert!(statistics.messages[0] > 0 && statistics.messages[3] > 0);
}

fn a_flood_that_exceeds_all_buffers_arrives_whole(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let peer = peer();
    for number in 0..500_u32 {
        let bytes = number.to_be_bytes();
        peer.send_to(&bytes, sockets[0].local_addr()).unwrap();
    }
    // The other socket does not have to wait until the first one is done.
    peer.send_to(b"other", sockets[1].local_addr()).unwrap();
    let delivered = receive_all(&mut receiver);
    let place = delivered.iter().position(|(_, bytes)| bytes == b"other");
    assert!(place.is_some_and(|place| place < 400), "{place:?}");
    let numbers = delivered
        .iter()
        .filter(|(arrival, _)| arrival.path.socket == 0);
    let numbers: Vec<_> = numbers.map(|(_, bytes)| bytes.clone()).collect();
    let sent: Vec<_> = (0..500_u32).map(|number| number.to_be_bytes()).collect();
    assert_eq!(numbers, sent);
}

fn what_is_waited_for_is_ready_if_and_only_if_something_came(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let wakes = receiver.wakes().unwrap();
    let peer = peer();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    for turn in 0..300 {
        assert!(!is_ready(&wakes, now), "{turn}");
        // Now and then more than a turn takes, and more than all buffers hold.
        let count = [1, 3, 70, 200][turn % 4];
        for _ in 0..count {
            let address = sockets[turn % 2].local_addr();
            peer.send_to(b"x", address).unwrap();
        }
        assert!(wait(&wakes), "{turn}");
        let mut received = receive_all(&mut receiver).len();
        // What comes while a turn is at work wakes as well, or has been received.
        while received < count {
            assert!(wait(&wakes), "{turn}: {received} of {count}");
            received += receive_all(&mut receiver).len();
        }
        assert_eq!(received, count, "{turn}");
        // A wake for something that was received is allowed; taking it brings nothing.
        while is_ready(&wakes, now) {
            wait(&wakes);
            assert_eq!(receive_all(&mut receiver).len(), 0, "{turn}");
        }
    }
}

fn a_port_can_be_stopped_and_started_again(backend: Backend) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let peer = peer();
    for _ in 0..3 {
        let sockets: Rc<[MediaSocket]> = Rc::new([MediaSocket::bind(address).unwrap()]);
        address = sockets[0].local_addr();
        let mut sender = sender(&sockets, backend);
        let mut receiver = receiver(&sockets, backend);
        peer.send_to(b"ping", address).unwrap();
        let (delivered, _) = receive(&mut receiver);
        assert_eq!(delivered[0].1, b"ping");
        queue(&mut sender, delivered[0].0.path, b"pong");
        sender.flush();
        assert_eq!(heard(&peer), (b"pong".to_vec(), address));
    }
}

/// Whether something may be received within `patience`.
fn is_ready(wakes: &[Wake], patience: Timespec) -> bool {
    let fds = wakes.iter().map(|wake| match wake {
        Wake::Socket(fd) | Wake::Counter(fd) => fd.as_fd(),
    });
    let mut fds: Vec<_> = fds
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    poll(&mut fds, Some(&patience)).unwrap() > 0
}

/// As a shard waits: reading a counter takes the count away.
fn wait(wakes: &[Wake]) -> bool {
    let patience = Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    let ready = is_ready(wakes, patience);
    for wake in wakes {
        if let Wake::Counter(fd) = wake {
            assert_eq!(rustix::io::read(fd, &mut [0; 8]).unwrap(), 8);
        }
    }
    ready
}
