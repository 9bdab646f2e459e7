//! What becomes of messages: they are counted, and what a refusal means is decided here.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::SendStatistics;
use super::address::RawAddress;
use super::queue::{Run, SendQueue};

/// The fate of what was sent, and what is known of the kernel's segmentation offload.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) statistics: SendStatistics,
    segmentation: Segmentation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Segmentation {
    /// Not tried yet.
    #[default]
    Unproven,
    /// A message of several segments went out.
    Works,
    /// The very first one was refused, though its datagrams were not: not tried again.
    Missing,
}

impl Delivery {
    /// The kernel took the run.
    pub(super) fn sent(&mut self, run: &Run) {
        self.count(run.count, u64::from(run.bytes));
        if run.count > 1 {
            self.segmentation = Segmentation::Works;
        }
    }

    /// The kernel refused the run with `error`. It is counted as dropped, unless the cause may be
    /// that it has several segments: then they are sent one by one.
    pub(super) fn failed(&mut self, fd: RawFd, queue: &SendQueue, run: &Run, error: i32) {
        let is_segmented = run.count > 1;
        match error {
            // EINVAL: no such offload. EIO: not on this route. EMSGSIZE: the last one may fit.
            libc::EINVAL | libc::EIO | libc::EMSGSIZE if is_segmented => {
                let sent = self.send_singly(fd, queue, run);
                if sent && error != libc::EMSGSIZE && self.segmentation == Segmentation::Unproven {
                    self.segmentation = Segmentation::Missing;
                    tracing::warn!(
                        "this system refuses UDP segmentation offload; datagrams are sent one by one"
                    );
                }
            }
            _ => self.dropped(run.count, error),
        }
    }

    /// Whether runs must not be made at all.
    pub(super) fn lacks_segmentation(&self) -> bool {
        self.segmentation == Segmentation::Missing
    }

    /// Sends the datagrams of a refused run; true if any was taken. If none was, the cause is not
    /// the segmentation but the destination.
    fn send_singly(&mut self, fd: RawFd, queue: &SendQueue, run: &Run) -> bool {
        let mut any = false;
        for datagram in queue.datagrams(run) {
            match send_one(fd, run.path.remote, datagram) {
                Ok(()) => {
                    any = true;
                    self.count(1, u64::try_from(datagram.len()).unwrap_or_default());
                }
                Err(error) => self.dropped(1, error),
            }
        }
        any
    }

    fn count(&mut self, datagrams: u16, bytes: u64) {
        let statistics = &mut self.statistics;
        statistics.datagrams += u64::from(datagrams);
        statistics.bytes += bytes;
        let place = usize::from(datagrams).wrapping_sub(1);
        if let Some(messages) = statistics.messages.get_mut(place) {
            *messages += 1;
        }
    }

    fn dropped(&mut self, datagrams: u16, error: i32) {
        let dropped = match error {
            libc::EAGAIN | libc::ENOBUFS => &mut self.statistics.buffer_full,
            _ => &mut self.statistics.refused,
        };
        *dropped += u64::from(datagrams);
    }
}

fn send_one(fd: RawFd, remote: SocketAddr, datagram: &[u8]) -> Result<(), i32> {
    let mut name = RawAddress::EMPTY;
    let name_length = name.set(remote);
    loop {
        // SAFETY: both pointers come with the lengths of live memory that the kernel only reads
        // during the call.
        let result = unsafe {
            libc::sendto(
                fd,
                datagram.as_ptr().cast(),
                datagram.len(),
                libc::MSG_DONTWAIT,
                (&raw const name).cast(),
                name_length,
            )
        };
        if result >= 0 {
            return Ok(());
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            error => return Err(error.unwrap_or(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use dataplane_core::Path;

    use super::*;

    /// Three datagrams for `remote`, as one run.
    fn run_to(remote: SocketAddr) -> SendQueue {
        let mut queue = SendQueue::new();
        for content in 1..=3 {
            if let Some([first, second, ..]) = queue.space() {
                (*first, *second) = (content, 0);
            }
            queue.push(Path { socket: 0, remote }, 2);
        }
        assert_eq!(queue.runs().len(), 1);
        queue
    }

    fn sockets() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (ours, peer) = (bind(), bind());
        peer.set_nonblocking(true).unwrap();
        (ours, peer)
    }

    #[test]
    fn a_refused_first_run_is_sent_singly_and_gives_segmentation_up() {
        for error in [libc::EINVAL, libc::EIO] {
            let (ours, peer) = sockets();
            let queue = run_to(peer.local_addr().unwrap());
            let mut delivery = Delivery::default();
            delivery.failed(ours.as_raw_fd(), &queue, &queue.runs()[0], error);
            assert!(delivery.lacks_segmentation());
            assert_eq!(delivery.statistics.messages[0], 3);
            for content in 1..=3 {
                let mut bytes = [0; 9];
                assert_eq!(peer.recv(&mut bytes).unwrap(), 2);
                assert_eq!(bytes[0], content);
            }
        }
    }

    #[test]
    fn a_run_that_is_too_large_for_the_way_is_sent_singly_and_proves_nothing() {
        let (ours, peer) = sockets();
        let queue = run_to(peer.local_addr().unwrap());
        let mut delivery = Delivery::default();
        delivery.failed(ours.as_raw_fd(), &queue, &queue.runs()[0], libc::EMSGSIZE);
        assert!(!delivery.lacks_segmentation());
        assert_eq!(delivery.statistics.datagrams, 3);
    }

    #[test]
    fn a_refused_run_after_one_that_worked_gives_nothing_up() {
        let (ours, peer) = sockets();
        let queue = run_to(peer.local_addr().unwrap());
        let mut delivery = Delivery::default();
        delivery.sent(&queue.runs()[0]);
        delivery.failed(ours.as_raw_fd(), &queue, &queue.runs()[0], libc::EIO);
        assert!(!delivery.lacks_segmentation());
        assert_eq!(delivery.statistics.datagrams, 6);
    }

    #[test]
    fn a_destination_that_takes_nothing_does_not_give_segmentation_up() {
        let (ours, _) = sockets();
        // No datagram can be sent to port 0: EINVAL, as for a missing offload.
        let queue = run_to("127.0.0.1:0".parse().unwrap());
        let mut delivery = Delivery::default();
        delivery.failed(ours.as_raw_fd(), &queue, &queue.runs()[0], libc::EINVAL);
        assert!(!delivery.lacks_segmentation());
        assert_eq!(delivery.statistics.refused, 3);
    }

    // Loopback never fills a send buffer and reaches everything, so the rules are looked at by
    // themselves.
    #[test]
    fn a_full_buffer_is_told_from_a_refusal_and_neither_is_tried_again() {
        let (ours, peer) = sockets();
        let queue = run_to(peer.local_addr().unwrap());
        let drops = |error| {
            let mut delivery = Delivery::default();
            delivery.failed(ours.as_raw_fd(), &queue, &queue.runs()[0], error);
            let statistics = delivery.statistics;
            assert_eq!(statistics.datagrams, 0);
            (statistics.buffer_full, statistics.refused)
        };
        for error in [libc::EAGAIN, libc::ENOBUFS] {
            assert_eq!(drops(error), (3, 0));
        }
        for error in [
            libc::EPERM,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ECONNREFUSED,
        ] {
            assert_eq!(drops(error), (0, 3));
        }
    }
}
