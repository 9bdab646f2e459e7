//! `tracks/close`.

use super::pull::as_chrome;
use super::*;

/// A session of three pulls, and the client's next offer.
fn puller(bed: &mut Bed) -> (SessionModel, String) {
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0"), (1, "1"), (1, "2")]);
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    (answered.model, offer_from(&answer))
}

#[test]
fn a_batch_is_closed_though_only_one_transceiver_was_stopped() {
    // Trap 7: partytracks stops one of many.
    let mut bed = Bed::new();
    let (model, offer) = puller(&mut bed);
    let plan = bed.close(&model, &["0", "1", "2"], Some(&stopped(&offer, "0")));
    assert_eq!(errors(&plan), [None, None, None]);
    assert_eq!(mids(&plan), ["0", "1", "2"]);
    let numbers = [0, 1, 2].map(|number| Change::Unsubscribe { number });
    assert_eq!(plan.changes, numbers);
    let answer = sdp(&plan);
    assert!(section(&answer, "0")[0].starts_with("m=video 0 "));
    assert!(has(&answer, "1", "a=inactive") && has(&answer, "2", "a=inactive"));
    assert!(plan.model.tracks().is_empty());
}

#[test]
fn a_transceiver_that_was_stopped_is_closed_though_it_was_not_listed() {
    let mut bed = Bed::new();
    let (model, offer) = puller(&mut bed);
    let plan = bed.close(&model, &["1"], Some(&stopped(&offer, "0")));
    assert_eq!(plan.model.tracks().len(), 1);
    assert_eq!(plan.changes.len(), 2);
}

#[test]
fn a_track_that_is_not_there_is_an_item_error_and_the_answer_comes() {
    let mut bed = Bed::new();
    let (model, offer) = puller(&mut bed);
    let plan = bed.close(&model, &["7", "x"], Some(&offer));
    assert_eq!(
        errors(&plan),
        [Some("close_track_error"), Some("close_track_error")]
    );
    assert_eq!(
        plan.tracks[0]
            .error
            .as_ref()
            .map(|error| error.description.as_str()),
        Some("Track doesn't exist or was already closed")
    );
    assert!(plan.description.is_some() && plan.changes.is_empty());
    let twice = bed.close(&model, &["0", "0"], None);
    assert_eq!(errors(&twice), [None, Some("close_track_error")]);
}

#[test]
fn a_forced_close_needs_no_sdp_and_shows_in_the_next_offer() {
    let mut bed = Bed::new();
    let (model, _) = puller(&mut bed);
    let plan = bed.close(&model, &["1"], None);
    assert!(plan.description.is_none());
    assert_eq!(plan.changes, [Change::Unsubscribe { number: 1 }]);
    // The client still takes it for active, so that a pull put there would give no track event.
    let again = bed.pull(&plan.model, &[(1, "1")]);
    assert_eq!(mids(&again), ["3"]);
    assert!(has(&sdp(&again), "1", "a=inactive"));
    // Once the client knows, it is used again.
    let answer = answer_to(&sdp(&again), |_, _| {});
    let answered = bed.renegotiate(&again.model, "answer", &answer).unwrap();
    let third = bed.pull(&answered.model, &[(1, "1")]);
    assert_eq!(mids(&third), ["1"]);
    assert!(has(&sdp(&third), "1", "a=sendonly"));
}

#[test]
fn media_sections_are_recycled_so_that_the_sdp_stays_bounded() {
    let mut bed = Bed::new();
    let (mut model, mut offer) = puller(&mut bed);
    for turn in 0..20 {
        let closed = bed.close(&model, &["0", "1", "2"], Some(&offer));
        let (offered, answered) =
            bed.pull_and_answer(&closed.model, &[(1, "0"), (1, "1"), (1, "2")]);
        assert_eq!(mids(&offered), ["0", "1", "2"], "turn {turn}");
        assert_eq!(subscribes(&answered).len(), 3);
        offer = offer_from(&answer_to(&sdp(&offered), |_, _| {}));
        model = answered.model;
    }
    assert_eq!(split(&offer).len(), 4);
}

#[test]
fn stopped_sections_are_recycled_with_a_new_mid() {
    // JSEP §5.2.2.
    let mut bed = Bed::new();
    let (model, offer) = puller(&mut bed);
    let closed = bed.close(&model, &["1"], Some(&stopped(&offer, "1")));
    let (offered, _) = bed.pull_and_answer(&closed.model, &[(1, "0")]);
    assert_eq!(mids(&offered), ["3"]);
    let parts = split(&sdp(&offered));
    assert_eq!((parts.len(), mid_of(&parts[2])), (4, "3".to_owned()));
    assert!(
        parts[2][0].starts_with("m=video 5000 "),
        "the kind may change: {}",
        parts[2][0]
    );
}

