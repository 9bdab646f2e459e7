//! Sends datagrams by `sendmmsg`, with UDP generic segmentation offload.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use dataplane_core::Path;
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;

use super::delivery::Delivery;
use super::messages::Messages;
use super::queue::SendQueue;
use super::{MediaSocket, SendStatistics, Sender};

/// Sends what a turn has queued: datagrams of one path together, as few messages as can be.
#[derive(Debug)]
pub struct MmsgSender {
    sockets: Rc<[MediaSocket]>,
    queue: SendQueue,
    messages: Messages,
    delivery: Delivery,
}

impl MmsgSender {
    /// Takes all memory that it will need.
    pub fn new(sockets: Rc<[MediaSocket]>) -> Self {
        Self {
            sockets,
            queue: SendQueue::new(),
            messages: Messages::new(),
            delivery: Delivery::default(),
        }
    }

    /// Sends the messages that were built. One that cannot be sent is skipped: the kernel reports
    /// an error for the first message of a call only.
    fn send_built(&mut self, fd: RawFd) {
        let Self {
            queue,
            messages,
            delivery,
            ..
        } = self;
        let run = |index: &usize| queue.runs().get(*index);
        let mut done = 0;
        loop {
            let rest = messages.from(done);
            if rest.is_empty() {
                return;
            }
            let outcome = send_messages(fd, rest);
            let mut rest = messages.runs_from(done).iter().filter_map(run);
            match outcome {
                Ok(count) => {
                    rest.take(count).for_each(|run| delivery.sent(run));
                    done += count;
                }
                Err(error @ (libc::EAGAIN | libc::ENOBUFS)) => {
                    // The buffer is one for all paths: the rest would fail as well.
                    rest.for_each(|run| delivery.failed(fd, queue, run, error));
                    return;
                }
                Err(error) => {
                    if let Some(run) = rest.next() {
                        delivery.failed(fd, queue, run, error);
                    }
                    done += 1;
                }
            }
        }
    }
}

impl Sender for MmsgSender {
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        if self.queue.is_full() {
            self.flush();
        }
        let Some(space) = self.queue.space() else {
            return;
        };
        let length = write(space);
        assert!(
            length <= DATAGRAM_BYTES_MAX,
            "a datagram is not longer than its space"
        );
        if let (Ok(length), 1..) = (u16::try_from(length), length) {
            self.queue.push(path, length);
        }
    }

    fn flush(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let sockets = Rc::clone(&self.sockets);
        for (index, socket) in (0_u8..).zip(sockets.iter()) {
            self.messages.build(&self.queue, index);
            self.send_built(socket.as_raw_fd());
        }
        self.queue.clear();
        if self.delivery.lacks_segmentation() {
            self.queue.forbid_segments();
        }
    }

    fn take_statistics(&mut self) -> SendStatistics {
        mem::take(&mut self.delivery.statistics)
    }
}

/// Sends as many messages as the kernel takes at once, at least one; else the error of the first.
fn send_messages(fd: RawFd, messages: &mut [libc::mmsghdr]) -> Result<usize, i32> {
    let count = u32::try_from(messages.len()).unwrap_or_default();
    loop {
        // SAFETY: `messages` holds `count` headers whose names, vectors, control messages and
        // datagrams live in the sender and are not touched meanwhile. The kernel reads them and
        // keeps no pointer after the call.
        let result =
            unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        match usize::try_from(result) {
            Ok(0) => return Err(libc::EIO),
            Ok(sent) => return Ok(sent),
            Err(_) => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                error => return Err(error.unwrap_or(libc::EIO)),
            },
        }
    }
}
