//! How requests and messages are written into records ([`crate::channel`]): postcard.
//!
//! A record comes from another process and may hold any bytes. Decoding never panics, allocates as
//! values are found and not as lengths are claimed, and refuses what breaks a bound of
//! [`crate::limits`]. Encoding refuses the same, so that neither side sends what the other must
//! refuse.

use postcard::de_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{Message, Request};

mod bounds;

pub use bounds::FINGERPRINTS_MAX;
#[cfg(not(loom))]
pub(crate) use bounds::check_fingerprint;

/// Why a record cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than the buffer.
    #[error("the value does not fit into a record")]
    TooLong,
    /// Not an encoding of the expected type.
    #[error("the record cannot be decoded")]
    Malformed,
    /// More bytes after the value.
    #[error("the record goes on after its end")]
    TrailingBytes,
    /// A bound of `shared::limits`, or of the RFC that it stands for, is broken.
    #[error("out of bounds: {0}")]
    OutOfBounds(&'static str),
}

/// Writes a request to the start of `buffer`; gives its length. A buffer of
/// [`crate::limits::RECORD_BYTES_MAX`] bytes holds whatever a ring can carry.
pub fn encode_request(request: &Request, buffer: &mut [u8]) -> Result<usize, WireError> {
    bounds::check_request(request)?;
    encode(request, buffer)
}

/// Reads the request that a record holds.
pub fn decode_request(record: &[u8]) -> Result<Request, WireError> {
    let request = decode_whole(record)?;
    bounds::check_request(&request)?;
    Ok(request)
}

/// Reads the number of the request that a record holds, even if the rest cannot be decoded, so that
/// it can be refused with [`crate::protocol::CommandError::Malformed`].
pub fn decode_request_id(record: &[u8]) -> Option<u64> {
    postcard::take_from_bytes(record).ok().map(|(id, _)| id)
}

/// Writes a message to the start of `buffer`; gives its length.
pub fn encode_message(message: &Message, buffer: &mut [u8]) -> Result<usize, WireError> {
    bounds::check_message(message)?;
    encode(message, buffer)
}

/// Reads the message that a record holds.
pub fn decode_message(record: &[u8]) -> Result<Message, WireError> {
    let message = decode_whole(record)?;
    bounds::check_message(&message)?;
    Ok(message)
}

fn encode(value: &impl Serialize, buffer: &mut [u8]) -> Result<usize, WireError> {
    match postcard::to_slice(value, buffer) {
        Ok(written) => Ok(written.len()),
        Err(postcard::Error::SerializeBufferFull) => Err(WireError::TooLong),
        Err(_) => Err(WireError::Malformed),
    }
}

/// Reads a value that takes up all of `bytes`.
pub(crate) fn decode_whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let mut deserializer = postcard::Deserializer::from_flavor(Unhinted { rest: bytes });
    let value = T::deserialize(&mut deserializer).map_err(|_| WireError::Malformed)?;
    match deserializer.finalize() {
        Ok([]) => Ok(value),
        Ok(_) | Err(_) => Err(WireError::TrailingBytes),
    }
}

/// Bytes that are read without a hint of how many there are: so no collection reserves memory for
/// a length that a record only claims. (postcard's own reader hints at up to a mebibyte for each.)
struct Unhinted<'de> {
    rest: &'de [u8],
}

impl<'de> Flavor<'de> for Unhinted<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(*first)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(0)
    }

    fn try_take_n(&mut self, ct: usize) -> postcard::Result<&'de [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(ct)
            .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'de [u8]> {
        Ok(self.rest)
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
