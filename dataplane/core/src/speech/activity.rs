//! How loud a publication is, and whether it speaks.

use core::time::Duration;

use super::level::AudioLevel;
use crate::time::Timestamp;

/// Follows the audio of one publication.
///
/// Two averages over the time of the media, whatever the length of its packets: of the power, by
/// which publications are compared, and of being loud, which tells who speaks. Powers, not decibels,
/// so that the pauses between syllables do not count against who has them. What no packet speaks for
/// (discontinuous transmission, a muted microphone) is silence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpeechActivity {
    /// None while the publisher does not tell levels.
    told: Option<Told>,
    /// Packets without a level have come since.
    untold_since: Option<Timestamp>,
}

/// What the levels so far say.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The average, 1 for the loudest that can be.
    power: f32,
    /// The part of the time lately in which it was loud.
    loud: f32,
    speaking: bool,
    /// Of the last packet with a level.
    at: Timestamp,
    /// Of that packet.
    rtp_timestamp: u32,
}

/// How a publication sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    /// Over the last half a second or so.
    pub(crate) level: AudioLevel,
    /// Whether it is loud often enough to be speech.
    pub(crate) speaking: bool,
}

/// What of a packet counts here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// When it came.
    pub(crate) at: Timestamp,
    /// As the publisher sent it.
    pub(crate) rtp_timestamp: u32,
    /// Ticks of that in a second.
    pub(crate) clock_rate: u32,
    /// What the packet says of itself.
    pub(crate) level: Option<AudioLevel>,
}

impl SpeechActivity {
    /// A packet came that is ahead of all before it. Late ones and repairs do not count.
    pub(crate) fn packet(&mut self, heard: Heard) {
        let Some(level) = heard.level else {
            let since = *self.untold_since.get_or_insert(heard.at);
            if heard.at.since(since) >= UNTOLD_MAX {
                self.told = None;
            }
            return;
        };
        self.untold_since = None;
        let (mut told, span) = match self.told {
            Some(told) => told.followed_by(&heard),
            None => (Told::new(&heard), SPAN_USUAL),
        };
        told.add(level, span);
        self.told = Some(Told {
            at: heard.at,
            rtp_timestamp: heard.rtp_timestamp,
            ..told
        });
    }

    /// How it sounds now; none if the publisher does not tell levels.
    pub(crate) fn voice(&self, now: Timestamp) -> Option<Voice> {
        let mut told = self.told?;
        told.fall_silent(now.since(told.at).saturating_sub(LATE_MAX));
        Some(Voice {
            level: AudioLevel::of_power(told.power),
            speaking: told.speaking,
        })
    }
}

impl Told {
    /// Silence before the first packet.
    fn new(heard: &Heard) -> Self {
        Self {
            power: 0.0,
            loud: 0.0,
            speaking: false,
            at: heard.at,
            rtp_timestamp: heard.rtp_timestamp,
        }
    }

    /// As it is when a packet begins, and how long that packet speaks for. A gap in its timestamps
    /// was silence, and so was a time in which nothing came though the timestamps stood still.
    fn followed_by(mut self, heard: &Heard) -> (Self, Duration) {
        let ticks = heard.rtp_timestamp.wrapping_sub(self.rtp_timestamp);
        let nanos = u64::from(ticks) * 1_000_000_000;
        let media = nanos.checked_div(u64::from(heard.clock_rate));
        let media = Duration::from_nanos(media.unwrap_or_default());
        let came = heard.at.since(self.at).saturating_sub(LATE_MAX);
        self.fall_silent(media.max(came).saturating_sub(SPAN_MAX));
        (self, media.min(SPAN_MAX))
    }

    /// So much sound of one level.
    fn add(&mut self, level: AudioLevel, span: Duration) {
        let loud = if level <= LOUD { 1.0 } else { 0.0 };
        self.power += (level.power() - self.power) * weight(span, POWER_TIME);
        self.loud += (loud - self.loud) * weight(span, LOUD_TIME);
        self.decide();
    }

    /// So much silence.
    fn fall_silent(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        self.power *= (-(time.as_secs_f32() / POWER_TIME)).exp();
        self.loud *= (-(time.as_secs_f32() / LOUD_TIME)).exp();
        self.decide();
    }

    fn decide(&mut self) {
        let enough = if self.speaking {
            LOUD_TO_GO_ON
        } else {
            LOUD_TO_START
        };
        self.speaking = self.loud >= enough;
    }
}

/// What a packet of this length counts in an average over so many seconds.
fn weight(span: Duration, seconds: f32) -> f32 {
    let span = span.as_secs_f32();
    span / (span + seconds)
}

/// As loud as speech into a near microphone is most of the time; `LiveKit` takes 35, which misses
/// laptops without gain control.
const LOUD: AudioLevel = AudioLevel::of_decibels(40);

/// Who is loud for this part of [`LOUD_TIME`] begins to speak: after 160 ms without a pause, so that
/// a cough or a door does not.
const LOUD_TO_START: f32 = 0.4;

/// Who was loud all the time ceases to speak after 0.7 s of silence: longer than the pauses between
/// words.
const LOUD_TO_GO_ON: f32 = 0.1;

/// What being loud is averaged over, in seconds.
const LOUD_TIME: f32 = 0.3;

/// What powers are averaged over, in seconds. Silence brings a level down by 9 dB a second.
const POWER_TIME: f32 = 0.5;

/// The usual length of a packet.
const SPAN_USUAL: Duration = Duration::from_millis(20);

/// The greatest length of a packet of Opus that browsers send. What a gap has beyond it is silence.
const SPAN_MAX: Duration = Duration::from_millis(60);

/// A packet may come so late without being missed.
const LATE_MAX: Duration = Duration::from_millis(200);

/// A publisher that has told levels, and sends packets without any for so long, does not tell them
/// any more.
const UNTOLD_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
