//! Every way in which a whole call fails, with its status and codes.

use super::*;

fn expect(error: &NegotiationError, status: u16, code: &str, text: &str) {
    assert_eq!(
        (error.status(), error.code().as_str()),
        (status, code),
        "{error}"
    );
    assert!(error.to_string().contains(text), "{error}");
}

fn tracks(tracks: Vec<TrackRequest>) -> AddTracks {
    AddTracks {
        tracks,
        ..AddTracks::default()
    }
}

/// Makes something of an item wrong.
type Change = fn(&mut TrackRequest);

#[test]
fn every_error_of_an_item_names_its_field() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let changes: [(Change, &str); 6] = [
        (|item| item.location = None, "Missing location in track"),
        (
            |item| item.location = Some("here".into()),
            "location must be",
        ),
        (|item| item.session_id = None, "Missing sessionId in track"),
        (|item| item.track_name = None, "Missing trackName in track"),
        (
            |item| item.track_name = Some(String::new()),
            "Missing trackName in track",
        ),
        (
            |item| item.track_name = Some("x".repeat(257)),
            "trackName is longer",
        ),
    ];
    for (change, text) in changes {
        let mut item = remote(1, "x");
        change(&mut item);
        let error = bed
            .add(&model, &tracks(vec![remote(1, "fine"), item]))
            .unwrap_err();
        expect(&error, 406, "invalid_params", &format!("tracks[1]: {text}"));
    }
    let unknown = TrackRequest {
        kind: Some("smell".into()),
        ..local("0", "x")
    };
    for (items, text) in [
        (vec![remote(1, "x"), local("0", "y")], "Pushing and Pulling"),
        (vec![unknown], "tracks[0]: kind must be"),
        (vec![local("0", "x")], "tracks[0]: Missing kind in track"),
    ] {
        let error = bed.add(&model, &tracks(items)).unwrap_err();
        expect(&error, 406, "invalid_params", text);
    }
}

#[test]
fn the_words_of_a_simulcast_wish_are_checked() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let some = |text: &str| Some(text.to_owned());
    let none = SimulcastRequest::default();
    for (wish, field) in [
        (
            SimulcastRequest {
                preferred_rid: Some("x".repeat(17)),
                ..none.clone()
            },
            "preferredRid",
        ),
        (
            SimulcastRequest {
                priority_ordering: some("best"),
                ..none.clone()
            },
            "priorityOrdering",
        ),
        (
            SimulcastRequest {
                rid_not_available: some(""),
                ..none
            },
            "ridNotAvailable",
        ),
    ] {
        let track = TrackRequest {
            simulcast: Some(wish),
            ..remote(1, "x")
        };
        let error = bed.add(&model, &tracks(vec![track.clone()])).unwrap_err();
        expect(
            &error,
            406,
            "invalid_params",
            &format!("tracks[0]: simulcast.{field}"),
        );
        assert_eq!(
            update_tracks(&model, &[track], &bed.published).unwrap_err(),
            error
        );
    }
}

#[test]
fn the_numbers_of_hints_are_checked() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let with = |priority, max_height| TrackRequest {
        priority,
        max_height,
        ..remote(1, "x")
    };
    for (track, text) in [
        (with(Some(-1), None), "priority must be 0 to 255"),
        (with(Some(256), None), "priority must be 0 to 255"),
        (with(None, Some(0)), "maxHeight must be 1 to 65535"),
        (with(None, Some(-720)), "maxHeight must be 1 to 65535"),
        (with(Some(0), Some(65_536)), "maxHeight must be 1 to 65535"),
    ] {
        let error = bed.add(&model, &tracks(vec![track.clone()])).unwrap_err();
        expect(&error, 406, "invalid_params", &format!("tracks[0]: {text}"));
        assert_eq!(
            update_tracks(&model, &[track], &bed.published).unwrap_err(),
            error
        );
    }
}

#[test]
fn a_push_into_an_offer_needs_a_mid() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let track = TrackRequest {
        mid: None,
        ..local("0", "x")
    };
    let request = AddTracks {
        description: offer(CHROME_VIDEO_FIRST),
        tracks: vec![track],
        ..AddTracks::default()
    };
    let error = bed.add(&model, &request).unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "tracks[0]: Missing mid in track",
    );
}

#[test]
fn one_to_64_tracks_are_expected() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let error = bed.add(&model, &tracks(vec![])).unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "Expecting at least 1 track in the request",
    );
    let error = bed
        .add(&model, &tracks(vec![remote(1, "x"); 65]))
        .unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "Expecting at most 64 tracks in the request",
    );
    assert!(bed.add(&model, &tracks(vec![remote(1, "x"); 64])).is_ok());
    let none = CloseTracks {
        mode: CloseMode::Forced,
        ..CloseTracks::default()
    };
    let error = close_tracks(&model, &none, &mut bed.context()).unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "Expecting at least 1 track in the request",
    );
    let error = update_tracks(&model, &[], &bed.published).unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "Expecting at least 1 track in the request",
    );
}

#[test]
fn what_needs_sdp_waits_for_the_answer_to_our_offer() {
    // §2.2 of the reference: one offer/answer machine for a session.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0")]).model;
    let push = AddTracks {
        description: offer(CHROME_VIDEO_FIRST),
        tracks: vec![local("0", "x")],
        ..AddTracks::default()
    };
    let close = CloseTracks {
        mids: vec!["0".to_owned()],
        mode: CloseMode::Negotiated,
        description: offer(CHROME_VIDEO_FIRST),
    };
    for error in [
        bed.add(&offered, &tracks(vec![remote(1, "0")]))
            .unwrap_err(),
        bed.add(&offered, &push).unwrap_err(),
        bed.renegotiate(&offered, "offer", CHROME_VIDEO_FIRST)
            .unwrap_err(),
        close_tracks(&offered, &close, &mut bed.context()).unwrap_err(),
    ] {
        expect(
            &error,
            406,
            "invalid_session_description",
            "outstanding offer",
        );
        assert_eq!(
            error.subcode(),
            Some("invalid_modification_have_local_offer")
        );
    }
    // What needs none is served.
    assert_eq!(bed.close(&offered, &["0"], None).tracks.len(), 1);
}

