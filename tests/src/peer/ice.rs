//! A client's connectivity checks, by the crate `stun`.

use core::net::SocketAddr;
use core::time::Duration;

use dataplane_core::time::Timestamp;
use shared::protocol::IceCredentials;
use stun::agent::TransactionId;
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message};
use stun::xoraddr::XorMappedAddress;

use crate::checker::Checker;
use crate::rng::Rng;

/// The controlling agent.
#[derive(Debug)]
pub struct ClientIce {
    /// Its own credentials.
    pub local: IceCredentials,
    /// What the server's description said.
    pub server: IceCredentials,
    /// Whether checks carry USE-CANDIDATE.
    pub nominates: Nominates,
    next_check_at: Timestamp,
    answered: u64,
    waiting: Option<TransactionId>,
    rng: Rng,
}

/// Whether a check nominates its pair (RFC 8445 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nominates {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl ClientIce {
    /// An agent that has sent nothing.
    pub fn new(index: usize, server: IceCredentials, rng: &mut Rng) -> Self {
        Self {
            local: credentials(&format!("client{index}"), rng),
            server,
            nominates: Nominates::Yes,
            next_check_at: Timestamp::default(),
            answered: 0,
            waiting: None,
            rng: rng.fork(),
        }
    }

    /// New credentials on both sides (RFC 8445 §9).
    pub fn restart(&mut self, local: IceCredentials, server: IceCredentials) {
        self.local = local;
        self.server = server;
        self.check_now();
    }

    /// The next check, if one is due: quickly until one was answered, then to keep consent
    /// (RFC 7675 §5.1).
    pub fn poll(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        if self.next_check_at > now {
            return None;
        }
        let unanswered = self.answered == 0 || self.waiting.is_some();
        self.next_check_at = now
            + if unanswered {
                CHECK_INTERVAL
            } else {
                CONSENT_INTERVAL
            };
        let id = TransactionId(self.rng.bytes());
        self.waiting = Some(id);
        Some(self.check(id, &self.server.password))
    }

    /// A binding request whose MESSAGE-INTEGRITY is made with this password.
    pub fn check(&self, id: TransactionId, password: &str) -> Vec<u8> {
        let username = format!("{}:{}", self.server.ufrag, self.local.ufrag);
        let mut message = Message::new();
        message
            .build(&[Box::new(BINDING_REQUEST), Box::new(id)])
            .unwrap();
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_PRIORITY, &0x6e00_01ff_u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &7_u64.to_be_bytes());
        if self.nominates == Nominates::Yes {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let integrity = MessageIntegrity::new_short_term_integrity(password.to_owned());
        stun::message::Setter::add_to(&integrity, &mut message).unwrap();
        stun::message::Setter::add_to(&FINGERPRINT, &mut message).unwrap();
        message.raw
    }

    /// Checks at the next tick.
    pub fn check_now(&mut self) {
        self.next_check_at = Timestamp::default();
        self.waiting = Some(TransactionId::default());
    }

    /// Whether a check was ever answered.
    pub fn is_answered(&self) -> bool {
        self.answered > 0
    }

    /// How many checks were answered.
    pub fn answers(&self) -> u64 {
        self.answered
    }

    /// A response: its integrity and the address in it must be right.
    pub fn response(&mut self, bytes: &[u8], own: SocketAddr, checker: &mut Checker) {
        let mut message = Message::new();
        let read = message.unmarshal_binary(bytes);
        let password = self.server.password.clone();
        let integrity = MessageIntegrity::new_short_term_integrity(password);
        let mut address = XorMappedAddress::default();
        if read.is_err() || message.typ != BINDING_SUCCESS {
            checker.fault(format!("a check was answered with {message}"));
            return;
        }
        if self.waiting != Some(message.transaction_id) {
            return; // An answer to an earlier one.
        }
        if integrity.check(&mut message).is_err() || FINGERPRINT.check(&message).is_err() {
            checker.fault("the answer to a check is not authentic".to_owned());
            return;
        }
        address.get_from(&message).unwrap();
        if SocketAddr::new(address.ip, address.port) != own {
            checker.fault(format!("{own} was told that it is {address}"));
        }
        self.answered += 1;
        self.waiting = None;
        self.next_check_at = self.next_check_at + CONSENT_INTERVAL;
    }
}

/// Credentials that are unlike others.
pub fn credentials(name: &str, rng: &mut Rng) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{name}x{:x}", rng.bits() & 0xffff_ffff),
        password: format!("{:016x}{:016x}", rng.bits(), rng.bits()),
    }
}

/// Until a check was answered.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// After that.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2500);
