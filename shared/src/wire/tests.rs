use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::samples::*;
use super::*;
use crate::id::{SessionId, ShardIndex};
use crate::limits::*;
use crate::protocol::*;

fn buffer() -> Vec<u8> {
    vec![0; RECORD_BYTES_MAX]
}

/// Encodes and decodes again.
fn through(request: &Request) -> Result<Request, WireError> {
    let mut buffer = buffer();
    let length = encode_request(request, &mut buffer)?;
    decode_request(&buffer[..length])
}

/// Encoding refuses it; and so does decoding, where the other side did not.
fn assert_refused(request: &Request, what: &'static str) {
    assert_eq!(
        encode_request(request, &mut buffer()),
        Err(WireError::OutOfBounds(what))
    );
    let record = postcard::to_stdvec(request).expect("encoded");
    assert_eq!(decode_request(&record), Err(WireError::OutOfBounds(what)));
}

fn assert_message_refused(message: &Message, what: &'static str) {
    assert_eq!(
        encode_message(message, &mut buffer()),
        Err(WireError::OutOfBounds(what))
    );
    let record = postcard::to_stdvec(message).expect("encoded");
    assert_eq!(decode_message(&record), Err(WireError::OutOfBounds(what)));
}

#[test]
fn every_request_comes_back_as_it_was() {
    for request in requests() {
        assert_eq!(through(&request), Ok(request));
    }
}

#[test]
fn every_message_comes_back_as_it_was() {
    let mut buffer = buffer();
    for message in messages() {
        let length = encode_message(&message, &mut buffer).expect("encoded");
        assert_eq!(decode_message(&buffer[..length]), Ok(message));
    }
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut buffer = buffer();
    for request in requests() {
        let length = encode_request(&request, &mut buffer).expect("encoded");
        buffer[length] = 0;
        assert_eq!(
            decode_request(&buffer[..=length]),
            Err(WireError::TrailingBytes)
        );
    }
    for message in messages() {
        let length = encode_message(&message, &mut buffer).expect("encoded");
        buffer[length] = 0;
        assert_eq!(
            decode_message(&buffer[..=length]),
            Err(WireError::TrailingBytes)
        );
    }
}

#[test]
fn a_record_that_is_cut_off_is_malformed() {
    let mut buffer = buffer();
    for request in requests() {
        let length = encode_request(&request, &mut buffer).expect("encoded");
        for short in 0..length {
            assert_eq!(decode_request(&buffer[..short]), Err(WireError::Malformed));
        }
    }
}

#[test]
fn a_value_that_does_not_fit_is_too_long() {
    for request in requests() {
        let length = encode_request(&request, &mut buffer()).expect("encoded");
        let mut small = vec![0; length - 1];
        assert_eq!(
            encode_request(&request, &mut small),
            Err(WireError::TooLong)
        );
    }
}

#[test]
fn the_number_of_a_malformed_request_can_be_read() {
    let mut buffer = buffer();
    let request = Request {
        id: 0x1234_5678,
        ..execute(Vec::new())
    };
    let length = encode_request(&request, &mut buffer).expect("encoded");
    let cut = &buffer[..length - 1];
    assert_eq!(decode_request(cut), Err(WireError::Malformed));
    assert_eq!(decode_request_id(cut), Some(0x1234_5678));
    assert_eq!(decode_request_id(&[]), None);
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let mut longest = credentials();
    longest.ufrag = "u".repeat(UFRAG_BYTES_MAX);
    longest.password = "p".repeat(PASSWORD_BYTES_MAX);
    let mut many = publish();
    many.codecs = vec![many.codecs[0]; CODECS_MAX];
    many.extensions = vec![
        ExtensionMapping {
            id: 255,
            ..many.extensions[0]
        };
        EXTENSIONS_MAX
    ];
    many.layers = vec![many.layers[1].clone(); LAYERS_MAX];
    let request = execute(vec![Change::Open(longest), Change::Publish(Box::new(many))]);
    assert_eq!(through(&request), Ok(request));

    let request = execute(vec![Change::Unpublish { number: 0 }; CHANGES_MAX]);
    assert_eq!(through(&request), Ok(request));
    let model = Some(vec![0; MODEL_BYTES_MAX]);
    let command = Command::Execute {
        session: session(1),
        changes: Vec::new(),
        model,
    };
    let request = Request {
        id: 1,
        deadline_ns: 1,
        command,
    };
    assert_eq!(through(&request), Ok(request));
}

