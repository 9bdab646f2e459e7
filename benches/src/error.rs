//! What can go wrong with one peer.

use core::time::Duration;

/// Why a peer could not join or go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A socket or a connection failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The API could not be reached or broke off.
    #[error("HTTP: {0}")]
    Http(String),
    /// The API said no.
    #[error("{path} answered {status}: {body}")]
    Refused {
        /// Of the call.
        path: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
    /// The API's answer or its session description lacks something.
    #[error("the server's description: {0}")]
    Description(&'static str),
    /// The server's ICE agent did not answer.
    #[error("no answer to a binding request from {0}")]
    NoIceAnswer(core::net::SocketAddr),
    /// The DTLS handshake failed.
    #[error("DTLS: {0}")]
    Dtls(String),
    /// SRTP could not be set up or used.
    #[error("SRTP: {0}")]
    Srtp(String),
    /// It took too long.
    #[error("{what} took more than {limit:?}")]
    Timeout {
        /// What did.
        what: &'static str,
        /// How long it may take.
        limit: Duration,
    },
}
