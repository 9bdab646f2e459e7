//! System calls that the standard library has no name for. All `unsafe` of the control plane is
//! here.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Sets an option of a UDP socket that is an int.
///
/// # Errors
/// The kernel does not know it, or does not take the value.
pub(super) fn set_udp_option(
    socket: &UdpSocket,
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
            libc::SOL_UDP,
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

/// Makes an `io_uring` of a few entries with the plainest parameters; it ends when it is dropped.
///
/// # Errors
/// The kernel has none, or it is forbidden.
pub(super) fn io_uring_setup() -> io::Result<OwnedFd> {
    const ENTRIES: libc::c_uint = 4;
    // struct io_uring_params of linux/io_uring.h, all zero: no flags.
    let mut parameters = [0_u64; 120 / 8];
    // SAFETY: the pointer is to 120 live, aligned bytes, which is what the kernel reads and writes.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, parameters.as_mut_ptr()) };
    match RawFd::try_from(result) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the call has just made this descriptor, and nobody else has it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel believes that its clock follows another one (adjtimex(2)).
///
/// # Errors
/// The call is forbidden.
pub(super) fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: a struct of integers, for which zero is a value; no `modes` means: only read.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to one live timex.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(state != libc::TIME_ERROR),
    }
}
