//! THE loop: one shard on its own core. Receive, commands, relays, handshakes, timers, forward,
//! flush, then wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver as OrderReceiver, Sender as Answer};
use dataplane_core::time::Timestamp;
use dataplane_core::{Shard, ShardConfig};
use shared::channel::{Link, ShardMemory};
use shared::counters::{Counter, DropReason};
use shared::protocol::{Command, CommandError, Reply};

use crate::clock;
use crate::commands::{CommandPort, Served};
use crate::handshake::{AnswerQueue, PoolClient};
use crate::nap::{Nap, Woken};
use crate::outbox::ShardOutbox;
use crate::port::{Backend, MediaSocket, PortReceiver, PortSender, Receiver};
use crate::readiness::Readiness;
use crate::relay::{Inbox, RelaySender};
use crate::residence::Residence;
use crate::sleeper::Sleeper;
use crate::watchdog::Pulse;

/// What a worker is made of; moved to its core's thread.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub(crate) shard: ShardConfig,
    pub(crate) sockets: Vec<MediaSocket>,
    pub(crate) memory: ShardMemory,
    pub(crate) link: Link,
    pub(crate) sleeper: Arc<Sleeper>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) relays: RelaySender,
    pub(crate) answers: Arc<AnswerQueue>,
    pub(crate) pool: PoolClient,
    pub(crate) orders: OrderReceiver<Order>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) settings: WorkerSettings,
}

/// What the operator says of all workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) backend: Backend,
    /// Whether datagrams of one destination leave as one message, where the system can do that.
    pub(crate) gso: bool,
    /// Whether to look again at once while there is nothing to do: the core is for this alone.
    pub(crate) spin: bool,
}

/// What the main thread tells a worker.
#[derive(Debug)]
pub(crate) enum Order {
    /// A control plane comes: make the rings ready for it, and say whether that could be done.
    Attach(Answer<bool>),
    /// The control plane has gone.
    Detach,
    /// End all sessions, then end.
    Stop,
}

/// One shard at work.
#[derive(Debug)]
pub(crate) struct Worker {
    engine: Engine,
    receiver: PortReceiver,
    residence: Residence,
    commands: CommandPort,
    inbox: Arc<Inbox>,
    answers: Arc<AnswerQueue>,
    orders: OrderReceiver<Order>,
    sleeper: Arc<Sleeper>,
    readiness: Readiness,
    nap: Nap,
    pulse: Arc<Pulse>,
    spin: bool,
    gauges_due: Timestamp,
    /// A turn came after they were made.
    gauges_are_stale: bool,
}

/// The core's shard and its ways out.
#[derive(Debug)]
struct Engine {
    shard: Shard,
    out: ShardOutbox<PortSender>,
}

impl Worker {
    /// Takes all the memory that the packet path will need. To be called within the executor.
    ///
    /// # Errors
    /// The process has no more descriptors, or no memory for its rings.
    pub(crate) fn new(parts: WorkerParts) -> std::io::Result<Self> {
        let bell = std::os::fd::AsFd::as_fd(&parts.link.bell).try_clone_to_owned()?;
        let sockets: Rc<[MediaSocket]> = parts.sockets.into();
        let receiver = PortReceiver::new(Rc::clone(&sockets), parts.settings.backend)?;
        let nap = Nap::new(receiver.wakes()?, bell.try_clone()?);
        let readiness = Readiness::new(receiver.wakes()?, bell);
        let mut sender = PortSender::new(sockets, parts.settings.backend)?;
        if !parts.settings.gso {
            sender.forbid_segmentation();
        }
        let out = ShardOutbox {
            sender,
            relays: parts.relays,
            pool: parts.pool,
        };
        Ok(Self {
            engine: Engine {
                shard: Shard::new(parts.shard),
                out,
            },
            receiver,
            residence: Residence::new(),
            commands: CommandPort::new(parts.memory, parts.link),
            inbox: parts.inbox,
            answers: parts.answers,
            orders: parts.orders,
            sleeper: parts.sleeper,
            readiness,
            nap,
            pulse: parts.pulse,
            spin: parts.settings.spin,
            gauges_due: Timestamp::default(),
            gauges_are_stale: false,
        })
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self) {
        while !self.take_orders() {
            self.turn_and_rest(None).await;
        }
        self.end_sessions();
        // The handshake pool still has its goodbyes to hand back.
        let end = clock::now() + FAREWELL;
        while clock::now() < end {
            self.turn_and_rest(Some(end)).await;
        }
    }

