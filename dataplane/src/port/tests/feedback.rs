//! What the kernel sorts out for the socket that wakes nobody.

use std::net::UdpSocket;
use std::rc::Rc;

use super::{bind, receive, receiver, sockets};
use crate::port::{Backend, MediaSocket, MmsgReceiver, Receiver};

/// What transport-wide feedback begins with: RFC 4585 §6.1, format 15 of RTPFB.
const FEEDBACK: [u8; 2] = [0x8f, 205];

/// Sends `datagrams` to the first of `sockets`; what the media socket got, and what the other one.
fn sorted(sockets: &Rc<[MediaSocket]>, datagrams: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let address = sockets[0].local_addr();
    let peer = UdpSocket::bind((address.ip(), 0)).unwrap();
    for datagram in datagrams {
        peer.send_to(datagram, address).unwrap();
    }
    let mut media = receiver(sockets, Backend::Mmsg);
    let (delivered, _) = receive(&mut media);
    let mut feedback = Vec::new();
    let mut receiver = MmsgReceiver::of_feedback(Rc::clone(sockets));
    receiver.receive(|arrival, bytes| {
        assert_eq!(arrival.path.socket, 0);
        assert_eq!(arrival.path.remote, peer.local_addr().unwrap());
        feedback.push(bytes.to_vec());
    });
    let media = delivered.into_iter().map(|(_, bytes)| bytes).collect();
    (media, feedback)
}

#[test]
fn transport_wide_feedback_has_a_socket_of_its_own() {
    for sockets in [sockets(), bind(&["[::1]:0"])] {
        let padded = [FEEDBACK[0] | 0x20, FEEDBACK[1], 9, 9];
        let (media, feedback) = sorted(&sockets, &[&FEEDBACK, &padded]);
        assert_eq!(media, Vec::<Vec<u8>>::new());
        assert_eq!(feedback, [FEEDBACK.to_vec(), padded.to_vec()]);
    }
}

#[test]
fn all_else_wakes_the_shard() {
    let others: [&[u8]; 9] = [
        // A NACK, a PLI, a receiver report (RFC 4585 §6.2.1, §6.3.1; RFC 3550 §6.4.2).
        &[0x81, 205, 0, 2],
        &[0x81, 206, 0, 2],
        &[0x81, 201, 0, 7],
        // Another format of payload-specific feedback; another version.
        &[0x8f, 206, 0, 2],
        &[0x4f, 205, 0, 2],
        // RTP, STUN, DTLS.
        &[0x90, 0x6f, 0, 1],
        &[0, 1, 0, 0],
        &[22, 254, 253],
        // Too short to tell.
        &FEEDBACK[..1],
    ];
    let (media, feedback) = sorted(&sockets(), &others);
    assert_eq!(media, others.map(<[u8]>::to_vec));
    assert_eq!(feedback, Vec::<Vec<u8>>::new());
}
