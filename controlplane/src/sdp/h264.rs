//! `profile-level-id` and `packetization-mode` of H264 (RFC 6184 §8.1).

use super::format::{Fit, Format};

/// What the first two bytes of `profile-level-id` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    PredictiveHigh444,
}

impl Profile {
    /// The profile of `format`; `None` if `profile-level-id` is not one that is known.
    pub(super) fn of(format: &Format) -> Option<Self> {
        // RFC 6184 says Baseline where nothing is said; every WebRTC stack means this one.
        let Some(text) = format.parameter("profile-level-id") else {
            return Some(Self::ConstrainedBaseline);
        };
        if text.len() != 6 {
            return None;
        }
        let [_, idc, iop, _] = u32::from_str_radix(text, 16).ok()?.to_be_bytes();
        // RFC 6184 §8.1, table 5: constraint_set0 to 3 flags from the top bit down.
        let set0 = iop & 0x80 != 0;
        let set1 = iop & 0x40 != 0;
        let set3 = iop & 0x10 != 0;
        match idc {
            0x42 if set1 => Some(Self::ConstrainedBaseline),
            0x4d if set0 => Some(Self::ConstrainedBaseline),
            0x58 if set0 && set1 => Some(Self::ConstrainedBaseline),
            0x42 => Some(Self::Baseline),
            0x58 if set0 => Some(Self::Baseline),
            0x4d => Some(Self::Main),
            0x64 if iop & 0x0c == 0x0c => Some(Self::ConstrainedHigh),
            0x64 => Some(Self::High),
            0xf4 if !set3 => Some(Self::PredictiveHigh444),
            _ => None,
        }
    }

    /// Whether a decoder of `self` plays what browsers encode as `stream`.
    fn decodes(self, stream: Self) -> bool {
        match stream {
            // No encoder of a browser uses what Baseline has beyond Constrained Baseline (flexible
            // macroblock order, arbitrary slice order, redundant slices).
            Self::ConstrainedBaseline | Self::Baseline => self != Self::PredictiveHigh444,
            Self::Main => matches!(self, Self::Main | Self::High),
            Self::ConstrainedHigh => matches!(self, Self::ConstrainedHigh | Self::High),
            Self::High | Self::PredictiveHigh444 => self == stream,
        }
    }
}

/// See [`Format::fit`]. Both are H264.
pub(super) fn fit(stream: &Format, receiver: &Format) -> Fit {
    let (Some(sent), Some(taken)) = (Profile::of(stream), Profile::of(receiver)) else {
        return Fit::None;
    };
    let mode = |format: &Format| format.number("packetization-mode", 0);
    if sent == taken && mode(stream) == mode(receiver) {
        return Fit::Same;
    }
    // RFC 6184 §6.3: who takes non-interleaved mode (1) takes single NAL unit packets (0) too.
    let mode_fits = mode(stream) == mode(receiver) || mode(stream) == Some(0);
    if taken.decodes(sent) && mode_fits {
        Fit::Compatible
    } else {
        Fit::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(profile_level_id: &str, mode: u8) -> Format {
        let parameters = format!(
            "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile_level_id}"
        );
        Format::recognise("H264", 90_000, 1, &parameters).unwrap()
    }

    #[test]
    fn profile_level_ids_name_their_profiles() {
        for (id, profile) in [
            ("42e01f", Profile::ConstrainedBaseline),
            ("42c02a", Profile::ConstrainedBaseline),
            ("4de01f", Profile::ConstrainedBaseline),
            ("42001f", Profile::Baseline),
            ("4d001f", Profile::Main),
            ("64001f", Profile::High),
            ("640c1f", Profile::ConstrainedHigh),
            ("f4001f", Profile::PredictiveHigh444),
        ] {
            assert_eq!(Profile::of(&format(id, 1)), Some(profile), "{id}");
        }
        for id in ["", "42e0", "zz001f", "+2e01f", "99001f"] {
            let parameters = format!("profile-level-id={id}");
            assert_eq!(
                Format::recognise("H264", 90_000, 1, &parameters),
                None,
                "{id}"
            );
        }
    }

    #[test]
    fn another_level_of_one_profile_is_the_same_format() {
        assert_eq!(fit(&format("42e01f", 1), &format("42c02a", 1)), Fit::Same);
    }

    #[test]
    fn packetization_mode_1_does_not_go_to_a_receiver_of_mode_0() {
        assert_eq!(fit(&format("42e01f", 1), &format("42e01f", 0)), Fit::None);
        assert_eq!(
            fit(&format("42e01f", 0), &format("42e01f", 1)),
            Fit::Compatible
        );
    }

    #[test]
    fn a_profile_goes_to_receivers_of_a_wider_one_only() {
        assert_eq!(
            fit(&format("42001f", 1), &format("42e01f", 1)),
            Fit::Compatible
        );
        assert_eq!(
            fit(&format("42e01f", 1), &format("64001f", 1)),
            Fit::Compatible
        );
        assert_eq!(fit(&format("64001f", 1), &format("42e01f", 1)), Fit::None);
        assert_eq!(fit(&format("4d001f", 1), &format("640c1f", 1)), Fit::None);
    }
}
