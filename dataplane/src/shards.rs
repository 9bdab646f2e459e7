//! All shards of a data plane with what they share: made, spoken to and ended together.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use dataplane_core::ShardConfig;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use shared::channel::{Link, Region, links};
use shared::id::ShardIndex;
use shared::protocol::Fingerprint;

use crate::clock;
use crate::config::DataplaneConfig;
use crate::cores::CoreSelection;
use crate::handshake::{AnswerQueue, HandshakePool, PoolSettings};
use crate::port::{Backend, MediaSocket};
use crate::relay::{Inbox, RelaySender};
use crate::sleeper::Sleeper;
use crate::supervisor::{DataplaneError, random};
use crate::watchdog::{Pulse, Watchdog};
use crate::worker::{Order, Worker, WorkerParts, WorkerSettings};

/// All shards.
#[derive(Debug)]
pub(crate) struct Shards {
    handles: Vec<Handle>,
    pool: HandshakePool,
    watchdog: Watchdog,
    candidates: Vec<Vec<SocketAddr>>,
}

/// The main thread's hold of one shard.
#[derive(Debug)]
struct Handle {
    orders: Sender<Order>,
    sleeper: Arc<Sleeper>,
    /// The control plane's side, for each that attaches.
    link: Link,
    executor: ExecutorJoinHandle<()>,
}

/// What a shard needs before there are threads.
struct Draft {
    index: ShardIndex,
    core: usize,
    sockets: Vec<MediaSocket>,
    ours: Link,
    theirs: Link,
    sleeper: Arc<Sleeper>,
    inbox: Arc<Inbox>,
    answers: Arc<AnswerQueue>,
}

impl Shards {
    /// Starts a shard on every chosen core; media can flow when this returns.
    ///
    /// # Errors
    /// An address is taken or not of this machine, or the system refuses memory or threads.
    pub(crate) fn start(
        config: &DataplaneConfig,
        selection: &CoreSelection,
        region: &Region,
    ) -> Result<Self, DataplaneError> {
        let settings = WorkerSettings {
            backend: Backend::choose(config.io)?,
            gso: config.gso,
            spin: config.spin,
        };
        let drafts = (0..)
            .zip(&selection.cores)
            .map(|(index, core)| Draft::new(config, ShardIndex(index), *core))
            .collect::<Result<Vec<_>, _>>()?;
        advise(&drafts);
        let of_all = || drafts.iter();
        let candidates = of_all().map(|draft| draft.candidates(config)).collect();
        let inboxes: Vec<_> = of_all().map(|draft| Arc::clone(&draft.inbox)).collect();
        let answers: Vec<_> = of_all().map(|draft| Arc::clone(&draft.answers)).collect();
        let pool = HandshakePool::start(&pool_settings(config, selection), &answers)
            .map_err(DataplaneError::system("starting the handshake pool"))?;
        let pulses: Vec<_> = of_all().map(|_| Arc::new(Pulse::default())).collect();
        // Before any shard: from the first beat on somebody must listen.
        let watchdog = Watchdog::start(pulses.clone())
            .map_err(DataplaneError::system("starting the watchdog"))?;
        let mut handles = Vec::new();
        for (draft, pulse) in drafts.into_iter().zip(pulses) {
            let memory = region.shard(draft.index).ok_or_else(|| {
                let error = io::Error::other("the region has too few shards");
                DataplaneError::system("sharing memory")(error)
            })?;
            let (orders, taken) = bounded(ORDERS_MAX);
            let core = draft.core;
            let link = draft.theirs;
            let sleeper = Arc::clone(&draft.sleeper);
            let parts = WorkerParts {
                shard: shard_config(config, draft.index),
                sockets: draft.sockets,
                memory,
                link: draft.ours,
                sleeper: draft.sleeper,
                inbox: draft.inbox,
                relays: RelaySender::new(draft.index, &inboxes),
                answers: draft.answers,
                pool: pool.client(draft.index),
                orders: taken,
                pulse,
                settings,
            };
            let executor = launch(core, parts)?;
            handles.push(Handle {
                orders,
                sleeper,
                link,
                executor,
            });
        }
        Ok(Self {
            handles,
            pool,
            watchdog,
            candidates,
        })
    }

    /// Of the certificate that all sessions use.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        self.pool.fingerprint()
    }

    /// For each shard its ICE host candidates, the preferred one first.
    pub(crate) fn candidates(&self) -> &[Vec<SocketAddr>] {
        &self.candidates
    }

    /// The control plane's sides of all bells.
    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        self.handles
            .iter()
            .map(|handle| handle.link.try_clone())
            .collect()
    }

    /// Makes all rings ready for a new control plane; false if a shard does not answer.
    pub(crate) fn attach(&self) -> bool {
        let answers: Vec<Receiver<bool>> = self
            .handles
            .iter()
            .map(|handle| {
                let (answer, answered) = bounded(1);
                handle.order(Order::Attach(answer));
                answered
            })
            .collect();
        answers
            .iter()
            .all(|answer| answer.recv_timeout(PATIENCE) == Ok(true))
    }

    /// The control plane has gone.
    pub(crate) fn detach(&self) {
        for handle in &self.handles {
            handle.order(Order::Detach);
        }
    }

    /// Ends all sessions, then all threads.
    pub(crate) fn stop(self) {
        for handle in &self.handles {
            handle.order(Order::Stop);
        }
        for handle in self.handles {
            if let Err(error) = handle.executor.join() {
                tracing::error!(%error, "a shard ended badly");
            }
        }
        self.watchdog.join();
        self.pool.join();
    }
}

