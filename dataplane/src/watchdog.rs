//! The heartbeat of each shard and the thread that looks after it.
//!
//! glommio 0.9.0 can park an executor for ever though its tasks are runnable: if the preemption
//! timer has run out before the first task of a round could run (the thread was off its core for
//! that long), the round counts as idle, and nothing wakes the executor but a timer or an event
//! that is still armed. Two things guard against it. Within the executor a task keeps a short
//! timer armed, apart from all that the shard waits for. Outside of it this thread wakes an
//! executor whose heart has not beaten for a while.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dataplane_core::time::Timestamp;
use glommio::timer::Timer;

use crate::clock;

/// Whether a shard is alive, and how to wake it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When the heart beat last; 0: not yet, or not any more.
    beat: AtomicU64,
    /// Of a task that does nothing: to wake it makes the executor run. glommio carries the wake of
    /// another thread by an eventfd of its own.
    waker: Mutex<Option<Waker>>,
    /// The kernel's number of the shard's thread.
    thread: AtomicI32,
    stalls: AtomicU64,
}

impl Pulse {
    /// The heart beats.
    pub(crate) fn beat(&self, now: Timestamp) {
        self.beat.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Stalls since the last call.
    pub(crate) fn take_stalls(&self) -> u64 {
        // Looked at first: a load is cheaper than the swap, and a stall is rare.
        if self.stalls.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.stalls.swap(0, Ordering::Relaxed)
    }

    /// Keeps the heart beating while the executor lives, whatever the shard does. Spawns two tasks
    /// on the executor that calls it.
    pub(crate) fn attend(self: &Arc<Self>) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.thread.store(thread, Ordering::Relaxed);
        let pulse = Arc::clone(self);
        glommio::spawn_local(async move {
            loop {
                pulse.beat(clock::now());
                Timer::new(HEARTBEAT).await;
            }
        })
        .detach();
        let pulse = Arc::clone(self);
        glommio::spawn_local(poll_fn(move |context| {
            let mut waker = pulse.waker.lock().unwrap_or_else(PoisonError::into_inner);
            *waker = Some(context.waker().clone());
            Poll::<()>::Pending
        }))
        .detach();
    }

    /// The executor is about to end: it is not to be woken any more.
    pub(crate) fn rest(&self) {
        self.beat.store(0, Ordering::Relaxed);
        drop(
            self.waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }

    /// Interrupts whatever system call the thread waits in.
    fn interrupt(&self) {
        let thread = self.thread.load(Ordering::Relaxed);
        let process = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: the call takes three plain numbers. The thread belongs to this process, and the
        // signal has a handler that does nothing, installed before any thread was started.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGNAL) };
    }
}

/// The thread that watches all shards.
#[derive(Debug)]
pub(crate) struct Watchdog {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Watchdog {
    /// Watches from now on.
    ///
    /// # Errors
    /// The thread or the signal cannot be had.
    pub(crate) fn start(pulses: Vec<Arc<Pulse>>) -> io::Result<Self> {
        // The flag is never read: there must only be a handler, for the signal to interrupt.
        signal_hook::flag::register(SIGNAL, Arc::default())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut patients: Vec<Patient> = pulses.into_iter().map(Patient::new).collect();
            while !stopped.load(Ordering::Relaxed) {
                let now = clock::now();
                for patient in &mut patients {
                    patient.look(now);
                }
                std::thread::park_timeout(ROUND);
            }
        })?;
        Ok(Self { thread, stop })
    }

    /// Ends the watch.
    pub(crate) fn join(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the watchdog panicked");
        }
    }
}

/// A pulse and what was done about it.
#[derive(Debug)]
struct Patient {
    pulse: Arc<Pulse>,
    /// The beat that was the last one when the stall was counted.
    stalled_at: Option<u64>,
    signalled: Option<Timestamp>,
}

impl Patient {
    fn new(pulse: Arc<Pulse>) -> Self {
        Self {
            pulse,
            stalled_at: None,
            signalled: None,
        }
    }

    fn look(&mut self, now: Timestamp) {
        let beat = self.pulse.beat.load(Ordering::Relaxed);
        let silence = now.since(Timestamp::from_nanos(beat));
        if beat == 0 || silence < STALE {
            self.stalled_at = None;
            return;
        }
        if self.stalled_at != Some(beat) {
            self.stalled_at = Some(beat);
            self.signalled = None;
            self.pulse.stalls.fetch_add(1, Ordering::Relaxed);
        }
        self.pulse.wake();
        let last_resort = silence >= DESPERATE
            && self
                .signalled
                .is_none_or(|signalled| now.since(signalled) >= DESPERATE);
        if last_resort {
            self.signalled = Some(now);
            self.pulse.interrupt();
        }
    }
}

/// How often a heart beats that has nothing else to do.
const HEARTBEAT: Duration = Duration::from_millis(10);
/// How often the watchdog looks.
const ROUND: Duration = Duration::from_millis(25);
/// From when on a silent heart counts as stalled.
const STALE: Duration = Duration::from_millis(100);
/// From when on a signal is sent as well.
const DESPERATE: Duration = Duration::from_millis(300);
/// Ignored by default, so a stray one does no harm.
const SIGNAL: i32 = libc::SIGURG;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stale_heart_is_woken_and_counted_once_for_each_stall() {
        let count = Arc::new(Count::default());
        let pulse = Arc::new(Pulse::default());
        *pulse.waker.lock().unwrap() = Some(Arc::clone(&count).into());
        let mut patient = Patient::new(Arc::clone(&pulse));
        let at = Timestamp::from_millis;
        patient.look(at(5_000));
        pulse.beat(at(1_000));
        patient.look(at(1_050));
        assert_eq!(
            (count.0.load(Ordering::Relaxed), pulse.take_stalls()),
            (0, 0)
        );
        patient.look(at(1_101));
        patient.look(at(1_126));
        assert_eq!(
            (count.0.load(Ordering::Relaxed), pulse.take_stalls()),
            (2, 1)
        );
        pulse.beat(at(1_130));
        patient.look(at(1_140));
        patient.look(at(1_290));
        assert_eq!(
            (count.0.load(Ordering::Relaxed), pulse.take_stalls()),
            (3, 1)
        );
    }
}
