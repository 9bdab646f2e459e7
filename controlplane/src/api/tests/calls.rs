//! Sessions and tracks: the order of waiting, planning, executing and committing.

use axum::http::Method;
use serde_json::{Value, json};
use shared::id::SessionId;
use shared::protocol::{Change, CommandError, TransportState};

use super::{AUDIO_OFFER, Harness};
use crate::registry::StoredSession;

#[tokio::test]
async fn a_session_is_opened_on_the_data_plane() {
    let harness = Harness::new().await;
    let id: SessionId = harness.new_session().await.parse().unwrap();
    let executed = harness.fake.executed();
    let (session, changes) = executed.first().unwrap();
    assert_eq!(*session, id);
    assert!(
        matches!(changes.as_slice(), [Change::Open(_)]),
        "{changes:?}"
    );
}

#[tokio::test]
async fn sessions_are_spread_over_the_shards() {
    let harness = Harness::with_shards(3).await;
    let mut counts = [0; 3];
    for _ in 0..9 {
        let id: SessionId = harness.new_session().await.parse().unwrap();
        counts[id.shard().as_usize()] += 1;
    }
    assert_eq!(counts, [3, 3, 3]);
}

#[tokio::test]
async fn an_offer_at_the_start_is_answered_at_once() {
    let harness = Harness::new().await;
    let body = json!({ "sessionDescription": { "type": "offer", "sdp": AUDIO_OFFER } });
    let made = harness.call(Method::POST, "/sessions/new", &body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.json);
    assert_eq!(made.json["sessionDescription"]["type"], "answer");
    let sdp = made.json["sessionDescription"]["sdp"].as_str().unwrap();
    assert!(
        sdp.contains("a=ice-lite") && sdp.contains("127.0.0.1 7882 typ host"),
        "{sdp}"
    );
}

#[tokio::test]
async fn a_push_publishes_and_is_seen_in_the_session() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let pushed = harness.push(&id, "mic").await;
    assert_eq!(pushed.status.as_u16(), 200, "{}", pushed.json);
    assert_eq!(pushed.json["requiresImmediateRenegotiation"], false);
    assert_eq!(pushed.json["sessionDescription"]["type"], "answer");
    assert_eq!(pushed.json["tracks"][0]["trackName"], "mic");
    assert_eq!(pushed.json["tracks"][0]["mid"], "0");
    let executed = harness.fake.executed();
    let (_, changes) = executed.last().unwrap();
    assert!(
        changes
            .iter()
            .any(|change| matches!(change, Change::Publish(_))),
        "{changes:?}"
    );
    let seen = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    let track = json!({ "location": "local", "mid": "0", "trackName": "mic", "status": "active" });
    assert_eq!(seen.json, json!({ "tracks": [track], "dataChannels": [] }));
}

#[tokio::test]
async fn a_refused_command_leaves_both_planes_as_they_were() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    harness.fake.refuse_next(CommandError::LimitExceeded);
    let refused = harness.push(&id, "mic").await;
    assert_eq!(refused.error(), (406, "invalid_params"));
    let seen = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    assert_eq!(seen.json["tracks"], json!([]));
    assert_eq!(harness.push(&id, "mic").await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_session_that_the_data_plane_has_lost_is_gone() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    harness.fake.refuse_next(CommandError::UnknownSession);
    assert_eq!(
        harness.push(&id, "mic").await.error(),
        (410, "session_error")
    );
    let again = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    assert_eq!(again.error(), (410, "session_error"));
}

#[tokio::test]
async fn a_pull_waits_for_the_first_packet() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    let subscriber = harness.new_session().await;
    let (pulled, ()) = tokio::join!(harness.pull(&subscriber, &publisher, "mic"), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        harness.media_flows(&publisher);
    });
    assert_eq!(pulled.status.as_u16(), 200, "{}", pulled.json);
    assert_eq!(
        pulled.json["requiresImmediateRenegotiation"], true,
        "{}",
        pulled.json
    );
    assert_eq!(pulled.json["sessionDescription"]["type"], "offer");
    let track = &pulled.json["tracks"][0];
    assert_eq!(
        (&track["sessionId"], &track["trackName"]),
        (&json!(publisher), &json!("mic"))
    );
    assert!(!track["mid"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_pull_without_media_ends_in_an_item_error() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    let subscriber = harness.new_session().await;
    let pulled = harness.pull(&subscriber, &publisher, "mic").await;
    assert_eq!(pulled.status.as_u16(), 200, "{}", pulled.json);
    assert_eq!(pulled.json["tracks"][0]["errorCode"], "empty_track_error");
    assert_eq!(pulled.json["requiresImmediateRenegotiation"], false);
}

#[tokio::test]
async fn a_pull_of_what_nobody_publishes_fails_at_once() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    let subscriber = harness.new_session().await;
    let started = std::time::Instant::now();
    for (session, name) in [
        (publisher.as_str(), "camera"),
        (&"0".repeat(32), "mic"),
        ("x", "y"),
    ] {
        let pulled = harness.pull(&subscriber, session, name).await;
        assert_eq!(pulled.status.as_u16(), 200, "{}", pulled.json);
        assert_eq!(
            pulled.json["tracks"][0]["errorCode"],
            "not_found_track_error"
        );
    }
    assert!(started.elapsed() < harness.service.waits.first_packet);
}

