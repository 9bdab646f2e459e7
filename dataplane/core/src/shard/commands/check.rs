//! Whether a transaction can be carried out as a whole.

use shared::id::{PublicationId, SessionId};
use shared::limits::{
    CHANGES_MAX, CODECS_MAX, EXTENSIONS_MAX, LAYERS_MAX, MODEL_BYTES_MAX, PASSWORD_BYTES_MAX,
    PUBLICATIONS_PER_SESSION_MAX, SUBSCRIPTIONS_PER_SESSION_MAX, UFRAG_BYTES_MAX,
};
use shared::protocol::{
    Change, CommandError, IceCredentials, PublishParameters, RemoteTransport, SubscribeParameters,
};

use crate::shard::Shard;

/// What the session would be like after the changes checked so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    shard: &'a Shard,
    session: SessionId,
    exists: bool,
    has_remote: bool,
    publications: Vec<u32>,
    subscriptions: Vec<u32>,
    ssrcs: Vec<u32>,
    ufrags: Vec<&'a str>,
}

impl<'a> Draft<'a> {
    /// Checks a transaction against the shard as it is.
    ///
    /// # Errors
    /// What the first change that cannot be made lacks.
    pub(super) fn check(
        shard: &'a Shard,
        session: SessionId,
        changes: &'a [Change],
        model: Option<&[u8]>,
    ) -> Result<(), CommandError> {
        let model_len = model.map_or(0, <[u8]>::len);
        if changes.len() > CHANGES_MAX || model_len > MODEL_BYTES_MAX {
            return Err(CommandError::LimitExceeded);
        }
        let mut draft = Self::of(shard, session);
        if !draft.exists && !matches!(changes.first(), Some(Change::Open(_))) {
            return Err(CommandError::UnknownSession);
        }
        changes.iter().try_for_each(|change| draft.apply(change))
    }

    fn of(shard: &'a Shard, id: SessionId) -> Self {
        let session = shard
            .sessions
            .key(id)
            .and_then(|key| shard.sessions.get(key));
        let legs = session
            .map(|session| session.legs.as_slice())
            .unwrap_or_default();
        Self {
            shard,
            session: id,
            exists: session.is_some(),
            has_remote: session.is_some_and(|session| session.transport.has_remote()),
            publications: session
                .map(|s| numbers_of(&s.publications))
                .unwrap_or_default(),
            subscriptions: numbers_of(legs),
            ssrcs: session
                .map(|s| s.leg_ssrcs.keys().copied().collect())
                .unwrap_or_default(),
            ufrags: Vec::new(),
        }
    }

    fn apply(&mut self, change: &'a Change) -> Result<(), CommandError> {
        match change {
            Change::Open(local) => self.open(local),
            Change::SetRemote(remote) => self.set_remote(remote),
            Change::RestartIce { local, remote } => {
                self.need_remote()?;
                check_credentials(remote)?;
                self.take_ufrag(local)
            }
            Change::Publish(parameters) => self.publish(parameters),
            Change::Unpublish { number } => remove(
                &mut self.publications,
                *number,
                CommandError::UnknownPublication,
            ),
            Change::Subscribe(parameters) => self.subscribe(parameters),
            Change::Unsubscribe { number } => remove(
                &mut self.subscriptions,
                *number,
                CommandError::UnknownSubscription,
            ),
            Change::Resubscribe {
                number,
                source,
                codecs,
                selection: _,
                hints: _,
            } => {
                if !self.subscriptions.contains(number) {
                    return Err(CommandError::UnknownSubscription);
                }
                check_bound(codecs.len(), CODECS_MAX)?;
                self.need_source(*source)
            }
            Change::LimitAudio { loudest: _ } => Ok(()),
        }
    }

    fn open(&mut self, local: &'a IceCredentials) -> Result<(), CommandError> {
        if self.exists {
            return Err(CommandError::SessionExists);
        }
        if self.session.shard() != self.shard.config.index {
            return Err(CommandError::UnknownSession);
        }
        if self.shard.sessions.len() >= self.shard.config.sessions_max {
            return Err(CommandError::ShardFull);
        }
        self.exists = true;
        self.take_ufrag(local)
    }

