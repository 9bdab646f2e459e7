//! Golden descriptions of real clients, and mutations of them.

use proptest::prelude::*;
use shared::protocol::{Codec, Extension, MediaKind};

use super::*;

/// Chrome 156, audio first; cut off in the middle of its video section.
pub(crate) const CHROME_AUDIO_FIRST: &str = include_str!("chrome-audio-first.sdp");
/// Chrome 156, as Orange offers: video, audio, video.
pub(crate) const CHROME_VIDEO_FIRST: &str = include_str!("chrome-video-first.sdp");
/// In the manner of Firefox: `sendrecv`, session-level fingerprint, simulcast by rid.
pub(crate) const FIREFOX: &str = include_str!("firefox.sdp");
/// In the manner of aiortc: a transport for each section, candidates, data channels.
pub(crate) const AIORTC: &str = include_str!("aiortc.sdp");

fn offer(text: &str) -> RemoteDescription {
    parse(DescriptionKind::Offer, text).unwrap()
}

fn refusal(text: &str) -> String {
    parse(DescriptionKind::Offer, text).unwrap_err().to_string()
}

fn codecs(section: &Section) -> Vec<(u8, Codec, Option<u8>)> {
    let codec = |codec: &SectionCodec| {
        (
            codec.payload_type,
            codec.format.codec,
            codec.rtx_payload_type,
        )
    };
    section.codecs.iter().map(codec).collect()
}

#[test]
fn chromes_audio_is_read_without_cn_and_telephone_event() {
    let offer = offer(CHROME_AUDIO_FIRST);
    let audio = &offer.sections[0];
    assert_eq!(
        codecs(audio),
        [
            (111, Codec::Opus, None),
            (63, Codec::Red, None),
            (9, Codec::G722, None),
            (0, Codec::Pcmu, None),
            (8, Codec::Pcma, None)
        ]
    );
    assert_eq!(audio.payload_types, [111, 63, 9, 0, 8, 13, 110, 126]);
    assert_eq!(
        audio.codecs[0].format.parameters,
        "minptime=10;useinbandfec=1"
    );
    assert_eq!(audio.direction, Direction::SendOnly);
    assert_eq!(audio.layers[0].ssrc, Some(3_762_004_911));
    assert!(offer.extmap_allow_mixed && !offer.ice_lite);
}

#[test]
fn a_description_that_is_cut_off_keeps_what_it_has() {
    // The file ends within a line, without a newline.
    let offer = offer(CHROME_AUDIO_FIRST);
    assert_eq!(codecs(&offer.sections[1]).len(), 7);
}

#[test]
fn chromes_video_is_read_in_its_order_of_preference() {
    let offer = offer(CHROME_VIDEO_FIRST);
    let kinds: Vec<_> = offer.sections.iter().map(|section| section.media).collect();
    let video = MediaType::Media(MediaKind::Video);
    assert_eq!(kinds, [video, MediaType::Media(MediaKind::Audio), video]);
    let list = codecs(&offer.sections[0]);
    assert_eq!(list.first(), Some(&(96, Codec::Vp8, Some(97))));
    assert!(list.contains(&(45, Codec::Av1, Some(46))));
    assert!(list.contains(&(100, Codec::Vp9, Some(101))));
    assert_eq!(list.len(), 10);
    let layer = &offer.sections[0].layers[0];
    assert_eq!(
        (layer.ssrc, layer.rtx_ssrc),
        (Some(1_975_533_746), Some(3_786_135_282))
    );
    let all = Feedback {
        nack: true,
        pli: true,
        fir: true,
        transport_cc: true,
    };
    assert_eq!(offer.sections[0].codecs[0].feedback, all);
}

#[test]
fn chromes_extension_ids_are_read() {
    let offer = offer(CHROME_VIDEO_FIRST);
    let id = |section: usize, wanted| {
        let found = offer.sections[section]
            .extensions
            .iter()
            .find(|e| e.extension == Some(wanted));
        found.map(|extension| extension.id)
    };
    assert_eq!(id(0, Extension::Mid), Some(9));
    assert_eq!(id(1, Extension::Mid), Some(9));
    assert_eq!(id(1, Extension::AudioLevel), Some(14));
    assert_eq!(id(0, Extension::VideoOrientation), Some(3));
}

