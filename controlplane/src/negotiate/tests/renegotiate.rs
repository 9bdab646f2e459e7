//! `renegotiate`: answers, and (better than the original) offers.

use super::*;

const OTHER_ICE: (&str, &str) = ("a=ice-ufrag:NQDo", "a=ice-ufrag:NEW1");

#[test]
fn an_offer_with_new_credentials_restarts_ice() {
    // RFC 8839 §4.4.1.1.1.
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let restart = CHROME_VIDEO_FIRST.replace(OTHER_ICE.0, OTHER_ICE.1);
    let plan = bed.renegotiate(&model, "offer", &restart).unwrap();
    let [Change::RestartIce { local, remote }] = plan.changes.as_slice() else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(remote.ufrag, "NEW1");
    let answer = sdp(&plan);
    assert!(has(&answer, "0", &format!("a=ice-ufrag:{}", local.ufrag)));
    assert!(has(&answer, "0", &format!("a=ice-pwd:{}", local.password)));
    assert!(has(&answer, "0", "a=recvonly"));
    assert_eq!(plan.model.tracks().len(), 3);
}

#[test]
fn an_offer_with_the_same_credentials_keeps_ours() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let pushed = bed.push(&model, CHROME_VIDEO_FIRST, &[("0", "a")]);
    let plan = bed
        .renegotiate(&pushed.model, "offer", CHROME_VIDEO_FIRST)
        .unwrap();
    assert!(plan.changes.is_empty());
    let ufrag = |plan: &Plan| {
        section(&sdp(plan), "0")
            .into_iter()
            .find(|line| line.starts_with("a=ice-ufrag"))
    };
    assert_eq!(ufrag(&plan), ufrag(&pushed));
    let version = |plan: &Plan| sdp(plan).lines().nth(1).unwrap().to_owned();
    assert_ne!(
        version(&plan),
        version(&pushed),
        "RFC 3264 §8: the version goes up"
    );
}

#[test]
fn another_certificate_is_refused() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let text = CHROME_VIDEO_FIRST.replace("CD:E3:5C", "00:00:00");
    let error = bed.renegotiate(&model, "offer", &text).unwrap_err();
    assert!(error.to_string().contains("a=fingerprint"), "{error}");
}

#[test]
fn a_client_that_stops_receiving_is_sent_nothing() {
    // RFC 3264 §6.1.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let (offered, answered) = bed.pull_and_answer(&model, &[(1, "0")]);
    let offer = offer_from(&answer_to(&sdp(&offered), |_, _| {}));
    let plan = bed
        .renegotiate(
            &answered.model,
            "offer",
            &with_direction(&offer, "0", "inactive"),
        )
        .unwrap();
    assert_eq!(plan.changes, [Change::Unsubscribe { number: 0 }]);
}

#[test]
fn a_publication_outlives_a_mute_by_direction() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let muted = with_direction(CHROME_VIDEO_FIRST, "0", "inactive");
    let plan = bed.renegotiate(&model, "offer", &muted).unwrap();
    assert!(plan.changes.is_empty() && has(&sdp(&plan), "0", "a=inactive"));
    let plan = bed
        .renegotiate(&plan.model, "offer", CHROME_VIDEO_FIRST)
        .unwrap();
    assert!(plan.changes.is_empty() && has(&sdp(&plan), "0", "a=recvonly"));
}

#[test]
fn a_section_that_appears_is_received_but_is_no_track() {
    let mut bed = Bed::new();
    let parts = split(CHROME_VIDEO_FIRST);
    let first = join(&parts[..2]).replace("BUNDLE 0 1 2", "BUNDLE 0");
    let model = bed.publisher(1, &first, &["0"]);
    let plan = bed
        .renegotiate(&model, "offer", CHROME_VIDEO_FIRST)
        .unwrap();
    assert!(has(&sdp(&plan), "2", "a=recvonly"));
    assert_eq!(plan.model.tracks().len(), 1);
}

#[test]
fn a_replayed_answer_is_refused() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0")]);
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    let error = bed
        .renegotiate(&answered.model, "answer", &answer)
        .unwrap_err();
    assert_eq!(error, NegotiationError::NoOfferOutstanding);
    assert_eq!(
        (error.status(), error.code().as_str()),
        (406, "invalid_session_description")
    );
}

#[test]
fn an_answer_must_be_to_our_offer() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0"), (1, "1")]);
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let short = join(&split(&answer)[..2]);
    for (text, expected) in [
        (
            short,
            "the answer has 1 media sections, but the offer had 2",
        ),
        (
            answer.replace("a=mid:1", "a=mid:7"),
            "media section 1 of the answer is audio with a=mid:7",
        ),
        (
            answer.replace("m=audio", "m=video"),
            "media section 1 of the answer is video",
        ),
        (
            answer.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
            "no fingerprint",
        ),
        (
            answer.replace("a=ice-", "a=x-"),
            "SDP contains no ice-ufrag",
        ),
    ] {
        let error = bed
            .renegotiate(&offered.model, "answer", &text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Nothing of it counted.
    assert!(bed.renegotiate(&offered.model, "answer", &answer).is_ok());
}

#[test]
fn an_answer_does_not_restart_ice() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let (_, answered) = bed.pull_and_answer(&model, &[(1, "0")]);
    let offered = bed.pull(&answered.model, &[(1, "0")]);
    let answer = answer_to(&sdp(&offered), |_, _| {}).replace("Clnt", "Other");
    let error = bed
        .renegotiate(&offered.model, "answer", &answer)
        .unwrap_err();
    assert!(error.to_string().contains("a=ice-ufrag"), "{error}");
}
