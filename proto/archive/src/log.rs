//! The log that is being written: a head and then batches, each one write.
//!
//! A log comes into being by a rename, with its first batch in it: the marks of all hosts so far.
//! So the newest log alone tells where to go on, and no log is ever without a head. A log is never
//! cut: what a kill left torn is left behind by copying the whole batches into a file of its own
//! that takes the log's name, and a reader that has the old one open loses nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::{Batch, SNAPSHOT};
use crate::error::Error;
use crate::folder::{Folder, unfinished};
use crate::head::{HEAD_BYTES, Head, LOG_MAGIC};
use crate::image::LogImage;
use crate::syncer::Syncer;
use crate::{Fsync, disk};

/// How many events a log, and so a segment, may hold: an ordinal has 24 bits in the index.
pub(crate) const LOG_EVENTS_MAX: u32 = 1 << 24;

/// Room is taken on the disk ahead of what is written, for as many bytes again, within these bounds.
/// A write that needs a block of its own waits while the system looks for blocks for what is being
/// made durable, which was measured to take milliseconds, and deletions would count only then.
const ROOM_BYTES_MIN: u64 = 64 << 10;
const ROOM_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct LogFile {
    file: Arc<File>,
    path: PathBuf,
    head: Head,
    fsync: Fsync,
    /// Bytes in the file, and how many of them are durable.
    len: u64,
    synced: u64,
    /// Up to where room was taken on the disk, or asked for.
    room: u64,
    /// The ordinal of the next event.
    next: u32,
}

impl LogFile {
    /// Begins a log under a name that counts for nothing until [`LogFile::publish`].
    pub(crate) fn begin(folder: &Folder, head: Head, fsync: Fsync) -> Result<LogFile, Error> {
        let path = unfinished(&folder.log(head.number));
        let file = Arc::new(disk::create(&path)?);
        disk::write(&file, &path, &head.to_bytes(LOG_MAGIC))?;
        Ok(LogFile { file, path, head, fsync, len: HEAD_BYTES as u64, synced: 0, room: 0, next: 0 })
    }

    /// Gives the log its name.
    pub(crate) fn publish(&mut self, folder: &Folder) -> Result<(), Error> {
        self.sync()?;
        let path = folder.log(self.head.number);
        folder.publish(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Goes on with a log that an earlier writer left. A torn tail stays behind.
    pub(crate) fn resume(
        folder: &Folder,
        image: &LogImage,
        fsync: Fsync,
    ) -> Result<LogFile, Error> {
        let mut log = if image.is_torn() {
            let mut log = LogFile::begin(folder, image.head, fsync)?;
            let whole = image.whole().get(HEAD_BYTES..).unwrap_or_default();
            disk::write(&log.file, &log.path, whole)?;
            log.len += whole.len() as u64;
            log.publish(folder)?;
            log
        } else {
            let path = folder.log(image.head.number);
            let file = Arc::new(disk::open_append(&path)?);
            let len = image.whole().len() as u64;
            LogFile { file, path, head: image.head, fsync, len, synced: 0, room: len, next: 0 }
        };
        log.next = image.next_ordinal();
        // What was read may never have reached the device.
        log.sync()?;
        Ok(log)
    }

    /// Writes a batch and empties it.
    pub(crate) fn append(&mut self, batch: &mut Batch, flags: u32) -> Result<(), Error> {
        let bytes = batch.finish(&self.head, self.next, flags, self.synced);
        let end = self.len + bytes.len() as u64;
        if end > self.room {
            self.room = end + end.clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
            disk::take_room_behind(&self.file, self.len, self.room - self.len);
        }
        disk::write(&self.file, &self.path, bytes)?;
        self.len += bytes.len() as u64;
        self.next += batch.events();
        batch.clear();
        Ok(())
    }

    /// Makes everything that was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if self.fsync != Fsync::Never && self.synced != self.len {
            disk::sync(&self.file, &self.path)?;
            self.synced = self.len;
        }
        Ok(())
    }

    /// Has everything that was appended made durable by another thread.
    pub(crate) fn sync_later(&self, syncer: &mut Syncer) -> Result<(), Error> {
        if self.fsync == Fsync::Never || self.synced == self.len {
            return Ok(());
        }
        syncer.ask(&self.file, &self.path, self.len)
    }

    /// That thread says that so many bytes are durable.
    pub(crate) fn is_durable(&mut self, bytes: Option<u64>) {
        self.synced = self.synced.max(bytes.unwrap_or(0));
    }

    /// Makes everything durable and says so in the log, so that damage is told from a torn tail
    /// up to its last byte. Room that was not needed is given back.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.sync()?;
        if self.fsync != Fsync::Never {
            self.append(&mut Batch::new(), SNAPSHOT)?;
            self.sync()?;
        }
        self.room = self.len;
        disk::give_room_back(&self.file, &self.path, self.len)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The number of the next event.
    pub(crate) fn next_number(&self) -> u64 {
        self.head.first + u64::from(self.next)
    }

    /// How many events it holds.
    pub(crate) fn events(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn room_is_taken_ahead_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let head = Head { number: 0, first: 0, salt: [1; 8], key: [2; 32], time_ns: 0 };
        let mut log = LogFile::begin(&folder, head, Fsync::Mark).unwrap();
        log.publish(&folder).unwrap();
        let room = || folder.log(0).metadata().unwrap().blocks() * 512;
        for _ in 0..100 {
            let mut batch = Batch::new();
            batch.frames().extend_from_slice(&[7; 5000]);
            log.append(&mut batch, 0).unwrap();
            log.sync().unwrap();
            assert!(room() >= log.len());
            assert!(room() <= 3 * log.len() + 2 * ROOM_BYTES_MIN);
        }
        // Half of it ahead, wherever the file system can do that.
        let taken = room();
        log.close().unwrap();
        assert_eq!(folder.log(0).metadata().unwrap().len(), log.len());
        assert!(room() <= log.len() + 2 * 4096, "{} of {}", room(), log.len());
        assert!(taken > log.len() + ROOM_BYTES_MIN / 2, "{taken} of {}", log.len());
    }
}
