//! RED (RFC 2198) and the in-band FEC of Opus.

use super::*;

/// Chrome, told to prefer RED (`setCodecPreferences`).
fn preferring_red() -> String {
    edit(CHROME_AUDIO_FIRST, "0", |lines| {
        lines[0] = lines[0].replace(" 111 63 ", " 63 111 ");
    })
}

/// The payload types of the publisher's RED and Opus, and what they become.
fn mappings(subscribe: &SubscribeParameters) -> Vec<(u8, u8, Codec)> {
    let codecs = subscribe.codecs.iter();
    let wanted = codecs.filter(|mapping| mapping.codec.clock_rate() == 48_000);
    wanted
        .map(|mapping| {
            (
                mapping.source_payload_type,
                mapping.payload_type,
                mapping.codec,
            )
        })
        .collect()
}

/// Without RED, as Firefox answers.
fn refuse_red(lines: &mut Vec<String>) {
    lines[0] = lines[0].replace(" 63", "");
    lines.retain(|line| !line.contains(":63 "));
}

#[test]
fn a_publisher_that_prefers_red_is_answered_in_its_order() {
    let mut bed = Bed::new();
    let model = bed.session(1);
    let answer = sdp(&bed.push(&model, &preferring_red(), &[("0", "mic")]));
    assert!(
        section(&answer, "0")[0].ends_with(" 63 111 9 0 8"),
        "{answer}"
    );
    assert!(has(&answer, "0", "a=rtpmap:63 red/48000/2"));
    assert!(has(&answer, "0", "a=fmtp:63 111/111"));
    assert!(has(&answer, "0", "a=fmtp:111 minptime=10;useinbandfec=1"));
}

#[test]
fn red_is_offered_with_the_number_of_the_opus_in_it() {
    let mut bed = Bed::new();
    bed.publisher(1, &preferring_red(), &["0"]);
    let model = bed.session(2);
    let (offered, answered) = bed.pull_and_answer(&model, &[(1, "0")]);
    let offer = sdp(&offered);
    assert!(has(&offer, "0", "a=fmtp:63 111/111"), "{offer}");
    assert!(has(&offer, "0", "a=fmtp:111 minptime=10;useinbandfec=1"));
    let expected = [(63, 63, Codec::Red), (111, 111, Codec::Opus)];
    assert_eq!(mappings(subscribes(&answered)[0]), expected);
}

#[test]
fn who_refuses_red_gets_the_opus_in_it() {
    let mut bed = Bed::new();
    bed.publisher(1, &preferring_red(), &["0"]);
    let model = bed.session(2);
    let offered = bed.pull(&model, &[(1, "0")]);
    let answer = answer_to(&sdp(&offered), |_, lines| refuse_red(lines));
    let answered = bed.renegotiate(&offered.model, "answer", &answer).unwrap();
    let expected = [(63, 111, Codec::Opus), (111, 111, Codec::Opus)];
    assert_eq!(mappings(subscribes(&answered)[0]), expected);
}

#[test]
fn who_calls_opus_otherwise_is_offered_no_red() {
    // The blocks in a packet say 111, which means nothing to this subscriber.
    let mut bed = Bed::new();
    bed.publisher(1, &preferring_red(), &["0"]);
    bed.publisher(2, FIREFOX, &["0"]);
    let model = bed.session(3);
    let (_, first) = bed.pull_and_answer(&model, &[(2, "0")]);
    let (offered, answered) = bed.pull_and_answer(&first.model, &[(1, "0")]);
    assert!(!sdp(&offered).contains("red/48000"));
    let expected = [(63, 109, Codec::Opus), (111, 109, Codec::Opus)];
    assert_eq!(mappings(subscribes(&answered)[0]), expected);
}

#[test]
fn a_subscriber_that_offers_red_gets_it() {
    let mut bed = Bed::new();
    bed.publisher(1, &preferring_red(), &["0"]);
    let model = bed.session(2);
    let request = |sdp: &str| AddTracks {
        description: offer(&with_direction(sdp, "0", "recvonly")),
        tracks: vec![remote(1, "0")],
        ..AddTracks::default()
    };
    let plan = bed.add(&model, &request(CHROME_AUDIO_FIRST)).unwrap();
    let expected = [(63, 63, Codec::Red), (111, 111, Codec::Opus)];
    assert_eq!(mappings(subscribes(&plan)[0]), expected);
    assert!(has(&sdp(&plan), "0", "a=fmtp:63 111/111"));
    let without = edit(CHROME_AUDIO_FIRST, "0", refuse_red);
    let plan = bed.add(&model, &request(&without)).unwrap();
    let expected = [(63, 111, Codec::Opus), (111, 111, Codec::Opus)];
    assert_eq!(mappings(subscribes(&plan)[0]), expected);
}

#[test]
fn who_sends_plain_opus_sends_it_to_those_that_prefer_red_too() {
    let mut bed = Bed::new();
    let plain = edit(CHROME_AUDIO_FIRST, "0", refuse_red);
    bed.publisher(1, &plain, &["0"]);
    let model = bed.session(2);
    let request = AddTracks {
        description: offer(&with_direction(&preferring_red(), "0", "recvonly")),
        tracks: vec![remote(1, "0")],
        ..AddTracks::default()
    };
    let plan = bed.add(&model, &request).unwrap();
    assert_eq!(mappings(subscribes(&plan)[0]), [(111, 111, Codec::Opus)]);
}

#[test]
fn red_of_anything_but_opus_is_not_taken() {
    for blocks in ["9/9", "111/9", "126/126"] {
        let mut bed = Bed::new();
        let model = bed.session(1);
        let strange = edit(&preferring_red(), "0", |lines| {
            for line in lines {
                *line = line.replace("fmtp:63 111/111", &format!("fmtp:63 {blocks}"));
            }
        });
        let answer = sdp(&bed.push(&model, &strange, &[("0", "mic")]));
        assert!(!answer.contains("red/48000"), "{blocks}: {answer}");
    }
}
