//! The ICE side of a session: a lite agent (RFC 8445 §2.5) that answers checks and never sends any.

use arrayvec::ArrayVec;
use shared::counters::DropReason;
use shared::protocol::IceCredentials;

use crate::outbox::Path;
use crate::stun::IcePassword;

/// What an authenticated check changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckOutcome {
    /// This path was not known before and can be received from now.
    pub(crate) validated: bool,
    /// This path was forgotten to make room.
    pub(crate) forgotten: Option<Path>,
    /// What we send goes to another path than before the check.
    pub(crate) moved: bool,
}

/// Whether a check carried USE-CANDIDATE (RFC 8445 §7.3.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nomination {
    /// It did: the client has chosen this pair.
    Nominated,
    /// It did not.
    Ordinary,
}

/// Credentials of ours. A lite agent sends no checks, so it needs no password of the client's.
#[derive(Debug)]
struct Local {
    ufrag: Box<str>,
    password: IcePassword,
}

impl From<&IceCredentials> for Local {
    fn from(credentials: &IceCredentials) -> Self {
        Self {
            ufrag: credentials.ufrag.as_str().into(),
            password: IcePassword::new(&credentials.password),
        }
    }
}

/// One session's agent.
#[derive(Debug)]
pub(crate) struct IceAgent {
    local: Local,
    /// The credentials before the last ICE restart, which are still answered.
    previous: Option<Local>,
    remote_ufrag: Option<Box<str>>,
    /// Paths that an authenticated check came over, the latest last.
    validated: ArrayVec<Path, VALIDATED_PATHS_MAX>,
    nominated: Option<Path>,
}

impl IceAgent {
    pub(crate) fn new(local: &IceCredentials) -> Self {
        Self {
            local: local.into(),
            previous: None,
            remote_ufrag: None,
            validated: ArrayVec::new(),
            nominated: None,
        }
    }

    /// Sets or replaces what the client said of itself.
    pub(crate) fn set_remote(&mut self, remote: &IceCredentials) {
        self.remote_ufrag = Some(remote.ufrag.as_str().into());
    }

    /// RFC 8445 §9: new credentials; the selected pair goes on until another is nominated. Returns
    /// the ufrag that is not answered any more, if there is one.
    pub(crate) fn restart(
        &mut self,
        local: &IceCredentials,
        remote: &IceCredentials,
    ) -> Option<Box<str>> {
        let before = core::mem::replace(&mut self.local, local.into());
        self.set_remote(remote);
        self.previous.replace(before).map(|retired| retired.ufrag)
    }

    /// Every local ufrag that is answered now.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        core::iter::once(&self.local)
            .chain(&self.previous)
            .map(|local| &*local.ufrag)
    }

    /// The password that checks for `local_ufrag` are authenticated with (RFC 8445 §7.2.2).
    pub(crate) fn password(&self, local_ufrag: &str) -> Option<&IcePassword> {
        core::iter::once(&self.local)
            .chain(&self.previous)
            .find(|local| *local.ufrag == *local_ufrag)
            .map(|local| &local.password)
    }

    /// Whether a check whose MESSAGE-INTEGRITY was right is of the client that the description
    /// named. Checks for the credentials before a restart come with the client's ufrag before it,
    /// which is not kept: their password speaks for them. And a check may come before the client's
    /// description does (RFC 8445 §7.3).
    ///
    /// # Errors
    /// It is of another.
    pub(crate) fn check_user(
        &self,
        local_ufrag: &str,
        remote_ufrag: &str,
    ) -> Result<(), DropReason> {
        match &self.remote_ufrag {
            Some(known) if *self.local.ufrag == *local_ufrag && **known != *remote_ufrag => {
                Err(DropReason::StunUnknownUser)
            }
            _ => Ok(()),
        }
    }

    /// Takes a check that came from the client itself.
    pub(crate) fn handle_check(&mut self, path: Path, nomination: Nomination) -> CheckOutcome {
        let before = self.selected();
        let mut outcome = self.validate(path);
        if nomination == Nomination::Nominated {
            self.nominated = Some(path);
        }
        outcome.moved = self.selected() != before;
        outcome
    }

    /// Where to send: the nominated path, or before nomination the latest that was validated.
    pub(crate) fn selected(&self) -> Option<Path> {
        self.nominated.or_else(|| self.validated.last().copied())
    }

    /// Whether the client has chosen a pair.
    pub(crate) fn is_nominated(&self) -> bool {
        self.nominated.is_some()
    }

    /// Every path that can be received from.
    pub(crate) fn paths(&self) -> &[Path] {
        &self.validated
    }

    /// Another session proved that this path is its own now.
    pub(crate) fn forget(&mut self, path: Path) {
        self.validated.retain(|known| *known != path);
        if self.nominated == Some(path) {
            self.nominated = None;
        }
    }

    fn validate(&mut self, path: Path) -> CheckOutcome {
        let mut outcome = CheckOutcome::default();
        if let Some(position) = self.validated.iter().position(|known| *known == path) {
            self.validated.remove(position);
        } else {
            outcome.validated = true;
            if self.validated.is_full() {
                let nominated = self.nominated;
                let oldest = self
                    .validated
                    .iter()
                    .position(|known| Some(*known) != nominated);
                outcome.forgotten = oldest.map(|position| self.validated.remove(position));
            }
        }
        self.validated.push(path);
        outcome
    }
}

