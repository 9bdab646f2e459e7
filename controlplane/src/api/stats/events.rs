//! Statistics as Server-Sent Events (HTML, "Server-sent events"): one event a second, until the
//! session ends.
//!
//! Each stream has a task of its own that asks the data plane only when the reader has taken the
//! event before. So a reader that is slow gets fewer events, each of them new, and holds up nobody;
//! one that does not read at all is given up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderName;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_lite::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};

use super::watchers::Seat;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::{SessionAccess, SharedService};
use crate::registry::Session;

/// `GET /apps/{app_id}/sessions/{session_id}/stats/events`.
pub(crate) async fn watch(
    State(service): State<SharedService>,
    SessionAccess { session }: SessionAccess,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let interval = interval(query.as_deref().unwrap_or_default())?;
    let seat = service.watchers.admit(session.id())?;
    let (events, queue) = mpsc::channel(1);
    let watcher = Watcher {
        service,
        session,
        events,
        _seat: seat,
    };
    tokio::spawn(watcher.run(interval));
    let stream = stream::unfold(queue, |mut queue| async move {
        let event: Event = queue.recv().await?;
        Some((Ok::<_, Infallible>(event), queue))
    });
    Ok((NO_BUFFERING, Sse::new(stream)))
}

/// The task behind one stream.
struct Watcher {
    service: SharedService,
    session: Arc<Session>,
    events: mpsc::Sender<Event>,
    _seat: Seat,
}

impl Watcher {
    async fn run(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.events.closed() => return,
                () = ended(&self.session) => {
                    self.send(async { Some(self.farewell()) }).await;
                    return;
                }
                _ = ticks.tick() => {}
            }
            if !self.send(self.measure()).await {
                return;
            }
        }
    }

    /// Makes an event once there is room for it. False if the reader is gone, or as good as gone.
    async fn send(&self, event: impl Future<Output = Option<Event>>) -> bool {
        let Ok(Ok(place)) = timeout(UNREAD_MAX, self.events.reserve()).await else {
            return false;
        };
        if let Some(event) = event.await {
            place.send(event);
        }
        true
    }

    /// None if the session has ended meanwhile.
    async fn measure(&self) -> Option<Event> {
        match self.service.measure(&self.session).await {
            Ok(statistics) => Some(event("stats", &statistics)),
            Err(error) if error.kind == ErrorKind::SessionGone => None,
            Err(error) => Some(event("unavailable", &error.body())),
        }
    }

    fn farewell(&self) -> Event {
        let why = self.service.registry.ended(self.session.id());
        let error = why.map_or_else(ApiError::gone, |why| {
            ApiError::new(ErrorKind::SessionGone, why.description())
        });
        event("ended", &error.body())
    }
}

async fn ended(session: &Session) {
    // An error means that the session itself is gone; we hold it.
    let _ = session.watch().wait_for(|state| state.ended).await;
}

fn event(name: &str, body: &impl Serialize) -> Event {
    match Event::default().event(name).json_data(body) {
        Ok(event) => event,
        Err(error) => unreachable!("plain data can be written as JSON: {error}"),
    }
}

/// `interval` of the query, in milliseconds.
fn interval(query: &str) -> Result<Duration, ApiError> {
    let mut pairs = query.split('&');
    let Some(text) = pairs.find_map(|pair| pair.strip_prefix("interval=")) else {
        return Ok(INTERVAL);
    };
    let interval = text.parse().ok().map(Duration::from_millis);
    interval
        .filter(|interval| (INTERVAL_MIN..=INTERVAL_MAX).contains(interval))
        .ok_or_else(|| {
            let (min, max) = (INTERVAL_MIN.as_millis(), INTERVAL_MAX.as_millis());
            ApiError::invalid(format!(
                "interval: must be a number of milliseconds from {min} to {max}"
            ))
        })
}

/// Between two events. Short enough at the most that no proxy takes the stream for dead.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(200);
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// How long an event may wait for its reader.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// nginx and its kind would hold events back.
const NO_BUFFERING: [(HeaderName, &str); 1] =
    [(HeaderName::from_static("x-accel-buffering"), "no")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_keeps_to_its_bounds() {
        let millis = Duration::from_millis;
        for (query, expected) in [
            ("", INTERVAL),
            ("streamDebug&x=1", INTERVAL),
            ("interval=200", millis(200)),
            ("correlationId=1&interval=10000", millis(10_000)),
        ] {
            assert_eq!(interval(query), Ok(expected), "{query}");
        }
        for query in [
            "interval=",
            "interval=199",
            "interval=10001",
            "interval=1s",
            "interval=-1",
        ] {
            let refused = interval(query).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::InvalidParams, "{query}");
        }
    }
}