#[test]
fn the_type_of_a_description_is_checked() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let error = bed
        .renegotiate(&model, "pranswer", CHROME_VIDEO_FIRST)
        .unwrap_err();
    expect(
        &error,
        406,
        "invalid_params",
        "sessionDescription.type=answer is expected",
    );
    for (kind, text) in [
        ("answer", "type=offer is expected"),
        ("rollback", "sessionDescription.type"),
    ] {
        let description = Some(SessionDescription {
            kind: kind.to_owned(),
            sdp: CHROME_VIDEO_FIRST.to_owned(),
        });
        let request = AddTracks {
            description,
            tracks: vec![local("0", "x")],
            ..AddTracks::default()
        };
        expect(
            &bed.add(&model, &request).unwrap_err(),
            406,
            "invalid_params",
            text,
        );
    }
}

#[test]
fn a_negotiated_close_and_a_discovery_need_an_offer() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let close = CloseTracks {
        mids: vec!["0".to_owned()],
        ..CloseTracks::default()
    };
    let error = close_tracks(&model, &close, &mut bed.context()).unwrap_err();
    expect(
        &error,
        400,
        "decoding_error",
        "Body JSON validation error: sessionDescription",
    );
    let request = AddTracks {
        discovery: Discovery::On,
        ..AddTracks::default()
    };
    let error = bed.add(&model, &request).unwrap_err();
    expect(
        &error,
        400,
        "decoding_error",
        "Body JSON validation error: sessionDescription",
    );
}

#[test]
fn an_offer_that_cannot_be_used_says_why() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let golden = CHROME_VIDEO_FIRST;
    let application = split(AIORTC);
    let application =
        join(&[application[0].clone(), application[3].clone()]).replace("BUNDLE 0 1 2", "BUNDLE 2");
    for (text, expected) in [
        ("not sdp".to_owned(), "Unable to parse SDP"),
        (
            golden.replace("a=ice-", "a=x-"),
            "SDP contains no ice-ufrag",
        ),
        (
            golden.replace("sha-256", "sha-1"),
            "SDP contains no fingerprint",
        ),
        (
            golden.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1"),
            "a=group:BUNDLE must hold every",
        ),
        (
            golden.replace("a=extmap-allow-mixed", "a=ice-lite"),
            "a=ice-lite",
        ),
        (
            golden.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            "no media section can be used",
        ),
        (application, "data channels alone are not supported yet"),
    ] {
        let request = AddTracks {
            description: offer(&text),
            tracks: vec![local("0", "x")],
            ..AddTracks::default()
        };
        let error = bed.add(&model, &request).unwrap_err();
        expect(&error, 406, "invalid_session_description", expected);
    }
}

#[test]
fn a_later_offer_must_keep_the_sections() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let parts = split(CHROME_VIDEO_FIRST);
    let fewer = join(&parts[..3]).replace("BUNDLE 0 1 2", "BUNDLE 0 1");
    let swapped = join(&[
        parts[0].clone(),
        parts[2].clone(),
        parts[1].clone(),
        parts[3].clone(),
    ]);
    for (text, expected) in [
        (
            fewer,
            "the offer has 2 media sections, but the session has 3",
        ),
        (
            swapped,
            "media section 0 is audio with a=mid:1, but was video with a=mid:0",
        ),
    ] {
        let error = bed.renegotiate(&model, "offer", &text).unwrap_err();
        expect(&error, 406, "invalid_session_description", expected);
    }
}

#[test]
fn bombs_are_too_large() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let bombs = [
        format!("{CHROME_VIDEO_FIRST}{}", "a=x\r\n".repeat(10_000)),
        format!(
            "{CHROME_VIDEO_FIRST}{}",
            "a=candidate:1 1 udp 1 a.example 9 typ host\r\n".repeat(10_000)
        ),
        "v=0\r\n".repeat(300_000),
    ];
    for bomb in bombs {
        let request = AddTracks {
            description: offer(&bomb),
            discovery: Discovery::On,
            ..AddTracks::default()
        };
        expect(
            &bed.add(&model, &request).unwrap_err(),
            413,
            "payload_too_large",
            "too large",
        );
    }
}

#[test]
fn a_session_that_is_full_says_so_for_each_item() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["1"]);
    let mut model = bed.session(2);
    // Each turn is refused for want of room, or is answered like any other.
    let mut pulled = 0;
    loop {
        let plan = match bed.add(&model, &tracks(vec![remote(1, "1"); 64])) {
            Ok(plan) => plan,
            Err(error) => break expect(&error, 406, "invalid_params", "too many tracks"),
        };
        pulled += plan
            .tracks
            .iter()
            .filter(|track| track.error.is_none())
            .count();
        if plan.tracks.iter().any(|track| track.error.is_some()) {
            assert_eq!(pulled, shared::limits::SUBSCRIPTIONS_PER_SESSION_MAX);
            break;
        }
        let answer = answer_to(&sdp(&plan), |_, _| {});
        model = bed
            .renegotiate(&plan.model, "answer", &answer)
            .unwrap()
            .model;
    }
    assert!(pulled >= 256, "{pulled}");
}
