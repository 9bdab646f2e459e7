//! The account API for apps: list, create, read, rename, delete, in its own envelope.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::{Body, OptionalBody};
use super::error::ApiError;
use super::{AccountAccess, SharedService};
use crate::store::{App, NewApp, StoreError};

/// `{success, errors, messages, result}`.
#[derive(Debug, Serialize)]
struct Envelope<T> {
    success: bool,
    errors: Vec<Note>,
    messages: Vec<Note>,
    result: T,
}

#[derive(Debug, Serialize)]
struct Note {
    code: u32,
    message: String,
}

/// A failed request, in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountError {
    status: StatusCode,
    code: u32,
    message: String,
}

/// An app as the account API tells of it.
#[derive(Debug, Serialize)]
struct AppObject {
    uid: String,
    name: String,
    created: String,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// `{name?}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AppRequest {
    name: Option<String>,
}

/// Path of one app. The account's id is not looked at: there is one account.
#[derive(Debug, Deserialize)]
pub(crate) struct AppPath {
    app_id: String,
}

type Answer<T> = Result<(StatusCode, Json<Envelope<T>>), AccountError>;

/// `GET /accounts/{account_id}/calls/apps`.
pub(crate) async fn list(
    _: AccountAccess,
    State(service): State<SharedService>,
) -> Result<impl IntoResponse, AccountError> {
    let apps = service.store.apps().await?;
    success(
        StatusCode::OK,
        apps.into_iter().map(AppObject::from).collect::<Vec<_>>(),
    )
}

/// `POST /accounts/{account_id}/calls/apps`.
pub(crate) async fn create(
    _: AccountAccess,
    State(service): State<SharedService>,
    body: Result<OptionalBody<AppRequest>, ApiError>,
) -> Result<impl IntoResponse, AccountError> {
    let OptionalBody(body) = body?;
    let name = name_of(body.unwrap_or_default())?.unwrap_or_default();
    let NewApp { app, secret } = service.store.create_app(&name).await?;
    let object = AppObject {
        secret: Some(secret),
        ..AppObject::from(app)
    };
    success(StatusCode::CREATED, object)
}

/// `GET /accounts/{account_id}/calls/apps/{app_id}`.
pub(crate) async fn read(
    _: AccountAccess,
    State(service): State<SharedService>,
    Path(AppPath { app_id }): Path<AppPath>,
) -> Result<impl IntoResponse, AccountError> {
    found(service.store.app(&app_id).await?)
}

/// `PUT /accounts/{account_id}/calls/apps/{app_id}`.
pub(crate) async fn rename(
    _: AccountAccess,
    State(service): State<SharedService>,
    Path(AppPath { app_id }): Path<AppPath>,
    body: Result<Body<AppRequest>, ApiError>,
) -> Result<impl IntoResponse, AccountError> {
    let Body(body) = body?;
    match name_of(body)? {
        Some(name) => found(service.store.rename_app(&app_id, &name).await?),
        None => found(service.store.app(&app_id).await?),
    }
}

/// `DELETE /accounts/{account_id}/calls/apps/{app_id}`. Its sessions end with it.
pub(crate) async fn delete(
    _: AccountAccess,
    State(service): State<SharedService>,
    Path(AppPath { app_id }): Path<AppPath>,
) -> Result<impl IntoResponse, AccountError> {
    let deleted = service.store.delete_app(&app_id).await?;
    if deleted.is_some() {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            for session in service.registry.sessions() {
                if session.app() == app_id
                    && let Err(error) = service.end_session(session.id()).await
                {
                    tracing::warn!(session = %session.id(), %error, "could not be ended");
                }
            }
        });
    }
    found(deleted)
}

impl AccountError {
    /// 401 with the code that Cloudflare uses.
    pub(super) fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: 10_000,
            message: "Authentication error".to_owned(),
        }
    }

    fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: 7_003,
            message: "There is no app with this id".to_owned(),
        }
    }
}

impl IntoResponse for AccountError {
    fn into_response(self) -> Response {
        let envelope = Envelope {
            success: false,
            errors: vec![Note {
                code: self.code,
                message: self.message,
            }],
            messages: Vec::new(),
            result: None::<()>,
        };
        (self.status, Json(envelope)).into_response()
    }
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        ApiError::internal(&error).into()
    }
}

impl From<ApiError> for AccountError {
    fn from(error: ApiError) -> Self {
        let (status, _) = error.kind.row();
        Self {
            status,
            code: 1_000 + u32::from(status.as_u16()),
            message: error.description,
        }
    }
}

impl From<App> for AppObject {
    fn from(app: App) -> Self {
        Self {
            uid: app.id,
            name: app.name,
            created: rfc3339(app.created),
            modified: rfc3339(app.modified),
            secret: None,
        }
    }
}

fn success<T>(status: StatusCode, result: T) -> Answer<T> {
    let envelope = Envelope {
        success: true,
        errors: Vec::new(),
        messages: Vec::new(),
        result,
    };
    Ok((status, Json(envelope)))
}

fn found(app: Option<App>) -> Answer<AppObject> {
    let app = app.ok_or_else(AccountError::not_found)?;
    success(StatusCode::OK, AppObject::from(app))
}

fn name_of(request: AppRequest) -> Result<Option<String>, AccountError> {
    match request.name {
        Some(name) if name.len() > NAME_BYTES_MAX => {
            Err(ApiError::invalid(format!("name: longer than {NAME_BYTES_MAX} bytes")).into())
        }
        name => Ok(name),
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

const NAME_BYTES_MAX: usize = 256;
