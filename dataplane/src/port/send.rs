//! Lets datagrams out: the queue, and the backend that carries it to the kernel.

use std::io;
use std::mem;
use std::rc::Rc;

use dataplane_core::Path;
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;

use super::delivery::Delivery;
use super::messages::Messages;
use super::queue::SendQueue;
use super::uring::UringCarrier;
use super::{Backend, MediaSocket, SendStatistics, Sender, mmsg};

/// Sends what a turn has queued: datagrams of one path together, in as few messages as can be.
#[derive(Debug)]
pub struct PortSender {
    queue: SendQueue,
    messages: Messages,
    delivery: Delivery,
    sockets: Rc<[MediaSocket]>,
    carrier: Carrier,
}

/// How messages get to the kernel; asked for each flush, not for each datagram.
#[derive(Debug)]
enum Carrier {
    Mmsg,
    Uring(Box<UringCarrier>),
}

impl PortSender {
    /// Takes all memory that it will need. For use by the calling thread only.
    ///
    /// # Errors
    /// The system does not offer the backend, or has no memory for it.
    pub fn new(sockets: Rc<[MediaSocket]>, backend: Backend) -> io::Result<Self> {
        let carrier = match backend {
            Backend::Mmsg => Carrier::Mmsg,
            Backend::Uring => Carrier::Uring(Box::new(UringCarrier::new(&sockets)?)),
        };
        Ok(Self {
            queue: SendQueue::new(),
            messages: Messages::new(),
            delivery: Delivery::default(),
            sockets,
            carrier,
        })
    }

    /// Every datagram leaves as a message of its own from now on.
    pub fn forbid_segmentation(&mut self) {
        self.queue.forbid_segments();
    }
}

impl Sender for PortSender {
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
        let Self {
            queue,
            messages,
            delivery,
            sockets,
            carrier,
        } = self;
        for (index, socket) in (0..).zip(sockets.iter()) {
            messages.build(queue, index);
            match carrier {
                Carrier::Mmsg => mmsg::send(socket, messages, queue, delivery),
                Carrier::Uring(ring) => ring.send((index, socket), messages, queue, delivery),
            }
        }
        queue.clear();
        if delivery.lacks_segmentation() {
            queue.forbid_segments();
        }
    }

    fn take_statistics(&mut self) -> SendStatistics {
        mem::take(&mut self.delivery.statistics)
    }
}
