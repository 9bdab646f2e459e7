//! Wakes a shard from another thread of this process, only when it sleeps.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use shared::channel::Doorbell;

/// Whether a shard sleeps, and the doorbell that wakes it.
///
/// The shard says [`Sleeper::prepare`], looks at all its queues once more, and only then waits.
/// Whoever fills a queue says [`Sleeper::wake`] afterwards. Of these two, at least one sees what
/// the other has done.
#[derive(Debug)]
pub(crate) struct Sleeper {
    asleep: AtomicBool,
    doorbell: Doorbell,
}

impl Sleeper {
    /// Of a shard that is awake.
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            doorbell,
        }
    }

    /// The shard's side: it is about to wait. Its queues must be looked at after this.
    pub(crate) fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The shard's side: it is awake, for whatever reason.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Everybody else's side, after a queue of the shard was filled.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.doorbell.ring();
        }
    }

    /// Rings whether the shard says that it sleeps or not.
    pub(crate) fn insist(&self) {
        self.doorbell.ring();
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use shared::channel::{Bell, pair};

    use super::*;

    fn rings(bell: &Bell) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_doorbell_rings_once_for_each_sleep_and_never_for_one_who_is_awake() {
        let (doorbell, bell) = pair().unwrap();
        let sleeper = Sleeper::new(doorbell);
        sleeper.wake();
        assert!(!rings(&bell));
        sleeper.prepare();
        sleeper.wake();
        assert!(rings(&bell));
        bell.drain().unwrap();
        sleeper.wake();
        assert!(!rings(&bell));
        sleeper.prepare();
        sleeper.awake();
        sleeper.wake();
        assert!(!rings(&bell));
    }
}
