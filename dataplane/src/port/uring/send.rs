//! Sends by one submission that holds a `SENDMSG` for each message.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use io_uring::types::Fixed;
use io_uring::{IoUring, opcode, squeue};

use super::{enter, ring};
use crate::port::MediaSocket;
use crate::port::delivery::Delivery;
use crate::port::messages::Messages;
use crate::port::queue::{RUNS_MAX, SendQueue};

/// The ring that sends.
pub(in crate::port) struct UringCarrier {
    ring: IoUring,
    /// By message: the error that it met, or 0.
    errors: Box<[i32]>,
}

impl UringCarrier {
    /// Takes all memory that it will need. For use by the calling thread only.
    ///
    /// # Errors
    /// The kernel is too old, forbids it, or has no memory.
    pub(in crate::port) fn new(sockets: &[MediaSocket]) -> io::Result<Self> {
        Ok(Self {
            ring: ring(sockets, SUBMISSIONS, SUBMISSIONS)?,
            errors: vec![0; RUNS_MAX].into_boxed_slice(),
        })
    }

    /// Sends the messages that were built for `socket`, which has the number `index`.
    ///
    /// # Panics
    /// The ring is broken.
    pub(in crate::port) fn send(
        &mut self,
        (index, socket): (u8, &MediaSocket),
        messages: &mut Messages,
        queue: &SendQueue,
        delivery: &mut Delivery,
    ) {
        if messages.from(0).is_empty() {
            return;
        }
        self.submit(index, messages);
        let Self { ring, errors } = self;
        let mut any_failed = false;
        // Only failures complete.
        for completion in ring.completion() {
            let message = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
            if let Some(error) = errors.get_mut(message) {
                *error = completion.result().saturating_neg();
                any_failed = true;
            }
        }
        let runs = messages.runs_from(0).iter();
        let runs = runs.filter_map(|index| queue.runs().get(*index));
        // The successes first: after one, a refused run proves nothing against segmentation.
        let outcomes = runs.clone().zip(&*errors);
        let sent = outcomes.filter(|(_, error)| **error == 0);
        sent.for_each(|(run, _)| delivery.sent(run));
        if any_failed {
            let failed = runs.zip(errors).filter(|(_, error)| **error != 0);
            for (run, error) in failed {
                delivery.failed(socket.as_raw_fd(), queue, run, mem::take(error));
            }
        }
    }

    /// Hands all messages to the kernel. It has sent or refused each of them when this returns.
    fn submit(&mut self, index: u8, messages: &mut Messages) {
        let mut submission = self.ring.submission();
        for (number, message) in (0..).zip(messages.from(0)) {
            // The kernel tries at once and, told not to wait, never later.
            let request = opcode::SendMsg::new(Fixed(index.into()), &raw const message.msg_hdr)
                .flags(libc::MSG_DONTWAIT.cast_unsigned())
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(number);
            // SAFETY: all that the header points at lives in the sender, which does not touch it
            // before the request has completed, below.
            let pushed = unsafe { submission.push(&request) };
            assert!(pushed.is_ok(), "there are as many requests as messages");
        }
        drop(submission);
        let entered = enter(&self.ring);
        assert!(entered.is_ok(), "a ring takes requests: {entered:?}");
    }
}

impl Drop for UringCarrier {
    fn drop(&mut self) {
        // Or the sockets' ports would stay taken until the kernel has taken the ring down.
        let _ = self.ring.submitter().unregister_files();
    }
}

impl std::fmt::Debug for UringCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringCarrier").finish_non_exhaustive()
    }
}

/// As many as there are messages at most.
const SUBMISSIONS: u32 = {
    assert!(RUNS_MAX == 256, "the same in thirty-two bits");
    256
};
