//! Writing parts of a file from their front to their end.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
};

use crate::layout::{Place, next_offset};

/// What is written at once, and the multiple at which it begins: file systems that keep files in
/// large pages in memory then do so with this one.
const PIECE_BYTES: u64 = 2 << 20;

/// Counts and sums up what is written from a place in a file on. Several can write to one file.
#[derive(Debug)]
pub(crate) struct Section {
    file: File,
    /// Where the next byte goes.
    at: u64,
    begun: u64,
    checksum: u32,
    /// Not written yet.
    piece: Vec<u8>,
}

impl Section {
    /// From `at` on.
    pub(crate) fn new(file: &File, at: u64) -> io::Result<Self> {
        let file = file.try_clone()?;
        Ok(Self { file, at, begun: at, checksum: 0, piece: Vec::new() })
    }

    /// Begins at the next place where one may, zeros before it, and says where it lies.
    pub(crate) fn next(
        &mut self,
        write: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<Place> {
        let begin = next_offset(self.at);
        self.write_all(vec![0; (begin - self.at) as usize].as_slice())?;
        self.begun = begin;
        self.checksum = 0;
        write(self)?;
        Ok(self.place())
    }

    /// Where it lies, as far as it is written.
    pub(crate) fn place(&self) -> Place {
        Place { offset: self.begun, bytes: self.at - self.begun, checksum: self.checksum }
    }
}

impl Write for Section {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.at % PIECE_BYTES;
        let taken = bytes.get(..room as usize).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        self.checksum = crc32c::crc32c_append(self.checksum, taken);
        self.at += taken.len() as u64;
        if self.at.is_multiple_of(PIECE_BYTES) {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.piece, self.at - self.piece.len() as u64)?;
        self.piece.clear();
        Ok(())
    }
}
