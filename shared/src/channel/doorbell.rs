//! Wakes the other side: one byte on a unix stream socket.
//!
//! A socket, not an eventfd, because glommio can wait on sockets. Its bytes mean nothing but "look
//! at your rings"; how many there are means nothing either.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

/// The end that rings.
#[derive(Debug)]
pub struct Doorbell(OwnedFd);

/// The end that is rung.
///
/// Wait until its descriptor is readable (or peek at it), then [`Bell::drain`] it. The descriptor
/// is not `O_NONBLOCK`, since `io_uring` would then answer `EAGAIN` where it is to wait; `ring`
/// and `drain` say `MSG_DONTWAIT` themselves.
#[derive(Debug)]
pub struct Bell(OwnedFd);

/// Whether anybody can still ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BellState {
    /// Yes.
    Open,
    /// No: every [`Doorbell`] is gone (the other process has ended). The descriptor stays readable
    /// from now on, so stop waiting for it.
    Closed,
}

/// What one side holds of the pair of bells of one shard.
#[derive(Debug)]
pub struct Link {
    /// Wakes the other side.
    pub doorbell: Doorbell,
    /// Wakes this side.
    pub bell: Bell,
}

/// Makes a doorbell and its bell.
pub fn pair() -> io::Result<(Doorbell, Bell)> {
    let (ringing, rung) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Doorbell(ringing), Bell(rung)))
}

/// Makes the bells of one shard, one each way: two links that face each other.
pub fn links() -> io::Result<(Link, Link)> {
    let (to_second, second_bell) = pair()?;
    let (to_first, first_bell) = pair()?;
    let first = Link {
        doorbell: to_second,
        bell: first_bell,
    };
    let second = Link {
        doorbell: to_first,
        bell: second_bell,
    };
    Ok((first, second))
}

impl Doorbell {
    /// Rings. Never blocks. A full socket means that it has been rung and not been heard yet, and
    /// a closed one that nobody is there; who has to know the latter watches the connection of
    /// [`super::receive_welcome`].
    pub fn ring(&self) {
        loop {
            match send(&self.0, &[RING], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Another end that rings the same bell, for another thread or process.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Bell {
    /// Takes away what has been rung so far, without waiting.
    pub fn drain(&self) -> io::Result<BellState> {
        let mut bytes = [0_u8; 64];
        loop {
            match recv(&self.0, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(BellState::Closed),
                // All that there was has gone, unless the buffer was full.
                Ok((length, _)) if length < bytes.len() => return Ok(BellState::Open),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(BellState::Open),
                Err(rustix::io::Errno::CONNRESET) => return Ok(BellState::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same bell again, for another owner. What one drains the other does not see.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Link {
    /// The same link again, say for the next control plane.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            doorbell: self.doorbell.try_clone()?,
            bell: self.bell.try_clone()?,
        })
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Bell {
    /// For waiting on it only; see [`Bell`].
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Doorbell {
    /// A doorbell that came from another process.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<OwnedFd> for Bell {
    /// A bell that came from another process.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// The byte is of no meaning.
const RING: u8 = 1;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Whether the bell is readable now.
    fn rings(bell: &Bell) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).expect("poll") == 1
    }

    #[test]
    fn a_rung_bell_is_readable_until_it_is_drained() {
        let (doorbell, bell) = pair().expect("a pair");
        assert!(!rings(&bell));
        doorbell.ring();
        assert!(rings(&bell));
        assert_eq!(bell.drain().expect("drained"), BellState::Open);
        assert!(!rings(&bell));
    }

    #[test]
    fn ringing_never_blocks_and_one_drain_takes_all() {
        let (doorbell, bell) = pair().expect("a pair");
        // Far more than the socket's buffer takes: a byte costs the kernel hundreds.
        for _ in 0..100_000 {
            doorbell.ring();
        }
        assert_eq!(bell.drain().expect("drained"), BellState::Open);
        assert!(!rings(&bell));
        doorbell.ring();
        assert!(rings(&bell));
    }

    #[test]
    fn draining_a_silent_bell_does_not_wait() {
        let (_doorbell, bell) = pair().expect("a pair");
        assert_eq!(bell.drain().expect("drained"), BellState::Open);
    }

    #[test]
    fn a_bell_whose_doorbells_are_gone_says_so() {
        let (doorbell, bell) = pair().expect("a pair");
        let second = doorbell.try_clone().expect("a clone");
        drop(doorbell);
        second.ring();
        assert_eq!(bell.drain().expect("drained"), BellState::Open);
        drop(second);
        assert_eq!(bell.drain().expect("drained"), BellState::Closed);
    }

    #[test]
    fn ringing_where_nobody_listens_is_harmless() {
        let (doorbell, bell) = pair().expect("a pair");
        drop(bell);
        doorbell.ring();
    }

    #[test]
    fn links_face_each_other() {
        let (first, second) = links().expect("links");
        first.doorbell.ring();
        assert!(rings(&second.bell) && !rings(&first.bell));
        second.bell.drain().expect("drained");
        second.doorbell.ring();
        assert!(rings(&first.bell) && !rings(&second.bell));
    }
}
