//! Files that appear only when they are whole.
//!
//! A file is made beside its place as `NAME.tmp`, synced, renamed, and the folder synced: a reader
//! finds the old file or the whole one, and one that has the old one mapped goes on with it. The
//! lock on `NAME.lock` is held meanwhile, by a descriptor, so it dies with its process; what a
//! killed writer left under the temporary name is cut away by the next.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
};

use crate::Error;

/// A file in the making. Dropped without [`NewFile::publish`] it leaves nothing behind but the
/// lock file.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    replace: bool,
    published: bool,
    _lock: File,
}

impl NewFile {
    /// Begins a file that will be `path`. Unless `replace`, one that is there is not touched.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Busy`] when another process makes the same file, [`Error::Io`].
    pub fn create(path: &Path, replace: bool) -> Result<Self, Error> {
        refuse_existing(path, replace)?;
        Self::under(path, replace, lock(path)?)
    }

    /// The same, under a lock of `path` that is held already (a duplicate of it, so that it stays
    /// when this one goes).
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn under(path: &Path, replace: bool, lock: File) -> Result<Self, Error> {
        refuse_existing(path, replace)?;
        let temporary = beside(path, ".tmp");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(io_error("create", &temporary))?;
        let path = path.to_owned();
        Ok(Self { path, temporary, file, replace, published: false, _lock: lock })
    }

    /// The name it has until it is published.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// The file under its temporary name, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Takes room on the disk for the first `bytes` bytes, so that a full disk is found out before
    /// the work and not by it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let taken = i64::try_from(bytes)
            .map_err(io::Error::other)
            .and_then(|bytes| Ok(nix::fcntl::posix_fallocate(&self.file, 0, bytes)?));
        taken.map_err(io_error("take room for", &self.temporary))
    }

    /// Makes the file durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(io_error("sync", &self.temporary))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when one has come meanwhile and was not to be replaced, [`Error::Io`].
    pub fn publish(mut self) -> Result<(), Error> {
        self.sync()?;
        refuse_existing(&self.path, self.replace)?;
        fs::rename(&self.temporary, &self.path).map_err(io_error("rename", &self.temporary))?;
        self.published = true;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let sync = File::open(folder).and_then(|folder| folder.sync_all());
        sync.map_err(io_error("sync", folder))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            // What stays is cut away by the next writer.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Takes the lock of `path`, which is on a file of its own beside it, for as long as the result
/// lives.
///
/// # Errors
/// [`Error::Busy`] with the holder's process id, [`Error::Io`].
pub fn lock(path: &Path) -> Result<File, Error> {
    let place = beside(path, ".lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&place)
        .map_err(io_error("create", &place))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = (&lock).take(16).read_to_string(&mut holder);
            let holder = read.ok().and_then(|_| holder.trim().parse().ok()).unwrap_or(0);
            return Err(Error::Busy { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &place)(source)),
    }
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", process::id()));
    written.map_err(io_error("write", &place))?;
    Ok(lock)
}

fn refuse_existing(path: &Path, replace: bool) -> Result<(), Error> {
    if !replace && fs::symlink_metadata(path).is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}
