//! What the control plane asks for. A transaction is checked as a whole before its first change is
//! made, so that making the changes cannot fail.

mod check;

use shared::id::SessionId;
use shared::protocol::{
    Change, CommandError, EndReason, PublicationReport, PublishParameters, RemoteTransport, Reply,
    SessionReport, SessionStatistics, SubscribeParameters,
};

use self::check::Draft;
use super::Shard;
use super::sessions::SessionKey;
use super::tracks::LegKey;
use crate::egress::Start;
use crate::handshake::HandshakeInput;
use crate::outbox::Outbox;
use crate::session::Session;
use crate::session::ice::IceAgent;
use crate::session::ssrcs::{Binding, Stream};
use crate::time::Timestamp;

impl Shard {
    pub(super) fn list_sessions(&self, after: Option<SessionId>) -> Reply {
        let mut sessions = self.sessions.ids_after(after, LIST_PAGE + 1);
        let more = sessions.len() > LIST_PAGE;
        sessions.truncate(LIST_PAGE);
        Reply::Sessions { sessions, more }
    }

    pub(super) fn inspect_session(
        &self,
        now: Timestamp,
        id: SessionId,
    ) -> Result<Reply, CommandError> {
        let session = self.session(id)?;
        Ok(Reply::Session(Box::new(SessionReport {
            session: id,
            state: session.transport.state(),
            publications: self.publication_reports(now, session),
            model: session.model.clone(),
        })))
    }

    pub(super) fn measure_session(
        &mut self,
        now: Timestamp,
        id: SessionId,
    ) -> Result<Reply, CommandError> {
        if let Some(key) = self.sessions.key(id) {
            self.current = Some(key);
            self.measure_speakers(now, key);
        }
        let session = self.session(id)?;
        let legs = session.legs.iter();
        Ok(Reply::Statistics(Box::new(SessionStatistics {
            session: id,
            state: session.transport.state(),
            estimate: session.congestion.as_ref().and_then(|c| c.report()),
            publications: self.publication_reports(now, session),
            subscriptions: legs
                .filter_map(|(number, key)| self.tracks.subscription_report(now, *number, *key))
                .collect(),
        })))
    }

    fn session(&self, id: SessionId) -> Result<&Session, CommandError> {
        let key = self.sessions.key(id);
        let session = key.and_then(|key| self.sessions.get(key));
        session.ok_or(CommandError::UnknownSession)
    }

    fn publication_reports(&self, now: Timestamp, session: &Session) -> Vec<PublicationReport> {
        let publications = session.publications.iter();
        publications
            .filter_map(|(number, key)| self.tracks.publication_report(now, *number, *key))
            .collect()
    }

    pub(super) fn close_session(
        &mut self,
        id: SessionId,
        out: &mut impl Outbox,
    ) -> Result<Reply, CommandError> {
        let key = self.sessions.key(id).ok_or(CommandError::UnknownSession)?;
        self.current = Some(key);
        self.end_session(key, None, out);
        Ok(Reply::Done)
    }

    pub(super) fn execute(
        &mut self,
        now: Timestamp,
        id: SessionId,
        changes: &[Change],
        model: Option<&[u8]>,
        out: &mut impl Outbox,
    ) -> Result<Reply, CommandError> {
        Draft::check(self, id, changes, model)?;
        let mut begun = Vec::new();
        for change in changes {
            if let Change::Open(credentials) = change {
                let report_ssrc = self.random_ssrc();
                let agent = IceAgent::new(credentials);
                self.sessions
                    .insert(Session::new(now, id, agent, report_ssrc));
                self.ticker.start(now);
            }
            let key = self.sessions.key(id).ok_or(CommandError::UnknownSession)?;
            self.current = Some(key);
            begun.extend(self.apply(now, key, change, out));
        }
        let Some(key) = self.sessions.key(id) else {
            return Ok(Reply::Done);
        };
        self.start_legs(now, key, &begun, out);
        if let (Some(model), Some(session)) = (model, self.sessions.get_mut(key)) {
            session.model.clear();
            session.model.extend_from_slice(model);
        }
        Ok(Reply::Done)
    }

    /// Makes one change. Returns the leg that begins with it.
    fn apply(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        change: &Change,
        out: &mut impl Outbox,
    ) -> Option<LegKey> {
        match change {
            Change::Open(_) => {}
            Change::SetRemote(remote) => self.set_remote(key, remote, out),
            Change::RestartIce { local, remote } => self.sessions.restart_ice(key, local, remote),
            Change::Publish(parameters) => self.publish(key, parameters),
            Change::Unpublish { number } => self.unpublish(key, *number, out),
            Change::Subscribe(parameters) => return self.subscribe(now, key, parameters, out),
            Change::Unsubscribe { number } => self.unsubscribe(now, key, *number, out),
            Change::Resubscribe {
                number,
                source,
                codecs,
                selection,
                hints,
            } => {
                let leg = self.sessions.get(key)?.leg(*number)?;
                let entry = self.tracks.leg_mut(leg)?;
                let goes_on = entry.leg.is_fed_as(*source, codecs, selection);
                let begins_anew = !goes_on && entry.leg.resubscribe(*source, codecs, *selection);
                entry.leg.set_hints(*hints);
                if begins_anew {
                    self.clear_waiting(key, leg);
                }
                self.tracks.feed(leg, *source, out);
                // Other hints alone must not disturb what waits for its turn.
                if !goes_on {
                    self.add_to_congestion(now, key, leg, out);
                }
                self.add_to_speakers(now, key, leg);
                return Some(leg);
            }
            Change::LimitAudio { loudest } => self.limit_audio(now, key, *loudest),
        }
        None
    }

