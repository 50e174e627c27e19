//! `--rejects FILE`: what was not passed on, with its verdict, as a frame stream of its own.
//!
//! Host frames are repeated there for the hosts that occur, so that the file says by itself where
//! each event came from.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use frame::host::HostTable;
use frame::verdict::Verdict;
use frame::{Frame, Header, HostId, Kind};

use crate::stage::put_judged;

/// How much gathers before it is written.
const BATCH_BYTES: usize = 256 << 10;

/// The file of rejected events.
#[derive(Debug)]
pub(crate) struct Rejects {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    /// The hosts that the file knows since its last magic.
    named: HashSet<HostId>,
}

impl Rejects {
    /// Begins the file.
    ///
    /// # Errors
    /// If it exists without `force`, or cannot be written.
    pub(crate) fn create(path: &Path, force: bool) -> anyhow::Result<Rejects> {
        let name = || path.display().to_string();
        if path.is_file() && !force {
            anyhow::bail!("{}: exists; name another file, or overwrite it with --force", name());
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(path).with_context(name)?;
        let buffer = Vec::with_capacity(2 * BATCH_BYTES);
        let mut rejects = Rejects { file, path: path.into(), buffer, named: HashSet::new() };
        rejects.start();
        rejects.flush()?;
        Ok(rejects)
    }

    /// Begins the stream anew: host ids are given again after this.
    pub(crate) fn start(&mut self) {
        frame::put_magic(&mut self.buffer);
        self.named.clear();
    }

    /// Forgets the name of a host id, which is given to another host.
    pub(crate) fn forget(&mut self, id: HostId) {
        self.named.remove(&id);
    }

    /// Keeps an event.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn put(
        &mut self,
        frame: &Frame<'_>,
        verdict: &Verdict,
        hosts: &HostTable,
    ) -> anyhow::Result<()> {
        let id = frame.header.host;
        if let Some(host) = hosts.get(id)
            && self.named.insert(id)
        {
            frame::host::put(&mut self.buffer, id, host.role, host.name)?;
        }
        put_judged(&mut self.buffer, frame, verdict)?;
        if self.buffer.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what has gathered.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        if !self.buffer.is_empty() {
            let written = self.file.write_all(&self.buffer);
            self.buffer.clear();
            written.with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }

    /// Ends the stream cleanly.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        frame::put(&mut self.buffer, &Header::new(Kind::END, 0), b"")?;
        self.flush()
    }
}

impl Drop for Rejects {
    /// A stage that ends early still keeps what it has: without an `end`, it reads as torn.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
