//! Whether a stream shows a screen or what a camera sees, as its publisher says
//! (`http://www.webrtc.org/experiments/rtp-hdrext/video-content-type`).

use shared::protocol::Extension;

use super::packet_info::PacketInfo;

/// What the pictures of a stream show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ContentType {
    #[default]
    Camera,
    Screen,
}

/// Follows what the packets of a stream say. Browsers say it in one packet of each key frame, and of a
/// camera they say nothing: so a key frame that ends without a word shows one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ContentTracker {
    content_type: ContentType,
    /// Where the last key frame begins.
    keyframe: Option<Beginning>,
    /// That key frame has said what it shows.
    is_said: bool,
}

#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// Extended.
    sequence_number: u64,
    /// RTP timestamp.
    timestamp: u32,
}

impl ContentTracker {
    /// What the pictures show now.
    pub(crate) fn content_type(self) -> ContentType {
        self.content_type
    }

    /// Takes note of what `packet` says, which `info` was read from.
    pub(crate) fn follow(&mut self, sequence_number: u64, info: &PacketInfo, packet: &[u8]) {
        let newest = self.keyframe.map(|keyframe| keyframe.sequence_number);
        // What comes late says what was, not what is.
        if Some(sequence_number) < newest {
            return;
        }
        // More than one packet of a key frame may be one to start with.
        if info.keyframe && self.timestamp() != Some(info.timestamp) {
            self.keyframe = Some(Beginning {
                sequence_number,
                timestamp: info.timestamp,
            });
            self.is_said = false;
        }
        let said = info.extension(Extension::VideoContentType, packet);
        let is_of_keyframe = self.timestamp() == Some(info.timestamp);
        if let Some([value, ..]) = said {
            self.is_said |= is_of_keyframe;
            self.content_type = if value & SCREEN_BIT != 0 {
                ContentType::Screen
            } else {
                ContentType::Camera
            };
        } else if info.marker && is_of_keyframe && !self.is_said {
            self.content_type = ContentType::Camera;
        }
    }

    fn timestamp(&self) -> Option<u32> {
        self.keyframe.map(|keyframe| keyframe.timestamp)
    }
}

/// Of the value; the others once told experiments apart.
const SCREEN_BIT: u8 = 1;

#[cfg(test)]
mod tests {
    use shared::protocol::{Codec, ExtensionMapping};

    use super::*;
    use crate::ingress::Publication;
    use crate::ingress::testing::{Packet, Vp8, ms, parameters, publisher};

    /// A track whose content type has this id.
    const ID: u8 = 7;

    fn track(rids: &[&str]) -> Publication {
        let mut parameters = parameters(Codec::Vp8, rids);
        parameters.extensions.push(ExtensionMapping {
            id: ID,
            extension: Extension::VideoContentType,
        });
        Publication::new(publisher(), &parameters).unwrap()
    }

    /// A packet of the first layer: of which frame, whether of a key frame, whether the last one, and
    /// what it says.
    #[derive(Clone, Copy)]
    struct Sent(u16, bool, bool, Option<u8>);

    fn packet(ssrc: u32, number: u16, Sent(frame, is_key, is_last, said): Sent) -> Packet {
        let payload = if is_key {
            Vp8::key(frame).payload()
        } else {
            Vp8::frame(frame).payload()
        };
        let mut packet = Packet::new(ssrc, number, u32::from(frame) * 3_000, &payload);
        packet.header.marker = is_last;
        match said {
            Some(value) => packet.with_extension(ID, &[value]),
            None => packet,
        }
    }

    /// What the track shows after these packets of its first layer.
    fn shows<const N: usize>(sent: [Sent; N]) -> ContentType {
        let mut track = track(&[]);
        for (number, sent) in (1..).zip(sent) {
            track.take(ms(0), 0, &packet(1000, number, sent)).unwrap();
        }
        track.content_type(ms(0))
    }

    #[test]
    fn without_a_word_it_is_a_camera() {
        assert_eq!(shows([Sent(0, true, true, None)]), ContentType::Camera);
        let said = [Sent(0, true, true, Some(0))];
        assert_eq!(shows(said), ContentType::Camera);
    }

    #[test]
    fn the_last_packet_of_a_key_frame_tells_of_a_screen() {
        let said = [Sent(0, true, false, None), Sent(0, false, true, Some(1))];
        assert_eq!(shows(said), ContentType::Screen);
        // The upper bits mean nothing.
        let said = [Sent(0, true, true, Some(0x43))];
        assert_eq!(shows(said), ContentType::Screen);
    }

    #[test]
    fn other_frames_change_nothing_by_their_silence() {
        let sent = [
            Sent(0, true, true, Some(1)),
            Sent(1, false, true, None),
            Sent(2, false, true, None),
        ];
        assert_eq!(shows(sent), ContentType::Screen);
    }

    #[test]
    fn a_key_frame_that_says_nothing_is_of_a_camera_again_at_its_end() {
        let sent = |is_last| [Sent(0, true, true, Some(1)), Sent(1, true, is_last, None)];
        assert_eq!(shows(sent(false)), ContentType::Screen);
        assert_eq!(shows(sent(true)), ContentType::Camera);
    }

    #[test]
    fn a_key_frame_that_has_said_it_may_end_without_a_word() {
        // The upper spatial layers of a key picture do not say it again.
        let sent = [Sent(0, true, false, Some(1)), Sent(0, false, true, None)];
        assert_eq!(shows(sent), ContentType::Screen);
    }

    #[test]
    fn what_comes_late_says_what_was() {
        let mut track = track(&[]);
        for (number, sent) in [
            (1, Sent(0, true, false, None)),
            (3, Sent(1, true, true, None)),
            (2, Sent(0, false, true, Some(1))),
        ] {
            track.take(ms(0), 0, &packet(1000, number, sent)).unwrap();
        }
        assert_eq!(track.content_type(ms(0)), ContentType::Camera);
    }

    #[test]
    fn a_layer_that_has_stopped_says_nothing() {
        let mut track = track(&["a", "b"]);
        let screen = packet(1000, 1, Sent(0, true, true, Some(1)));
        track.take(ms(0), 0, &screen).unwrap();
        let camera = packet(1001, 1, Sent(0, true, true, None));
        track.take(ms(1_500), 1, &camera).unwrap();
        assert_eq!(track.content_type(ms(1_500)), ContentType::Screen);
        assert_eq!(track.content_type(ms(2_500)), ContentType::Camera);
    }
}
