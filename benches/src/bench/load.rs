//! The threads that move media: each turns over its publishers and its subscribers' sockets.
//!
//! Sockets are polled, not waited for: a thread that waits must be woken, which the kernel does in
//! the time of who sends, so that the server would pay for a habit of the load generator that a
//! client on another machine does not have. An idle thread looks again every `POLL_INTERVAL`,
//! which is in the latencies that it reports.

use core::num::NonZeroU64;
use core::time::Duration;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::thread::set_current_timer_slack;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::cores::pin_this_thread;
use super::publisher::{Demand, Publisher, Sent};
use super::receiver::{Lane, Received};
use super::sys::{ReceiveBatch, SendBatch};
use super::tally::TallyCounts;
use crate::error::LoadError;
use crate::peer::drops_by_port;
use crate::report::Latencies;

/// What a load thread is told.
enum Order {
    Subscriber(Box<Lane>, Vec<Vec<u8>>),
    Publisher(Box<Publisher>),
    Publish(Option<Demand>),
    Snapshot(oneshot::Sender<Snapshot>),
    /// Forget the subscribers from this one on; of the floor, or of a storm that is over.
    Keep(usize),
    Stop,
}

/// What a load thread has counted since it started; the latencies, since the snapshot before.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of all publishers.
    pub sent: Sent,
    /// Media at all subscribers.
    pub received: Received,
    /// Of all tracks.
    pub counts: TallyCounts,
    /// Tracks that are known well enough for samples to do.
    pub settled: usize,
    /// Packets that nobody asked for.
    pub others: u64,
    /// CPU time of the load threads.
    pub cpu: Duration,
    /// From the beginning of the thread to each subscriber's first checked packet.
    pub first_media: Vec<Option<Instant>>,
}

impl Snapshot {
    fn add(&mut self, other: Self) {
        self.sent.packets += other.sent.packets;
        self.sent.late_us_max = self.sent.late_us_max.max(other.sent.late_us_max);
        self.received.packets += other.received.packets;
        self.received.bytes += other.received.bytes;
        self.received.messages += other.received.messages;
        self.received.latencies.merge(&other.received.latencies);
        self.counts.add(&other.counts);
        self.settled += other.settled;
        self.others += other.others;
        self.cpu += other.cpu;
        self.first_media.extend(other.first_media);
    }
}

/// All load threads.
#[derive(Debug)]
pub struct Load {
    threads: Vec<LoadThread>,
    /// The local port of each subscriber.
    ports: Vec<u16>,
    clock: Instant,
}

#[derive(Debug)]
struct LoadThread {
    orders: Sender<Order>,
    handle: Option<JoinHandle<Result<(), LoadError>>>,
}

impl Load {
    /// Starts a thread on each of `cores`. `clock` is the beginning of the run.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub fn start(cores: &[usize], clock: Instant) -> io::Result<Self> {
        let threads = cores.iter().map(|core| LoadThread::start(*core, clock));
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            ports: Vec::new(),
            clock,
        })
    }

    /// The beginning of the run.
    pub fn clock(&self) -> Instant {
        self.clock
    }

    /// Subscribers so far.
    pub fn subscribers(&self) -> usize {
        self.ports.len()
    }

    /// Datagrams that the kernel threw away since our buffers were full.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn socket_drops(&self) -> io::Result<u64> {
        let drops = drops_by_port(&std::fs::read_to_string("/proc/net/udp")?);
        Ok(self.ports.iter().filter_map(|port| drops.get(port)).sum())
    }

    /// Gives the next thread a subscriber, with what it has received already.
    pub fn add_subscriber(&mut self, lane: Lane, early: Vec<Vec<u8>>) {
        let turn = self.ports.len() % self.threads.len().max(1);
        let address = lane.socket().local_addr();
        self.ports.push(address.map_or(0, |address| address.port()));
        if let Some(thread) = self.threads.get(turn) {
            thread.tell(Order::Subscriber(Box::new(lane), early));
        }
    }

    /// Forgets all but the first `count` subscribers.
    pub fn keep_subscribers(&mut self, count: usize) {
        self.ports.truncate(count);
        let threads = self.threads.len().max(1);
        for (index, thread) in self.threads.iter().enumerate() {
            let kept = count / threads + usize::from(index < count % threads);
            thread.tell(Order::Keep(kept));
        }
    }

    /// Gives the first thread a publisher.
    pub fn add_publisher(&self, publisher: Publisher) {
        if let Some(thread) = self.threads.first() {
            thread.tell(Order::Publisher(Box::new(publisher)));
        }
    }

    /// All publishers send `demand` from now on.
    pub fn publish(&self, demand: Option<Demand>) {
        for thread in &self.threads {
            thread.tell(Order::Publish(demand));
        }
    }

    /// What all threads have counted.
    ///
    /// # Errors
    ///
    /// A thread has ended, with its own error.
    pub async fn snapshot(&mut self) -> Result<Snapshot, LoadError> {
        let mut sum = Snapshot::default();
        for thread in &mut self.threads {
            let (answer, answered) = oneshot::channel();
            thread.tell(Order::Snapshot(answer));
            match answered.await {
                Ok(snapshot) => sum.add(snapshot),
                Err(_) => return Err(thread.failure()),
            }
        }
        Ok(sum)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.tell(Order::Stop);
            if let Some(handle) = thread.handle.take() {
                // Its error was told by the snapshot, if anybody asked.
                let _ = handle.join();
            }
        }
    }
}

