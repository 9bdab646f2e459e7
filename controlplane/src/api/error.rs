//! What goes wrong over HTTP: one table from our errors to a status and an `errorCode`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct ApiError {
    /// Row of the table.
    pub kind: ErrorKind,
    /// A sentence that names what is wrong.
    pub description: String,
    /// A finer code, where the original has one.
    pub subcode: Option<&'static str>,
}

/// Rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below says it")]
pub enum ErrorKind {
    Unauthorized,
    UnknownApp,
    UnknownPath,
    MethodNotAllowed,
    Decoding,
    InvalidParams,
    InvalidSessionDescription,
    PayloadTooLarge,
    RequestTimeout,
    SessionNotReady,
    SessionGone,
    TooManyRequests,
    NotSupported,
    Capacity,
    DataPlaneAway,
    DataPlaneSilent,
    Internal,
}

impl ErrorKind {
    /// The table.
    pub fn row(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::UnknownApp | Self::UnknownPath => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Decoding => (StatusCode::BAD_REQUEST, "decoding_error"),
            Self::InvalidParams => (StatusCode::NOT_ACCEPTABLE, "invalid_params"),
            Self::InvalidSessionDescription => {
                (StatusCode::NOT_ACCEPTABLE, "invalid_session_description")
            }
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::SessionNotReady => (StatusCode::TOO_EARLY, "session_error"),
            Self::SessionGone => (StatusCode::GONE, "session_error"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::NotSupported => (StatusCode::NOT_IMPLEMENTED, "not_supported"),
            Self::Capacity => (
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable_error",
            ),
            Self::DataPlaneAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "transport_unavailable_error",
            ),
            Self::DataPlaneSilent => (StatusCode::SERVICE_UNAVAILABLE, "retryable_transient_error"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }
}

impl ApiError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, description: impl Into<String>) -> Self {
        Self {
            kind,
            description: description.into(),
            subcode: None,
        }
    }

    /// 401: no token, or a wrong one.
    pub fn unauthorized() -> Self {
        Self::new(
            ErrorKind::Unauthorized,
            "Authorization must be `Bearer` and the secret of this app",
        )
    }

    /// 400: the body is no such JSON; `field` is the path of what is wrong.
    pub fn decoding(field: &str) -> Self {
        Self::new(
            ErrorKind::Decoding,
            format!("Body JSON validation error: {field}"),
        )
    }

    /// 406: the JSON says something that cannot be done.
    pub fn invalid(description: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParams, description)
    }

    /// 410: unknown, ended, or lost.
    pub fn gone() -> Self {
        Self::new(
            ErrorKind::SessionGone,
            "Session appears to be disconnected. Please check if the PeerConnection is connected.",
        )
    }

    /// 425: it did not connect in time.
    pub fn not_ready() -> Self {
        Self::new(
            ErrorKind::SessionNotReady,
            "Session is not ready yet. Please ensure the PeerConnection is connected before making \
             this request",
        )
    }

    /// What is told of it in JSON.
    pub(super) fn body(&self) -> ErrorBody<'_> {
        let (_, code) = self.kind.row();
        ErrorBody {
            error_code: code,
            error_description: &self.description,
            error_subcode: self.subcode,
        }
    }

    /// 500: our own mistake. The cause goes to the log, not to the client.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(ErrorKind::Internal, "Internal error")
    }
}

/// The body of a failed request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorBody<'a> {
    error_code: &'a str,
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_subcode: Option<&'a str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, _) = self.kind.row();
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.kind {
            ErrorKind::TooManyRequests
            | ErrorKind::Capacity
            | ErrorKind::DataPlaneAway
            | ErrorKind::DataPlaneSilent => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ErrorKind::Unauthorized => {
                // RFC 9110 §11.6.1: a 401 names the scheme.
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ErrorKind::UnknownApp
            | ErrorKind::UnknownPath
            | ErrorKind::MethodNotAllowed
            | ErrorKind::Decoding
            | ErrorKind::InvalidParams
            | ErrorKind::InvalidSessionDescription
            | ErrorKind::PayloadTooLarge
            | ErrorKind::RequestTimeout
            | ErrorKind::SessionNotReady
            | ErrorKind::SessionGone
            | ErrorKind::NotSupported
            | ErrorKind::Internal => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_reference() {
        let table = [
            (ErrorKind::Unauthorized, 401, "unauthorized"),
            (ErrorKind::UnknownApp, 404, "not_found"),
            (ErrorKind::Decoding, 400, "decoding_error"),
            (ErrorKind::InvalidParams, 406, "invalid_params"),
            (ErrorKind::PayloadTooLarge, 413, "payload_too_large"),
            (
                ErrorKind::InvalidSessionDescription,
                406,
                "invalid_session_description",
            ),
            (ErrorKind::SessionNotReady, 425, "session_error"),
            (ErrorKind::SessionGone, 410, "session_error"),
            (ErrorKind::TooManyRequests, 429, "too_many_requests"),
            (ErrorKind::Internal, 500, "internal_error"),
        ];
        for (kind, status, code) in table {
            assert_eq!(
                (kind.row().0.as_u16(), kind.row().1),
                (status, code),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_429_says_when_to_come_back() {
        let response = ApiError::new(ErrorKind::TooManyRequests, "slow down").into_response();
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "1");
    }
}