#[test]
fn a_new_section_never_comes_before_the_one_that_describes_the_transport() {
    // Chrome 156 makes a new transport for it, with new ICE credentials in the middle of a call.
    let mut bed = Bed::new();
    let (model, offer) = puller(&mut bed);
    let closed = bed.close(&model, &["0"], Some(&stopped(&offer, "0")));
    let (offered, _) = bed.pull_and_answer(&closed.model, &[(1, "1")]);
    let parts = split(&sdp(&offered));
    assert!(
        parts[0].contains(&"a=group:BUNDLE 1 2 3".to_owned()),
        "{:#?}",
        parts[0]
    );
    assert!(parts[1][0].starts_with("m=video 0 ") && parts.len() == 5);
}

#[test]
fn the_order_of_the_clients_group_is_kept_in_the_answer() {
    // RFC 8843 §7.3.
    let mut bed = Bed::new();
    let model = bed.session(1);
    let text = CHROME_VIDEO_FIRST.replace("BUNDLE 0 1 2", "BUNDLE 2 0 1");
    let plan = bed.push(&model, &text, &[("0", "a")]);
    assert!(sdp(&plan).contains("a=group:BUNDLE 2 0 1\r\n"));
    // And our own offers begin with the same section.
    bed.publisher(3, CHROME_VIDEO_FIRST, &["1"]);
    let offered = bed.pull(&plan.model, &[(3, "1")]);
    assert!(sdp(&offered).contains("a=group:BUNDLE 2 0 1 3\r\n"));
}

#[test]
fn a_client_recycles_a_stopped_section_too() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let offer = stopped(CHROME_VIDEO_FIRST, "0");
    let closed = bed.close(&model, &["0"], Some(&offer));
    let recycled = CHROME_VIDEO_FIRST
        .replace("BUNDLE 0 1", "BUNDLE 5 1")
        .replace("a=mid:0", "a=mid:5");
    let plan = bed.push(&closed.model, &recycled, &[("5", "new")]);
    assert_eq!(errors(&plan), [None]);
    let next = bed.pull(&plan.model, &[(1, "1")]);
    assert_eq!(
        mids(&next),
        ["6"],
        "ours come after all that the client has used"
    );
}

#[test]
fn a_section_that_the_client_sends_in_is_not_given_to_a_pull() {
    // Its transceiver would answer `inactive` again.
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    bed.publisher(2, CHROME_VIDEO_FIRST, &["0"]);
    let closed = bed.close(&model, &["0"], Some(CHROME_VIDEO_FIRST));
    assert!(has(&sdp(&closed), "0", "a=inactive"));
    let plan = bed.pull(&closed.model, &[(2, "0")]);
    assert_eq!(mids(&plan), ["3"]);
}

#[test]
fn a_new_name_on_a_closed_mid_is_a_new_publication() {
    // The live service answers `empty_track_error` to subscribers of such a track.
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let closed = bed.close(&model, &["0"], None);
    assert_eq!(closed.changes, [Change::Unpublish { number: 0 }]);
    let plan = bed.push(&closed.model, CHROME_VIDEO_FIRST, &[("0", "again")]);
    let publish = publishes(&plan)[0];
    assert_eq!((publish.number, publish.mid.as_str()), (3, "0"));
    assert_eq!(publish.layers[0].ssrc, Some(1_975_533_746));
    assert!(has(&sdp(&plan), "0", "a=recvonly"));
}

#[test]
fn what_was_closed_stays_closed_in_later_offers_of_the_client() {
    let mut bed = Bed::new();
    let model = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let closed = bed.close(&model, &["0"], Some(CHROME_VIDEO_FIRST));
    let plan = bed
        .renegotiate(&closed.model, "offer", CHROME_VIDEO_FIRST)
        .unwrap();
    assert!(has(&sdp(&plan), "0", "a=inactive") && has(&sdp(&plan), "1", "a=recvonly"));
}

#[test]
fn an_offered_track_can_be_closed_before_its_answer() {
    let mut bed = Bed::new();
    let pushed = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let offered = bed.pull(&pushed, &[(1, "0"), (1, "1")]);
    let closed = bed.close(&offered.model, &["3"], None);
    assert!(
        closed.changes.is_empty(),
        "the data plane has not heard of it"
    );
    let answer = as_chrome(&answer_to(&sdp(&offered), |_, _| {}));
    let answered = bed.renegotiate(&closed.model, "answer", &answer).unwrap();
    let subscribed: Vec<_> = subscribes(&answered)
        .iter()
        .map(|s| s.mid.to_string())
        .collect();
    assert_eq!(subscribed, ["4"]);
}

#[test]
fn when_everything_was_stopped_the_transport_is_kept() {
    let mut bed = Bed::new();
    let (model, mut offer) = puller(&mut bed);
    for mid in ["0", "1", "2"] {
        offer = stopped(&offer, mid);
    }
    let plan = bed.close(&model, &["0", "1", "2"], Some(&offer));
    assert!(plan.model.has_transport());
    assert_eq!(plan.changes.len(), 3);
}
