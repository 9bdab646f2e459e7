//! Shape B: tracks by our offer, answered by `renegotiate`.

use shared::protocol::{Codec, Extension, Hints, LayerSelection, Ordering, Rid};

use super::checker::Numbers;
use super::*;

#[test]
fn a_fresh_pull_session_counts_its_mids_from_0() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let model = bed.session(2);
    let plan = bed.pull(&model, &[(1, "2"), (1, "0"), (1, "1")]);
    assert_eq!(mids(&plan), ["0", "1", "2"]);
    assert_eq!(plan.renegotiation, Renegotiation::Needed);
    let offer = sdp(&plan);
    assert!(has(&offer, "0", "a=sendonly") && has(&offer, "0", "a=setup:actpass"));
    assert!(plan.changes.is_empty() && plan.model.has_local_offer());
    // Trap 5: the pair is echoed.
    assert_eq!(plan.tracks[0].session_id, Some(id(1).to_string()));
    assert_eq!(plan.tracks[0].track_name.as_deref(), Some("2"));
}

#[test]
fn what_is_pulled_begins_with_the_answer() {
    let mut bed = Bed::new();
    let publisher = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let model = bed.session(2);
    let (offered, answered) = bed.pull_and_answer(&model, &[(1, "0"), (1, "1")]);
    assert!(matches!(answered.changes[0], Change::SetRemote(_)));
    let subscribes = subscribes(&answered);
    let video = subscribes[0];
    assert_eq!(video.source, publisher.published_track("0").unwrap().id);
    assert_eq!((video.number, video.mid.as_str()), (0, "0"));
    let ssrc = |n: u32| format!("a=ssrc:{n} cname:{}", id(1));
    assert!(has(&sdp(&offered), "0", &ssrc(video.ssrc)));
    assert!(has(&sdp(&offered), "0", &ssrc(video.rtx_ssrc.unwrap())));
    let vp8 = video.codecs[0];
    assert_eq!(
        (vp8.source_payload_type, vp8.payload_type, vp8.codec),
        (96, 96, Codec::Vp8)
    );
    assert_eq!(vp8.rtx_payload_type, Some(97));
    assert!(
        video
            .extensions
            .iter()
            .any(|known| known.extension == Extension::Mid)
    );
    let hop_by_hop = [Extension::Mid, Extension::TransportWideSequenceNumber];
    let is_ours = |e: Extension| hop_by_hop.contains(&e) || e.is_end_to_end();
    assert!(
        video
            .extensions
            .iter()
            .all(|known| is_ours(known.extension))
    );
    assert_eq!(subscribes[1].rtx_ssrc, None);
    assert!(!answered.model.has_local_offer());
}

#[test]
fn subscribers_are_asked_to_tell_when_packets_came() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offer = sdp(&bed.pull(&model, &[(1, "0")]));
    assert!(!offer.contains("goog-remb"));
    assert!(has(
        &offer,
        "0",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    ));
    for name in ["nack", "nack pli", "ccm fir", "transport-cc"] {
        assert!(has(&offer, "0", &format!("a=rtcp-fb:96 {name}")));
    }
}

#[test]
fn who_does_not_tell_when_packets_came_gets_no_numbers_to_tell_it_by() {
    let numbered = |keep: bool| {
        let mut bed = Bed::new();
        bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
        let model = bed.session(2);
        let offered = bed.pull(&model, &[(1, "0")]);
        let answer = answer_to(&sdp(&offered), |_, lines| {
            lines.retain(|line| keep || !line.ends_with(" transport-cc"));
        });
        let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
        let wanted = Extension::TransportWideSequenceNumber;
        let mut extensions = subscribes(&answered)[0].extensions.iter();
        extensions.any(|known| known.extension == wanted)
    };
    assert!(numbered(true) && !numbered(false));
}

#[test]
fn another_publishers_numbers_are_mapped_to_those_of_the_session() {
    // Firefox sends VP8 as 120 and Opus as 109; the subscriber knows them as 96 and 111.
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    bed.publisher(2, FIREFOX, &["0", "1"]);
    let model = bed.session(3);
    let (first, answered) = bed.pull_and_answer(&model, &[(1, "0"), (1, "1")]);
    let (second, answered) = bed.pull_and_answer(&answered.model, &[(2, "0"), (2, "1")]);
    let mut numbers = Numbers::default();
    numbers.take(&sdp(&first));
    numbers.take(&sdp(&second));
    let map = |subscribe: &SubscribeParameters| {
        let first = subscribe.codecs[0];
        (
            first.source_payload_type,
            first.payload_type,
            first.rtx_payload_type,
        )
    };
    let subscribes = subscribes(&answered);
    assert_eq!(map(subscribes[0]), (109, 111, None));
    assert_eq!(map(subscribes[1]), (120, 96, Some(97)));
    // H264 42e01f in mode 1 is 126 there and 108 here.
    let h264 = subscribes[1]
        .codecs
        .iter()
        .find(|mapping| mapping.source_payload_type == 126);
    assert_eq!(h264.map(|mapping| mapping.payload_type), Some(108));
}

