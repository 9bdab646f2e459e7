//! A random mix of everything, from a seed.

use core::time::Duration;

use shared::id::PublicationId;
use shared::protocol::{DtlsRole, Hints, MediaKind, Ordering};

use crate::checker::Completeness;
use crate::content::PictureIdWidth;
use crate::network::{Burst, Direction, LinkModel, LinkState};
use crate::peer::{ClientOptions, Feedback};
use crate::pool::PROFILES;
use crate::publisher::{Announcement, Flow, KeyframeRequests, Repair, Scene, TrackSpec};
use crate::rng::Rng;
use crate::subscriber::SubscriptionSpec;
use crate::world::{World, WorldOptions};

/// What a scenario came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Stands for every datagram that the servers sent, and when.
    pub trace: u64,
    /// Packets that subscribers got.
    pub packets: usize,
    /// Changes of layer or source.
    pub switches: usize,
    /// Numbers that never came.
    pub holes: usize,
}

/// Runs one scenario to its end.
///
/// # Panics
/// If a checker finds a fault.
pub fn run(seed: u64) -> Outcome {
    let mut scenario = Scenario::new(seed);
    scenario.populate();
    scenario.world.run_for_ms(2_500);
    for _ in 0..scenario.rng.between(6, 14) {
        scenario.act();
        let time = scenario.rng.between(200, 1_500);
        scenario.world.run_for_ms(time);
    }
    scenario.finish()
}

