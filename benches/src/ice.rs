//! The controlling ICE agent of a peer, against an ICE-lite server: RFC 8445 §7.2.

use std::hash::{BuildHasher, RandomState};

use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, RawAttribute,
};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message};
use stun::textattrs::TextAttribute;

use crate::error::LoadError;

/// `a=ice-ufrag` and `a=ice-pwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// At least 4 characters.
    pub ufrag: String,
    /// At least 22 characters.
    pub password: String,
}

impl Credentials {
    /// New ones. Good enough to tell peers of a test apart; not secret.
    pub fn random() -> Self {
        Self {
            ufrag: format!("{:08x}", random() & 0xffff_ffff),
            password: format!("{:016x}{:016x}", random(), random()),
        }
    }
}

/// A number that differs from call to call.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Makes and checks the messages of one agent.
#[derive(Debug)]
pub struct IceAgent {
    username: String,
    remote_password: String,
    tie_breaker: u64,
}

impl IceAgent {
    /// RFC 8445 §7.2.2: the username is the peer's ufrag, a colon and our own.
    pub fn new(local: &Credentials, remote: &Credentials) -> Self {
        Self {
            username: format!("{}:{}", remote.ufrag, local.ufrag),
            remote_password: remote.password.clone(),
            tie_breaker: random(),
        }
    }

    /// A binding request that nominates (RFC 8445 §7.2.2), in the order that RFC 8489 §14.5 and
    /// §14.7 want: MESSAGE-INTEGRITY after what it covers, FINGERPRINT last.
    ///
    /// # Errors
    ///
    /// [`LoadError::Description`] if the server's credentials are too long for a message.
    pub fn binding_request(&self) -> Result<Vec<u8>, LoadError> {
        let attribute = |typ, value: &[u8]| {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            Box::new(RawAttribute {
                typ,
                length,
                value: value.to_vec(),
            })
        };
        let integrity = MessageIntegrity::new_short_term_integrity(self.remote_password.clone());
        let mut message = Message::new();
        message
            .build(&[
                Box::new(TransactionId::new()),
                Box::new(BINDING_REQUEST),
                Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())),
                attribute(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes()),
                attribute(ATTR_USE_CANDIDATE, &[]),
                attribute(ATTR_PRIORITY, &PEER_REFLEXIVE_PRIORITY.to_be_bytes()),
                Box::new(integrity),
                Box::new(FINGERPRINT),
            ])
            .map_err(|_| LoadError::Description("credentials too long for a binding request"))?;
        Ok(message.raw)
    }

    /// Whether `datagram` is the success response of the server: its integrity is checked with
    /// the server's password (RFC 8445 §7.2.5.2).
    pub fn is_answer(&self, datagram: &[u8]) -> bool {
        let mut message = Message::new();
        if message.unmarshal_binary(datagram).is_err() || message.typ != BINDING_SUCCESS {
            return false;
        }
        MessageIntegrity::new_short_term_integrity(self.remote_password.clone())
            .check(&mut message)
            .is_ok()
    }
}

/// RFC 8445 §5.1.2.1: a peer-reflexive candidate (110) of component 1.
const PEER_REFLEXIVE_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ufrag: &str) -> Credentials {
        Credentials {
            ufrag: ufrag.to_owned(),
            password: format!("{ufrag}-password-of-22-chars"),
        }
    }

    #[test]
    fn a_binding_request_is_authenticated_with_the_servers_password() {
        let agent = IceAgent::new(&credentials("ours"), &credentials("theirs"));
        let mut request = Message::new();
        request
            .unmarshal_binary(&agent.binding_request().unwrap())
            .unwrap();
        assert_eq!(request.typ, BINDING_REQUEST);
        let username = TextAttribute::get_from_as(&request, ATTR_USERNAME).unwrap();
        assert_eq!(username.text, "theirs:ours");
        assert!(request.contains(ATTR_USE_CANDIDATE));
        assert!(request.contains(ATTR_ICE_CONTROLLING));
        FINGERPRINT.check(&request).unwrap();
        let password = credentials("theirs").password;
        MessageIntegrity::new_short_term_integrity(password)
            .check(&mut request)
            .unwrap();
    }

    #[test]
    fn only_an_answer_with_the_servers_password_counts() {
        let agent = IceAgent::new(&credentials("ours"), &credentials("theirs"));
        let answer = |password: &str| {
            let mut message = Message::new();
            message
                .build(&[
                    Box::new(TransactionId::new()),
                    Box::new(BINDING_SUCCESS),
                    Box::new(MessageIntegrity::new_short_term_integrity(
                        password.to_owned(),
                    )),
                    Box::new(FINGERPRINT),
                ])
                .unwrap();
            message.raw
        };
        assert!(agent.is_answer(&answer("theirs-password-of-22-chars")));
        assert!(!agent.is_answer(&answer("a-password-of-somebody-else")));
        assert!(!agent.is_answer(&agent.binding_request().unwrap()));
        assert!(!agent.is_answer(b"not stun"));
    }
}
