//! `/healthz`, `/readyz` and `/metrics`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::SharedService;
use crate::observe;

/// The process is alive.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Calls can be served: a data plane is attached and all its shards turn.
pub(crate) async fn readyz(State(service): State<SharedService>) -> (StatusCode, Json<Value>) {
    let Some(plane) = service.engine.plane() else {
        let body = json!({ "status": "not ready", "reason": "no data plane is attached" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body));
    };
    let stale: Vec<usize> = plane
        .heartbeat_ages()
        .enumerate()
        .filter(|(_, age)| *age > HEARTBEAT_AGE_MAX)
        .map(|(shard, _)| shard)
        .collect();
    if stale.is_empty() {
        return (StatusCode::OK, Json(json!({ "status": "ready" })));
    }
    let body = json!({ "status": "not ready", "reason": "shards stand still", "shards": stale });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

/// The figures of both planes for Prometheus.
pub(crate) async fn metrics(State(service): State<SharedService>) -> impl IntoResponse {
    let text = observe::render(&service.engine, &service.registry, &service.figures);
    ([(header::CONTENT_TYPE, observe::CONTENT_TYPE)], text)
}

const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(1);
