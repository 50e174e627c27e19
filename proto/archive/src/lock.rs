//! Who may write, and when what is there is settled. Both locks are held by a descriptor and die
//! with the process; the files themselves mean nothing and stay.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;
use crate::error::Holder;
use crate::folder::Folder;

/// How long a reader waits for a writer that repairs.
const REPAIR_WAIT: Duration = Duration::from_secs(60);
/// How often it looks.
const REPAIR_LOOK: Duration = Duration::from_millis(10);

/// How often a writer tries again to have its lock, and the pause before: readers ask who has it.
const TRIES: u32 = 50;
const TRY_EVERY: Duration = Duration::from_millis(2);

/// A lock that is let go of in so many words: a process that is being started at this moment has the
/// descriptor too, until it runs its program.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it does the same, a little later.
        let _ = self.0.unlock();
    }
}

/// The right to write an archive, as long as it lives.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _held: Held,
}

impl WriterLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(folder: &Folder) -> Result<WriterLock, Error> {
        let path = folder.lock();
        let mut file = open(&path)?;
        let mut tried = file.try_lock();
        for _ in 0..TRIES {
            // Who only asked lets go at once.
            if matches!(tried, Err(TryLockError::WouldBlock)) {
                std::thread::sleep(TRY_EVERY);
                tried = file.try_lock();
            }
        }
        match tried {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = (&mut file).take(16).read_to_string(&mut pid);
                let pid = Holder(pid.trim().parse().ok());
                return Err(Error::Locked { path: folder.path().to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io(&path, "lock", source)),
        }
        // The pid is for people. A disk too full to hold it is met again at the first write.
        let _ = file.set_len(0).and_then(|()| file.write_all(pid_line().as_bytes()));
        Ok(WriterLock { _held: Held(file) })
    }

    /// Whether somebody has it. To ask is to hold it for a moment, if nobody has.
    pub(crate) fn is_held(folder: &Folder) -> Result<bool, Error> {
        let path = folder.lock();
        let Ok(file) = File::open(&path) else {
            return Ok(false);
        };
        match file.try_lock_shared() {
            Ok(()) => {
                drop(Held(file));
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(Error::io(&path, "lock", source)),
        }
    }
}

fn pid_line() -> String {
    format!("{}\n", std::process::id())
}

/// Held by a writer from before it changes anything until the archive is whole again.
#[derive(Debug)]
pub(crate) struct RepairLock {
    _held: Held,
}

impl RepairLock {
    /// Waits for readers that are looking just then, and keeps others away.
    pub(crate) fn take(folder: &Folder) -> Result<RepairLock, Error> {
        let path = folder.repair();
        let file = open(&path)?;
        file.lock().map_err(|source| Error::io(&path, "lock", source))?;
        Ok(RepairLock { _held: Held(file) })
    }

    /// Waits until no writer is repairing. The guard keeps a writer from beginning to.
    pub(crate) fn settled(folder: &Folder) -> Result<Option<RepairLock>, Error> {
        RepairLock::settled_within(folder, REPAIR_WAIT)
    }

    fn settled_within(folder: &Folder, wait: Duration) -> Result<Option<RepairLock>, Error> {
        let path = folder.repair();
        let Ok(file) = File::open(&path) else {
            return Ok(None);
        };
        let begun = Instant::now();
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(Some(RepairLock { _held: Held(file) })),
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => {
                    std::thread::sleep(REPAIR_LOOK);
                }
                Err(TryLockError::WouldBlock) => {
                    let path = folder.path().to_owned();
                    return Err(Error::Repairing { path, seconds: wait.as_secs() });
                }
                Err(TryLockError::Error(source)) => return Err(Error::io(&path, "lock", source)),
            }
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| Error::io(path, "open", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_writer_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let held = WriterLock::take(&folder).unwrap();
        match WriterLock::take(&folder) {
            Err(Error::Locked { pid, .. }) => assert_eq!(pid, Holder(Some(std::process::id()))),
            other => panic!("{other:?}"),
        }
        drop(held);
        WriterLock::take(&folder).unwrap();
    }

    #[test]
    fn who_asks_whether_there_is_a_writer_turns_none_away() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(!WriterLock::is_held(&folder).unwrap());
        let writer = WriterLock::take(&folder).unwrap();
        assert!(WriterLock::is_held(&folder).unwrap());
        drop(writer);
        let asking = File::open(folder.lock()).unwrap();
        asking.lock_shared().unwrap();
        assert!(!WriterLock::is_held(&folder).unwrap());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| WriterLock::take(&folder).map(drop));
            std::thread::sleep(Duration::from_millis(5));
            asking.unlock().unwrap();
            writer.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_reader_waits_while_a_writer_repairs_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(RepairLock::settled(&folder).unwrap().is_none());
        let repair = RepairLock::take(&folder).unwrap();
        let soon = Duration::from_millis(30);
        let late = RepairLock::settled_within(&folder, soon);
        assert!(matches!(late, Err(Error::Repairing { .. })), "{late:?}");
        drop(repair);
        assert!(RepairLock::settled(&folder).unwrap().is_some());
    }
}
