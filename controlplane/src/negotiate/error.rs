//! Everything that can be wrong with a request about a session, with the documented codes.

use crate::sdp::SdpError;

/// `errorCode` of a response or of one of its items (only those that a negotiation gives).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the API")]
pub enum ErrorCode {
    DecodingError,
    InvalidParams,
    InvalidSessionDescription,
    PayloadTooLarge,
    SessionError,
    NotFoundTrackError,
    EmptyTrackError,
    RepeatedLocalTrackError,
    UpdateTrackError,
    CloseTrackError,
    TrackError,
    InternalError,
}

impl ErrorCode {
    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DecodingError => "decoding_error",
            Self::InvalidParams => "invalid_params",
            Self::InvalidSessionDescription => "invalid_session_description",
            Self::PayloadTooLarge => "payload_too_large",
            Self::SessionError => "session_error",
            Self::NotFoundTrackError => "not_found_track_error",
            Self::EmptyTrackError => "empty_track_error",
            Self::RepeatedLocalTrackError => "repeated_local_track_error",
            Self::UpdateTrackError => "update_track_error",
            Self::CloseTrackError => "close_track_error",
            Self::TrackError => "track_error",
            Self::InternalError => "internal_error",
        }
    }
}

/// Why a whole call failed. Its `Display` is the `errorDescription`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// The session description could not be used.
    #[error("sessionDescription.sdp: {0}")]
    Sdp(#[from] SdpError),
    /// A mutation that needs SDP came while our own offer is outstanding.
    #[error(
        "The session has an outstanding offer of the SFU: answer it first with PUT renegotiate"
    )]
    HaveLocalOffer,
    /// An answer came, but no offer of ours is outstanding.
    #[error("sessionDescription.type=answer, but no offer of the SFU is outstanding")]
    NoOfferOutstanding,
    /// `sessionDescription.type` is not `offer` where an offer is needed.
    #[error("sessionDescription.type=offer is expected")]
    OfferExpected,
    /// `sessionDescription.type` is neither `offer` nor `answer`.
    #[error("sessionDescription.type=answer is expected")]
    AnswerExpected,
    /// A field of the body is missing or of the wrong kind: 400.
    #[error("Body JSON validation error: {0}")]
    Body(String),
    /// A field has a value that cannot be: 406. Names the field.
    #[error("{0}")]
    InvalidParams(String),
    /// The session would hold more than it may.
    #[error("The session holds too many tracks: {0}")]
    SessionFull(&'static str),
}

impl NegotiationError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Body(_) => 400,
            Self::Sdp(error) if error.is_too_large() => 413,
            Self::Sdp(_)
            | Self::HaveLocalOffer
            | Self::NoOfferOutstanding
            | Self::OfferExpected
            | Self::AnswerExpected
            | Self::InvalidParams(_)
            | Self::SessionFull(_) => 406,
        }
    }

    /// `errorCode`.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Body(_) => ErrorCode::DecodingError,
            Self::Sdp(error) if error.is_too_large() => ErrorCode::PayloadTooLarge,
            Self::Sdp(_) | Self::HaveLocalOffer | Self::NoOfferOutstanding => {
                ErrorCode::InvalidSessionDescription
            }
            Self::OfferExpected
            | Self::AnswerExpected
            | Self::InvalidParams(_)
            | Self::SessionFull(_) => ErrorCode::InvalidParams,
        }
    }

    /// `errorSubcode`, where there is one.
    pub fn subcode(&self) -> Option<&'static str> {
        match self {
            Self::HaveLocalOffer => Some("invalid_modification_have_local_offer"),
            Self::Sdp(_)
            | Self::NoOfferOutstanding
            | Self::OfferExpected
            | Self::AnswerExpected
            | Self::Body(_)
            | Self::InvalidParams(_)
            | Self::SessionFull(_) => None,
        }
    }
}

/// Why one item of a call failed, while the call as a whole did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// `errorCode`.
    pub code: ErrorCode,
    /// `errorDescription`.
    pub description: String,
}
