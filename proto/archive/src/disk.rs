//! The system calls that change an archive, each with the file's name in its error. Tests make
//! the n-th of them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use table::WordsMut;

use crate::Error;

/// Room that is taken before it is needed is no more than this share of what is free: a 64th.
const PLENTY: u64 = 64;

/// Creates a file that must not be there yet.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    fault()
        .and_then(|()| OpenOptions::new().read(true).write(true).create_new(true).open(path))
        .map_err(|source| Error::io(path, "create", source))
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::io(path, "open", source))
}

/// Opens a file to write behind its end.
pub(crate) fn open_append(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(|source| Error::io(path, "open for writing", source))
}

/// Opens a file to write in it.
pub(crate) fn open_write(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| Error::io(path, "open for writing", source))
}

/// Opens a file to write in it, making one if there is none.
pub(crate) fn open_or_create(path: &Path) -> Result<File, Error> {
    fault()
        .and_then(|()| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        })
        .map_err(|source| Error::io(path, "create", source))
}

/// The length of an open file.
pub(crate) fn len(file: &File, path: &Path) -> Result<u64, Error> {
    file.metadata().map(|meta| meta.len()).map_err(|source| Error::io(path, "stat", source))
}

pub(crate) fn write(mut file: &File, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Err(source) = fault() {
        // A write that fails may have written a part, as a full disk or a kill leaves it.
        let _ = file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default());
        return Err(Error::io(path, "write", source));
    }
    file.write_all(bytes).map_err(|source| Error::io(path, "write", source))
}

/// Writes at an offset of a file that others read meanwhile.
pub(crate) fn write_at(file: &File, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    use std::os::unix::fs::FileExt as _;
    fault()
        .and_then(|()| file.write_all_at(bytes, offset))
        .map_err(|source| Error::io(path, "write", source))
}

/// Takes room behind a file's end where there is plenty and the system can. Of what is left on a disk
/// that is nearly full others may need each page, so there who writes takes no more than they write.
pub(crate) fn take_room_behind(file: &File, start: u64, bytes: u64) {
    let keep = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let is_plenty = nix::sys::statvfs::fstatvfs(file).is_ok_and(|disk| {
        #[allow(clippy::useless_conversion, reason = "other systems count blocks in 32 bits")]
        let free = u64::from(disk.blocks_available()).saturating_mul(disk.fragment_size());
        free / PLENTY >= bytes
    });
    if let (true, Ok(start), Ok(bytes)) = (is_plenty, i64::try_from(start), i64::try_from(bytes)) {
        let _ = nix::fcntl::fallocate(file, keep, start, bytes);
    }
}

/// Gives back the room behind the end of a file, which has this many bytes: none of them is cut off.
pub(crate) fn give_room_back(file: &File, path: &Path, bytes: u64) -> Result<(), Error> {
    if len(file, path)? == bytes {
        file.set_len(bytes).map_err(|source| Error::io(path, "give room back", source))?;
    }
    Ok(())
}

/// Makes a file's bytes durable.
pub(crate) fn sync(file: &File, path: &Path) -> Result<(), Error> {
    fault()
        .and_then(|()| file.sync_data())
        .map_err(|source| Error::Sync { path: path.to_owned(), source })
}

/// Takes the room for a word on the disk.
pub(crate) fn take_room(words: &mut WordsMut, path: &Path, number: usize) -> Result<(), Error> {
    fault()
        .and_then(|()| words.take_room(number))
        .map_err(|source| Error::io(path, "take room for", source))
}

/// Makes a file of words long enough for so many.
pub(crate) fn reach(words: &mut WordsMut, path: &Path, count: usize) -> Result<(), Error> {
    fault()
        .and_then(|()| words.reach(count))
        .map_err(|source| Error::io(path, "make longer", source))
}

/// Makes words durable.
pub(crate) fn sync_words(words: &WordsMut, path: &Path) -> Result<(), Error> {
    fault()
        .and_then(|()| words.sync())
        .map_err(|source| Error::Sync { path: path.to_owned(), source })
}

/// Before another thread is asked to make a file durable.
pub(crate) fn before_sync(path: &Path) -> Result<(), Error> {
    fault().map_err(|source| Error::Sync { path: path.to_owned(), source })
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    fault()
        .and_then(|()| File::open(path))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::Sync { path: path.to_owned(), source })
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fault()
        .and_then(|()| std::fs::rename(from, to))
        .map_err(|source| Error::io(to, "rename into place", source))
}

pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    fault()
        .and_then(|()| std::fs::remove_file(path))
        .map_err(|source| Error::io(path, "remove", source))
}

#[cfg(not(test))]
fn fault() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
thread_local! {
    /// How many more calls of this thread succeed; `None`: all.
    pub(crate) static CALLS_LEFT: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn fault() -> io::Result<()> {
    CALLS_LEFT.with(|left| match left.get() {
        None => Ok(()),
        Some(0) => Err(io::ErrorKind::StorageFull.into()),
        Some(calls) => {
            left.set(Some(calls - 1));
            Ok(())
        }
    })
}
