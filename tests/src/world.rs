//! Time, and everything that happens in it: one queue of events drives shards, pools, links and
//! clients.

use core::net::SocketAddr;
use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use dataplane_core::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use dataplane_core::outbox::DATAGRAM_BYTES_MAX;
use dataplane_core::relay::RelayMessage;
use dataplane_core::time::{NtpTime, Timestamp};
use dataplane_core::{Outbox, Path, Shard, ShardConfig};
use shared::counters::{Counter, DropReason, Gauge, Histogram};
use shared::id::ShardIndex;
use shared::protocol::{Command, CommandError, Event, Reply, TransportState};

use crate::checker::Checker;
use crate::content::Ledger;
use crate::network::{Direction, Link, LinkModel};
use crate::peer::{Client, Outgoing, Surroundings};
use crate::pool::{Pool, RETRANSMISSION_INTERVAL};
use crate::rng::{Rng, hash};

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// Everything follows from it.
    pub seed: u64,
    /// How many shards.
    pub shards: u16,
    /// Seed of the shards themselves; from `seed` if none is given.
    pub shard_seed: Option<u64>,
    /// Datagrams that a shard takes in one turn, at most.
    pub batch_max: u64,
    /// How long datagrams wait for a turn, at most.
    pub turn_delay_max: Duration,
    /// Packets that wait between two shards, at most.
    pub relay_max: usize,
}

impl WorldOptions {
    /// One shard.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            shards: 1,
            shard_seed: None,
            batch_max: 32,
            turn_delay_max: Duration::from_millis(2),
            relay_max: 4096,
        }
    }
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Timestamp,
    /// All clients that ever were.
    pub clients: Vec<Client>,
    /// The way of each client to its shard.
    pub up: Vec<Link>,
    /// And back.
    pub down: Vec<Link>,
    /// What was published.
    pub ledger: Ledger,
    /// What is known and what is wrong.
    pub checker: Checker,
    /// What the shards said of their own accord.
    pub events: Vec<(Timestamp, Event)>,
    /// Datagrams to addresses where nobody is.
    pub stray: Vec<(SocketAddr, Vec<u8>)>,
    /// The next datagram to this address panics.
    pub panic_at: Option<SocketAddr>,
    /// The choices of tests.
    pub rng: Rng,
    hosts: Vec<Host>,
    addresses: BTreeMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    trace: u64,
    options: WorldOptions,
    turns: Rng,
}

