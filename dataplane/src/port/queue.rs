//! What waits to be sent: datagrams packed back to back into one arena, and the messages that they
//! will leave in. Plain bytes and numbers; no socket, no `unsafe`.
//!
//! Datagrams of one path that come one after the other touch each other in the arena, so a message
//! of many is usually one piece of memory. Where others came in between it is several.

use dataplane_core::Path;
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;

/// Datagrams that wait, as the runs that they leave in.
#[derive(Debug)]
pub(super) struct SendQueue {
    arena: Box<[u8]>,
    /// Bytes of the arena in use: where the next datagram is written.
    used: usize,
    /// In the order of their first datagrams. A path's next run begins when its last one takes no
    /// more, so this is also the order of the datagrams of each path.
    runs: Vec<Run>,
    pieces: Vec<Piece>,
    /// The newest run of each path.
    newest: HashMap<Path, u16, FxBuildHasher>,
    /// The run that took the last datagram.
    current: u16,
    full: bool,
    segmented: bool,
}

/// Datagrams of one path that leave as one message: all have `segment` bytes, but the last may be
/// shorter (udp(7), `UDP_SEGMENT`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) path: Path,
    /// How many.
    pub(super) count: u16,
    /// Bytes of each but the last.
    pub(super) segment: u16,
    /// Bytes of all.
    pub(super) bytes: u32,
    /// The longest datagram that it would still take; 0: none.
    room: u16,
    first_piece: u16,
    last_piece: u16,
    /// Datagrams of the path in earlier runs.
    before: u16,
}

/// A part of the arena that holds whole datagrams of one run.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    bytes: usize,
    /// The next piece of the run, or [`NONE`].
    next: u16,
}

impl SendQueue {
    /// An empty one, with all the memory that it will need.
    pub(super) fn new() -> Self {
        Self {
            arena: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            runs: Vec::with_capacity(RUNS_MAX),
            pieces: Vec::with_capacity(PIECES_MAX),
            newest: HashMap::with_capacity_and_hasher(RUNS_MAX, FxBuildHasher),
            current: NONE,
            full: false,
            segmented: true,
        }
    }

    /// From now on every datagram is a run of its own.
    pub(super) fn forbid_segments(&mut self) {
        self.segmented = false;
    }

    /// Whether the queue must be emptied before it takes another datagram.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Where the next datagram is to be written; unless the queue is full, this has
    /// [`DATAGRAM_BYTES_MAX`] bytes.
    pub(super) fn space(&mut self) -> Option<&mut [u8]> {
        self.arena
            .get_mut(self.used..self.used + DATAGRAM_BYTES_MAX)
    }

    /// Takes in the datagram of `length` bytes, at least one, that was written to
    /// [`SendQueue::space`].
    pub(super) fn push(&mut self, path: Path, length: u16) {
        let start = self.used;
        self.used += usize::from(length);
        self.full |= self.used + DATAGRAM_BYTES_MAX > ARENA_BYTES;
        // A fan-out writes leg by leg: nearly always this is the path of the last datagram.
        if let Some(run) = self.runs.get_mut(usize::from(self.current))
            && run.path == path
            && run.take(length)
        {
            self.full |= run.is_burst();
            if let Some(piece) = self.pieces.get_mut(usize::from(run.last_piece)) {
                piece.bytes += usize::from(length);
            }
        } else {
            self.push_apart(path, start, length);
        }
    }

