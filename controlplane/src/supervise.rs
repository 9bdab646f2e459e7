//! The care for the data plane process: found or started, watched, started again when it is gone.
//!
//! It runs in a process group of its own, so that neither a Ctrl-C on the terminal nor the death of
//! this process takes it along: live calls go on, and the next control plane attaches to it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use shared::channel::{AttachError, Attachment, receive_welcome};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::api::SharedService;
use crate::engine::{AdoptError, EngineError, Notice, Plane};

/// Keeps one data plane attached.
#[derive(Debug)]
pub struct Supervisor {
    service: SharedService,
    socket: PathBuf,
    starter: Starter,
    child: Option<Running>,
    /// Of the data plane that was attached last.
    generation: Option<u64>,
    failures: u32,
}

/// Whether a data plane may be started, and how.
#[derive(Clone, Debug)]
pub enum Starter {
    /// It is somebody else's: it is neither started nor stopped.
    Never,
    /// By this command line.
    Command {
        /// The program; this one.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

/// A data plane that is attached.
#[derive(Debug)]
pub struct Attached {
    /// The way to it.
    pub plane: Arc<Plane>,
    /// Whether it was there before.
    pub found: Found,
    /// Its sessions when it was attached.
    pub sessions: usize,
    /// Its end is the end of the data plane.
    stream: UnixStream,
}

/// How a data plane came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It ran already.
    Running,
    /// It was started by us.
    Started,
}

/// How far the process is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Asked to stop: everything is ended in good order.
    Stopping,
    /// Asked twice: everything is ended now.
    Forced,
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum SuperviseError {
    #[error("no data plane answers at {}: {source}", socket.display())]
    NobodyThere { socket: PathBuf, source: io::Error },
    #[error("the data plane at {} cannot be used: {source}", socket.display())]
    Unusable {
        socket: PathBuf,
        source: AttachError,
    },
    #[error("the data plane at {} cannot be used: {source}", socket.display())]
    Channel { socket: PathBuf, source: AdoptError },
    #[error("the data plane did not report its sessions: {0}")]
    Inspection(#[from] EngineError),
    #[error("the data plane cannot be started: {0}")]
    Start(io::Error),
    #[error("the data plane ended while it was starting ({0}); its log says why")]
    Ended(ExitStatus),
    #[error("the data plane did not become ready within {} s", START_TIME_MAX.as_secs())]
    Slow,
    #[error("a stop was asked for")]
    Stopped,
}

/// Passes what the data plane says on to the registry, for ever.
pub fn spawn_hearing(service: &SharedService, mut notices: mpsc::UnboundedReceiver<Notice>) {
    let service = Arc::clone(service);
    tokio::spawn(async move {
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::Event(event) => service.registry.hear(&event),
                Notice::Report(report) => {
                    if let Err(error) = service.registry.adopt(&report) {
                        let session = report.session;
                        tracing::error!(%session, %error, "a session cannot be taken over");
                    }
                }
                // Who asked may have given up.
                Notice::Heard(end) => drop(end.send(())),
            }
        }
    });
}

impl Supervisor {
    /// Watches over the data plane whose socket this is.
    pub fn new(service: SharedService, socket: PathBuf, starter: Starter) -> Self {
        Self {
            service,
            socket,
            starter,
            child: None,
            generation: None,
            failures: 0,
        }
    }

    /// Attaches to the data plane that runs, else starts one.
    ///
    /// # Errors
    /// It cannot be used, or does not start.
    pub async fn attach_first(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<Attached, SuperviseError> {
        match self.attach(Found::Running).await {
            Err(SuperviseError::NobodyThere { .. })
                if matches!(self.starter, Starter::Command { .. }) => {}
            result => return result,
        }
        self.start()?;
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            sleep(POLL).await;
            if *phase.borrow() > Phase::Running {
                self.stop(phase).await;
                return Err(SuperviseError::Stopped);
            }
            if let Some(status) = self.reap() {
                return Err(SuperviseError::Ended(status));
            }
            match self.attach(Found::Started).await {
                Err(SuperviseError::NobodyThere { .. }) if Instant::now() < deadline => {}
                Err(SuperviseError::NobodyThere { .. }) => {
                    self.kill_child();
                    return Err(SuperviseError::Slow);
                }
                result => return result,
            }
        }
    }

