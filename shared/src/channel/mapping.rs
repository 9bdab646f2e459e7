//! Memory that two processes share. All `unsafe` of this crate is here.

use core::ptr::NonNull;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::sync::AtomicU64;

/// A mapped memfd, seen as atomic words: nothing else may be made of it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the pointer is owned by this value and stays mapped until it is dropped; it only leaves
// as `&[AtomicU64]`, which any thread may use.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Makes a memfd of `words` zeros that can neither shrink nor grow, and maps it.
    pub(super) fn create(words: usize) -> io::Result<(OwnedFd, Self)> {
        let fd = memfd_create("jackfield", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, bytes_of(words)? as u64)?;
        fcntl_add_seals(&fd, SEALS | SealFlags::SEAL)?;
        let mapping = Self::map(&fd, words)?;
        Ok((fd, mapping))
    }

    /// Maps the first `words` of `fd`, if it is sealed and has so many.
    pub(super) fn map(fd: impl AsFd, words: usize) -> io::Result<Self> {
        let sealed = sealed_bytes(fd.as_fd())?;
        let bytes = bytes_of(words)?;
        if sealed.is_none_or(|sealed| sealed < bytes as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a new mapping at an address that the kernel chooses takes no memory from anyone.
        // The file cannot shrink (checked above), so that no access can fault.
        let start = unsafe {
            mmap(
                core::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, words })
    }
}

impl AsRef<[AtomicU64]> for Mapping {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and `words` words are mapped for reading and writing for
        // as long as `self` lives. Every value is a valid u64. Other processes write at any time,
        // which atomics allow; nobody makes a plain reference to this memory.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the whole of the mapping that `map` made, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.words * WORD_BYTES) };
        assert!(
            unmapped.is_ok(),
            "a mapping of our own can be unmapped: {unmapped:?}"
        );
    }
}

/// The size of a memfd that can neither shrink nor grow; None if it can.
pub(super) fn sealed_bytes(fd: impl AsFd) -> io::Result<Option<u64>> {
    // Not a memfd at all: EINVAL.
    let Ok(seals) = fcntl_get_seals(fd.as_fd()) else {
        return Ok(None);
    };
    if !seals.contains(SEALS) {
        return Ok(None);
    }
    Ok(u64::try_from(fstat(fd.as_fd())?.st_size).ok())
}

fn bytes_of(words: usize) -> io::Result<usize> {
    words
        .checked_mul(WORD_BYTES)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

const WORD_BYTES: usize = size_of::<AtomicU64>();
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
