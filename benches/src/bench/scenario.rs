//! Who publishes what at which rate, and who pulls it.

use core::time::Duration;

use super::options::{Rate, ScenarioChoice};
use super::pacer::Pace;
use super::publisher::Demand;
use crate::media::{AUDIO_BYTES, Kind, VIDEO_BYTES};

/// A scenario with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Which.
    pub choice: ScenarioChoice,
    /// Sessions that publish.
    pub publishers: u8,
    /// What each of them publishes.
    pub kinds: &'static [Kind],
    /// Sessions that pull.
    pub subscribers: usize,
    /// How many of them pull one publisher's tracks.
    pub copies: usize,
}

impl Scenario {
    /// With so many subscribers, or as many as is usual.
    pub fn new(choice: ScenarioChoice, subscribers: Option<u32>) -> Self {
        let (kinds, usual): (&'static [Kind], u32) = match choice {
            ScenarioChoice::Video => (&[Kind::Video], 50),
            ScenarioChoice::Audio => (&[Kind::Audio], 200),
            ScenarioChoice::Meeting => {
                return Self {
                    choice,
                    publishers: MEMBERS,
                    kinds: &[Kind::Audio, Kind::Video],
                    subscribers: MEMBERS.into(),
                    copies: usize::from(MEMBERS) - 1,
                };
            }
        };
        let subscribers = subscribers.unwrap_or(usual) as usize;
        Self {
            choice,
            publishers: 1,
            kinds,
            subscribers,
            copies: subscribers,
        }
    }

    /// Whether subscriber number `subscriber` pulls from publisher number `publisher`: nobody
    /// pulls in a meeting what he sends.
    pub fn pulls(&self, subscriber: usize, publisher: u8) -> bool {
        self.choice != ScenarioChoice::Meeting || subscriber != usize::from(publisher)
    }

    /// Tracks at all subscribers together.
    pub fn tracks(&self) -> usize {
        usize::from(self.publishers) * self.kinds.len() * self.copies
    }

    /// What each publisher is to send.
    pub fn demand(&self, rate: Rate) -> Demand {
        let has = |kind| self.kinds.contains(&kind);
        let demand = |audio: Pace, video: Pace| Demand {
            audio: has(Kind::Audio).then_some(audio),
            video: has(Kind::Video).then_some(video),
        };
        match (rate, self.choice) {
            (Rate::Natural, _) => demand(AUDIO, VIDEO),
            (Rate::Packets(rate), ScenarioChoice::Meeting) => {
                let factor = rate / (AUDIO.rate + VIDEO.rate);
                demand(AUDIO.times(factor), VIDEO.times(factor))
            }
            (Rate::Packets(rate), ScenarioChoice::Video | ScenarioChoice::Audio) => {
                demand(Pace::smooth(rate), Pace::smooth(rate))
            }
        }
    }

    /// Packets a second of one publisher.
    pub fn packets_per_second(&self, rate: Rate) -> f64 {
        let demand = self.demand(rate);
        let paces = [demand.audio, demand.video].into_iter().flatten();
        paces.map(|pace| pace.rate).sum()
    }

    /// Bytes of the payload that most packets have.
    pub fn payload_bytes(&self) -> usize {
        if self.kinds.contains(&Kind::Video) {
            VIDEO_BYTES
        } else {
            AUDIO_BYTES
        }
    }
}

/// Opus.
const AUDIO: Pace = Pace {
    rate: 50.0,
    interval: Duration::from_millis(20),
};

/// 30 frames of 9 packets.
const VIDEO: Pace = Pace {
    rate: 270.0,
    interval: Duration::from_nanos(33_333_333),
};

/// Of a meeting.
const MEMBERS: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_in_a_meeting_pulls_the_other_nine() {
        let meeting = Scenario::new(ScenarioChoice::Meeting, Some(3));
        for subscriber in 0..meeting.subscribers {
            let pulled = (0..meeting.publishers).filter(|p| meeting.pulls(subscriber, *p));
            assert_eq!(pulled.count(), meeting.copies);
        }
        assert_eq!(meeting.tracks(), 10 * 2 * 9);
        assert_eq!(meeting.packets_per_second(Rate::Natural), 320.0);
    }

    #[test]
    fn a_rate_is_the_sum_of_what_a_publisher_sends() {
        for choice in [
            ScenarioChoice::Audio,
            ScenarioChoice::Video,
            ScenarioChoice::Meeting,
        ] {
            let scenario = Scenario::new(choice, None);
            let rate = scenario.packets_per_second(Rate::Packets(1_000.0));
            assert!((rate - 1_000.0).abs() < 1e-6, "{choice:?}: {rate}");
        }
    }

    #[test]
    fn one_publisher_is_pulled_by_all() {
        let video = Scenario::new(ScenarioChoice::Video, Some(7));
        assert_eq!(
            (video.copies, video.tracks(), video.pulls(0, 0)),
            (7, 7, true)
        );
        assert_eq!(video.demand(Rate::Natural).audio, None);
    }
}
