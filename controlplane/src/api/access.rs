//! Who may do what: bearer tokens, the session in the path, and the rate of requests.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use shared::id::SessionId;

use super::error::{ApiError, ErrorKind};
use super::{SharedService, account::AccountError};
use crate::registry::{Registry, Session};
use crate::store::{Access, secrets_equal};

/// The caller holds the secret of the app in the path.
#[derive(Clone, Debug)]
pub struct AppAccess {
    /// `{app_id}` of the path.
    pub app: String,
}

/// The caller holds the secret of the app, and the session in the path is one of that app.
#[derive(Clone, Debug)]
pub struct SessionAccess {
    /// `{session_id}` of the path.
    pub session: Arc<Session>,
}

/// The caller holds the token of the account API.
#[derive(Clone, Copy, Debug)]
pub struct AccountAccess;

impl FromRequestParts<SharedService> for AppAccess {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &SharedService,
    ) -> Result<Self, ApiError> {
        let app = path_part(parts, state, "app_id").await;
        let token = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        match state.store.authenticate(&app, token).await {
            Ok(Access::Granted) => Ok(Self { app }),
            Ok(Access::WrongSecret) => Err(ApiError::unauthorized()),
            Ok(Access::UnknownApp) => Err(ApiError::new(
                ErrorKind::UnknownApp,
                "There is no app with this id",
            )),
            Err(error) => Err(ApiError::internal(&error)),
        }
    }
}

impl FromRequestParts<SharedService> for SessionAccess {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &SharedService,
    ) -> Result<Self, ApiError> {
        let AppAccess { app } = AppAccess::from_request_parts(parts, state).await?;
        let id = path_part(parts, state, "session_id").await;
        let session = find(&state.registry, &app, &id)?;
        session.admit().map_err(|_| {
            ApiError::new(
                ErrorKind::TooManyRequests,
                "More than 50 requests in a second for this session",
            )
        })?;
        Ok(Self { session })
    }
}

impl FromRequestParts<SharedService> for AccountAccess {
    type Rejection = AccountError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &SharedService,
    ) -> Result<Self, AccountError> {
        // The older way: an e-mail address and a key. There is one account, so the key decides.
        let key = parts.headers.get("x-auth-email").and_then(|_| {
            parts
                .headers
                .get("x-auth-key")
                .and_then(|key| key.to_str().ok())
        });
        match bearer(&parts.headers).or(key) {
            Some(token) if secrets_equal(token, &state.account_token) => Ok(Self),
            _ => Err(AccountError::unauthorized()),
        }
    }
}

/// Unknown, ended and other apps' sessions all answer 410, at once.
fn find(registry: &Registry, app: &str, id: &str) -> Result<Arc<Session>, ApiError> {
    let Ok(id) = id.parse::<SessionId>() else {
        return Err(unknown_session());
    };
    if let Some(session) = registry.directory(app).session(id) {
        return Ok(session);
    }
    match registry.ended(id) {
        Some(ended) => Err(ApiError::new(ErrorKind::SessionGone, ended.description())),
        None => Err(unknown_session()),
    }
}

fn unknown_session() -> ApiError {
    ApiError::new(
        ErrorKind::SessionGone,
        "could not find episode: there is no such session",
    )
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A part of the path that the route names; empty if it is no text, which nothing is called.
async fn path_part(parts: &mut Parts, service: &SharedService, name: &str) -> String {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, service).await;
    path.ok()
        .and_then(|Path(mut all)| all.remove(name))
        .unwrap_or_default()
}
