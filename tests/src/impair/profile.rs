//! How a link shall behave, as people write it in JSON.

use core::net::SocketAddr;
use core::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::network::{Bottleneck, Burst, LinkModel, LinkState, QueueLimit};

/// One direction. What is left out is not impaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Kilobits a second of UDP payload; without it there is room for everything.
    pub rate_kbps: Option<u64>,
    /// How long datagrams may wait for the rate: 300 ms if nothing is said.
    pub queue_ms: Option<f64>,
    /// Instead: how many bytes may wait.
    pub queue_bytes: Option<u64>,
    /// One way.
    #[serde(default)]
    pub delay_ms: f64,
    /// Up to this much more, in order.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Probability that a datagram is lost.
    #[serde(default)]
    pub loss: f64,
    /// Losses in a row.
    pub burst: Option<BurstProfile>,
    /// Probability that a datagram is overtaken, which makes it up to 8 ms later.
    #[serde(default)]
    pub reordering: f64,
    /// Nothing goes through.
    #[serde(default)]
    pub blocked: bool,
}

/// The model of Gilbert and Elliott: probabilities for each datagram.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstProfile {
    /// It begins a bad time.
    pub begin: f64,
    /// In a bad time, it ends that.
    pub end: f64,
    /// In a bad time, it is lost.
    pub loss: f64,
}

/// New profiles for the links of some clients.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileChange {
    /// For whom.
    pub client: Whom,
    /// From the client to the server, if that changes.
    pub up: Option<Profile>,
    /// From the server to the client, if that changes.
    pub down: Option<Profile>,
}

/// Some clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Whom {
    /// `*`: all of them, also those to come and those that had a profile of their own.
    All,
    /// The one that sends from this UDP port.
    Port(u16),
}

/// Why a profile was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidProfile {
    /// A rate of nothing would keep datagrams for ever.
    #[error("rate_kbps must be between 1 and 100000000")]
    Rate,
    /// Negative, or longer than a minute.
    #[error("times must be between 0 and 60000 ms")]
    Time,
    /// Not a probability.
    #[error("loss, reordering and the figures of burst must be between 0 and 1")]
    Probability,
}

impl Profile {
    /// The model of the link.
    ///
    /// # Errors
    /// If a figure cannot be.
    pub fn checked(self) -> Result<LinkModel, InvalidProfile> {
        let burst = self.burst.map(|burst| [burst.begin, burst.end, burst.loss]);
        let probabilities = [self.loss, self.reordering].into_iter();
        let mut probabilities = probabilities.chain(burst.into_iter().flatten());
        let times = [
            self.delay_ms,
            self.jitter_ms,
            self.queue_ms.unwrap_or_default(),
        ];
        if !self
            .rate_kbps
            .is_none_or(|rate| (1..=100_000_000).contains(&rate))
        {
            Err(InvalidProfile::Rate)
        } else if !times.iter().all(|time| (0.0..=60_000.0).contains(time)) {
            Err(InvalidProfile::Time)
        } else if !probabilities.all(|one| (0.0..=1.0).contains(&one)) {
            Err(InvalidProfile::Probability)
        } else {
            Ok(self.into())
        }
    }
}

impl From<Profile> for LinkModel {
    fn from(profile: Profile) -> Self {
        let queue_time = millis(profile.queue_ms.unwrap_or(QUEUE_MS_DEFAULT));
        let queue = profile
            .queue_bytes
            .map_or(QueueLimit::Time(queue_time), QueueLimit::Bytes);
        Self {
            delay: millis(profile.delay_ms),
            jitter: millis(profile.jitter_ms),
            loss: profile.loss,
            burst: profile
                .burst
                .map(|BurstProfile { begin, end, loss }| Burst { begin, end, loss }),
            reordering: profile.reordering,
            bottleneck: profile.rate_kbps.map(|rate| Bottleneck {
                rate: rate * 1000,
                queue,
            }),
            state: if profile.blocked {
                LinkState::Down
            } else {
                LinkState::Up
            },
            ..Self::default()
        }
    }
}

impl Whom {
    /// Whether this client is among them.
    pub fn is(self, client: &SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::Port(port) => client.port() == port,
        }
    }
}

impl TryFrom<String> for Whom {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "*" {
            return Ok(Self::All);
        }
        let port = text.parse().map(Self::Port);
        port.map_err(|_| format!("a client is \"*\" or a UDP port, not {text:?}"))
    }
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1000.0)
}

/// How long datagrams may wait if a profile does not say it, in milliseconds (RFC 8867 §4.2).
const QUEUE_MS_DEFAULT: f64 = 300.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Profile {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_empty_profile_impairs_nothing() {
        let model = read("{}").checked().unwrap();
        let free = LinkModel {
            delay: Duration::ZERO,
            ..LinkModel::default()
        };
        assert_eq!(model, free);
    }

    #[test]
    fn a_narrow_link_has_a_queue_of_300_ms_unless_it_is_told() {
        let queue = |json| read(json).checked().unwrap().bottleneck.unwrap().queue;
        let ms = |millis| QueueLimit::Time(Duration::from_millis(millis));
        assert_eq!(queue(r#"{"rate_kbps":500}"#), ms(300));
        assert_eq!(queue(r#"{"rate_kbps":500,"queue_ms":70}"#), ms(70));
        let bytes = queue(r#"{"rate_kbps":500,"queue_bytes":9000}"#);
        assert_eq!(bytes, QueueLimit::Bytes(9_000));
    }

    #[test]
    fn figures_that_cannot_be_are_refused() {
        for (json, problem) in [
            (r#"{"rate_kbps":0}"#, InvalidProfile::Rate),
            (r#"{"delay_ms":-1}"#, InvalidProfile::Time),
            (r#"{"queue_ms":1e9}"#, InvalidProfile::Time),
            (r#"{"loss":5}"#, InvalidProfile::Probability),
            (
                r#"{"burst":{"begin":0.1,"end":0.1,"loss":-1}}"#,
                InvalidProfile::Probability,
            ),
        ] {
            assert_eq!(read(json).checked(), Err(problem), "{json}");
        }
    }

    #[test]
    fn an_unknown_name_or_client_is_refused() {
        for json in [
            r#"{"client":"*","down":{"rate":500}}"#,
            r#"{"client":"somebody","down":{}}"#,
            r#"{"client":"70000"}"#,
        ] {
            assert!(
                serde_json::from_str::<ProfileChange>(json).is_err(),
                "{json}"
            );
        }
    }
}
