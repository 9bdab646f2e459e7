//! `stats` and `stats/events`.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures_lite::StreamExt as _;
use serde_json::{Value, json};
use shared::id::SessionId;
use shared::protocol::{
    CommandError, EstimateReport, LayerPlace, LayerReason, LayerReport, PublicationReport, Rid,
    SessionStatistics, SubscriptionReport, TransportState, VoiceReport,
};
use tower::ServiceExt as _;

use super::{APP, Harness, SECRET};

impl Harness {
    /// A session that pulls `name`, whose statistics are then set.
    async fn measured(&self, publisher: &str, name: &str) -> String {
        self.media_flows(publisher);
        let id = self.new_session().await;
        let pulled = self.pull(&id, publisher, name).await;
        assert_eq!(pulled.status, StatusCode::OK, "{}", pulled.json);
        self.fake.set_statistics(statistics(&id));
        id
    }

    async fn stats(&self, id: &str) -> super::Answer {
        self.call(Method::GET, &format!("/sessions/{id}/stats"), &Value::Null)
            .await
    }

    async fn watch(&self, id: &str, query: &str) -> Stream {
        let request = Request::get(format!("/v1/apps/{APP}/sessions/{id}/stats/events{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {SECRET}"))
            .body(Body::empty())
            .unwrap();
        let response = self.router().oneshot(request).await.unwrap();
        Stream {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.into_body().into_data_stream(),
        }
    }
}

struct Stream {
    status: StatusCode,
    headers: HeaderMap,
    body: BodyDataStream,
}

impl Stream {
    /// The next event and its data; none at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        let next = tokio::time::timeout(Duration::from_secs(5), self.body.next());
        let bytes = next.await.unwrap()?.unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let (event, data) = text.strip_suffix("\n\n").unwrap().split_once('\n').unwrap();
        let event = event.strip_prefix("event: ").unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        Some((event.to_owned(), serde_json::from_str(data).unwrap()))
    }
}

/// One subscription, one publication and an estimate.
fn statistics(id: &str) -> SessionStatistics {
    let place = |rid: &str| LayerPlace {
        rid: Rid::from(rid).ok(),
        ..LayerPlace::default()
    };
    let layer = LayerReport {
        rid: None,
        receiving: true,
        bit_rate: 40_000,
        packets: 50,
        bytes: 5_000,
        packets_lost: 1,
        jitter_us: 2_000,
        nacks: 3,
        keyframes: 4,
        keyframe_requests: 5,
    };
    let subscription = SubscriptionReport {
        number: 0,
        sending: true,
        wanted: Some(place("a")),
        current: Some(LayerPlace {
            spatial: Some(0),
            temporal: Some(1),
            ..place("b")
        }),
        reason: LayerReason::Bandwidth,
        rank: Some(2),
        awaits_keyframe: false,
        bit_rate: 480_000,
        packets: 100,
        bytes: 100_000,
        packets_lost: -1,
        fraction_lost: 16,
        round_trip_us: 40_500,
        jitter_us: 1_500,
        nacks: 6,
        plis: 7,
        firs: 8,
        retransmitted: 9,
        retransmissions_refused: 10,
        packets_dropped: 11,
    };
    SessionStatistics {
        session: id.parse::<SessionId>().unwrap(),
        state: TransportState::Connected,
        estimate: Some(EstimateReport {
            bit_rate: 600_000,
            delay_based: 700_000,
            loss_based: 800_000,
            round_trip_us: 41_000,
            queue_delay_us: 20_000,
            bytes_in_flight: 3_000,
            application_limited: false,
        }),
        publications: vec![PublicationReport {
            number: 7,
            receiving: true,
            voice: Some(VoiceReport {
                level: 20,
                speaking: true,
            }),
            layers: vec![layer],
        }],
        subscriptions: vec![subscription],
    }
}

