//! Receives by one `RECVMSG` for each socket that stays armed and completes once for every message
//! (`io_uring_prep_recvmsg_multishot(3)`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use dataplane_core::Path;
use io_uring::types::{CancelBuilder, Fixed};
use io_uring::{IoUring, cqueue, opcode};
use rustix::event::{EventfdFlags, eventfd};

use super::buffers::{BEFORE_PAYLOAD, BUFFERS, Buffers, GROUP};
use super::{enter, ring};
use crate::config::MEDIA_ADDRESSES_MAX;
use crate::port::address::RawAddress;
use crate::port::control::{Control, ControlBuffer};
use crate::port::turn::{Moment, Turn};
use crate::port::{Arrival, MediaSocket, Received, Receiver, Wake};

/// Gives away what its ring has taken from the sockets.
pub struct UringReceiver {
    ring: IoUring,
    buffers: Buffers,
    /// By socket: whether its request is armed. One ends when the buffers run out.
    armed: Box<[bool]>,
    /// The socket whose request is armed first.
    first: usize,
    /// What every request asks for.
    request: Box<libc::msghdr>,
    /// The kernel counts here that it has put something off.
    wake: OwnedFd,
}

impl UringReceiver {
    /// Takes all memory that it will need. For use by the calling thread only.
    ///
    /// # Errors
    /// The kernel is too old, forbids it, or has no memory or descriptors.
    pub fn new(sockets: &[MediaSocket]) -> io::Result<Self> {
        let ring = ring(sockets, SUBMISSIONS, COMPLETIONS)?;
        let buffers = Buffers::new()?;
        buffers.register(&ring.submitter())?;
        // Blocking: glommio's read of it is to wait.
        let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        let mut receiver = Self {
            ring,
            buffers,
            armed: vec![false; sockets.len()].into_boxed_slice(),
            first: 0,
            request: Box::new(REQUEST),
            wake,
        };
        receiver.arm()?;
        Ok(receiver)
    }

    /// The counter, to wait for.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn wake(&self) -> io::Result<Wake> {
        self.wake.as_fd().try_clone_to_owned().map(Wake::Counter)
    }

    /// Arms what is not armed, and lets the kernel do what it has put off.
    fn arm(&mut self) -> io::Result<()> {
        let mut submission = self.ring.submission();
        // The request that comes first may take all buffers, so another one does each time.
        let first = self.first;
        let (before, after) = self.armed.split_at_mut_checked(first).unwrap_or_default();
        let in_turn = (first..).zip(after).chain((0..).zip(before));
        let mut leader = None;
        for (index, armed) in in_turn.filter(|(_, armed)| !**armed) {
            let socket = u32::try_from(index).unwrap_or(u32::MAX);
            let request = opcode::RecvMsgMulti::new(Fixed(socket), &raw const *self.request, GROUP)
                .build()
                .user_data(socket.into());
            // SAFETY: the header lives in its own box as long as the ring; the buffers do as well.
            *armed = unsafe { submission.push(&request) }.is_ok();
            leader.get_or_insert(index);
        }
        self.first = leader.map_or(first, |leader| leader + 1);
        let idle = submission.is_empty() && !submission.taskrun();
        drop(submission);
        if idle { Ok(()) } else { enter(&self.ring) }
    }

    /// Gives away what the ring holds, until the turn is full.
    fn give(&mut self, turn: &mut Turn<impl FnMut(Arrival, &mut [u8])>) {
        let Self {
            ring,
            buffers,
            armed,
            ..
        } = self;
        let mut moment = None;
        let mut completions = ring.completion();
        while !turn.is_full()
            && let Some(completion) = completions.next()
        {
            let socket = u8::try_from(completion.user_data()).unwrap_or(u8::MAX);
            if !cqueue::more(completion.flags())
                && let Some(armed) = armed.get_mut(usize::from(socket))
            {
                *armed = false;
            }
            let Some(buffer) = cqueue::buffer_select(completion.flags()) else {
                continue;
            };
            let length = usize::try_from(completion.result()).unwrap_or_default();
            if let Some(message) = buffers.content(buffer, length).and_then(Message::parse) {
                let moment = moment.get_or_insert_with(Moment::now);
                let control = Control::parse(message.control);
                let arrival = Arrival {
                    path: Path {
                        socket,
                        remote: message.remote,
                    },
                    at: moment.of(control.arrived),
                };
                turn.message(arrival, message.payload, control.segment);
            }
            buffers.offer(buffer);
        }
        buffers.publish();
    }

    /// Whether nothing is left to do before the thread may sleep.
    fn is_settled(&mut self) -> bool {
        !self.ring.submission().taskrun() && self.armed.iter().all(|armed| *armed)
    }
}