#[test]
fn a_session_that_pushed_first_keeps_its_numbers_in_pulls() {
    // Traps 1 and 2, with the client that they were found with.
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["0", "1"]);
    let model = bed.session(2);
    let pushed = bed.push(
        &model,
        CHROME_VIDEO_FIRST,
        &[("0", "a"), ("1", "b"), ("2", "c")],
    );
    let (offered, _) = bed.pull_and_answer_as(&pushed.model, &[(1, "0"), (1, "1")]);
    let mut numbers = Numbers::default();
    numbers.take(CHROME_VIDEO_FIRST);
    numbers.take(&sdp(&pushed));
    numbers.take(&sdp(&offered));
    assert_eq!(mids(&offered), ["3", "4"]);
    let offer = sdp(&offered);
    assert!(has(
        &offer,
        "3",
        "a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid"
    ));
    assert!(has(&offer, "4", "a=setup:passive"), "the role is settled");
    assert!(has(&offer, "0", "a=recvonly"), "what is pushed goes on");
}

#[test]
fn simulcast_goes_on_in_later_offers() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let pushed = bed.push(&model, FIREFOX, &[("1", "camera")]);
    let offer = sdp(&bed.pull(&pushed.model, &[(1, "0")]));
    assert!(has(&offer, "1", "a=simulcast:recv hi;mid;lo"));
}

#[test]
fn the_client_may_take_fewer_codecs_and_no_retransmissions() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0")]);
    let answer = answer_to(&sdp(&offered), |_, lines| {
        keep_formats(lines, &["96", "98"]);
    });
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    let subscribe = subscribes(&answered)[0];
    let numbers: Vec<u8> = subscribe
        .codecs
        .iter()
        .map(|mapping| mapping.payload_type)
        .collect();
    assert_eq!(numbers, [96, 98]);
    assert!(
        subscribe
            .codecs
            .iter()
            .all(|mapping| mapping.rtx_payload_type.is_none())
    );
    assert_eq!(subscribe.rtx_ssrc, None);
    // And later offers say so.
    let offer = sdp(&bed.pull(&answered.model, &[(1, "0")]));
    assert!(section(&offer, "0")[0].ends_with(" 96 98"));
}

#[test]
fn a_client_without_the_codec_that_is_sent_gets_nothing() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0"), (1, "1")]);
    let answer = answer_to(&sdp(&offered), |mid, lines| {
        if mid == "0" {
            keep_formats(lines, &["98"]);
        }
    });
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    assert_eq!(subscribes(&answered).len(), 1);
    assert_eq!(answered.model.tracks().len(), 1);
}

#[test]
fn sections_that_the_client_refuses_are_used_again() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0"), (1, "1")]);
    let answer = stopped(&answer_to(&sdp(&offered), |_, _| {}), "1");
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    assert_eq!(subscribes(&answered).len(), 1);
    let again = bed.pull(&answered.model, &[(1, "0")]);
    assert_eq!(mids(&again), ["2"]);
    assert_eq!(split(&sdp(&again)).len(), 3, "no section was added");
}

#[test]
fn items_fail_one_by_one() {
    let mut bed = Bed::new();
    bed.publisher(1, CHROME_VIDEO_FIRST, &["0"]);
    bed.published
        .insert((id(1), "silent".to_owned()), Lookup::Empty);
    let model = bed.session(2);
    let mut tracks = vec![
        remote(1, "silent"),
        remote(1, "0"),
        remote(9, "x"),
        remote(1, "0"),
    ];
    tracks[3].session_id = Some("not a session id".to_owned());
    let plan = bed
        .add(
            &model,
            &AddTracks {
                tracks,
                ..AddTracks::default()
            },
        )
        .unwrap();
    let missing = Some("not_found_track_error");
    assert_eq!(
        errors(&plan),
        [Some("empty_track_error"), None, missing, missing]
    );
    assert_eq!(mids(&plan), ["", "0", "", ""]);
    assert_eq!(
        plan.tracks[3].session_id.as_deref(),
        Some("not a session id")
    );
}

#[test]
fn if_every_item_fails_there_is_no_offer() {
    let mut bed = Bed::new();
    let model = bed.session(2);
    let plan = bed.pull(&model, &[(9, "x")]);
    assert_eq!(plan.renegotiation, Renegotiation::NotNeeded);
    assert!(plan.description.is_none() && plan.changes.is_empty());
    assert_eq!(plan.model, model);
}

