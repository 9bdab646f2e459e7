//! Lists of SSRCs, as BYE (RFC 3550 §6.6) and REMB have them.

use core::iter::FusedIterator;

use super::cursor::Reader;
use super::packet::RtcpError;

/// SSRCs that a packet lists.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    rest: &'a [u8],
}

impl<'a> Sources<'a> {
    /// The first `count` SSRCs of what is left; what follows them (a reason) is passed over.
    pub(super) fn parse(count: u8, reader: Reader<'a>) -> Result<Self, RtcpError> {
        let rest = reader.rest.get(..usize::from(count) * 4);
        rest.map(|rest| Self { rest }).ok_or(RtcpError::Truncated)
    }
}

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (source, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*source))
    }
}

impl FusedIterator for Sources<'_> {}
