//! A short wait in the kernel itself, between packets that follow each other closely.
//!
//! To park and wake the executor costs some twenty microseconds of CPU time (several system calls
//! on its three rings), as much as a dozen forwarded packets. While traffic flows, the next packet
//! is never far: then one `poll` on all that could wake the shard does the same for a tenth of it.
//! The executor is parked when nothing came for [`NAP_MAX`].

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::time::Duration;

use arrayvec::ArrayVec;
use dataplane_core::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ReadWriteFlags, preadv2};

use crate::clock;
use crate::config::MEDIA_ADDRESSES_MAX;
use crate::port::Wake;

/// When a shard may nap, and what wakes it.
#[derive(Debug)]
pub(crate) struct Nap {
    sources: ArrayVec<Wake, SOURCES_MAX>,
    /// Traffic was seen lately; what follows is expected until then.
    expected_until: Timestamp,
    /// Counts what came, to see whether something has.
    traffic: u64,
}

/// What ended a nap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A source is readable, or the time is up that the shard itself had set.
    ThereIsWork,
    /// Nothing came for so long that the executor had better be parked.
    Tired,
}

impl Nap {
    /// Wakes for the port and for this bell.
    pub(crate) fn new(port: Vec<Wake>, bell: OwnedFd) -> Self {
        let sources = port.into_iter().take(SOURCES_MAX - 1);
        Self {
            sources: sources.chain([Wake::Socket(bell)]).collect(),
            expected_until: Timestamp::default(),
            traffic: 0,
        }
    }

    /// Tells how much traffic there has been in all, at the end of a turn.
    pub(crate) fn note_traffic(&mut self, now: Timestamp, traffic: u64) {
        if self.traffic != traffic {
            self.traffic = traffic;
            self.expected_until = now + NAP_MAX;
        }
    }

    /// Waits for a source or for `deadline`, as long as traffic is expected.
    pub(crate) fn take(&self, deadline: Option<Timestamp>) -> Woken {
        let now = clock::now();
        if now >= self.expected_until {
            return Woken::Tired;
        }
        let end = deadline.map_or(self.expected_until, |at| at.min(self.expected_until));
        if self.poll(end.since(now)) || deadline.is_some_and(|at| at <= end) {
            Woken::ThereIsWork
        } else {
            Woken::Tired
        }
    }

    /// Whether a source became readable in time. An interrupted call says yes: the shard looks.
    fn poll(&self, longest: Duration) -> bool {
        let mut fds: ArrayVec<PollFd<'_>, SOURCES_MAX> = self
            .sources
            .iter()
            .map(|(Wake::Socket(fd) | Wake::Counter(fd))| PollFd::new(fd, PollFlags::IN))
            .collect();
        let longest = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let woken = !matches!(poll(&mut fds, Some(&longest)), Ok(0));
        for (source, fd) in self.sources.iter().zip(&fds) {
            if let Wake::Counter(counter) = source
                && fd.revents().contains(PollFlags::IN)
            {
                reset(counter);
            }
        }
        woken
    }
}

/// Sets an event counter to zero, never waiting: glommio, too, may be reading it.
fn reset(counter: &OwnedFd) {
    let mut count = [0; 8];
    let mut buffer = [IoSliceMut::new(&mut count)];
    // There is nothing to read if glommio was faster. No offset, since a counter has none.
    let _ = preadv2(counter, &mut buffer, u64::MAX, ReadWriteFlags::NOWAIT);
}

/// Traffic that comes at least this often keeps the shard from parking: audio comes every 20 ms.
/// Short against the patience of the watchdog.
const NAP_MAX: Duration = Duration::from_millis(25);

/// A socket for each media address, and the bell.
const SOURCES_MAX: usize = MEDIA_ADDRESSES_MAX + 1;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn nap() -> (Nap, UnixStream) {
        let (source, other) = UnixStream::pair().unwrap();
        (Nap::new(vec![], source.into()), other)
    }

    #[test]
    fn without_traffic_there_is_no_nap() {
        let (mut nap, _other) = nap();
        assert_eq!(nap.take(None), Woken::Tired);
        nap.note_traffic(clock::now(), 0);
        assert_eq!(nap.take(None), Woken::Tired, "none came");
    }

    #[test]
    fn a_nap_ends_when_a_source_is_readable() {
        let (mut nap, mut other) = nap();
        nap.note_traffic(clock::now() + Duration::from_secs(60), 1);
        other.write_all(&[1]).unwrap();
        assert_eq!(nap.take(None), Woken::ThereIsWork);
    }

    #[test]
    fn a_counter_that_ended_a_nap_does_not_end_the_next_one() {
        let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (bell, _other) = UnixStream::pair().unwrap();
        let ours = counter.try_clone().unwrap();
        let mut nap = Nap::new(vec![Wake::Counter(ours)], bell.into());
        rustix::io::write(&counter, &1_u64.to_ne_bytes()).unwrap();
        nap.note_traffic(clock::now(), 1);
        assert_eq!(nap.take(None), Woken::ThereIsWork);
        assert_eq!(nap.take(None), Woken::Tired);
        reset(&counter);
    }

    #[test]
    fn a_nap_ends_at_the_deadline_of_the_shard() {
        let (mut nap, _other) = nap();
        nap.note_traffic(clock::now() + Duration::from_secs(60), 1);
        let deadline = clock::now() + Duration::from_millis(5);
        assert_eq!(nap.take(Some(deadline)), Woken::ThereIsWork);
        assert!(clock::now() >= deadline);
    }

    #[test]
    fn when_nothing_follows_the_shard_is_tired() {
        let (mut nap, _other) = nap();
        nap.note_traffic(clock::now(), 1);
        assert_eq!(nap.take(None), Woken::Tired);
    }
}
