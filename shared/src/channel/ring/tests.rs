use std::sync::Arc;

use super::super::sync::AtomicU64;
use super::{Consumer, Producer, PushError, memory_words};

type Memory = Arc<[AtomicU64]>;

fn memory(data_words: usize) -> Memory {
    (0..memory_words(data_words))
        .map(|_| AtomicU64::new(0))
        .collect()
}

fn ends(data_words: usize) -> (Producer<Memory>, Consumer<Memory>, Memory) {
    let memory = memory(data_words);
    let producer = Producer::new(Arc::clone(&memory)).expect("a producer");
    let consumer = Consumer::new(Arc::clone(&memory)).expect("a consumer");
    (producer, consumer, memory)
}

#[cfg(loom)]
mod loom_model {
    use loom::sync::Notify;
    use loom::thread;

    use super::*;

    /// Two records of two words each through two words: the second waits for room and wraps.
    #[test]
    fn loom_no_record_is_lost_or_torn() {
        loom::model(|| {
            let (mut producer, mut consumer, _) = ends(2);
            let sender = thread::spawn(move || {
                for record in [[1; 8], [2; 8]] {
                    while producer.push(&record) == Err(PushError::Full) {
                        thread::yield_now();
                    }
                }
            });
            for expected in [[1; 8], [2; 8]] {
                loop {
                    match consumer.pop().expect("not corrupt") {
                        Some(record) => break assert_eq!(record, expected),
                        None => thread::yield_now(),
                    }
                }
            }
            assert_eq!(consumer.pop(), Ok(None));
            sender.join().expect("sent");
        });
    }

    /// The consumer sleeps whenever it is let. Were a wake-up lost, both threads would be at their
    /// end or asleep, which loom reports as a deadlock.
    #[test]
    fn loom_no_wake_up_is_lost() {
        loom::model(|| {
            let (mut producer, mut consumer, _) = ends(4);
            let bell = Arc::new(Notify::new());
            let doorbell = Arc::clone(&bell);
            let sender = thread::spawn(move || {
                for record in [[1], [2]] {
                    producer.push(&record).expect("room for both");
                    if producer.take_sleeper() {
                        doorbell.notify();
                    }
                }
            });
            for expected in [[1], [2]] {
                loop {
                    if let Some(record) = consumer.pop().expect("not corrupt") {
                        break assert_eq!(record, expected);
                    }
                    if consumer.prepare_sleep() {
                        bell.wait();
                    }
                }
            }
            sender.join().expect("sent");
        });
    }
}

#[cfg(not(loom))]
mod machine {
    use std::collections::VecDeque;
    use std::thread;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::super::sync::Ordering;
    use super::super::{ASLEEP, DATA_WORD, HEAD_WORD, RingError, SLEEPING_WORD, TAIL_WORD, reset};
    use super::*;
    use crate::limits::RECORD_BYTES_MAX;

    /// More than twice what the largest record takes.
    const LARGE: usize = 32 * 1024;

    #[test]
    fn records_come_out_as_they_went_in() {
        let (mut producer, mut consumer, _) = ends(64);
        for record in [&b""[..], b"1", b"12345678", b"123456789"] {
            producer.push(record).expect("room");
        }
        for record in [&b""[..], b"1", b"12345678", b"123456789"] {
            assert_eq!(consumer.pop(), Ok(Some(record)));
        }
        assert_eq!(consumer.pop(), Ok(None));
    }

    #[test]
    fn a_full_ring_refuses_a_record_and_stays_as_it_is() {
        let (mut producer, mut consumer, memory) = ends(4);
        producer.push(&[7; 16]).expect("three words");
        let before: Vec<u64> = memory.iter().map(|w| w.load(Ordering::Relaxed)).collect();
        assert_eq!(producer.push(&[8; 8]), Err(PushError::Full));
        let after: Vec<u64> = memory.iter().map(|w| w.load(Ordering::Relaxed)).collect();
        assert_eq!(before, after);
        assert_eq!(consumer.pop(), Ok(Some(&[7; 16][..])));
        assert_eq!(producer.push(&[8; 8]), Ok(()));
        assert_eq!(consumer.pop(), Ok(Some(&[8; 8][..])));
    }

    #[test]
    fn the_largest_record_fits_and_a_larger_one_never_does() {
        let (mut producer, mut consumer, _) = ends(LARGE);
        let largest = vec![0xa5; RECORD_BYTES_MAX];
        for _ in 0..10 {
            producer.push(&largest).expect("room");
            assert_eq!(consumer.pop(), Ok(Some(&largest[..])));
        }
        assert_eq!(
            producer.push(&vec![0; RECORD_BYTES_MAX + 1]),
            Err(PushError::TooLong)
        );
        let (mut small, _, _) = ends(4);
        assert_eq!(small.push(&[0; 25]), Err(PushError::TooLong));
    }

