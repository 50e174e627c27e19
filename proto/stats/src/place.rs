//! Where pages lie, and how one knows that a page's writer is alive.
//!
//! A page is a file `sovereign-stats-TOOL-PID-START` (START in unix ns) of mode 0600 in the
//! directory that `SOVEREIGN_STATS_DIR` names, else in `/dev/shm`, else in the directory for
//! temporary files. Its writer holds an exclusive `flock` on it, which the system lets go of
//! when the process ends, however it ends. So a page is alive exactly while nobody else can
//! lock it; pids, which are reused, prove nothing. A page that can be locked was left behind,
//! and whoever finds it removes it.
//!
//! Made and left behind look alike between a file's creation and its lock. So a remover holds
//! a lock while it unlinks, and a maker that has its lock checks that the file still has a
//! name.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::error::Error;
use crate::layout::{MAGIC, PAGE_BYTES};

const PREFIX: &str = "sovereign-stats-";
/// The table of hosts of a page is called like it but for this.
const HOSTS_PREFIX: &str = "sovereign-hosts-";
/// Names the directory of pages, for writers and readers.
pub const DIR_VARIABLE: &str = "SOVEREIGN_STATS_DIR";
const SHARED_MEMORY: &str = "/dev/shm";
/// Bytes of a tool's name.
pub const TOOL_BYTES_MAX: usize = 32;

/// Times that a file is made anew after a reader took it for a leftover.
const ATTEMPTS: u32 = 8;
/// Pauses for a reader that looks at our file before we have locked it, and how long each is.
const LOCK_PAUSES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The directories where pages may lie: a writer takes the first that it can write to.
pub fn dirs() -> Vec<PathBuf> {
    if let Some(dir) = std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        return vec![dir.into()];
    }
    let mut dirs = vec![];
    if Path::new(SHARED_MEMORY).is_dir() {
        dirs.push(SHARED_MEMORY.into());
    }
    dirs.push(std::env::temp_dir());
    dirs
}

/// The file of a page that its writer has locked. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    pub(crate) file: File,
    pub(crate) start_ns: u64,
}

impl Place {
    /// Makes the file of a page, a page long, all zero, locked.
    pub(crate) fn make(dir: &Path, tool: &str, start_ns: u64) -> Result<Self, Error> {
        if !is_tool_name(tool) {
            return Err(Error::ToolName(tool.into()));
        }
        let mut result = Err(io::ErrorKind::AlreadyExists.into());
        for attempt in 0..ATTEMPTS {
            let start_ns = start_ns + u64::from(attempt);
            let path = dir.join(format!("{PREFIX}{tool}-{}-{start_ns}", std::process::id()));
            result = make_locked(&path).and_then(|file| {
                let place = Self { path, file, start_ns };
                allocate(&place.file).map(|()| place)
            });
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                _ => break,
            }
        }
        result.map_err(|source| Error::Create { dir: dir.into(), source })
    }
}

impl Place {
    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The table of hosts that may lie beside a page.
pub(crate) fn hosts_of(page: &Path) -> PathBuf {
    let name = page.file_name().and_then(OsStr::to_str).unwrap_or_default();
    page.with_file_name(name.replacen(PREFIX, HOSTS_PREFIX, 1))
}

impl Drop for Place {
    fn drop(&mut self) {
        // The lock is still held, so nobody takes the file for a leftover meanwhile.
        remove(&self.path, &self.file);
    }
}

/// Makes and locks a file. `AlreadyExists` means that it is worth trying another name.
fn make_locked(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    for _ in 0..LOCK_PAUSES {
        match file.try_lock() {
            Ok(()) if file.metadata()?.nlink() == 0 => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => {
                remove(path, &file);
                return Err(error);
            }
        }
    }
    remove(path, &file);
    Err(io::ErrorKind::WouldBlock.into())
}

/// Gives the file its length, with memory behind every byte of it.
fn allocate(file: &File) -> io::Result<()> {
    file.set_len(PAGE_BYTES as u64)?;
    #[cfg(target_os = "linux")]
    nix::fcntl::posix_fallocate(file, 0, PAGE_BYTES as i64)?;
    Ok(())
}

/// Whether a page may be named after this tool.
fn is_tool_name(tool: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=TOOL_BYTES_MAX).contains(&tool.len()) && tool.bytes().all(is_fit)
}