    /// Keeps a data plane attached until a stop is asked for, then ends it if it is ours to end.
    pub async fn run(mut self, attached: Attached, mut phase: watch::Receiver<Phase>) {
        let mut attached = Some(attached);
        loop {
            tokio::select! {
                _ = phase.wait_for(|phase| *phase > Phase::Running) => break,
                () = self.watch_over(&mut attached) => {}
            }
        }
        match self.starter {
            Starter::Never => self.service.engine.release(),
            Starter::Command { .. } => self.end(attached, &mut phase).await,
        }
    }

    /// Waits for the loss of the data plane, if one is attached, then attaches to the next.
    async fn watch_over(&mut self, attached: &mut Option<Attached>) {
        if let Some(current) = attached {
            self.lost(current).await;
            self.service.engine.release();
            tracing::error!("the data plane is gone");
            *attached = None;
        }
        match self.attach_again().await {
            Ok(next) => {
                let (pid, sessions) = (next.plane.process_id(), next.sessions);
                tracing::info!(pid, sessions, "a data plane is attached");
                self.failures = 0;
                *attached = Some(next);
            }
            Err(error) => {
                tracing::error!(%error, "still without a data plane");
                self.failures = self.failures.saturating_add(1);
                sleep(back_off(self.failures)).await;
            }
        }
    }

    async fn lost(&mut self, attached: &mut Attached) {
        let mut byte = [0];
        let exit = async {
            match &mut self.child {
                Some(running) => drop(running.process.wait().await),
                None => std::future::pending().await,
            }
        };
        // Nothing is ever said on this connection: whatever comes of reading is its end.
        tokio::select! {
            _ = attached.stream.read(&mut byte) => {}
            () = attached.plane.gone() => {}
            () = exit => {}
        }
    }

    async fn attach_again(&mut self) -> Result<Attached, SuperviseError> {
        let status = self.reap();
        if let Some(status) = status {
            tracing::error!(%status, signal = ?status.signal(), "the data plane process has ended");
        }
        match self.attach(Found::Running).await {
            Err(SuperviseError::NobodyThere { .. })
                if matches!(self.starter, Starter::Command { .. }) => {}
            result => return result,
        }
        match &self.child {
            // It is on its way, or it hangs.
            Some(running) if running.since.elapsed() < START_TIME_MAX => {}
            Some(_) => self.kill_child(),
            None => self.start()?,
        }
        let deadline = Instant::now() + RESTART_PATIENCE;
        loop {
            sleep(POLL).await;
            if let Some(status) = self.reap() {
                return Err(SuperviseError::Ended(status));
            }
            match self.attach(Found::Started).await {
                Err(SuperviseError::NobodyThere { .. }) if Instant::now() < deadline => {}
                result => return result,
            }
        }
    }

    /// Connects, takes the shared memory over, and reads back what lives there.
    async fn attach(&mut self, found: Found) -> Result<Attached, SuperviseError> {
        let socket = || self.socket.clone();
        let (attachment, stream) = match connect(&self.socket).await {
            Ok(connected) => connected,
            Err(AttachError::Io(source)) => {
                return Err(SuperviseError::NobodyThere {
                    socket: socket(),
                    source,
                });
            }
            Err(source) => {
                return Err(SuperviseError::Unusable {
                    socket: socket(),
                    source,
                });
            }
        };
        let generation = attachment.welcome.generation;
        if self.generation.is_some_and(|before| before != generation) {
            self.service.registry.clear();
        }
        self.generation = Some(generation);
        let plane =
            self.service
                .engine
                .adopt(attachment)
                .map_err(|source| SuperviseError::Channel {
                    socket: socket(),
                    source,
                })?;
        let sessions = self.service.engine.inspect_all().await.inspect_err(|_| {
            self.service.engine.release();
        })?;
        Ok(Attached {
            plane,
            found,
            sessions,
            stream,
        })
    }

