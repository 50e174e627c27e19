//! What lies beside an index: its log and its delta, named by its id.
//!
//! An index that is replaced takes its id along, so what belongs to the old one can never be
//! taken for the new one's.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{Error, delta};

/// Takes the lock of an index, for as long as the result lives: one process builds or changes it
/// at a time.
///
/// # Errors
/// [`Error::Table`] with the holder's process id.
pub fn lock(index: &Path) -> Result<File, Error> {
    Ok(table::file::lock(index)?)
}

/// The log of the index of that id.
#[must_use]
pub fn log(index: &Path, id: u64) -> PathBuf {
    with(index, &format!(".{id:016x}.log"))
}

/// The delta of the index of that id.
#[must_use]
pub fn delta(index: &Path, id: u64) -> PathBuf {
    with(index, &format!(".{id:016x}.delta"))
}

/// What a file is called until it is whole.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    with(path, ".tmp")
}

/// Tells the readers of every index that has been at `index`, but for the one of the id `keep`,
/// that another has taken its place.
///
/// # Errors
/// [`Error::Io`].
pub fn supersede(index: &Path, keep: u64) -> Result<(), Error> {
    for (path, id) in all(index)? {
        if id != keep && path.extension().is_some_and(|ending| ending == "delta") {
            delta::supersede(&path)?;
        }
    }
    Ok(())
}

/// Removes what belongs to indexes that were at `index` before the one of the id `keep`, and
/// everything under a temporary name. The caller holds the lock of `index`. Readers that have it
/// mapped go on with it.
///
/// # Errors
/// [`Error::Io`].
pub fn clean(index: &Path, keep: u64) -> Result<(), Error> {
    let unfinished = temporary(index);
    let old = all(index)?
        .into_iter()
        .filter(|(path, id)| *id != keep || path.extension().is_some_and(|ending| ending == "tmp"));
    for path in old.map(|(path, _)| path).chain([unfinished]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io_error("remove", &path))?,
        }
    }
    Ok(())
}

/// Makes durable what the folder of `index` says.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(index: &Path) -> Result<(), Error> {
    let folder = folder(index);
    let sync = File::open(folder).and_then(|folder| folder.sync_all());
    sync.map_err(io_error("sync", folder))
}

pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// Every log and delta beside an index, with the id in its name.
fn all(index: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let folder = folder(index);
    let Some(name) = index.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error("read", folder))? {
        let entry = entry.map_err(io_error("read", folder))?;
        let id = entry.file_name().to_str().and_then(|other| id_of(other, name));
        if let Some(id) = id {
            found.push((entry.path(), id));
        }
    }
    Ok(found)
}

/// The id in the name of a log or delta of the index called `name`.
fn id_of(other: &str, name: &str) -> Option<u64> {
    let rest = other.strip_prefix(name)?.strip_prefix('.')?;
    let (id, ending) = rest.split_once('.')?;
    let known = matches!(ending, "log" | "log.tmp" | "delta" | "delta.tmp");
    let digits = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (known && digits).then(|| u64::from_str_radix(id, 16).ok()).flatten()
}

/// The folder of a file.
pub(crate) fn folder(index: &Path) -> &Path {
    match index.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
