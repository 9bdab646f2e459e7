//! Payload formats: what a payload type means, and when two mean the same.

use serde::{Deserialize, Serialize};
use shared::protocol::Codec;

use super::h264;

/// A codec with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Format {
    /// Which.
    pub codec: Codec,
    /// `a=fmtp`, without the payload type; empty if there is none.
    pub parameters: String,
}

/// How well a stream in one format suits a receiver of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Not at all.
    None,
    /// Another profile, but every stream that browsers make in the one decodes in the other; or Opus
    /// for a publisher of RED, which can be unwrapped.
    Compatible,
    /// The same configuration.
    Same,
}

impl Format {
    /// What `a=rtpmap` and `a=fmtp` say, if it is something that we forward.
    ///
    /// `channels` is 1 where the rtpmap has none (RFC 8866 §6.6).
    pub fn recognise(name: &str, clock_rate: u32, channels: u8, parameters: &str) -> Option<Self> {
        let codec = codec_of(name)?;
        let is_stereo = matches!(codec, Codec::Opus | Codec::Red);
        let channels_expected = if is_stereo { 2 } else { 1 };
        if clock_rate != codec.clock_rate()
            || channels != channels_expected
            || parameters.len() > PARAMETERS_BYTES_MAX
        {
            return None;
        }
        let format = Self {
            codec,
            parameters: parameters.trim().to_owned(),
        };
        format.is_forwarded().then_some(format)
    }

    /// What a static payload type means without a rtpmap (RFC 3551 §6).
    pub fn of_static_payload_type(payload_type: u8) -> Option<Self> {
        let codec = match payload_type {
            0 => Codec::Pcmu,
            8 => Codec::Pcma,
            9 => Codec::G722,
            _ => return None,
        };
        Some(Self {
            codec,
            parameters: String::new(),
        })
    }

    /// `NAME/CLOCK[/CHANNELS]`, as `a=rtpmap` has it.
    pub fn encoding(&self) -> &'static str {
        match self.codec {
            Codec::Opus => "opus/48000/2",
            Codec::Red => "red/48000/2",
            Codec::Pcmu => "PCMU/8000",
            Codec::Pcma => "PCMA/8000",
            Codec::G722 => "G722/8000",
            Codec::Vp8 => "VP8/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::H264 => "H264/90000",
            Codec::H265 => "H265/90000",
            Codec::Av1 => "AV1/90000",
        }
    }

    /// One parameter, by its name in any case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Of RED, the payload type of all its blocks (RFC 2198 §5); none if they differ.
    pub fn block_payload_type(&self) -> Option<u8> {
        if self.codec != Codec::Red {
            return None;
        }
        let mut blocks = self.parameters.split('/').map(|text| text.trim().parse());
        let first = blocks.next()?.ok().filter(|number| *number < 128)?;
        blocks.all(|other| other == Ok(first)).then_some(first)
    }

    /// How well a stream of this format suits a receiver that asked for `receiver`.
    ///
    /// Levels are left aside: senders ask for less by themselves (`level-asymmetry-allowed`).
    pub fn fit(&self, receiver: &Self) -> Fit {
        if self.codec == Codec::Red && receiver.codec == Codec::Opus {
            // It can be unwrapped on the way.
            return Fit::Compatible;
        }
        if self.codec != receiver.codec {
            return Fit::None;
        }
        let same = match self.codec {
            Codec::H264 => return h264::fit(self, receiver),
            Codec::Vp9 => self.number("profile-id", 0) == receiver.number("profile-id", 0),
            Codec::Av1 => self.number("profile", 0) == receiver.number("profile", 0),
            // RFC 7798 §7.1: the main profile and tier where nothing is said.
            Codec::H265 => {
                self.number("profile-id", 1) == receiver.number("profile-id", 1)
                    && self.number("tier-flag", 0) == receiver.number("tier-flag", 0)
            }
            // The blocks keep their numbers on the way, so these must mean the same to both.
            Codec::Red => self.block_payload_type() == receiver.block_payload_type(),
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Vp8 => true,
        };
        if same { Fit::Same } else { Fit::None }
    }

    /// A decimal parameter, or its default where it is absent. `None`: not a number.
    pub(super) fn number(&self, name: &str, default: u32) -> Option<u32> {
        self.parameter(name)
            .map_or(Some(default), |text| text.parse().ok())
    }

    fn is_forwarded(&self) -> bool {
        match self.codec {
            Codec::Vp9 => matches!(self.number("profile-id", 0), Some(0 | 2)),
            Codec::H264 => {
                h264::Profile::of(self).is_some()
                    && matches!(self.number("packetization-mode", 0), Some(0 | 1))
            }
            Codec::Red => self.block_payload_type().is_some(),
            Codec::Opus
            | Codec::Pcmu
            | Codec::Pcma
            | Codec::G722
            | Codec::Vp8
            | Codec::H265
            | Codec::Av1 => true,
        }
    }
}

