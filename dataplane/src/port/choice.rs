//! Which backend moves the datagrams of this machine.

use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use dataplane_core::Path;
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;
use rustix::time::{ClockId, clock_gettime};

use super::{MediaSocket, PortReceiver, PortSender, Receiver, SEGMENTS_MAX, Sender};
use crate::config::{ConfigError, IoBackend};

/// How datagrams get to the kernel and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// By `recvmmsg` and `sendmmsg`.
    Mmsg,
    /// By `io_uring`.
    Uring,
}

impl Backend {
    /// The backend that was asked for; with [`IoBackend::Auto`] the one that takes less CPU time
    /// in a short trial, which is logged. A backend must be better by a tenth to be preferred to
    /// `mmsg`, so that chance does not decide.
    ///
    /// # Errors
    /// `io_uring` was asked for, and the system does not offer it.
    pub fn choose(wanted: IoBackend) -> Result<Self, ConfigError> {
        match wanted {
            IoBackend::Mmsg => Ok(Self::Mmsg),
            IoBackend::Uring => match Trial::new(Self::Uring) {
                Ok(_) => Ok(Self::Uring),
                Err(error) => Err(ConfigError::NoUring {
                    reason: reason(&error),
                }),
            },
            IoBackend::Auto => Ok(Self::best()),
        }
    }

    fn best() -> Self {
        let trials = Trial::new(Self::Mmsg).and_then(|mmsg| Ok((mmsg, Trial::new(Self::Uring)?)));
        let (mut mmsg, mut uring) = match trials {
            Ok(trials) => trials,
            Err(error) => {
                let reason = reason(&error);
                tracing::info!(%reason, "datagrams are moved by recvmmsg and sendmmsg");
                return Self::Mmsg;
            }
        };
        // In turns, so that what else the machine does meets both alike.
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (mmsg.round(), uring.round())).collect();
        let (mmsg, uring): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let (mmsg_ns, uring_ns) = (median(mmsg), median(uring));
        let chosen = faster(mmsg_ns, uring_ns);
        tracing::info!(
            ?chosen,
            mmsg_ns,
            uring_ns,
            "CPU time to send and receive a datagram decides how they are moved"
        );
        chosen
    }
}

/// Both ends of a backend, over loopback.
struct Trial {
    sender: PortSender,
    receiver: PortReceiver,
    path: Path,
}

impl Trial {
    fn new(backend: Backend) -> io::Result<Self> {
        let socket = || MediaSocket::bind((Ipv4Addr::LOCALHOST, 0).into());
        let (from, to) = (socket()?, socket()?);
        let path = Path {
            socket: 0,
            remote: to.local_addr(),
        };
        Ok(Self {
            sender: PortSender::new(Rc::new([from]), backend)?,
            receiver: PortReceiver::new(Rc::new([to]), backend)?,
            path,
        })
    }

    /// Sends a few full runs and receives them: nanoseconds of CPU time for a datagram.
    fn round(&mut self) -> u64 {
        let before = cpu_time();
        for _ in 0..RUNS * SEGMENTS_MAX {
            self.sender.datagram(self.path, |space| {
                space.fill(0x5a);
                DATAGRAM_BYTES_MAX
            });
        }
        self.sender.flush();
        while self.receiver.receive(|_, _| ()).more {}
        let datagrams = u64::try_from(RUNS * SEGMENTS_MAX).unwrap_or(u64::MAX);
        cpu_time().saturating_sub(before) / datagrams
    }
}

fn faster(mmsg_ns: u64, uring_ns: u64) -> Backend {
    if uring_ns.saturating_mul(10) < mmsg_ns.saturating_mul(9) {
        Backend::Uring
    } else {
        Backend::Mmsg
    }
}

/// Why a ring could not be had, as a sentence for the operator.
fn reason(error: &io::Error) -> String {
    let known = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has none",
        Some(libc::EPERM | libc::EACCES) => {
            "it is forbidden here (sysctl kernel.io_uring_disabled, or a seccomp filter)"
        }
        Some(libc::EINVAL) => "this kernel's is too old, Linux 6.1 or later is needed",
        Some(libc::ENOMEM) => "too little memory may be locked (ulimit -l)",
        _ => "it could not be set up",
    };
    format!("io_uring cannot be used: {known} ({error})")
}

fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Nanoseconds of CPU time that the calling thread has taken.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Rounds of each backend: with the figures below a few milliseconds for both.
const ROUNDS: usize = 15;
/// Runs of one round; the receive buffer holds them even where the kernel grants little.
const RUNS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_difference_speaks_against_mmsg() {
        assert_eq!(faster(1000, 899), Backend::Uring);
        assert_eq!(faster(1000, 900), Backend::Mmsg);
        assert_eq!(faster(1000, 1000), Backend::Mmsg);
        assert_eq!(faster(0, 0), Backend::Mmsg);
    }

    #[test]
    fn what_is_asked_for_is_what_is_taken() {
        assert_eq!(Backend::choose(IoBackend::Mmsg), Ok(Backend::Mmsg));
        assert_eq!(Backend::choose(IoBackend::Uring), Ok(Backend::Uring));
    }

    #[test]
    fn a_trial_moves_all_that_it_counts() {
        for backend in [Backend::Mmsg, Backend::Uring] {
            let mut trial = Trial::new(backend).unwrap();
            let before = cpu_time();
            let figure = trial.round();
            let all = cpu_time() - before;
            assert!(figure > 0 && figure * 96 <= all, "{figure} of {all} ns");
            let sent = trial.sender.take_statistics();
            assert_eq!((sent.datagrams, sent.messages[15]), (96, 6));
        }
    }

    #[test]
    fn an_operator_is_told_why_there_is_no_ring() {
        for (error, word) in [
            (libc::ENOSYS, "has none"),
            (libc::EPERM, "forbidden"),
            (libc::EINVAL, "6.1"),
            (libc::ENOMEM, "ulimit -l"),
            (libc::EIO, "set up"),
        ] {
            let told = reason(&io::Error::from_raw_os_error(error));
            assert!(told.contains(word), "{told}");
        }
    }
}