    fn start(&mut self) -> Result<(), SuperviseError> {
        let Starter::Command { program, arguments } = &self.starter else {
            return Ok(());
        };
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).kill_on_drop(false);
        command.stdin(std::process::Stdio::null());
        // All settings are in the arguments; no secret of ours is the data plane's business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("JACKFIELD_") {
                command.env_remove(name);
            }
        }
        let process = command.spawn().map_err(SuperviseError::Start)?;
        self.child = Some(Running {
            process,
            since: Instant::now(),
        });
        Ok(())
    }

    /// How our child has ended, if it has.
    fn reap(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.process.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    fn kill_child(&mut self) {
        if let Some(running) = &mut self.child {
            // It may have ended by itself meanwhile.
            let _ = running.process.start_kill();
        }
    }

    /// Ends the data plane in good order; at once, if that is asked for.
    async fn end(&mut self, attached: Option<Attached>, phase: &mut watch::Receiver<Phase>) {
        let Some(mut attached) = attached else {
            self.stop(phase).await;
            return;
        };
        // The kernel knows better than the welcome who is at the other end.
        let peer = attached
            .stream
            .peer_cred()
            .ok()
            .and_then(|credentials| credentials.pid());
        let Some(pid) = peer.and_then(Pid::from_raw) else {
            return;
        };
        let _ = kill_process(pid, Signal::TERM);
        let gone = async {
            self.lost(&mut attached).await;
            if let Some(running) = &mut self.child {
                let _ = running.process.wait().await;
            }
        };
        let ended = tokio::select! {
            result = timeout(STOP_TIME_MAX, gone) => result.is_ok(),
            _ = phase.wait_for(|phase| *phase == Phase::Forced) => false,
        };
        self.service.engine.release();
        if !ended {
            tracing::warn!("the data plane did not end in time and is killed");
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Ends a child that was never attached.
    async fn stop(&mut self, phase: &mut watch::Receiver<Phase>) {
        let Some(running) = &mut self.child else {
            return;
        };
        if let Some(pid) = running
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = tokio::select! {
            result = timeout(STOP_TIME_MAX, running.process.wait()) => result.is_ok(),
            _ = phase.wait_for(|phase| *phase == Phase::Forced) => false,
        };
        if !ended {
            self.kill_child();
        }
    }
}

/// A data plane that we have started.
#[derive(Debug)]
struct Running {
    process: Child,
    since: Instant,
}

async fn connect(socket: &Path) -> Result<(Attachment, UnixStream), AttachError> {
    let stream = UnixStream::connect(socket).await?.into_std()?;
    stream.set_nonblocking(false)?;
    let welcomed = tokio::task::spawn_blocking(move || {
        receive_welcome(&stream).map(|attachment| (attachment, stream))
    });
    let (attachment, stream) = welcomed.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    Ok((attachment, UnixStream::from_std(stream)?))
}

fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << failures.min(10));
    doubled.min(BACK_OFF_MAX)
}

const POLL: Duration = Duration::from_millis(20);
const START_TIME_MAX: Duration = Duration::from_secs(15);
/// How long one attempt to attach again waits for the new process.
const RESTART_PATIENCE: Duration = Duration::from_secs(2);
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_again_slows_down_but_never_gives_up() {
        assert_eq!(back_off(1), Duration::from_millis(100));
        assert_eq!(back_off(2), Duration::from_millis(200));
        assert_eq!(back_off(1000), BACK_OFF_MAX);
    }
}
