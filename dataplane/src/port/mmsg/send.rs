//! Sends by `sendmmsg`.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::port::MediaSocket;
use crate::port::delivery::Delivery;
use crate::port::messages::Messages;
use crate::port::queue::SendQueue;

/// Sends the messages that were built for `socket`. One that cannot be sent is skipped: the kernel
/// reports an error for the first message of a call only.
pub(in crate::port) fn send(
    socket: &MediaSocket,
    messages: &mut Messages,
    queue: &SendQueue,
    delivery: &mut Delivery,
) {
    let fd = socket.as_raw_fd();
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
