//! Request bodies: JSON, whatever the content type says.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::{ApiError, ErrorKind};

/// A JSON body, whatever the content type says.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

/// A JSON body that may be missing.
#[derive(Clone, Copy, Debug)]
pub struct OptionalBody<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(req: Request, state: &S) -> Result<Self, ApiError> {
        decode(&bytes(req, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(req: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = bytes(req, state).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        decode(&bytes).map(|value| Self(Some(value)))
    }
}

/// Reads a body of at most [`super::BODY_BYTES_MAX`]; the limit is set in `routes`.
async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<axum::body::Bytes, ApiError> {
    axum::body::Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let limit = super::BODY_BYTES_MAX;
                return ApiError::new(
                    ErrorKind::PayloadTooLarge,
                    format!("The body is longer than {limit} bytes"),
                );
            }
            ApiError::new(ErrorKind::Decoding, "The body could not be read")
        })
}

/// Decodes JSON; an error names the path of the field that is wrong.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner();
        if reason.is_syntax() || reason.is_eof() {
            return ApiError::new(
                ErrorKind::Decoding,
                format!("The body is not JSON: {reason}"),
            );
        }
        field_error(&path, &reason.to_string())
    })?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(_) => Err(ApiError::new(
            ErrorKind::Decoding,
            "The body is not JSON: something follows its end",
        )),
    }
}

/// `missing field` names a field inside of the path; all else is about the path itself.
fn field_error(path: &str, reason: &str) -> ApiError {
    let prefix = if path == "." { "" } else { path };
    let missing = reason
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    if let Some(field) = missing {
        let dot = if prefix.is_empty() { "" } else { "." };
        return ApiError::decoding(&format!("{prefix}{dot}{field}"));
    }
    let colon = if prefix.is_empty() { "" } else { ": " };
    ApiError::decoding(&format!("{prefix}{colon}{reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::types::{CloseTracksRequest, NewSessionRequest, TrackRequest, TracksRequest};
    use super::*;

    fn told<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        decode::<T>(json.as_bytes()).unwrap_err().description
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(
            told::<NewSessionRequest>("{}"),
            "Body JSON validation error: sessionDescription"
        );
        assert_eq!(
            told::<NewSessionRequest>(r#"{"sessionDescription":{"type":"offer"}}"#),
            "Body JSON validation error: sessionDescription.sdp"
        );
        assert_eq!(
            told::<CloseTracksRequest>(r#"{"tracks":[]}"#),
            "Body JSON validation error: force"
        );
        let told = told::<TracksRequest>(r#"{"tracks":[{},{"location":1}]}"#);
        assert!(
            told.starts_with("Body JSON validation error: tracks[1].location: "),
            "{told}"
        );
    }

    #[test]
    fn what_is_no_json_is_a_decoding_error() {
        for text in ["{", "", "nul", "{} {}", "\u{0}"] {
            let error = decode::<TracksRequest>(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Decoding, "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_ends_in_an_error() {
        let bomb = format!("{{\"unknown\":{}", "[".repeat(500_000));
        assert_eq!(
            decode::<TracksRequest>(bomb.as_bytes()).unwrap_err().kind,
            ErrorKind::Decoding
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let json = r#"{"tracks":[{"location":"remote","extra":1,"errorCode":"x"}],"more":[]}"#;
        let request: TracksRequest = decode(json.as_bytes()).unwrap();
        let tracks = request.tracks.unwrap();
        assert_eq!(tracks.first().unwrap().location, Some("remote".to_owned()));
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let json = r#"{"sessionDescription":null,"tracks":[{"mid":null,"simulcast":null}]}"#;
        let request: TracksRequest = decode(json.as_bytes()).unwrap();
        assert_eq!(request.tracks.unwrap(), [TrackRequest::default()]);
    }
}
