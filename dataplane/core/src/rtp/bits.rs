//! Bits of a byte string, most significant first.

/// There are fewer bits than were asked for, or a code has more than any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfBits;

/// Reads bits one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Begins at this bit.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// How many bits there are before the next one.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// `f(count)`: the next `count` bits, at most 32, as a number.
    pub(super) fn bits(&mut self, count: usize) -> Result<u32, OutOfBits> {
        let mut value = 0;
        let mut missing = count;
        while missing > 0 {
            let byte = u32::from(*self.bytes.get(self.at / 8).ok_or(OutOfBits)?);
            let used = self.at % 8;
            let taken = missing.min(8 - used);
            let bits = byte >> (8 - used - taken) & ((1 << taken) - 1);
            value = value << taken | bits;
            missing -= taken;
            self.at += taken;
        }
        Ok(value)
    }

    /// The next bit.
    pub(super) fn flag(&mut self) -> Result<bool, OutOfBits> {
        Ok(self.bits(1)? == 1)
    }

    /// The next `count` bits, at most 8.
    pub(super) fn byte(&mut self, count: usize) -> Result<u8, OutOfBits> {
        Ok(u8::try_from(self.bits(count)?).unwrap_or(u8::MAX))
    }

    /// `ns(count)`: a number below `count`, which is 1 to 64, in as few bits as it needs (RTP Payload
    /// Format for AV1, §A.8.1).
    pub(super) fn non_symmetric(&mut self, count: u8) -> Result<u8, OutOfBits> {
        let mut width = 0;
        while count >> width > 1 {
            width += 1;
        }
        let short_count = (2 << width) - count;
        let value = self.byte(width)?;
        if value < short_count {
            return Ok(value);
        }
        Ok((value << 1 | self.byte(1)?) - short_count)
    }

    /// `ue(v)`: an Exp-Golomb code (H.264 §9.1), of 63 bits at most.
    pub(super) fn exp_golomb(&mut self) -> Result<u32, OutOfBits> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        let base = 1_u32.checked_shl(zeros).ok_or(OutOfBits)? - 1;
        let rest = self.bits(usize::try_from(zeros).map_err(|_| OutOfBits)?)?;
        Ok(base + rest)
    }
}

/// Writes bits one after the other.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    /// Begins with the first bit.
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were begun; the bits behind the last one written are zero.
    pub(super) fn len(&self) -> usize {
        self.at.div_ceil(8)
    }

    /// Writes the lower `count` bits of `value`, at most 32. None if there is no room.
    pub(super) fn bits(&mut self, value: u32, count: usize) -> Option<()> {
        for place in (0..count).rev() {
            let byte = self.bytes.get_mut(self.at / 8)?;
            let used = self.at % 8;
            if used == 0 {
                *byte = 0;
            }
            if value >> place & 1 == 1 {
                *byte |= 0x80 >> used;
            }
            self.at += 1;
        }
        Some(())
    }

    /// Copies `count` bits.
    pub(super) fn copy(&mut self, from: &mut BitReader<'_>, count: usize) -> Option<()> {
        for _ in 0..count {
            let bit = from.bits(1).ok()?;
            self.bits(bit, 1)?;
        }
        Some(())
    }
}
