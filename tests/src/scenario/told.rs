//! What the server says of a call while it goes on.

use core::time::Duration;

use shared::protocol::{EstimateReport, LayerReason, MediaKind, SubscriptionReport};

use super::{LegName, Scenario};
use crate::peer::Feedback;

impl Scenario {
    /// Asks for the figures of everybody, and holds them against what is known.
    pub(super) fn listen(&mut self) {
        for client in self.present.clone() {
            let told = self.world.measure(client).unwrap();
            if let Some(estimate) = told.estimate {
                self.check_estimate(client, &estimate);
            }
            for report in &told.subscriptions {
                let leg = (client, report.number as usize - 1);
                self.reasons.insert(leg, report.reason);
                self.check_reason(leg, report);
                self.check_silence(leg, report);
            }
        }
    }

    fn check_estimate(&mut self, client: usize, told: &EstimateReport) {
        self.highest_estimate = self.highest_estimate.max(told.bit_rate);
        let is_sane = (ESTIMATE_MIN..=ESTIMATE_MAX).contains(&told.bit_rate);
        if !is_sane || !self.is_watched(client) {
            self.fault(&format!("client {client} is estimated at {told:?}"));
        }
    }

    /// Bandwidth is no reason where nobody tells how much there is, and none for sound.
    fn check_reason(&mut self, (client, position): LegName, told: &SubscriptionReport) {
        let kind = self.world.leg(client, position).codec.kind();
        let is_possible = match told.reason {
            LayerReason::Best | LayerReason::PublisherNotSending => true,
            LayerReason::Asked => kind == MediaKind::Video,
            LayerReason::Bandwidth | LayerReason::Paused => {
                self.held_back += 1;
                kind == MediaKind::Video
                    && self.world.clients[client].options.feedback != Feedback::None
            }
            LayerReason::NotLoudest => {
                kind == MediaKind::Audio && self.loudest.contains_key(&client)
            }
        };
        if !is_possible {
            self.fault(&format!("client {client}: {told:?}"));
        }
    }

    /// Where nothing comes, that must have a reason.
    fn check_silence(&mut self, leg: LegName, told: &SubscriptionReport) {
        let says_why =
            told.awaits_keyframe || !matches!(told.reason, LayerReason::Best | LayerReason::Asked);
        if told.sending || says_why {
            self.silent_since.remove(&leg);
            return;
        }
        let now = self.world.now;
        let since = *self.silent_since.entry(leg).or_insert(now);
        if now.since(since) >= SILENCE {
            self.fault(&format!(
                "client {}: silent without reason: {told:?}",
                leg.0
            ));
        }
    }

    pub(super) fn fault(&mut self, what: &str) {
        let now = self.world.now;
        self.world.checker.fault(format!("{now:?}: {what}"));
    }
}

/// A packet that has begun to wait for its turn, or the first of a source, may take so long.
const SILENCE: Duration = Duration::from_millis(1_500);

/// As the server promises: see `bwe` of the core.
const ESTIMATE_MIN: u64 = 5_000;

/// No scenario has a path on which more is sent, or looked for.
const ESTIMATE_MAX: u64 = 30_000_000;
