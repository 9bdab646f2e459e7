//! The calls of the sessions and tracks API that peers make.

use core::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::error::LoadError;
use crate::options::App;

/// A client of one app.
#[derive(Clone, Debug)]
pub struct Api {
    authority: String,
    base: String,
    app: App,
}

/// A track in a request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Track {
    /// `local` or `remote`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Of the media section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    /// Of the publisher, in a pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Unique in the publishing session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_name: Option<String>,
    /// Of an item that failed.
    #[serde(skip_serializing)]
    pub error_code: Option<String>,
    /// The same in words.
    #[serde(skip_serializing)]
    pub error_description: Option<String>,
}

impl Api {
    /// `url` is `http://HOST[:PORT]`, without a path.
    ///
    /// # Errors
    ///
    /// [`LoadError::Http`] if it is not.
    pub fn new(url: &str, app: &App) -> Result<Self, LoadError> {
        let authority = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .ok_or_else(|| LoadError::Http(format!("{url} is not http://HOST[:PORT]")))?;
        let port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        Ok(Self {
            authority,
            base: format!("/v1/apps/{}", app.id),
            app: app.clone(),
        })
    }

    /// The address that the API answers at.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] if nobody listens.
    pub async fn address(&self) -> Result<IpAddr, LoadError> {
        Ok(TcpStream::connect(&self.authority).await?.peer_addr()?.ip())
    }

    /// `POST sessions/new`: the new session's id.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the call fails.
    pub async fn new_session(&self) -> Result<String, LoadError> {
        let answer = self.call(Method::POST, "/sessions/new", None).await?;
        text(&answer, "/sessionId").ok_or(LoadError::Description("no sessionId"))
    }

    /// `POST tracks/new` with local tracks and an offer: the server's answer.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the call or a track fails.
    pub async fn push(
        &self,
        session: &str,
        tracks: &[Track],
        offer: &str,
    ) -> Result<String, LoadError> {
        let description = json!({ "type": "offer", "sdp": offer });
        self.new_tracks(
            session,
            json!({ "sessionDescription": description, "tracks": tracks }),
        )
        .await
    }

    /// `POST tracks/new` with remote tracks: the server's offer.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the call or a track fails.
    pub async fn pull(&self, session: &str, tracks: &[Track]) -> Result<String, LoadError> {
        self.new_tracks(session, json!({ "tracks": tracks })).await
    }

    /// `PUT renegotiate` with our answer.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the call fails.
    pub async fn renegotiate(&self, session: &str, answer: &str) -> Result<(), LoadError> {
        let body = json!({ "sessionDescription": { "type": "answer", "sdp": answer } });
        let path = format!("/sessions/{session}/renegotiate");
        self.call(Method::PUT, &path, Some(body)).await.map(|_| ())
    }

    async fn new_tracks(&self, session: &str, body: Value) -> Result<String, LoadError> {
        let path = format!("/sessions/{session}/tracks/new");
        let answer = self.call(Method::POST, &path, Some(body)).await?;
        let tracks = answer.pointer("/tracks").cloned().unwrap_or_default();
        let tracks: Vec<Track> = serde_json::from_value(tracks)
            .map_err(|_| LoadError::Description("no list of tracks"))?;
        if let Some(failed) = tracks.iter().find(|track| track.error_code.is_some()) {
            return Err(LoadError::Refused {
                path,
                status: 200,
                body: format!("{failed:?}"),
            });
        }
        text(&answer, "/sessionDescription/sdp")
            .ok_or(LoadError::Description("no sessionDescription"))
    }

    /// One call on a connection of its own.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, LoadError> {
        let http = |error: &dyn core::fmt::Display| LoadError::Http(format!("{path}: {error}"));
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| http(&error))?;
        let connection = tokio::spawn(connection);
        let body = body.map(|value| value.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("host", &self.authority)
            .header("authorization", format!("Bearer {}", self.app.secret))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| http(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| http(&error))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| http(&error))?
            .to_bytes();
        connection.abort();
        if !status.is_success() {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(LoadError::Refused {
                path: path.to_owned(),
                status: status.as_u16(),
                body,
            });
        }
        serde_json::from_slice(&body).map_err(|error| http(&error))
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn app() -> App {
        App {
            id: "app".to_owned(),
            secret: "secret".to_owned(),
        }
    }

    /// Answers one request with `status` and `body`, and returns what was asked.
    async fn serve_once(
        status: &'static str,
        body: &'static str,
    ) -> (Api, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream
                .write_all(&[head.as_bytes(), body.as_bytes()].concat())
                .await
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (Api::new(&url, &app()).unwrap(), task)
    }

    #[tokio::test]
    async fn a_new_session_is_asked_for_with_the_secret() {
        let (api, request) = serve_once("201 Created", r#"{"sessionId":"0af"}"#).await;
        assert_eq!(api.new_session().await.unwrap(), "0af");
        let request = request.await.unwrap();
        assert!(
            request.starts_with("POST /v1/apps/app/sessions/new HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("authorization: Bearer secret\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusal_carries_status_and_body() {
        let (api, _) = serve_once("401 Unauthorized", r#"{"errorCode":"unauthorized"}"#).await;
        let refused = api.new_session().await;
        assert!(
            matches!(&refused, Err(LoadError::Refused { status: 401, body, .. })
                if body.contains("unauthorized")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn a_failed_track_is_a_refusal_though_the_status_is_200() {
        let body = r#"{"tracks":[{"mid":"","errorCode":"not_found_track_error"}]}"#;
        let (api, _) = serve_once("200 OK", body).await;
        let refused = api.pull("0af", &[Track::default()]).await;
        assert!(
            matches!(refused, Err(LoadError::Refused { status: 200, .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn the_url_is_a_scheme_and_an_authority() {
        for url in [
            "127.0.0.1:8787",
            "https://127.0.0.1",
            "http://",
            "http://host/path",
        ] {
            assert!(Api::new(url, &app()).is_err(), "{url}");
        }
        assert_eq!(
            Api::new("http://host/", &app()).unwrap().authority,
            "host:80"
        );
    }
}
