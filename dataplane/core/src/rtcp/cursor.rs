//! Big-endian numbers taken off the front of a slice, and put at the end of one.

use super::RtcpError;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn u8(&mut self) -> Result<u8, RtcpError> {
        self.bytes().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RtcpError> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub(super) fn u24(&mut self) -> Result<u32, RtcpError> {
        self.bytes()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, RtcpError> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RtcpError> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], RtcpError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(RtcpError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// What has been written.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) out: &'a mut [u8],
    pub(super) at: usize,
}

impl Cursor<'_> {
    /// None, and nothing written, if there is no room.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    pub(super) fn u16(&mut self, number: u16) -> Option<()> {
        self.put(&number.to_be_bytes())
    }

    pub(super) fn u32(&mut self, number: u32) -> Option<()> {
        self.put(&number.to_be_bytes())
    }
}