#[test]
fn too_many_changes_are_refused() {
    let changes = vec![Change::Unpublish { number: 0 }; CHANGES_MAX + 1];
    assert_refused(&execute(changes), "changes");
}

#[test]
fn a_model_that_is_too_long_is_refused() {
    let model = Some(vec![0; MODEL_BYTES_MAX + 1]);
    let command = Command::Execute {
        session: session(1),
        changes: Vec::new(),
        model,
    };
    assert_refused(
        &Request {
            id: 1,
            deadline_ns: 1,
            command,
        },
        "model",
    );
}

/// RFC 8839 §5.4.
#[test]
fn ice_credentials_keep_to_their_lengths() {
    for length in [0, 3, 257] {
        let ice = IceCredentials {
            ufrag: "u".repeat(length),
            ..credentials()
        };
        assert_refused(&execute(vec![Change::Open(ice.clone())]), "ufrag");
        let change = Change::RestartIce {
            local: credentials(),
            remote: ice,
        };
        assert_refused(&execute(vec![change]), "ufrag");
    }
    for length in [0, 21, 257] {
        let ice = IceCredentials {
            password: "p".repeat(length),
            ..credentials()
        };
        assert_refused(&execute(vec![Change::Open(ice.clone())]), "password");
        let change = Change::SetRemote(RemoteTransport { ice, ..remote() });
        assert_refused(&execute(vec![change]), "password");
    }
}

#[test]
fn fingerprints_keep_to_their_number_and_length() {
    let with = |fingerprints| {
        execute(vec![Change::SetRemote(RemoteTransport {
            fingerprints,
            ..remote()
        })])
    };
    assert_refused(&with(Vec::new()), "fingerprints");
    let one = remote().fingerprints.swap_remove(0);
    assert_refused(
        &with(vec![one.clone(); FINGERPRINTS_MAX + 1]),
        "fingerprints",
    );
    for algorithm in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        assert_refused(
            &with(vec![Fingerprint {
                algorithm,
                ..one.clone()
            }]),
            "fingerprint",
        );
    }
}

#[test]
fn publications_keep_to_their_bounds() {
    type Break = fn(&mut PublishParameters);
    let breaks: [(Break, &str); 9] = [
        (|p| p.codecs.clear(), "codecs"),
        (|p| p.codecs = vec![p.codecs[0]; CODECS_MAX + 1], "codecs"),
        (|p| p.codecs[0].payload_type = 128, "payload type"),
        (|p| p.codecs[0].rtx_payload_type = Some(128), "payload type"),
        (
            |p| p.extensions = vec![p.extensions[0]; EXTENSIONS_MAX + 1],
            "extensions",
        ),
        (|p| p.extensions[0].id = 0, "header extension id"),
        (|p| p.layers.clear(), "layers"),
        (
            |p| p.layers = vec![p.layers[0].clone(); LAYERS_MAX + 1],
            "layers",
        ),
        (
            |p| {
                let codec = PublishedCodec {
                    payload_type: 255,
                    ..p.codecs[0]
                };
                p.codecs.push(codec);
            },
            "payload type",
        ),
    ];
    for (change, what) in breaks {
        let mut parameters = publish();
        change(&mut parameters);
        assert_refused(&execute(vec![Change::Publish(Box::new(parameters))]), what);
    }
}

