//! Shapes C, D, E and F: pulls into the client's offer, pushes by ours, and both ways at once.

use shared::protocol::MediaKind;

use super::*;

/// Chrome's offer with every section receiving.
fn receiving() -> String {
    let mut text = CHROME_VIDEO_FIRST.to_owned();
    for mid in ["0", "1", "2"] {
        text = with_direction(&text, mid, "recvonly");
    }
    text
}

fn pull_into(bed: &mut Bed, model: &SessionModel, sdp: &str, tracks: Vec<TrackRequest>) -> Plan {
    bed.add(
        model,
        &AddTracks {
            description: offer(sdp),
            tracks,
            ..AddTracks::default()
        },
    )
    .unwrap()
}

#[test]
fn c_pulls_go_into_receiving_sections_of_their_kind() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["0", "1"]);
    let model = bed.session(2);
    let plan = pull_into(
        &mut bed,
        &model,
        &receiving(),
        vec![remote(1, "0"), remote(1, "1")],
    );
    assert_eq!(mids(&plan), ["1", "0"]);
    assert_eq!(plan.renegotiation, Renegotiation::NotNeeded);
    let answer = sdp(&plan);
    assert!(has(&answer, "0", "a=sendonly") && has(&answer, "1", "a=sendonly"));
    assert!(has(&answer, "2", "a=inactive"), "nothing goes there yet");
    let subscribes = subscribes(&plan);
    assert_eq!(subscribes[1].codecs[0].source_payload_type, 120);
    assert_eq!(subscribes[1].codecs[0].payload_type, 96);
    // Only what the publisher can send is answered, in the client's order.
    assert!(section(&answer, "0")[0].ends_with("SAVPF 96 97 108 109 114 115 98 99"));
    assert!(has(&answer, "0", "a=rtcp-fb:96 transport-cc"));
}

#[test]
fn c_a_named_section_is_taken() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let track = TrackRequest {
        mid: Some("2".to_owned()),
        ..remote(1, "0")
    };
    let plan = pull_into(&mut bed, &model, &receiving(), vec![track]);
    assert_eq!(mids(&plan), ["2"]);
}

#[test]
fn c_without_a_free_section_or_a_common_codec_the_item_fails() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["0", "1"]);
    let model = bed.session(2);
    let tracks = vec![remote(1, "0"), remote(1, "0")];
    let plan = pull_into(&mut bed, &model, &receiving(), tracks);
    assert_eq!(errors(&plan), [None, Some("track_error")]);
    // Firefox prefers VP8; this client has none.
    let text = receiving().replace("VP8/90000", "VP0/90000");
    let plan = pull_into(&mut bed, &model, &text, vec![remote(1, "1")]);
    let error = plan.tracks[0].error.as_ref().unwrap();
    assert_eq!(
        error.description,
        "The subscriber's SDP is missing the published track's codec"
    );
    assert!(plan.description.is_some(), "the answer comes all the same");
}

#[test]
fn c_a_closed_section_can_be_pulled_into_again() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let plan = pull_into(&mut bed, &model, &receiving(), vec![remote(1, "0")]);
    let closed = bed.close(&plan.model, &["0"], Some(&receiving()));
    let again = pull_into(&mut bed, &closed.model, &receiving(), vec![remote(1, "0")]);
    assert_eq!(mids(&again), ["0"]);
    assert_eq!(subscribes(&again)[0].number, 1);
}

fn push_by_us(kind: &str, bidirectional: bool) -> AddTracks {
    let track = TrackRequest {
        location: Some("local".to_owned()),
        track_name: Some("mic-1".to_owned()),
        kind: Some(kind.to_owned()),
        bidirectional_media_stream: bidirectional,
        ..TrackRequest::default()
    };
    AddTracks {
        tracks: vec![track],
        ..AddTracks::default()
    }
}

#[test]
fn d_a_push_by_our_offer_begins_with_the_answer() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.add(&model, &push_by_us("video", false)).unwrap();
    assert_eq!(
        (mids(&plan), plan.renegotiation),
        (vec!["0"], Renegotiation::Needed)
    );
    let offer = sdp(&plan);
    assert!(has(&offer, "0", "a=recvonly") && has(&offer, "0", "a=setup:actpass"));
    assert!(has(&offer, "0", "a=rtpmap:96 VP8/90000") && has(&offer, "0", "a=fmtp:97 apt=96"));
    assert!(has(&offer, "0", "a=rtcp-fb:96 transport-cc"));
    assert!(plan.changes.is_empty() && plan.model.tracks().is_empty());
    let answer = answer_to(&offer, |_, lines| {
        lines.push("a=ssrc-group:FID 77 78".to_owned());
        lines.push("a=ssrc:77 cname:x".to_owned());
    });
    let answered = bed.renegotiate(&plan.model, "answer", &answer).unwrap();
    assert!(matches!(answered.changes[0], Change::SetRemote(_)));
    let publish = publishes(&answered)[0];
    assert_eq!(
        (publish.layers[0].ssrc, publish.layers[0].rtx_ssrc),
        (Some(77), Some(78))
    );
    assert!(publish.codecs[0].transport_cc && publish.kind == MediaKind::Video);
    assert!(answered.model.published_track("mic-1").is_some());
}

