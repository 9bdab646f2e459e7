//! What the pool says to the shards: the queue, and the checks that stand before it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use crossbeam::queue::ArrayQueue;
use dataplane_core::handshake::{HandshakeId, HandshakeOutput};
use dataplane_core::srtp::{SessionKeys, SrtpProfile};
use shared::protocol::{DtlsRole, Fingerprint, HashAlgorithm};
use subtle::{Choice, ConstantTimeEq};

use crate::sleeper::Sleeper;

/// What the pool has answered to one shard.
#[derive(Debug)]
pub(crate) struct AnswerQueue {
    queue: ArrayQueue<(HandshakeId, HandshakeOutput)>,
    /// Outcomes that found no place. Each association has at most two of them.
    waiting: Mutex<VecDeque<(HandshakeId, HandshakeOutput)>>,
    sleeper: Arc<Sleeper>,
}

impl AnswerQueue {
    /// An empty queue for the shard that `sleeper` wakes.
    pub(crate) fn new(sleeper: Arc<Sleeper>) -> Self {
        Self {
            queue: ArrayQueue::new(ANSWERS_MAX),
            waiting: Mutex::default(),
            sleeper,
        }
    }

    /// Takes the oldest answer.
    pub(crate) fn pop(&self) -> Option<(HandshakeId, HandshakeOutput)> {
        self.queue.pop()
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts in a datagram, which may be lost: the peer or the engine repeats it.
    fn push_datagram(&self, id: HandshakeId, datagram: HandshakeOutput) {
        if self.queue.len() < DATAGRAMS_MAX {
            // The race for the last place is lost by the datagram, as it should be.
            drop(self.queue.push((id, datagram)));
        }
        self.sleeper.wake();
    }

    /// Puts in an outcome, which is never lost.
    fn push_outcome(&self, id: HandshakeId, outcome: HandshakeOutput) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back((id, outcome));
        self.retry();
    }

    /// Moves what waits into the queue as far as there are places. True: something still waits.
    pub(crate) fn retry(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(outcome) = waiting.pop_front() {
            if let Err(outcome) = self.queue.push(outcome) {
                waiting.push_front(outcome);
                break;
            }
        }
        self.sleeper.wake();
        !waiting.is_empty()
    }
}

/// One association's way to its shard. Sees to it that there are no keys before the peer's
/// certificate was found to be the right one, and no more than one outcome of each kind.
#[derive(Clone)]
pub(crate) struct Answers {
    id: HandshakeId,
    role: DtlsRole,
    fingerprints: Arc<[Fingerprint]>,
    queue: Arc<AnswerQueue>,
    state: Arc<AtomicU8>,
}

impl Answers {
    /// For an association that begins.
    pub(crate) fn new(
        id: HandshakeId,
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
        queue: Arc<AnswerQueue>,
    ) -> Self {
        let state = Arc::new(AtomicU8::new(HANDSHAKING));
        Self {
            id,
            role,
            fingerprints: fingerprints.into(),
            queue,
            state,
        }
    }

    /// Our part in the handshake.
    pub(crate) fn role(&self) -> DtlsRole {
        self.role
    }

    /// A datagram for the peer. One that is too long cannot be sent and is dropped; no engine
    /// makes one, since its MTU is set below.
    pub(crate) fn datagram(&self, bytes: &[u8]) {
        if let Ok(datagram) = bytes.try_into() {
            self.queue
                .push_datagram(self.id, HandshakeOutput::Datagram(datagram));
        }
    }

    /// Whether the peer's certificate (DER) is the one that was announced (RFC 8122 §5). Says
    /// [`Answers::failed`] if it is not.
    pub(crate) fn accepts(&self, certificate: &[u8]) -> bool {
        let matches = matches_any(&self.fingerprints, certificate);
        if !matches {
            self.failed();
        }
        matches
    }

    /// The handshake is done and the certificate was accepted; `material` is what the exporter
    /// gave (RFC 5764 §4.2). Anything but the length that the profile needs is a failure.
    pub(crate) fn established(&self, profile: SrtpProfile, material: &[u8]) {
        match SessionKeys::from_exporter(profile, self.role, material) {
            Some(keys) if self.advance(HANDSHAKING, ESTABLISHED) => {
                let keys = HandshakeOutput::Established(Box::new(keys));
                self.queue.push_outcome(self.id, keys);
            }
            Some(_) => {}
            None => self.failed(),
        }
    }

    /// The handshake failed.
    pub(crate) fn failed(&self) {
        if self.advance(HANDSHAKING, OVER) {
            self.queue.push_outcome(self.id, HandshakeOutput::Failed);
        }
    }

