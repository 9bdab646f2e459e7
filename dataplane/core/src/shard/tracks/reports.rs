//! How tracks and legs look to the control plane.

use shared::protocol::{LayerReport, PublicationReport, SubscriptionReport};

use super::{LegKey, PublicationKey, Tracks};
use crate::ingress::layer::{Layer, RECEIVING_TIMEOUT};
use crate::time::Timestamp;

impl Tracks {
    /// One published track.
    pub(crate) fn publication_report(
        &self,
        now: Timestamp,
        number: u32,
        key: PublicationKey,
    ) -> Option<PublicationReport> {
        let publication = &self.get(key)?.publication;
        let layer = |layer: &Layer| LayerReport {
            rid: layer.rid(),
            receiving: layer.receiving(now),
            packets: layer.packets(),
            bytes: layer.bytes(),
            packets_lost: layer.packets_lost(),
        };
        Some(PublicationReport {
            number,
            receiving: publication.receiving(now),
            layers: publication.layers().iter().map(layer).collect(),
        })
    }

    /// One subscribed track.
    pub(crate) fn subscription_report(
        &self,
        now: Timestamp,
        number: u32,
        key: LegKey,
    ) -> Option<SubscriptionReport> {
        let entry = self.leg(key)?;
        let track = entry.track.and_then(|track| self.get(track));
        let layer = track.zip(entry.leg.layer());
        let reports = entry.leg.reports();
        let last = entry.leg.last_forwarded_at();
        Some(SubscriptionReport {
            number,
            sending: track.is_some() && last.is_some_and(|at| now.since(at) < RECEIVING_TIMEOUT),
            rid: layer.and_then(|(track, layer)| track.publication.layer(layer)?.rid()),
            packets: reports.packets(),
            bytes: reports.bytes(),
            fraction_lost: reports.fraction_lost(),
            round_trip_us: entry
                .leg
                .round_trip()
                .and_then(|round_trip| u32::try_from(round_trip.as_micros()).ok())
                .unwrap_or_default(),
        })
    }
}
