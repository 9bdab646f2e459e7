//! What can only be known by trying it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit};

use super::host::Plan;
use super::system_calls::{clock_is_synchronised, io_uring_setup, set_udp_option};

/// What the system answered.
#[derive(Debug)]
pub(super) struct Probes {
    /// Buffers of a UDP socket that asked for as much as a media socket does, read back.
    pub(super) buffers: io::Result<Buffers>,
    /// Every media socket that would be opened, and whether it could be.
    pub(super) sockets: Vec<(SocketAddr, io::Result<()>)>,
    /// Datagrams that came of one message of [`SEGMENTS`] segments.
    pub(super) segmentation: io::Result<usize>,
    /// Whether these were received together.
    pub(super) coalescing: io::Result<bool>,
    /// Whether an `io_uring` could be made.
    pub(super) io_uring: io::Result<()>,
    /// `RLIMIT_NOFILE`.
    pub(super) open_files: Rlimit,
    /// `RLIMIT_MEMLOCK`.
    pub(super) locked_memory: Rlimit,
    /// Whether the clock follows another one.
    pub(super) clock_synchronised: io::Result<bool>,
}

/// Bytes of a socket's buffers, as the kernel counts them: twice what was asked for (socket(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffers {
    pub(super) receive: usize,
    pub(super) send: usize,
}

impl Probes {
    /// Tries everything. Nothing is left behind, and nothing leaves the machine.
    pub(super) fn take(plan: &Plan) -> Self {
        Self {
            buffers: buffers(plan.buffer_bytes),
            sockets: sockets(&plan.sockets),
            segmentation: segmentation(),
            coalescing: coalescing(),
            io_uring: io_uring_setup().map(drop),
            open_files: getrlimit(Resource::Nofile),
            locked_memory: getrlimit(Resource::Memlock),
            clock_synchronised: clock_is_synchronised(),
        }
    }
}

fn buffers(bytes: usize) -> io::Result<Buffers> {
    let socket = UdpSocket::bind(LOOPBACK)?;
    // Asking for more than allowed is no error: the kernel grants what it allows.
    sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    sockopt::set_socket_send_buffer_size(&socket, bytes)?;
    Ok(Buffers {
        receive: sockopt::socket_recv_buffer_size(&socket)?,
        send: sockopt::socket_send_buffer_size(&socket)?,
    })
}

/// Opens all at once, as the data plane would.
fn sockets(addresses: &[SocketAddr]) -> Vec<(SocketAddr, io::Result<()>)> {
    let tried: Vec<_> = addresses.iter().map(UdpSocket::bind).collect();
    let outcomes = tried.into_iter().map(|socket| socket.map(drop));
    addresses.iter().copied().zip(outcomes).collect()
}

fn segmentation() -> io::Result<usize> {
    let (sender, receiver) = loopback_pair()?;
    send_segments(&sender)?;
    let mut datagram = [0; SEGMENTS * SEGMENT_BYTES];
    let mut received = 0;
    while received < SEGMENTS {
        let Ok(SEGMENT_BYTES) = receiver.recv(&mut datagram) else {
            break;
        };
        received += 1;
    }
    Ok(received)
}

fn coalescing() -> io::Result<bool> {
    let (sender, receiver) = loopback_pair()?;
    set_udp_option(&receiver, libc::UDP_GRO, 1)?;
    // Loopback hands a message over as it was sent: this shows that the kernel can, not that a
    // network card does.
    send_segments(&sender)?;
    let mut datagrams = [0; SEGMENTS * SEGMENT_BYTES];
    Ok(receiver.recv(&mut datagrams)? == SEGMENTS * SEGMENT_BYTES)
}

fn send_segments(sender: &UdpSocket) -> io::Result<()> {
    let size = libc::c_int::try_from(SEGMENT_BYTES).map_err(io::Error::other)?;
    set_udp_option(sender, libc::UDP_SEGMENT, size)?;
    sender.send(&[0; SEGMENTS * SEGMENT_BYTES]).map(drop)
}

fn loopback_pair() -> io::Result<(UdpSocket, UdpSocket)> {
    let receiver = UdpSocket::bind(LOOPBACK)?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let sender = UdpSocket::bind(LOOPBACK)?;
    sender.connect(receiver.local_addr()?)?;
    Ok((sender, receiver))
}

const LOOPBACK: &str = "127.0.0.1:0";
/// In the message that is tried.
pub(super) const SEGMENTS: usize = 4;
const SEGMENT_BYTES: usize = 1200;
/// Loopback delivers before a send returns; this is for a machine that is busy.
const PATIENCE: Duration = Duration::from_millis(500);
