//! A data plane in this process, and a control plane that speaks to it.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::{CoreChoice, Dataplane, DataplaneConfig, DataplaneError, MediaAddress, Stopper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use shared::channel::{AttachError, Attachment, RegionConsumer, RegionProducer, receive_welcome};
use shared::id::{SessionId, ShardIndex};
use shared::protocol::{Command, CommandError, Message, Reply, Request, Response};
use shared::wire;

/// A data plane that runs on a thread of this process.
pub(crate) struct Running {
    pub(crate) socket: PathBuf,
    stopper: Stopper,
    thread: Option<JoinHandle<Result<(), DataplaneError>>>,
}

impl Running {
    pub(crate) fn start(adjust: impl FnOnce(&mut DataplaneConfig)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dataplane-test-{}-{number}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let loopback = MediaAddress::direct(Ipv4Addr::LOCALHOST.into());
        let mut config = DataplaneConfig::new(socket.clone(), vec![loopback]);
        config.cores = CoreChoice::Count(1);
        config.first_media_port = free_port();
        adjust(&mut config);
        let dataplane = Dataplane::start(&config).expect("it starts");
        let stopper = dataplane.stopper().expect("a stopper");
        let thread = std::thread::spawn(move || dataplane.run());
        Self {
            socket,
            stopper,
            thread: Some(thread),
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("no panic").expect("an orderly end");
    }

    pub(crate) fn stop(self) {
        self.stopper.stop();
        self.join();
    }
}

/// A port from which some are free. Below the range that sockets without a port get, so that no
/// other socket takes it in between; each call gives others.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() * 64 + step * 8) % 20_000;
        let port = u16::try_from(port).expect("below 32,768");
        if (0..8).all(|index| UdpSocket::bind((Ipv4Addr::LOCALHOST, port + index)).is_ok()) {
            return port;
        }
    }
}

/// A control plane that is attached.
pub(crate) struct ControlPlane {
    pub(crate) attachment: Attachment,
    /// Its end is how the data plane knows that we are gone.
    _stream: UnixStream,
    shards: Vec<(RegionProducer, RegionConsumer)>,
    next_id: u64,
}

impl ControlPlane {
    pub(crate) fn attach(socket: &Path) -> Result<Self, AttachError> {
        let stream = UnixStream::connect(socket)?;
        let attachment = receive_welcome(&stream)?;
        let shards = attachment
            .region
            .shards()
            .map(|memory| {
                let commands = memory.command_producer().expect("a ring");
                (commands, memory.reply_consumer().expect("a ring"))
            })
            .collect();
        Ok(Self {
            attachment,
            _stream: stream,
            shards,
            next_id: 1,
        })
    }

    /// Asks one shard, and waits for its answer.
    pub(crate) fn call(
        &mut self,
        shard: ShardIndex,
        command: Command,
    ) -> Result<Reply, CommandError> {
        let id = self.next_id;
        self.next_id += 1;
        let deadline_ns = now_ns() + 10_000_000_000;
        let mut buffer = vec![0; shared::limits::RECORD_BYTES_MAX];
        let request = Request {
            id,
            deadline_ns,
            command,
        };
        let length = wire::encode_request(&request, &mut buffer).expect("it fits");
        let (commands, _) = self.shards.get_mut(shard.as_usize()).expect("a shard");
        commands
            .push(buffer.get(..length).expect("its length"))
            .expect("room");
        if commands.take_sleeper() {
            let link = self.attachment.links.get(shard.as_usize());
            link.expect("a link").doorbell.ring();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.receive(shard, deadline) {
                Some(Message::Response(Response {
                    id: answered,
                    result,
                })) => {
                    assert_eq!(answered, id, "answers come in order");
                    return result;
                }
                // Events have no readers here.
                Some(Message::Event(_)) => {}
                None => panic!("no answer in time"),
            }
        }
    }

    /// The next message of one shard, as the channel's documentation says.
    fn receive(&mut self, shard: ShardIndex, deadline: Instant) -> Option<Message> {
        let (_, replies) = self.shards.get_mut(shard.as_usize()).expect("a shard");
        let bell = &self
            .attachment
            .links
            .get(shard.as_usize())
            .expect("a link")
            .bell;
        loop {
            if let Some(record) = replies.pop().expect("a sound ring") {
                return Some(wire::decode_message(record).expect("a message"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if replies.prepare_sleep() {
                let left = Timespec {
                    tv_sec: 0,
                    tv_nsec: left.subsec_nanos().into(),
                };
                let _ = poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&left));
                bell.drain().expect("a bell");
            }
        }
    }

    pub(crate) fn sessions(&mut self, shard: ShardIndex) -> Vec<SessionId> {
        match self.call(shard, Command::ListSessions { after: None }) {
            Ok(Reply::Sessions {
                sessions,
                more: false,
            }) => sessions,
            other => panic!("{other:?}"),
        }
    }
}

fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).expect("not negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
