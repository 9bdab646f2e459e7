//! Who may call, and how often.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::Value;
use shared::protocol::{EndReason, Event};

use super::{APP, Harness, SECRET, answer};

#[tokio::test]
async fn only_the_secret_opens_an_app() {
    let harness = Harness::new().await;
    let path = format!("/v1/apps/{APP}/sessions/new");
    let nobody = "/v1/apps/ffffffffffffffffffffffffffffffff/sessions/new".to_owned();
    let table = [
        (&path, Some(SECRET), 201, ""),
        (&path, None, 401, "unauthorized"),
        (&path, Some("the-secret-of-this-apP"), 401, "unauthorized"),
        (&path, Some(""), 401, "unauthorized"),
        (&nobody, Some(SECRET), 404, "not_found"),
        (&nobody, None, 401, "unauthorized"),
    ];
    for (path, token, status, code) in table {
        let got = harness.send(Method::POST, path, token, Body::empty()).await;
        assert_eq!(
            (got.status.as_u16(), got.text("errorCode")),
            (status, code),
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_says_the_same_whatever_is_wrong_with_the_secret() {
    let harness = Harness::new().await;
    let path = format!("/v1/apps/{APP}/sessions/new");
    let mut bodies = Vec::new();
    for token in ["x", "the-secret-of-this-apP", &"y".repeat(5000)] {
        bodies.push(
            harness
                .send(Method::POST, &path, Some(token), Body::empty())
                .await
                .json,
        );
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn the_scheme_of_the_authorization_may_be_in_any_case() {
    let harness = Harness::new().await;
    for (value, status) in [
        ("bearer ", 201),
        ("BEARER ", 201),
        ("Basic ", 401),
        ("", 401),
    ] {
        let request = Request::post(format!("/apps/{APP}/sessions/new"))
            .header(header::AUTHORIZATION, format!("{value}{SECRET}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            answer(harness.router(), request).await.status.as_u16(),
            status,
            "{value:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_session_answers_410_at_once() {
    let harness = Harness::new().await;
    for id in ["00000000000000000000000000000000", "nonsense", "..%2f"] {
        let got = harness
            .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
            .await;
        assert_eq!(got.error(), (410, "session_error"), "{id}");
    }
}

#[tokio::test]
async fn a_session_of_another_app_is_an_unknown_session() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    harness
        .service
        .store
        .ensure_app("other", "other-secret")
        .await
        .unwrap();
    let path = format!("/v1/apps/other/sessions/{id}");
    let got = harness
        .send(Method::GET, &path, Some("other-secret"), Body::empty())
        .await;
    assert_eq!(got.error(), (410, "session_error"));
}

#[tokio::test]
async fn an_ended_session_says_why_it_ended() {
    let harness = Harness::new().await;
    let id = harness.new_session().await;
    let session: shared::id::SessionId = id.parse().unwrap();
    let mut watch = harness.service.registry.session(session).unwrap().watch();
    let event = Event::SessionEnded {
        session,
        reason: EndReason::NeverConnected,
    };
    harness.fake.say(session.shard(), event);
    watch.wait_for(|state| state.ended).await.unwrap();
    let got = harness
        .call(Method::GET, &format!("/sessions/{id}"), &Value::Null)
        .await;
    assert_eq!(got.error(), (410, "session_error"));
    assert!(
        got.text("errorDescription").contains("did not connect"),
        "{}",
        got.json
    );
}

#[tokio::test]
async fn more_than_fifty_requests_at_once_are_too_many_for_one_session_only() {
    let harness = Harness::new().await;
    let (busy, calm) = (harness.new_session().await, harness.new_session().await);
    let mut refused = None;
    for _ in 0..120 {
        let got = harness
            .call(Method::GET, &format!("/sessions/{busy}"), &Value::Null)
            .await;
        if got.status.as_u16() == 429 {
            refused = Some(got);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.text("errorCode"), "too_many_requests");
    assert_eq!(refused.headers.get(header::RETRY_AFTER).unwrap(), "1");
    let other = harness
        .call(Method::GET, &format!("/sessions/{calm}"), &Value::Null)
        .await;
    assert_eq!(other.status.as_u16(), 200);
}
