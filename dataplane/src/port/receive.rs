//! Takes datagrams in, by one backend or the other.

use std::io;
use std::rc::Rc;

use super::{Arrival, Backend, MediaSocket, MmsgReceiver, Received, Receiver, UringReceiver, Wake};

/// Receives by the chosen backend.
#[derive(Debug)]
pub enum PortReceiver {
    /// By `recvmmsg`.
    Mmsg(MmsgReceiver),
    /// By `io_uring`.
    Uring(UringReceiver),
}

impl PortReceiver {
    /// Takes all memory that it will need. For use by the calling thread only.
    ///
    /// # Errors
    /// The system does not offer the backend, or has no memory or descriptors for it.
    pub fn new(sockets: Rc<[MediaSocket]>, backend: Backend) -> io::Result<Self> {
        Ok(match backend {
            Backend::Mmsg => Self::Mmsg(MmsgReceiver::new(sockets)),
            Backend::Uring => Self::Uring(UringReceiver::new(&sockets)?),
        })
    }

    /// What to wait for until there is something to receive.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn wakes(&self) -> io::Result<Vec<Wake>> {
        match self {
            Self::Mmsg(receiver) => receiver.wakes(),
            Self::Uring(receiver) => Ok(vec![receiver.wake()?]),
        }
    }
}

impl Receiver for PortReceiver {
    fn receive(&mut self, deliver: impl FnMut(Arrival, &mut [u8])) -> Received {
        match self {
            Self::Mmsg(receiver) => receiver.receive(deliver),
            Self::Uring(receiver) => receiver.receive(deliver),
        }
    }
}
