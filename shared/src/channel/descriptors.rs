//! Hands file descriptors to another process (`SCM_RIGHTS`, unix(7)).

use core::mem::MaybeUninit;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sends all descriptors, in as many messages as they need, each beside one byte.
pub(super) fn send_descriptors(stream: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for chunk in fds.chunks(PER_MESSAGE_MAX) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let pushed = control.push(SendAncillaryMessage::ScmRights(chunk));
        assert!(pushed, "the space is that of a whole chunk");
        let byte = [IoSlice::new(&[BESIDE])];
        // One byte goes as a whole or not at all, so that no descriptor is sent twice.
        while let Err(error) = sendmsg(stream, &byte, &mut control, SendFlags::NOSIGNAL) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

/// Receives exactly `count` descriptors that [`send_descriptors`] sent. They are `O_CLOEXEC`.
pub(super) fn receive_descriptors(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    while fds.len() < count {
        let before = fds.len();
        receive_message(stream, &mut fds)?;
        if fds.len() == before || fds.len() > count {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(fds)
}

/// Receives one byte and the descriptors beside it.
fn receive_message(stream: &UnixStream, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = loop {
        let mut bytes = [IoSliceMut::new(&mut byte)];
        match recvmsg(stream, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Some were lost: this process may not have more open (RLIMIT_NOFILE).
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(rustix::io::Errno::MFILE.into());
    }
    Ok(())
}

/// The kernel takes at most 253 (`SCM_MAX_FD`).
const PER_MESSAGE_MAX: usize = 128;
/// A stream carries descriptors only beside bytes; this one is of no meaning.
const BESIDE: u8 = 0;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    #[test]
    fn descriptors_arrive_in_order_over_several_messages() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let sent: Vec<File> = (0..300_u16)
            .map(|number| {
                let mut file = File::from(memfd_create("t", MemfdFlags::empty()).expect("memfd"));
                file.write_all(&number.to_be_bytes()).expect("written");
                file
            })
            .collect();
        let borrowed: Vec<_> = sent.iter().map(AsFd::as_fd).collect();
        send_descriptors(&near, &borrowed).expect("sent");
        let received = receive_descriptors(&far, 300).expect("received");
        for (number, fd) in received.into_iter().enumerate() {
            assert!(fcntl_getfd(&fd).expect("flags").contains(FdFlags::CLOEXEC));
            let mut file = File::from(fd);
            file.rewind().expect("rewound");
            let mut bytes = [0; 2];
            file.read_exact(&mut bytes).expect("read");
            assert_eq!(usize::from(u16::from_be_bytes(bytes)), number);
        }
    }

    #[test]
    fn bytes_without_descriptors_are_refused() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        near.write_all(&[BESIDE]).expect("written");
        let error = receive_descriptors(&far, 1).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn more_descriptors_than_announced_are_refused() {
        let (near, far) = UnixStream::pair().expect("a pair");
        send_descriptors(&near, &[near.as_fd(), near.as_fd()]).expect("sent");
        let error = receive_descriptors(&far, 1).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_end_in_the_middle_is_an_error() {
        let (near, far) = UnixStream::pair().expect("a pair");
        send_descriptors(&near, &[near.as_fd()]).expect("sent");
        near.shutdown(std::net::Shutdown::Both).expect("shut down");
        let error = receive_descriptors(&far, 2).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