/// Whether a file's name is that of a page. Nothing else is ever opened or removed.
pub(crate) fn is_page_name(name: &OsStr) -> bool {
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
        return false;
    };
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut parts = rest.rsplitn(3, '-');
    is_number(parts.next()) && is_number(parts.next()) && parts.next().is_some_and(is_tool_name)
}

/// What was found under the name of a page.
pub(crate) enum Found {
    /// Its writer holds the lock.
    Alive(File),
    /// Its writer is gone; the file has been removed.
    Removed,
    /// It went away meanwhile.
    Gone,
}

/// Opens a page for reading, or removes what a dead writer left. The file may be anything that
/// anybody put there: links are not followed, and opening a pipe does not wait.
pub(crate) fn open(path: &Path) -> Result<Found, Error> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(Error::NotAFile);
        }
        Err(error) => return Err(Error::Read(error)),
    };
    let metadata = file.metadata().map_err(Error::Read)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile);
    }
    // A shared lock, so that readers do not look like writers to one another.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Found::Alive(file)),
        Err(TryLockError::Error(error)) => Err(Error::Read(error)),
        Ok(()) => {
            is_leftover(&file, metadata.len())?;
            let removed = remove(path, &file);
            if removed {
                // Most have none.
                let _ = std::fs::remove_file(hosts_of(path));
            }
            Ok(if removed { Found::Removed } else { Found::Gone })
        }
    }
}

/// Checks that an unlocked file is a page, or one whose maker died before it was filled in: a
/// file of another kind is left alone.
fn is_leftover(file: &File, bytes: u64) -> Result<(), Error> {
    let mut magic = [0; MAGIC.len()];
    match file.read_exact_at(&mut magic, 0) {
        Err(_) if bytes == 0 => Ok(()),
        Ok(()) if magic == MAGIC || (magic == [0; MAGIC.len()] && bytes == PAGE_BYTES as u64) => {
            Ok(())
        }
        Ok(()) => Err(Error::Magic(magic)),
        Err(_) => Err(Error::Size { found: bytes, expected: PAGE_BYTES as u64 }),
    }
}

/// Unlinks a file that the caller has locked, if the name still means that file.
fn remove(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(ours)) = (path.symlink_metadata(), file.metadata()) else { return false };
    let is_ours = named.ino() == ours.ino() && named.dev() == ours.dev();
    is_ours && std::fs::remove_file(path).is_ok()
}

/// The files in a directory that are named like pages, in order of name.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::List { dir: dir.into(), source };
    let mut paths = vec![];
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_page_name(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Removes what dead writers left in a directory.
pub(crate) fn sweep(dir: &Path) {
    for path in list(dir).unwrap_or_default() {
        // What cannot be opened or removed is another's business.
        let _ = open(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_pages_are_touched() {
        for name in ["sovereign-stats-a-1-2", "sovereign-stats-pds-tap-12-1764000000"] {
            assert!(is_page_name(OsStr::new(name)), "{name}");
        }
        for name in [
            "sovereign-stats-a-1",
            "sovereign-stats--1-2",
            "sovereign-stats-A-1-2",
            "sovereign-stats-a-1-2.txt",
            "sovereign-stats-a-x-2",
            "sovereign-ring-a-1-2",
            "stats-a-1-2",
        ] {
            assert!(!is_page_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_page_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sovereign-stats-a-1-2");
        std::fs::write(&path, "a letter to a friend").unwrap();
        assert!(matches!(open(&path), Err(Error::Magic(_))));
        std::fs::write(&path, "hi").unwrap();
        assert!(matches!(open(&path), Err(Error::Size { found: 2, .. })));
        assert!(path.exists());
    }

    #[test]
    fn a_maker_that_was_taken_for_dead_makes_its_file_anew() {
        let dir = tempfile::tempdir().unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep(dir.path());
                }
            });
            for start_ns in 0..200 {
                let place = Place::make(dir.path(), "a", start_ns * 100).unwrap();
                assert!(matches!(open(&place.path), Ok(Found::Alive(_))));
            }
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(list(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }
}