/// One shard with what surrounds it.
#[derive(Debug)]
struct Host {
    shard: Shard,
    pool: Pool,
    inbox: VecDeque<(Path, Vec<u8>)>,
    relays: VecDeque<(ShardIndex, RelayMessage, Vec<u8>)>,
    turn_scheduled: bool,
    timeout_scheduled: Option<Timestamp>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them at a time")]
enum Happening {
    AtShard(usize, Path, Vec<u8>),
    AtClient(usize, Sent),
    Relay(usize, ShardIndex, RelayMessage, Vec<u8>),
    Turn(usize),
    Timeout(usize, Timestamp),
    PoolAnswers(usize, HandshakeId, HandshakeOutput),
    PoolRepeats(usize, HandshakeId),
    Tick(usize),
}

/// A datagram on its way to a client.
#[derive(Debug)]
struct Sent {
    to: SocketAddr,
    at: Timestamp,
    media: Option<(u32, u64)>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Scheduled {
    at: Timestamp,
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl World {
    /// Shards without sessions, and nobody else.
    pub fn new(options: WorldOptions) -> Self {
        let mut rng = Rng::new(options.seed);
        let shard_seed = options.shard_seed.unwrap_or_else(|| rng.bits());
        let hosts = (0..options.shards).map(|index| Host {
            shard: Shard::new(ShardConfig::new(
                ShardIndex(index),
                shard_seed ^ u64::from(index),
                NTP_ORIGIN,
            )),
            pool: Pool::new(rng.fork()),
            inbox: VecDeque::new(),
            relays: VecDeque::new(),
            turn_scheduled: false,
            timeout_scheduled: None,
        });
        Self {
            // Not zero, so that nothing works only there.
            now: Timestamp::from_millis(1_000),
            clients: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            ledger: Ledger::default(),
            checker: Checker::default(),
            events: Vec::new(),
            stray: Vec::new(),
            panic_at: None,
            hosts: hosts.collect(),
            addresses: BTreeMap::new(),
            queue: BinaryHeap::new(),
            scheduled: 0,
            trace: options.seed,
            options,
            turns: rng.fork(),
            rng,
        }
    }

    /// Takes a client in, whose session is open.
    pub fn add_client(&mut self, client: Client, up: LinkModel, down: LinkModel) -> usize {
        let index = self.clients.len();
        assert_eq!(client.index, index, "clients are numbered as they come");
        self.addresses.insert(client.address, index);
        self.up.push(Link::new(up, self.rng.fork()));
        self.down.push(Link::new(down, self.rng.fork()));
        let phase = self.rng.duration(TICK);
        self.schedule(self.now + phase, Happening::Tick(index));
        self.clients.push(client);
        index
    }

    /// Lets a client turn up at another address. What is under way to the old one is lost.
    pub fn move_client(&mut self, client: usize, address: SocketAddr) {
        self.addresses.insert(address, client);
        self.clients[client].move_to(self.now, address);
    }

    /// Both directions of a client behave like this from now on.
    pub fn set_links(&mut self, client: usize, model: LinkModel) {
        for direction in [Direction::Up, Direction::Down] {
            self.set_link(client, direction, model);
        }
    }

    /// One direction of a client behaves like this from now on.
    pub fn set_link(&mut self, client: usize, direction: Direction, model: LinkModel) {
        let links = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        links[client].set_model(self.now, model);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass.
    pub fn run_for_ms(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }

    /// Lets time pass.
    pub fn run_until(&mut self, end: Timestamp) {
        while let Some(Reverse(next)) = self.queue.peek()
            && next.at <= end
        {
            let Reverse(next) = self.queue.pop().unwrap();
            self.now = self.now.max(next.at);
            self.happen(next.what);
        }
        self.now = self.now.max(end);
    }

    /// Asks a shard for something.
    ///
    /// # Errors
    /// As the shard answers.
    pub fn command(&mut self, shard: usize, command: &Command) -> Result<Reply, CommandError> {
        let answer = self.call(shard, |shard, now, out| {
            shard.handle_command(now, command, out)
        });
        answer.unwrap_or(Err(CommandError::SessionFailed))
    }

    /// Puts a datagram into a shard's receive queue, as if it came from `remote`.
    pub fn inject(&mut self, shard: usize, remote: SocketAddr, bytes: Vec<u8>) {
        let path = Path { socket: 0, remote };
        self.happen(Happening::AtShard(shard, path, bytes));
    }

    /// Sends something of a client's, over its link.
    pub fn send(&mut self, client: usize, bytes: Vec<u8>) {
        self.carry_up(client, vec![bytes.into()]);
    }

    /// A figure of a shard.
    pub fn counter(&self, shard: usize, counter: Counter) -> u64 {
        self.hosts[shard].shard.counters().counter(counter)
    }

    /// A figure of a shard.
    pub fn drops(&self, shard: usize, reason: DropReason) -> u64 {
        self.hosts[shard].shard.counters().drops(reason)
    }

    /// A figure of a shard.
    pub fn gauge(&mut self, shard: usize, gauge: Gauge) -> u64 {
        let shard = &mut self.hosts[shard].shard;
        shard.refresh_gauges();
        shard.counters().gauge(gauge)
    }

    /// How many values a histogram of a shard has, and their sum.
    pub fn distribution(&self, shard: usize, histogram: Histogram) -> (u64, u64) {
        let counters = self.hosts[shard].shard.counters();
        let recorded = counters.distribution(histogram);
        (recorded.count(), recorded.sum)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.hosts.len()
    }

    /// The handshake pool of a shard.
    pub fn pool(&self, shard: usize) -> &Pool {
        &self.hosts[shard].pool
    }

    /// A number that stands for every datagram that the servers sent, and when.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    fn schedule(&mut self, at: Timestamp, what: Happening) {
        self.scheduled += 1;
        let order = self.scheduled;
        self.queue.push(Reverse(Scheduled { at, order, what }));
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::AtShard(shard, path, bytes) => {
                self.hosts[shard].inbox.push_back((path, bytes));
                self.schedule_turn(shard);
            }
            Happening::Relay(shard, from, message, packet) => {
                self.hosts[shard].relays.push_back((from, message, packet));
                self.schedule_turn(shard);
            }
            Happening::Turn(shard) => self.turn(shard),
            Happening::Timeout(shard, at) => {
                if self.hosts[shard].timeout_scheduled == Some(at) {
                    self.hosts[shard].timeout_scheduled = None;
                    self.call(shard, |shard, now, out| shard.handle_timeout(now, out));
                }
            }
            Happening::PoolAnswers(shard, id, output) => {
                self.call(shard, |shard, now, out| {
                    shard.handle_handshake(now, id, output, out);
                });
            }
            Happening::PoolRepeats(shard, id) => {
                if let Some((delay, output)) = self.hosts[shard].pool.retransmit(id) {
                    self.schedule(self.now + delay, Happening::PoolAnswers(shard, id, output));
                    let next = self.now + RETRANSMISSION_INTERVAL;
                    self.schedule(next, Happening::PoolRepeats(shard, id));
                }
            }
            Happening::AtClient(client, sent) => self.arrive(client, &sent),
            Happening::Tick(client) => {
                self.with_client(client, |client, now, around, out| {
                    client.tick(now, around, out);
                });
                self.schedule(self.now + TICK, Happening::Tick(client));
            }
        }
    }

    fn schedule_turn(&mut self, shard: usize) {
        if !core::mem::replace(&mut self.hosts[shard].turn_scheduled, true) {
            let delay = self.turns.duration(self.options.turn_delay_max);
            self.schedule(self.now + delay, Happening::Turn(shard));
        }
    }

    /// One turn of a shard's loop.
    fn turn(&mut self, shard: usize) {
        self.hosts[shard].turn_scheduled = false;
        for _ in 0..self.turns.between(1, self.options.batch_max + 1) {
            let Some((path, mut bytes)) = self.hosts[shard].inbox.pop_front() else {
                break;
            };
            let before = self.accounted(shard);
            let kind = bytes.first_chunk::<2>().copied().unwrap_or_default();
            self.call(shard, |shard, now, out| {
                shard.handle_datagram(now, path, &mut bytes, out);
            });
            self.check_accounted(shard, kind, before);
        }
        for _ in 0..self.options.batch_max {
            let Some((from, message, packet)) = self.hosts[shard].relays.pop_front() else {
                break;
            };
            self.call(shard, |shard, now, out| {
                shard.handle_relay(now, from, message, &packet, out);
            });
        }
        self.call(shard, |shard, now, out| shard.end_turn(now, out));
        let host = &self.hosts[shard];
        if !host.inbox.is_empty() || !host.relays.is_empty() {
            self.schedule_turn(shard);
        }
    }

    /// What became of all datagrams of one kind: taken, and dropped for any reason.
    fn accounted(&self, shard: usize) -> [u64; 2] {
        let counters = self.hosts[shard].shard.counters();
        let drops = DropReason::ALL
            .iter()
            .map(|reason| counters.drops(*reason))
            .sum();
        let taken = [
            Counter::RtpPacketsReceived,
            Counter::BindingRequestsAnswered,
        ];
        [
            taken.iter().map(|counter| counters.counter(*counter)).sum(),
            drops,
        ]
    }

    /// RTP and checks are taken, or dropped for exactly one reason.
    fn check_accounted(&mut self, shard: usize, [first, second]: [u8; 2], before: [u64; 2]) {
        let after = self.accounted(shard);
        let is_rtp = (128..=191).contains(&first) && !(192..=223).contains(&second);
        let sum = |of: [u64; 2]| of[0] + of[1];
        if (is_rtp || first < 4) && sum(after) != sum(before) + 1 && self.stray.is_empty() {
            self.checker
                .fault(format!("a datagram was counted {before:?} -> {after:?}"));
        }
    }

    /// Calls into a shard, and carries away what comes out.
    fn call<R>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Shard, Timestamp, &mut Collected) -> R,
    ) -> Option<R> {
        let waiting = self
            .hosts
            .iter()
            .map(|host| host.relays.len())
            .max()
            .unwrap_or_default();
        let mut out = Collected {
            panic_at: self.panic_at,
            relay_room: self.options.relay_max.saturating_sub(waiting),
            ..Collected::default()
        };
        let (now, host) = (self.now, &mut self.hosts[index]);
        let pool = &mut host.pool;
        out.pool = Some(core::mem::replace(pool, Pool::new(Rng::new(0))));
        let shard = &mut host.shard;
        let result = catch_unwind(AssertUnwindSafe(|| call(shard, now, &mut out)));
        let result = match result {
            Ok(result) => Some(result),
            Err(panic) if out.panicked => {
                drop(panic);
                self.panic_at = None;
                shard.fail_current(&mut out);
                None
            }
            Err(panic) => resume_unwind(panic),
        };
        host.pool = out.pool.take().unwrap();
        self.carry(index, out);
        result
    }