    async fn turn_and_rest(&mut self, until: Option<Timestamp>) {
        if self.turn() || self.spin {
            // More work: still let the executor see to its timers now and then.
            glommio::yield_if_needed().await;
        } else {
            self.rest(until).await;
        }
    }

    /// One turn. Every kind of work is bounded, so that none starves the others. True: some kind
    /// may have more.
    fn turn(&mut self) -> bool {
        let now = clock::now();
        let mut more = self.receive(now);
        more |= self.serve_commands(now);
        more |= self.take_relays(now);
        more |= self.take_answers(now);
        let engine = &mut self.engine;
        if engine.shard.next_timeout().is_some_and(|due| due <= now) {
            engine.guard(|shard, out| shard.handle_timeout(now, out));
        }
        engine.guard(|shard, out| shard.end_turn(now, out));
        engine.out.flush(engine.shard.counters_mut());
        self.residence.end_turn(engine.shard.counters_mut());
        self.commands
            .send_events(|| engine.guard(|shard, _| shard.poll_event()).flatten());
        self.commands.flush();
        self.publish(now);
        more
    }

    fn receive(&mut self, now: Timestamp) -> bool {
        let Self {
            engine,
            receiver,
            residence,
            ..
        } = self;
        let received = receiver.receive(|arrival, bytes| {
            let before = engine.media_packets();
            engine.guard(|shard, out| shard.handle_datagram(now, arrival.path, bytes, out));
            if engine.media_packets() > before {
                residence.note(arrival.at);
            }
        });
        for _ in 0..received.too_large {
            engine.shard.counters_mut().dropped(DropReason::TooLarge);
        }
        received.more
    }

    fn serve_commands(&mut self, now: Timestamp) -> bool {
        let Self {
            engine, commands, ..
        } = self;
        (0..COMMANDS_PER_TURN)
            .all(|_| commands.serve(now, |command| engine.carry_out(now, command)) == Served::One)
    }

    fn take_relays(&mut self, now: Timestamp) -> bool {
        let Self { engine, inbox, .. } = self;
        (0..RELAYS_PER_TURN).all(|_| {
            inbox.receive(|from, message, packet| {
                engine.guard(|shard, out| shard.handle_relay(now, from, message, packet, out));
            })
        })
    }

    fn take_answers(&mut self, now: Timestamp) -> bool {
        let Self {
            engine, answers, ..
        } = self;
        (0..ANSWERS_PER_TURN).all(|_| {
            let Some((id, answer)) = answers.pop() else {
                return false;
            };
            engine.guard(|shard, out| shard.handle_handshake(now, id, answer, out));
            true
        })
    }

    fn publish(&mut self, now: Timestamp) {
        let shard = &mut self.engine.shard;
        shard
            .counters_mut()
            .add(Counter::Stalls, self.pulse.take_stalls());
        self.gauges_are_stale = now < self.gauges_due;
        if !self.gauges_are_stale {
            self.gauges_due = now + GAUGE_INTERVAL;
            shard.refresh_gauges();
        }
        let counters = shard.counters();
        let traffic = counters.counter(Counter::DatagramsReceived)
            + counters.counter(Counter::RelayPacketsReceived);
        self.nap.note_traffic(now, traffic);
        self.commands.publish(now, counters);
        self.pulse.beat(now);
    }

    /// Waits until there is something to do, or `until`.
    async fn rest(&mut self, until: Option<Timestamp>) {
        self.sleeper.prepare();
        let nothing = self.commands.prepare_sleep()
            && self.inbox.is_empty()
            && self.answers.is_empty()
            && self.orders.is_empty();
        if nothing {
            let due = self.engine.shard.next_timeout();
            let waiting = self.commands.is_waiting() || self.engine.out.is_waiting();
            let retry = waiting.then(|| clock::now() + RETRY);
            let gauges = self.gauges_are_stale.then_some(self.gauges_due);
            let deadline = [due, retry, until, gauges].into_iter().flatten().min();
            if self.nap.take(deadline) == Woken::Tired {
                self.readiness.wait(deadline).await;
            }
        }
        self.sleeper.awake();
        self.commands.awake();
    }

