//! CPU time that the data plane's port takes for a datagram, by backend.
//!
//! `cargo bench -p benches --bench port`. Loopback, so the way through the kernel to the receiving
//! socket is in what sending costs. CPU time of the whole process, so what the kernel does on its
//! behalf is in too. The variants take turns, and the table has medians: it may be read on a
//! machine that is busy with other things, the columns of a line with each other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use dataplane::port::{Backend, MediaSocket, PortReceiver, PortSender, Receiver, Sender};
use dataplane_core::Path;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, SockFilter, Socket, Type};

fn main() -> io::Result<()> {
    // `cargo test --benches` only wants to know whether it starts.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    report("nanoseconds of CPU time to send a datagram to one of 100 peers, by run length");
    let mut fan_outs = each_backend(FanOut::new)?;
    for bytes in DATAGRAM_BYTES {
        for run in RUN_LENGTHS {
            measure(rounds, bytes, run, |backend| {
                fan_outs
                    .get_mut(backend)
                    .map(|fan_out| fan_out.send(bytes, run))
            });
        }
    }
    report("nanoseconds of CPU time to receive a datagram, by how many the kernel has joined");
    let mut ends = each_backend(Ends::new)?;
    for bytes in DATAGRAM_BYTES {
        for run in RUN_LENGTHS {
            measure(rounds, bytes, run, |backend| {
                ends.get_mut(backend).map(|ends| ends.receive(bytes, run))
            });
        }
    }
    Ok(())
}

fn each_backend<T>(make: impl Fn(Backend) -> io::Result<T>) -> io::Result<Vec<T>> {
    BACKENDS.into_iter().map(make).collect()
}

/// Prints a line of the table: the median of each backend.
fn measure(rounds: usize, bytes: usize, run: usize, mut sample: impl FnMut(usize) -> Option<u64>) {
    let mut samples = BACKENDS.map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (backend, samples) in samples.iter_mut().enumerate() {
            samples.extend(sample(backend));
        }
    }
    let figures = BACKENDS.iter().zip(&mut samples).map(|(backend, samples)| {
        samples.sort_unstable();
        let middle = samples.get(samples.len() / 2).copied().unwrap_or_default();
        format!("{backend:?} {middle:>5}")
    });
    let figures: Vec<String> = figures.collect();
    report(&format!(
        "{bytes:>5} B  run {run:>2}  {}",
        figures.join("  ")
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]
fn report(line: &str) {
    println!("{line}");
}

/// A port that sends to many sockets, none of which keeps what it gets.
struct FanOut {
    sender: PortSender,
    paths: Vec<Path>,
    _sinks: Vec<Socket>,
}

impl FanOut {
    fn new(backend: Backend) -> io::Result<Self> {
        let sinks = (0..PEERS).map(|_| sink()).collect::<io::Result<Vec<_>>>()?;
        let addresses = sinks.iter().map(Socket::local_addr);
        let paths = addresses
            .map(|address| {
                let remote = address?
                    .as_socket()
                    .ok_or(io::ErrorKind::AddrNotAvailable)?;
                Ok(Path { socket: 0, remote })
            })
            .collect::<io::Result<_>>()?;
        let socket = MediaSocket::bind(LOOPBACK)?;
        Ok(Self {
            sender: PortSender::new(Rc::new([socket]), backend)?,
            paths,
            _sinks: sinks,
        })
    }

    /// Fans out as many turns as make [`SAMPLE_DATAGRAMS`]; nanoseconds for a datagram.
    fn send(&mut self, bytes: usize, run: usize) -> u64 {
        let before = cpu_time();
        let mut sent = 0;
        while sent < SAMPLE_DATAGRAMS {
            for path in &self.paths {
                for _ in 0..run {
                    queue(&mut self.sender, *path, bytes);
                }
            }
            self.sender.flush();
            sent += run * self.paths.len();
        }
        each(before, sent)
    }
}

/// A port that sends to another one.
struct Ends {
    sender: PortSender,
    receiver: PortReceiver,
    path: Path,
}

impl Ends {
    fn new(backend: Backend) -> io::Result<Self> {
        let (from, to) = (MediaSocket::bind(LOOPBACK)?, MediaSocket::bind(LOOPBACK)?);
        let path = Path {
            socket: 0,
            remote: to.local_addr(),
        };
        Ok(Self {
            sender: PortSender::new(Rc::new([from]), Backend::Mmsg)?,
            receiver: PortReceiver::new(Rc::new([to]), backend)?,
            path,
        })
    }

    /// Receives [`WAITING_DATAGRAMS`] that wait in the socket; nanoseconds for a datagram.
    fn receive(&mut self, bytes: usize, run: usize) -> u64 {
        for _ in 0..WAITING_DATAGRAMS / run {
            for _ in 0..run {
                queue(&mut self.sender, self.path, bytes);
            }
            self.sender.flush();
        }
        let before = cpu_time();
        let mut received = 0;
        while received < WAITING_DATAGRAMS {
            received += self.receiver.receive(|_, _| ()).datagrams;
        }
        each(before, received)
    }
}

/// A copy stands for the cipher's writing.
fn queue(sender: &mut PortSender, path: Path, bytes: usize) {
    sender.datagram(path, |space| {
        if let (Some(to), Some(from)) = (space.get_mut(..bytes), PAYLOAD.get(..bytes)) {
            to.copy_from_slice(from);
        }
        bytes
    });
}

/// A socket that throws away what it gets: a filter of one instruction keeps nothing of it.
fn sink() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&LOOPBACK.into())?;
    socket.attach_filter(&[SockFilter::new(RETURN_CONSTANT, 0, 0, 0)])?;
    Ok(socket)
}

fn each(before: u64, datagrams: usize) -> u64 {
    let datagrams = u64::try_from(datagrams).unwrap_or(u64::MAX);
    (cpu_time() - before) / datagrams
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}

const BACKENDS: [Backend; 2] = [Backend::Mmsg, Backend::Uring];
/// An Opus packet and a full video packet.
const DATAGRAM_BYTES: [usize; 2] = [120, 1200];
const RUN_LENGTHS: [usize; 4] = [1, 4, 8, 16];
const PEERS: usize = 100;
const ROUNDS: usize = 21;
const SAMPLE_DATAGRAMS: usize = 3200;
/// So many that a receive buffer of the size that kernels grant by default holds them.
const WAITING_DATAGRAMS: usize = 64;
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PAYLOAD: [u8; 1452] = [0x5a; 1452];
/// `BPF_RET | BPF_K`.
const RETURN_CONSTANT: u16 = 0x06;
