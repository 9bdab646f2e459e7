//! Whether a leg has what it wants soon after something has changed, in the middle of a call: where
//! its path has room and its publisher sends, nothing but a key frame is between the two.

use core::time::Duration;

use shared::protocol::{MediaKind, Ordering};

use super::{LegName, Scenario};
use crate::network::{LinkModel, LinkState};

impl Scenario {
    /// For a while nothing happens.
    pub(super) fn be_calm(&mut self) {
        self.world.run_for(CALM);
        self.listen();
        for leg in self.legs.clone() {
            if !self.has_room(leg) {
                continue;
            }
            self.calm_legs += 1;
            if let Some((_, what)) = self.misses(leg) {
                self.fault(&format!("after {CALM:?} of calm: {what}"));
            }
        }
    }

    /// Whether it is video whose layer is a matter of wishes alone.
    fn has_room(&self, leg: LegName) -> bool {
        let source = self.source_of(leg);
        let mut clients = self.world.clients.iter();
        let publisher = clients.position(|client| client.session == source.session);
        let Some(publisher) = publisher.filter(|_| self.tracks.contains(&source)) else {
            return false;
        };
        let track = self.world.leg(leg.0, leg.1);
        let rids = &self.world.track(source).spec.rids;
        let preferred = track.spec.preferred_rid;
        let preferred = rids.iter().position(|rid| Some(*rid) == preferred);
        let gets_it = preferred.is_some_and(|layer| self.wanted_layers(track) == [layer as u8]);
        let keeps_to_it = gets_it && track.spec.priority_ordering == Ordering::None;
        // What is asked of a publisher must come through, too.
        let links = [
            &self.world.up[publisher],
            &self.world.down[publisher],
            &self.world.down[leg.0],
        ];
        track.codec.kind() == MediaKind::Video
            && (keeps_to_it || !self.is_watched(leg.0))
            && links.iter().all(|link| is_wide(link.model()))
    }
}

fn is_wide(model: LinkModel) -> bool {
    model.bottleneck.is_none() && model.burst.is_none() && model.state == LinkState::Up
}

/// Long enough for a client to be found at another address, for the layer of the best rate to be
/// another one, and then for the key frame, where it is lost again and again.
const CALM: Duration = Duration::from_secs(5);
