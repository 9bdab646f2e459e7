//! The API through its routes, over real rings to a data plane without media.

mod access;
mod account;
mod audio;
mod calls;
mod stats;
mod surface;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use shared::id::{PublicationId, SessionId};
use shared::protocol::{Event, TransportState};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::{Rooms, Service, SharedService, Waits, Watchers};
use crate::engine::Engine;
use crate::engine::fake::FakeDataPlane;
use crate::observe::HttpFigures;
use crate::registry::Registry;
use crate::routes;
use crate::store::Store;
use crate::supervise::spawn_hearing;

struct Harness {
    service: SharedService,
    fake: FakeDataPlane,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Harness {
    async fn new() -> Self {
        Self::with_shards(1).await
    }

    async fn with_shards(shards: u16) -> Self {
        let fake = FakeDataPlane::start(shards);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        store.ensure_app(APP, SECRET).await.unwrap();
        let (notices, heard) = mpsc::unbounded_channel();
        let service = Arc::new(Service {
            store,
            engine: Engine::new(notices),
            registry: Registry::new(),
            rooms: Rooms::default(),
            watchers: Watchers::default(),
            figures: HttpFigures::default(),
            account_token: ACCOUNT_TOKEN.to_owned(),
            waits: Waits {
                connect: Duration::from_millis(300),
                first_packet: Duration::from_millis(500),
            },
        });
        spawn_hearing(&service, heard);
        service.engine.adopt(fake.attachment()).unwrap();
        Self {
            service,
            fake,
            _dir: dir,
        }
    }

    fn router(&self) -> Router {
        routes::router(Arc::clone(&self.service))
    }

    /// With the app's secret.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(
            method,
            &format!("/v1/apps/{APP}{path}"),
            Some(SECRET),
            body.into_bytes(),
        )
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        answer(self.router(), request.body(body.into()).unwrap()).await
    }

    async fn new_session(&self) -> String {
        let made = self.call(Method::POST, "/sessions/new", &Value::Null).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
        made.text("sessionId").to_owned()
    }

    /// A session that publishes one audio track called `name`.
    async fn publisher(&self, name: &str) -> String {
        let id = self.new_session().await;
        let pushed = self.push(&id, name).await;
        assert_eq!(pushed.status, StatusCode::OK, "{}", pushed.json);
        id
    }

    async fn push(&self, id: &str, name: &str) -> Answer {
        let body = json!({
            "sessionDescription": { "type": "offer", "sdp": AUDIO_OFFER },
            "tracks": [{ "location": "local", "mid": "0", "trackName": name }],
        });
        self.call(Method::POST, &format!("/sessions/{id}/tracks/new"), &body)
            .await
    }

    async fn pull(&self, id: &str, publisher: &str, name: &str) -> Answer {
        let body = json!({
            "tracks": [{ "location": "remote", "sessionId": publisher, "trackName": name }],
        });
        self.call(Method::POST, &format!("/sessions/{id}/tracks/new"), &body)
            .await
    }

    /// The data plane says that the first packet of a session's first track has come.
    fn media_flows(&self, id: &str) {
        let session: SessionId = id.parse().unwrap();
        let state = self.service.registry.session(session).unwrap().state();
        let number = state
            .model
            .tracks()
            .iter()
            .find_map(|track| match track.source {
                crate::negotiate::TrackSource::Local { publication } => Some(publication),
                crate::negotiate::TrackSource::Remote { .. } => None,
            })
            .unwrap();
        let publication = PublicationId { session, number };
        let event = Event::PublicationChanged {
            publication,
            receiving: true,
        };
        self.fake.say(session.shard(), event);
    }

    /// The data plane says how a session's transport stands, and the registry has heard it.
    async fn transport(&self, id: &str, state: TransportState) {
        let id: SessionId = id.parse().unwrap();
        self.fake.transport(id, state);
        let session = self.service.registry.session(id).unwrap();
        let mut watch = session.watch();
        watch.wait_for(|now| now.transport == state).await.unwrap();
    }
}

impl Answer {
    fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.text("errorCode"))
    }
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status: parts.status,
        headers: parts.headers,
        json,
    }
}

const APP: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "the-secret-of-this-app";
const ACCOUNT_TOKEN: &str = "the-token-of-the-account";

/// What a browser offers to send one audio track.
const AUDIO_OFFER: &str = "v=0\r
o=- 4611731400430051336 2 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE 0\r
a=extmap-allow-mixed\r
a=msid-semantic: WMS\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
c=IN IP4 0.0.0.0\r
a=rtcp:9 IN IP4 0.0.0.0\r
a=ice-ufrag:4ZcD\r
a=ice-pwd:2/1muCWoOi3uLifh0NuRHlr8\r
a=ice-options:trickle\r
a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r
a=setup:actpass\r
a=mid:0\r
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=sendonly\r
a=msid:stream track\r
a=rtcp-mux\r
a=rtpmap:111 opus/48000/2\r
a=rtcp-fb:111 transport-cc\r
a=fmtp:111 minptime=10;useinbandfec=1\r
a=ssrc:1001 cname:someone\r
";