#[test]
fn d_a_client_that_does_not_send_publishes_nothing() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let plan = bed.add(&model, &push_by_us("audio", false)).unwrap();
    let answer = answer_to(&sdp(&plan), |_, lines| set_direction(lines, "inactive"));
    let answered = bed.renegotiate(&plan.model, "answer", &answer).unwrap();
    assert!(publishes(&answered).is_empty() && answered.model.tracks().is_empty());
}

#[test]
fn e_and_f_a_bidirectional_transceiver_takes_a_pull_without_sdp() {
    let mut bed = Bed::new();
    bed.publisher(9, FIREFOX, &["0"]);
    let model = bed.session(1);
    let plan = bed.add(&model, &push_by_us("audio", true)).unwrap();
    let offer = sdp(&plan);
    assert!(has(&offer, "0", "a=sendrecv"));
    let answered = bed
        .renegotiate(&plan.model, "answer", &answer_to(&offer, |_, _| {}))
        .unwrap();
    assert_eq!(
        (publishes(&answered).len(), subscribes(&answered).len()),
        (1, 0)
    );
    let into = TrackRequest {
        mid: Some("#mic-1".to_owned()),
        ..remote(9, "0")
    };
    let tracks = AddTracks {
        tracks: vec![into],
        ..AddTracks::default()
    };
    let pulled = bed.add(&answered.model, &tracks).unwrap();
    assert_eq!((mids(&pulled), errors(&pulled)), (vec!["0"], vec![None]));
    assert_eq!(pulled.renegotiation, Renegotiation::NotNeeded);
    assert!(pulled.description.is_none());
    let subscribe = subscribes(&pulled)[0];
    assert!(
        section(&offer, "0")
            .iter()
            .any(|l| l.starts_with(&format!("a=ssrc:{} ", subscribe.ssrc)))
    );
    assert_eq!(subscribe.codecs[0].source_payload_type, 109);
    assert_eq!(subscribe.codecs[0].payload_type, 111);
    // Another pull into it feeds the same stream from there on.
    let again = bed.add(&pulled.model, &tracks).unwrap();
    assert!(matches!(
        again.changes.as_slice(),
        [Change::Resubscribe { number: 0, .. }]
    ));
    assert_eq!(again.model.tracks().len(), 2);
    // Closing it ends both directions.
    let closed = bed.close(&again.model, &["0"], None);
    assert_eq!(
        closed.changes,
        [
            Change::Unpublish { number: 0 },
            Change::Unsubscribe { number: 0 }
        ]
    );
}

#[test]
fn e_a_bidirectional_push_works_with_the_clients_offer_too() {
    let mut bed = Bed::new();
    bed.publisher(9, CHROME_VIDEO_FIRST, &["1"]);
    let model = bed.session(1);
    let track = TrackRequest {
        bidirectional_media_stream: true,
        ..local("0", "mic-1")
    };
    let tracks = AddTracks {
        description: offer(FIREFOX),
        tracks: vec![track],
        ..AddTracks::default()
    };
    let plan = bed.add(&model, &tracks).unwrap();
    assert!(has(&sdp(&plan), "0", "a=sendrecv"));
    assert!(has(&sdp(&plan), "1", "a=recvonly"));
    let into = TrackRequest {
        mid: Some("#mic-1".to_owned()),
        ..remote(9, "1")
    };
    let pulled = bed
        .add(
            &plan.model,
            &AddTracks {
                tracks: vec![into],
                ..AddTracks::default()
            },
        )
        .unwrap();
    assert_eq!(subscribes(&pulled).len(), 1);
}

#[test]
fn f_a_transceiver_that_is_not_there_or_not_bidirectional_is_an_item_error() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    for name in ["#nothing", "#1"] {
        let into = TrackRequest {
            mid: Some(name.to_owned()),
            ..remote(1, "1")
        };
        let plan = bed
            .add(
                &model,
                &AddTracks {
                    tracks: vec![into],
                    ..AddTracks::default()
                },
            )
            .unwrap();
        assert_eq!(errors(&plan), [Some("track_error")], "{name}");
    }
}
