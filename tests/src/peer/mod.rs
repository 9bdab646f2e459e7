//! A client: ICE checks, keys, SRTP, and the media that it sends and receives. Nothing in here
//! is code of the server; RTP, RTCP, STUN and SRTP are those of webrtc-rs.

pub mod crypto;
pub mod ice;

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;
use dataplane_core::srtp::SrtpProfile;
use dataplane_core::time::{NtpTime, Timestamp};
use shared::id::SessionId;
use shared::protocol::{DtlsRole, IceCredentials};

use self::crypto::ClientSrtp;
use self::ice::ClientIce;
use crate::arrivals::Arrivals;
use crate::checker::Checker;
use crate::content::Ledger;
use crate::pool::{Flight, Parameters};
use crate::publisher::{PublishedTrack, TransportSequence, Uplink};
use crate::rng::Rng;
use crate::subscriber::{self, SubscribedTrack};

/// What a client puts on the network.
#[derive(Debug)]
pub struct Outgoing {
    /// The datagram.
    pub bytes: Vec<u8>,
    /// The packet of media that it carries, if it does: SSRC and extended sequence number.
    pub media: Option<(u32, u64)>,
    /// Its transport-wide sequence number, extended, if it has one.
    pub transport: Option<u64>,
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            media: None,
            transport: None,
        }
    }
}

/// Whether a client does anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Awake,
    /// It sends nothing, not even checks: a laptop with its lid closed.
    Asleep,
}

/// What a client is made with.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How it protects media.
    pub profile: SrtpProfile,
    /// The server's part in the handshake.
    pub server_role: DtlsRole,
    /// Whether it tells when packets come (`transport-cc`).
    pub feedback: Feedback,
}

/// Whether a client tells when packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// It did not agree to.
    None,
    /// It does.
    TransportWide,
    /// It agreed to, but does not.
    Broken,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            profile: SrtpProfile::AeadAes128Gcm,
            server_role: DtlsRole::Server,
            feedback: Feedback::None,
        }
    }
}

/// Everything that a client may look at or change while it handles something.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// What was published by anybody.
    pub ledger: &'a mut Ledger,
    /// Where faults are told.
    pub checker: &'a mut Checker,
}

/// One client with one session.
#[derive(Debug)]
pub struct Client {
    /// Of the world's clients.
    pub index: usize,
    /// The session that it has.
    pub session: SessionId,
    /// Where it is now.
    pub address: SocketAddr,
    /// Whether it does anything.
    pub activity: Activity,
    /// Its ICE agent.
    pub ice: ClientIce,
    /// How it was made.
    pub options: ClientOptions,
    /// Of its certificate.
    pub digest: [u8; 32],
    /// Once it has keys.
    pub srtp: Option<ClientSrtp>,
    /// The server has keys too, so that media will be understood.
    pub server_is_ready: bool,
    /// What it sends.
    pub publications: Vec<PublishedTrack>,
    /// What it receives.
    pub subscriptions: Vec<SubscribedTrack>,
    /// It asked to hear the loudest only, at some time.
    pub hears_loudest: bool,
    /// Numbers over all that it sends.
    pub transport: TransportSequence,
    /// When what it receives came.
    pub arrivals: Arrivals,
    /// RTP of an SSRC that it does not know.
    pub unknown_ssrcs: u64,
    moved_at: Option<Timestamp>,
    next_hello_at: Timestamp,
    next_report_at: Timestamp,
    ntp_origin: NtpTime,
    /// Its own choices.
    pub rng: Rng,
}

