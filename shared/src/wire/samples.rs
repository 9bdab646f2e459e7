//! Requests and messages of every shape, for tests.

use core::num::NonZeroU8;

use arrayvec::ArrayString;

use crate::id::{PublicationId, SessionId, ShardIndex};
use crate::protocol::*;

pub(super) fn session(number: u8) -> SessionId {
    SessionId::new(1, ShardIndex(2), [number; 12])
}

pub(super) fn credentials() -> IceCredentials {
    IceCredentials {
        ufrag: "abcd".to_owned(),
        password: "p".repeat(22),
    }
}

pub(super) fn remote() -> RemoteTransport {
    RemoteTransport {
        ice: credentials(),
        fingerprints: vec![
            Fingerprint {
                algorithm: HashAlgorithm::Sha256,
                digest: vec![1; 32],
            },
            Fingerprint {
                algorithm: HashAlgorithm::Sha512,
                digest: vec![2; 64],
            },
        ],
        role: DtlsRole::Server,
    }
}

pub(super) fn rid(text: &str) -> Rid {
    ArrayString::from(text).expect("short")
}

pub(super) fn publish() -> PublishParameters {
    let codec = PublishedCodec {
        payload_type: 96,
        codec: Codec::Vp8,
        rtx_payload_type: Some(97),
        nack: true,
        pli: true,
        fir: false,
        transport_cc: true,
    };
    PublishParameters {
        number: 3,
        mid: rid("0"),
        kind: MediaKind::Video,
        codecs: vec![codec],
        extensions: vec![ExtensionMapping {
            id: 1,
            extension: Extension::Mid,
        }],
        layers: vec![
            LayerParameters {
                rid: Some(rid("h")),
                ssrc: None,
                rtx_ssrc: None,
            },
            LayerParameters {
                rid: Some(rid("l")),
                ssrc: Some(7),
                rtx_ssrc: Some(8),
            },
        ],
    }
}

pub(super) fn mapping() -> CodecMapping {
    CodecMapping {
        source_payload_type: 96,
        payload_type: 120,
        codec: Codec::Vp8,
        rtx_payload_type: None,
    }
}

pub(super) fn subscribe() -> SubscribeParameters {
    SubscribeParameters {
        number: 4,
        mid: rid("abcdefghijklmnop"),
        kind: MediaKind::Video,
        source: PublicationId {
            session: session(9),
            number: u32::MAX,
        },
        ssrc: 1,
        rtx_ssrc: Some(2),
        codecs: vec![mapping()],
        extensions: Vec::new(),
        selection: LayerSelection {
            preferred_rid: Some(rid("h")),
            priority_ordering: Ordering::Asciibetical,
            rid_not_available: Ordering::None,
        },
        hints: Hints {
            priority: 255,
            max_height: Some(u16::MAX),
        },
    }
}

pub(super) fn resubscribe() -> Change {
    Change::Resubscribe {
        number: 4,
        source: PublicationId {
            session: session(9),
            number: 0,
        },
        codecs: vec![mapping()],
        selection: LayerSelection::default(),
        hints: Hints::default(),
    }
}

pub(super) fn execute(changes: Vec<Change>) -> Request {
    let command = Command::Execute {
        session: session(1),
        changes,
        model: Some(vec![0xff; 300]),
    };
    Request {
        id: 1,
        deadline_ns: u64::MAX,
        command,
    }
}

pub(super) fn publication_report() -> PublicationReport {
    let layer = LayerReport {
        rid: Some(rid("h")),
        receiving: true,
        bit_rate: 1_500_000,
        packets: u64::MAX,
        bytes: 1,
        packets_lost: 2,
        jitter_us: 3,
        nacks: 4,
        keyframes: 5,
        keyframe_requests: u32::MAX,
    };
    PublicationReport {
        number: 1,
        receiving: true,
        voice: Some(VoiceReport {
            level: 127,
            speaking: true,
        }),
        layers: vec![layer],
    }
}

pub(super) fn report() -> SessionReport {
    SessionReport {
        session: session(1),
        state: TransportState::Connected,
        publications: vec![publication_report()],
        model: vec![1, 2, 3],
    }
}

pub(super) fn statistics() -> SessionStatistics {
    let subscription = SubscriptionReport {
        number: 2,
        sending: true,
        wanted: Some(LayerPlace {
            rid: Some(rid("f")),
            spatial: Some(2),
            temporal: Some(0),
        }),
        current: None,
        reason: LayerReason::Bandwidth,
        rank: Some(256),
        awaits_keyframe: true,
        bit_rate: 0,
        packets: 3,
        bytes: 4,
        packets_lost: -5,
        fraction_lost: 255,
        round_trip_us: u32::MAX,
        jitter_us: 6,
        nacks: 7,
        plis: 8,
        firs: 9,
        retransmitted: 10,
        retransmissions_refused: 11,
        packets_dropped: 12,
    };
    SessionStatistics {
        session: session(1),
        state: TransportState::Connected,
        estimate: Some(EstimateReport {
            bit_rate: 1_000_000,
            delay_based: 1_200_000,
            loss_based: u64::MAX,
            round_trip_us: 40_000,
            queue_delay_us: 3_000,
            bytes_in_flight: 20_000,
            application_limited: true,
        }),
        publications: vec![publication_report()],
        subscriptions: vec![subscription],
    }
}

pub(super) fn replied(reply: Reply) -> Message {
    Message::Response(Response {
        id: 1,
        result: Ok(reply),
    })
}

/// One request of every shape.
pub(super) fn requests() -> Vec<Request> {
    let command = |command| Request {
        id: u64::MAX,
        deadline_ns: 0,
        command,
    };
    vec![
        command(Command::ListSessions { after: None }),
        command(Command::ListSessions {
            after: Some(session(1)),
        }),
        command(Command::InspectSession {
            session: session(2),
        }),
        command(Command::MeasureSession {
            session: session(2),
        }),
        command(Command::CloseSession {
            session: session(3),
        }),
        command(Command::Execute {
            session: session(4),
            changes: Vec::new(),
            model: None,
        }),
        execute(vec![
            Change::Open(credentials()),
            Change::SetRemote(remote()),
            Change::RestartIce {
                local: credentials(),
                remote: credentials(),
            },
            Change::Publish(Box::new(publish())),
            Change::Unpublish { number: 3 },
            Change::Subscribe(Box::new(subscribe())),
            Change::Unsubscribe { number: 4 },
            resubscribe(),
            Change::LimitAudio {
                loudest: NonZeroU8::new(3),
            },
            Change::LimitAudio { loudest: None },
        ]),
    ]
}

/// One message of every shape.
pub(super) fn messages() -> Vec<Message> {
    let response = |result| Message::Response(Response { id: 5, result });
    vec![
        response(Ok(Reply::Done)),
        response(Err(CommandError::SessionFailed)),
        response(Ok(Reply::Sessions {
            sessions: vec![session(1), session(2)],
            more: true,
        })),
        replied(Reply::Session(Box::new(report()))),
        replied(Reply::Statistics(Box::new(statistics()))),
        Message::Event(Event::SessionChanged {
            session: session(1),
            state: TransportState::Failed,
        }),
        Message::Event(Event::SessionEnded {
            session: session(1),
            reason: EndReason::InternalError,
        }),
        Message::Event(Event::PublicationChanged {
            publication: PublicationId {
                session: session(1),
                number: 2,
            },
            receiving: false,
        }),
    ]
}