    #[test]
    fn a_new_end_goes_on_where_the_old_one_stood() {
        let (mut producer, mut consumer, memory) = ends(8);
        for record in [[1], [2], [3]] {
            producer.push(&record).expect("room");
        }
        assert_eq!(consumer.pop(), Ok(Some(&[1][..])));
        let mut consumer = Consumer::new(Arc::clone(&memory)).expect("a consumer");
        let mut producer = Producer::new(memory).expect("a producer");
        producer.push(&[4]).expect("room");
        for record in [[2], [3], [4]] {
            assert_eq!(consumer.pop(), Ok(Some(&record[..])));
        }
    }

    #[test]
    fn cursors_may_run_over_the_end_of_their_range() {
        let memory = memory(4);
        for cursor in [HEAD_WORD, TAIL_WORD] {
            memory[cursor].store(u64::MAX - 1, Ordering::Relaxed);
        }
        let mut producer = Producer::new(Arc::clone(&memory)).expect("a producer");
        let mut consumer = Consumer::new(memory).expect("a consumer");
        for number in 0..10_u8 {
            producer.push(&[number; 9]).expect("room");
            assert_eq!(producer.push(&[number; 9]), Err(PushError::Full));
            assert_eq!(consumer.pop(), Ok(Some(&[number; 9][..])));
        }
    }

    #[test]
    fn a_reset_ring_is_empty_and_its_consumer_awake() {
        let (mut producer, mut consumer, memory) = ends(8);
        assert!(consumer.prepare_sleep());
        producer.push(&[1]).expect("room");
        reset(&memory).expect("a ring");
        let mut consumer = Consumer::new(Arc::clone(&memory)).expect("a consumer");
        let mut producer = Producer::new(memory).expect("a producer");
        assert_eq!(consumer.pop(), Ok(None));
        producer.push(&[2; 56]).expect("all of it is free");
        assert!(!producer.take_sleeper());
        assert_eq!(consumer.pop(), Ok(Some(&[2; 56][..])));
    }

    #[test]
    fn a_sleeper_is_told_of_once() {
        let (mut producer, mut consumer, _) = ends(8);
        assert!(!producer.take_sleeper(), "nobody sleeps yet");
        assert!(consumer.prepare_sleep());
        producer.push(&[1]).expect("room");
        assert!(producer.take_sleeper());
        assert!(!producer.take_sleeper());
    }

    #[test]
    fn a_consumer_that_woke_by_itself_is_not_rung_for() {
        let (mut producer, mut consumer, _) = ends(8);
        assert!(consumer.prepare_sleep());
        consumer.wake();
        producer.push(&[1]).expect("room");
        assert!(!producer.take_sleeper());
    }

    #[test]
    fn nobody_sleeps_while_a_record_waits() {
        let (mut producer, mut consumer, memory) = ends(8);
        producer.push(&[1]).expect("room");
        assert!(!consumer.prepare_sleep());
        assert_ne!(memory[SLEEPING_WORD].load(Ordering::Relaxed), ASLEEP);
    }

    #[test]
    fn memory_of_another_shape_is_refused() {
        for words in [0, DATA_WORD - 1, DATA_WORD, DATA_WORD + 3] {
            let memory: Memory = (0..words).map(|_| AtomicU64::new(0)).collect();
            assert_eq!(
                Producer::new(Arc::clone(&memory)).err(),
                Some(RingError::Shape)
            );
            assert_eq!(Consumer::new(memory).err(), Some(RingError::Shape));
        }
    }

    #[test]
    fn a_tail_that_lies_is_corrupt() {
        let (_, mut consumer, memory) = ends(8);
        for tail in [9, u64::MAX] {
            memory[TAIL_WORD].store(tail, Ordering::Relaxed);
            assert_eq!(consumer.pop(), Err(RingError::Corrupt));
            assert!(
                !consumer.prepare_sleep(),
                "its user must come to see the error"
            );
        }
        assert_eq!(Consumer::new(memory).err(), Some(RingError::Corrupt));
    }

    #[test]
    fn a_head_that_lies_is_corrupt() {
        let (mut producer, _, memory) = ends(8);
        producer.push(&[0; 56]).expect("room");
        for head in [9, u64::MAX] {
            memory[HEAD_WORD].store(head, Ordering::Relaxed);
            assert_eq!(producer.push(&[1]), Err(PushError::Corrupt));
        }
    }