#[test]
fn a_wish_for_a_layer_is_passed_on_and_echoed() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["1"]);
    let model = bed.session(2);
    let wish = |rid: &str| SimulcastRequest {
        preferred_rid: Some(rid.to_owned()),
        priority_ordering: Some("asciibetical".to_owned()),
        rid_not_available: None,
    };
    let pull = |rid: Option<&str>| TrackRequest {
        simulcast: rid.map(wish),
        ..remote(1, "1")
    };
    let tracks = vec![pull(Some("lo")), pull(Some("")), pull(None)];
    let offered = bed
        .add(
            &model,
            &AddTracks {
                tracks,
                ..AddTracks::default()
            },
        )
        .unwrap();
    assert_eq!(offered.tracks[0].simulcast, Some(wish("lo")));
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    let selections: Vec<_> = subscribes(&answered).iter().map(|s| s.selection).collect();
    let of = |preferred_rid, priority_ordering, rid_not_available| LayerSelection {
        preferred_rid,
        priority_ordering,
        rid_not_available,
    };
    let lo = Rid::from("lo").ok();
    assert_eq!(
        selections,
        [
            of(lo, Ordering::Asciibetical, Ordering::None),
            of(None, Ordering::Asciibetical, Ordering::None),
            of(None, Ordering::Asciibetical, Ordering::Asciibetical),
        ]
    );
}

#[test]
fn hints_are_passed_on_and_echoed() {
    let mut bed = Bed::new();
    bed.publisher(1, FIREFOX, &["1"]);
    let model = bed.session(2);
    let pull = |priority, max_height| TrackRequest {
        priority,
        max_height,
        ..remote(1, "1")
    };
    let tracks = vec![pull(Some(9), Some(360)), pull(None, None)];
    let request = AddTracks {
        tracks,
        ..AddTracks::default()
    };
    let offered = bed.add(&model, &request).unwrap();
    let echoed = HintsRequest {
        priority: Some(9),
        max_height: Some(360),
    };
    assert_eq!(offered.tracks[0].hints, echoed);
    assert_eq!(offered.tracks[1].hints, HintsRequest::default());
    let answer = answer_to(&sdp(&offered), |_, _| {});
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    let hints: Vec<_> = subscribes(&answered).iter().map(|s| s.hints).collect();
    let expected = Hints {
        priority: 9,
        max_height: Some(360),
    };
    assert_eq!(hints, [expected, Hints::default()]);
}

#[test]
fn a_session_may_pull_what_it_pushes() {
    let mut bed = Bed::new();
    let pushed = bed.publisher(1, CHROME_VIDEO_FIRST, &["0", "1", "2"]);
    let (_, answered) = bed.pull_and_answer_as(&pushed, &[(1, "0")]);
    assert_eq!(
        subscribes(&answered)[0].source,
        pushed.published_track("0").unwrap().id
    );
}

/// A client that takes only these payload types.
fn keep_formats(lines: &mut Vec<String>, kept: &[&str]) {
    let words: Vec<&str> = lines[0].split(' ').take(3).collect();
    lines[0] = format!("{} {}", words.join(" "), kept.join(" "));
    lines.retain(|line| {
        let number = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix)?.split(' ').next());
        number.is_none_or(|number| kept.contains(&number))
    });
}

impl Bed {
    /// As [`Bed::pull_and_answer`], by the client whose offer was Chrome's golden one.
    pub(super) fn pull_and_answer_as(
        &mut self,
        model: &SessionModel,
        tracks: &[(u8, &str)],
    ) -> (Plan, Plan) {
        let offered = self.pull(model, tracks);
        let answer = as_chrome(&answer_to(&sdp(&offered), |_, _| {}));
        let answered = self.renegotiate(&offered.model, "answer", &answer).unwrap();
        (offered, answered)
    }
}

/// Puts the credentials of Chrome's golden offer into an answer.
pub(super) fn as_chrome(answer: &str) -> String {
    let golden = split(CHROME_VIDEO_FIRST).swap_remove(1);
    let of = |prefix: &str| {
        golden
            .iter()
            .find(|line| line.starts_with(prefix))
            .unwrap()
            .clone()
    };
    let prefixes = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"];
    let replace = |line: &str| match prefixes.iter().find(|prefix| line.starts_with(**prefix)) {
        Some(prefix) => of(prefix),
        None => line.to_owned(),
    };
    answer
        .lines()
        .map(|line| format!("{}\r\n", replace(line)))
        .collect()
}