    fn set_remote(&mut self, key: SessionKey, remote: &RemoteTransport, out: &mut impl Outbox) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.transport.ice.set_remote(&remote.ice);
            session
                .transport
                .set_dtls(remote.role, &remote.fingerprints);
        }
        // The client may have nominated a pair before its description came.
        self.start_dtls_as_client(key, out);
    }

    fn publish(&mut self, key: SessionKey, parameters: &PublishParameters) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(track) = self.tracks.publish(session.id, key, parameters) else {
            return;
        };
        let position = session
            .publications
            .partition_point(|(n, _)| *n < parameters.number);
        session
            .publications
            .insert(position, (parameters.number, track));
        session.learn_extensions(&parameters.extensions);
        for (layer, parameters) in (0_u8..).zip(&parameters.layers) {
            let streams = [
                (parameters.ssrc, Stream::Media),
                (parameters.rtx_ssrc, Stream::Retransmission),
            ];
            for (ssrc, stream) in streams {
                if let Some(ssrc) = ssrc {
                    session.ssrcs.bind(
                        ssrc,
                        Binding {
                            publication: track,
                            layer,
                            stream,
                        },
                    );
                }
            }
        }
        if parameters.codecs.iter().any(|codec| codec.transport_cc) {
            session.enable_transport_feedback();
        }
        self.ticker.add_publisher(key, session);
    }

    fn unpublish(&mut self, key: SessionKey, number: u32, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(track) = session.publication(number) else {
            return;
        };
        session.publications.retain(|(other, _)| *other != number);
        session.ssrcs.forget(track);
        self.tracks.end(track, out);
    }

    fn subscribe(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        parameters: &SubscribeParameters,
        out: &mut impl Outbox,
    ) -> Option<LegKey> {
        let [a, b, c, d, ..] = self.sessions.random().to_be_bytes();
        let start = Start {
            sequence_number: u16::from_be_bytes([a, b]),
            rtx_sequence_number: u16::from_be_bytes([c, d]),
        };
        let session = self.sessions.get_mut(key)?;
        let leg = self.tracks.subscribe(key, parameters, start);
        let position = session
            .legs
            .partition_point(|(n, _)| *n < parameters.number);
        session.legs.insert(position, (parameters.number, leg));
        for ssrc in core::iter::once(parameters.ssrc).chain(parameters.rtx_ssrc) {
            session.leg_ssrcs.insert(ssrc, leg);
        }
        self.tracks.feed(leg, parameters.source, out);
        self.add_to_congestion(now, key, leg, out);
        self.add_to_speakers(now, key, leg);
        Some(leg)
    }

    fn unsubscribe(&mut self, now: Timestamp, key: SessionKey, number: u32, out: &mut impl Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(leg) = session.leg(number) else {
            return;
        };
        session.legs.retain(|(other, _)| *other != number);
        session.leg_ssrcs.retain(|_, other| *other != leg);
        if let Some(speakers) = &mut session.speakers {
            speakers.ranking.remove(leg);
        }
        self.say_goodbye(key, &[leg], out);
        self.tracks.unsubscribe(leg, out);
        self.remove_from_congestion(now, key, leg, out);
    }

    /// Ends a session in good order: its subscribers' tracks fall silent, its own legs are told by
    /// BYE, the pool says `close_notify`. `reason` is given if the control plane did not ask.
    pub(super) fn end_session(
        &mut self,
        key: SessionKey,
        reason: Option<EndReason>,
        out: &mut impl Outbox,
    ) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let id = session.id;
        let publications: Vec<u32> = session.publications.iter().map(|(n, _)| *n).collect();
        let legs: Vec<_> = session.legs.iter().map(|(_, leg)| *leg).collect();
        for number in publications {
            self.unpublish(key, number, out);
        }
        self.say_goodbye(key, &legs, out);
        for leg in legs {
            self.tracks.unsubscribe(leg, out);
        }
        if let Some(session) = self.sessions.remove(key)
            && session.transport.dtls_is_started()
        {
            // What the pool makes of it goes where the client was: `Sessions::selected_path`.
            out.handshake(key.handshake_id(), HandshakeInput::Stop);
        }
        if let Some(reason) = reason {
            self.events.ended(id, reason);
        }
    }

    pub(super) fn random_ssrc(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.sessions.random().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Ids in one page of the list: 16 bytes each, well within a record.
const LIST_PAGE: usize = 1024;
