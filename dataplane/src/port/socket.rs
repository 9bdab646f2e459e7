//! One media socket: how it is opened.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::sockopt;

/// A UDP socket of one shard. It is left blocking, since `io_uring` would not wait for one that is
/// not; all our calls say `MSG_DONTWAIT`.
#[derive(Debug)]
pub struct MediaSocket {
    socket: UdpSocket,
    address: SocketAddr,
    buffers: BufferSizes,
}

/// Bytes of the kernel's buffers, as it counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// `SO_RCVBUF`, read back.
    pub receive: usize,
    /// `SO_SNDBUF`, read back.
    pub send: usize,
}

impl BufferSizes {
    /// Bytes that are asked for each way.
    pub const ASKED: usize = BUFFER_BYTES;

    /// What an operator should do about them, if they are smaller than wanted.
    pub fn advice(self) -> Option<String> {
        // The kernel doubles what is asked for, to have room for its own records (socket(7)).
        let short = self.receive < 2 * BUFFER_BYTES || self.send < 2 * BUFFER_BYTES;
        short.then(|| {
            format!(
                "the kernel grants {} bytes of receive buffer and {} of send buffer instead of {}; \
                 bursts may be lost: sysctl -w net.core.rmem_max={BUFFER_BYTES} \
                 net.core.wmem_max={BUFFER_BYTES}",
                self.receive,
                self.send,
                2 * BUFFER_BYTES,
            )
        })
    }
}

impl MediaSocket {
    /// Binds a socket for media.
    ///
    /// # Errors
    /// The address is not of this machine, or taken; or the system has no more sockets.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        forbid_fragmentation(&socket, address)?;
        // Datagrams that come joined cost a third (1,200 bytes in runs of 8: 232 instead of 745 ns
        // of CPU time; 120 bytes: 173 instead of 955), and those that do not cost no more (858 and
        // 857 ns). A stamp adds 14 % to a message (979 ns), which is little beside what is sent for
        // it. Medians of interleaved runs over loopback. Without stamps the time of receiving has
        // to do.
        for (level, option) in [
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
            (libc::SOL_UDP, libc::UDP_GRO),
        ] {
            if let Err(error) = set_option(&socket, level, option, 1) {
                tracing::warn!(%error, option, "a socket option that would help is missing");
            }
        }
        // Asking for more than allowed is no error: the kernel grants what it allows.
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES)?;
        sockopt::set_socket_send_buffer_size(&socket, BUFFER_BYTES)?;
        let buffers = BufferSizes {
            receive: sockopt::socket_recv_buffer_size(&socket)?,
            send: sockopt::socket_send_buffer_size(&socket)?,
        };
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            buffers,
        })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the kernel granted.
    pub fn buffers(&self) -> BufferSizes {
        self.buffers
    }

    /// A second descriptor of the same socket, to wait on.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }
}

impl AsRawFd for MediaSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sets the Don't Fragment bit, and lets no path MTU that somebody claims stop us: `PROBE` of
/// ip(7). Fragments of media would be lost at many a firewall.
fn forbid_fragmentation(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    let (level, option, value) = match address {
        SocketAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        ),
        SocketAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    };
    set_option(socket, level, option, value)
}

/// Sets an option whose value is an int.
fn set_option(
    socket: &UdpSocket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    const LEN: libc::socklen_t = {
        assert!(size_of::<libc::c_int>() == 4, "int has 32 bits");
        4
    };
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the pointer and the length
    // describe one live c_int, which the call only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            LEN,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asked for each way: a burst of a thousand full datagrams, twice over for what the kernel keeps
/// with each.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_buffers_come_with_the_line_that_mends_them() {
        let advice = BufferSizes {
            receive: 425_984,
            send: 8_388_608,
        }
        .advice()
        .unwrap();
        assert!(
            advice.ends_with("sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304"),
            "{advice}"
        );
        assert_eq!(
            BufferSizes {
                receive: 8_388_608,
                send: 8_388_608
            }
            .advice(),
            None
        );
    }

    #[test]
    fn a_port_that_is_taken_is_an_error() {
        let first = MediaSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = MediaSocket::bind(first.local_addr()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
