//! The system calls of the load path: batches in and out, with GRO and GSO. All `unsafe` of this
//! crate stands here.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Lets the kernel hand over the packets of one run in one piece (udp(7), `UDP_GRO`), or cut them
/// up beforehand: in the sender's time, where the sender is on the same machine.
///
/// # Errors
///
/// The kernel does not know the option.
pub fn set_gro(socket: &UdpSocket, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: the descriptor is open as long as `socket` is borrowed; pointer and length describe
    // one live c_int, which the call only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const value).cast(),
            INT_BYTES,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets `command` end when the thread that starts it does, however that ends.
pub fn end_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only a system call is made, which is async-signal-safe; it
    // allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}

/// Room for some datagrams, each of which may be a whole run.
#[derive(Debug)]
pub struct ReceiveBatch {
    arena: Box<[u8]>,
    slot_bytes: usize,
    vectors: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    messages: Box<[libc::mmsghdr]>,
    filled: usize,
}

impl ReceiveBatch {
    /// Room for `count` messages of up to `slot_bytes` bytes.
    pub fn new(count: usize, slot_bytes: usize) -> Self {
        Self {
            arena: vec![0; count * slot_bytes].into_boxed_slice(),
            slot_bytes,
            vectors: vec![EMPTY_VECTOR; count].into_boxed_slice(),
            controls: vec![Control::EMPTY; count].into_boxed_slice(),
            messages: vec![EMPTY_MESSAGE; count].into_boxed_slice(),
            filled: 0,
        }
    }

    /// Takes what waits in `socket`, as far as there is room; how many messages. Any error counts
    /// as none: the next call tells.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        let slots = self.arena.chunks_exact_mut(self.slot_bytes);
        let parts = self.messages.iter_mut().zip(&mut self.vectors);
        for (((message, vector), control), slot) in parts.zip(&mut self.controls).zip(slots) {
            *vector = vector_of(slot);
            control.header.cmsg_len = 0;
            let header = &mut message.msg_hdr;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>();
            header.msg_flags = 0;
        }
        let room = u32::try_from(self.messages.len()).unwrap_or_default();
        // SAFETY: `messages` holds `room` headers, each of which was just pointed at a vector, a
        // control buffer and a slot that live in `self`, which is borrowed mutably. The kernel
        // writes within the lengths given and keeps no pointer after the call.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                room,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(result).unwrap_or_default();
        self.filled
    }

    /// Whether the last call filled all of the room, so that more may wait.
    pub fn is_full(&self) -> bool {
        self.filled == self.messages.len()
    }

    /// The messages of the last call: each with the size of its segments.
    pub fn messages(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let slots = self.arena.chunks_exact(self.slot_bytes);
        let parts = self.messages.iter().zip(&self.controls).zip(slots);
        parts
            .take(self.filled)
            .filter_map(|((message, control), slot)| {
                let length = usize::try_from(message.msg_len).unwrap_or_default();
                let bytes = slot.get(..length)?;
                Some((bytes, control.received_segment().unwrap_or(length).max(1)))
            })
    }
}

/// One message to send: equal segments, of which the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// None on a connected socket.
    pub destination: Option<SocketAddrV4>,
    /// All segments, one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each.
    pub segment: u16,
}

/// The headers of messages that are sent together.
#[derive(Debug, Default)]
pub struct SendBatch {
    names: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
    controls: Vec<Control>,
    messages: Vec<libc::mmsghdr>,
}

impl SendBatch {
    /// Sends `outgoing` with as few calls as the kernel needs; how many messages went out. One that
    /// is refused is left out.
    pub fn send(&mut self, socket: &UdpSocket, outgoing: &[Outgoing<'_>]) -> usize {
        self.prepare(outgoing);
        let mut sent = 0;
        let mut from = 0;
        while let Some(rest) = self
            .messages
            .get_mut(from..)
            .filter(|rest| !rest.is_empty())
        {
            let count = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            // SAFETY: `rest` holds `count` headers whose names, vectors and control messages live
            // in `self`; the datagrams are borrowed by `outgoing`, which outlives this call. The kernel only reads them, and keeps no pointer after the call.
            let result = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT,
                )
            };
            // An error is the first message's (sendmmsg(2)): it is left out.
            let done = usize::try_from(result).unwrap_or_default();
            sent += done;
            from += done.max(1);
        }
        sent
    }

    fn prepare(&mut self, outgoing: &[Outgoing<'_>]) {
        self.names.clear();
        self.vectors.clear();
        self.controls.clear();
        self.messages.clear();
        for message in outgoing {
            self.names.push(name_of(message.destination));
            self.vectors.push(libc::iovec {
                iov_base: message.bytes.as_ptr().cast_mut().cast(),
                iov_len: message.bytes.len(),
            });
            self.controls.push(Control::segment(message.segment));
            let mut header = EMPTY_MESSAGE;
            if message.destination.is_some() {
                header.msg_hdr.msg_namelen = NAME_BYTES;
            }
            // A message of one segment needs no control message.
            if message.bytes.len() > usize::from(message.segment) {
                header.msg_hdr.msg_controllen = size_of::<Control>();
            }
            self.messages.push(header);
        }
        // Only now: the vectors above moved while they grew.
        let parts = self.messages.iter_mut().zip(&mut self.vectors);
        for (((message, vector), name), control) in
            parts.zip(&mut self.names).zip(&mut self.controls)
        {
            let header = &mut message.msg_hdr;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            if header.msg_namelen > 0 {
                header.msg_name = ptr::from_mut(name).cast();
            }
            if header.msg_controllen > 0 {
                header.msg_control = ptr::from_mut(control).cast();
            }
        }
    }
}