    /// Takes in a datagram that does not go on where the last one ended: others came in between,
    /// or that run takes no more.
    fn push_apart(&mut self, path: Path, start: usize, length: u16) {
        let piece = number(self.pieces.len());
        self.pieces.push(Piece {
            start,
            bytes: usize::from(length),
            next: NONE,
        });
        let fresh = number(self.runs.len());
        let mut run = Run {
            path,
            count: 1,
            segment: length,
            bytes: u32::from(length),
            room: if self.segmented { length } else { 0 },
            first_piece: piece,
            last_piece: piece,
            before: 0,
        };
        self.full |= self.pieces.len() == PIECES_MAX;
        match self.newest.entry(path) {
            Entry::Occupied(mut newest) => {
                if let Some(last) = self.runs.get_mut(usize::from(*newest.get())) {
                    if last.take(length) {
                        if let Some(end) = self.pieces.get_mut(usize::from(last.last_piece)) {
                            end.next = piece;
                        }
                        last.last_piece = piece;
                        self.current = *newest.get();
                        self.full |= last.is_burst();
                        return;
                    }
                    run.before = last.before + last.count;
                }
                newest.insert(fresh);
            }
            Entry::Vacant(newest) => {
                newest.insert(fresh);
            }
        }
        self.full |= run.is_burst();
        self.runs.push(run);
        self.full |= self.runs.len() == RUNS_MAX;
        self.current = fresh;
    }

    /// What is to be sent, in order.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The memory of one run, in order.
    pub(super) fn pieces(&self, run: &Run) -> impl Iterator<Item = &[u8]> {
        let piece = |index: u16| self.pieces.get(usize::from(index));
        std::iter::successors(piece(run.first_piece), move |last| piece(last.next))
            .filter_map(|piece| self.arena.get(piece.start..piece.start + piece.bytes))
    }

    /// The datagrams of one run, in order.
    pub(super) fn datagrams(&self, run: &Run) -> impl Iterator<Item = &[u8]> {
        let segment = usize::from(run.segment);
        self.pieces(run)
            .flat_map(move |piece| piece.chunks(segment))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
        self.pieces.clear();
        self.newest.clear();
        self.current = NONE;
        self.full = false;
    }
}

impl Run {
    /// Adds a datagram of `length` bytes if the run can take it.
    fn take(&mut self, length: u16) -> bool {
        if length > self.room {
            return false;
        }
        self.count += 1;
        self.bytes += u32::from(length);
        if length < self.segment || self.count >= RUN_MAX {
            self.room = 0;
        }
        true
    }

    /// Whether no more of its path should leave at once.
    fn is_burst(&self) -> bool {
        self.before + self.count >= BURST_MAX
    }
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(NONE)
}

/// No run or piece.
const NONE: u16 = u16::MAX;

/// Bytes that wait at most. The core writes each datagram here and the kernel copies it out soon
/// after, so the arena should stay in the second-level cache, which has 512 KiB (this is half of
/// it) to 2 MiB on the servers of today, and leave the larger ones to the packets that are kept.
/// It still holds 218 datagrams of 1,200 bytes, so that the price of a system call (0.1 us) is
/// spread thin. What does not fit leaves a little earlier. Sending alone does not tell 128 KiB from
/// 2 MiB (measured, with 32 MiB of third-level cache).
const ARENA_BYTES: usize = 256 * 1024;
/// Messages that wait at most; each takes some 200 bytes of the caches besides its datagrams.
pub(super) const RUNS_MAX: usize = 256;
/// Pieces that wait at most: four to a message is rare, more would be many small datagrams of paths
/// that take turns.
pub(super) const PIECES_MAX: usize = 1024;
/// Segments of one message. More gain little (measured), and fewer lost at once are easier to
/// mend. The kernel allows 64 (128 since Linux 6.9).
pub const SEGMENTS_MAX: usize = 16;
const RUN_MAX: u16 = {
    assert!(SEGMENTS_MAX == 16, "the same in sixteen bits");
    16
};
/// Datagrams of one path that leave together at most. A browser loses some of bursts of 64 to 128
/// full ones (measured); what is left over waits for the other paths first.
const BURST_MAX: u16 = 48;

const _: () = assert!(
    SEGMENTS_MAX * DATAGRAM_BYTES_MAX <= 65_507,
    "a message of the longest segments fits a UDP datagram"
);
const _: () = assert!(
    RUNS_MAX <= PIECES_MAX && PIECES_MAX < NONE as usize,
    "every run has a piece, and every piece a number"
);

#[cfg(test)]
mod tests;
