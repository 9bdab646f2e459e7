//! Receives datagrams by `recvmmsg`.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;

use dataplane_core::Path;

use super::address::RawAddress;
use super::messages::{EMPTY_MESSAGE, EMPTY_VECTOR};
use super::{MediaSocket, Received, Receiver};

/// Receives batches of datagrams.
#[derive(Debug)]
pub struct MmsgReceiver {
    sockets: Rc<[MediaSocket]>,
    arena: Box<[u8]>,
    names: Box<[RawAddress]>,
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
}

impl MmsgReceiver {
    /// Takes all memory that it will need.
    pub fn new(sockets: Rc<[MediaSocket]>) -> Self {
        Self {
            sockets,
            arena: vec![0; RECEIVE_BATCH * SLOT_BYTES].into_boxed_slice(),
            names: vec![RawAddress::EMPTY; RECEIVE_BATCH].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; RECEIVE_BATCH].into_boxed_slice(),
            messages: vec![EMPTY_MESSAGE; RECEIVE_BATCH].into_boxed_slice(),
        }
    }

    /// Points every message at its slot; the kernel overwrites some of the fields each time.
    fn prepare(&mut self) {
        let slots = self.arena.chunks_exact_mut(SLOT_BYTES);
        let parts = self
            .messages
            .iter_mut()
            .zip(&mut self.vectors)
            .zip(&mut self.names);
        for (((message, vector), name), slot) in parts.zip(slots) {
            *vector = libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: slot.len(),
            };
            let header = &mut message.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = RawAddress::LEN;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            message.msg_len = 0;
        }
    }
}

impl Receiver for MmsgReceiver {
    fn receive(&mut self, socket: u8, deliver: &mut dyn FnMut(Path, &mut [u8])) -> Received {
        let Some(fd) = self
            .sockets
            .get(usize::from(socket))
            .map(AsRawFd::as_raw_fd)
        else {
            return Received::default();
        };
        self.prepare();
        let count = receive_messages(fd, &mut self.messages);
        let mut received = Received {
            more: count == RECEIVE_BATCH,
            ..Received::default()
        };
        let slots = self.arena.chunks_exact_mut(SLOT_BYTES);
        let parts = self.messages.iter().zip(&self.names).zip(slots);
        for ((message, name), slot) in parts.take(count) {
            if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                received.too_large += 1;
                continue;
            }
            let length = usize::try_from(message.msg_len).unwrap_or_default();
            if let (Some(remote), Some(bytes)) = (name.get(), slot.get_mut(..length)) {
                received.datagrams += 1;
                deliver(Path { socket, remote }, bytes);
            }
        }
        received
    }
}

/// Fills as many messages as there are datagrams; any error counts as none, since the next turn
/// asks again.
fn receive_messages(fd: i32, messages: &mut [libc::mmsghdr]) -> usize {
    let room = u32::try_from(messages.len()).unwrap_or_default();
    loop {
        // SAFETY: `messages` holds `room` headers, each of which `prepare` has just pointed at a
        // name, a vector and a slot that live in the same receiver and are borrowed by no one. The
        // kernel writes within the lengths given and keeps no pointer after the call.
        let result = unsafe {
            libc::recvmmsg(
                fd,
                messages.as_mut_ptr(),
                room,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        match usize::try_from(result) {
            Ok(count) => return count,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

/// Bytes of a slot: more than any Ethernet datagram, and a power of two.
const SLOT_BYTES: usize = 2048;
/// Datagrams of one receive call.
const RECEIVE_BATCH: usize = 64;
