//! The account API.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::{ACCOUNT_TOKEN, Answer, Harness, answer};

async fn call(harness: &Harness, method: Method, path: &str, body: &Value) -> Answer {
    let path = format!("/client/v4/accounts/any/calls/apps{path}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    harness.send(method, &path, Some(ACCOUNT_TOKEN), body).await
}

#[tokio::test]
async fn an_app_is_created_listed_read_renamed_and_deleted() {
    let harness = Harness::new().await;
    let made = call(&harness, Method::POST, "", &json!({ "name": "one" })).await;
    assert_eq!(made.status.as_u16(), 201);
    let (uid, secret) = (&made.json["result"]["uid"], &made.json["result"]["secret"]);
    let (uid, secret) = (uid.as_str().unwrap(), secret.as_str().unwrap());
    assert_eq!((uid.len(), secret.len()), (32, 64));
    assert_eq!(made.json["success"], true);
    assert_eq!(
        (&made.json["errors"], &made.json["messages"]),
        (&json!([]), &json!([]))
    );

    let path = format!("/v1/apps/{uid}/sessions/new");
    assert_eq!(
        harness
            .send(Method::POST, &path, Some(secret), "")
            .await
            .status
            .as_u16(),
        201
    );

    let list = call(&harness, Method::GET, "", &Value::Null).await;
    assert_eq!(list.json["result"].as_array().unwrap().len(), 2);
    let read = call(&harness, Method::GET, &format!("/{uid}"), &Value::Null).await;
    assert_eq!(read.json["result"]["name"], "one");
    assert_eq!(read.json["result"].get("secret"), None);
    let renamed = call(
        &harness,
        Method::PUT,
        &format!("/{uid}"),
        &json!({ "name": "two" }),
    )
    .await;
    assert_eq!(renamed.json["result"]["name"], "two");
    let deleted = call(&harness, Method::DELETE, &format!("/{uid}"), &Value::Null).await;
    assert_eq!(
        (deleted.status.as_u16(), &deleted.json["result"]["uid"]),
        (200, &json!(uid))
    );
    let gone = call(&harness, Method::GET, &format!("/{uid}"), &Value::Null).await;
    assert_eq!(
        (gone.status.as_u16(), &gone.json["success"]),
        (404, &json!(false))
    );
    assert_eq!(
        harness
            .send(Method::POST, &path, Some(secret), "")
            .await
            .status
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn the_sessions_of_a_deleted_app_end() {
    let harness = Harness::new().await;
    let made = call(&harness, Method::POST, "", &Value::Null).await;
    let uid = made.json["result"]["uid"].as_str().unwrap();
    let secret = made.json["result"]["secret"].as_str().unwrap();
    let path = format!("/v1/apps/{uid}/sessions/new");
    harness.send(Method::POST, &path, Some(secret), "").await;
    assert_eq!(harness.fake.sessions().len(), 1);
    call(&harness, Method::DELETE, &format!("/{uid}"), &Value::Null).await;
    for _ in 0..100 {
        if harness.fake.sessions().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the session lives on");
}

#[tokio::test]
async fn the_account_wants_its_token_in_either_form() {
    let harness = Harness::new().await;
    let path = "/client/v4/accounts/any/calls/apps";
    for (token, status) in [
        (Some(ACCOUNT_TOKEN), 200),
        (Some("wrong"), 401),
        (None, 401),
    ] {
        assert_eq!(
            harness
                .send(Method::GET, path, token, "")
                .await
                .status
                .as_u16(),
            status
        );
    }
    for (key, status) in [(ACCOUNT_TOKEN, 200), ("wrong", 401)] {
        let request = Request::get(path)
            .header("x-auth-email", "someone@example.org")
            .header("x-auth-key", key)
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            answer(harness.router(), request).await.status.as_u16(),
            status
        );
    }
}

#[tokio::test]
async fn an_error_comes_in_the_envelope() {
    let harness = Harness::new().await;
    let wrong = call(&harness, Method::POST, "", &json!({ "name": 5 })).await;
    assert_eq!(wrong.status.as_u16(), 400);
    assert_eq!(wrong.json["success"], false);
    let message = wrong.json["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("name"), "{message}");
}
