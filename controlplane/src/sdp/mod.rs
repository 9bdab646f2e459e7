//! Session descriptions: clients' are read into types, ours are written from types.
//!
//! Nothing here knows of sessions or tracks; see [`crate::negotiate`].

mod attribute;
mod bounds;
mod error;
mod extension;
mod format;
mod h264;
mod parse;
mod remote;
mod sources;
mod write;

pub use error::SdpError;
pub use format::{Fit, Format};
pub use parse::parse;
pub use remote::{
    Feedback, MediaType, RemoteDescription, Section, SectionCodec, SectionExtension,
    SectionTransport,
};
pub use write::{
    LocalCodec, LocalDescription, LocalMedia, LocalSection, LocalSource, RejectedSection,
};

/// `type` of a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DescriptionKind {
    /// `offer`.
    Offer,
    /// `answer`.
    Answer,
}

impl DescriptionKind {
    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

/// Which way media may flow (RFC 8866 §6.7), as the writer of the description sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the names are those of the attributes")]
pub enum Direction {
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    /// From its two halves.
    pub fn new(sending: Half, receiving: Half) -> Self {
        match (sending, receiving) {
            (Half::On, Half::On) => Self::SendReceive,
            (Half::On, Half::Off) => Self::SendOnly,
            (Half::Off, Half::On) => Self::ReceiveOnly,
            (Half::Off, Half::Off) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// One half of a [`Direction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Half {
    On,
    Off,
}

impl Half {
    /// `On` if `condition` holds.
    pub fn when(condition: bool) -> Self {
        if condition { Self::On } else { Self::Off }
    }
}

/// `a=setup` (RFC 8842 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the attribute's values")]
pub enum Setup {
    ActPass,
    Active,
    Passive,
}

impl Setup {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
