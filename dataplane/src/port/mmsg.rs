//! Sends datagrams by `sendmmsg`, with UDP generic segmentation offload.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;

use dataplane_core::Path;
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;

use super::address::RawAddress;
use super::segments::{Chains, Run};
use super::{MediaSocket, SendStatistics, Sender};

/// Sends what a turn has queued: datagrams of one path together, as few messages as can be.
#[derive(Debug)]
pub struct MmsgSender {
    sockets: Rc<[MediaSocket]>,
    arena: Box<[u8]>,
    chains: Chains,
    /// What the messages below carry, in the same order.
    queued: Vec<Queued>,
    names: Box<[RawAddress]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[SegmentControl]>,
    messages: Box<[libc::mmsghdr]>,
    segmentation: Segmentation,
    statistics: SendStatistics,
}

/// One message that is to be sent.
#[derive(Clone, Copy, Debug)]
struct Queued {
    run: Run,
    bytes: u64,
}

/// What is known of the kernel's segmentation offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segmentation {
    /// Not tried yet.
    Unproven,
    /// A message of several segments went out.
    Works,
    /// The very first one was refused: not tried again.
    Missing,
}

impl MmsgSender {
    /// Takes all memory that it will need.
    pub fn new(sockets: Rc<[MediaSocket]>) -> Self {
        let slots = usize::from(SEND_SLOTS);
        Self {
            sockets,
            arena: vec![0; slots * SLOT_BYTES].into_boxed_slice(),
            chains: Chains::new(SEND_SLOTS),
            queued: Vec::with_capacity(slots),
            names: vec![RawAddress::EMPTY; slots].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; slots].into_boxed_slice(),
            controls: vec![SegmentControl::new(0); slots].into_boxed_slice(),
            messages: vec![EMPTY_MESSAGE; slots].into_boxed_slice(),
            segmentation: Segmentation::Unproven,
            statistics: SendStatistics::default(),
        }
    }

    /// Makes one message of each run of the chains that leave through `socket`.
    fn build(&mut self, socket: u8) {
        self.queued.clear();
        let mut vectors_used = 0;
        let chains = mem::replace(&mut self.chains, Chains::new(0));
        for chain in chains
            .chains()
            .iter()
            .filter(|chain| chain.path.socket == socket)
        {
            for run in chains.runs(chain) {
                if self.segmentation == Segmentation::Missing {
                    for (slot, length) in chains.slots(run) {
                        let single = Run {
                            first: slot,
                            count: 1,
                            segment: length,
                        };
                        self.push_message(&chains, chain.path, single, &mut vectors_used);
                    }
                } else {
                    self.push_message(&chains, chain.path, run, &mut vectors_used);
                }
            }
        }
        self.chains = chains;
    }

    fn push_message(&mut self, chains: &Chains, path: Path, run: Run, vectors_used: &mut usize) {
        let index = self.queued.len();
        let (Some(message), Some(name), Some(control)) = (
            self.messages.get_mut(index),
            self.names.get_mut(index),
            self.controls.get_mut(index),
        ) else {
            return;
        };
        let first_vector = *vectors_used;
        let mut bytes = 0;
        for (slot, length) in chains.slots(run) {
            let start = usize::from(slot) * SLOT_BYTES;
            let datagram = self.arena.get_mut(start..start + usize::from(length));
            if let (Some(vector), Some(datagram)) = (self.vectors.get_mut(*vectors_used), datagram)
            {
                *vector = vector_of(datagram);
                *vectors_used += 1;
                bytes += u64::from(length);
            }
        }
        let Some(vectors) = self.vectors.get_mut(first_vector..*vectors_used) else {
            return;
        };
        let header = &mut message.msg_hdr;
        header.msg_namelen = name.set(path.remote);
        header.msg_name = ptr::from_mut(name).cast();
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len();
        if run.count > 1 {
            *control = SegmentControl::new(run.segment);
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<SegmentControl>();
        } else {
            // The control message would cost 4 % and do nothing.
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
        }
        self.queued.push(Queued { run, bytes });
    }

    /// Sends the messages that were built. One that cannot be sent is skipped: the kernel reports
    /// an error for the first message of a call only.
    fn send_built(&mut self, fd: i32) {
        let mut done = 0;
        while let Some(queued) = self.queued.get(done).copied() {
            let total = self.queued.len();
            let outcome = match self.messages.get_mut(done..total) {
                Some(messages) => send_messages(fd, messages),
                None => return,
            };
            match outcome {
                Outcome::Sent(count) => {
                    for sent in self.queued.get(done..done + count).unwrap_or_default() {
                        count_sent(&mut self.statistics, *sent);
                        if sent.run.count > 1 {
                            self.segmentation = Segmentation::Works;
                        }
                    }
                    done += count;
                }
                Outcome::BufferFull => {
                    // The buffer is one for all paths: the rest would fail as well.
                    let rest = self.queued.get(done..).unwrap_or_default();
                    self.statistics.buffer_full += rest
                        .iter()
                        .map(|queued| u64::from(queued.run.count))
                        .sum::<u64>();
                    return;
                }
                Outcome::Invalid if queued.run.count > 1 => {
                    self.give_up_segmentation();
                    self.send_singly(fd, done, queued.run);
                    done += 1;
                }
                Outcome::Invalid | Outcome::Refused => {
                    self.statistics.refused += u64::from(queued.run.count);
                    done += 1;
                }
            }
        }
    }

    /// Remembers that the kernel or the device has no segmentation offload, if the first message
    /// that needs it was refused; later refusals have other causes.
    fn give_up_segmentation(&mut self) {
        if self.segmentation == Segmentation::Unproven {
            self.segmentation = Segmentation::Missing;
            tracing::warn!(
                "this system refuses UDP segmentation offload; datagrams are sent one by one"
            );
        }
    }

    /// Sends the segments of a refused message one by one.
    fn send_singly(&mut self, fd: i32, index: usize, run: Run) {
        let Some(message) = self.messages.get(index) else {
            return;
        };
        let mut single = *message;
        single.msg_hdr.msg_control = ptr::null_mut();
        single.msg_hdr.msg_controllen = 0;
        for (slot, length) in self.chains.slots(run) {
            let start = usize::from(slot) * SLOT_BYTES;
            let Some(datagram) = self.arena.get_mut(start..start + usize::from(length)) else {
                continue;
            };
            let mut vector = vector_of(datagram);
            single.msg_hdr.msg_iov = &raw mut vector;
            single.msg_hdr.msg_iovlen = 1;
            match send_messages(fd, std::slice::from_mut(&mut single)) {
                Outcome::Sent(_) => {
                    let run = Run {
                        first: slot,
                        count: 1,
                        segment: length,
                    };
                    count_sent(
                        &mut self.statistics,
                        Queued {
                            run,
                            bytes: u64::from(length),
                        },
                    );
                }
                Outcome::BufferFull => self.statistics.buffer_full += 1,
                Outcome::Invalid | Outcome::Refused => self.statistics.refused += 1,
            }
        }
    }
}

