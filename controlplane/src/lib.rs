//! Jackfield's control plane: the REST API, session descriptions, accounts, the page, and the
//! care for the data plane process.
//!
//! One API call goes `routes` → `api::*` → [`sdp`] and [`negotiate`] (pure: a plan) →
//! [`engine`] (the data plane carries the plan out) → [`registry`] (the model is committed) → JSON.

pub mod api;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod negotiate;
pub mod observe;
pub mod registry;
pub mod routes;
pub mod sdp;
pub mod server;
pub mod store;
pub mod supervise;
pub mod web;
