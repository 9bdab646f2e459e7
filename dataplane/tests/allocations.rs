//! Steady receiving and sending takes nothing from the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::rc::Rc;

use dataplane::port::{Backend, MediaSocket, PortReceiver, PortSender, Receiver, Sender};
use dataplane_core::Path;

/// The system's allocator, counting the calls of each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn receiving_and_sending_allocate_nothing() {
    for backend in [Backend::Mmsg, Backend::Uring] {
        let sockets: Rc<[MediaSocket]> =
            [MediaSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap()].into();
        let mut receiver = PortReceiver::new(Rc::clone(&sockets), backend).unwrap();
        let mut sender = PortSender::new(Rc::clone(&sockets), backend).unwrap();
        let peers: Vec<UdpSocket> = (0..20)
            .map(|_| {
                let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
                peer.set_nonblocking(true).unwrap();
                peer
            })
            .collect();
        let paths: Vec<Path> = peers
            .iter()
            .map(|p| Path {
                socket: 0,
                remote: p.local_addr().unwrap(),
            })
            .collect();
        let address = sockets[0].local_addr();
        let mut buffer = [0; 2048];
        let before = CALLS.get();
        let (mut received, mut sent) = (0, 0);
        for _ in 0..500 {
            for peer in peers.iter().take(4) {
                peer.send_to(&[7; 1200], address).unwrap();
            }
            received += receiver
                .receive(|_, bytes| {
                    for path in &paths {
                        sender.datagram(*path, |slot| {
                            slot[..bytes.len()].copy_from_slice(bytes);
                            bytes.len()
                        });
                    }
                })
                .datagrams;
            sender.flush();
            for peer in &peers {
                while peer.recv(&mut buffer).is_ok() {
                    sent += 1;
                }
            }
        }
        assert_eq!(
            CALLS.get() - before,
            0,
            "calls of the allocator by {backend:?}"
        );
        assert_eq!((received, sent), (2000, 40_000), "{backend:?}");
    }
}
