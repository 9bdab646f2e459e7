//! `audio` of a session, and `loudestAudio` of a new one.

use std::num::NonZeroU8;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use shared::protocol::Change;

use super::Harness;

impl Harness {
    /// The limits that the data plane was told of, in their order.
    fn limits(&self) -> Vec<Option<u8>> {
        let executed = self.fake.executed();
        let changes = executed.iter().flat_map(|(_, changes)| changes);
        changes
            .filter_map(|change| {
                let Change::LimitAudio { loudest } = change else {
                    return None;
                };
                Some(loudest.map(NonZeroU8::get))
            })
            .collect()
    }
}

#[tokio::test]
async fn a_session_can_be_made_to_hear_the_loudest_only() {
    let harness = Harness::new().await;
    let path = "/sessions/new?x&loudestAudio=3&correlationId=1";
    let made = harness.call(Method::POST, path, &Value::Null).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    assert_eq!(harness.limits(), [Some(3)]);
}

#[tokio::test]
async fn a_session_hears_all_if_nothing_is_said() {
    let harness = Harness::new().await;
    harness.new_session().await;
    assert_eq!(harness.limits(), []);
}

#[tokio::test]
async fn how_many_are_heard_can_be_changed_at_any_time() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    for count in [json!(2), json!(255), Value::Null] {
        let path = format!("/sessions/{id}/audio");
        let body = json!({ "loudestAudio": count });
        let set = harness.call(Method::PUT, &path, &body).await;
        assert_eq!((set.status, set.json), (StatusCode::OK, json!({})));
    }
    assert_eq!(harness.limits(), [Some(2), Some(255), None]);
}

#[tokio::test]
async fn a_count_that_is_none_is_refused() {
    let harness = Harness::new().await;
    for count in ["0", "256", "-1", "many", ""] {
        let path = format!("/sessions/new?loudestAudio={count}");
        let refused = harness.call(Method::POST, &path, &Value::Null).await;
        assert_eq!(refused.error(), (406, "invalid_params"), "{count}");
    }
    let id = harness.new_session().await;
    let path = format!("/sessions/{id}/audio");
    for body in [
        json!({ "loudestAudio": 0 }),
        json!({}),
        json!({ "loudestAudio": "3" }),
    ] {
        let refused = harness.call(Method::PUT, &path, &body).await;
        assert_eq!(refused.error(), (400, "decoding_error"), "{body}");
    }
    assert_eq!(harness.limits(), []);
}

#[tokio::test]
async fn a_session_that_is_gone_has_no_audio() {
    let harness = Harness::new().await;
    let path = format!("/sessions/{}/audio", "0".repeat(32));
    let body = json!({ "loudestAudio": 3 });
    let gone = harness.call(Method::PUT, &path, &body).await;
    assert_eq!(gone.error(), (410, "session_error"));
}