#[test]
fn subscriptions_keep_to_their_bounds() {
    let mapped = ExtensionMapping {
        id: 0,
        extension: Extension::AudioLevel,
    };
    type Break = fn(&mut SubscribeParameters, ExtensionMapping);
    let breaks: [(Break, &str); 5] = [
        (|s, _| s.codecs = vec![mapping(); CODECS_MAX + 1], "codecs"),
        (|s, _| s.codecs[0].source_payload_type = 128, "payload type"),
        (|s, _| s.codecs[0].payload_type = 128, "payload type"),
        (
            |s, _| s.codecs[0].rtx_payload_type = Some(128),
            "payload type",
        ),
        (|s, mapped| s.extensions.push(mapped), "header extension id"),
    ];
    for (change, what) in breaks {
        let mut parameters = subscribe();
        change(&mut parameters, mapped);
        assert_refused(
            &execute(vec![Change::Subscribe(Box::new(parameters))]),
            what,
        );
    }
    let Change::Resubscribe {
        number,
        source,
        selection,
        ..
    } = resubscribe()
    else {
        unreachable!("it is one")
    };
    let codecs = vec![mapping(); CODECS_MAX + 1];
    let change = Change::Resubscribe {
        number,
        source,
        codecs,
        selection,
        hints: Hints::default(),
    };
    assert_refused(&execute(vec![change]), "codecs");
}

#[test]
fn reports_keep_to_their_bounds() {
    let many = vec![publication_report(); PUBLICATIONS_PER_SESSION_MAX + 1];
    let mut layered = publication_report();
    layered.layers = vec![layered.layers[0]; LAYERS_MAX + 1];
    for (publications, what) in [(many, "publications"), (vec![layered], "layers")] {
        let report = SessionReport {
            publications: publications.clone(),
            ..report()
        };
        assert_message_refused(&replied(Reply::Session(Box::new(report))), what);
        let statistics = SessionStatistics {
            publications,
            ..statistics()
        };
        assert_message_refused(&replied(Reply::Statistics(Box::new(statistics))), what);
    }
    let report = SessionReport {
        model: vec![0; MODEL_BYTES_MAX + 1],
        ..report()
    };
    assert_message_refused(&replied(Reply::Session(Box::new(report))), "model");
    let mut statistics = statistics();
    statistics.subscriptions = vec![statistics.subscriptions[0]; SUBSCRIPTIONS_PER_SESSION_MAX + 1];
    assert_message_refused(
        &replied(Reply::Statistics(Box::new(statistics))),
        "subscriptions",
    );
}

#[test]
fn a_length_that_a_record_only_claims_reserves_nothing() {
    // A claim of 4096 elements before 4096 bytes: postcard's own reader takes it for possible, and
    // a vector of large elements would reserve up to a mebibyte for it.
    let mut record = vec![0x80, 0x20];
    record.extend(vec![0; 4096]);
    let mut deserializer = postcard::Deserializer::from_flavor(Unhinted { rest: &record });
    let seen = serde::Deserializer::deserialize_seq(&mut deserializer, HintVisitor);
    assert_eq!(seen, Ok(None));
}

/// Gives the size hint of a sequence.
struct HintVisitor;

impl<'de> serde::de::Visitor<'de> for HintVisitor {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Option<usize>, A::Error> {
        Ok(seq.size_hint())
    }
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(record in vec(any::<u8>(), 0..600)) {
        let _ = decode_request(&record);
        let _ = decode_request_id(&record);
        let _ = decode_message(&record);
    }

    /// Nearer to the mark than bytes at random: a true record with some bytes changed.
    #[test]
    fn no_changed_bytes_make_decoding_panic(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut buffer = buffer();
        let requests = requests();
        let length = encode_request(which.get(&requests), &mut buffer).expect("encoded");
        for (at, byte) in &changes {
            buffer[at.index(length)] = *byte;
        }
        if let Ok(request) = decode_request(&buffer[..length]) {
            prop_assert!(encode_request(&request, &mut vec![0; RECORD_BYTES_MAX]).is_ok());
        }
        let messages = messages();
        let length = encode_message(which.get(&messages), &mut buffer).expect("encoded");
        for (at, byte) in &changes {
            buffer[at.index(length)] = *byte;
        }
        if let Ok(message) = decode_message(&buffer[..length]) {
            prop_assert!(encode_message(&message, &mut vec![0; RECORD_BYTES_MAX]).is_ok());
        }
    }

