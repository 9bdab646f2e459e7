//! What holds for every path: JSON, CORS, limits, and the page.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};

use super::{APP, Harness, SECRET, answer};
use crate::api::BODY_BYTES_MAX;

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn every_answer_of_the_api_is_json_for_any_origin() {
    let harness = Harness::new().await;
    let session = harness.new_session().await;
    let table = [
        (Method::POST, format!("/v1/apps/{APP}/sessions/new"), 201),
        (
            Method::GET,
            format!("/v1/apps/{APP}/sessions/{session}"),
            200,
        ),
        (Method::GET, format!("/apps/{APP}/sessions/{session}"), 200),
        (
            Method::POST,
            format!("/v1/apps/{APP}/sessions/{session}/tracks/new"),
            400,
        ),
        (
            Method::PATCH,
            format!("/v1/apps/{APP}/sessions/{session}"),
            405,
        ),
        (
            Method::GET,
            format!("/v1/apps/{APP}/sessions/{session}/tracks"),
            404,
        ),
        (Method::GET, "/nowhere".to_owned(), 404),
        (Method::GET, "/static/../Cargo.toml".to_owned(), 404),
        (Method::GET, "/static/nothing.js".to_owned(), 404),
        (Method::GET, "/healthz".to_owned(), 200),
        (Method::GET, "/readyz".to_owned(), 200),
    ];
    for (method, path, status) in table {
        let got = harness.send(method, &path, Some(SECRET), "").await;
        assert_eq!(got.status.as_u16(), status, "{path}: {}", got.json);
        assert_eq!(
            text(&got.headers, "content-type"),
            "application/json",
            "{path}"
        );
        assert_eq!(text(&got.headers, "vary"), "Origin", "{path}");
        assert_eq!(
            text(&got.headers, "access-control-allow-origin"),
            "*",
            "{path}"
        );
        assert!(got.json.is_object(), "{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_secret() {
    let harness = Harness::new().await;
    let request = Request::options(format!("/v1/apps/{APP}/sessions/new"))
        .header(header::ORIGIN, "https://example.org")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization")
        .body(Body::empty())
        .unwrap();
    let got = answer(harness.router(), request).await;
    assert_eq!(got.status.as_u16(), 204);
    assert_eq!(text(&got.headers, "access-control-allow-origin"), "*");
    let headers = text(&got.headers, "access-control-allow-headers");
    assert!(headers.contains("authorization") && headers.contains("content-type"));
    for method in ["GET", "POST", "PUT", "DELETE"] {
        assert!(text(&got.headers, "access-control-allow-methods").contains(method));
    }
}

#[tokio::test]
async fn the_content_type_of_a_request_does_not_matter() {
    let harness = Harness::new().await;
    let session = harness.new_session().await;
    for content_type in ["text/plain;charset=UTF-8", "application/json", "image/png"] {
        let request = Request::put(format!("/v1/apps/{APP}/sessions/{session}/tracks/close"))
            .header(header::AUTHORIZATION, format!("Bearer {SECRET}"))
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(
                json!({ "tracks": [{ "mid": "7" }], "force": true }).to_string(),
            ))
            .unwrap();
        let got = answer(harness.router(), request).await;
        assert_eq!(got.status.as_u16(), 200, "{content_type}: {}", got.json);
    }
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_read_and_a_longer_one_is_not() {
    let harness = Harness::new().await;
    let session = harness.new_session().await;
    let path = format!("/v1/apps/{APP}/sessions/{session}/tracks/new");
    let of_length = |length: usize| {
        let frame = json!({ "padding": "" }).to_string();
        json!({ "padding": "x".repeat(length - frame.len()) }).to_string()
    };
    let whole = harness
        .send(Method::POST, &path, Some(SECRET), of_length(BODY_BYTES_MAX))
        .await;
    assert_ne!(whole.status.as_u16(), 413);
    let longer = of_length(BODY_BYTES_MAX + 1);
    let refused = harness
        .send(Method::POST, &path, Some(SECRET), longer)
        .await;
    assert_eq!(refused.error(), (413, "payload_too_large"));
}

#[tokio::test]
async fn a_malformed_body_is_a_decoding_error_that_names_the_field() {
    let harness = Harness::new().await;
    let session = harness.new_session().await;
    let table = [
        (
            Method::POST,
            "/sessions/new".to_owned(),
            "{}",
            "sessionDescription",
        ),
        (Method::POST, "/sessions/new".to_owned(), "{", "not JSON"),
        (
            Method::PUT,
            format!("/sessions/{session}/renegotiate"),
            "{}",
            "sessionDescription",
        ),
        (
            Method::PUT,
            format!("/sessions/{session}/tracks/close"),
            r#"{"tracks":[]}"#,
            "force",
        ),
        (
            Method::POST,
            format!("/sessions/{session}/tracks/new"),
            r#"{"tracks":[{},{"mid":0}]}"#,
            "tracks[1].mid",
        ),
    ];
    for (method, path, body, named) in table {
        let path = format!("/v1/apps/{APP}{path}");
        let got = harness.send(method, &path, Some(SECRET), body).await;
        assert_eq!(got.error(), (400, "decoding_error"), "{path} {body}");
        assert!(got.text("errorDescription").contains(named), "{}", got.json);
    }
}

#[tokio::test]
async fn a_third_party_session_is_refused_clearly() {
    let harness = Harness::new().await;
    let path = "/sessions/new?correlationId=1&thirdparty=true";
    let got = harness.call(Method::POST, path, &Value::Null).await;
    assert_eq!(got.error(), (501, "not_supported"));
    let plain = harness.call(
        Method::POST,
        "/sessions/new?thirdparty=false&x=%zz",
        &Value::Null,
    );
    assert_eq!(plain.await.status.as_u16(), 201);
}

#[tokio::test]
async fn readiness_is_lost_with_the_data_plane() {
    let harness = Harness::new().await;
    harness.service.engine.release();
    let got = harness.send(Method::GET, "/readyz", None, "").await;
    assert_eq!(got.status.as_u16(), 503);
    let alive = harness.send(Method::GET, "/healthz", None, "").await;
    assert_eq!(alive.status.as_u16(), 200);
    let call = harness
        .call(Method::POST, "/sessions/new", &Value::Null)
        .await;
    assert_eq!(call.error(), (503, "transport_unavailable_error"));
}

#[tokio::test]
async fn the_page_is_served_with_a_strict_policy() {
    let harness = Harness::new().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/static/main.js", "text/javascript; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
    ] {
        let got = harness.send(Method::GET, path, None, "").await;
        assert_eq!(got.status.as_u16(), 200, "{path}");
        assert_eq!(text(&got.headers, "content-type"), content_type, "{path}");
        let policy = text(&got.headers, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    }
}

#[tokio::test]
async fn metrics_count_calls_by_the_pattern_of_their_route() {
    let harness = Harness::new().await;
    harness.new_session().await;
    harness
        .send(Method::GET, "/some/secret/path", None, "")
        .await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(harness.router(), request)
        .await
        .unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let page = String::from_utf8(bytes.to_vec()).unwrap();
    let route = "method=\"POST\",route=\"/v1/apps/{app_id}/sessions/new\",status=\"201\"";
    assert!(page.contains(&format!(
        "jackfield_http_request_duration_seconds_count{{{route}}} 1"
    )));
    assert!(page.contains("route=\"other\",status=\"404\""));
    assert!(!page.contains("secret"));
}

#[tokio::test]
async fn members_of_a_room_find_each_other() {
    let harness = Harness::new().await;
    let room = format!("/demo/apps/{APP}/rooms/blue");
    let presence = json!({ "sessionId": "s", "tracks": ["a", "v"], "name": "Ann" }).to_string();
    let member = format!("{room}/members/ann");
    let put = harness
        .send(Method::PUT, &member, Some(SECRET), presence)
        .await;
    assert_eq!(put.status.as_u16(), 200, "{}", put.json);
    let list = harness.send(Method::GET, &room, Some(SECRET), "").await;
    let expected = json!({ "members": [
        { "member": "ann", "sessionId": "s", "tracks": ["a", "v"], "name": "Ann" },
    ], "settled": false });
    assert_eq!(list.json, expected);
    assert_eq!(
        harness
            .send(Method::GET, &room, Some("no"), "")
            .await
            .status
            .as_u16(),
        401
    );
    harness
        .send(Method::DELETE, &member, Some(SECRET), "")
        .await;
    let empty = harness.send(Method::GET, &room, Some(SECRET), "").await;
    assert_eq!(empty.json, json!({ "members": [], "settled": false }));
    let bad = format!("/demo/apps/{APP}/rooms/{}", "x".repeat(65));
    assert_eq!(
        harness
            .send(Method::GET, &bad, Some(SECRET), "")
            .await
            .status
            .as_u16(),
        406
    );
}