#[tokio::test]
async fn hints_are_read_and_come_back_in_the_answer() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    harness.media_flows(&publisher);
    let subscriber = harness.new_session().await;
    let track = json!({
        "location": "remote", "sessionId": publisher, "trackName": "mic",
        "priority": 5, "maxHeight": 360,
    });
    let body = json!({ "tracks": [track] });
    let path = format!("/sessions/{subscriber}/tracks/new");
    let pulled = harness.call(Method::POST, &path, &body).await;
    assert_eq!(pulled.status.as_u16(), 200, "{}", pulled.json);
    let echoed = &pulled.json["tracks"][0];
    assert_eq!(
        (&echoed["priority"], &echoed["maxHeight"]),
        (&json!(5), &json!(360))
    );
    // One alone: of the other nothing is said.
    let track = json!({
        "location": "remote", "sessionId": publisher, "trackName": "mic", "mid": "0", "priority": 6,
    });
    let path = format!("/sessions/{subscriber}/tracks/update");
    let updated = harness
        .call(Method::PUT, &path, &json!({ "tracks": [track] }))
        .await;
    assert_eq!(updated.status.as_u16(), 200, "{}", updated.json);
    let echoed = &updated.json["tracks"][0];
    assert_eq!(
        (&echoed["priority"], &echoed["maxHeight"]),
        (&json!(6), &Value::Null)
    );
}

#[tokio::test]
async fn hints_that_are_no_such_numbers_are_refused() {
    let harness = Harness::new().await;
    let subscriber = harness.new_session().await;
    for (hint, expected) in [
        (json!({ "priority": 256 }), (406, "invalid_params")),
        (json!({ "maxHeight": 0 }), (406, "invalid_params")),
        (json!({ "priority": "high" }), (400, "decoding_error")),
        (json!({ "maxHeight": 359.5 }), (400, "decoding_error")),
    ] {
        let mut track = json!({
            "location": "remote", "sessionId": "0".repeat(32), "trackName": "mic",
        });
        track
            .as_object_mut()
            .unwrap()
            .extend(hint.as_object().unwrap().clone());
        let path = format!("/sessions/{subscriber}/tracks/new");
        let body = json!({ "tracks": [track] });
        let refused = harness.call(Method::POST, &path, &body).await;
        assert_eq!(refused.error(), expected, "{hint}: {}", refused.json);
    }
}

#[tokio::test]
async fn a_track_of_another_app_is_not_found() {
    let harness = Harness::new().await;
    let publisher = harness.publisher("mic").await;
    harness.media_flows(&publisher);
    harness
        .service
        .store
        .ensure_app("other", "other-secret")
        .await
        .unwrap();
    let made = harness
        .send(
            Method::POST,
            "/v1/apps/other/sessions/new",
            Some("other-secret"),
            "",
        )
        .await;
    let body = json!({
        "tracks": [{ "location": "remote", "sessionId": publisher, "trackName": "mic" }],
    });
    let path = format!(
        "/v1/apps/other/sessions/{}/tracks/new",
        made.text("sessionId")
    );
    let pulled = harness
        .send(Method::POST, &path, Some("other-secret"), body.to_string())
        .await;
    assert_eq!(
        pulled.json["tracks"][0]["errorCode"],
        "not_found_track_error"
    );
}

#[tokio::test]
async fn a_call_on_a_session_that_does_not_connect_is_too_early() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    let early = harness.pull(&id, &id, "mic").await;
    assert_eq!(early.error(), (425, "session_error"));
}

#[tokio::test]
async fn a_call_waits_for_the_session_to_connect() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    harness.media_flows(&id);
    let (pulled, ()) = tokio::join!(harness.pull(&id, &id, "mic"), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        harness.transport(&id, TransportState::Connected).await;
    });
    assert_eq!(pulled.status.as_u16(), 200, "{}", pulled.json);
}

#[tokio::test]
async fn a_call_on_a_session_that_dropped_is_gone() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    for state in [TransportState::Disconnected, TransportState::Failed] {
        harness.transport(&id, state).await;
        assert_eq!(
            harness.pull(&id, &id, "mic").await.error(),
            (410, "session_error"),
            "{state:?}"
        );
    }
}

#[tokio::test]
async fn a_deleted_session_is_gone_on_both_planes() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let path = format!("/sessions/{id}");
    let deleted = harness.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((deleted.status.as_u16(), &deleted.json), (200, &json!({})));
    assert_eq!(harness.fake.sessions(), []);
    let again = harness.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(again.error(), (410, "session_error"));
}

#[tokio::test]
async fn a_new_control_plane_reads_the_sessions_back() {
    let harness = Harness::new().await;
    let id = harness.publisher("mic").await;
    let before = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    // As after a restart: nothing is known, and everything is reported.
    harness.service.registry.clear();
    assert_eq!(harness.service.engine.inspect_all().await, Ok(1));
    let after = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    assert_eq!(after.status.as_u16(), 200, "{}", after.json);
    assert_eq!(after.json, before.json);
}

#[tokio::test]
async fn what_the_data_plane_keeps_is_the_committed_model() {
    let harness = Harness::new().await;
    let id: SessionId = harness.publisher("mic").await.parse().unwrap();
    let report = harness.service.engine.inspect(id).await.unwrap().unwrap();
    let stored = StoredSession::decode(&report.model).unwrap();
    let session = harness.service.registry.session(id).unwrap();
    assert_eq!(stored.model, *session.state().model);
    assert_eq!(stored.app, session.app());
}

#[tokio::test]
async fn calls_on_one_session_are_done_one_after_the_other() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let (a, b) = tokio::join!(harness.push(&id, "mic"), harness.push(&id, "mic"));
    let codes: Vec<&Value> = [&a, &b]
        .iter()
        .map(|got| &got.json["tracks"][0]["errorCode"])
        .collect();
    let failed = codes.iter().filter(|code| !code.is_null()).count();
    let late = [&a, &b]
        .iter()
        .filter(|got| got.status.as_u16() != 200)
        .count();
    assert_eq!(failed + late, 1, "{} {}", a.json, b.json);
}