impl Handle {
    fn order(&self, order: Order) {
        // A full queue: the shard has been stuck for many orders. What it misses it is told again,
        // or the whole process ends.
        if self.orders.try_send(order).is_err() {
            tracing::error!("a shard takes no orders");
        }
        self.sleeper.insist();
    }
}

impl Draft {
    fn new(
        config: &DataplaneConfig,
        index: ShardIndex,
        core: usize,
    ) -> Result<Self, DataplaneError> {
        let port = config.media_port(index.0)?;
        let sockets = config
            .media_addresses
            .iter()
            .map(|address| {
                let bind = SocketAddr::new(address.bind, port);
                MediaSocket::bind(bind).map_err(DataplaneError::system(format!(
                    "binding the media socket {bind}/udp"
                )))
            })
            .collect::<Result<_, _>>()?;
        let bells = links().and_then(|(ours, theirs)| {
            let doorbell = theirs.doorbell.try_clone()?;
            Ok((ours, theirs, doorbell))
        });
        let (ours, theirs, doorbell) = bells.map_err(DataplaneError::system("making bells"))?;
        let sleeper = Arc::new(Sleeper::new(doorbell));
        let inbox = Arc::new(Inbox::new(Arc::clone(&sleeper)));
        let answers = Arc::new(AnswerQueue::new(Arc::clone(&sleeper)));
        Ok(Self {
            index,
            core,
            sockets,
            ours,
            theirs,
            sleeper,
            inbox,
            answers,
        })
    }

    fn candidates(&self, config: &DataplaneConfig) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .zip(&config.media_addresses)
            .map(|(socket, address)| SocketAddr::new(address.public, socket.local_addr().port()))
            .collect()
    }
}

/// Logs what the sockets are like, and once what the operator should do about their buffers.
fn advise(drafts: &[Draft]) {
    for draft in drafts {
        for socket in &draft.sockets {
            let buffers = socket.buffers();
            tracing::info!(
                shard = draft.index.0,
                core = draft.core,
                address = %socket.local_addr(),
                receive_buffer = buffers.receive,
                send_buffer = buffers.send,
                "media socket"
            );
        }
    }
    let sockets = drafts.iter().flat_map(|draft| &draft.sockets);
    if let Some(advice) = sockets
        .into_iter()
        .find_map(|socket| socket.buffers().advice())
    {
        tracing::warn!("{advice}");
    }
}

fn shard_config(config: &DataplaneConfig, index: ShardIndex) -> ShardConfig {
    ShardConfig {
        connect_timeout: config.unconnected_timeout,
        reconnect_timeout: config.lost_timeout,
        ..ShardConfig::new(index, random(), clock::ntp_origin())
    }
}

fn pool_settings(config: &DataplaneConfig, selection: &CoreSelection) -> PoolSettings {
    PoolSettings {
        engine: config.dtls,
        threads: if selection.cores.len() > 2 { 2 } else { 1 },
        cores: selection.spare.clone(),
        // The shard gives a session up before that.
        idle_timeout: config.unconnected_timeout.saturating_add(HANDSHAKE_TIMEOUT),
        handshake_timeout: HANDSHAKE_TIMEOUT,
    }
}

/// Starts the executor of one shard on its core, and waits until it works.
fn launch(core: usize, parts: WorkerParts) -> Result<ExecutorJoinHandle<()>, DataplaneError> {
    let index = parts.shard.index.0;
    let what = || format!("starting shard {index} on core {core}");
    let (ready, started) = bounded(1);
    let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&format!("shard-{index}"))
        .io_memory(IO_MEMORY_BYTES)
        .spawn(move || async move {
            let pinned: Vec<usize> = core_affinity::get_core_ids()
                .unwrap_or_default()
                .iter()
                .map(|c| c.id)
                .collect();
            assert_eq!(pinned, [core], "a shard's thread is pinned to its core");
            let pulse = Arc::clone(&parts.pulse);
            pulse.attend();
            let worker = Worker::new(parts);
            let (worker, outcome) = match worker {
                Ok(worker) => (Some(worker), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // The main thread waits for this.
            drop(ready.send(outcome));
            if let Some(worker) = worker {
                worker.run().await;
            }
            pulse.rest();
        })
        .map_err(|error| DataplaneError::system(what())(io::Error::other(error.to_string())))?;
    match started.recv_timeout(START_PATIENCE) {
        Ok(outcome) => outcome.map_err(DataplaneError::system(what()))?,
        Err(_) => {
            let error = io::Error::new(io::ErrorKind::TimedOut, "its thread does not answer");
            return Err(DataplaneError::system(what())(error));
        }
    }
    Ok(executor)
}

/// Orders that wait for one shard.
const ORDERS_MAX: usize = 64;
/// How long a shard may take to make its rings ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a shard may take to start: on a busy machine its memory takes its time.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a DTLS handshake may take from the first datagram on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(40);
/// What glommio keeps for its own reads: we give it only readiness to wait for.
const IO_MEMORY_BYTES: usize = 256 * 1024;
