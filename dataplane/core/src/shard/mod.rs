//! One shard: all sessions of one core, and the doors through which things happen to them.

mod commands;
mod congestion;
mod events;
mod fan_out;
mod feedback;
mod keyframes;
mod receive;
mod relays;
mod reports;
mod runs;
mod sessions;
mod speakers;
mod tick;
mod tracks;
mod way;

use core::time::Duration;

use shared::counters::{Counter, Counters, DropReason, Gauge};
use shared::id::ShardIndex;
use shared::protocol::{Command, CommandError, EndReason, Event, Reply};

use self::congestion::Pacing;
use self::events::Events;
use self::fan_out::Turn;
use self::sessions::{SessionKey, Sessions};
use self::tick::Ticker;
pub(crate) use self::tracks::{LegKey, PublicationKey};
use self::tracks::{Tracks, Wish};
use crate::bwe::Batch;
use crate::handshake::{HandshakeId, HandshakeOutput};
use crate::outbox::{Outbox, Path};
use crate::relay::RelayMessage;
use crate::session::demux::{Protocol, classify};
use crate::time::{NtpTime, Timestamp};

/// What a shard is told once, at its start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard this is.
    pub index: ShardIndex,
    /// Where our RTP sequence numbers and report SSRCs start from; random for each start.
    pub seed: u64,
    /// NTP time at [`Timestamp`] zero.
    pub ntp_origin: NtpTime,
    /// Sessions that the shard holds at the most.
    pub sessions_max: usize,
    /// How long a session may take to connect before it is ended.
    pub connect_timeout: Duration,
    /// How long nothing may be heard of a connected client before it counts as disconnected
    /// (RFC 7675 §5.1 asks for at most 30 s).
    pub consent_timeout: Duration,
    /// How long a disconnected session waits for its client before it is ended.
    pub reconnect_timeout: Duration,
}

impl ShardConfig {
    /// A shard with the default limits and timeouts.
    pub fn new(index: ShardIndex, seed: u64, ntp_origin: NtpTime) -> Self {
        Self {
            index,
            seed,
            ntp_origin,
            sessions_max: 16_384,
            connect_timeout: Duration::from_secs(60),
            consent_timeout: Duration::from_secs(15),
            reconnect_timeout: Duration::from_secs(30),
        }
    }
}

/// The media engine of one core. See the crate's documentation for the contract.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    sessions: Sessions,
    tracks: Tracks,
    turn: Turn,
    ticker: Ticker,
    pacing: Pacing,
    /// Memory for one feedback, and for the key frames that one allocation asks for.
    feedback_batch: Batch,
    keyframe_wishes: Vec<Wish>,
    events: Events,
    counters: Counters,
    /// The session that is being worked on: the one to end should that work panic.
    current: Option<SessionKey>,
}

impl Shard {
    /// A shard without sessions.
    pub fn new(config: ShardConfig) -> Self {
        Self {
            sessions: Sessions::new(config.seed),
            tracks: Tracks::new(config.index),
            turn: Turn::default(),
            ticker: Ticker::default(),
            pacing: Pacing::default(),
            feedback_batch: Batch::default(),
            keyframe_wishes: Vec::new(),
            events: Events::default(),
            counters: Counters::default(),
            current: None,
            config,
        }
    }

    /// Takes one datagram that came on `path`. `bytes` is opened in place.
    pub fn handle_datagram(
        &mut self,
        now: Timestamp,
        path: Path,
        bytes: &mut [u8],
        out: &mut impl Outbox,
    ) {
        self.counters.increment(Counter::DatagramsReceived);
        self.counters
            .add(Counter::BytesReceived, bytes.len() as u64);
        let outcome = match classify(bytes) {
            Some(Protocol::Stun) => self.handle_stun(now, path, bytes, out),
            Some(Protocol::Dtls) => self.handle_dtls(now, path, bytes, out),
            Some(Protocol::Rtp) => self.handle_rtp(now, path, bytes),
            Some(Protocol::Rtcp) => self.handle_rtcp(now, path, bytes, out),
            None => Err(DropReason::UnknownProtocol),
        };
        if let Err(reason) = outcome {
            self.counters.dropped(reason);
        }
        self.current = None;
    }

    /// Carries out one command, or refuses it and changes nothing.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn handle_command(
        &mut self,
        now: Timestamp,
        command: &Command,
        out: &mut impl Outbox,
    ) -> Result<Reply, CommandError> {
        self.counters.increment(Counter::CommandsHandled);
        let result = match command {
            Command::ListSessions { after } => Ok(self.list_sessions(*after)),
            Command::InspectSession { session } => self.inspect_session(now, *session),
            Command::MeasureSession { session } => self.measure_session(now, *session),
            Command::Execute {
                session,
                changes,
                model,
            } => self.execute(now, *session, changes, model.as_deref(), out),
            Command::CloseSession { session } => self.close_session(*session, out),
        };
        self.current = None;
        result
    }

    /// Takes a message of another shard, with the packet that it may be about.
    pub fn handle_relay(
        &mut self,
        now: Timestamp,
        from: ShardIndex,
        message: RelayMessage,
        packet: &[u8],
        out: &mut impl Outbox,
    ) {
        if let Err(reason) = self.relayed(now, from, message, packet, out) {
            self.counters.dropped(reason);
        }
    }

    /// Takes what the handshake pool says of one association.
    pub fn handle_handshake(
        &mut self,
        now: Timestamp,
        id: HandshakeId,
        output: HandshakeOutput,
        out: &mut impl Outbox,
    ) {
        self.handshake_progressed(now, id, output, out);
        self.current = None;
    }

    /// Does what is due by now; to be called once [`Shard::next_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut impl Outbox) {
        self.tick(now, out);
        self.pace(now, out);
        self.current = None;
    }

    /// Ends a turn: forwards all media that came since the last call.
    pub fn end_turn(&mut self, now: Timestamp, out: &mut impl Outbox) {
        self.counters.increment(Counter::Turns);
        self.fan_out(now, out);
        self.pace(now, out);
        self.current = None;
    }

    /// When [`Shard::handle_timeout`] is to be called next; none while there is nothing to do.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let tick = self.ticker.due(!self.sessions.is_empty())?;
        Some(self.pacing.due().map_or(tick, |pace| tick.min(pace)))
    }

    /// Takes the next event. What stands in the queue is a name; the event says how things stand
    /// when it is taken, so the queue never holds two about one thing.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.poll(&self.sessions, &self.tracks)
    }

    /// Ends the session that was being worked on when a call into the shard panicked. The owner
    /// calls this after it has caught the panic; all other sessions go on.
    pub fn fail_current(&mut self, out: &mut impl Outbox) {
        self.turn.clear();
        self.counters.dropped(DropReason::SessionFailed);
        if let Some(key) = self.current.take() {
            self.counters.increment(Counter::SessionsFailed);
            self.end_session(key, Some(EndReason::InternalError), out);
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// For what the owner counts: what it sent, and what it could not send.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Writes the gauges. It looks at every session, so it is not for every turn.
    pub fn refresh_gauges(&mut self) {
        self.counters
            .set(Gauge::Sessions, self.sessions.len() as u64);
        self.counters
            .set(Gauge::SessionsConnected, self.sessions.connected() as u64);
        self.counters
            .set(Gauge::Publications, self.tracks.owned() as u64);
        self.counters
            .set(Gauge::Mirrors, self.tracks.mirrored() as u64);
        self.counters
            .set(Gauge::Subscriptions, self.tracks.subscriptions() as u64);
        for (gauge, count) in self.tracks.reasons().gauges() {
            self.counters.set(gauge, count);
        }
    }
}