fn codec_of(name: &str) -> Option<Codec> {
    let (_, codec) = CODECS
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some(*codec)
}

const CODECS: [(&str, Codec); 10] = [
    ("opus", Codec::Opus),
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("G722", Codec::G722),
    ("VP8", Codec::Vp8),
    ("VP9", Codec::Vp9),
    ("H264", Codec::H264),
    ("H265", Codec::H265),
    ("AV1", Codec::Av1),
    ("red", Codec::Red),
];

/// Bytes of one `a=fmtp` value that are kept; a codec with a longer one is not negotiated.
const PARAMETERS_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, parameters: &str) -> Format {
        Format::recognise(name, 90_000, 1, parameters).unwrap()
    }

    #[test]
    fn names_are_read_in_any_case_with_their_clock_and_channels() {
        assert_eq!(
            Format::recognise("OPUS", 48_000, 2, "").map(|f| f.codec),
            Some(Codec::Opus)
        );
        assert_eq!(Format::recognise("opus", 48_000, 1, ""), None);
        assert_eq!(Format::recognise("opus", 8_000, 2, ""), None);
        assert_eq!(
            Format::recognise("vp8", 90_000, 1, "").map(|f| f.codec),
            Some(Codec::Vp8)
        );
        for name in ["ulpfec", "CN", "telephone-event", "rtx", "flexfec-03"] {
            assert_eq!(Format::recognise(name, 90_000, 1, ""), None, "{name}");
        }
    }

    #[test]
    fn red_must_name_one_payload_type() {
        let red = |parameters| Format::recognise("red", 48_000, 2, parameters);
        let block = |parameters| red(parameters).and_then(|red| red.block_payload_type());
        assert_eq!(block("111/111"), Some(111));
        assert_eq!(block("109/109/109"), Some(109));
        for parameters in ["", "111/0", "128/128", "opus/opus", "111/"] {
            assert_eq!(red(parameters), None, "{parameters:?}");
        }
        // Of video.
        assert_eq!(Format::recognise("red", 90_000, 1, "96/96"), None);
    }

    #[test]
    fn red_suits_who_gives_its_blocks_the_same_number_and_whoever_takes_opus() {
        let red = |parameters| Format::recognise("red", 48_000, 2, parameters).unwrap();
        let opus = Format::recognise("opus", 48_000, 2, "useinbandfec=1").unwrap();
        assert_eq!(red("111/111").fit(&red("111/111/111")), Fit::Same);
        assert_eq!(red("111/111").fit(&red("109/109")), Fit::None);
        assert_eq!(red("111/111").fit(&opus), Fit::Compatible);
        assert_eq!(opus.fit(&red("111/111")), Fit::None);
    }

    #[test]
    fn only_profiles_0_and_2_of_vp9_are_forwarded() {
        let forwarded = |parameters| Format::recognise("VP9", 90_000, 1, parameters).is_some();
        assert!(forwarded("") && forwarded("profile-id=0") && forwarded("profile-id=2"));
        assert!(!forwarded("profile-id=1") && !forwarded("profile-id=3"));
    }

    #[test]
    fn profiles_tell_formats_of_one_codec_apart() {
        assert_eq!(
            video("VP9", "").fit(&video("VP9", "profile-id=0")),
            Fit::Same
        );
        assert_eq!(
            video("VP9", "profile-id=2").fit(&video("VP9", "profile-id=0")),
            Fit::None
        );
        let av1 = video("AV1", "level-idx=5;profile=0;tier=0");
        assert_eq!(av1.fit(&video("AV1", "")), Fit::Same);
        assert_eq!(av1.fit(&video("AV1", "profile=1")), Fit::None);
        let h265 = video("H265", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST");
        assert_eq!(h265.fit(&video("H265", "level-id=180")), Fit::Same);
        assert_eq!(h265.fit(&video("H265", "profile-id=2")), Fit::None);
        assert_eq!(h265.fit(&av1), Fit::None);
    }
}
