//! Where operations go.

use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::store::Store;

/// A folder, standard output, or one after the other.
pub(crate) struct Sink {
    pub(crate) store: Option<Store>,
    prints: bool,
}

impl Sink {
    /// Into this folder, if there is one; and printed, if that is wanted.
    pub(crate) fn new(store: Option<Store>, prints: bool) -> Self {
        if prints {
            cli::widen(io::stdout().as_fd());
        }
        Self { store, prints }
    }

    /// Hands on lines, each with its end. If they are to be durable they are where they belong
    /// when it returns: on the disk before anybody reads them.
    pub(crate) fn put(&mut self, text: &[u8], lines: u64, durable: bool) -> anyhow::Result<()> {
        if let Some(store) = &mut self.store {
            store.append(text, lines)?;
            // What is printed is never ahead of what is stored.
            if durable || self.prints {
                store.sync()?;
            }
        }
        if self.prints { print(text) } else { Ok(()) }
    }

    /// Makes durable what was handed on.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.store.as_mut().map_or(Ok(()), Store::sync)
    }
}

/// Prints at once.
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => cli::OutputClosed.into(),
        _ => error.into(),
    })
}
