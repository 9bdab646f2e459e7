//! The threads of the pool and what they are handed.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane_core::handshake::{HandshakeId, HandshakeInput};
use shared::id::ShardIndex;
use shared::protocol::{DtlsRole, Fingerprint};
use tokio::sync::mpsc;

use super::dimpl::DimplEngine;
use super::webrtc::WebrtcEngine;
use super::{AnswerQueue, Answers, Association, Engine, Input, Job, Key};
use crate::config::DtlsEngine;

/// How the pool is to be.
#[derive(Clone, Debug)]
pub(crate) struct PoolSettings {
    /// Who does DTLS.
    pub(crate) engine: DtlsEngine,
    /// How many threads; at least one.
    pub(crate) threads: usize,
    /// Cores that the threads keep to; empty: any.
    pub(crate) cores: Vec<usize>,
    /// How long an association may wait for the first datagram of its peer.
    pub(crate) idle_timeout: Duration,
    /// How long a handshake may take from then on.
    pub(crate) handshake_timeout: Duration,
}

/// The pool. Its threads end when it and all its [`PoolClient`]s are gone.
#[derive(Debug)]
pub(crate) struct HandshakePool {
    queues: Vec<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    fingerprint: Fingerprint,
}

/// One shard's way to the pool.
#[derive(Debug)]
pub(crate) struct PoolClient {
    shard: ShardIndex,
    queues: Vec<mpsc::Sender<Job>>,
    /// Associations to end whose queue was full: a lost `Stop` would leave one behind for ever.
    stops: VecDeque<HandshakeId>,
}

impl HandshakePool {
    /// Makes a certificate and starts the threads. `answers` are the queues of all shards, in
    /// their order.
    ///
    /// # Errors
    /// The certificate or a thread cannot be made.
    pub(crate) fn start(settings: &PoolSettings, answers: &[Arc<AnswerQueue>]) -> io::Result<Self> {
        let engine: Arc<dyn Engine + Sync> = match settings.engine {
            DtlsEngine::Dimpl => Arc::new(DimplEngine::new()?),
            DtlsEngine::Webrtc => Arc::new(WebrtcEngine::new()?),
        };
        let fingerprint = engine.fingerprint();
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for index in 0..settings.threads.max(1) {
            let (queue, jobs) = mpsc::channel(JOBS_MAX);
            let thread = PoolThread {
                engine: Arc::clone(&engine),
                answers: answers.to_vec(),
                idle_timeout: settings.idle_timeout,
                handshake_timeout: settings.handshake_timeout,
                associations: HashMap::new(),
                deadlines: BTreeSet::new(),
            };
            let cores = settings.cores.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            let thread = Builder::new()
                .name(format!("handshake-{index}"))
                .spawn(move || {
                    keep_to(&cores);
                    runtime.block_on(thread.run(jobs));
                })?;
            queues.push(queue);
            threads.push(thread);
        }
        Ok(Self {
            queues,
            threads,
            fingerprint,
        })
    }

    /// Of the certificate that all associations use.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The way to the pool for one shard.
    pub(crate) fn client(&self, shard: ShardIndex) -> PoolClient {
        PoolClient {
            shard,
            queues: self.queues.clone(),
            stops: VecDeque::new(),
        }
    }

    /// Waits until the threads have done what they were handed. All [`PoolClient`]s must be gone.
    pub(crate) fn join(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the handshake pool panicked");
            }
        }
    }
}

impl PoolClient {
    /// Hands something to the pool; false if its queue is full. A `Stop` is always taken. All that
    /// is about one association goes to one thread, in order.
    pub(crate) fn submit(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        let is_stop = matches!(input, HandshakeInput::Stop);
        let taken = self.offer(id, input);
        if is_stop && !taken {
            self.stops.push_back(id);
        }
        taken || is_stop
    }

    /// Tries again what waits.
    pub(crate) fn flush(&mut self) {
        while let Some(id) = self.stops.front().copied() {
            if !self.offer(id, HandshakeInput::Stop) {
                return;
            }
            self.stops.pop_front();
        }
    }

    /// Whether something waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.stops.is_empty()
    }

    fn offer(&self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        let key = Key {
            shard: self.shard,
            id,
        };
        let spread = id.0.wrapping_add(u64::from(self.shard.0));
        let index = spread
            .checked_rem(self.queues.len() as u64)
            .unwrap_or_default();
        let queue = usize::try_from(index)
            .ok()
            .and_then(|index| self.queues.get(index));
        queue.is_some_and(|queue| {
            // Reserved first: a full queue is to cost no copy.
            queue.try_reserve().is_ok_and(|place| {
                place.send(Job {
                    key,
                    input: input.into(),
                });
                true
            })
        })
    }
}

/// One thread of the pool.
struct PoolThread {
    engine: Arc<dyn Engine + Sync>,
    answers: Vec<Arc<AnswerQueue>>,
    idle_timeout: Duration,
    handshake_timeout: Duration,
    associations: HashMap<Key, Entry>,
    /// One for each association that has one.
    deadlines: BTreeSet<(Instant, Key)>,
}

