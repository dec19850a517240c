//! Reads TLS's presentation language (RFC 8446, section 3): big-endian numbers, and vectors with their length before them,
//! of which the end may be missing.

/// Bytes not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
    /// Whether more bytes belong here than there are.
    pub is_cut: bool,
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes were cut off here.
    Cut,
    /// What should be there is not, though nothing was cut off.
    Malformed,
}

impl<'a> Input<'a> {
    /// All of `bytes`, of which `is_cut` says whether they are only a beginning.
    pub const fn new(bytes: &'a [u8], is_cut: bool) -> Self {
        Self { rest: bytes, is_cut }
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.stop())?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of one byte.
    pub fn u8(&mut self) -> Result<u8, Stop> {
        let (&first, rest) = self.rest.split_first().ok_or(self.stop())?;
        self.rest = rest;
        Ok(first)
    }

    /// A number of two bytes.
    pub fn u16(&mut self) -> Result<u16, Stop> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(self.stop())?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// A number of three bytes.
    pub fn u24(&mut self) -> Result<usize, Stop> {
        let (&[a, b, c], rest) = self.rest.split_first_chunk().ok_or(self.stop())?;
        self.rest = rest;
        Ok(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }

    /// The next `len` bytes as an input of their own, as far as they are there.
    pub fn part(&mut self, len: usize) -> Result<Self, Stop> {
        if let Ok(bytes) = self.take(len) {
            return Ok(Self::new(bytes, false));
        }
        if !self.is_cut {
            return Err(Stop::Malformed);
        }
        Ok(Self::new(std::mem::take(&mut self.rest), true))
    }

    /// A vector whose length is a number of one byte.
    pub fn vector8(&mut self) -> Result<Self, Stop> {
        let len = self.u8()?;
        self.part(usize::from(len))
    }

    /// A vector whose length is a number of two bytes.
    pub fn vector16(&mut self) -> Result<Self, Stop> {
        let len = self.u16()?;
        self.part(usize::from(len))
    }

    /// What is left, as far as it is there.
    pub const fn available(&self) -> &'a [u8] {
        self.rest
    }

    /// What is left, if it is all there.
    pub const fn whole(&self) -> Result<&'a [u8], Stop> {
        if self.is_cut { Err(Stop::Cut) } else { Ok(self.rest) }
    }

    const fn stop(&self) -> Stop {
        if self.is_cut { Stop::Cut } else { Stop::Malformed }
    }
}
