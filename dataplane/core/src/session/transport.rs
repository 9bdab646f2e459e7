//! How far a session's way to its client has come: ICE, then DTLS, then keys, then life.

use core::time::Duration;

use shared::protocol::{DtlsRole, Fingerprint, TransportState};

use super::ice::IceAgent;
use crate::outbox::Path;
use crate::srtp::{SessionKeys, SrtpReceiver, SrtpSender};
use crate::time::Timestamp;

/// The SRTP contexts of both directions.
#[derive(Debug)]
pub(crate) struct Srtp {
    pub(crate) sender: SrtpSender,
    pub(crate) receiver: SrtpReceiver,
}

impl Srtp {
    fn new(keys: &SessionKeys) -> Self {
        Self {
            sender: SrtpSender::new(keys),
            receiver: SrtpReceiver::new(keys),
        }
    }
}

/// The DTLS association, which lives in the handshake pool.
#[derive(Debug)]
enum Dtls {
    /// The client's description has not come.
    Unknown,
    /// Not begun: as server we wait for the first datagram, as client for a nominated pair.
    Ready {
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
    },
    /// The pool is at work.
    Running,
    /// Done; the keys are in use.
    Established(Box<Srtp>),
    /// Nothing more will come.
    Failed,
}

/// One session's transport.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) ice: IceAgent,
    dtls: Dtls,
    created_at: Timestamp,
    /// The last authenticated thing that came: a check, SRTP or SRTCP.
    last_heard: Timestamp,
    lost_at: Option<Timestamp>,
}

/// What a look at the clock found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Nothing changed.
    Unchanged,
    /// Nothing was heard for too long.
    Lost,
    /// It never connected.
    NeverConnected,
    /// It was lost and did not come back.
    GivenUp,
}

/// The three timeouts of [`crate::ShardConfig`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) consent: Duration,
    pub(crate) reconnect: Duration,
}

impl Transport {
    pub(crate) fn new(now: Timestamp, ice: IceAgent) -> Self {
        Self {
            ice,
            dtls: Dtls::Unknown,
            created_at: now,
            last_heard: now,
            lost_at: None,
        }
    }

    /// The client's certificate and part in the handshake; only the first call has an effect
    /// (RFC 8842 §5: they belong to the association).
    pub(crate) fn set_dtls(&mut self, role: DtlsRole, fingerprints: &[Fingerprint]) {
        if matches!(self.dtls, Dtls::Unknown) {
            self.dtls = Dtls::Ready {
                role,
                fingerprints: fingerprints.to_vec(),
            };
        }
    }

    /// Whether [`Transport::set_dtls`] was called.
    pub(crate) fn has_remote(&self) -> bool {
        !matches!(self.dtls, Dtls::Unknown)
    }

    /// What the pool is to be started with, if the association has not begun.
    pub(crate) fn ready_dtls(&self) -> Option<(DtlsRole, &[Fingerprint])> {
        if let Dtls::Ready { role, fingerprints } = &self.dtls {
            Some((*role, fingerprints))
        } else {
            None
        }
    }

    /// The pool has taken the association.
    pub(crate) fn dtls_started(&mut self) {
        if matches!(self.dtls, Dtls::Ready { .. }) {
            self.dtls = Dtls::Running;
        }
    }

    /// Whether the pool knows this session.
    pub(crate) fn dtls_is_started(&self) -> bool {
        matches!(self.dtls, Dtls::Running | Dtls::Established(_))
    }

    /// The handshake is done.
    pub(crate) fn established(&mut self, now: Timestamp, keys: &SessionKeys) {
        self.dtls = Dtls::Established(Box::new(Srtp::new(keys)));
        self.last_heard = now;
    }

    /// The handshake, or the association, failed.
    pub(crate) fn failed(&mut self) {
        self.dtls = Dtls::Failed;
    }

    /// Something authenticated came. Returns whether that brought a lost session back.
    pub(crate) fn heard(&mut self, now: Timestamp) -> bool {
        self.last_heard = now;
        self.lost_at.take().is_some()
    }

    /// The keys, once there are any.
    pub(crate) fn srtp_mut(&mut self) -> Option<&mut Srtp> {
        if let Dtls::Established(srtp) = &mut self.dtls {
            Some(srtp)
        } else {
            None
        }
    }

    /// Where and with what to send media: only on a nominated path and with keys.
    pub(crate) fn media_route(&self) -> Option<(Path, &SrtpSender)> {
        match &self.dtls {
            Dtls::Established(srtp) if self.lost_at.is_none() => {
                Some((self.ice.selected()?, &srtp.sender))
            }
            Dtls::Established(_)
            | Dtls::Unknown
            | Dtls::Ready { .. }
            | Dtls::Running
            | Dtls::Failed => None,
        }
    }

    /// Like [`Transport::media_route`], for RTCP, whose index counts up in the context.
    pub(crate) fn control_route(&mut self) -> Option<(Path, &mut SrtpSender)> {
        match &mut self.dtls {
            Dtls::Established(srtp) if self.lost_at.is_none() => {
                Some((self.ice.selected()?, &mut srtp.sender))
            }
            Dtls::Established(_)
            | Dtls::Unknown
            | Dtls::Ready { .. }
            | Dtls::Running
            | Dtls::Failed => None,
        }
    }

    /// As the control plane sees it.
    pub(crate) fn state(&self) -> TransportState {
        match &self.dtls {
            Dtls::Failed => TransportState::Failed,
            Dtls::Established(_) if self.lost_at.is_some() => TransportState::Disconnected,
            Dtls::Established(_) => TransportState::Connected,
            Dtls::Unknown | Dtls::Ready { .. } | Dtls::Running => TransportState::Connecting,
        }
    }

    /// Looks at the clock. Consent (RFC 7675 §5.1) is taken from the client's own checks, since a
    /// lite agent sends none, and from authenticated media, since some clients check only once.
    pub(crate) fn check_liveness(&mut self, now: Timestamp, timeouts: Timeouts) -> Liveness {
        match (self.state(), self.lost_at) {
            (TransportState::Connecting | TransportState::Failed, _) => {
                if now.since(self.created_at) >= timeouts.connect {
                    return Liveness::NeverConnected;
                }
            }
            (TransportState::Connected, _) => {
                if now.since(self.last_heard) >= timeouts.consent {
                    self.lost_at = Some(now);
                    return Liveness::Lost;
                }
            }
            (TransportState::Disconnected, Some(lost_at)) => {
                if now.since(lost_at) >= timeouts.reconnect {
                    return Liveness::GivenUp;
                }
            }
            (TransportState::Disconnected, None) => {}
        }
        Liveness::Unchanged
    }
}
