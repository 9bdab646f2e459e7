//! The port over loopback, by either backend.

use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use dataplane_core::Path;

use super::{Arrival, Backend, MediaSocket, PortReceiver, PortSender, Received, Receiver, Sender};

/// Makes a test for each backend of functions that take one.
macro_rules! with_both_backends {
    ($($name:ident,)+) => {
        mod mmsg {
            $(#[test] fn $name() { super::$name(crate::port::Backend::Mmsg); })+
        }
        mod uring {
            $(#[test] fn $name() { super::$name(crate::port::Backend::Uring); })+
        }
    };
}

mod receiving;
mod sending;
mod whole;

fn bind(addresses: &[&str]) -> Rc<[MediaSocket]> {
    let bind = |address: &&str| MediaSocket::bind(address.parse().unwrap()).unwrap();
    addresses.iter().map(bind).collect()
}

fn sockets() -> Rc<[MediaSocket]> {
    bind(&["127.0.0.1:0", "127.0.0.2:0"])
}

fn sender(sockets: &Rc<[MediaSocket]>, backend: Backend) -> PortSender {
    PortSender::new(Rc::clone(sockets), backend).unwrap()
}

fn receiver(sockets: &Rc<[MediaSocket]>, backend: Backend) -> PortReceiver {
    PortReceiver::new(Rc::clone(sockets), backend).unwrap()
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

/// From socket 1 to socket 0 of the same port.
fn to_first(sockets: &[MediaSocket]) -> Path {
    Path {
        socket: 1,
        remote: sockets[0].local_addr(),
    }
}

fn queue(sender: &mut PortSender, path: Path, bytes: &[u8]) {
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

/// What a call of `receive` brings.
fn receive(receiver: &mut PortReceiver) -> (Vec<(Arrival, Vec<u8>)>, Received) {
    let mut delivered = Vec::new();
    let received = receiver.receive(|arrival, bytes: &mut [u8]| {
        delivered.push((arrival, bytes.to_vec()));
    });
    (delivered, received)
}

/// What calls of `receive` bring until there is no more.
fn receive_all(receiver: &mut PortReceiver) -> Vec<(Arrival, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let (delivered, received) = receive(receiver);
        all.extend(delivered);
        if !received.more {
            return all;
        }
    }
}

/// A datagram that is like no other.
fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| at.to_le_bytes()[0].wrapping_mul(31) ^ seed)
        .collect()
}