    #[test]
    fn a_length_that_lies_is_corrupt() {
        for length in [57, 64, 65, u64::from(u32::MAX), u64::MAX] {
            let (mut producer, mut consumer, memory) = ends(8);
            producer.push(&[1; 8]).expect("room");
            memory[DATA_WORD].store(length, Ordering::Relaxed);
            assert_eq!(consumer.pop(), Err(RingError::Corrupt), "{length}");
        }
        // Within the ring, but longer than what was written.
        let (mut producer, mut consumer, memory) = ends(8);
        producer.push(&[1; 8]).expect("room");
        memory[DATA_WORD].store(9, Ordering::Relaxed);
        assert_eq!(consumer.pop(), Err(RingError::Corrupt));
    }

    #[test]
    fn what_the_peer_writes_over_our_own_cursor_is_not_believed() {
        let (mut producer, mut consumer, memory) = ends(8);
        producer.push(&[1]).expect("room");
        memory[HEAD_WORD].store(5, Ordering::Relaxed);
        assert_eq!(consumer.pop(), Ok(Some(&[1][..])));
        memory[TAIL_WORD].store(3, Ordering::Relaxed);
        producer.push(&[2]).expect("room");
        assert_eq!(consumer.pop(), Ok(Some(&[2][..])));
    }

    /// A checksum of its own number, so that a torn record shows.
    fn numbered(number: u64, length: usize) -> Vec<u8> {
        number
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(8 + length)
            .collect()
    }

    #[test]
    fn two_threads_lose_nothing_and_sleep_in_between() {
        let (mut producer, mut consumer, _) = ends(256);
        let (doorbell, bell) = crate::channel::pair().expect("a pair");
        let sender = thread::spawn(move || {
            for number in 0..200_000_u64 {
                let record = numbered(number, (number % 200) as usize);
                while producer.push(&record) == Err(PushError::Full) {
                    thread::yield_now();
                }
                if producer.take_sleeper() {
                    doorbell.ring();
                }
            }
        });
        let mut next = 0;
        while next < 200_000 {
            if let Some(record) = consumer.pop().expect("not corrupt") {
                assert_eq!(record, numbered(next, (next % 200) as usize));
                next += 1;
            } else if consumer.prepare_sleep() {
                let mut fds = [rustix::event::PollFd::new(
                    &bell,
                    rustix::event::PollFlags::IN,
                )];
                let limit = rustix::event::Timespec {
                    tv_sec: 10,
                    tv_nsec: 0,
                };
                let woken = rustix::event::poll(&mut fds, Some(&limit)).expect("polled");
                assert_eq!(woken, 1, "a wake-up was lost at record {next}");
                bell.drain().expect("drained");
            }
        }
        sender.join().expect("sent");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            vec(any::<u8>(), 0..80).prop_map(Step::Push),
            Just(Step::Pop)
        ]
    }

    proptest! {
        /// The oracle is a queue with the same bound on words.
        #[test]
        fn it_does_as_a_bounded_queue_does(
            start in prop_oneof![Just(0), Just(u64::MAX - 40), any::<u64>()],
            steps in vec(step(), 0..200),
        ) {
            let memory = memory(32);
            for cursor in [HEAD_WORD, TAIL_WORD] {
                memory[cursor].store(start, Ordering::Relaxed);
            }
            let mut producer = Producer::new(Arc::clone(&memory)).expect("a producer");
            let mut consumer = Consumer::new(memory).expect("a consumer");
            let mut oracle = VecDeque::<Vec<u8>>::new();
            for step in steps {
                match step {
                    Step::Push(record) => {
                        let used: usize = oracle.iter().map(|r| 1 + r.len().div_ceil(8)).sum();
                        let fits = used + 1 + record.len().div_ceil(8) <= 32;
                        let expected = if fits { Ok(()) } else { Err(PushError::Full) };
                        prop_assert_eq!(producer.push(&record), expected);
                        if fits {
                            oracle.push_back(record);
                        }
                    }
                    Step::Pop => {
                        let expected = oracle.pop_front();
                        prop_assert_eq!(consumer.pop(), Ok(expected.as_deref()));
                    }
                }
            }
        }

        /// Another process may write any word at any time.
        #[test]
        fn no_scribble_makes_it_panic_or_give_too_much(
            scribbles in vec((0..memory_words(16), prop_oneof![0..200_u64, any::<u64>()]), 1..60),
        ) {
            let (mut producer, mut consumer, memory) = ends(16);
            for (word, value) in scribbles {
                memory[word].store(value, Ordering::Relaxed);
                let pushed = producer.push(&[0xee; 20]);
                prop_assert!(matches!(pushed, Ok(()) | Err(PushError::Full | PushError::Corrupt)));
                if let Ok(Some(record)) = consumer.pop() {
                    prop_assert!(record.len() <= 120);
                }
                let _ = producer.take_sleeper();
                let _ = consumer.prepare_sleep();
            }
        }
    }
}
