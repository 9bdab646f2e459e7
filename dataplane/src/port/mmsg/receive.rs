//! Receives datagrams by `recvmmsg`, with UDP generic receive offload.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::rc::Rc;

use dataplane_core::Path;

use crate::port::address::RawAddress;
use crate::port::control::{Control, ControlBuffer};
use crate::port::messages::{EMPTY_MESSAGE, EMPTY_VECTOR};
use crate::port::turn::{Moment, TURN_DATAGRAMS, Turn};
use crate::port::{Arrival, MediaSocket, Received, Receiver, Wake};

/// Receives batches of messages, and gives their datagrams away turn by turn.
#[derive(Debug)]
pub struct MmsgReceiver {
    sockets: Rc<[MediaSocket]>,
    /// Which socket is asked next: they take turns.
    next_socket: u8,
    arena: Box<[u8]>,
    names: Box<[RawAddress]>,
    controls: Box<[ControlBuffer]>,
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    batch: Batch,
}

/// What the last call has brought, and how far it was given away.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    socket: u8,
    /// Messages.
    count: usize,
    /// The first one that was not given away.
    next: usize,
    moment: Moment,
}

impl MmsgReceiver {
    /// Takes all memory that it will need.
    pub fn new(sockets: Rc<[MediaSocket]>) -> Self {
        let mut receiver = Self {
            sockets,
            next_socket: 0,
            arena: vec![0; BATCH_MESSAGES * SLOT_BYTES].into_boxed_slice(),
            names: vec![RawAddress::EMPTY; BATCH_MESSAGES].into_boxed_slice(),
            controls: vec![ControlBuffer::EMPTY; BATCH_MESSAGES].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; BATCH_MESSAGES].into_boxed_slice(),
            messages: vec![EMPTY_MESSAGE; BATCH_MESSAGES].into_boxed_slice(),
            batch: Batch::default(),
        };
        receiver.prepare(BATCH_MESSAGES);
        receiver
    }

    /// The sockets, to wait for.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn wakes(&self) -> io::Result<Vec<Wake>> {
        let duplicates = self.sockets.iter().map(MediaSocket::duplicate);
        duplicates.map(|fd| fd.map(Wake::Socket)).collect()
    }

    /// Points the first `count` messages at their slots: the kernel has written to their headers.
    fn prepare(&mut self, count: usize) {
        let slots = self.arena.chunks_exact_mut(SLOT_BYTES);
        let vectors = self.vectors.iter_mut().zip(slots);
        let parts = self.names.iter_mut().zip(&mut self.controls).zip(vectors);
        let messages = self.messages.iter_mut().take(count).zip(parts);
        for (message, ((name, control), (vector, slot))) in messages {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = MESSAGE_BYTES;
            message.msg_hdr = libc::msghdr {
                msg_name: ptr::from_mut(name).cast(),
                msg_namelen: RawAddress::LEN,
                msg_iov: vector,
                msg_iovlen: 1,
                msg_control: ptr::from_mut(control).cast(),
                msg_controllen: ControlBuffer::LEN,
                msg_flags: 0,
            };
        }
    }

    /// Asks the next socket for a batch.
    fn fill(&mut self) {
        self.prepare(self.batch.count);
        let index = self.next_socket;
        let Some(socket) = self.sockets.get(usize::from(index)) else {
            return;
        };
        let following = index.saturating_add(1);
        let wraps = usize::from(following) >= self.sockets.len();
        self.next_socket = if wraps { 0 } else { following };
        let count = receive_messages(socket.as_raw_fd(), &mut self.messages);
        self.batch = Batch {
            socket: index,
            count,
            next: 0,
            // The clocks cost a tenth of a datagram.
            moment: if count > 0 {
                Moment::now()
            } else {
                Moment::default()
            },
        };
    }

    /// Gives away what is left of the batch, until the turn is full.
    fn give(&mut self, turn: &mut Turn<impl FnMut(Arrival, &mut [u8])>) {
        let batch = &mut self.batch;
        let contents = self.arena.chunks_exact_mut(SLOT_BYTES).zip(&self.controls);
        let parts = self.messages.iter().zip(&self.names).zip(contents);
        for ((message, name), (slot, control)) in parts.take(batch.count).skip(batch.next) {
            if turn.is_full() {
                return;
            }
            batch.next += 1;
            let length = usize::try_from(message.msg_len).unwrap_or_default();
            let (Some(remote), Some(bytes)) = (name.get(), slot.get_mut(..length)) else {
                continue;
            };
            let control = Control::parse(control.filled(message.msg_hdr.msg_controllen));
            let arrival = Arrival {
                path: Path {
                    socket: batch.socket,
                    remote,
                },
                at: batch.moment.of(control.arrived),
            };
            turn.message(arrival, bytes, control.segment);
        }
    }
}

impl Receiver for MmsgReceiver {
    fn receive(&mut self, deliver: impl FnMut(Arrival, &mut [u8])) -> Received {
        let mut turn = Turn::new(deliver);
        let mut more = false;
        for _ in 0..self.sockets.len() {
            if self.batch.next == self.batch.count {
                self.fill();
            }
            more |= self.batch.count == BATCH_MESSAGES;
            self.give(&mut turn);
            if turn.is_full() {
                more = true;
                break;
            }
        }
        Received {
            more,
            ..turn.received
        }
    }
}

/// Fills as many messages as there are; any error counts as none, since the next turn asks again.
fn receive_messages(fd: RawFd, messages: &mut [libc::mmsghdr]) -> usize {
    let room = u32::try_from(messages.len()).unwrap_or_default();
    loop {
        // SAFETY: `messages` holds `room` headers, each of which `prepare` has pointed at a name, a
        // vector, a control buffer and a slot that live in the same receiver, neither move nor are
        // borrowed by anyone. The kernel writes within the lengths given and keeps no pointer after
        // the call.
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

/// Messages of one call: as many as a turn may have datagrams.
const BATCH_MESSAGES: usize = TURN_DATAGRAMS;
/// Bytes of a message: no datagram is longer, nor what the kernel joins of several.
const MESSAGE_BYTES: usize = 64 * 1024;
/// From slot to slot. Memory that no message has reached is never touched, so it is not there; the
/// 1,024 bytes more keep the beginnings of slots, which is all that most have, from sharing the
/// same few lines of a cache.
const SLOT_BYTES: usize = MESSAGE_BYTES + 1024;
