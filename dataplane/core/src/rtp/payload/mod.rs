//! What forwarding needs to know of payloads: where key frames start, how high their pictures are,
//! and, for VP8, the numbers that must stay continuous when the source changes.

use shared::protocol::Codec;

pub mod av1;
pub mod h264;
pub mod h265;
pub mod red;
pub mod vp8;
pub mod vp9;

/// Whether an RTP payload is the first packet of a key frame, from which a decoder can start.
///
/// Audio can start anywhere, so it is always true there. An empty payload starts nothing. For
/// H.264 and H.265 see [`h264::starts_keyframe`] and [`h265::starts_keyframe`]: there more than one
/// packet of a key frame may say yes.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    if payload.is_empty() {
        return false;
    }
    match codec {
        Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Red => true,
        Codec::Vp8 => vp8::starts_keyframe(payload),
        Codec::Vp9 => vp9::starts_keyframe(payload),
        Codec::H264 => h264::starts_keyframe(payload),
        Codec::H265 => h265::starts_keyframe(payload),
        Codec::Av1 => av1::starts_keyframe(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_starts_anywhere() {
        for codec in [
            Codec::Opus,
            Codec::Pcmu,
            Codec::Pcma,
            Codec::G722,
            Codec::Red,
        ] {
            assert!(starts_keyframe(codec, &[0]));
        }
    }

    #[test]
    fn an_empty_payload_starts_nothing() {
        for codec in [
            Codec::Opus,
            Codec::Vp8,
            Codec::Vp9,
            Codec::H264,
            Codec::H265,
            Codec::Av1,
        ] {
            assert!(!starts_keyframe(codec, &[]));
        }
    }
}
