//! The level of a packet's audio.

/// In dB below the loudest that can be (-dBov): 0 is that, 127 is digital silence (RFC 6464 §3).
/// The greater one is the quieter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AudioLevel(u8);

impl AudioLevel {
    /// Digital silence.
    pub(crate) const SILENCE: Self = Self(SILENCE);

    /// So many dB below the loudest, 127 at the most.
    pub(crate) const fn of_decibels(decibels: u8) -> Self {
        Self(if decibels < SILENCE {
            decibels
        } else {
            SILENCE
        })
    }

    /// What a header extension says; none if it is empty. The V bit is left aside: senders set it
    /// always, never, or by detectors of their own, and the description seldom tells which.
    pub(crate) fn read(extension: &[u8]) -> Option<Self> {
        let byte = extension.first()?;
        Some(Self::of_decibels(byte & LEVEL_MASK))
    }

    /// The level of this power: 1 is that of the loudest, 0 of silence.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it has been brought into the range of a level"
    )]
    pub(crate) fn of_power(power: f32) -> Self {
        let below = -10.0 * power.log10();
        Self(below.round().clamp(0.0, f32::from(SILENCE)) as u8)
    }

    /// As a power: 1 for the loudest, 0 for silence.
    pub(crate) fn power(self) -> f32 {
        let power = POWERS.get(usize::from(self.0)).copied();
        power.unwrap_or_default()
    }

    /// In -dBov.
    pub(crate) fn decibels(self) -> u8 {
        self.0
    }
}

/// The powers of all levels.
const POWERS: [f32; SILENCE as usize] = {
    let mut powers = [1.0; SILENCE as usize];
    let (mut level, mut power) = (0, 1.0_f64);
    while level < powers.len() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::indexing_slicing,
            reason = "seven digits are plenty for whole dB; the index is below the length, and a \
                      constant that were not would not compile"
        )]
        {
            powers[level] = power as f32;
        }
        power *= DECIBEL;
        level += 1;
    }
    powers
};

/// 10^(-1/10).
const DECIBEL: f64 = 0.794_328_234_724_281_5;

const SILENCE: u8 = 127;

/// The upper bit is V: whether the sender takes it for voice.
const LEVEL_MASK: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_seven_bits_are_the_level() {
        // RFC 6464 §3.
        assert_eq!(AudioLevel::read(&[0x80 | 30]), Some(AudioLevel(30)));
        assert_eq!(AudioLevel::read(&[30]), Some(AudioLevel(30)));
        assert_eq!(AudioLevel::read(&[0xff]), Some(AudioLevel::SILENCE));
    }

    #[test]
    fn what_follows_the_level_means_nothing() {
        assert_eq!(AudioLevel::read(&[30, 1, 2]), Some(AudioLevel(30)));
        assert_eq!(AudioLevel::read(&[]), None);
    }

    #[test]
    fn each_level_is_that_of_its_power() {
        for decibels in 0..=127 {
            let level = AudioLevel(decibels);
            assert_eq!(AudioLevel::of_power(level.power()), level);
        }
        assert!((AudioLevel(20).power() - 0.01).abs() < 1e-8);
    }

    #[test]
    fn no_power_is_out_of_range() {
        assert_eq!(AudioLevel::of_power(0.0), AudioLevel::SILENCE);
        assert_eq!(AudioLevel::of_power(1e-30), AudioLevel::SILENCE);
        assert_eq!(AudioLevel::of_power(7.0), AudioLevel(0));
    }
}
