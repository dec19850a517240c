//! Where bytes come from.

use std::{io, os::unix::fs::FileExt as _};

use object::read::ReadCacheOps;

/// Something of which bytes can be read at any place.
pub trait Source {
    /// Its size in bytes.
    ///
    /// # Errors
    /// As the file system has it.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// As the file system has it; also where it ends before.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for std::fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        // Not `seek`: the place in the file is shared with whoever else has the descriptor.
        self.read_exact_at(into, offset)
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A place in a source, as `object` wants to read.
pub(super) struct Cursor<'s> {
    source: &'s dyn Source,
    size: u64,
    at: u64,
}

impl<'s> Cursor<'s> {
    pub(super) fn new(source: &'s dyn Source, size: u64) -> Self {
        Self { source, size, at: 0 }
    }
}

impl ReadCacheOps for Cursor<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn seek(&mut self, at: u64) -> Result<u64, ()> {
        self.at = at;
        Ok(at)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, ()> {
        let left = self.size.checked_sub(self.at).ok_or(())?;
        let n = into.len().min(usize::try_from(left).map_err(|_| ())?);
        self.read_exact(into.get_mut(..n).ok_or(())?)?;
        Ok(n)
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<(), ()> {
        self.source.read_at(into, self.at).map_err(|_| ())?;
        self.at += into.len() as u64;
        Ok(())
    }
}