/// A client has a few addresses; one that checks from ever new ones displaces its own older ones.
const VALIDATED_PATHS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ufrag: &str) -> IceCredentials {
        IceCredentials {
            ufrag: ufrag.to_owned(),
            password: format!("{ufrag}-password-of-22-chars"),
        }
    }

    fn path(port: u16) -> Path {
        Path {
            socket: 0,
            remote: ([127, 0, 0, 1], port).into(),
        }
    }

    fn agent() -> IceAgent {
        let mut agent = IceAgent::new(&credentials("ours"));
        agent.set_remote(&credentials("theirs"));
        agent
    }

    fn check(agent: &mut IceAgent, port: u16, nomination: Nomination) -> CheckOutcome {
        agent.handle_check(path(port), nomination)
    }

    #[test]
    fn a_check_from_another_client_is_refused() {
        assert_eq!(agent().check_user("ours", "theirs"), Ok(()));
        assert_eq!(
            agent().check_user("ours", "other"),
            Err(DropReason::StunUnknownUser)
        );
    }

    #[test]
    fn a_check_before_the_description_is_accepted() {
        // RFC 8445 §7.3.
        let mut agent = IceAgent::new(&credentials("ours"));
        assert_eq!(agent.check_user("ours", "anyone"), Ok(()));
        check(&mut agent, 1, Nomination::Ordinary);
        assert_eq!(agent.selected(), Some(path(1)));
        assert!(!agent.is_nominated());
    }

    #[test]
    fn an_ordinary_check_does_not_move_a_nominated_session() {
        let mut agent = agent();
        assert!(check(&mut agent, 1, Nomination::Nominated).moved);
        let outcome = check(&mut agent, 2, Nomination::Ordinary);
        assert!(outcome.validated && !outcome.moved);
        assert_eq!(agent.selected(), Some(path(1)));
    }

    #[test]
    fn a_nominating_check_moves_the_session() {
        let mut agent = agent();
        check(&mut agent, 1, Nomination::Nominated);
        assert!(check(&mut agent, 2, Nomination::Nominated).moved);
        assert_eq!(agent.selected(), Some(path(2)));
        assert!(!check(&mut agent, 2, Nomination::Nominated).moved);
    }

    #[test]
    fn many_addresses_displace_the_oldest_but_never_the_nominated_one() {
        let mut agent = agent();
        check(&mut agent, 1, Nomination::Nominated);
        for port in 2..=8 {
            assert_eq!(
                check(&mut agent, port, Nomination::Ordinary).forgotten,
                None
            );
        }
        assert_eq!(
            check(&mut agent, 9, Nomination::Ordinary).forgotten,
            Some(path(2))
        );
        assert_eq!(agent.paths().len(), VALIDATED_PATHS_MAX);
        assert_eq!(agent.selected(), Some(path(1)));
    }

    #[test]
    fn a_restart_keeps_the_old_pair_until_the_new_credentials_nominate() {
        // RFC 8445 §9.
        let mut agent = agent();
        check(&mut agent, 1, Nomination::Nominated);
        assert_eq!(
            agent.restart(&credentials("newer"), &credentials("client")),
            None
        );
        assert_eq!(agent.selected(), Some(path(1)));
        assert!(agent.password("ours").is_some() && agent.password("newer").is_some());
        assert_eq!(agent.check_user("ours", "theirs"), Ok(()));
        assert_eq!(agent.check_user("newer", "client"), Ok(()));
        assert!(check(&mut agent, 2, Nomination::Nominated).moved);
        assert_eq!(agent.selected(), Some(path(2)));
        let retired = agent.restart(&credentials("third"), &credentials("client"));
        assert_eq!(retired.as_deref(), Some("ours"));
        assert!(agent.password("ours").is_none());
    }
}