    fn carry(&mut self, index: usize, out: Collected) {
        while let Some(event) = self.hosts[index].shard.poll_event() {
            if let Event::SessionChanged {
                session,
                state: TransportState::Connected,
            } = event
            {
                let mut clients = self.clients.iter_mut();
                if let Some(client) = clients.find(|client| client.session == session) {
                    client.server_is_ready = true;
                }
            }
            self.events.push((self.now, event));
        }
        for (path, bytes) in out.datagrams {
            self.carry_down(path, bytes);
        }
        for (target, message, packet) in out.relays {
            let at = self.now + RELAY_DELAY;
            let from = ShardIndex(index as u16);
            self.schedule(
                at,
                Happening::Relay(target.as_usize(), from, message, packet),
            );
        }
        for (id, delay, output) in out.answers {
            self.schedule(self.now + delay, Happening::PoolAnswers(index, id, output));
        }
        for id in out.started {
            let next = self.now + RETRANSMISSION_INTERVAL;
            self.schedule(next, Happening::PoolRepeats(index, id));
        }
        let due = self.hosts[index].shard.next_timeout();
        if due != self.hosts[index].timeout_scheduled {
            self.hosts[index].timeout_scheduled = due;
            if let Some(due) = due {
                let late = self.turns.duration(TIMEOUT_LATE_MAX);
                self.schedule(due.max(self.now) + late, Happening::Timeout(index, due));
            }
        }
    }

