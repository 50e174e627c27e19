//! Where operations go.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::store::Store;

/// A folder, or standard output.
pub(crate) enum Sink {
    Stdout,
    Store(Store),
}

impl Sink {
    /// Hands on lines, each with its end. When it returns they are where they belong.
    pub(crate) fn put(&mut self, text: &[u8], lines: u64) -> anyhow::Result<()> {
        match self {
            Self::Store(store) => store.put(text, lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(text).and_then(|()| stdout.flush());
                written.map_err(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => cli::OutputClosed.into(),
                    _ => error.into(),
                })
            }
        }
    }

    /// Where what is learned about the directory is kept.
    pub(crate) fn state_path(&self) -> Option<PathBuf> {
        match self {
            Self::Stdout => None,
            Self::Store(store) => Some(store.state_path()),
        }
    }
}
