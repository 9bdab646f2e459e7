//! The client's side of the channel to the data plane: commands out, replies and events in.
//!
//! One task per shard owns the two rings and the bells of that shard. [`Engine::execute`] hands it
//! a command and waits for the reply. What the data plane reports goes out as [`Notice`]s, in the
//! order in which it was said, so that an older one never overtakes a newer one.

mod driver;
#[cfg(test)]
pub(crate) mod fake;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shared::channel::{Attachment, RingError, ShardMemory, Welcome};
use shared::counters::Counters;
use shared::id::{SessionId, ShardIndex};
use shared::protocol::{
    Command, CommandError, Event, Fingerprint, Reply, SessionReport, SessionStatistics,
};
use tokio::sync::{mpsc, oneshot, watch};

use driver::{ChannelError, Driver, Outgoing};

/// The way to whatever data plane is attached at the moment.
#[derive(Debug)]
pub struct Engine {
    plane: RwLock<Option<Arc<Plane>>>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// One attached data plane.
#[derive(Debug)]
pub struct Plane {
    welcome: Welcome,
    memory: Vec<ShardMemory>,
    inboxes: Vec<mpsc::Sender<Outgoing>>,
    /// True once the data plane is gone; the tasks end then.
    gone: watch::Sender<bool>,
}

/// What the data plane says, in its order.
#[derive(Debug)]
pub enum Notice {
    /// Of its own accord.
    Event(Event),
    /// How things stand with a session, asked for by [`Engine::inspect_all`].
    Report(Box<SessionReport>),
    /// All that was sent before has been heard.
    Heard(oneshot::Sender<()>),
}

/// Why a command was not carried out, or not for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No data plane is attached.
    #[error("no data plane is attached")]
    Away,
    /// The data plane has no such shard.
    #[error("the data plane has no such shard")]
    NoSuchShard,
    /// The data plane went away before it answered; its sessions went with it, or can be asked
    /// about when it is attached again.
    #[error("the data plane went away")]
    Lost,
    /// Nothing was heard by long after the deadline. Whether the command was carried out is not
    /// known.
    #[error("the data plane does not answer")]
    Silent,
    /// The command does not fit into the ring or breaks a bound; it was not sent.
    #[error("the command is too large")]
    TooLarge,
    /// The queue to this shard is full; the command was not sent.
    #[error("the data plane is overloaded")]
    Overloaded,
    /// The data plane refused. Nothing was changed.
    #[error("the data plane refused: {0}")]
    Refused(CommandError),
    /// The answer belongs to another command: a mistake of ours.
    #[error("the data plane gave an answer that does not fit")]
    Mismatch,
}

impl Engine {
    /// An engine without a data plane; `notices` is where all that it hears will go.
    pub fn new(notices: mpsc::UnboundedSender<Notice>) -> Self {
        Self {
            plane: RwLock::new(None),
            notices,
        }
    }

    /// Starts to talk to a data plane. The one before, if any, is given up.
    ///
    /// # Errors
    /// The rings are not usable. Must be called within a tokio runtime.
    pub fn adopt(&self, attachment: Attachment) -> Result<Arc<Plane>, AdoptError> {
        let Attachment {
            welcome,
            region,
            links,
        } = attachment;
        let (gone, _) = watch::channel(false);
        let memory: Vec<ShardMemory> = region.shards().collect();
        let mut inboxes = Vec::with_capacity(memory.len());
        let mut drivers = Vec::with_capacity(memory.len());
        for (shard, link) in memory.iter().zip(links) {
            let (inbox, outgoing) = mpsc::channel(QUEUE_MAX);
            drivers.push(Driver::new(shard, link, outgoing, self.notices.clone())?);
            inboxes.push(inbox);
        }
        let plane = Arc::new(Plane {
            welcome,
            memory,
            inboxes,
            gone,
        });
        for driver in drivers {
            let plane = Arc::clone(&plane);
            tokio::spawn(async move {
                let mut gone = plane.gone.subscribe();
                match driver.run(&mut gone).await {
                    // The supervisor tells of it, where it was not asked for.
                    Ok(()) | Err(ChannelError::Closed) => {}
                    Err(error @ (ChannelError::Ring(_) | ChannelError::Bell(_))) => {
                        tracing::error!(%error, "the channel to the data plane failed");
                    }
                }
                plane.gone.send_replace(true);
            });
        }
        self.replace(Some(Arc::clone(&plane)));
        Ok(plane)
    }