impl Client {
    /// A client that has not sent anything.
    pub fn new(
        index: usize,
        session: SessionId,
        server: IceCredentials,
        options: ClientOptions,
        mut rng: Rng,
    ) -> Self {
        let ip = [10, 0, (index >> 8) as u8, index as u8];
        Self {
            index,
            session,
            address: (ip, 40_000).into(),
            activity: Activity::Awake,
            ice: ClientIce::new(index, server, &mut rng),
            options,
            digest: rng.bytes(),
            srtp: None,
            server_is_ready: false,
            publications: Vec::new(),
            subscriptions: Vec::new(),
            hears_loudest: false,
            transport: TransportSequence::new(rng.bits() as u16),
            arrivals: Arrivals::default(),
            unknown_ssrcs: 0,
            moved_at: None,
            next_hello_at: Timestamp::default(),
            next_report_at: Timestamp::default(),
            // Its clock has nothing to do with the server's.
            ntp_origin: NtpTime::from_bits(rng.bits() >> 1),
            rng,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp, around: &mut Surroundings<'_>, out: &mut Vec<Outgoing>) {
        if self.activity == Activity::Asleep {
            return;
        }
        out.extend(self.ice.poll(now).map(Outgoing::from));
        self.hello(now, out);
        if !self.server_is_ready {
            return;
        }
        let Some(srtp) = &mut self.srtp else { return };
        let mut uplink = Uplink {
            srtp,
            transport: &mut self.transport,
            out,
        };
        for track in &mut self.publications {
            track.tick(now, around.ledger, &mut uplink);
        }
        let mut reports = Vec::new();
        if self.next_report_at <= now {
            self.next_report_at = now + Duration::from_millis(self.rng.between(900, 1100));
            let ntp = self.ntp_origin + now.since(Timestamp::default());
            for track in &mut self.publications {
                track.sender_reports(now, ntp, &mut reports);
            }
            for track in &mut self.subscriptions {
                reports.extend(track.receiver_report(now));
            }
        }
        for track in &mut self.subscriptions {
            track.tick(now, &mut reports);
        }
        if self.options.feedback == Feedback::TransportWide {
            reports.extend(self.arrivals.poll(now));
        }
        for compound in reports {
            out.push(srtp.protect_rtcp(&compound).into());
        }
    }

    /// Takes a datagram that the server sent at `sent_at`.
    pub fn receive(
        &mut self,
        now: Timestamp,
        sent_at: Timestamp,
        bytes: &[u8],
        around: &mut Surroundings<'_>,
        out: &mut Vec<Outgoing>,
    ) {
        if self.activity == Activity::Asleep {
            return;
        }
        match bytes {
            [0..=3, ..] => self.ice.response(bytes, self.address, around.checker),
            [20..=63, ..] => self.flight(bytes, out),
            [_, kind, ..] if (192..=223).contains(kind) => {
                self.receive_rtcp(now, sent_at, bytes, around, out);
            }
            [128..=191, ..] => self.receive_rtp(now, bytes, around),
            _ => around
                .checker
                .fault(format!("client {} got {bytes:02x?}", self.index)),
        }
    }

    /// Goes somewhere else, and has to check from there.
    pub fn move_to(&mut self, now: Timestamp, address: SocketAddr) {
        self.address = address;
        self.moved_at = Some(now);
        self.ice.check_now();
    }

    /// Whether the server surely knows its address by then: one check of a new one may get lost.
    pub fn is_known_at(&self, at: Timestamp) -> bool {
        self.moved_at
            .is_none_or(|moved| at.since(moved) >= MOVE_SETTLES)
    }

    /// Whether it can open what comes.
    pub fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    fn hello(&mut self, now: Timestamp, out: &mut Vec<Outgoing>) {
        let due = self.options.server_role == DtlsRole::Server
            && self.srtp.is_none()
            && self.ice.is_answered()
            && self.next_hello_at <= now;
        if due {
            self.next_hello_at = now + Duration::from_millis(150);
            out.push(Flight::ClientHello(self.parameters()).to_bytes().into());
        }
    }

    fn parameters(&self) -> Parameters {
        Parameters {
            profile: self.options.profile,
            digest: self.digest,
            material: Vec::new(),
        }
    }

    fn flight(&mut self, bytes: &[u8], out: &mut Vec<Outgoing>) {
        let material = match Flight::parse(bytes) {
            Some(Flight::ClientHello(server)) => {
                out.push(Flight::ServerFinished(self.parameters()).to_bytes().into());
                server.material
            }
            Some(Flight::ServerFinished(server)) => server.material,
            Some(Flight::Close) | None => return,
        };
        self.srtp.get_or_insert_with(|| {
            ClientSrtp::new(self.options.profile, self.options.server_role, &material)
        });
    }

    fn receive_rtp(&mut self, now: Timestamp, bytes: &[u8], around: &mut Surroundings<'_>) {
        let Some(srtp) = &mut self.srtp else { return };
        let Some(packet) = srtp.open_rtp(bytes) else {
            let index = self.index;
            around
                .checker
                .fault(format!("client {index} cannot open RTP at {now:?}"));
            return;
        };
        let ssrc = packet.header.ssrc;
        if let Some(number) = packet.header.get_extension(subscriber::ids::TRANSPORT)
            && let [high, low] = number[..]
        {
            self.arrivals.record(now, u16::from_be_bytes([high, low]));
        }
        let mut tracks = self.subscriptions.iter_mut();
        match tracks.find(|track| track.owns(ssrc)) {
            Some(track) => track.receive(now, packet, around),
            None => self.unknown_ssrcs += 1,
        }
    }

    fn receive_rtcp(
        &mut self,
        now: Timestamp,
        sent_at: Timestamp,
        bytes: &[u8],
        around: &mut Surroundings<'_>,
        out: &mut Vec<Outgoing>,
    ) {
        let Some(srtp) = &mut self.srtp else { return };
        let Some(plain) = srtp.open_rtcp(bytes) else {
            let index = self.index;
            around
                .checker
                .fault(format!("client {index} cannot open RTCP at {now:?}"));
            return;
        };
        let Ok(packets) = rtcp::packet::unmarshal(&mut Bytes::clone(&plain)) else {
            around
                .checker
                .fault(format!("RTCP that cannot be read: {plain:02x?}"));
            return;
        };
        for packet in &packets {
            let packet = packet.as_any();
            let mut uplink = Uplink {
                srtp,
                transport: &mut self.transport,
                out,
            };
            for track in &mut self.publications {
                track.feedback(sent_at, packet, around.checker, &mut uplink);
            }
            for track in &mut self.subscriptions {
                track.control(now, packet);
            }
            self.transport.feedback(packet, around.checker);
        }
    }
}

/// After a change of its address, what a client sends may be dropped for so long.
const MOVE_SETTLES: Duration = Duration::from_secs(1);
