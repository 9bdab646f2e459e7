//! What leaves, and what becomes of that which cannot.

use std::net::UdpSocket;

use dataplane_core::Path;

use super::{content, heard, path, peer, queue, sender, sockets};
use crate::port::{Backend, SEGMENTS_MAX, Sender};

with_both_backends! {
    a_run_leaves_as_one_message_and_arrives_bit_exact_and_in_order,
    more_datagrams_than_the_queue_holds_are_flushed_in_between,
    a_datagram_that_was_taken_back_is_not_sent,
    refused_destinations_are_counted_and_the_others_get_theirs,
    a_refused_run_leaves_segmentation_on_for_the_others,
}

fn a_run_leaves_as_one_message_and_arrives_bit_exact_and_in_order(backend: Backend) {
    let sockets = sockets();
    let mut sender = sender(&sockets, backend);
    let (first, second) = (peer(), peer());
    let lengths = [1200, 1200, 1200, 1200, 700];
    for (seed, length) in (0..).zip(lengths) {
        queue(&mut sender, path(0, &first), &content(seed, length));
        queue(&mut sender, path(1, &second), &content(seed + 100, 64));
    }
    sender.flush();
    for (seed, length) in (0..).zip(lengths) {
        let addresses = [sockets[0].local_addr(), sockets[1].local_addr()];
        assert_eq!(heard(&first), (content(seed, length), addresses[0]));
        assert_eq!(heard(&second), (content(seed + 100, 64), addresses[1]));
    }
    let statistics = sender.take_statistics();
    assert_eq!(statistics.datagrams, 10);
    let mut messages = [0; SEGMENTS_MAX];
    messages[4] = 2;
    assert_eq!(statistics.messages, messages);
    assert_eq!(statistics.bytes, 4 * 1200 + 700 + 5 * 64);
    assert_eq!((statistics.refused, statistics.buffer_full), (0, 0));
}

fn more_datagrams_than_the_queue_holds_are_flushed_in_between(backend: Backend) {
    let mut sender = sender(&sockets(), backend);
    // Several peers, since one's default receive buffer would not hold them all.
    let peers: Vec<UdpSocket> = (0..11).map(|_| peer()).collect();
    for number in 0..1100_u32 {
        let peer = &peers[number as usize % peers.len()];
        queue(&mut sender, path(0, peer), &number.to_be_bytes());
    }
    sender.flush();
    for number in 0..1100_u32 {
        let peer = &peers[number as usize % peers.len()];
        assert_eq!(heard(peer).0, number.to_be_bytes());
    }
    assert_eq!(sender.take_statistics().datagrams, 1100);
}

fn a_datagram_that_was_taken_back_is_not_sent(backend: Backend) {
    let mut sender = sender(&sockets(), backend);
    let peer = peer();
    sender.datagram(path(0, &peer), |_| 0);
    queue(&mut sender, path(0, &peer), b"after");
    sender.flush();
    assert_eq!(heard(&peer).0, b"after");
    assert_eq!(sender.take_statistics().datagrams, 1);
}

fn refused_destinations_are_counted_and_the_others_get_theirs(backend: Backend) {
    let refusing = [
        // EAFNOSUPPORT: an IPv6 address through an IPv4 socket.
        "[2001:db8::1]:9",
        // EACCES: the broadcast address of loopback.
        "127.255.255.255:9",
        // EINVAL: there is no such port.
        "127.0.0.1:0",
    ];
    for remote in refusing {
        let mut sender = sender(&sockets(), backend);
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
        let sent = sender.take_statistics();
        assert_eq!((sent.datagrams, sent.refused), (2, 2), "{remote}");
    }
}

fn a_refused_run_leaves_segmentation_on_for_the_others(backend: Backend) {
    let mut sender = sender(&sockets(), backend);
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
    for content in [b"one", b"two"] {
        assert_eq!(heard(&peer).0, content);
    }
    assert_eq!(sender.take_statistics().messages[..2], [0, 1]);
}
