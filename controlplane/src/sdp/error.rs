//! What can be wrong with a client's session description.

/// Why a session description cannot be used. Its `Display` says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// A bound of this module is broken.
    #[error("too large: {0}")]
    TooLarge(String),
    /// Not SDP.
    #[error("Unable to parse SDP: {0}")]
    Syntax(String),
    /// SDP, but something that WebRTC needs is missing or wrong.
    #[error("{0}")]
    Invalid(String),
}

impl SdpError {
    /// Whether a bound is broken: HTTP 413.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_))
    }
}