    fn carry_down(&mut self, path: Path, bytes: Vec<u8>) {
        self.trace = hash(self.trace ^ self.now.as_nanos(), &bytes);
        let Some(client) = self.addresses.get(&path.remote).copied() else {
            self.stray.push((path.remote, bytes));
            return;
        };
        let media = match self.checker.sent.datagram(client, &bytes) {
            Ok(media) => media,
            Err(fault) => {
                self.checker.fault(fault);
                None
            }
        };
        let arrivals = self.down[client].send(self.now, bytes.len());
        if let Some((ssrc, index)) = media {
            self.checker
                .down
                .entry((client, ssrc, index))
                .or_default()
                .sent += 1;
        }
        for at in arrivals {
            let sent = Sent {
                to: path.remote,
                at: self.now,
                media,
                bytes: bytes.clone(),
            };
            self.schedule(at, Happening::AtClient(client, sent));
        }
    }

    /// A datagram reaches the place that it was sent to; perhaps nobody is there any more.
    fn arrive(&mut self, client: usize, sent: &Sent) {
        let receiver = &self.clients[client];
        if receiver.address != sent.to || receiver.activity == crate::peer::Activity::Asleep {
            return;
        }
        if let Some((ssrc, index)) = sent.media.filter(|_| receiver.has_keys()) {
            let fates = self.checker.down.entry((client, ssrc, index)).or_default();
            fates.arrived += 1;
            fates.first_arrival.get_or_insert(self.now);
        }
        self.with_client(client, |client, now, around, out| {
            client.receive(now, sent.at, &sent.bytes, around, out);
        });
    }