#[tokio::test]
async fn statistics_tell_what_each_track_gets_and_why() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    let id = harness.measured(&publisher, "mic").await;
    harness.transport(&id, TransportState::Connected).await;
    let got = harness.stats(&id).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.json);
    let expected = json!({
        "sessionId": id,
        "state": "connected",
        "estimate": {
            "bitrate": 600_000,
            "delayBasedBitrate": 700_000,
            "lossBasedBitrate": 800_000,
            "roundTripTime": 0.041,
            "queueDelay": 0.02,
            "bytesInFlight": 3_000,
            "applicationLimited": false,
        },
        // The model does not know number 7: it has no names.
        "publications": [{
            "receiving": true,
            "audioLevel": 0.1,
            "speaking": true,
            "layers": [{
                "receiving": true,
                "bitrate": 40_000,
                "packetsReceived": 50,
                "bytesReceived": 5_000,
                "packetsLost": 1,
                "jitter": 0.002,
                "nackCount": 3,
                "keyFramesReceived": 4,
                "keyFrameRequests": 5,
            }],
        }],
        "subscriptions": [{
            "mid": "0",
            "trackName": "mic",
            "sessionId": publisher,
            "kind": "audio",
            "sending": true,
            "wantedLayer": { "rid": "a" },
            "currentLayer": { "rid": "b", "spatialLayer": 0, "temporalLayer": 1 },
            "reason": "bandwidth",
            "rank": 2,
            "awaitingKeyFrame": false,
            "freezeRisk": "medium",
            "bitrate": 480_000,
            "packetsSent": 100,
            "bytesSent": 100_000,
            "packetsLost": -1,
            "fractionLost": 0.0625,
            "roundTripTime": 0.0405,
            "jitter": 0.0015,
            "nackCount": 6,
            "pliCount": 7,
            "firCount": 8,
            "retransmittedPacketsSent": 9,
            "retransmissionsRefused": 10,
            "packetsDropped": 11,
        }],
    });
    assert_eq!(got.json, expected);
}

#[tokio::test]
async fn publications_are_told_by_their_names() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    let got = harness.stats(&id).await;
    let expected = json!([{
        "mid": "0", "trackName": "mic", "kind": "audio", "receiving": false, "layers": [],
    }]);
    assert_eq!(got.json["publications"], expected);
    assert_eq!(got.json["state"], "connecting");
    assert_eq!(got.json["estimate"], Value::Null);
}

#[tokio::test]
async fn statistics_fail_as_other_calls_do() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    for path in ["stats", "stats/events"] {
        let whole = format!("/v1/apps/{APP}/sessions/{id}/{path}");
        let stranger = harness.send(Method::GET, &whole, Some("x"), "").await;
        assert_eq!(stranger.error(), (401, "unauthorized"), "{path}");
        let unknown = format!("/v1/apps/{APP}/sessions/{}/{path}", "0".repeat(32));
        let unknown = harness.send(Method::GET, &unknown, Some(SECRET), "").await;
        assert_eq!(unknown.error(), (410, "session_error"), "{path}");
        let wrong = harness.send(Method::PUT, &whole, Some(SECRET), "").await;
        assert_eq!(wrong.error(), (405, "method_not_allowed"), "{path}");
    }
    harness.service.engine.release();
    let away = harness.stats(&id).await;
    assert_eq!(away.error(), (503, "transport_unavailable_error"));
}

#[tokio::test]
async fn a_stream_tells_the_statistics_again_and_again() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    let mut stream = harness.watch(&id, "?interval=200").await;
    assert_eq!(stream.status, StatusCode::OK);
    let headers = &stream.headers;
    assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let now = harness.stats(&id).await.json;
    assert_eq!(stream.next().await, Some(("stats".to_owned(), now)));
    harness.transport(&id, TransportState::Connected).await;
    loop {
        let (event, data) = stream.next().await.unwrap();
        assert_eq!(event, "stats");
        if data["state"] == "connected" {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_says_why() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let mut stream = harness.watch(&id, "").await;
    assert_eq!(stream.next().await.unwrap().0, "stats");
    harness
        .call(Method::DELETE, &format!("/sessions/{id}"), &Value::Null)
        .await;
    let why = json!({
        "errorCode": "session_error",
        "errorDescription": "The session has been deleted.",
    });
    assert_eq!(stream.next().await, Some(("ended".to_owned(), why)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_outlives_trouble_with_the_data_plane() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    harness.fake.refuse_next(CommandError::DeadlinePassed);
    let mut stream = harness.watch(&id, "?interval=200").await;
    let (event, data) = stream.next().await.unwrap();
    assert_eq!(event, "unavailable");
    assert_eq!(data["errorCode"], "retryable_transient_error");
    assert_eq!(stream.next().await.unwrap().0, "stats");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_not_measured_for() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let mut stream = harness.watch(&id, "?interval=200").await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    // One event waits.
    assert_eq!(harness.fake.measured(), 1);
    stream.next().await.unwrap();
    stream.next().await.unwrap();
    assert!(harness.fake.measured() >= 2);
}

#[tokio::test]
async fn a_session_has_few_streams_at_a_time() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = harness.watch(&id, "").await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    let refused = harness.watch(&id, "").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    // A reader that hangs up makes room.
    streams.pop();
    let retried = async {
        while harness.watch(&id, "").await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let retried = tokio::time::timeout(Duration::from_secs(5), retried).await;
    assert!(retried.is_ok());
}

#[tokio::test]
async fn an_interval_out_of_bounds_is_refused() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let path = format!("/sessions/{id}/stats/events?interval=1");
    let refused = harness.call(Method::GET, &path, &Value::Null).await;
    assert_eq!(refused.error(), (406, "invalid_params"));
}
