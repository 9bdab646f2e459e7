//! How a shard waits for descriptors inside glommio 0.9.0, which can wait for its own types only:
//! they are made from second descriptors of ours. Sockets are asked to peek, counters to read.
//!
//! A wait is armed once and then kept pending until it completes, over any number of turns: to
//! arm costs a system call and memory, to look at one that is pending costs neither.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use dataplane_core::time::Timestamp;
use glommio::io::BufferedFile;
use glommio::net::{UdpSocket, UnixStream};
use glommio::timer::Timer;

use crate::clock;
use crate::port::Wake;

/// All that a shard waits for. Must be made and used within its executor.
pub(crate) struct Readiness {
    sources: Vec<Source>,
    timer: Option<(Timestamp, Timer)>,
}

/// One descriptor that is waited for.
struct Source {
    /// Goes round for ever: waits for `armed`, waits for the descriptor, takes `armed` away.
    wait: Pin<Box<dyn Future<Output = ()>>>,
    armed: Rc<Cell<bool>>,
}

impl Readiness {
    /// Of the port and this bell; all descriptors must be blocking ones.
    pub(crate) fn new(port: Vec<Wake>, bell: OwnedFd) -> Self {
        let source = |wake| match wake {
            Wake::Socket(fd) => Source::media(fd),
            Wake::Counter(fd) => Source::counter(fd),
        };
        let mut sources: Vec<Source> = port.into_iter().map(source).collect();
        sources.push(Source::bell(bell));
        Self {
            sources,
            timer: None,
        }
    }

    /// Waits until a descriptor is readable or `deadline` has come.
    pub(crate) async fn wait(&mut self, deadline: Option<Timestamp>) {
        self.set_timer(deadline);
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut outcome = Poll::Pending;
        for source in &mut self.sources {
            if source.poll_ready(context) {
                outcome = Poll::Ready(());
            }
        }
        if let Some((_, timer)) = &mut self.timer
            && Pin::new(timer).poll(context).is_ready()
        {
            self.timer = None;
            outcome = Poll::Ready(());
        }
        outcome
    }

    /// Keeps the timer of the last wait if it is still right.
    fn set_timer(&mut self, deadline: Option<Timestamp>) {
        let Some(deadline) = deadline else {
            self.timer = None;
            return;
        };
        match &mut self.timer {
            Some((set, _)) if *set == deadline => {}
            Some((set, timer)) => {
                *set = deadline;
                timer.reset(deadline.since(clock::now()));
            }
            None => {
                let timer = Timer::new(deadline.since(clock::now()));
                self.timer = Some((deadline, timer));
            }
        }
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness")
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl Source {
    fn media(fd: OwnedFd) -> Self {
        // SAFETY: the descriptor is owned, open and a socket; glommio's type takes it over and
        // closes it.
        let socket = unsafe { UdpSocket::from_raw_fd(fd.into_raw_fd()) };
        Self::new(move |armed| async move {
            loop {
                disarmed(&armed).await;
                let peeked = socket.peek_from(&mut [0]).await;
                Self::disarm(&armed, peeked.is_ok()).await;
            }
        })
    }

    fn counter(fd: OwnedFd) -> Self {
        // SAFETY: as above; that it is no file on a disk matters to none of the calls below.
        let counter = unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) };
        Self::new(move |armed| async move {
            loop {
                disarmed(&armed).await;
                // Reading takes the count away: the wait after this one is for what comes later.
                let read = counter.read_at(0, COUNTER_BYTES).await;
                Self::disarm(&armed, read.is_ok()).await;
            }
        })
    }

    fn bell(fd: OwnedFd) -> Self {
        // SAFETY: as above.
        let bell = unsafe { UnixStream::from_raw_fd(fd.into_raw_fd()) };
        Self::new(move |armed| async move {
            loop {
                disarmed(&armed).await;
                let peeked = bell.peek(&mut [0]).await;
                Self::disarm(&armed, peeked.is_ok()).await;
            }
        })
    }

    fn new<F: Future<Output = ()> + 'static>(wait: impl FnOnce(Rc<Cell<bool>>) -> F) -> Self {
        let armed = Rc::new(Cell::new(false));
        Self {
            wait: Box::pin(wait(Rc::clone(&armed))),
            armed,
        }
    }

    /// Says that the descriptor is ready. A wait that failed is ready too, but only after a while, or
    /// one that always fails would keep the core busy.
    async fn disarm(armed: &Cell<bool>, peeked: bool) {
        if !peeked {
            Timer::new(PAUSE_AFTER_ERROR).await;
        }
        armed.set(false);
    }

    /// Arms the wait if it is not; true if it has completed.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        self.armed.set(true);
        // It goes round for ever, so it is never ready itself.
        let _ = self.wait.as_mut().poll(context);
        !self.armed.get()
    }
}

/// Waits until the source is armed; only ever polled right after that.
async fn disarmed(armed: &Cell<bool>) {
    poll_fn(|_| {
        if armed.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// What an event counter is read by (eventfd(2)).
const COUNTER_BYTES: usize = 8;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);
