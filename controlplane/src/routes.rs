//! The whole HTTP surface.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use crate::api::{ApiError, BODY_BYTES_MAX, ErrorKind, SharedService, handlers as api};
use crate::web;

/// All routes over one service.
pub fn router(service: SharedService) -> Router {
    Router::new()
        .nest("/v1/apps/{app_id}", app_routes())
        .nest("/apps/{app_id}", app_routes())
        .nest("/demo/apps/{app_id}", demo_routes())
        .nest("/client/v4/accounts/{account_id}/calls", account_routes())
        .route("/healthz", get(api::healthz))
        .route("/readyz", get(api::readyz))
        .route("/metrics", get(api::metrics))
        .route("/", get(web::index))
        .route("/static/{file}", get(web::file))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(time_limit))
        .layer(from_fn(cors))
        .layer(from_fn_with_state(SharedService::clone(&service), count))
        .with_state(service)
}

/// Sessions and tracks; needs the app's secret.
fn app_routes() -> Router<SharedService> {
    Router::new()
        .route("/sessions/new", post(api::create_session))
        .route(
            "/sessions/{session_id}",
            get(api::read_session).delete(api::delete_session),
        )
        .route(
            "/sessions/{session_id}/tracks/new",
            post(api::create_tracks),
        )
        .route(
            "/sessions/{session_id}/tracks/close",
            put(api::close_tracks),
        )
        .route(
            "/sessions/{session_id}/tracks/update",
            put(api::update_tracks),
        )
        .route("/sessions/{session_id}/renegotiate", put(api::renegotiate))
        .route("/sessions/{session_id}/audio", put(api::limit_audio))
        .route("/sessions/{session_id}/stats", get(api::read_stats))
        .route("/sessions/{session_id}/stats/events", get(api::watch_stats))
}

/// The page's meeting point; needs the app's secret.
fn demo_routes() -> Router<SharedService> {
    Router::new()
        .route("/rooms/{room}", get(api::members))
        .route(
            "/rooms/{room}/members/{member}",
            put(api::announce).delete(api::withdraw),
        )
}

/// The apps of the account; needs the account's token.
fn account_routes() -> Router<SharedService> {
    Router::new()
        .route("/apps", get(api::list_apps).post(api::create_app))
        .route(
            "/apps/{app_id}",
            get(api::read_app)
                .put(api::rename_app)
                .delete(api::delete_app),
        )
}

async fn unknown_path() -> ApiError {
    ApiError::new(ErrorKind::UnknownPath, "There is nothing at this path")
}

async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::new(
        ErrorKind::MethodNotAllowed,
        format!("{method} is not possible here"),
    )
}

/// A request that takes longer than any wait of ours can: a body that trickles in, say.
async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = REQUEST_TIME_MAX.as_secs();
            let description = format!("The request took longer than {seconds} s");
            ApiError::new(ErrorKind::RequestTimeout, description).into_response()
        }
    }
}

/// Pages of any origin may call: they must know a secret anyway. Answers every preflight itself.
async fn cors(request: Request, next: Next) -> Response {
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        let mut response = StatusCode::NO_CONTENT.into_response();
        for (name, value) in PREFLIGHT {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    } else {
        next.run(request).await
    };
    add_cors(response.headers_mut());
    response
}

fn add_cors(headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// Counts every call under the pattern of its route.
async fn count(State(service): State<SharedService>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    service
        .figures
        .record(method, route, response.status().as_u16(), started.elapsed());
    response
}

/// Methods are the client's choice; the figures keep a few of them apart.
fn known_method(method: &Method) -> &'static str {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ]
    .iter()
    .zip(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
    .find(|(known, _)| *known == method)
    .map_or("other", |(_, name)| name)
}

/// Longer than the longest chain of waits: connecting, first packet, a command's answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
const PREFLIGHT: [(header::HeaderName, &str); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET,POST,PUT,DELETE,OPTIONS",
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "authorization, content-type",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "86400"),
];
