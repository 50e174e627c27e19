//! Writing sections one behind the other.

use std::io::{self, Write};

use crate::layout::{Place, next_offset};

/// Counts and sums up what is written.
pub(crate) struct Section<W> {
    inner: W,
    at: u64,
    begun: u64,
    checksum: u32,
}

impl<W: Write> Section<W> {
    /// Behind what ends at `at`.
    pub(crate) fn new(inner: W, at: u64) -> Self {
        Self { inner, at, begun: at, checksum: 0 }
    }

    /// Fills up with zeros to where the next section may begin.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        let begin = next_offset(self.at);
        while self.at < begin {
            self.write_all(&[0])?;
        }
        self.begun = begin;
        self.checksum = 0;
        Ok(())
    }

    /// What has been written since [`Section::begin`].
    pub(crate) fn end(&self) -> Place {
        Place { offset: self.begun, bytes: self.at - self.begun, checksum: self.checksum }
    }

    pub(crate) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Section<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        let written = bytes.get(..count).unwrap_or_default();
        self.checksum = crc32c::crc32c_append(self.checksum, written);
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
