//! What comes from clients: checks, handshake records, media. (Reports and feedback: `feedback`.)

use shared::counters::{Counter, DropReason};
use shared::protocol::{DtlsRole, EndReason, Extension};

use super::Shard;
use super::sessions::SessionKey;
use super::tracks::Tracks;
use crate::handshake::{HandshakeId, HandshakeInput, HandshakeOutput};
use crate::outbox::{Outbox, Path};
use crate::rtp::RtpHeader;
use crate::session::Session;
use crate::session::ice::Nomination;
use crate::session::ssrcs::{Binding, Stream};
use crate::session::transport::Srtp;
use crate::stun::{BindingRequest, IceRole};
use crate::time::Timestamp;

impl Shard {
    /// A connectivity check (RFC 8445 §7.3).
    pub(super) fn handle_stun(
        &mut self,
        now: Timestamp,
        path: Path,
        bytes: &[u8],
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        let request = BindingRequest::parse(bytes)?;
        let (local, remote) = (request.local_ufrag(), request.remote_ufrag());
        let key = self
            .sessions
            .by_ufrag(local)
            .ok_or(DropReason::StunUnknownUser)?;
        self.current = Some(key);
        let session = self.sessions.get(key).ok_or(DropReason::StunUnknownUser)?;
        let password = session
            .transport
            .ice
            .password(local)
            .ok_or(DropReason::StunUnknownUser)?;
        let request = request.authenticate(password)?;
        if request.has_unknown_attributes() {
            let write = |slot: &mut [u8]| request.write_unknown_attributes(password, slot);
            out.datagram(path, |slot| write(slot).unwrap_or(0));
            return Ok(());
        }
        // A lite agent is always controlled and cannot change that (RFC 8445 §6.1.1, §7.3.1.1).
        if matches!(request.role(), Some(IceRole::Controlled { .. })) {
            let write = |slot: &mut [u8]| request.write_role_conflict(password, slot);
            out.datagram(path, |slot| write(slot).unwrap_or(0));
            return Ok(());
        }
        let nomination = if request.nominates() {
            Nomination::Nominated
        } else {
            Nomination::Ordinary
        };
        session.transport.ice.check_user(local, remote)?;
        out.datagram(path, |slot| {
            request
                .write_success(path.remote, password, slot)
                .unwrap_or(0)
        });
        let route = session.transport.media_route().map(|(path, _)| path);
        let moved = self.sessions.handle_check(key, path, nomination);
        self.counters.increment(Counter::BindingRequestsAnswered);
        if let (Some(former), true) = (route, moved) {
            self.counters.increment(Counter::AddressChanges);
            self.handle_move(now, key, former);
        }
        self.heard(now, key);
        self.start_dtls_as_client(key, out);
        Ok(())
    }

