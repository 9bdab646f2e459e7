//! The main thread of the data plane process: it makes everything, lets control planes attach, and
//! sees to an orderly end.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shared::channel::{Link, Region, Welcome, send_welcome};

use crate::attach::{ControlSocket, is_connected};
use crate::config::{ConfigError, DataplaneConfig};
use crate::cores::CoreAllowance;
use crate::shards::Shards;

/// Why the data plane could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// A setting cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refused something that is needed.
    #[error("{what}: {source}")]
    System {
        /// What was being done, with the names that matter.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DataplaneError {
    /// For `map_err`: what was being done.
    pub(crate) fn system<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        |source| Self::System {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// Runs a data plane until it is told to stop (SIGTERM, SIGINT) or has been without a control
/// plane for [`DataplaneConfig::orphan_timeout`]. Blocks; call it from the main thread. Logs with
/// `tracing`; installing a subscriber is the caller's part.
///
/// # Errors
/// The settings cannot work, or the system refuses sockets, memory or threads.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a process has one, for this call"
)]
pub fn run(config: DataplaneConfig) -> Result<(), DataplaneError> {
    let dataplane = Dataplane::start(&config)?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let stop = dataplane.stop.1.try_clone();
        let stop = stop.map_err(DataplaneError::system("making a descriptor"))?;
        signal_hook::low_level::pipe::register(signal, stop)
            .map_err(DataplaneError::system("listening to signals"))?;
    }
    dataplane.run()
}

/// A data plane that has started. [`run`] is all that a process needs; this is for those that hold
/// one within a larger process, such as tests.
#[derive(Debug)]
pub struct Dataplane {
    shards: Shards,
    region: Region,
    welcome: Welcome,
    socket: ControlSocket,
    orphan_timeout: Duration,
    /// A byte at the first end stops the data plane; the second end writes it.
    stop: (UnixStream, UnixStream),
}

/// Stops a [`Dataplane`] from another thread.
#[derive(Debug)]
pub struct Stopper(UnixStream);

impl Stopper {
    /// Tells it to stop, as SIGTERM does.
    pub fn stop(&self) {
        // A full socket has told it already, and a closed one has nobody to tell.
        drop((&self.0).write(&[1]));
    }
}

/// Why [`Dataplane::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Told,
    Orphaned,
}

impl Dataplane {
    /// Makes the region, the shards and the handshake pool; media can flow and control planes can
    /// connect when this returns.
    ///
    /// # Errors
    /// The settings cannot work, or the system refuses sockets, memory or threads.
    pub fn start(config: &DataplaneConfig) -> Result<Self, DataplaneError> {
        config.validate()?;
        let selection = CoreAllowance::of_this_process().select(&config.cores)?;
        tracing::info!(cores = ?selection.cores, reason = %selection.reason, "cores chosen");
        let path = config.control_socket.display();
        let socket = ControlSocket::bind(&config.control_socket)
            .map_err(DataplaneError::system(format!("listening at {path}")))?;
        let stop =
            UnixStream::pair().map_err(DataplaneError::system("making a pair of sockets"))?;
        let count =
            u16::try_from(selection.cores.len()).map_err(|_| ConfigError::TooManyShards {
                count: selection.cores.len(),
            })?;
        let region = Region::create(count, random())
            .map_err(|error| io::Error::other(error.to_string()))
            .map_err(DataplaneError::system("making the shared region"))?;
        let shards = Shards::start(config, &selection, &region)?;
        let welcome = Welcome {
            generation: region.generation(),
            process_id: std::process::id(),
            fingerprint: shards.fingerprint().clone(),
            candidates: shards.candidates().to_vec(),
        };
        tracing::info!(path = %path, "a control plane can attach");
        let orphan_timeout = config.orphan_timeout;
        Ok(Self {
            shards,
            region,
            welcome,
            socket,
            orphan_timeout,
            stop,
        })
    }

    /// What stops it.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn stopper(&self) -> io::Result<Stopper> {
        self.stop.1.try_clone().map(Stopper)
    }

    /// For each shard its ICE host candidates, as clients see them.
    pub fn candidates(&self) -> &[Vec<SocketAddr>] {
        &self.welcome.candidates
    }

    /// Serves control planes until it is to stop, then ends all sessions and threads.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn run(mut self) -> Result<(), DataplaneError> {
        let served = self.serve();
        match &served {
            Ok(End::Told) => tracing::info!("told to stop"),
            Ok(End::Orphaned) => tracing::warn!(
                seconds = self.orphan_timeout.as_secs(),
                "no control plane has come back; ending"
            ),
            Err(_) => {}
        }
        self.shards.stop();
        served
            .map(|_| ())
            .map_err(DataplaneError::system("waiting for control planes"))
    }

    fn serve(&mut self) -> io::Result<End> {
        let mut control: Option<UnixStream> = None;
        let mut alone_since = Instant::now();
        loop {
            let patience = match &control {
                Some(_) => None,
                None => Some(self.orphan_timeout.saturating_sub(alone_since.elapsed())),
            };
            if patience.is_some_and(|patience| patience.is_zero()) {
                return Ok(End::Orphaned);
            }
            self.wait(control.as_ref(), patience)?;
            if self.is_told_to_stop() {
                return Ok(End::Told);
            }
            // The one that has gone first: it may be what lets the next one in.
            if control.take_if(|stream| !is_connected(stream)).is_some() {
                tracing::warn!("the control plane has gone; sessions go on");
                self.shards.detach();
                alone_since = Instant::now();
            }
            if let Some(stream) = self.socket.accept() {
                self.admit(&mut control, stream);
            }
        }
    }

    /// Waits until something happens to one of the sockets, or `patience` has run out.
    fn wait(&self, control: Option<&UnixStream>, patience: Option<Duration>) -> io::Result<()> {
        let mut fds = vec![
            PollFd::new(&self.stop.0, PollFlags::IN),
            PollFd::new(&self.socket, PollFlags::IN),
        ];
        fds.extend(control.map(|stream| PollFd::new(stream, PollFlags::IN)));
        let patience = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        });
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_told_to_stop(&self) -> bool {
        let told = self
            .stop
            .0
            .set_nonblocking(true)
            .and_then(|()| (&self.stop.0).read(&mut [0]));
        matches!(told, Ok(1..))
    }

    /// Lets a control plane attach, unless there is one.
    fn admit(&self, control: &mut Option<UnixStream>, stream: UnixStream) {
        if control.is_some() {
            tracing::warn!("a second control plane was refused: one is attached");
            return;
        }
        match self.welcome(&stream) {
            Ok(()) => {
                tracing::info!("a control plane has attached");
                *control = Some(stream);
            }
            Err(error) => {
                tracing::error!(%error, "a control plane could not attach");
                self.shards.detach();
            }
        }
    }

    fn welcome(&self, stream: &UnixStream) -> io::Result<()> {
        if !self.shards.attach() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a shard does not answer",
            ));
        }
        let links: Vec<Link> = self.shards.links()?;
        send_welcome(stream, &self.welcome, &self.region, &links).map_err(io::Error::other)
    }
}

/// Eight bytes from the system's generator.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let filled = aws_lc_rs::rand::fill(&mut bytes).is_ok();
    assert!(filled, "the generator of random numbers works");
    u64::from_le_bytes(bytes)
}
