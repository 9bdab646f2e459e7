//! The sockets: one for all clients, and one towards the server for each of them.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use dataplane_core::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tests::impair::{Delivery, Impairment};
use tests::network::Direction;

use crate::commands::{Answer, Command, CommandReader, answer};

/// Everything of the running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    server: SocketAddr,
    listener: UdpSocket,
    /// By the client that each is for.
    upstream: BTreeMap<SocketAddr, UdpSocket>,
    impairment: Impairment,
    commands: CommandReader,
    unsent: u64,
    started: Instant,
    buffer: Vec<u8>,
}

/// What can be read.
#[derive(Debug, Default)]
struct Ready {
    commands: bool,
    listener: bool,
    upstream: Vec<SocketAddr>,
}

impl Proxy {
    /// A proxy that clients can send to.
    pub(crate) fn bind(listen: SocketAddr, server: SocketAddr, seed: u64) -> io::Result<Self> {
        Ok(Self {
            server,
            listener: socket(listen)?,
            upstream: BTreeMap::new(),
            impairment: Impairment::new(seed),
            commands: CommandReader::default(),
            unsent: 0,
            started: Instant::now(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        })
    }

    /// Carries datagrams until the standard input ends.
    pub(crate) fn run(mut self) -> io::Result<()> {
        answer(&Answer::Listening(self.listener.local_addr()?))?;
        loop {
            self.deliver();
            let ready = self.wait()?;
            if ready.listener {
                self.receive_from_clients()?;
            }
            for client in ready.upstream {
                self.receive_for(client);
            }
            if ready.commands {
                let Some(commands) = self.commands.read()? else {
                    return Ok(());
                };
                for command in commands {
                    answer(&self.handle_command(command))?;
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::default() + self.started.elapsed()
    }

    /// Sends everything that is due.
    fn deliver(&mut self) {
        let now = self.now();
        while let Some(Delivery {
            client,
            direction,
            bytes,
        }) = self.impairment.poll_delivery(now)
        {
            let sent = match direction {
                Direction::Up => self.upstream.get(&client).map(|socket| socket.send(&bytes)),
                Direction::Down => Some(self.listener.send_to(&bytes, client)),
            };
            // A full buffer, or a client that is gone: its datagram is lost, as on any network.
            if !matches!(sent, Some(Ok(_))) {
                self.unsent += 1;
            }
        }
    }

    /// Waits for something to read, until the next datagram is due.
    fn wait(&self) -> io::Result<Ready> {
        let next = self.impairment.next_timeout();
        let timeout = next.map(|next| timespec(next.since(self.now())));
        let stdin = io::stdin();
        let mut descriptors = vec![
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let sockets = self.upstream.values();
        descriptors.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut readable = descriptors.iter().map(|one| !one.revents().is_empty());
        Ok(Ready {
            commands: readable.next().unwrap_or_default(),
            listener: readable.next().unwrap_or_default(),
            upstream: self
                .upstream
                .keys()
                .zip(readable)
                .filter_map(|(client, readable)| readable.then_some(*client))
                .collect(),
        })
    }

    fn receive_from_clients(&mut self) -> io::Result<()> {
        for _ in 0..TURN_DATAGRAMS_MAX {
            let Ok((len, client)) = self.listener.recv_from(&mut self.buffer) else {
                break;
            };
            if let Entry::Vacant(vacant) = self.upstream.entry(client) {
                let own = self.listener.local_addr()?.ip();
                vacant.insert(upstream(own, client.port(), self.server)?);
            }
            self.take(client, Direction::Up, len);
        }
        Ok(())
    }

    /// An error is either that there is no more, or that the server was not there a while ago.
    fn receive_for(&mut self, client: SocketAddr) {
        for _ in 0..TURN_DATAGRAMS_MAX {
            let socket = self.upstream.get(&client);
            let Some(Ok(len)) = socket.map(|socket| socket.recv(&mut self.buffer)) else {
                break;
            };
            self.take(client, Direction::Down, len);
        }
    }

    fn take(&mut self, client: SocketAddr, direction: Direction, len: usize) {
        let now = self.now();
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.impairment
            .handle_datagram(now, client, direction, bytes);
    }

    fn handle_command(&mut self, command: Result<Command, String>) -> Answer {
        let now = self.now();
        match command {
            Ok(Command::Profile(change)) => match self.impairment.change(now, &change) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Refused(error.to_string()),
            },
            Ok(Command::Statistics) => Answer::Statistics {
                clients: self.impairment.statistics(now),
                unsent: self.unsent,
            },
            Err(error) => Answer::Refused(error),
        }
    }
}

/// A socket that reaches and hears only `server`. It has the port of the client if that is free at
/// the proxy's own address: clients are told by STUN which port they are seen with, and browsers tell
/// that one as their own.
fn upstream(own: IpAddr, port: u16, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(SocketAddr::new(own, port)).or_else(|_| socket(SocketAddr::new(own, 0)))?;
    socket.connect(server)?;
    Ok(socket)
}

fn socket(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// The largest UDP payload, and a bit more.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// What one socket may bring before others and what is due get their turn.
const TURN_DATAGRAMS_MAX: usize = 64;

/// Asked of the kernel, which may grant less: room for what comes while the machine is busy.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
