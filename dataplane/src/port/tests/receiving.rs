//! What is received, when it came, and how much of it at once.

use std::time::Duration;

use super::{content, path, peer, queue, receive, receiver, sender, sockets, to_first};
use crate::clock;
use crate::port::{Backend, Received, Sender};

with_both_backends! {
    datagrams_of_all_sockets_are_delivered_with_the_ways_they_came,
    a_datagram_comes_with_the_time_at_which_the_kernel_took_it,
    what_the_kernel_has_joined_is_cut_into_datagrams_again,
    a_turn_is_bounded_and_the_rest_comes_in_order_with_the_next,
    a_datagram_that_is_too_long_is_thrown_away,
}

fn datagrams_of_all_sockets_are_delivered_with_the_ways_they_came(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
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
    let (mut delivered, received) = receive(&mut receiver);
    assert_eq!((received.datagrams, received.more), (3, false));
    // The backends differ in which socket comes first.
    delivered.sort_by_key(|(arrival, _)| arrival.path.socket);
    for ((arrival, bytes), (socket, peer, sent)) in delivered.iter().zip(&datagrams) {
        assert_eq!((arrival.path, bytes), (path(*socket, peer), sent));
    }
    assert_eq!(receive(&mut receiver).1, Received::default());
}

fn a_datagram_comes_with_the_time_at_which_the_kernel_took_it(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let peer = peer();
    // The clocks of a moment are read one after the other: on a busy machine the thread may be
    // stopped in between, so one of several attempts must do.
    let slack = Duration::from_millis(2);
    let is_right = (0..20).any(|_| {
        let before = clock::now();
        peer.send_to(b"x", sockets[0].local_addr()).unwrap();
        let after = clock::now();
        std::thread::sleep(Duration::from_millis(20));
        let at = receive(&mut receiver).0[0].0.at;
        before - slack <= at && at <= after + slack
    });
    assert!(is_right);
}

fn what_the_kernel_has_joined_is_cut_into_datagrams_again(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let mut sender = sender(&sockets, backend);
    let lengths = [1200, 1200, 1200, 700];
    for (seed, length) in (0..).zip(lengths) {
        queue(&mut sender, to_first(&sockets), &content(seed, length));
    }
    sender.flush();
    let (delivered, received) = receive(&mut receiver);
    assert_eq!((received.datagrams, received.too_large), (4, 0));
    for ((seed, length), (_, bytes)) in (0..).zip(lengths).zip(&delivered) {
        assert_eq!(bytes, &content(seed, length));
    }
    // One time for all of them: they did come in one message.
    let at = delivered[0].0.at;
    assert!(delivered.iter().all(|(arrival, _)| arrival.at == at));
}

fn a_turn_is_bounded_and_the_rest_comes_in_order_with_the_next(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let mut sender = sender(&sockets, backend);
    // Fewer messages than one call takes, but more datagrams than a turn does.
    for number in 0..160_u32 {
        queue(&mut sender, to_first(&sockets), &number.to_be_bytes());
    }
    sender.flush();
    let mut numbers = Vec::new();
    for expected in [(64, true), (64, true), (32, false)] {
        let (delivered, received) = receive(&mut receiver);
        assert_eq!((received.datagrams, received.more), expected);
        numbers.extend(delivered.into_iter().map(|(_, bytes)| bytes));
    }
    let sent: Vec<_> = (0..160_u32).map(|number| number.to_be_bytes()).collect();
    assert_eq!(numbers, sent);
}

fn a_datagram_that_is_too_long_is_thrown_away(backend: Backend) {
    let sockets = sockets();
    let mut receiver = receiver(&sockets, backend);
    let peer = peer();
    for length in [2049, 65_507] {
        peer.send_to(&vec![0; length], sockets[0].local_addr())
            .unwrap();
    }
    peer.send_to(b"x", sockets[0].local_addr()).unwrap();
    let (delivered, received) = receive(&mut receiver);
    assert_eq!(delivered[0].1, b"x");
    assert_eq!((received.datagrams, received.too_large), (1, 2));
}
