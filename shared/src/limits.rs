//! Bounds that both planes rely on. A bound with one user stands beside that user instead.

/// Bytes of one record in a ring, length prefix not counted.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 - 64;

/// Bytes of the control plane's negotiation model, kept by the data plane beside each session.
/// What else stands in a record beside a model is 27 KiB at the most (tests in `wire` prove it).
pub const MODEL_BYTES_MAX: usize = 36 * 1024;

/// Changes in one transaction.
pub const CHANGES_MAX: usize = 128;

/// Tracks named by one API call (documented by Cloudflare).
pub const TRACKS_PER_CALL_MAX: usize = 64;

/// Publications of one session.
pub const PUBLICATIONS_PER_SESSION_MAX: usize = 64;

/// Subscriptions of one session.
pub const SUBSCRIPTIONS_PER_SESSION_MAX: usize = 256;

/// Simulcast layers (rids) of one publication.
pub const LAYERS_MAX: usize = 4;

/// Payload types negotiated for one publication or subscription.
pub const CODECS_MAX: usize = 32;

/// Header extensions negotiated in one session; ids 1 to 14 fit the one-byte form (RFC 8285 §4.2).
pub const EXTENSIONS_MAX: usize = 16;

/// Bytes of a mid (RFC 8843 §15.2) or rid (RFC 8852 §3.3): what a one-byte header extension holds.
pub const MID_BYTES_MAX: usize = 16;

/// Bytes of an ICE ufrag (RFC 8839 §5.4 allows 4 to 256; browsers send 4 to 8).
pub const UFRAG_BYTES_MAX: usize = 256;

/// Bytes of an ICE password (RFC 8839 §5.4 allows 22 to 256).
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Shards of one data plane.
pub const SHARDS_MAX: usize = 256;