    #[test]
    fn numbers_and_texts_come_back_as_they_were(
        id in any::<u64>(),
        deadline_ns in any::<u64>(),
        random in any::<[u8; 12]>(),
        ufrag in "[a-zA-Z0-9+/]{4,256}",
        password in "[a-zA-Z0-9+/]{22,256}",
        number in any::<u32>(),
        ssrc in option::of(any::<u32>()),
        model in option::of(vec(any::<u8>(), 0..2000)),
    ) {
        let mut parameters = publish();
        parameters.number = number;
        parameters.layers[0].ssrc = ssrc;
        let changes = vec![
            Change::Open(IceCredentials { ufrag, password }),
            Change::Publish(Box::new(parameters)),
        ];
        let session = SessionId::new(7, ShardIndex(8), random);
        let command = Command::Execute { session, changes, model };
        let request = Request { id, deadline_ns, command };
        prop_assert_eq!(through(&request), Ok(request));
    }
}

fn largest_publications() -> Vec<PublicationReport> {
    let layer = LayerReport {
        rid: Some(largest_rid()),
        receiving: true,
        bit_rate: u64::MAX,
        packets: u64::MAX,
        bytes: u64::MAX,
        packets_lost: u64::MAX,
        jitter_us: u32::MAX,
        nacks: u32::MAX,
        keyframes: u32::MAX,
        keyframe_requests: u32::MAX,
    };
    let publication = PublicationReport {
        number: u32::MAX,
        receiving: true,
        voice: Some(VoiceReport {
            level: u8::MAX,
            speaking: true,
        }),
        layers: vec![layer; LAYERS_MAX],
    };
    vec![publication; PUBLICATIONS_PER_SESSION_MAX]
}

fn largest_rid() -> Rid {
    Rid::from(&"r".repeat(MID_BYTES_MAX)).expect("as long as a rid may be")
}

/// The data plane must be able to answer for every session that it let become what it is.
#[test]
fn the_largest_report_fits_a_record() {
    let report = SessionReport {
        publications: largest_publications(),
        model: vec![u8::MAX; MODEL_BYTES_MAX],
        ..report()
    };
    let written = encode_message(&replied(Reply::Session(Box::new(report))), &mut buffer());
    assert!(written.is_ok(), "{written:?}");
}

/// As above.
#[test]
fn the_largest_statistics_fit_a_record() {
    let place = LayerPlace {
        rid: Some(largest_rid()),
        spatial: Some(u8::MAX),
        temporal: Some(u8::MAX),
    };
    let subscription = SubscriptionReport {
        number: u32::MAX,
        sending: true,
        wanted: Some(place),
        current: Some(place),
        reason: LayerReason::NotLoudest,
        rank: Some(u16::MAX),
        awaits_keyframe: true,
        bit_rate: u64::MAX,
        packets: u64::MAX,
        bytes: u64::MAX,
        packets_lost: i32::MIN,
        fraction_lost: u8::MAX,
        round_trip_us: u32::MAX,
        jitter_us: u32::MAX,
        nacks: u32::MAX,
        plis: u32::MAX,
        firs: u32::MAX,
        retransmitted: u32::MAX,
        retransmissions_refused: u32::MAX,
        packets_dropped: u32::MAX,
    };
    let estimate = EstimateReport {
        bit_rate: u64::MAX,
        delay_based: u64::MAX,
        loss_based: u64::MAX,
        round_trip_us: u32::MAX,
        queue_delay_us: u32::MAX,
        bytes_in_flight: u64::MAX,
        application_limited: true,
    };
    let statistics = SessionStatistics {
        estimate: Some(estimate),
        publications: largest_publications(),
        subscriptions: vec![subscription; SUBSCRIPTIONS_PER_SESSION_MAX],
        ..statistics()
    };
    let message = replied(Reply::Statistics(Box::new(statistics)));
    let written = encode_message(&message, &mut buffer());
    assert!(written.is_ok(), "{written:?}");
}
