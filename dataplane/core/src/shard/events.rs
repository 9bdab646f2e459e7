//! What the control plane is to be told. The queue holds names, each at most once; how things
//! stand is read when an event is taken, so that a slow reader misses steps but never the outcome.

use std::collections::VecDeque;

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;
use shared::id::SessionId;
use shared::protocol::{EndReason, Event};

use super::sessions::{SessionKey, Sessions};
use super::tracks::{PublicationKey, Tracks};

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Subject>,
    queued: HashSet<Subject, FxBuildHasher>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Session(SessionKey),
    Publication(PublicationKey),
    Ended(SessionId, EndReason),
}

impl Events {
    /// Something about this session's transport changed.
    pub(crate) fn session(&mut self, key: SessionKey) {
        self.push(Subject::Session(key));
    }

    /// This publication began or ceased to get packets.
    pub(crate) fn publication(&mut self, key: PublicationKey) {
        self.push(Subject::Publication(key));
    }

    /// This session ended by itself.
    pub(crate) fn ended(&mut self, id: SessionId, reason: EndReason) {
        self.push(Subject::Ended(id, reason));
    }

    /// The next event about something that still exists.
    pub(crate) fn poll(&mut self, sessions: &Sessions, tracks: &Tracks) -> Option<Event> {
        while let Some(subject) = self.queue.pop_front() {
            self.queued.remove(&subject);
            let event = match subject {
                Subject::Session(key) => sessions.get(key).map(|session| Event::SessionChanged {
                    session: session.id,
                    state: session.transport.state(),
                }),
                Subject::Publication(key) => tracks.get(key).map(|track| {
                    let publication = track.publication.id();
                    Event::PublicationChanged {
                        publication,
                        receiving: track.receiving,
                    }
                }),
                Subject::Ended(session, reason) => Some(Event::SessionEnded { session, reason }),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn push(&mut self, subject: Subject) {
        if self.queued.insert(subject) {
            self.queue.push_back(subject);
        }
    }
}