    /// Gives the data plane up: whoever waits for an answer is told at once.
    pub fn release(&self) {
        self.replace(None);
    }

    /// The data plane that is attached now.
    pub fn plane(&self) -> Option<Arc<Plane>> {
        self.plane
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Has a shard carry out one command.
    ///
    /// The data plane refuses it after [`COMMAND_DEADLINE`], and this waits some time longer for
    /// the answer, so that [`EngineError::Silent`] means trouble and not bad luck.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn execute(&self, shard: ShardIndex, command: Command) -> Result<Reply, EngineError> {
        let plane = self.plane().ok_or(EngineError::Away)?;
        let inbox = plane
            .inboxes
            .get(shard.as_usize())
            .ok_or(EngineError::NoSuchShard)?;
        let deadline_ns = monotonic_ns().saturating_add(nanos(COMMAND_DEADLINE));
        let (answer, answered) = oneshot::channel();
        inbox
            .try_send(Outgoing {
                deadline_ns,
                command,
                answer,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => EngineError::Lost,
            })?;
        match tokio::time::timeout(COMMAND_DEADLINE + ANSWER_GRACE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(EngineError::Lost),
            Err(_) => Err(EngineError::Silent),
        }
    }

    /// Has the data plane report on all its sessions, as [`Notice::Report`]s, and returns when all
    /// of them have been heard.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn inspect_all(&self) -> Result<usize, EngineError> {
        let plane = self.plane().ok_or(EngineError::Away)?;
        let mut count = 0;
        for shard in plane.shards() {
            let mut after = None;
            loop {
                let reply = self.execute(shard, Command::ListSessions { after }).await?;
                let Reply::Sessions { sessions, more } = reply else {
                    return Err(EngineError::Mismatch);
                };
                for session in &sessions {
                    count += usize::from(self.inspect(*session).await?.is_some());
                }
                after = sessions.last().copied().or(after);
                if !more || sessions.is_empty() {
                    break;
                }
            }
        }
        let (heard, all) = oneshot::channel();
        self.notices
            .send(Notice::Heard(heard))
            .map_err(|_| EngineError::Lost)?;
        all.await.map_err(|_| EngineError::Lost)?;
        Ok(count)
    }

    /// Asks about one session. None if the data plane does not know it. The report also goes out as
    /// a [`Notice::Report`].
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn inspect(&self, session: SessionId) -> Result<Option<SessionReport>, EngineError> {
        match self
            .execute(session.shard(), Command::InspectSession { session })
            .await
        {
            Ok(Reply::Session(report)) => Ok(Some(*report)),
            Ok(Reply::Done | Reply::Sessions { .. } | Reply::Statistics(_)) => {
                Err(EngineError::Mismatch)
            }
            Err(EngineError::Refused(CommandError::UnknownSession)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks how the media of one session flows.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn measure(&self, session: SessionId) -> Result<SessionStatistics, EngineError> {
        match self
            .execute(session.shard(), Command::MeasureSession { session })
            .await?
        {
            Reply::Statistics(statistics) => Ok(*statistics),
            Reply::Done | Reply::Sessions { .. } | Reply::Session(_) => Err(EngineError::Mismatch),
        }
    }

    fn replace(&self, plane: Option<Arc<Plane>>) {
        let mut current = self.plane.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *current, plane) {
            before.gone.send_replace(true);
        }
    }
}

impl Plane {
    /// Differs between two starts of a data plane.
    pub fn generation(&self) -> u64 {
        self.welcome.generation
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.welcome.process_id
    }

    /// Of the certificate that its sessions use.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.welcome.fingerprint
    }

    /// Its shards, in their order.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> + use<> {
        (0..=u16::MAX).take(self.memory.len()).map(ShardIndex)
    }

    /// Public addresses of a shard's ports, the best first.
    pub fn candidates(&self, shard: ShardIndex) -> &[SocketAddr] {
        self.welcome
            .candidates
            .get(shard.as_usize())
            .map_or(&[], Vec::as_slice)
    }

    /// The figures of each shard, in their order.
    pub fn counters(&self) -> impl Iterator<Item = Counters> + '_ {
        self.memory.iter().map(ShardMemory::read_counters)
    }

    /// How long ago each shard's loop turned last.
    pub fn heartbeat_ages(&self) -> impl Iterator<Item = Duration> + '_ {
        let now = monotonic_ns();
        self.memory
            .iter()
            .map(move |shard| Duration::from_nanos(now.saturating_sub(shard.load_heartbeat())))
    }

    /// Returns when the data plane has been given up or its channel has failed.
    pub async fn gone(&self) {
        // An error means that the sender is gone; `self` holds it.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }
}

