//! The API: one file per resource.

mod access;
mod account;
mod audio;
mod body;
pub mod error;
mod health;
mod renegotiate;
mod rooms;
mod sessions;
mod stats;
#[cfg(test)]
mod tests;
mod tracks;
mod transact;
pub mod types;

use std::sync::Arc;
use std::time::Duration;

pub use access::{AccountAccess, AppAccess, SessionAccess};
pub use account::AccountError;
pub use body::{Body, OptionalBody};
pub use error::{ApiError, ErrorKind};
pub use rooms::Rooms;
pub use stats::Watchers;

use crate::engine::Engine;
use crate::observe::HttpFigures;
use crate::registry::Registry;
use crate::store::Store;

/// What every handler works with.
#[derive(Debug)]
pub struct Service {
    /// The apps.
    pub store: Store,
    /// The way to the data plane.
    pub engine: Engine,
    /// The sessions.
    pub registry: Registry,
    /// The page's meeting point.
    pub rooms: Rooms,
    /// Streams of statistics that are open.
    pub watchers: Watchers,
    /// What HTTP counts.
    pub figures: HttpFigures,
    /// What the account API asks for.
    pub account_token: String,
    /// How long calls wait for a client's media.
    pub waits: Waits,
}

/// How long calls wait for what a client has still to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For the transport of the session, where a call needs it.
    pub connect: Duration,
    /// For the first packet of a track that is pulled.
    pub first_packet: Duration,
}

impl Default for Waits {
    /// What the original is documented and reported to wait.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_packet: Duration::from_secs(8),
        }
    }
}

/// A handle on the one [`Service`].
pub type SharedService = Arc<Service>;

/// The handlers, for `routes`.
pub(crate) mod handlers {
    pub(crate) use super::account::{
        create as create_app, delete as delete_app, list as list_apps, read as read_app,
        rename as rename_app,
    };
    pub(crate) use super::audio::limit as limit_audio;
    pub(crate) use super::health::{healthz, metrics, readyz};
    pub(crate) use super::renegotiate::renegotiate;
    pub(crate) use super::rooms::{announce, members, withdraw};
    pub(crate) use super::sessions::{
        create as create_session, delete as delete_session, read as read_session,
    };
    pub(crate) use super::stats::{read as read_stats, watch as watch_stats};
    pub(crate) use super::tracks::{
        close as close_tracks, create as create_tracks, update as update_tracks,
    };
}

/// Bytes of a request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