    /// Does what the main thread says; true if it is to stop.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Attach(answer) => {
                    let attached = self.commands.attach();
                    if let Err(error) = &attached {
                        tracing::error!(%error, "the rings cannot be made ready");
                    }
                    // The main thread may have given up waiting.
                    let _ = answer.send(attached.is_ok());
                }
                Order::Detach => self.commands.detach(),
                Order::Stop => return true,
            }
        }
        false
    }

    /// Ends every session: its subscribers get a BYE, its client a `close_notify`.
    fn end_sessions(&mut self) {
        let now = clock::now();
        let engine = &mut self.engine;
        let mut after = None;
        while let Ok(Reply::Sessions { sessions, .. }) =
            engine.carry_out(now, &Command::ListSessions { after })
        {
            after = sessions.last().copied();
            for session in sessions {
                // A session that cannot be closed is gone already.
                let _ = engine.carry_out(now, &Command::CloseSession { session });
            }
            if after.is_none() {
                return;
            }
        }
    }
}

impl Engine {
    /// Calls into the core. A panic there ends the session that was being worked on, and no other.
    fn guard<R>(
        &mut self,
        call: impl FnOnce(&mut Shard, &mut ShardOutbox<PortSender>) -> R,
    ) -> Option<R> {
        let Self { shard, out } = self;
        // What a panic leaves half done belongs to the session that is ended below; the outbox
        // takes a datagram in only after it was written.
        let result = catch_unwind(AssertUnwindSafe(|| call(shard, out)));
        if result.is_err() {
            tracing::error!("the media engine panicked; the session that it worked on is ended");
            let ended = catch_unwind(AssertUnwindSafe(|| shard.fail_current(out)));
            if ended.is_err() {
                tracing::error!("ending a failed session panicked as well; it may be left over");
            }
        }
        result.ok()
    }

    /// Media packets that were accepted so far.
    fn media_packets(&self) -> u64 {
        self.shard.counters().counter(Counter::RtpPacketsReceived)
    }

    fn carry_out(&mut self, now: Timestamp, command: &Command) -> Result<Reply, CommandError> {
        self.guard(|shard, out| shard.handle_command(now, command, out))
            .unwrap_or(Err(CommandError::SessionFailed))
    }
}

/// Commands of one turn: a transaction may make some hundred tracks.
const COMMANDS_PER_TURN: usize = 8;
/// Messages of other shards taken in one turn.
const RELAYS_PER_TURN: usize = 256;
/// Answers of the handshake pool taken in one turn.
const ANSWERS_PER_TURN: usize = 64;
/// How often the figures that take a walk over all sessions are made anew.
const GAUGE_INTERVAL: Duration = Duration::from_millis(100);
/// How soon the shard looks again at something that waits for room.
const RETRY: Duration = Duration::from_millis(5);
/// How long a stopping shard carries the last datagrams of its sessions.
const FAREWELL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use dataplane_core::time::NtpTime;
    use shared::channel::pair;
    use shared::id::ShardIndex;

    use super::*;
    use crate::config::DtlsEngine;
    use crate::handshake::{HandshakePool, PoolSettings};

    #[test]
    fn after_a_panic_in_the_core_the_shard_goes_on() {
        let (doorbell, _bell) = pair().unwrap();
        let answers = Arc::new(AnswerQueue::new(Arc::new(Sleeper::new(doorbell))));
        let settings = PoolSettings {
            engine: DtlsEngine::Dimpl,
            threads: 1,
            cores: vec![],
            idle_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(1),
        };
        let pool = HandshakePool::start(&settings, &[answers]).unwrap();
        let index = ShardIndex(0);
        let mut engine = Engine {
            shard: Shard::new(ShardConfig::new(index, 7, NtpTime::from_bits(0))),
            out: ShardOutbox {
                sender: PortSender::new(Rc::new([]), Backend::Mmsg).unwrap(),
                relays: RelaySender::new(index, &[]),
                pool: pool.client(index),
            },
        };
        assert_eq!(engine.guard(|_, _| -> u8 { panic!("on purpose") }), None);
        let counters = engine.shard.counters();
        assert_eq!(counters.drops(DropReason::SessionFailed), 1);
        let list = Command::ListSessions { after: None };
        let reply = engine.carry_out(clock::now(), &list);
        assert_eq!(
            reply,
            Ok(Reply::Sessions {
                sessions: vec![],
                more: false
            })
        );
        drop(engine);
        pool.join();
    }
}
