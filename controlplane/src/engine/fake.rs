//! A data plane for tests: it speaks over real rings and bells, and keeps models, but no media.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use shared::channel::{Attachment, Link, Region, RegionProducer, ShardMemory, Welcome, links};
use shared::id::{SessionId, ShardIndex};
use shared::limits::RECORD_BYTES_MAX;
use shared::protocol::{
    Change, Command, CommandError, Event, Fingerprint, HashAlgorithm, Message, PublicationReport,
    Reply, Response, SessionReport, SessionStatistics, TransportState,
};
use shared::wire;

/// One data plane with a thread per shard. Dropping it is its death.
pub(crate) struct FakeDataPlane {
    state: Arc<Mutex<State>>,
    silent: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    generation: u64,
    region: Region,
    /// The control plane's sides, until they are taken.
    links: Mutex<Vec<Link>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<SessionId, FakeSession>,
    executed: Vec<(SessionId, Vec<Change>)>,
    refuse_next: Option<CommandError>,
    to_say: Vec<(ShardIndex, Event)>,
    measured: usize,
}

struct FakeSession {
    model: Vec<u8>,
    transport: TransportState,
    publications: Vec<u32>,
    /// What a test has set; the session itself and its transport are always told as they are.
    statistics: Option<SessionStatistics>,
}

impl FakeSession {
    fn new() -> Self {
        Self {
            model: Vec::new(),
            transport: TransportState::Connecting,
            publications: Vec::new(),
            statistics: None,
        }
    }

    fn publication_reports(&self) -> Vec<PublicationReport> {
        let report = |number: &u32| PublicationReport {
            number: *number,
            receiving: false,
            voice: None,
            layers: Vec::new(),
        };
        self.publications.iter().map(report).collect()
    }

    fn statistics(&self, session: SessionId) -> SessionStatistics {
        let set = self.statistics.clone();
        let statistics = set.unwrap_or_else(|| SessionStatistics {
            session,
            state: self.transport,
            estimate: None,
            publications: self.publication_reports(),
            subscriptions: Vec::new(),
        });
        SessionStatistics {
            session,
            state: self.transport,
            ..statistics
        }
    }
}