impl LoadThread {
    fn start(core: usize, clock: Instant) -> io::Result<Self> {
        let (orders, taken) = channel();
        let name = format!("load-{core}");
        let handle = std::thread::Builder::new().name(name).spawn(move || {
            pin_this_thread(&[core])?;
            // Sleeps are of a fraction of a millisecond: the default slack is a tenth of that.
            set_current_timer_slack(NonZeroU64::new(1)).map_err(io::Error::from)?;
            Turner::new(clock).run(&taken)
        })?;
        Ok(Self {
            orders,
            handle: Some(handle),
        })
    }

    /// A thread that has ended hears nothing; the next snapshot tells why.
    fn tell(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    fn failure(&mut self) -> LoadError {
        match self.handle.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            _ => io::Error::other("a load thread has ended").into(),
        }
    }
}

/// What a load thread works with.
struct Turner {
    clock: Instant,
    lanes: Vec<Lane>,
    publishers: Vec<Publisher>,
    batch: ReceiveBatch,
    outgoing: SendBatch,
    sent: Sent,
    received: Received,
    housekeeping_due: Instant,
}

impl Turner {
    fn new(clock: Instant) -> Self {
        Self {
            clock,
            lanes: Vec::new(),
            publishers: Vec::new(),
            batch: ReceiveBatch::new(BATCH_MESSAGES, RUN_BYTES_MAX),
            outgoing: SendBatch::default(),
            sent: Sent::default(),
            received: Received::default(),
            housekeeping_due: clock,
        }
    }

    fn run(&mut self, orders: &Receiver<Order>) -> Result<(), LoadError> {
        while self.take_orders(orders) {
            self.publish(Instant::now())?;
            let busy = self.receive()?;
            self.keep_house(Instant::now())?;
            if !busy {
                let now = Instant::now();
                let due = self.publishers.iter().filter_map(Publisher::next_due).min();
                let until_due = due.map_or(POLL_INTERVAL, |due| due.saturating_duration_since(now));
                std::thread::sleep(until_due.min(POLL_INTERVAL));
            }
        }
        Ok(())
    }

    /// Takes one batch of each subscriber; the publishers come in between, so that they are late by
    /// one batch at the most.
    fn receive(&mut self) -> Result<bool, LoadError> {
        let mut busy = false;
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index) else {
                continue;
            };
            if lane.receive(&mut self.batch, self.clock, &mut self.received) {
                busy = true;
                lane.tell_arrivals(self.clock.elapsed())?;
                self.publish(Instant::now())?;
            }
        }
        Ok(busy)
    }

    fn publish(&mut self, now: Instant) -> Result<(), LoadError> {
        for publisher in &mut self.publishers {
            publisher.work(now, self.clock, &mut self.outgoing, &mut self.sent)?;
        }
        Ok(())
    }

    fn keep_house(&mut self, now: Instant) -> Result<(), LoadError> {
        if now < self.housekeeping_due {
            return Ok(());
        }
        self.housekeeping_due = now + HOUSEKEEPING_INTERVAL;
        for publisher in &mut self.publishers {
            publisher.keep_alive(now, &mut self.batch)?;
        }
        for lane in &mut self.lanes {
            lane.keep_alive(now)?;
            lane.tell_arrivals(now.duration_since(self.clock))?;
        }
        Ok(())
    }

    /// False: stop.
    fn take_orders(&mut self, orders: &Receiver<Order>) -> bool {
        loop {
            match orders.try_recv() {
                Ok(Order::Subscriber(mut lane, early)) => {
                    for datagram in &early {
                        lane.handle(datagram, self.clock, &mut self.received);
                    }
                    self.lanes.push(*lane);
                }
                Ok(Order::Publisher(publisher)) => self.publishers.push(*publisher),
                Ok(Order::Publish(demand)) => {
                    let now = Instant::now();
                    for publisher in &mut self.publishers {
                        publisher.publish(demand, now);
                    }
                }
                // Who asked may be gone.
                Ok(Order::Snapshot(answer)) => drop(answer.send(self.snapshot())),
                Ok(Order::Keep(count)) => self.lanes.truncate(count),
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let mut snapshot = Snapshot {
            sent: self.sent,
            received: self.received.clone(),
            cpu: Duration::try_from(time).unwrap_or_default(),
            ..Snapshot::default()
        };
        self.received.latencies = Latencies::default();
        self.sent.late_us_max = 0;
        for lane in &self.lanes {
            let report = lane.report();
            snapshot.counts.add(&report.counts);
            snapshot.settled += report.settled;
            snapshot.others += report.others;
            snapshot.first_media.push(report.first_media);
        }
        snapshot
    }
}

/// How often an idle thread looks at its sockets.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(5);

/// Messages of one receive call; each may be a whole run.
const BATCH_MESSAGES: usize = 16;

/// No datagram is longer.
const RUN_BYTES_MAX: usize = 1 << 16;
