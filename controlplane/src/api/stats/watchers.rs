//! How many streams of statistics are open: each costs the data plane an answer for each event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::id::SessionId;

use crate::api::error::{ApiError, ErrorKind};

/// The open streams of each session.
#[derive(Clone, Debug, Default)]
pub struct Watchers {
    open: Arc<Mutex<BTreeMap<SessionId, usize>>>,
}

/// One open stream; dropped when it ends.
#[derive(Debug)]
pub(super) struct Seat {
    watchers: Watchers,
    session: SessionId,
}

impl Watchers {
    /// Takes a stream in.
    ///
    /// # Errors
    /// As many are open as may be, of this session or of all.
    pub(super) fn admit(&self, session: SessionId) -> Result<Seat, ApiError> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= WATCHERS_MAX {
            return Err(ApiError::new(
                ErrorKind::Capacity,
                format!("{WATCHERS_MAX} streams of statistics are open"),
            ));
        }
        let count = open.entry(session).or_default();
        if *count >= WATCHERS_PER_SESSION_MAX {
            return Err(ApiError::new(
                ErrorKind::TooManyRequests,
                format!(
                    "{WATCHERS_PER_SESSION_MAX} streams of statistics of this session are open"
                ),
            ));
        }
        *count += 1;
        Ok(Seat {
            watchers: self.clone(),
            session,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.watchers.lock();
        if let Some(count) = open.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.session);
            }
        }
    }
}

/// Streams of one session.
pub(super) const WATCHERS_PER_SESSION_MAX: usize = 8;
/// Streams of all sessions.
const WATCHERS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::session_id;

    #[test]
    fn a_session_has_so_many_streams_and_no_more() {
        let watchers = Watchers::default();
        let id = session_id(0, 1);
        let mut seats: Vec<Seat> = (0..WATCHERS_PER_SESSION_MAX)
            .map(|_| watchers.admit(id).unwrap())
            .collect();
        let refused = watchers.admit(id).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::TooManyRequests);
        assert!(watchers.admit(session_id(0, 2)).is_ok());
        seats.pop();
        assert!(watchers.admit(id).is_ok());
    }

    #[test]
    fn all_sessions_together_have_so_many_streams_and_no_more() {
        let watchers = Watchers::default();
        let mut seats: Vec<Seat> = (0..)
            .map(|number| watchers.admit(session_id(0, number)).unwrap())
            .take(WATCHERS_MAX)
            .collect();
        let refused = watchers.admit(session_id(1, 0)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Capacity);
        seats.pop();
        assert!(watchers.admit(session_id(1, 0)).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_streams_that_have_ended() {
        let watchers = Watchers::default();
        drop(watchers.admit(session_id(0, 1)));
        assert!(watchers.lock().is_empty());
    }
}
