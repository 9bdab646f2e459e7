//! What happens in a call.

use shared::id::PublicationId;
use shared::protocol::MediaKind;

use super::{LegName, Scenario, draws};
use crate::checker::Completeness;
use crate::network::{Burst, Direction, LinkState};
use crate::peer::Activity;
use crate::publisher::Flow;

impl Scenario {
    /// One thing that happens in a call.
    pub(super) fn act(&mut self) {
        match self.rng.below(20) {
            0 => self.subscribe(),
            1..=3 => self.switch(),
            4..=7 => {
                let client = self.client();
                self.connect(client);
            }
            8 => self.outage(),
            9 => {
                let client = self.client();
                self.moves += 1;
                let address = ([10, 1, client as u8, self.moves], 5_000).into();
                self.world.move_client(client, address);
            }
            10 => {
                let client = self.client();
                self.world.restart_ice(client);
            }
            11 => self.pause_a_layer(),
            12 => {
                let client = self.client();
                for track in &mut self.world.clients[client].subscriptions {
                    track.ask_for_keyframe();
                }
            }
            13..=14 => self.change_hints(),
            15 => self.limit_audio(),
            16 => {
                self.join();
                self.subscribe();
            }
            17..=18 => self.be_calm(),
            _ => self.depart(),
        }
    }

    /// Somebody comes.
    pub(super) fn join(&mut self) {
        let options = draws::client(&mut self.rng, self.watched);
        let shard = self.rng.below(self.world.shards() as u64) as u16;
        let client = self.world.join(shard, options);
        // Over narrow paths, not all repairs come through, nor what is asked of publishers.
        self.completeness.push(if self.watched > 0.0 {
            Completeness::Accounted
        } else {
            Completeness::Complete
        });
        self.present.push(client);
        self.connect(client);
    }

    pub(super) fn publish(&mut self) {
        let publisher = self.client();
        let spec = draws::track(&mut self.rng);
        self.tracks.push(self.world.publish(publisher, spec));
    }

    pub(super) fn subscribe(&mut self) {
        let source = self.rng.pick(&self.tracks);
        let subscriber = self.client();
        let spec = draws::subscription(&mut self.rng);
        let position = self.world.subscribe(subscriber, source, spec);
        self.legs.push((subscriber, position));
    }

    /// A subscription ends, or somebody leaves, with all that he publishes.
    fn depart(&mut self) {
        let client = self.client();
        if self.rng.chance(0.5) {
            if let Some((client, position)) = self.leg_of(client) {
                self.world.unsubscribe(client, position);
                self.settle_leg((client, position));
                self.legs.retain(|leg| *leg != (client, position));
            }
            return;
        }
        let session = self.world.clients[client].session;
        let has_others = self.tracks.iter().any(|id| id.session != session);
        if self.present.len() < 3 || !has_others {
            return;
        }
        for leg in self.legs.clone() {
            if leg.0 == client || self.source_of(leg).session == session {
                self.settle_leg(leg);
            }
        }
        self.world.close(client).unwrap();
        self.world.clients[client].activity = Activity::Asleep;
        self.tracks.retain(|id| id.session != session);
        self.present.retain(|other| *other != client);
        self.legs.retain(|(owner, _)| *owner != client);
        self.completeness[client] = Completeness::Accounted;
    }

    /// What a leg is fed from ends here: what was lost lately is not repaired.
    fn settle_leg(&mut self, (client, position): LegName) {
        let now = self.world.now;
        let track = &mut self.world.clients[client].subscriptions[position];
        track.changes.push(now);
    }

    /// Another layer, or another source of the same kind.
    fn switch(&mut self) {
        let client = self.client();
        let Some(leg) = self.leg_of(client) else {
            return;
        };
        let codec = self.world.leg(leg.0, leg.1).codec;
        let is_alike = |id: &&PublicationId| self.world.track(**id).spec.codec == codec;
        let sources: Vec<_> = self.tracks.iter().filter(is_alike).copied().collect();
        if sources.is_empty() {
            return;
        }
        let source = self.rng.pick(&sources);
        let rid = match codec.kind() {
            MediaKind::Audio => None,
            MediaKind::Video => self.rng.pick(&draws::RIDS),
        };
        self.world.resubscribe(leg.0, leg.1, source, rid);
    }

    fn change_hints(&mut self) {
        let client = self.client();
        let Some(leg) = self.leg_of(client) else {
            return;
        };
        if self.tracks.contains(&self.source_of(leg)) {
            let hints = draws::hints(&mut self.rng);
            self.world.set_hints(leg.0, leg.1, hints);
        }
    }

    fn limit_audio(&mut self) {
        let client = self.client();
        let loudest = self.rng.pick(&[None, Some(1), Some(2)]);
        self.world.limit_audio(client, loudest);
        match loudest {
            Some(count) => self.loudest.insert(client, count),
            None => self.loudest.remove(&client),
        };
    }

    fn outage(&mut self) {
        let client = self.client();
        let before = (
            self.world.up[client].model(),
            self.world.down[client].model(),
        );
        let mut model = before.0;
        if self.rng.chance(0.5) {
            model.state = LinkState::Down;
        } else {
            model.burst = Some(Burst {
                begin: 0.02,
                end: 0.1,
                loss: 0.9,
            });
        }
        self.completeness.fill(Completeness::Accounted);
        self.world.set_links(client, model);
        let time = self.rng.between(100, 4_000);
        self.world.run_for_ms(time);
        self.world.set_link(client, Direction::Up, before.0);
        self.world.set_link(client, Direction::Down, before.1);
    }

    fn pause_a_layer(&mut self) {
        let id = self.rng.pick(&self.tracks);
        let layers = self.world.track(id).layers.len() as u64;
        let layer = self.rng.below(layers) as usize;
        self.world.track_mut(id).layers[layer].flow = Flow::Paused;
        let time = self.rng.between(500, 3_500);
        self.world.run_for_ms(time);
        self.world.track_mut(id).layers[layer].flow = Flow::Running;
    }

    /// One of a client's subscriptions that have not ended.
    fn leg_of(&mut self, client: usize) -> Option<LegName> {
        let own = self.legs.iter().filter(|(owner, _)| *owner == client);
        let own: Vec<_> = own.copied().collect();
        (!own.is_empty()).then(|| self.rng.pick(&own))
    }

    pub(super) fn source_of(&self, (client, position): LegName) -> PublicationId {
        self.world.leg(client, position).source
    }
}
