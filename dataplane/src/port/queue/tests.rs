//! The queue: what joins a run, and that nothing is lost or overtaken.

use proptest::prelude::*;

use super::*;

fn path(port: u16) -> Path {
    Path {
        socket: 0,
        remote: ([127, 0, 0, 1], port).into(),
    }
}

/// Writes one datagram that is told from others by its first byte.
fn queue(queue: &mut SendQueue, port: u16, length: u16, content: u8) {
    let space = queue.space().unwrap();
    let bytes = &mut space[..usize::from(length)];
    bytes.fill(0);
    bytes[0] = content;
    queue.push(path(port), length);
}

/// The lengths of each run, with its port, of datagrams given as (port, length).
fn cut(datagrams: &[(u16, u16)]) -> Vec<(u16, Vec<usize>)> {
    let mut queue = SendQueue::new();
    for (port, length) in datagrams {
        self::queue(&mut queue, *port, *length, 0);
    }
    let lengths = |run: &Run| {
        let lengths = queue.datagrams(run).map(<[u8]>::len).collect();
        (run.path.remote.port(), lengths)
    };
    queue.runs().iter().map(lengths).collect()
}

fn pieces(queue: &SendQueue) -> Vec<usize> {
    let runs = queue.runs().iter();
    runs.map(|run| queue.pieces(run).count()).collect()
}

#[test]
fn datagrams_of_one_path_are_one_piece() {
    let mut queue = SendQueue::new();
    for length in [100, 100, 40] {
        self::queue(&mut queue, 1, length, 0);
    }
    assert_eq!(pieces(&queue), [1]);
}

#[test]
fn equal_datagrams_of_one_path_make_one_run_whatever_stands_between() {
    let datagrams = [(1, 100), (2, 7), (1, 100), (1, 100)];
    assert_eq!(cut(&datagrams), [(1, vec![100; 3]), (2, vec![7])]);
    let mut queue = SendQueue::new();
    for (port, length) in datagrams {
        self::queue(&mut queue, port, length, 0);
    }
    assert_eq!(pieces(&queue), [2, 1]);
}

#[test]
fn a_shorter_datagram_ends_a_run_and_a_longer_one_starts_the_next() {
    let runs = cut(&[(1, 100), (1, 100), (1, 40), (1, 40), (1, 50)]);
    assert_eq!(
        runs,
        [(1, vec![100, 100, 40]), (1, vec![40]), (1, vec![50])]
    );
}

#[test]
fn a_run_has_at_most_sixteen_segments() {
    let counts: Vec<usize> = cut(&[(1, 100); 33])
        .iter()
        .map(|(_, run)| run.len())
        .collect();
    assert_eq!(counts, [16, 16, 1]);
}

#[test]
fn without_segments_every_datagram_is_a_run() {
    let mut queue = SendQueue::new();
    queue.forbid_segments();
    for port in [1, 1, 2, 1] {
        self::queue(&mut queue, port, 100, 0);
    }
    assert!(queue.runs().iter().all(|run| run.count == 1));
    assert_eq!(queue.runs().len(), 4);
}

#[test]
fn a_burst_to_one_path_fills_the_queue() {
    for lengths in [[100, 100], [100, 101]] {
        let mut queue = SendQueue::new();
        for turn in 0..48 {
            assert!(!queue.is_full(), "{lengths:?} {turn}");
            self::queue(&mut queue, 1, lengths[turn % 2], 0);
            if turn % 5 == 0 {
                self::queue(&mut queue, 2, 50, 0);
            }
        }
        assert!(queue.is_full(), "{lengths:?}");
    }
}

#[test]
fn a_full_arena_is_a_full_queue() {
    let mut queue = SendQueue::new();
    let mut count = 0;
    while !queue.is_full() {
        self::queue(&mut queue, count, 1452, 0);
        count += 1;
    }
    assert_eq!(usize::from(count), ARENA_BYTES / DATAGRAM_BYTES_MAX);
    queue.clear();
    assert!(queue.is_empty() && !queue.is_full() && queue.space().is_some());
}

#[test]
fn many_small_datagrams_fill_the_queue_before_its_lists_must_grow() {
    // Each on a path of its own, and two dozen paths that take turns.
    for paths in [10_000, 24] {
        let mut queue = SendQueue::new();
        let capacities = |queue: &SendQueue| {
            let lists = (queue.runs.capacity(), queue.pieces.capacity());
            (lists, queue.newest.capacity())
        };
        let before = capacities(&queue);
        let mut count = 0_u16;
        while !queue.is_full() {
            self::queue(&mut queue, count % paths, 20, 0);
            count += 1;
        }
        assert!(count >= 256);
        assert_eq!(capacities(&queue), before);
    }
}

proptest! {
    #[test]
    fn no_datagram_is_lost_or_overtaken_on_its_path_and_every_run_is_one_that_the_kernel_takes(
        datagrams in prop::collection::vec((1..5_u16, 1..4_u16), 0..100)
    ) {
        let mut queue = SendQueue::new();
        let mut queued: Vec<(u16, u16, u8)> = Vec::new();
        for ((port, length), content) in datagrams.iter().zip(0_u8..) {
            if queue.is_full() {
                break;
            }
            self::queue(&mut queue, *port, *length, content);
            queued.push((*port, *length, content));
        }
        let mut sent: Vec<(u16, u16, u8)> = Vec::new();
        for run in queue.runs() {
            let datagrams: Vec<&[u8]> = queue.datagrams(run).collect();
            prop_assert_eq!(datagrams.len(), usize::from(run.count));
            let (last, equal) = datagrams.split_last().unwrap();
            let segment = usize::from(run.segment);
            prop_assert!(equal.iter().all(|datagram| datagram.len() == segment));
            prop_assert!((1..=segment).contains(&last.len()));
            prop_assert!(run.count <= RUN_MAX);
            for datagram in datagrams {
                let length = u16::try_from(datagram.len()).unwrap();
                sent.push((run.path.remote.port(), length, datagram[0]));
            }
        }
        // Stable sorts by path: what is left to tell is the order on each.
        queued.sort_by_key(|(port, _, _)| *port);
        sent.sort_by_key(|(port, _, _)| *port);
        prop_assert_eq!(sent, queued);
    }
}