    /// The client is heard from elsewhere. Another port of the same address is a NAT that has
    /// forgotten; another address is another network, and nothing is known of what that carries.
    fn handle_move(&mut self, now: Timestamp, key: SessionKey, former: Path) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let present = session.transport.ice.selected();
        let is_elsewhere = present.is_some_and(|present| present.remote.ip() != former.remote.ip());
        if let (Some(congestion), true) = (&mut session.congestion, is_elsewhere) {
            congestion.handle_route_change(now);
        }
    }

    /// A DTLS record. It is looked at only if ICE has validated where it comes from, so that no
    /// third party can race the client to the handshake.
    pub(super) fn handle_dtls(
        &mut self,
        _now: Timestamp,
        path: Path,
        bytes: &[u8],
        out: &mut impl Outbox,
    ) -> Result<(), DropReason> {
        let key = self.session_at(path)?;
        if !self.start_dtls(key, DtlsRole::Server, out) {
            return Err(DropReason::DtlsUnexpected);
        }
        if out.handshake(key.handshake_id(), HandshakeInput::Datagram(bytes)) {
            Ok(())
        } else {
            Err(DropReason::HandshakeQueueFull)
        }
    }

    /// As client we begin once the peer has chosen a pair, never on one that is not validated.
    pub(super) fn start_dtls_as_client(&mut self, key: SessionKey, out: &mut impl Outbox) {
        let nominated = self
            .sessions
            .get(key)
            .is_some_and(|session| session.transport.ice.is_nominated());
        if nominated {
            self.start_dtls(key, DtlsRole::Client, out);
        }
    }

    /// Starts the association if it is due in this role; whether the pool has it now.
    fn start_dtls(&mut self, key: SessionKey, when: DtlsRole, out: &mut impl Outbox) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        if let Some((role, fingerprints)) = session.transport.ready_dtls()
            && role == when
            && out.handshake(
                key.handshake_id(),
                HandshakeInput::Start { role, fingerprints },
            )
        {
            session.transport.dtls_started();
        }
        session.transport.dtls_is_started()
    }

    pub(super) fn handshake_progressed(
        &mut self,
        now: Timestamp,
        id: HandshakeId,
        output: HandshakeOutput,
        out: &mut impl Outbox,
    ) {
        let key = SessionKey::from_handshake_id(id);
        self.current = Some(key);
        if let HandshakeOutput::Datagram(bytes) = &output {
            if let Some(path) = self.sessions.selected_path(key) {
                out.datagram(path, |slot| copy(bytes, slot));
            }
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match output {
            HandshakeOutput::Datagram(_) => {}
            HandshakeOutput::Established(keys) => {
                session.transport.established(now, &keys);
                let legs: Vec<_> = session.legs.iter().map(|(_, leg)| *leg).collect();
                self.counters.increment(Counter::HandshakesCompleted);
                self.events.session(key);
                self.start_legs(now, key, &legs, out);
            }
            HandshakeOutput::Failed => {
                session.transport.failed();
                self.counters.increment(Counter::HandshakesFailed);
                self.events.session(key);
            }
            HandshakeOutput::Closed => {
                session.transport.failed();
                self.end_session(key, Some(EndReason::ClosedByClient), out);
            }
        }
    }

    /// Something authenticated came from a client.
    pub(super) fn heard(&mut self, now: Timestamp, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && session.transport.heard(now)
        {
            self.events.session(key);
        }
    }

    /// The session that has proved that it is at the other end of `path`; from now on it is the one
    /// that is worked on.
    pub(super) fn session_at(&mut self, path: Path) -> Result<SessionKey, DropReason> {
        let key = self
            .sessions
            .by_path(path)
            .ok_or(DropReason::UnknownAddress)?;
        self.current = Some(key);
        Ok(key)
    }

    /// An RTP packet: opened, bound to its publication, kept once. It is forwarded at the end of
    /// the turn.
    pub(super) fn handle_rtp(
        &mut self,
        now: Timestamp,
        path: Path,
        bytes: &mut [u8],
    ) -> Result<(), DropReason> {
        let key = self.session_at(path)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or(DropReason::UnknownAddress)?;
        let header = RtpHeader::parse(bytes).map_err(|_| DropReason::RtpMalformed)?;
        let Srtp { receiver, .. } = session.transport.srtp_mut().ok_or(DropReason::NoKeys)?;
        let len = receiver.open_rtp(&header, bytes)?;
        let packet = bytes.get_mut(..len).ok_or(DropReason::RtpMalformed)?;
        session.note_arrival(now, &header, packet);
        if session.transport.heard(now) {
            self.events.session(key);
        }
        let binding = bind(session, &self.tracks, &header, packet)?;
        self.accept(now, binding, &header, packet)
    }

    fn accept(
        &mut self,
        now: Timestamp,
        binding: Binding,
        header: &RtpHeader,
        packet: &mut [u8],
    ) -> Result<(), DropReason> {
        let track = self
            .tracks
            .get_mut(binding.publication)
            .ok_or(DropReason::UnknownSsrc)?;
        let (publication, layer) = (&mut track.publication, binding.layer);
        let accepted = match binding.stream {
            Stream::Media => publication.accept(now, layer, header, packet)?,
            Stream::Retransmission => {
                publication.accept_retransmission(now, layer, header, packet)?
            }
        };
        self.counters.increment(Counter::RtpPacketsReceived);
        if accepted.recovered {
            self.counters.increment(Counter::RtpPacketsRecovered);
        }
        if accepted.keyframe {
            self.counters.increment(Counter::KeyframesReceived);
        }
        if !track.receiving {
            track.receiving = true;
            self.events.publication(binding.publication);
        }
        self.turn.add(binding.publication, binding.layer, accepted);
        Ok(())
    }
}

/// Which stream of which publication a packet belongs to: by its SSRC if that is known, else by
/// mid and rid (RFC 8843 §9.2, RFC 8852 §3), else by its payload type if that says enough.
fn bind(
    session: &mut Session,
    tracks: &Tracks,
    header: &RtpHeader,
    packet: &[u8],
) -> Result<Binding, DropReason> {
    if let Some(binding) = session.ssrcs.binding(header.ssrc) {
        return Ok(binding);
    }
    let mut identity = Identity::default();
    for (id, value) in header.extensions(packet) {
        match session.extension(id) {
            Some(Extension::Mid) => identity.mid = Some(value),
            Some(Extension::RtpStreamId) => identity.rid = Some(value),
            Some(Extension::RepairedRtpStreamId) => identity.repaired_rid = Some(value),
            _ => {}
        }
    }
    let publications = session.publications.iter().map(|(_, key)| *key);
    let binding = tracks
        .identify(publications, &identity, header.payload_type)
        .ok_or(DropReason::UnknownSsrc)?;
    session.ssrcs.bind(header.ssrc, binding);
    Ok(binding)
}

/// What a packet says of where it belongs.
#[derive(Debug, Default)]
pub(crate) struct Identity<'a> {
    pub(crate) mid: Option<&'a [u8]>,
    pub(crate) rid: Option<&'a [u8]>,
    pub(crate) repaired_rid: Option<&'a [u8]>,
}

fn copy(bytes: &[u8], slot: &mut [u8]) -> usize {
    slot.get_mut(..bytes.len()).map_or(0, |slot| {
        slot.copy_from_slice(bytes);
        bytes.len()
    })
}
