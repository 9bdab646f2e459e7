//! Shapes A, G and H: tracks in the client's offer.

use shared::protocol::{Codec, DtlsRole, Extension, MediaKind};

use super::*;

#[test]
fn a_push_of_three_sections_is_answered_in_the_order_of_the_request() {
    // Trap 6: Orange pushes video, audio and video in one call.
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(
        &model,
        CHROME_VIDEO_FIRST,
        &[("2", "c"), ("0", "a"), ("1", "b")],
    );
    assert_eq!(mids(&plan), ["2", "0", "1"]);
    assert_eq!(errors(&plan), [None, None, None]);
    assert_eq!(plan.renegotiation, Renegotiation::NotNeeded);
    let answer = sdp(&plan);
    for mid in ["0", "1", "2"] {
        assert!(has(&answer, mid, "a=recvonly") && has(&answer, mid, "a=setup:passive"));
    }
    assert!(has(
        &answer,
        "0",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
    ));
    assert!(has(&answer, "0", "a=end-of-candidates"));
    assert!(answer.contains("a=extmap-allow-mixed"));
}

#[test]
fn the_first_change_of_a_push_is_the_clients_transport() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(&model, CHROME_VIDEO_FIRST, &[("0", "a")]);
    let [Change::SetRemote(remote), Change::Publish(_)] = plan.changes.as_slice() else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(remote.ice.ufrag, "NQDo");
    assert_eq!(remote.role, DtlsRole::Server);
    assert_eq!(remote.fingerprints[0].digest[..2], [0xcd, 0xe3]);
    assert!(plan.model.has_transport() && !model.has_transport());
}

#[test]
fn a_publication_has_the_numbers_of_the_offer() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(&model, CHROME_VIDEO_FIRST, &[("0", "a"), ("1", "b")]);
    let publishes = publishes(&plan);
    let video = publishes[0];
    assert_eq!(
        (video.number, video.kind, video.mid.as_str()),
        (0, MediaKind::Video, "0")
    );
    let vp8 = video.codecs[0];
    assert_eq!(
        (vp8.payload_type, vp8.codec, vp8.rtx_payload_type),
        (96, Codec::Vp8, Some(97))
    );
    assert!(vp8.nack && vp8.pli && vp8.fir && vp8.transport_cc);
    assert_eq!(video.layers[0].ssrc, Some(1_975_533_746));
    assert_eq!(video.layers[0].rtx_ssrc, Some(3_786_135_282));
    let id = |of: &PublishParameters, wanted| {
        of.extensions
            .iter()
            .find(|known| known.extension == wanted)
            .map(|known| known.id)
    };
    assert_eq!(id(video, Extension::Mid), Some(9));
    assert_eq!(id(video, Extension::TransportWideSequenceNumber), Some(4));
    assert_eq!(id(video, Extension::AbsoluteSendTime), None);
    assert_eq!(id(publishes[1], Extension::AudioLevel), Some(14));
    let opus = publishes[1].codecs[0];
    assert!(opus.codec == Codec::Opus && opus.transport_cc && !opus.nack);
}

#[test]
fn a_publisher_may_say_that_it_shows_a_screen_under_the_id_of_its_own_offer() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(&model, CHROME_VIDEO_FIRST, &[("0", "a")]);
    let mut extensions = publishes(&plan)[0].extensions.iter();
    let content_type = extensions.find(|known| known.extension == Extension::VideoContentType);
    assert_eq!(content_type.map(|known| known.id), Some(6));
    let line = "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type";
    assert!(has(&sdp(&plan), "0", line));
}

#[test]
fn an_answer_offers_only_the_feedback_that_we_act_on() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let answer = sdp(&bed.push(&model, CHROME_VIDEO_FIRST, &[("0", "a"), ("1", "b")]));
    let feedback: Vec<String> = section(&answer, "0")
        .into_iter()
        .filter(|line| line.starts_with("a=rtcp-fb:96"))
        .collect();
    assert_eq!(
        feedback,
        [
            "a=rtcp-fb:96 transport-cc",
            "a=rtcp-fb:96 ccm fir",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 nack pli"
        ]
    );
    for name in [
        "goog-remb",
        "red/90000",
        "ulpfec",
        "telephone-event",
        "CN/8000",
    ] {
        assert!(!answer.contains(name), "{name}");
    }
    assert!(section(&answer, "1")[0].ends_with("UDP/TLS/RTP/SAVPF 111 63 9 0 8"));
    assert!(has(&answer, "1", "a=fmtp:111 minptime=10;useinbandfec=1"));
    assert!(has(&answer, "0", "a=fmtp:97 apt=96"));
}

