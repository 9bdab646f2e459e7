//! A call over a link that is watched: someone who sends what a browser's camera and microphone do,
//! and someone who gets both, tells when packets come, and has not asked for a certain encoding.

use core::time::Duration;

use dataplane_core::time::Timestamp;
use shared::id::PublicationId;

use crate::network::{Bottleneck, Direction, LinkModel, QueueLimit};
use crate::peer::{ClientOptions, Feedback};
use crate::playback::Playback;
use crate::publisher::TrackSpec;
use crate::subscriber::{SubscribedTrack, SubscriptionSpec};
use crate::world::{World, WorldOptions};

/// One who sends, and one who watches.
#[derive(Debug)]
pub struct Call {
    /// Where it takes place.
    pub world: World,
    /// Who sends.
    pub publisher: usize,
    /// The picture.
    pub video: PublicationId,
    /// The sound.
    pub audio: PublicationId,
    /// Who watches.
    pub viewer: usize,
}

impl Call {
    /// A call that begins now, over this link to the viewer.
    pub fn new(seed: u64, camera: TrackSpec, down: LinkModel) -> Self {
        let mut world = World::new(WorldOptions::new(seed));
        let publisher = world.join(0, ClientOptions::default());
        let video = world.publish(publisher, camera);
        let audio = world.publish(publisher, TrackSpec::audio());
        world.run_for_ms(2_000);
        let viewer = world.join_over(0, watching(), down);
        // What goes back is little.
        let up = LinkModel {
            bottleneck: None,
            loss: 0.0,
            ..down
        };
        world.set_link(viewer, Direction::Up, up);
        world.run_for_ms(1_000);
        let mut call = Self {
            world,
            publisher,
            video,
            audio,
            viewer,
        };
        call.watch(viewer);
        call
    }

    /// Somebody gets picture and sound.
    pub fn watch(&mut self, viewer: usize) {
        for source in [self.video, self.audio] {
            let spec = SubscriptionSpec::default();
            self.world.subscribe(viewer, source, spec);
        }
    }

    /// The link to the viewer has this rate from now on.
    pub fn set_rate(&mut self, bits_per_second: u64) {
        let model = link(bits_per_second);
        self.world.set_link(self.viewer, Direction::Down, model);
    }

    /// What the viewer gets of the picture.
    pub fn picture(&self) -> &SubscribedTrack {
        self.world.leg(self.viewer, 0)
    }

    /// What the viewer could show of it.
    pub fn playback(&self) -> Playback {
        Playback::of(self.picture(), &self.world.ledger)
    }

    /// Packets of each encoding that the viewer got in this time.
    pub fn layers(&self, from: Timestamp, until: Timestamp) -> [usize; 3] {
        let mut layers = [0; 3];
        for packet in self.picture().received.values() {
            if (from..until).contains(&packet.at) {
                layers[usize::from(packet.content.layer)] += 1;
            }
        }
        layers
    }

    /// How long after `from` nothing comes but this encoding, for two seconds.
    pub fn settles(&self, from: Timestamp, layer: u8) -> Option<Duration> {
        let packets: Vec<_> = self.picture().received.values().collect();
        let times = (0..self.world.now.since(from).as_millis()).step_by(50);
        let mut times = times.map(|millis| Duration::from_millis(millis as u64));
        times.find(|after| {
            let begin = from + *after;
            let span = begin..begin + Duration::from_secs(2);
            let mut inside = packets.iter().filter(|packet| span.contains(&packet.at));
            let count = inside.clone().count();
            count > 0 && inside.all(|packet| packet.content.layer == layer)
        })
    }

    /// Of the sound that was sent in this time, the part that did not come.
    pub fn lost_sound(&self, from: Timestamp, until: Timestamp) -> f64 {
        let sound = self.world.leg(self.viewer, 1);
        let track = self.world.track(self.audio).track;
        let span = from..until;
        let came = sound.received.values().filter(|packet| {
            let published = self.world.ledger.get(packet.content);
            published.is_some_and(|published| span.contains(&published.captured_at))
        });
        let sent = self.world.ledger.iter().filter(|(content, published)| {
            content.track == track && span.contains(&published.captured_at)
        });
        1.0 - came.count() as f64 / sent.count().max(1) as f64
    }

    /// What the server thinks that the path to the viewer carries, bits a second.
    pub fn estimate(&mut self) -> u64 {
        estimate(&mut self.world, self.viewer)
    }

    /// Lets time pass. Calls `look` every 50 ms with the time that a packet to the viewer would
    /// have to wait before the narrow place.
    pub fn run_watching(&mut self, time: Duration, mut look: impl FnMut(&mut Self, Duration)) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.run_for_ms(50);
            let waits = self.world.down[self.viewer].queue_delay(self.world.now);
            look(self, waits);
        }
    }
}

/// What the server thinks that the path to a client carries, bits a second; 0 if it does not.
///
/// # Panics
/// If the client has no session.
pub fn estimate(world: &mut World, client: usize) -> u64 {
    let report = world.measure(client).unwrap();
    report.estimate.map_or(0, |estimate| estimate.bit_rate)
}

/// A client that tells when packets come, as browsers do.
pub fn watching() -> ClientOptions {
    ClientOptions {
        feedback: Feedback::TransportWide,
        ..ClientOptions::default()
    }
}

/// A half of 50 ms there and back, and a queue of 300 ms (RFC 8867 §4.2).
pub fn link(bits_per_second: u64) -> LinkModel {
    LinkModel {
        delay: Duration::from_millis(25),
        bottleneck: Some(Bottleneck {
            rate: bits_per_second,
            queue: QueueLimit::Time(Duration::from_millis(300)),
        }),
        ..LinkModel::default()
    }
}
