//! A second socket on the address of a media socket, for transport-wide feedback alone.
//!
//! A subscriber tells some twenty times a second when packets came. Nothing of that is urgent, yet
//! each such datagram would wake a shard that sleeps, which costs several times what reading it
//! does. So the kernel sorts: what begins like feedback goes to this socket, which wakes nobody and
//! is read when the shard is awake anyway. All else, NACKs among it, goes to the media socket. What
//! the two bytes claim need not be true: either socket's datagrams go the same way afterwards.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::socket::{open, set_option};

/// Binds the second socket to the address of the first, which shares its port (`SO_REUSEPORT`), and
/// tells the kernel how to sort.
///
/// # Errors
/// The system does not offer that, or has no more sockets. Then the first one gets everything.
pub(super) fn bind_beside(first: &UdpSocket, address: SocketAddr) -> io::Result<UdpSocket> {
    let second = open(address)?;
    let program = libc::sock_fprog {
        len: PROGRAM_LEN,
        filter: SORT.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, whose length is right, and keeps no pointer to it.
    unsafe { set_option(first, libc::SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program) }?;
    Ok(second)
}

/// Returns the place of the socket among those of the address, by the order in which they were
/// bound: 1 for RTCP whose type is 205 and whose format is 15, padded or not (RFC 4585 §6.1,
/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), of which SRTCP leaves these first two
/// bytes readable; else 0. Bytes are counted from the end of the UDP header. A datagram that is too
/// short to have them gets 0 from the kernel.
const SORT: [libc::sock_filter; PROGRAM_LEN as usize] = [
    statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0),
    statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, !PADDING),
    unless_equal(VERSION_AND_FORMAT, 3),
    statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 1),
    unless_equal(TRANSPORT_LAYER_FEEDBACK, 1),
    statement(libc::BPF_RET | libc::BPF_K, 1),
    statement(libc::BPF_RET | libc::BPF_K, 0),
];
const PROGRAM_LEN: u16 = 7;

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    instruction(code, k, 0)
}

/// Skips so many instructions unless the accumulator is `value`.
const fn unless_equal(value: u32, skipped: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skipped)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the codes of classic BPF have 16 bits"
)]
const fn instruction(code: u32, k: u32, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    }
}

/// Of `asm-generic/socket.h`; libc 0.2 names it for Android only.
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;

/// The P bit of an RTCP header.
const PADDING: u32 = 0x20;
/// Version 2, no padding, format 15.
const VERSION_AND_FORMAT: u32 = 2 << 6 | 15;
/// RTPFB.
const TRANSPORT_LAYER_FEEDBACK: u32 = 205;
