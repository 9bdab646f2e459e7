//! `tracks/update`.

use shared::protocol::{Hints, LayerSelection, Ordering, Rid};

use super::*;

fn update(bed: &Bed, model: &SessionModel, track: TrackRequest) -> Plan {
    checked(update_tracks(model, &[track], &bed.published).unwrap())
}

fn wish(rid: &str) -> Option<SimulcastRequest> {
    Some(SimulcastRequest {
        preferred_rid: Some(rid.to_owned()),
        ..SimulcastRequest::default()
    })
}

/// A session that pulls simulcast video (`1`) and audio (`0`) of Firefox as mids 0 and 1.
fn puller(bed: &mut Bed) -> SessionModel {
    bed.publisher(1, FIREFOX, &["0", "1"]);
    bed.publisher(3, CHROME_VIDEO_FIRST, &["0", "1"]);
    let model = bed.session(2);
    bed.pull_and_answer(&model, &[(1, "1"), (1, "0")]).1.model
}

#[test]
fn another_layer_is_asked_for() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let track = TrackRequest {
        mid: Some("0".to_owned()),
        simulcast: wish("lo"),
        ..remote(1, "1")
    };
    let plan = update(&bed, &model, track);
    assert_eq!((errors(&plan), mids(&plan)), (vec![None], vec!["0"]));
    let [
        Change::Resubscribe {
            number: 0,
            selection,
            ..
        },
    ] = plan.changes.as_slice()
    else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(selection.preferred_rid, Rid::from("lo").ok());
    assert!(plan.description.is_none() && plan.renegotiation == Renegotiation::NotNeeded);
}

#[test]
fn a_track_without_simulcast_has_no_layers_to_choose() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let track = TrackRequest {
        mid: Some("1".to_owned()),
        simulcast: wish("lo"),
        ..remote(1, "0")
    };
    let plan = update(&bed, &model, track);
    let error = plan.tracks[0].error.as_ref().unwrap();
    assert_eq!(error.code, ErrorCode::UpdateTrackError);
    assert_eq!(
        error.description,
        "The track is not configured for simulcast, no updates applicable."
    );
    assert!(plan.changes.is_empty());
}

#[test]
fn a_transceiver_is_fed_from_another_track() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let track = TrackRequest {
        mid: Some("0".to_owned()),
        ..remote(3, "0")
    };
    let plan = update(&bed, &model, track);
    let [
        Change::Resubscribe {
            number: 0,
            source,
            codecs,
            ..
        },
    ] = plan.changes.as_slice()
    else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(source.session, id(3));
    // Chrome's VP8 is 96; the session knows it as 120, from Firefox.
    assert_eq!(
        (codecs[0].source_payload_type, codecs[0].payload_type),
        (96, 120)
    );
    let TrackSource::Remote { session, .. } = plan.model.tracks()[0].source else {
        panic!()
    };
    assert_eq!(session, id(3));
}

#[test]
fn another_kind_an_unknown_mid_or_an_unknown_track_is_an_item_error() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    for (mid, session, name, code) in [
        ("0", 3, "1", "update_track_error"),
        ("9", 3, "0", "update_track_error"),
        ("0", 9, "0", "not_found_track_error"),
    ] {
        let track = TrackRequest {
            mid: Some(mid.to_owned()),
            ..remote(session, name)
        };
        let plan = update(&bed, &model, track);
        assert_eq!(errors(&plan), [Some(code)], "{mid} {name}");
    }
}

#[test]
fn an_offered_track_can_be_replaced_before_its_answer() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["1"]);
    bed.publisher(3, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "1")]);
    let track = TrackRequest {
        mid: Some("0".to_owned()),
        ..remote(3, "0")
    };
    let plan = update(&bed, &offered.model, track);
    assert!(plan.changes.is_empty());
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&plan.model, "answer", &answer).unwrap();
    assert_eq!(subscribes(&answered)[0].source.session, id(3));
}

/// The layer and the hints of the only change.
fn resubscribed(plan: &Plan) -> (LayerSelection, Hints) {
    let [
        Change::Resubscribe {
            selection, hints, ..
        },
    ] = plan.changes.as_slice()
    else {
        panic!("{:?}", plan.changes)
    };
    (*selection, *hints)
}

#[test]
fn what_an_update_does_not_name_stays() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let video = TrackRequest {
        mid: Some("0".to_owned()),
        ..remote(1, "1")
    };
    let hints = |priority, max_height| Hints {
        priority,
        max_height,
    };
    let layer = TrackRequest {
        simulcast: wish("lo"),
        ..video.clone()
    };
    let priority = TrackRequest {
        priority: Some(7),
        ..video.clone()
    };
    let height = TrackRequest {
        max_height: Some(360),
        ..video.clone()
    };
    let lo = LayerSelection {
        preferred_rid: Rid::from("lo").ok(),
        ..LayerSelection::default()
    };
    let mut model = model;
    for (track, expected) in [
        (layer, hints(0, None)),
        (priority, hints(7, None)),
        (height, hints(7, Some(360))),
    ] {
        let plan = update(&bed, &model, track);
        assert_eq!(resubscribed(&plan), (lo, expected));
        model = plan.model;
    }
    let hi = TrackRequest {
        simulcast: wish("hi"),
        ..video.clone()
    };
    let (selection, kept) = resubscribed(&update(&bed, &model, hi));
    assert_eq!(selection.preferred_rid, Rid::from("hi").ok());
    assert_eq!(kept, hints(7, Some(360)));
    // Who names nothing changes nothing.
    assert!(update(&bed, &model, video).changes.is_empty());
}

#[test]
fn hints_stay_when_another_track_is_fed_and_the_layer_does_not() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let wished = TrackRequest {
        mid: Some("0".to_owned()),
        simulcast: wish("lo"),
        max_height: Some(360),
        ..remote(1, "1")
    };
    let model = update(&bed, &model, wished).model;
    let other = TrackRequest {
        mid: Some("0".to_owned()),
        ..remote(3, "0")
    };
    let (selection, hints) = resubscribed(&update(&bed, &model, other));
    assert_eq!(selection.preferred_rid, None);
    assert_eq!(selection.rid_not_available, Ordering::Asciibetical);
    assert_eq!(hints.max_height, Some(360));
}

#[test]
fn a_track_without_simulcast_takes_hints() {
    let mut bed = Bed::new();
    let model = puller(&mut bed);
    let track = TrackRequest {
        mid: Some("1".to_owned()),
        priority: Some(255),
        max_height: Some(65_535),
        ..remote(1, "0")
    };
    let plan = update(&bed, &model, track);
    assert_eq!(errors(&plan), [None]);
    let expected = Hints {
        priority: 255,
        max_height: Some(65_535),
    };
    assert_eq!(resubscribed(&plan).1, expected);
    let echoed = plan.tracks[0].hints;
    assert_eq!(echoed.over(Hints::default()), expected);
}

#[test]
fn hints_for_an_offered_track_hold_from_its_beginning() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["1"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "1")]);
    let track = TrackRequest {
        mid: Some("0".to_owned()),
        priority: Some(3),
        ..remote(1, "1")
    };
    let plan = update(&bed, &offered.model, track);
    assert!(plan.changes.is_empty());
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&plan.model, "answer", &answer).unwrap();
    let begun = subscribes(&answered)[0];
    assert_eq!(begun.hints.priority, 3);
    // As it was asked for: nothing of the layer.
    assert_eq!(begun.selection.rid_not_available, Ordering::Asciibetical);
}
