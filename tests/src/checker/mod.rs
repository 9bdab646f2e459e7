//! What must hold, told from what was published, what the servers put on the network, what the
//! network did with it, and what clients got. A checker collects faults; the test fails on the
//! first look at them.

mod account;
mod leg;
mod lip_sync;
mod pair;
mod sent;

use std::collections::BTreeMap;

use dataplane_core::time::Timestamp;

pub use self::leg::{Completeness, LegSummary, check_leg};
pub use self::lip_sync::check_lip_sync;
pub use self::sent::{SentByServer, TagPlace};

/// What the network did with the datagrams that carried one packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fates {
    /// Times that it was sent.
    pub sent: u32,
    /// Times that it arrived, repetitions by the network left out.
    pub arrived: u32,
    /// When it arrives first.
    pub first_arrival: Option<Timestamp>,
}

impl Fates {
    /// One more datagram, with the time of its arrival if it arrives.
    pub fn add(&mut self, arrival: Option<Timestamp>) {
        self.sent += 1;
        if let Some(arrival) = arrival {
            self.arrived += 1;
            let first = self
                .first_arrival
                .map_or(arrival, |first| first.min(arrival));
            self.first_arrival = Some(first);
        }
    }
}

/// All that is known of a run.
#[derive(Debug, Default)]
pub struct Checker {
    /// What was found wrong.
    pub faults: Vec<String>,
    /// What the servers sent.
    pub sent: SentByServer,
    /// Packets of media on their way up, by SSRC and index.
    pub up: BTreeMap<(u32, u64), Fates>,
    /// Packets of media on their way down, by client, SSRC and index.
    pub down: BTreeMap<(usize, u32, u64), Fates>,
}

impl Checker {
    /// Something is wrong.
    pub fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// Fails if anything was found wrong.
    ///
    /// # Panics
    /// If anything was found wrong.
    pub fn assert_clean(&self) {
        let faults = &self.faults;
        let first = &faults[..faults.len().min(12)];
        assert!(
            faults.is_empty(),
            "{} faults, first of all: {first:#?}",
            faults.len()
        );
    }
}
