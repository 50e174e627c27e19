//! What is wanted again when all of it is there.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// So much is held in memory.
const HELD_BYTES_MAX: usize = 16 << 20;

/// Bytes in the order in which they came; most of them in a file without a name when there are
/// many, which is gone with this value or its process.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: Option<File>,
    held: Vec<u8>,
}

impl Spool {
    /// An empty one, whose file will be in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None, held: Vec::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= HELD_BYTES_MAX {
            let mut file = match self.file.take() {
                Some(file) => file,
                None => tempfile::tempfile_in(&self.folder)?,
            };
            file.write_all(&self.held)?;
            self.file = Some(file);
            self.held.clear();
        }
        Ok(())
    }

    /// Writes all of it to `out`.
    pub(crate) fn copy_to(mut self, out: &mut impl Write) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            io::copy(file, out)?;
        }
        out.write_all(&self.held)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_too_much_for_memory_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        let mut expected = Vec::new();
        for number in 0..2_500_000u64 {
            spool.push(&number.to_le_bytes()).unwrap();
            expected.extend(number.to_le_bytes());
        }
        assert!(spool.file.is_some() && !spool.held.is_empty());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it has no name");
        let mut out = Vec::new();
        spool.copy_to(&mut out).unwrap();
        assert!(out == expected);
    }
}
