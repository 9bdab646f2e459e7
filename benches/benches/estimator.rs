//! What congestion control costs one session: for each packet that leaves, and for each feedback.
//!
//! `cargo bench -p benches --bench estimator`. Items are packets. Feedback comes each 50 ms, as
//! browsers send it at some Mb/s, and tells of 13 packets (a camera at 2.5 Mb/s) or of 300. With many
//! sessions each one's memory has left the nearer caches when its turn comes again, as it has in a
//! server that is not busy.

use core::time::Duration;
use std::collections::VecDeque;

use dataplane_core::bwe::{Batch, Estimator};
use dataplane_core::rtcp::{FeedbackHeader, Packet, RtcpWriter, packets};
use dataplane_core::time::Timestamp;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

const SESSIONS: [usize; 3] = [1, 50, 1000];

#[divan::bench(args = SESSIONS, consts = [13, 300], sample_size = 1, sample_count = 2000)]
fn packets_leave<const PACKETS: usize>(bencher: Bencher<'_, '_>, sessions: usize) {
    let server = std::cell::RefCell::new(Server::new(sessions));
    bencher
        .counter(ItemsCount::new(PACKETS))
        .with_inputs(|| {
            let mut server = server.borrow_mut();
            server.write_feedback();
            server.take_feedback();
            server.turn();
        })
        .bench_local_values(|()| server.borrow_mut().send(PACKETS));
}

#[divan::bench(args = SESSIONS, consts = [13, 300], sample_size = 1, sample_count = 2000)]
fn feedback_comes<const PACKETS: usize>(bencher: Bencher<'_, '_>, sessions: usize) {
    let server = std::cell::RefCell::new(Server::new(sessions));
    bencher
        .counter(ItemsCount::new(PACKETS))
        .with_inputs(|| {
            let mut server = server.borrow_mut();
            server.turn();
            server.send(PACKETS);
            server.write_feedback();
        })
        .bench_local_values(|()| server.borrow_mut().take_feedback());
}

/// Sessions whose turn comes one after the other.
struct Server {
    /// The first one's turn it is.
    sessions: VecDeque<Box<Session>>,
    interval: Duration,
    now: Timestamp,
    batch: Batch,
}

struct Session {
    estimator: Estimator,
    /// The number of the first packet that it was not told of, and when each came in ticks of 250 us.
    base: u16,
    arrivals: Vec<u64>,
    /// What it is told next.
    feedback: Vec<u8>,
    count: u8,
}

impl Server {
    fn new(sessions: usize) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let session = |_| {
            Box::new(Session {
                estimator: Estimator::new(now, 3_000_000),
                base: 0,
                arrivals: Vec::with_capacity(1000),
                feedback: Vec::with_capacity(FEEDBACK_BYTES_MAX),
                count: 0,
            })
        };
        let mut server = Self {
            sessions: (0..sessions).map(session).collect(),
            interval: INTERVAL / u32::try_from(sessions).expect("few"),
            now,
            batch: Batch::default(),
        };
        // Until every window is full.
        for _ in 0..sessions * 100 {
            server.turn();
            server.send(13);
            server.write_feedback();
            server.take_feedback();
        }
        server
    }

    /// The next one's turn.
    fn turn(&mut self) {
        self.sessions.rotate_left(1);
        self.now = self.now + self.interval;
    }

    fn session(&mut self) -> &mut Session {
        self.sessions.front_mut().expect("at least one")
    }

    /// The packets of an interval leave, a frame at a time.
    fn send(&mut self, packets: usize) {
        let now = self.now;
        let session = self.session();
        session.base = session.estimator.next_number();
        session.arrivals.clear();
        let frames = u32::try_from(packets.div_ceil(FRAME)).expect("few");
        for frame in 0..frames {
            let at = now - INTERVAL + INTERVAL * frame / frames;
            // A millisecond on the way, and a jitter.
            let came = at.as_micros() / 250 + 4 + u64::from(frame.wrapping_mul(31) % 3);
            for _ in 0..FRAME.min(packets - session.arrivals.len()) {
                session.estimator.handle_sent(at, 1200);
                session.arrivals.push(came);
            }
        }
    }

    fn write_feedback(&mut self) {
        let session = self.session();
        let header = FeedbackHeader {
            sender: 1,
            media: 2,
            base_sequence_number: session.base,
            feedback_count: session.count,
        };
        session.count = session.count.wrapping_add(1);
        session.feedback.resize(FEEDBACK_BYTES_MAX, 0);
        let mut writer = RtcpWriter::new(&mut session.feedback);
        let arrivals = session.arrivals.iter().copied().map(Some);
        writer.transport_feedback(&header, arrivals);
        let length = writer.len();
        session.feedback.truncate(length);
    }

    fn take_feedback(&mut self) {
        let session = self.sessions.front_mut().expect("at least one");
        for packet in packets(&session.feedback) {
            let Ok(Packet::TransportFeedback(feedback)) = packet else {
                panic!("it was written as feedback");
            };
            let estimator = &mut session.estimator;
            estimator.handle_feedback(self.now, &feedback, &mut self.batch);
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(50);

/// Packets that leave at one moment.
const FRAME: usize = 8;

const FEEDBACK_BYTES_MAX: usize = 1500;
