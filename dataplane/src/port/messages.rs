//! The message headers that the kernel reads (sendmsg(2)), made from the runs of the send queue.

use std::mem;
use std::ptr;

use super::address::RawAddress;
use super::queue::{PIECES_MAX, RUNS_MAX, SendQueue};

/// Messages that are to be sent, with all that their headers point at.
#[derive(Debug)]
pub(super) struct Messages {
    headers: Box<[libc::mmsghdr]>,
    names: Box<[RawAddress]>,
    vectors: Box<[libc::iovec]>,
    controls: Box<[SegmentControl]>,
    /// For each message the index of its run in the queue.
    runs: Vec<usize>,
}

impl Messages {
    /// None, with room for all that a queue can hold.
    pub(super) fn new() -> Self {
        Self {
            headers: vec![EMPTY_MESSAGE; RUNS_MAX].into_boxed_slice(),
            names: vec![RawAddress::EMPTY; RUNS_MAX].into_boxed_slice(),
            vectors: vec![EMPTY_VECTOR; PIECES_MAX].into_boxed_slice(),
            controls: vec![SegmentControl::new(0); RUNS_MAX].into_boxed_slice(),
            runs: Vec::with_capacity(RUNS_MAX),
        }
    }

    /// Makes one message of each run of `queue` that leaves through `socket`, in order. They point
    /// into the queue, and must be sent before it changes.
    pub(super) fn build(&mut self, queue: &SendQueue, socket: u8) {
        self.runs.clear();
        let mut free = &mut *self.vectors;
        let runs = queue.runs().iter().enumerate();
        let runs = runs.filter(|(_, run)| run.path.socket == socket);
        let parts = self.headers.iter_mut().zip(&mut self.names);
        for (((index, run), (message, name)), control) in runs.zip(parts).zip(&mut self.controls) {
            let mut count = 0;
            for (vector, piece) in free.iter_mut().zip(queue.pieces(run)) {
                vector.iov_base = piece.as_ptr().cast_mut().cast();
                vector.iov_len = piece.len();
                count += 1;
            }
            let (vectors, rest) = mem::take(&mut free).split_at_mut(count);
            free = rest;
            let header = &mut message.msg_hdr;
            header.msg_namelen = name.set(run.path.remote);
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_iov = vectors.as_mut_ptr();
            header.msg_iovlen = count;
            if run.count > 1 {
                control.segment = run.segment;
                header.msg_control = ptr::from_mut(control).cast();
                header.msg_controllen = size_of::<SegmentControl>();
            } else {
                // The control message would cost 4 % and do nothing.
                header.msg_control = ptr::null_mut();
                header.msg_controllen = 0;
            }
            self.runs.push(index);
        }
    }

    /// Those that were built, from number `first` on.
    pub(super) fn from(&mut self, first: usize) -> &mut [libc::mmsghdr] {
        let count = self.runs.len();
        self.headers.get_mut(first..count).unwrap_or_default()
    }

    /// For each message, from number `first` on, the index of its run in the queue.
    pub(super) fn runs_from(&self, first: usize) -> &[usize] {
        self.runs.get(first..).unwrap_or_default()
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

const _: () = assert!(
    size_of::<SegmentControl>() == 24,
    "CMSG_SPACE(2) of cmsg(3)"
);