impl Receiver for UringReceiver {
    fn receive(&mut self, deliver: impl FnMut(Arrival, &mut [u8])) -> Received {
        let mut turn = Turn::new(deliver);
        let mut more = true;
        for _ in 0..ROUNDS {
            let entered = self.arm();
            assert!(entered.is_ok(), "a ring takes requests: {entered:?}");
            self.give(&mut turn);
            more = turn.is_full() || !self.is_settled();
            if turn.is_full() || !more {
                break;
            }
        }
        Received {
            more,
            ..turn.received
        }
    }
}

impl Drop for UringReceiver {
    fn drop(&mut self) {
        // The buffers go away next, and whoever binds the sockets' ports again shall get them.
        // Both happens later by itself as well, when the kernel has taken the ring down.
        let submitter = self.ring.submitter();
        let _ = submitter.register_sync_cancel(None, CancelBuilder::any());
        // Only now the requests really end.
        let _ = enter(&self.ring);
        let _ = submitter.unregister_files();
    }
}

impl std::fmt::Debug for UringReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringReceiver")
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

/// What a buffer holds, as `io_uring_prep_recvmsg_multishot(3)` lays it out.
struct Message<'a> {
    remote: SocketAddr,
    control: &'a [u8],
    payload: &'a mut [u8],
}

impl<'a> Message<'a> {
    /// None if the sender's address is of a kind that we do not speak.
    fn parse(content: &'a mut [u8]) -> Option<Self> {
        // struct io_uring_recvmsg_out: the lengths of the parts, and flags.
        let (header, rest) = content.split_first_chunk_mut::<HEADER_BYTES>()?;
        let (_, lengths) = header.split_first_chunk::<4>()?;
        let (control_length, lengths) = lengths.split_first_chunk()?;
        let payload_length = lengths.first_chunk()?;
        let (name, rest) = rest.split_first_chunk_mut::<NAME_BYTES>()?;
        let (control, payload) = rest.split_at_mut_checked(ControlBuffer::LEN)?;
        Some(Self {
            remote: RawAddress::from_bytes(name.first_chunk()?).get()?,
            control: control.get(..length(*control_length))?,
            payload: payload.get_mut(..length(*payload_length))?,
        })
    }
}

fn length(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_ne_bytes(bytes)).unwrap_or(usize::MAX)
}

/// Asks for the parts of [`Message`].
const REQUEST: libc::msghdr = libc::msghdr {
    msg_name: ptr::null_mut(),
    msg_namelen: NAME_LEN,
    msg_iov: ptr::null_mut(),
    msg_iovlen: 0,
    msg_control: ptr::null_mut(),
    msg_controllen: ControlBuffer::LEN,
    msg_flags: 0,
};

const HEADER_BYTES: usize = 16;
/// More than an address has, so that what comes after is aligned.
const NAME_LEN: libc::socklen_t = 32;
const NAME_BYTES: usize = 32;
/// One for each socket that a shard may have.
const SUBMISSIONS: u32 = 16;
/// One for each buffer, and one for each request that ends.
const COMPLETIONS: u32 = 256;
/// How often one call asks the kernel: once more if the buffers had run out, or if the kernel has
/// put off more.
const ROUNDS: usize = 2;

const _: () = assert!(
    SUBMISSIONS as usize >= MEDIA_ADDRESSES_MAX
        && COMPLETIONS as usize >= BUFFERS as usize + MEDIA_ADDRESSES_MAX
        && HEADER_BYTES + NAME_BYTES + ControlBuffer::LEN == BEFORE_PAYLOAD
);