fn name_of(destination: Option<SocketAddrV4>) -> libc::sockaddr_in {
    let (ip, port) =
        destination.map_or((0, 0), |address| (u32::from(*address.ip()), address.port()));
    libc::sockaddr_in {
        sin_family: INET,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: ip.to_be() },
        sin_zero: [0; 8],
    }
}

fn vector_of(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// One control message with a number, laid out as cmsg(3) says: `UDP_SEGMENT` has 16 bits, and
/// `UDP_GRO` an int.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    value: [u8; 8],
}

impl Control {
    const EMPTY: Self = Self {
        header: libc::cmsghdr {
            cmsg_len: 0,
            cmsg_level: 0,
            cmsg_type: 0,
        },
        value: [0; 8],
    };

    fn segment(bytes: u16) -> Self {
        let [low, high] = bytes.to_ne_bytes();
        Self {
            header: libc::cmsghdr {
                cmsg_len: size_of::<libc::cmsghdr>() + size_of::<u16>(),
                cmsg_level: libc::SOL_UDP,
                cmsg_type: libc::UDP_SEGMENT,
            },
            value: [low, high, 0, 0, 0, 0, 0, 0],
        }
    }

    fn received_segment(&self) -> Option<usize> {
        let is_gro = self.header.cmsg_len > 0
            && self.header.cmsg_level == libc::SOL_UDP
            && self.header.cmsg_type == libc::UDP_GRO;
        let (value, _) = self.value.split_first_chunk::<4>()?;
        is_gro
            .then(|| usize::try_from(i32::from_ne_bytes(*value)).ok())
            .flatten()
    }
}

impl core::fmt::Debug for Control {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Control")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

const EMPTY_MESSAGE: libc::mmsghdr = libc::mmsghdr {
    msg_hdr: libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

const INT_BYTES: libc::socklen_t = {
    assert!(size_of::<libc::c_int>() == 4, "int has 32 bits");
    4
};
const NAME_BYTES: libc::socklen_t = {
    assert!(size_of::<libc::sockaddr_in>() == 16, "as ip(7) has it");
    16
};
const INET: libc::sa_family_t = {
    assert!(libc::AF_INET == 2, "as the kernel has it");
    2
};
const _: () = assert!(size_of::<Control>() == 24, "CMSG_SPACE(4) of cmsg(3)");

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket, SocketAddrV4) {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = receiver.local_addr().unwrap() else {
            panic!("IPv4")
        };
        (sender, receiver, address)
    }

    /// What `receiver` gets, as lists of segments.
    fn runs(receiver: &UdpSocket) -> Vec<Vec<Vec<u8>>> {
        let mut batch = ReceiveBatch::new(8, 1 << 16);
        batch.receive(receiver);
        batch
            .messages()
            .map(|(bytes, segment)| bytes.chunks(segment).map(<[u8]>::to_vec).collect())
            .collect()
    }

    #[test]
    fn a_run_arrives_in_one_piece_and_is_cut_where_it_was_joined() {
        let (sender, receiver, address) = pair();
        set_gro(&receiver, true).unwrap();
        let run = Outgoing {
            destination: Some(address),
            bytes: b"aaabbbcc",
            segment: 3,
        };
        let single = Outgoing {
            bytes: b"d",
            segment: 1,
            ..run
        };
        let sent = SendBatch::default().send(&sender, &[run, single]);
        assert_eq!(sent, 2);
        let expected: [&[&[u8]]; 2] = [&[b"aaa", b"bbb", b"cc"], &[b"d"]];
        assert_eq!(runs(&receiver), expected);
    }

    #[test]
    fn without_gro_the_kernel_cuts_the_run() {
        let (sender, receiver, address) = pair();
        sender.connect(address).unwrap();
        let run = Outgoing {
            destination: None,
            bytes: b"aaabbb",
            segment: 3,
        };
        assert_eq!(SendBatch::default().send(&sender, &[run]), 1);
        assert_eq!(runs(&receiver), [[b"aaa"], [b"bbb"]]);
    }

    #[test]
    fn a_message_that_is_refused_does_not_hold_up_the_others() {
        let (sender, receiver, address) = pair();
        let good = Outgoing {
            destination: Some(address),
            bytes: b"x",
            segment: 1,
        };
        let too_long = vec![0; 70_000];
        let bad = Outgoing {
            bytes: &too_long,
            segment: 1,
            ..good
        };
        let sent = SendBatch::default().send(&sender, &[bad, good]);
        assert_eq!((sent, runs(&receiver).len()), (1, 1));
    }
}
