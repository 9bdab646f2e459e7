//! A random mix of everything, from a seed.
//!
//! * `draws`: what networks, tracks and subscriptions are like;
//! * `acts`: what happens in a call;
//! * `told`: what the server says of it;
//! * `calm`: whether who has room gets what he wants within seconds;
//! * `recovery`: whether all is well again once nothing stands in the way.

mod acts;
mod calm;
mod draws;
mod recovery;
mod told;

use core::time::Duration;
use std::collections::BTreeMap;

use dataplane_core::time::Timestamp;
use shared::id::PublicationId;
use shared::protocol::LayerReason;

use crate::checker::Completeness;
use crate::network::{Direction, LinkModel};
use crate::peer::Feedback;
use crate::rng::Rng;
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
    /// Times that something was left out of a leg, which went on with a key frame of the same layer,
    /// or with the sound of a later time.
    pub restarts: usize,
    /// Looks at a leg whose layer was lower than it wanted, since the path carried no more.
    pub held_back: usize,
    /// Looks at a leg that had to have what it wants, since nothing had happened for a while.
    pub calm_legs: usize,
    /// Until every leg had what it wanted, after every link was given ample room.
    pub recovery: Duration,
    /// The highest estimate of any path, bits a second.
    pub highest_estimate: u64,
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
        scenario.listen();
    }
    scenario.finish()
}

/// A subscription: whose, and which of those.
type LegName = (usize, usize);

struct Scenario {
    world: World,
    rng: Rng,
    /// Which part of the clients tells when packets come, so that their paths are estimated.
    watched: f64,
    /// What can be subscribed to.
    tracks: Vec<PublicationId>,
    /// Those who have not left.
    present: Vec<usize>,
    /// The subscriptions that have not ended.
    legs: Vec<LegName>,
    /// Of each client: whether so much is lost that not all can be repaired.
    completeness: Vec<Completeness>,
    /// How many of its audio tracks each client hears at a time.
    loudest: BTreeMap<usize, u8>,
    moves: u8,
    /// Since when nothing comes of a leg, though nothing is said to stand in the way.
    silent_since: BTreeMap<LegName, Timestamp>,
    /// Why each leg gets no more, as it was told last.
    reasons: BTreeMap<LegName, LayerReason>,
    held_back: usize,
    calm_legs: usize,
    highest_estimate: u64,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut options = WorldOptions {
            seed: rng.bits(),
            shards: rng.between(1, 4) as u16,
            shard_seed: None,
            batch_max: rng.pick(&[1, 8, 64]),
            turn_delay_max: rng.pick(&[SHORT_TURN, Duration::from_millis(3)]),
            relay_max: 4096,
        };
        if options.batch_max == 1 {
            // Else more comes than is taken, and waits for seconds.
            options.turn_delay_max = SHORT_TURN;
        }
        let world = World::new(options);
        Self {
            world,
            watched: rng.pick(&[0.0, 0.5, 0.5, 1.0]),
            rng,
            tracks: Vec::new(),
            present: Vec::new(),
            legs: Vec::new(),
            completeness: Vec::new(),
            loudest: BTreeMap::new(),
            moves: 0,
            silent_since: BTreeMap::new(),
            reasons: BTreeMap::new(),
            held_back: 0,
            calm_legs: 0,
            highest_estimate: 0,
        }
    }

    fn populate(&mut self) {
        for _ in 0..self.rng.between(2, 6) {
            self.join();
        }
        for _ in 0..self.rng.between(1, 5) {
            self.publish();
        }
        for _ in 0..self.rng.between(3, 10) {
            self.subscribe();
        }
    }

    /// Whether a client tells when packets come, so that its path is estimated.
    fn is_watched(&self, client: usize) -> bool {
        self.world.clients[client].options.feedback == Feedback::TransportWide
    }

    /// One of those who are there.
    fn client(&mut self) -> usize {
        self.rng.pick(&self.present)
    }

    /// Lets a client's network be another one: narrow on its way down, if its path is estimated.
    fn connect(&mut self, client: usize) {
        let (up, mut down) = (draws::link(&mut self.rng), draws::link(&mut self.rng));
        if self.is_watched(client) {
            down = draws::narrow(&mut self.rng);
        }
        self.world.set_link(client, Direction::Up, up);
        self.world.set_link(client, Direction::Down, down);
    }

    fn finish(mut self) -> Outcome {
        for client in 0..self.world.clients.len() {
            self.world.set_links(client, LinkModel::default());
        }
        let recovery = self.recover();
        let completeness = self.completeness.clone();
        let summaries = self.world.settle_each(|client| completeness[client]);
        for client in &self.present {
            self.world.assert_connected(*client);
        }
        let trace = self.world.trace();
        self.world.close_all();
        let legs = || summaries.iter().flatten();
        Outcome {
            trace,
            packets: legs().map(|leg| leg.packets).sum(),
            switches: legs().map(|leg| leg.switches).sum(),
            holes: legs().map(|leg| leg.holes).sum(),
            restarts: legs().map(|leg| leg.restarts).sum(),
            held_back: self.held_back,
            calm_legs: self.calm_legs,
            recovery,
            highest_estimate: self.highest_estimate,
        }
    }
}

/// Turns of one datagram follow each other fast enough for everything that anybody sends.
const SHORT_TURN: Duration = Duration::from_micros(50);
