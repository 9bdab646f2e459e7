//! Names of the things that both planes talk about. All are chosen by the control plane.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A shard of one data plane: the index of its core, its UDP port and its pair of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardIndex(pub u16);

impl ShardIndex {
    /// The index as one into an array of shards.
    pub fn as_usize(self) -> usize {
        usize::from(self.0)
    }
}

/// A session: one `PeerConnection` between a client and the server.
///
/// Written as 32 lower-case hexadecimal digits. The first four name the node, the next four the
/// shard that owns the session, and the other 24 (96 bits) are random, so that an id cannot be
/// guessed by a client that was not told it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(u128);

impl SessionId {
    /// The id that `node` gives to a session on `shard`; `random` comes from a CSPRNG.
    pub fn new(node: u16, shard: ShardIndex, random: [u8; 12]) -> Self {
        let [n0, n1] = node.to_be_bytes();
        let [s0, s1] = shard.0.to_be_bytes();
        let [a, b, c, d, e, f, g, h, i, j, k, l] = random;
        Self(u128::from_be_bytes([
            n0, n1, s0, s1, a, b, c, d, e, f, g, h, i, j, k, l,
        ]))
    }

    /// The node that made this session.
    pub fn node(self) -> u16 {
        let [n0, n1, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([n0, n1])
    }

    /// The shard that owns this session.
    pub fn shard(self) -> ShardIndex {
        let [_, _, s0, s1, ..] = self.0.to_be_bytes();
        ShardIndex(u16::from_be_bytes([s0, s1]))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 lower-case hexadecimal digits")]
pub struct SessionIdError;

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let digits = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 32 || !digits {
            return Err(SessionIdError);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| SessionIdError)
    }
}

/// One published track, named by its session and a number that counts up within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicationId {
    /// The session that publishes.
    pub session: SessionId,
    /// Counts up within the session; never used again.
    pub number: u32,
}

/// One subscribed track (a leg), named by its session and a number that counts up within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubscriptionId {
    /// The session that receives.
    pub session: SessionId,
    /// Counts up within the session; never used again.
    pub number: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_carries_its_node_and_shard() {
        let id = SessionId::new(3, ShardIndex(17), [0xab; 12]);
        assert_eq!((id.node(), id.shard()), (3, ShardIndex(17)));
        assert_eq!(id.to_string(), "00030011abababababababababababab");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_session_id_is_only_read_from_32_lower_case_hex_digits() {
        for text in [
            "",
            "00",
            "00030011ABABABABABABABABABABABAB",
            "+0030011abababababababababababab",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError), "{text:?}");
        }
    }
}
