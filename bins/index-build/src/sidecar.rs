//! What a new index gets beside it, so that it can be kept current: the log of the last days'
//! operations, and a delta without room, by which its readers learn that it is superseded.

use std::path::{Path, PathBuf};

use didindex::{Cursor, DeltaWriter, Error, LogWriter, Room, Sealed, Summary, beside};

use crate::hosts::Hosts;
use crate::record::Record;
use crate::state;
use crate::window::{self, KEPT_MS, Window};

/// The log is written in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

/// The log of an index that is being built.
pub(crate) struct Sidecar {
    index: PathBuf,
    id: u64,
    log: LogWriter,
    oldest_ms: u64,
    published: bool,
}

impl Sidecar {
    /// Begins it for the index that will have that id and is of operations up to `newest_ms`.
    pub(crate) fn begin(index: &Path, id: u64, newest_ms: u64) -> Result<Self, Error> {
        let log = LogWriter::create(index, id)?;
        let oldest_ms = newest_ms.saturating_sub(KEPT_MS);
        Ok(Self { index: index.to_owned(), id, log, oldest_ms, published: false })
    }

    /// Keeps of an account's operations, which are all of it, those of the last days.
    pub(crate) fn keep(&mut self, records: &[Record], hosts: &Hosts) -> Result<(), Error> {
        if records.iter().all(|record| record.created_ms < self.oldest_ms) {
            return Ok(());
        }
        let mut account = Window::default();
        for record in records {
            account.add(*record, true, false);
        }
        for kept in window::last_days(account.all().to_vec(), self.oldest_ms) {
            self.log.push(&state::logged(&kept, hosts.names()))?;
        }
        if self.log.gathered() >= WRITE_BYTES { self.log.write() } else { Ok(()) }
    }

    /// Makes it durable, then gives the index its name in the place of one that may be there. The
    /// caller holds its lock.
    pub(crate) fn publish(mut self, sealed: Sealed, cursor: Cursor) -> Result<Summary, Error> {
        self.log.publish()?;
        let room = Room { slots: 0, bytes: 0 };
        let mut delta = DeltaWriter::create(&self.index, self.id, sealed.seed(), room)?;
        delta.set_cursor(cursor);
        delta.publish()?;
        delta.finish()?;
        beside::sync_folder(&self.index)?;
        beside::supersede(&self.index, self.id)?;
        let summary = sealed.publish()?;
        self.published = true;
        beside::clean(&self.index, self.id)?;
        Ok(summary)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if !self.published {
            // They belong to an index that will not be; what stays is removed by the next writer.
            let _ = std::fs::remove_file(beside::log(&self.index, self.id));
            let _ = std::fs::remove_file(beside::delta(&self.index, self.id));
        }
    }
}