struct Entry {
    association: Box<dyn Association>,
    answers: Answers,
    /// When the handshake must be done.
    expires: Instant,
    /// The peer has not been heard of yet.
    idle: bool,
    /// What stands in `deadlines`.
    deadline: Option<Instant>,
}

impl PoolThread {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let wake = self.next_wake();
            let job = match wake {
                None => jobs.recv().await,
                Some(wake) => match tokio::time::timeout_at(wake.into(), jobs.recv()).await {
                    Ok(job) => job,
                    Err(_) => {
                        self.handle_timeouts(Instant::now());
                        continue;
                    }
                },
            };
            match job {
                Some(job) => self.handle_job(Instant::now(), job),
                None => break,
            }
            if wake.is_some_and(|wake| wake <= Instant::now()) {
                self.handle_timeouts(Instant::now());
            }
        }
        self.finish().await;
    }

    /// Gives engines that work by tasks the time to say goodbye.
    async fn finish(&mut self) {
        let now = Instant::now();
        for entry in self.associations.values_mut() {
            entry.association.close(now);
        }
        self.associations.clear();
        tokio::time::sleep(GOODBYE).await;
    }

    fn next_wake(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let stuck = self
            .answers
            .iter()
            .fold(false, |stuck, queue| stuck | queue.retry());
        let retry = stuck.then(|| Instant::now() + RETRY);
        [deadline, retry].into_iter().flatten().min()
    }

    fn handle_job(&mut self, now: Instant, job: Job) {
        let Job { key, input } = job;
        match input {
            Input::Start { role, fingerprints } => self.start(now, key, role, fingerprints),
            Input::Datagram(datagram) => {
                let Some(entry) = self.associations.get_mut(&key) else {
                    return;
                };
                if core::mem::take(&mut entry.idle) {
                    entry.expires = now + self.handshake_timeout;
                }
                entry.association.handle_datagram(now, &datagram);
                self.reschedule(key);
            }
            Input::Stop => {
                let Some(mut entry) = self.associations.remove(&key) else {
                    return;
                };
                entry.answers.silence();
                entry.association.close(now);
                self.forget_deadline(key, entry.deadline);
            }
        }
    }

    fn start(&mut self, now: Instant, key: Key, role: DtlsRole, fingerprints: Vec<Fingerprint>) {
        let Some(queue) = self.answers.get(key.shard.as_usize()).map(Arc::clone) else {
            return;
        };
        let answers = Answers::new(key.id, role, fingerprints, queue);
        if self.associations.len() >= ASSOCIATIONS_MAX {
            answers.failed();
            return;
        }
        let Some(association) = self.engine.start(now, answers.clone()) else {
            answers.failed();
            return;
        };
        let (idle, wait) = match role {
            DtlsRole::Server => (true, self.idle_timeout),
            DtlsRole::Client => (false, self.handshake_timeout),
        };
        let entry = Entry {
            association,
            answers,
            expires: now + wait,
            idle,
            deadline: None,
        };
        let before = self.associations.insert(key, entry);
        if let Some(before) = before {
            self.forget_deadline(key, before.deadline);
        }
        self.reschedule(key);
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some((deadline, key)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            let Some(entry) = self.associations.get_mut(&key) else {
                continue;
            };
            entry.deadline = None;
            if entry.answers.is_handshaking() && entry.expires <= now {
                entry.answers.failed();
            } else {
                entry.association.handle_timeout(now);
            }
            self.reschedule(key);
        }
    }

    /// Puts down when an association wants to be looked at next; forgets it if it is over.
    fn reschedule(&mut self, key: Key) {
        let Some(entry) = self.associations.get_mut(&key) else {
            return;
        };
        let before = entry.deadline.take();
        let expires = entry.answers.is_handshaking().then_some(entry.expires);
        let next = [entry.association.next_timeout(), expires]
            .into_iter()
            .flatten()
            .min();
        let over = entry.answers.is_over();
        if !over {
            entry.deadline = next;
        }
        self.forget_deadline(key, before);
        if over {
            self.associations.remove(&key);
        } else if let Some(next) = next {
            self.deadlines.insert((next, key));
        }
    }

    fn forget_deadline(&mut self, key: Key, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, key));
        }
    }
}

/// Keeps the calling thread to these cores, if there are any.
fn keep_to(cores: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    for core in cores
        .iter()
        .filter(|core| **core < rustix::thread::CpuSet::MAX_CPU)
    {
        set.set(*core);
    }
    if !cores.is_empty()
        && let Err(error) = rustix::thread::sched_setaffinity(None, &set)
    {
        tracing::warn!(%error, ?cores, "the handshake pool cannot be kept to its cores");
    }
}

/// Jobs that wait for one thread.
const JOBS_MAX: usize = 4096;
/// Associations of one thread: 16 KiB each with dimpl, 32 KiB with webrtc.
const ASSOCIATIONS_MAX: usize = 32_768;
/// How soon outcomes are tried again that found a full queue.
const RETRY: Duration = Duration::from_millis(5);
/// What the last `close_notify`s get at the end.
const GOODBYE: Duration = Duration::from_millis(50);