/// Why a data plane that was connected to cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum AdoptError {
    #[error("the shared rings cannot be used: {0}")]
    Ring(#[from] RingError),
    #[error("the doorbell cannot be waited for: {0}")]
    Bell(#[from] std::io::Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "{event:?}"),
            Self::Report(report) => write!(f, "report on {}", report.session),
            Self::Heard(_) => f.write_str("heard"),
        }
    }
}

/// `CLOCK_MONOTONIC`, which both planes share, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a command may wait before the data plane refuses it.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(2);
/// How much longer the answer may take.
const ANSWER_GRACE: Duration = Duration::from_secs(3);
/// Commands that wait for one shard.
const QUEUE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use shared::limits::MODEL_BYTES_MAX;

    use super::fake::{FakeDataPlane, session_id};
    use super::*;

    fn open(session: SessionId, model: &[u8]) -> Command {
        let credentials = shared::protocol::IceCredentials {
            ufrag: "abcd".to_owned(),
            password: "0123456789012345678901".to_owned(),
        };
        Command::Execute {
            session,
            changes: vec![shared::protocol::Change::Open(credentials)],
            model: Some(model.to_vec()),
        }
    }

    fn engine() -> (Engine, mpsc::UnboundedReceiver<Notice>) {
        let (notices, heard) = mpsc::unbounded_channel();
        (Engine::new(notices), heard)
    }

    #[tokio::test]
    async fn a_command_is_answered_by_its_shard() {
        let fake = FakeDataPlane::start(2);
        let (engine, _heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let id = session_id(1, 7);
        assert_eq!(
            engine.execute(id.shard(), open(id, b"m")).await,
            Ok(Reply::Done)
        );
        assert_eq!(fake.sessions(), [id]);
    }

    #[tokio::test]
    async fn without_a_data_plane_a_command_fails_at_once() {
        let (engine, _heard) = engine();
        let id = session_id(0, 1);
        assert_eq!(
            engine.execute(id.shard(), open(id, b"")).await,
            Err(EngineError::Away)
        );
    }

    #[tokio::test]
    async fn a_shard_that_does_not_exist_is_refused() {
        let fake = FakeDataPlane::start(1);
        let (engine, _heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let id = session_id(9, 1);
        assert_eq!(
            engine.execute(id.shard(), open(id, b"")).await,
            Err(EngineError::NoSuchShard)
        );
    }

    #[tokio::test]
    async fn pending_commands_fail_when_the_data_plane_is_given_up() {
        let fake = FakeDataPlane::start(1);
        fake.fall_silent();
        let (engine, _heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let id = session_id(0, 1);
        let started = std::time::Instant::now();
        let (result, ()) = tokio::join!(engine.execute(id.shard(), open(id, b"")), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            engine.release();
        });
        assert_eq!(result, Err(EngineError::Lost));
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn pending_commands_fail_when_the_data_plane_dies() {
        let fake = FakeDataPlane::start(1);
        fake.fall_silent();
        let (engine, _heard) = engine();
        let plane = engine.adopt(fake.attachment()).unwrap();
        let id = session_id(0, 1);
        let (result, ()) = tokio::join!(engine.execute(id.shard(), open(id, b"")), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(fake);
        });
        assert_eq!(result, Err(EngineError::Lost));
        tokio::time::timeout(Duration::from_secs(1), plane.gone())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_ring_holds_commands_back_and_loses_none() {
        let fake = FakeDataPlane::start(1);
        fake.fall_silent();
        let (engine, _heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        // Several times what the ring holds.
        let model = vec![7; MODEL_BYTES_MAX];
        let ids: Vec<SessionId> = (0..100).map(|n| session_id(0, n)).collect();
        let all = async {
            let mut results = Vec::new();
            let calls: Vec<_> = ids
                .iter()
                .map(|id| engine.execute(id.shard(), open(*id, &model)))
                .collect();
            for call in futures_in_order(calls).await {
                results.push(call);
            }
            results
        };
        let (results, ()) = tokio::join!(all, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fake.speak_again();
        });
        assert!(
            results.iter().all(|result| *result == Ok(Reply::Done)),
            "{results:?}"
        );
        assert_eq!(fake.sessions(), ids);
    }

    /// All of them at once; their results in order.
    async fn futures_in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
        let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
        std::future::poll_fn(move |context| {
            for (future, output) in &mut futures {
                if output.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
                {
                    *output = Some(value);
                }
            }
            if futures.iter().all(|(_, output)| output.is_some()) {
                let outputs = futures.iter_mut().filter_map(|(_, output)| output.take());
                return std::task::Poll::Ready(outputs.collect());
            }
            std::task::Poll::Pending
        })
        .await
    }

    #[tokio::test]
    async fn a_refusal_comes_back_typed() {
        let fake = FakeDataPlane::start(1);
        let (engine, _heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let id = session_id(0, 1);
        let refused = engine
            .execute(id.shard(), Command::CloseSession { session: id })
            .await;
        assert_eq!(
            refused,
            Err(EngineError::Refused(CommandError::UnknownSession))
        );
    }

    #[tokio::test]
    async fn all_sessions_of_all_pages_are_reported_before_the_end_is_heard() {
        let fake = FakeDataPlane::start(2);
        let ids: Vec<SessionId> = (0..300)
            .map(|n| session_id(u16::from(n % 2 == 1), n))
            .collect();
        for id in &ids {
            fake.insert(*id, b"model");
        }
        let (engine, mut heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let hearer = tokio::spawn(async move {
            let mut reports = 0;
            while let Some(notice) = heard.recv().await {
                match notice {
                    Notice::Report(_) => reports += 1,
                    Notice::Heard(end) => {
                        end.send(()).unwrap();
                        return reports;
                    }
                    Notice::Event(_) => {}
                }
            }
            reports
        });
        assert_eq!(engine.inspect_all().await, Ok(ids.len()));
        assert_eq!(hearer.await.unwrap(), ids.len());
    }

    #[tokio::test]
    async fn an_event_is_heard() {
        let fake = FakeDataPlane::start(1);
        let (engine, mut heard) = engine();
        engine.adopt(fake.attachment()).unwrap();
        let event = Event::SessionChanged {
            session: session_id(0, 1),
            state: shared::protocol::TransportState::Connected,
        };
        fake.say(ShardIndex(0), event.clone());
        let notice = tokio::time::timeout(Duration::from_secs(1), heard.recv())
            .await
            .unwrap();
        assert!(matches!(notice, Some(Notice::Event(told)) if told == event));
    }
}
