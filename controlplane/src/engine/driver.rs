//! One shard's rings and bells, owned by one task.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use shared::channel::{
    Bell, BellState, Doorbell, Link, PushError, RegionConsumer, RegionProducer, RingError,
    ShardMemory,
};
use shared::limits::RECORD_BYTES_MAX;
use shared::protocol::{Command, Message, Reply, Request, Response};
use shared::wire;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::{AdoptError, EngineError, Notice};

/// A command on its way, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) deadline_ns: u64,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Reply, EngineError>>,
}

/// The task of one shard.
pub(super) struct Driver {
    commands: RegionProducer,
    replies: RegionConsumer,
    doorbell: Doorbell,
    bell: Bell,
    /// The same socket as `bell`, for waiting on it.
    bell_socket: UnixStream,
    outgoing: mpsc::Receiver<Outgoing>,
    notices: mpsc::UnboundedSender<Notice>,
    pending: HashMap<u64, oneshot::Sender<Result<Reply, EngineError>>>,
    next_id: u64,
    /// A record that found the ring full. Nothing overtakes it.
    held_back: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

/// Why a channel cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("the doorbell failed: {0}")]
    Bell(#[from] io::Error),
    #[error("the data plane closed the doorbell")]
    Closed,
}

impl Driver {
    pub(super) fn new(
        shard: &ShardMemory,
        link: Link,
        outgoing: mpsc::Receiver<Outgoing>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Result<Self, AdoptError> {
        let Link { doorbell, bell } = link;
        let socket: std::os::unix::net::UnixStream = bell.as_fd().try_clone_to_owned()?.into();
        socket.set_nonblocking(true)?;
        Ok(Self {
            commands: shard.command_producer()?,
            replies: shard.reply_consumer()?,
            doorbell,
            bell,
            bell_socket: UnixStream::from_std(socket)?,
            outgoing,
            notices,
            pending: HashMap::new(),
            next_id: 1,
            held_back: None,
            buffer: vec![0; RECORD_BYTES_MAX],
        })
    }

    /// Runs until `gone` is true or the channel fails. Whoever waits is told by the drop of `self`.
    pub(super) async fn run(
        mut self,
        gone: &mut watch::Receiver<bool>,
    ) -> Result<(), ChannelError> {
        loop {
            self.receive()?;
            if !self.replies.prepare_sleep() {
                // More has come. Other tasks of this thread get their turn all the same.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                result = gone.wait_for(|gone| *gone) => {
                    return result.map(|_| ()).map_err(|_| ChannelError::Closed);
                }
                readable = self.bell_socket.readable() => {
                    readable?;
                    if self.drain_bell()? == BellState::Closed {
                        self.receive()?;
                        return Err(ChannelError::Closed);
                    }
                }
                outgoing = self.outgoing.recv(), if self.held_back.is_none() => {
                    // The senders are dropped with the plane, which also ends `gone`.
                    let Some(outgoing) = outgoing else { return Ok(()) };
                    self.send(outgoing)?;
                }
                () = tokio::time::sleep(RETRY_AFTER), if self.held_back.is_some() => {
                    self.send_held_back()?;
                }
            }
            self.replies.wake();
        }
    }

    fn drain_bell(&self) -> io::Result<BellState> {
        let mut state = BellState::Open;
        let drained = self.bell_socket.try_io(Interest::READABLE, || {
            state = self.bell.drain()?;
            // All has been taken: wait for the next ring.
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        });
        match drained {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(state),
        }
    }

    /// Takes what the ring holds, at most [`RECEIVE_MAX`] records.
    fn receive(&mut self) -> Result<(), ChannelError> {
        for _ in 0..RECEIVE_MAX {
            let Some(record) = self.replies.pop()? else {
                break;
            };
            match wire::decode_message(record) {
                Ok(Message::Response(response)) => self.answer(response),
                Ok(Message::Event(event)) => {
                    // Nobody hears it any more: the process is about to end.
                    let _ = self.notices.send(Notice::Event(event));
                }
                Err(error) => tracing::warn!(%error, "the data plane sent what cannot be read"),
            }
        }
        Ok(())
    }

    fn answer(&mut self, response: Response) {
        if let Ok(Reply::Session(report)) = &response.result {
            let _ = self.notices.send(Notice::Report(report.clone()));
        }
        if let Some(answer) = self.pending.remove(&response.id) {
            // Who asked may have given up.
            let _ = answer.send(response.result.map_err(EngineError::Refused));
        }
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), ChannelError> {
        let Outgoing {
            deadline_ns,
            command,
            answer,
        } = outgoing;
        if answer.is_closed() {
            return Ok(());
        }
        let id = self.next_id;
        self.next_id += 1;
        let request = Request {
            id,
            deadline_ns,
            command,
        };
        let Ok(length) = wire::encode_request(&request, &mut self.buffer) else {
            let _ = answer.send(Err(EngineError::TooLarge));
            return Ok(());
        };
        if self.pending.len() >= PENDING_SWEEP {
            self.pending.retain(|_, waiting| !waiting.is_closed());
        }
        self.pending.insert(id, answer);
        let record = self.buffer.get(..length).unwrap_or_default();
        match self.commands.push(record) {
            Ok(()) => self.ring(),
            Err(PushError::Full) => self.held_back = Some(record.to_vec()),
            Err(PushError::TooLong) => {
                if let Some(answer) = self.pending.remove(&id) {
                    let _ = answer.send(Err(EngineError::TooLarge));
                }
            }
            Err(PushError::Corrupt) => return Err(RingError::Corrupt.into()),
        }
        Ok(())
    }

    fn send_held_back(&mut self) -> Result<(), ChannelError> {
        let Some(record) = self.held_back.take() else {
            return Ok(());
        };
        match self.commands.push(&record) {
            Ok(()) => self.ring(),
            Err(PushError::Full) => self.held_back = Some(record),
            // It had the right length when it was held back.
            Err(PushError::TooLong | PushError::Corrupt) => return Err(RingError::Corrupt.into()),
        }
        Ok(())
    }

    fn ring(&mut self) {
        if self.commands.take_sleeper() {
            self.doorbell.ring();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for (_, answer) in self.pending.drain() {
            let _ = answer.send(Err(EngineError::Lost));
        }
    }
}

impl EngineError {
    /// Whether the data plane may have carried the command out all the same.
    pub fn leaves_doubt(self) -> bool {
        match self {
            Self::Silent | Self::Lost | Self::Mismatch => true,
            Self::Away
            | Self::NoSuchShard
            | Self::TooLarge
            | Self::Overloaded
            | Self::Refused(_) => false,
        }
    }
}

/// Nobody rings for room, so a full ring is looked at again on our own clock.
const RETRY_AFTER: Duration = Duration::from_millis(2);
/// Records taken before the task looks at its commands again.
const RECEIVE_MAX: usize = 256;
/// Answers waited for before those that nobody waits for are swept out.
const PENDING_SWEEP: usize = 4096;
