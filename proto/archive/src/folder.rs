//! What lies in an archive's folder, by name.
//!
//! ```text
//! DIR/manifest            version and identity key
//! DIR/lock                held by the one writer, holds its pid
//! DIR/repair              held by a writer while it repairs
//! DIR/log-NNNNNNNN.wal    events in the order in which they came
//! DIR/seg-NNNNNNNN.seg    the same events, sealed: log k becomes segment k
//! DIR/leaf-NNNNNNNN-00.run    the leaves of a segment
//! DIR/path-NNNNNNNN-LL.run    the last leaf of each path, of 4^LL segments
//! DIR/acct-NNNNNNNN-LL.run    what is known of each account, of 4^LL segments; these three kinds
//!                         can be made again
//! DIR/kept-NNNNNNNN-00.run    what dropped segments said of their accounts; it can't be made again
//! DIR/held-00000000-00.run    what the lattice said before it was made anew, and said-00000000-00.run;
//!                         while some events can't be read
//! DIR/leaf-NNNNNNNN.open      the leaves of a log
//! DIR/lattice             which records are gone, with gone- and away-NNNNNNNN-NNNN.map; these can be
//!                         made again, too
//! DIR/forgotten           what the operator has taken down, and why
//! DIR/forgotten.again     the same once more
//! DIR/*.tmp               unfinished; the next writer removes it
//! ```
//!
//! A segment comes into being by a rename when it is whole and proved, and only then does its log
//! go. So where both are there, the segment counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Error, disk};

/// How the names of its files begin that are unfinished for a while.
const OURS: [&str; 11] = [
    "log-", "seg-", "leaf-", "path-", "acct-", "kept-", "held-", "said-", "manifest", "lattice",
    "tombs",
];

/// An archive's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Whether a number is there as a log, as a segment, or as both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) log: bool,
    pub(crate) segment: bool,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned() }
    }

    /// Makes the folder if it is not there, durably.
    pub(crate) fn create(&self) -> Result<(), Error> {
        if self.path.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.path)
            .map_err(|source| Error::io(&self.path, "create", source))?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => disk::sync_folder(parent),
            _ => disk::sync_folder(Path::new(".")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.path.join("manifest")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub(crate) fn repair(&self) -> PathBuf {
        self.path.join("repair")
    }

    pub(crate) fn lattice(&self) -> PathBuf {
        self.path.join("lattice")
    }

    /// What versions before the lattice had in its place.
    pub(crate) fn tombs(&self) -> PathBuf {
        self.path.join("tombs")
    }

    pub(crate) fn open_leaves(&self, segment: u32) -> PathBuf {
        self.path.join(format!("leaf-{segment:08}.open"))
    }

    pub(crate) fn forgotten(&self) -> PathBuf {
        self.path.join("forgotten")
    }

    pub(crate) fn forgotten_again(&self) -> PathBuf {
        self.path.join("forgotten.again")
    }

    pub(crate) fn log(&self, number: u32) -> PathBuf {
        self.path.join(format!("log-{number:08}.wal"))
    }

    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.path.join(format!("seg-{number:08}.seg"))
    }

    /// Makes names that were given or taken away durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        disk::sync_folder(&self.path)
    }

    /// Puts a finished file under its name, durably.
    pub(crate) fn publish(&self, unfinished: &Path, path: &Path) -> Result<(), Error> {
        disk::rename(unfinished, path)?;
        self.sync()
    }

    /// Whether this number is there, as a log or as a segment.
    pub(crate) fn has_number(&self, number: u32) -> bool {
        // In this order: a segment has its name before its log goes.
        self.log(number).exists() || self.segment(number).exists()
    }

    /// The logs and segments, by number. Other names are none of our business.
    pub(crate) fn list(&self) -> Result<BTreeMap<u32, Present>, Error> {
        let mut numbers: BTreeMap<u32, Present> = BTreeMap::new();
        self.each_name(|name| {
            if let Some(number) = number_of(name, "log-", ".wal") {
                numbers.entry(number).or_default().log = true;
            } else if let Some(number) = number_of(name, "seg-", ".seg") {
                numbers.entry(number).or_default().segment = true;
            }
        })?;
        Ok(numbers)
    }

    /// Removes what a writer left unfinished.
    pub(crate) fn remove_unfinished(&self) -> Result<(), Error> {
        let mut unfinished = Vec::new();
        self.each_name(|name| {
            let ours = OURS.iter().any(|start| name.starts_with(start));
            if ours && name.ends_with(".tmp") {
                unfinished.push(self.path.join(name));
            }
        })?;
        unfinished.iter().try_for_each(|path| disk::remove(path))
    }

    /// Shows every name.
    pub(crate) fn each_name(&self, mut visit: impl FnMut(&str)) -> Result<(), Error> {
        let failed = |source| Error::io(&self.path, "list", source);
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            if let Some(name) = entry.map_err(failed)?.file_name().to_str() {
                visit(name);
            }
        }
        Ok(())
    }
}

/// The name under which a file is written until it is whole.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn number_of(name: &str, start: &str, end: &str) -> Option<u32> {
    let digits = name.strip_prefix(start)?.strip_suffix(end)?;
    let plain = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_logs_and_segments() {
        assert_eq!(number_of("log-00000012.wal", "log-", ".wal"), Some(12));
        assert_eq!(number_of("log-00000012.wal.tmp", "log-", ".wal"), None);
        assert_eq!(number_of("log-+0000012.wal", "log-", ".wal"), None);
        assert_eq!(number_of("log-12.wal", "log-", ".wal"), None);
    }
}
