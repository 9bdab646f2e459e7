//! The buffers that the kernel picks from when a message arrives: a ring of provided buffers
//! (`io_uring_register_buf_ring(3)`).

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// All buffers of one receiver.
#[derive(Debug)]
pub(super) struct Buffers {
    /// [`BUFFERS`] entries in pages of their own.
    ring: NonNull<BufRingEntry>,
    arena: Box<[u8]>,
    /// How many were offered ever, modulo 65,536: the tail of the ring.
    offered: u16,
}

impl Buffers {
    /// Makes the buffers and offers all of them.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn new() -> io::Result<Self> {
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing.
        let pages = unsafe { mmap_anonymous(ptr::null_mut(), RING_BYTES, access, kind) }?;
        let mut buffers = Self {
            ring: NonNull::new(pages.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            arena: vec![0; usize::from(BUFFERS) * STRIDE].into_boxed_slice(),
            offered: 0,
        };
        (0..BUFFERS).for_each(|id| buffers.offer(id));
        buffers.publish();
        Ok(buffers)
    }

    /// Lets the kernel of `ring` know them as group [`GROUP`]. They must live until the ring does
    /// nothing more.
    ///
    /// # Errors
    /// The kernel has no such rings, or no memory.
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.ring.as_ptr().expose_provenance();
        let address = u64::try_from(address).map_err(io::Error::other)?;
        // SAFETY: the mapping has room for BUFFERS entries and lives as long as `self`, which the
        // caller keeps for longer than the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, BUFFERS, GROUP, 0) }
    }

    /// The content of a buffer that the kernel has handed over.
    pub(super) fn content(&mut self, id: u16, length: usize) -> Option<&mut [u8]> {
        let start = usize::from(id) * STRIDE;
        self.arena.get_mut(start..start + length.min(BUFFER_BYTES))
    }

    /// Gives a buffer back; the kernel may use it after [`Buffers::publish`].
    pub(super) fn offer(&mut self, id: u16) {
        let start = usize::from(id) * STRIDE;
        let Some(buffer) = self.arena.get_mut(start..start + BUFFER_BYTES) else {
            return;
        };
        let address = buffer.as_mut_ptr().expose_provenance();
        let place = usize::from(self.offered % BUFFERS);
        // SAFETY: the place is below BUFFERS, so it is inside the mapping.
        let entry = unsafe { self.ring.add(place) };
        // SAFETY: the mapping is writable, aligned to a page, and all its bit patterns are valid
        // entries. The kernel does not read this one, since the tail stands before it.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(u64::try_from(address).unwrap_or_default());
        entry.set_len(BUFFER_LEN);
        entry.set_bid(id);
        self.offered = self.offered.wrapping_add(1);
    }

    /// Shows the kernel all that was offered.
    pub(super) fn publish(&self) {
        // SAFETY: the pointer is that of the first entry of the ring.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: the tail is an aligned u16 of the live mapping that all write by atomics.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.offered, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody uses it any more.
        let unmapped = unsafe { munmap(self.ring.as_ptr().cast(), RING_BYTES) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

/// The number by which requests name these buffers.
pub(super) const GROUP: u16 = 0;
/// How many there are, a power of two. The kernel goes round through all of them, so they should
/// stay in the second-level cache when messages are long: with 128 instead, to receive runs of 8
/// full datagrams took three times the CPU time (646 and 228 ns each). Where a turn takes more
/// than these, it asks the kernel twice.
pub(super) const BUFFERS: u16 = 32;
/// Bytes of a buffer: no datagram is longer, nor what the kernel joins of several.
const BUFFER_LEN: u32 = 64 * 1024 + 112;
const BUFFER_BYTES: usize = BUFFER_LEN as usize;
/// Bytes of a buffer that come before what was received.
pub(super) const BEFORE_PAYLOAD: usize = 112;
/// From buffer to buffer, with the beginnings spread over a cache as those of the other backend's
/// slots are.
const STRIDE: usize = 64 * 1024 + 1024;
const RING_BYTES: usize = BUFFERS as usize * size_of::<BufRingEntry>();

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFER_BYTES <= STRIDE);