#[test]
fn firefoxs_session_level_and_directed_attributes_are_read() {
    let offer = offer(FIREFOX);
    let video = &offer.sections[1];
    assert_eq!(video.transport.fingerprints.len(), 1);
    assert_eq!(video.transport.setup, Some(Setup::ActPass));
    let rids: Vec<String> = video.rids().map(|rid| rid.to_string()).collect();
    assert_eq!(rids, ["hi", "mid", "lo"]);
    assert!(video.extensions.contains(&SectionExtension {
        id: 8,
        extension: Some(Extension::RtpStreamId)
    }));
    // A foreign extension still takes its id.
    assert!(offer.sections[0].extensions.contains(&SectionExtension {
        id: 2,
        extension: None
    }));
    let h264 = (97, Codec::H264, Some(98));
    assert!(codecs(video).contains(&h264));
    assert_eq!(codecs(&offer.sections[0])[1], (9, Codec::G722, None));
}

#[test]
fn aiortcs_candidates_are_only_counted() {
    let offer = offer(AIORTC);
    assert_eq!(offer.candidates, 2);
    assert_eq!(offer.sections[2].media, MediaType::Application);
    assert_eq!(offer.sections[0].transport.fingerprints.len(), 2);
    assert_ne!(
        offer.sections[0].transport.ice,
        offer.sections[1].transport.ice
    );
}

#[test]
fn a_missing_newline_at_the_end_is_tolerated() {
    let text = CHROME_VIDEO_FIRST.trim_end();
    assert_eq!(offer(text), offer(CHROME_VIDEO_FIRST));
    assert_eq!(
        offer(&CHROME_VIDEO_FIRST.replace("\r\n", "\n")),
        offer(CHROME_VIDEO_FIRST)
    );
}

#[test]
fn bundle_only_sections_are_not_refused_ones() {
    let text = FIREFOX.replace("m=video 9", "m=video 0");
    assert!(offer(&text).sections[1].rejected);
    let text = text.replace("a=mid:1", "a=bundle-only\na=mid:1");
    assert!(!offer(&text).sections[1].rejected);
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, expected) in [
        ("v=0", "v=x", "Unable to parse SDP"),
        ("m=video 9", "m=image 9", "m=image is not supported"),
        ("a=mid:1", "a=nomid:1", "media section 1 has no a=mid"),
        ("a=mid:1", "a=mid:0", "a=mid:0 is there twice"),
        ("a=mid:1", "a=mid:12345678901234567", "longer than 16 bytes"),
        ("a=mid:1", "a=mid:a b", "not a token"),
        (
            "a=ice-ufrag:e3baa26d",
            "a=x:y",
            "an ice-pwd but no ice-ufrag",
        ),
        (
            "a=ice-ufrag:e3baa26d",
            "a=ice-ufrag:e3",
            "a=ice-ufrag is not 4 to 256",
        ),
        (
            "a=ice-pwd:5f9dbb5c4a4d1d4b9b2c6a1d8e7f3a2b",
            "a=ice-pwd:short",
            "a=ice-pwd is not 22",
        ),
        ("4A:AD:B9:B1", "4A:AD:B9", "sha-256 is not 32 bytes"),
        ("4A:AD:B9:B1", "4A:AD:+9:B1", "sha-256 is not 32 bytes"),
        ("a=setup:actpass", "a=setup:holdconn", "a=setup:holdconn"),
    ] {
        let error = refusal(&FIREFOX.replacen(from, to, 1));
        assert!(error.contains(expected), "{to}: {error}");
    }
    assert!(
        refusal("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n").contains("no media section")
    );
}

#[test]
fn an_error_does_not_carry_the_whole_description_back() {
    let text = format!("v=0\r\n{}", "x".repeat(4_000));
    assert!(refusal(&text).len() < 250);
}

#[test]
fn arithmetic_of_repeat_times_is_not_done() {
    let text = FIREFOX.replacen(
        "t=0 0",
        "t=0 0\nr=9223372036854775807d 1d 0\nz=0 9223372036854775807d",
        1,
    );
    assert_eq!(offer(&text), offer(FIREFOX));
}

fn golden() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        CHROME_AUDIO_FIRST,
        CHROME_VIDEO_FIRST,
        FIREFOX,
        AIORTC,
    ])
}

proptest! {
    #[test]
    fn a_mutated_description_never_panics(
        text in golden(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = text.as_bytes().to_vec();
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = parse(DescriptionKind::Offer, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn shuffled_lines_never_panic(text in golden(), seed in prop::collection::vec(any::<u16>(), 300)) {
        let mut lines: Vec<(u16, &str)> = seed.into_iter().cycle().zip(text.lines()).collect();
        lines.sort_by_key(|(key, _)| key % 16);
        let text: Vec<&str> = lines.into_iter().map(|(_, line)| line).collect();
        let _ = parse(DescriptionKind::Offer, &text.join("\n"));
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,400}") {
        let _ = parse(DescriptionKind::Answer, &text);
    }
}