    fn carry_up(&mut self, client: usize, datagrams: Vec<Outgoing>) {
        let shard = self.clients[client].session.shard().as_usize();
        let path = Path {
            socket: 0,
            remote: self.clients[client].address,
        };
        for Outgoing {
            bytes,
            media,
            transport,
        } in datagrams
        {
            let arrivals = self.up[client].send(self.now, bytes.len());
            if let Some(media) = media {
                let first = arrivals.iter().min().copied();
                let first = first.filter(|at| self.clients[client].is_known_at(*at));
                self.checker.up.entry(media).or_default().add(first);
            }
            if let Some(number) = transport {
                self.clients[client]
                    .transport
                    .fate(number, !arrivals.is_empty());
            }
            for at in arrivals {
                self.schedule(at, Happening::AtShard(shard, path, bytes.clone()));
            }
        }
    }

    fn with_client(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Client, Timestamp, &mut Surroundings<'_>, &mut Vec<Outgoing>),
    ) {
        let mut out = Vec::new();
        let mut around = Surroundings {
            ledger: &mut self.ledger,
            checker: &mut self.checker,
        };
        call(&mut self.clients[index], self.now, &mut around, &mut out);
        self.carry_up(index, out);
    }
}

/// The outbox of one call.
#[derive(Debug, Default)]
struct Collected {
    datagrams: Vec<(Path, Vec<u8>)>,
    relays: Vec<(ShardIndex, RelayMessage, Vec<u8>)>,
    answers: Vec<(HandshakeId, Duration, HandshakeOutput)>,
    started: Vec<HandshakeId>,
    pool: Option<Pool>,
    relay_room: usize,
    panic_at: Option<SocketAddr>,
    panicked: bool,
}

impl Outbox for Collected {
    fn datagram(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize) {
        if self.panic_at == Some(path.remote) {
            self.panic_at = None;
            self.panicked = true;
            std::panic::panic_any("the outbox panics, as it was told to");
        }
        // Arbitrary content, as the contract says.
        let mut slot = vec![0xa5; DATAGRAM_BYTES_MAX];
        let len = write(&mut slot);
        slot.truncate(len);
        if len > 0 {
            self.datagrams.push((path, slot));
        }
    }

    fn relay(&mut self, target: ShardIndex, message: RelayMessage, packet: &[u8]) -> bool {
        let may_be_lost = matches!(
            message,
            RelayMessage::Packet { .. } | RelayMessage::KeyframeNeeded { .. }
        );
        if may_be_lost && self.relay_room == 0 {
            return false;
        }
        self.relay_room = self.relay_room.saturating_sub(1);
        self.relays.push((target, message, packet.to_vec()));
        true
    }

    fn handshake(&mut self, id: HandshakeId, input: HandshakeInput<'_>) -> bool {
        if matches!(input, HandshakeInput::Start { .. }) {
            self.started.push(id);
        }
        let pool = self.pool.as_mut().unwrap();
        let answers = pool.input(id, &input);
        self.answers.extend(
            answers
                .into_iter()
                .map(|(delay, output)| (id, delay, output)),
        );
        true
    }
}

/// The server's NTP time at the origin of time.
pub const NTP_ORIGIN: NtpTime = NtpTime::from_bits(0xe8a1_2345_6789_abcd);

/// How often clients look at their clocks.
const TICK: Duration = Duration::from_millis(5);

/// From one shard to another.
const RELAY_DELAY: Duration = Duration::from_micros(50);

/// How late a shard's timer may fire.
const TIMEOUT_LATE_MAX: Duration = Duration::from_millis(1);
