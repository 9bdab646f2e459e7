//! RTP headers (RFC 3550 §5.1) and header extensions in both forms of RFC 8285.
//!
//! * `read`: of packets that came in;
//! * `write`: of those that leave.

mod read;
mod write;

pub use self::read::{Extensions, RtpError, RtpHeader};
pub use self::write::OutgoingHeader;

/// How the elements of an extension block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// No block, or one of a profile that we do not know.
    None,
    OneByte,
    TwoByte,
}

impl Form {
    fn of_profile(profile: u16) -> Self {
        match profile {
            PROFILE_ONE_BYTE => Self::OneByte,
            // RFC 8285 §4.3: the last four bits are "appbits" and mean nothing to us.
            _ if profile & 0xfff0 == PROFILE_TWO_BYTE => Self::TwoByte,
            _ => Self::None,
        }
    }

    /// Bytes of the element, or None if it cannot be said in this form.
    fn element_bytes(self, id: u8, data: &[u8]) -> Option<usize> {
        match self {
            Self::OneByte if matches!(id, 1..=14) && matches!(data.len(), 1..=16) => {
                Some(1 + data.len())
            }
            Self::TwoByte if id != 0 && data.len() <= 255 => Some(2 + data.len()),
            Self::None | Self::OneByte | Self::TwoByte => None,
        }
    }
}

const VERSION: u8 = 2;
const FIXED_BYTES: usize = 12;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const PROFILE_ONE_BYTE: u16 = 0xbede;
const PROFILE_TWO_BYTE: u16 = 0x1000;

#[cfg(test)]
mod tests;