/// A session id with a tail that is easy to read.
pub(crate) fn session_id(shard: u16, number: u32) -> SessionId {
    let [a, b, c, d] = number.to_be_bytes();
    SessionId::new(0, ShardIndex(shard), [0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

impl FakeDataPlane {
    pub(crate) fn start(shards: u16) -> Self {
        Self::start_generation(shards, 1)
    }

    pub(crate) fn start_generation(shards: u16, generation: u64) -> Self {
        let region = Region::create(shards, generation).expect("a region");
        let state = Arc::new(Mutex::new(State::default()));
        let silent = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let mut far_sides = Vec::new();
        let mut threads = Vec::new();
        for (index, memory) in (0..).zip(region.shards()) {
            let (near, far) = links().expect("links");
            far_sides.push(far);
            let (state, silent, stop) =
                (Arc::clone(&state), Arc::clone(&silent), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || {
                let shard = FakeShard {
                    index: ShardIndex(index),
                    memory,
                    link: near,
                };
                shard.run(&state, &silent, &stop);
            }));
        }
        let links = Mutex::new(far_sides);
        Self {
            state,
            silent,
            stop,
            generation,
            region,
            links,
            threads,
        }
    }

    /// What a control plane gets when it attaches; once only.
    pub(crate) fn attachment(&self) -> Attachment {
        let links = std::mem::take(&mut *self.links.lock().expect("not poisoned"));
        let shards = self.region.shard_count();
        let candidates = (0..shards)
            .map(|shard| vec![std::net::SocketAddr::from(([127, 0, 0, 1], 7882 + shard))])
            .collect();
        let fd = std::os::fd::AsFd::as_fd(&self.region)
            .try_clone_to_owned()
            .expect("a clone");
        Attachment {
            welcome: Welcome {
                generation: self.generation,
                process_id: std::process::id(),
                fingerprint: Fingerprint {
                    algorithm: HashAlgorithm::Sha256,
                    digest: vec![9; 32],
                },
                candidates,
            },
            region: Region::attach(fd).expect("the same region"),
            links,
        }
    }

    /// Commands stay in the ring from now on.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    pub(crate) fn speak_again(&self) {
        self.silent.store(false, Ordering::SeqCst);
    }

    /// The next command is refused so.
    pub(crate) fn refuse_next(&self, error: CommandError) {
        self.lock().refuse_next = Some(error);
    }

    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().copied().collect()
    }

    pub(crate) fn executed(&self) -> Vec<(SessionId, Vec<Change>)> {
        self.lock().executed.clone()
    }

    pub(crate) fn insert(&self, session: SessionId, model: &[u8]) {
        let fake = FakeSession {
            model: model.to_vec(),
            ..FakeSession::new()
        };
        self.lock().sessions.insert(session, fake);
    }

    /// Changes the transport of a session and says so.
    pub(crate) fn transport(&self, session: SessionId, transport: TransportState) {
        if let Some(fake) = self.lock().sessions.get_mut(&session) {
            fake.transport = transport;
        }
        self.say(
            session.shard(),
            Event::SessionChanged {
                session,
                state: transport,
            },
        );
    }

    /// How often it was asked how a session's media flows.
    pub(crate) fn measured(&self) -> usize {
        self.lock().measured
    }

    /// What the session tells of its media from now on.
    pub(crate) fn set_statistics(&self, statistics: SessionStatistics) {
        if let Some(fake) = self.lock().sessions.get_mut(&statistics.session) {
            fake.statistics = Some(statistics);
        }
    }

    pub(crate) fn say(&self, shard: ShardIndex, event: Event) {
        self.lock().to_say.push((shard, event));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeDataPlane {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct FakeShard {
    index: ShardIndex,
    memory: ShardMemory,
    link: Link,
}

impl FakeShard {
    fn run(self, state: &Mutex<State>, silent: &AtomicBool, stop: &AtomicBool) {
        let mut commands = self.memory.command_consumer().expect("a ring");
        let mut replies = self.memory.reply_producer().expect("a ring");
        while !stop.load(Ordering::SeqCst) {
            self.memory.store_heartbeat(super::monotonic_ns());
            self.say(state, &mut replies);
            if !silent.load(Ordering::SeqCst)
                && let Ok(Some(record)) = commands.pop()
            {
                let request = wire::decode_request(record).expect("a request");
                let result = state
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .carry_out(self.index, request.command);
                let response = Response {
                    id: request.id,
                    result,
                };
                self.push(&mut replies, &Message::Response(response));
                continue;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn say(&self, state: &Mutex<State>, replies: &mut RegionProducer) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, others) = std::mem::take(&mut state.to_say)
            .into_iter()
            .partition(|(i, _)| *i == self.index);
        state.to_say = others;
        drop(state);
        let ours: Vec<(ShardIndex, Event)> = ours;
        for (_, event) in ours {
            self.push(replies, &Message::Event(event));
        }
    }

    fn push(&self, replies: &mut RegionProducer, message: &Message) {
        let mut buffer = vec![0; RECORD_BYTES_MAX];
        let length = wire::encode_message(message, &mut buffer).expect("it fits");
        while replies.push(&buffer[..length]).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if replies.take_sleeper() {
            self.link.doorbell.ring();
        }
    }
}

impl State {
    fn carry_out(&mut self, shard: ShardIndex, command: Command) -> Result<Reply, CommandError> {
        if let Some(error) = self.refuse_next.take() {
            return Err(error);
        }
        match command {
            Command::ListSessions { after } => {
                let mut ours = self
                    .sessions
                    .keys()
                    .copied()
                    .filter(|id| id.shard() == shard && after.is_none_or(|after| *id > after));
                let sessions: Vec<SessionId> = ours.by_ref().take(PAGE).collect();
                Ok(Reply::Sessions {
                    more: ours.next().is_some(),
                    sessions,
                })
            }
            Command::InspectSession { session } => {
                let fake = self
                    .sessions
                    .get(&session)
                    .ok_or(CommandError::UnknownSession)?;
                Ok(Reply::Session(Box::new(SessionReport {
                    session,
                    state: fake.transport,
                    publications: fake.publication_reports(),
                    model: fake.model.clone(),
                })))
            }
            Command::MeasureSession { session } => {
                self.measured += 1;
                let fake = self.sessions.get(&session);
                fake.map(|fake| Reply::Statistics(Box::new(fake.statistics(session))))
                    .ok_or(CommandError::UnknownSession)
            }
            Command::Execute {
                session,
                changes,
                model,
            } => self.execute(session, changes, model).map(|()| Reply::Done),
            Command::CloseSession { session } => self
                .sessions
                .remove(&session)
                .map(|_| Reply::Done)
                .ok_or(CommandError::UnknownSession),
        }
    }

    fn execute(
        &mut self,
        session: SessionId,
        changes: Vec<Change>,
        model: Option<Vec<u8>>,
    ) -> Result<(), CommandError> {
        if let Some(Change::Open(_)) = changes.first() {
            self.sessions.insert(session, FakeSession::new());
        }
        let fake = self
            .sessions
            .get_mut(&session)
            .ok_or(CommandError::UnknownSession)?;
        for change in &changes {
            if let Change::Publish(parameters) = change {
                fake.publications.push(parameters.number);
            }
        }
        if let Some(model) = model {
            fake.model = model;
        }
        self.executed.push((session, changes));
        Ok(())
    }
}

const PAGE: usize = 64;