    fn take_ufrag(&mut self, local: &'a IceCredentials) -> Result<(), CommandError> {
        check_credentials(local)?;
        let ufrag = local.ufrag.as_str();
        if self.shard.sessions.has_ufrag(ufrag) || self.ufrags.contains(&ufrag) {
            return Err(CommandError::NumberTaken);
        }
        self.ufrags.push(ufrag);
        Ok(())
    }

    fn set_remote(&mut self, remote: &RemoteTransport) -> Result<(), CommandError> {
        check_credentials(&remote.ice)?;
        if remote.fingerprints.is_empty() {
            return Err(CommandError::WrongState);
        }
        check_bound(remote.fingerprints.len(), FINGERPRINTS_MAX)?;
        self.has_remote = true;
        Ok(())
    }

    fn publish(&mut self, parameters: &PublishParameters) -> Result<(), CommandError> {
        self.need_remote()?;
        check_bound(self.publications.len() + 1, PUBLICATIONS_PER_SESSION_MAX)?;
        check_bound(parameters.layers.len(), LAYERS_MAX)?;
        check_bound(parameters.codecs.len(), CODECS_MAX)?;
        check_bound(parameters.extensions.len(), EXTENSIONS_MAX)?;
        if parameters.layers.is_empty() || parameters.codecs.is_empty() {
            return Err(CommandError::WrongState);
        }
        take(&mut self.publications, parameters.number)
    }

    fn subscribe(&mut self, parameters: &SubscribeParameters) -> Result<(), CommandError> {
        self.need_remote()?;
        check_bound(self.subscriptions.len() + 1, SUBSCRIPTIONS_PER_SESSION_MAX)?;
        check_bound(parameters.codecs.len(), CODECS_MAX)?;
        check_bound(parameters.extensions.len(), EXTENSIONS_MAX)?;
        self.need_source(parameters.source)?;
        take(&mut self.ssrcs, parameters.ssrc)?;
        if let Some(ssrc) = parameters.rtx_ssrc {
            take(&mut self.ssrcs, ssrc)?;
        }
        take(&mut self.subscriptions, parameters.number)
    }

    fn need_remote(&self) -> Result<(), CommandError> {
        if self.has_remote {
            Ok(())
        } else {
            Err(CommandError::WrongState)
        }
    }

    /// A source on another shard can only be asked for; one of this shard must be there.
    fn need_source(&self, source: PublicationId) -> Result<(), CommandError> {
        let own = source.session == self.session && self.publications.contains(&source.number);
        let elsewhere = source.session.shard() != self.shard.config.index;
        if own || elsewhere || self.shard.tracks.find(source).is_some() {
            Ok(())
        } else {
            Err(CommandError::UnknownPublication)
        }
    }
}

fn numbers_of<K>(list: &[(u32, K)]) -> Vec<u32> {
    list.iter().map(|(number, _)| *number).collect()
}

fn take(taken: &mut Vec<u32>, number: u32) -> Result<(), CommandError> {
    if taken.contains(&number) {
        return Err(CommandError::NumberTaken);
    }
    taken.push(number);
    Ok(())
}

fn remove(taken: &mut Vec<u32>, number: u32, missing: CommandError) -> Result<(), CommandError> {
    let position = taken
        .iter()
        .position(|other| *other == number)
        .ok_or(missing)?;
    taken.swap_remove(position);
    Ok(())
}

fn check_bound(count: usize, max: usize) -> Result<(), CommandError> {
    if count > max {
        Err(CommandError::LimitExceeded)
    } else {
        Ok(())
    }
}

fn check_credentials(credentials: &IceCredentials) -> Result<(), CommandError> {
    check_bound(credentials.ufrag.len(), UFRAG_BYTES_MAX)?;
    check_bound(credentials.password.len(), PASSWORD_BYTES_MAX)
}

/// `a=fingerprint` lines that one description may carry.
const FINGERPRINTS_MAX: usize = 8;
