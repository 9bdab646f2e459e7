//! The rest of §6 of the reference, and what the live service gets wrong (§4).

use super::checker::Numbers;
use super::*;
use crate::sdp::tests::CHROME_AUDIO_FIRST;

#[test]
fn ids_of_an_audio_first_and_of_a_video_first_client_are_both_kept() {
    // Trap 1: audio-first says mid=4 and audio level=1, video-first 9 and 14.
    for (golden, mid_id, mids) in [
        (CHROME_AUDIO_FIRST, 4, ["0", "1"]),
        (CHROME_VIDEO_FIRST, 9, ["0", "1"]),
    ] {
        let mut bed = Bed::new();
        bed.publisher(1, FIREFOX, &["0", "1"]);
        let model = bed.publisher(2, golden, &mids);
        let offered = bed.pull(&model, &[(1, "0"), (1, "1")]);
        let offer = sdp(&offered);
        let mut numbers = Numbers::default();
        numbers.take(golden);
        numbers.take(&offer);
        for lines in &split(&offer)[1..] {
            let line = format!("a=extmap:{mid_id} urn:ietf:params:rtp-hdrext:sdes:mid");
            assert!(lines.contains(&line), "{lines:#?}");
        }
    }
}

#[test]
fn a_pull_first_session_keeps_our_ids_when_it_pushes_later() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    let model = bed.session(2);
    let (offered, answered) = bed.pull_and_answer(&model, &[(1, "1")]);
    let offer = sdp(&offered);
    assert!(has(
        &offer,
        "0",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"
    ));
    assert!(has(
        &offer,
        "0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    ));
    // The client pushes with the ids that it has learnt.
    let answer = answer_to(&offer, |_, _| {});
    let mut parts = split(&offer_from(&answer));
    parts[0]
        .iter_mut()
        .for_each(|line| *line = line.replace("BUNDLE 0", "BUNDLE 0 5"));
    let mut sending = parts[1].clone();
    set_direction(&mut sending, "sendonly");
    sending
        .iter_mut()
        .for_each(|line| *line = line.replace("a=mid:0", "a=mid:5"));
    parts.push(sending);
    let pushed = bed.push(&answered.model, &join(&parts), &[("5", "mic")]);
    let (again, _) = bed.pull_and_answer(&pushed.model, &[(1, "0")]);
    let mut numbers = Numbers::default();
    for text in [&offer, &join(&parts), &sdp(&pushed), &sdp(&again)] {
        numbers.take(text);
    }
    assert_eq!(mids(&again), ["6"]);
}

#[test]
fn a_foreign_extension_id_is_never_given_another_meaning() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    // All ids but 12 are taken by things that we do not know.
    let mut text = FIREFOX.to_owned();
    for id in [10, 11, 13, 14] {
        text = edit(&text, "0", |lines| {
            lines.push(format!("a=extmap:{id} urn:x:{id}"));
        });
    }
    let model = bed.publisher(2, &text, &["0"]);
    let offer = sdp(&bed.pull(&model, &[(1, "0")]));
    let mut numbers = Numbers::default();
    numbers.take(&text);
    numbers.take(&offer);
    // Video orientation got 12; the others had to be left out.
    assert!(
        has(&offer, "2", "a=extmap:12 urn:3gpp:video-orientation"),
        "{offer}"
    );
}

#[test]
fn a_payload_type_that_changes_its_meaning_is_left_out_of_the_answer() {
    // Trap 2, broken by the client: 96 was VP8 and becomes AV1 in another section.
    let mut bed = Bed::new();
    let model = bed.session(1);
    let text = edit(CHROME_VIDEO_FIRST, "2", |lines| {
        for line in lines.iter_mut() {
            *line = line.replace("a=rtpmap:96 VP8", "a=rtpmap:96 AV1");
        }
    });
    let answer = sdp(&bed.push(&model, &text, &[("0", "a"), ("2", "c")]));
    assert!(has(&answer, "0", "a=rtpmap:96 VP8/90000"));
    assert!(
        !section(&answer, "2")
            .iter()
            .any(|line| line.starts_with("a=rtpmap:96 "))
    );
}

#[test]
fn retransmissions_keep_their_apt_when_numbers_differ() {
    // The live service renumbers VP8 and forgets `apt` (§2.5); the checker looks at every one.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.publisher(2, FIREFOX, &["0", "1"]);
    let offer = sdp(&bed.pull(&model, &[(1, "0")]));
    assert!(has(&offer, "2", "a=rtpmap:120 VP8/90000") && has(&offer, "2", "a=fmtp:124 apt=120"));
}

#[test]
fn an_answer_may_hold_no_candidates_and_lack_the_last_newline() {
    // Trap 4, and §2.2.5.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0")]);
    let answer = answer_to(&sdp(&offered), |_, _| {});
    assert!(!answer.contains("a=candidate"));
    assert!(
        bed.renegotiate(&offered.model, "answer", answer.trim_end())
            .is_ok()
    );
}

#[test]
fn host_names_in_candidates_are_left_alone() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let candidate = "a=candidate:1 1 udp 2113937151 internal.example 22 typ host";
    let text = edit(CHROME_VIDEO_FIRST, "0", |lines| {
        lines.push(candidate.to_owned());
    });
    let plan = bed.push(&model, &text, &[("0", "a")]);
    assert!(!format!("{:?}{}", plan.changes, sdp(&plan)).contains("internal.example"));
}

#[test]
fn nothing_of_a_name_can_break_out_into_sdp() {
    let mut bed = Bed::new();
    let evil = "x\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host";
    let model = bed.session(1);
    let pushed = bed.push(&model, CHROME_VIDEO_FIRST, &[("0", evil)]);
    bed.announce(&pushed.model);
    let model = bed.session(2);
    let offer = sdp(&bed.pull(&model, &[(1, evil)]));
    assert!(!offer.contains("10.0.0.1"));
}

#[test]
fn a_kept_section_mentions_each_publisher_by_its_own_stream() {
    // Tracks of one publisher are played in step: they share the first half of msid.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    bed.publisher(3, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offer = sdp(&bed.pull(&model, &[(1, "0"), (1, "1"), (3, "0")]));
    let stream = |mid| {
        let msid = section(&offer, mid)
            .into_iter()
            .find(|line| line.starts_with("a=msid:"))
            .unwrap();
        msid.split([':', ' ']).nth(1).unwrap().to_owned()
    };
    assert_eq!(stream("0"), stream("1"));
    assert_ne!(stream("0"), stream("2"));
}