impl Sender for MmsgSender {
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        if self.chains.free_slot().is_none() {
            self.flush();
        }
        let Some(slot) = self.chains.free_slot() else {
            return;
        };
        let start = usize::from(slot) * SLOT_BYTES;
        let Some(bytes) = self.arena.get_mut(start..start + DATAGRAM_BYTES_MAX) else {
            return;
        };
        let length = write(bytes);
        assert!(
            length <= DATAGRAM_BYTES_MAX,
            "a datagram is not longer than its slot"
        );
        if let (Ok(length), 1..) = (u16::try_from(length), length) {
            self.chains.push(path, length);
        }
    }

    fn flush(&mut self) {
        if self.chains.is_empty() {
            return;
        }
        let sockets = Rc::clone(&self.sockets);
        for (index, socket) in (0_u8..).zip(sockets.iter()) {
            self.build(index);
            self.send_built(socket.as_raw_fd());
        }
        self.chains.clear();
    }

    fn take_statistics(&mut self) -> SendStatistics {
        mem::take(&mut self.statistics)
    }
}

/// What became of a call that sends several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// So many were sent, at least one.
    Sent(usize),
    /// The first one found no room.
    BufferFull,
    /// The first one was refused as not valid: maybe it is the segmentation.
    Invalid,
    /// The first one was refused.
    Refused,
}

fn send_messages(fd: i32, messages: &mut [libc::mmsghdr]) -> Outcome {
    let count = u32::try_from(messages.len()).unwrap_or_default();
    loop {
        // SAFETY: `messages` holds `count` headers whose names, vectors, control messages and
        // datagrams live in the sender (or its caller's frame) and are not touched meanwhile. The
        // kernel reads them and keeps no pointer after the call.
        let result =
            unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        match usize::try_from(result) {
            Ok(0) => return Outcome::Refused,
            Ok(sent) => return Outcome::Sent(sent),
            Err(_) => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                error => return outcome_of(error),
            },
        }
    }
}

fn outcome_of(error: Option<i32>) -> Outcome {
    match error {
        Some(libc::EAGAIN | libc::ENOBUFS) => Outcome::BufferFull,
        Some(libc::EINVAL | libc::EIO) => Outcome::Invalid,
        Some(_) | None => Outcome::Refused,
    }
}

fn count_sent(statistics: &mut SendStatistics, queued: Queued) {
    statistics.datagrams += u64::from(queued.run.count);
    statistics.bytes += queued.bytes;
    statistics.messages += 1;
}

fn vector_of(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// The control message that sets the size of segments (udp(7), `UDP_SEGMENT`), laid out as
/// cmsg(3) says.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

impl SegmentControl {
    fn new(segment: u16) -> Self {
        Self {
            header: libc::cmsghdr {
                cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            },
            segment,
            padding: [0; 6],
        }
    }
}

impl std::fmt::Debug for SegmentControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            header: _,
            segment,
            padding: _,
        } = self;
        f.debug_struct("SegmentControl")
            .field("segment", segment)
            .finish()
    }
}

pub(super) const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};
pub(super) const EMPTY_MESSAGE: libc::mmsghdr = libc::mmsghdr {
    msg_hdr: libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

/// Bytes of a slot: more than any Ethernet datagram, and a power of two.
pub(super) const SLOT_BYTES: usize = 2048;
/// Datagrams that wait to be sent: 2 MiB of slots.
const SEND_SLOTS: u16 = 1024;

const _: () = assert!(DATAGRAM_BYTES_MAX <= SLOT_BYTES, "a datagram fits a slot");
const _: () = assert!(
    size_of::<SegmentControl>() == 24,
    "CMSG_SPACE(2) of cmsg(3)"
);

#[cfg(test)]
mod tests {
    use super::*;

    // Loopback never fills a send buffer, so the rule is looked at by itself.
    #[test]
    fn a_full_buffer_is_told_from_a_refusal() {
        for error in [libc::EAGAIN, libc::ENOBUFS] {
            assert_eq!(outcome_of(Some(error)), Outcome::BufferFull);
        }
        for error in [
            libc::EMSGSIZE,
            libc::EPERM,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
        ] {
            assert_eq!(outcome_of(Some(error)), Outcome::Refused);
        }
    }
}