    /// The peer ended an association that was established.
    pub(crate) fn closed(&self) {
        if self.advance(ESTABLISHED, OVER) {
            self.queue.push_outcome(self.id, HandshakeOutput::Closed);
        }
    }

    /// The peer or an error ended the association, whatever its state was.
    pub(crate) fn ended(&self) {
        self.failed();
        self.closed();
    }

    /// We ended the association: nothing is said any more.
    pub(crate) fn silence(&self) {
        self.state.store(OVER, Ordering::Release);
    }

    /// Whether the handshake still goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.state.load(Ordering::Acquire) == HANDSHAKING
    }

    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) == OVER
    }

    fn advance(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish()
    }
}

/// Compares with every fingerprint, each with the same work whatever its content.
fn matches_any(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    let mut any = Choice::from(0);
    for fingerprint in fingerprints {
        let algorithm = match fingerprint.algorithm {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        };
        let found = digest::digest(algorithm, certificate);
        any |= found.as_ref().ct_eq(&fingerprint.digest);
    }
    any.into()
}

/// The SHA-256 fingerprint of a certificate in DER.
pub(crate) fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, certificate)
        .as_ref()
        .to_vec();
    Fingerprint {
        algorithm: HashAlgorithm::Sha256,
        digest,
    }
}

const HANDSHAKING: u8 = 0;
const ESTABLISHED: u8 = 1;
const OVER: u8 = 2;

/// Answers that wait for one shard: 1.5 MiB.
const ANSWERS_MAX: usize = 1024;
/// Of these, datagrams: the rest is kept for outcomes.
const DATAGRAMS_MAX: usize = 768;

#[cfg(test)]
mod tests {
    use shared::channel::pair;

    use super::*;

    fn queue() -> Arc<AnswerQueue> {
        let (doorbell, _bell) = pair().unwrap();
        Arc::new(AnswerQueue::new(Arc::new(Sleeper::new(doorbell))))
    }

    fn answers(queue: &Arc<AnswerQueue>, fingerprints: Vec<Fingerprint>) -> Answers {
        Answers::new(
            HandshakeId(1),
            DtlsRole::Server,
            fingerprints,
            Arc::clone(queue),
        )
    }

    #[test]
    fn any_of_the_announced_fingerprints_will_do() {
        let queue = queue();
        let digest = digest::digest(&digest::SHA512, b"certificate")
            .as_ref()
            .to_vec();
        let wrong = fingerprint(b"another");
        let right = Fingerprint {
            algorithm: HashAlgorithm::Sha512,
            digest,
        };
        assert!(answers(&queue, vec![wrong.clone(), right.clone()]).accepts(b"certificate"));
        assert!(answers(&queue, vec![right, wrong]).accepts(b"certificate"));
        assert!(queue.is_empty());
    }

    #[test]
    fn without_a_matching_fingerprint_the_handshake_fails_and_gives_no_keys() {
        for fingerprints in [vec![], vec![fingerprint(b"another")]] {
            let queue = queue();
            let answers = answers(&queue, fingerprints);
            assert!(!answers.accepts(b"certificate"));
            answers.established(SrtpProfile::AeadAes128Gcm, &[0; 56]);
            assert!(matches!(
                queue.pop(),
                Some((HandshakeId(1), HandshakeOutput::Failed))
            ));
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_truncated_digest_matches_nothing() {
        let mut short = fingerprint(b"certificate");
        short.digest.truncate(16);
        assert!(!matches_any(&[short], b"certificate"));
        let empty = Fingerprint {
            algorithm: HashAlgorithm::Sha256,
            digest: vec![],
        };
        assert!(!matches_any(&[empty], b"certificate"));
    }

    #[test]
    fn an_outcome_gets_past_a_queue_full_of_datagrams() {
        let queue = queue();
        let answers = answers(&queue, vec![]);
        for _ in 0..2 * ANSWERS_MAX {
            answers.datagram(b"x");
        }
        answers.established(SrtpProfile::AeadAes128Gcm, &[0; 56]);
        let mut last = None;
        let mut count = 0;
        while let Some((_, answer)) = queue.pop() {
            last = Some(answer);
            count += 1;
        }
        assert_eq!(count, DATAGRAMS_MAX + 1);
        assert!(matches!(last, Some(HandshakeOutput::Established(_))));
    }

    #[test]
    fn outcomes_beyond_the_queue_wait_until_there_is_room() {
        let queue = queue();
        for _ in 0..ANSWERS_MAX + 10 {
            answers(&queue, vec![]).failed();
        }
        assert!(queue.retry(), "ten still wait");
        let mut count = 0;
        while queue.pop().is_some() {
            count += 1;
        }
        assert!(!queue.retry());
        while queue.pop().is_some() {
            count += 1;
        }
        assert_eq!(count, ANSWERS_MAX + 10);
    }
}
