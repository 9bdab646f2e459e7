//! The figures of the links, as the proxy writes them.

use core::net::SocketAddr;

use dataplane_core::time::Timestamp;
use serde::Serialize;

use crate::network::{Link, LinkCounters};

/// What became of one client's datagrams.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientStatistics {
    /// Where it sends from.
    pub client: SocketAddr,
    /// From the client to the server.
    pub up: LinkStatistics,
    /// From the server to the client.
    pub down: LinkStatistics,
}

/// What became of the datagrams of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LinkStatistics {
    /// Since the client came.
    #[serde(flatten)]
    pub counters: LinkCounters,
    /// How long a datagram that comes now would wait, in milliseconds.
    pub queue_ms: f64,
}

impl LinkStatistics {
    pub(super) fn new(now: Timestamp, link: &mut Link) -> Self {
        Self {
            counters: link.counters(),
            queue_ms: link.queue_delay(now).as_secs_f64() * 1000.0,
        }
    }
}