#[test]
fn simulcast_is_answered_rid_by_rid() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(&model, FIREFOX, &[("1", "camera")]);
    let answer = sdp(&plan);
    for line in [
        "a=rid:hi recv",
        "a=rid:mid recv",
        "a=rid:lo recv",
        "a=simulcast:recv hi;mid;lo",
    ] {
        assert!(has(&answer, "1", line), "{line}");
    }
    let layers = &publishes(&plan)[0].layers;
    let rids: Vec<String> = layers
        .iter()
        .filter_map(|l| l.rid)
        .map(|rid| rid.to_string())
        .collect();
    assert_eq!(rids, ["hi", "mid", "lo"]);
    assert!(layers.iter().all(|layer| layer.ssrc.is_none()));
    assert_eq!(plan.model.published_track("camera").unwrap().rids.len(), 3);
}

#[test]
fn legacy_simulcast_has_layers_by_ssrc() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let text = edit(CHROME_VIDEO_FIRST, "0", |lines| {
        lines.push("a=ssrc-group:SIM 1 2 3".to_owned());
    });
    let plan = bed.push(&model, &text, &[("0", "camera")]);
    let ssrcs: Vec<_> = publishes(&plan)[0]
        .layers
        .iter()
        .map(|layer| layer.ssrc)
        .collect();
    assert_eq!(ssrcs, [Some(1), Some(2), Some(3)]);
    assert!(
        plan.model
            .published_track("camera")
            .unwrap()
            .rids
            .is_empty()
    );
}

#[test]
fn discovery_names_every_new_sending_section() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let request = AddTracks {
        description: offer(&with_direction(CHROME_VIDEO_FIRST, "2", "recvonly")),
        tracks: vec![local("1", "voice")],
        discovery: Discovery::On,
    };
    let plan = bed.add(&model, &request).unwrap();
    assert_eq!(mids(&plan), ["1", "0"]);
    let found = &plan.tracks[1];
    assert_eq!(found.kind, Some(MediaKind::Video));
    assert_eq!(found.track_name.as_ref().map(String::len), Some(32));
    // The same offer again: nothing is new.
    let again = AddTracks {
        tracks: Vec::new(),
        ..request
    };
    let plan = bed.add(&plan.model, &again).unwrap();
    assert!(plan.tracks.is_empty() && plan.changes.is_empty());
}

#[test]
fn data_channels_beside_media_are_refused_and_the_rest_works() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(&model, AIORTC, &[("0", "voice"), ("1", "camera")]);
    assert_eq!(errors(&plan), [None, None]);
    let answer = sdp(&plan);
    assert_eq!(
        section(&answer, "2")[0],
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
    );
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"));
    // The transport of the first section of the group counts (RFC 8843 §7.3.1).
    let Change::SetRemote(remote) = &plan.changes[0] else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(
        (remote.ice.ufrag.as_str(), remote.fingerprints.len()),
        ("pXm7", 2)
    );
}

#[test]
fn sections_that_no_call_has_named_are_received_until_one_does() {
    let mut bed = Bed::new();
    let request = CreateSession {
        session: id(1),
        description: offer(CHROME_VIDEO_FIRST),
        loudest_audio: None,
    };
    let plan = checked(create_session(&request, &mut bed.context()).unwrap());
    assert!(has(&sdp(&plan), "0", "a=recvonly"));
    assert!(plan.tracks.is_empty() && plan.model.tracks().is_empty());
    assert!(matches!(
        plan.changes.as_slice(),
        [Change::Open(_), Change::SetRemote(_)]
    ));
    // By another offer, or without one.
    let named = bed.push(&plan.model, CHROME_VIDEO_FIRST, &[("0", "a")]);
    assert_eq!(publishes(&named).len(), 1);
    let tracks = vec![local("1", "b")];
    let named = bed
        .add(
            &named.model,
            &AddTracks {
                tracks,
                ..AddTracks::default()
            },
        )
        .unwrap();
    assert_eq!(
        (errors(&named), named.description.is_none()),
        (vec![None], true)
    );
    assert_eq!(publishes(&named)[0].layers[0].ssrc, Some(533_698_811));
}

#[test]
fn a_client_that_is_passive_makes_us_active() {
    // RFC 8842 §5.3.
    let mut bed = Bed::new();
    let model = bed.session(1);
    let text = CHROME_VIDEO_FIRST.replace("a=setup:actpass", "a=setup:passive");
    let plan = bed.push(&model, &text, &[("0", "a")]);
    assert!(has(&sdp(&plan), "0", "a=setup:active"));
    let Change::SetRemote(remote) = &plan.changes[0] else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(remote.role, DtlsRole::Client);
}

#[test]
fn a_name_or_a_section_that_is_taken_is_an_item_error() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.push(
        &model,
        CHROME_VIDEO_FIRST,
        &[("0", "a"), ("1", "a"), ("0", "b"), ("7", "c")],
    );
    let repeated = Some("repeated_local_track_error");
    assert_eq!(
        errors(&plan),
        [None, repeated, repeated, Some("track_error")]
    );
    assert!(plan.description.is_some());
}
