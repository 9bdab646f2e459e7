//! The load generator: publishers and subscribers that drive a running server over its API and
//! check what comes back, on a stack that shares nothing with the server — `dtls`, `webrtc-srtp`,
//! `rtcp` and `stun` of webrtc-rs, an SDP of its own.
//!
//! The way of one run: [`run::run`] starts each [`publisher`], then joins the [`subscriber`]s at
//! the asked rate. Both are a [`peer::Peer`]: the API ([`api`]), a description ([`description`]),
//! ICE ([`ice`]) and DTLS ([`dtls_client`]) up to a pair of SRTP contexts. What a publisher sends
//! ([`media`]) says itself what it must be, so that a subscriber can check every bit, and count
//! ([`track`]). [`report`] adds it all up.

pub mod api;
pub mod bench;
pub mod description;
pub mod dtls_client;
pub mod error;
pub mod ice;
pub mod media;
pub mod options;
pub mod peer;
pub mod publisher;
pub mod report;
pub mod run;
pub mod subscriber;
pub mod track;