struct Scenario {
    world: World,
    rng: Rng,
    tracks: Vec<PublicationId>,
    /// Whether so much is lost that not all can be repaired.
    completeness: Completeness,
    moves: u8,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let world = World::new(WorldOptions {
            seed: rng.bits(),
            shards: rng.between(1, 4) as u16,
            shard_seed: None,
            batch_max: rng.pick(&[1, 8, 64]),
            turn_delay_max: rng.pick(&[Duration::from_micros(50), Duration::from_millis(3)]),
            relay_max: 4096,
        });
        Self {
            world,
            rng,
            tracks: Vec::new(),
            completeness: Completeness::Complete,
            moves: 0,
        }
    }

    fn populate(&mut self) {
        for _ in 0..self.rng.between(2, 6) {
            let options = ClientOptions {
                feedback: Feedback::None,
                profile: self.rng.pick(&PROFILES),
                server_role: self.rng.pick(&[DtlsRole::Server, DtlsRole::Client]),
            };
            let shard = self.rng.below(self.world.shards() as u64) as u16;
            let model = self.link();
            self.world.join_over(shard, options, model);
        }
        for _ in 0..self.rng.between(1, 5) {
            let publisher = self.client();
            let spec = self.track_spec();
            self.tracks.push(self.world.publish(publisher, spec));
        }
        for _ in 0..self.rng.between(3, 10) {
            self.subscribe();
        }
    }

    /// A network that repairs can keep up with.
    fn link(&mut self) -> LinkModel {
        let rng = &mut self.rng;
        LinkModel {
            delay: Duration::from_millis(rng.between(1, 80)),
            jitter: Duration::from_millis(rng.below(15)),
            loss: rng.pick(&[0.0, 0.0, 0.01, 0.03, 0.08]),
            burst: None,
            duplication: rng.pick(&[0.0, 0.0, 0.02]),
            reordering: rng.pick(&[0.0, 0.0, 0.03, 0.1]),
            reordering_delay: Duration::from_millis(rng.between(1, 30)),
            bottleneck: None,
            state: LinkState::Up,
        }
    }

    fn track_spec(&mut self) -> TrackSpec {
        let rng = &mut self.rng;
        let spec = rng.pick(&[0, 1, 2, 2]);
        let spec = match spec {
            0 => TrackSpec::audio(),
            1 => TrackSpec::video(),
            _ => TrackSpec::simulcast(),
        };
        // Near the wrap, yet so far that the first packets that come are before it.
        let near_the_wrap = Some(65_536 - rng.between(150, 500)).map(|number| number as u16);
        TrackSpec {
            repair: rng.pick(&[Repair::Plain, Repair::Rtx]),
            announcement: rng.pick(&[Announcement::Ssrc, Announcement::Extensions]),
            picture_ids: rng.pick(&[PictureIdWidth::Seven, PictureIdWidth::Fifteen]),
            keyframe_requests: rng.pick(&[KeyframeRequests::Pli, KeyframeRequests::Fir]),
            first_sequence_number: rng.pick(&[None, near_the_wrap]),
            probes: rng.pick(&[0.0, 0.0, 0.05]),
            heights: rng.pick(&[&[][..], &[720, 360, 180]]).to_vec(),
            scene: rng.pick(&[Scene::Camera, Scene::Camera, Scene::Screen]),
            ..spec
        }
    }

    fn subscribe(&mut self) {
        let source = self.rng.pick(&self.tracks);
        let subscriber = self.client();
        let spec = SubscriptionSpec {
            preferred_rid: self.rng.pick(&[None, Some("a"), Some("b"), Some("c")]),
            fallback: self.rng.pick(&[Ordering::None, Ordering::Asciibetical]),
            repair: self.rng.pick(&[Repair::Plain, Repair::Rtx]),
            hints: Hints {
                priority: self.rng.pick(&[0, 0, 9]),
                max_height: self.rng.pick(&[None, None, Some(360)]),
            },
            ssrc: None,
        };
        self.world.subscribe(subscriber, source, spec);
    }

    fn client(&mut self) -> usize {
        self.rng.below(self.world.clients.len() as u64) as usize
    }

    /// One thing that happens in a call.
    fn act(&mut self) {
        match self.rng.below(10) {
            0 => self.subscribe(),
            1..=3 => self.switch(),
            4 => {
                let client = self.client();
                let model = self.link();
                self.world.set_links(client, model);
            }
            5 => self.outage(),
            6 => {
                let client = self.client();
                self.moves += 1;
                let address = ([10, 1, client as u8, self.moves], 5_000).into();
                self.world.move_client(client, address);
            }
            7 => {
                let client = self.client();
                self.world.restart_ice(client);
            }
            8 => self.pause_a_layer(),
            _ => {
                let client = self.client();
                for track in &mut self.world.clients[client].subscriptions {
                    track.ask_for_keyframe();
                }
            }
        }
    }

    /// Another layer, or another source of the same kind.
    fn switch(&mut self) {
        let client = self.client();
        let count = self.world.clients[client].subscriptions.len() as u64;
        if count == 0 {
            return;
        }
        let subscription = self.rng.below(count) as usize;
        let kind = self.world.leg(client, subscription).codec.kind();
        let same_kind = |id: &&PublicationId| self.world.track(**id).spec.kind() == kind;
        let sources: Vec<_> = self.tracks.iter().filter(same_kind).copied().collect();
        let source = self.rng.pick(&sources);
        let rid = match kind {
            MediaKind::Audio => None,
            MediaKind::Video => self.rng.pick(&[Some("a"), Some("b"), Some("c")]),
        };
        self.world.resubscribe(client, subscription, source, rid);
    }

    fn outage(&mut self) {
        self.completeness = Completeness::Accounted;
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

    fn finish(mut self) -> Outcome {
        for client in 0..self.world.clients.len() {
            self.world.set_links(client, LinkModel::default());
        }
        self.world.run_for_ms(1_500);
        let summaries = self.world.settle(self.completeness);
        for client in 0..self.world.clients.len() {
            self.world.assert_connected(client);
        }
        let trace = self.world.trace();
        self.world.close_all();
        let legs = || summaries.iter().flatten();
        Outcome {
            trace,
            packets: legs().map(|leg| leg.packets).sum(),
            switches: legs().map(|leg| leg.switches).sum(),
            holes: legs().map(|leg| leg.holes).sum(),
        }
    }
}
