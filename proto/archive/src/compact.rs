//! Forgetting for good: segments are written anew without the bytes of records that are gone.
//!
//! An event whose records are to be forgotten stays under its number, flagged as redacted, with its
//! commit and its tree; of an account that is to be forgotten only the signed commits stay. So a
//! copy that comes late is still known and brings nothing back. A new segment is made of what is
//! left alone, read back and compared, and takes the place of the old one by a rename. Before that
//! the log is sealed, so nothing is left in one.

mod anew;
mod gone;

use std::collections::HashSet;
use std::path::Path;

use crate::compact::anew::Anew;
use crate::folder::Folder;
use crate::group::group_of;
use crate::writer::{Options, Writer};
use crate::{Damage, Error, disk};

pub use gone::Gone;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were written anew.
    pub segments: u64,
    /// Events that lost bytes.
    pub events: u64,
    /// Bytes of segments before and after.
    pub before: u64,
    /// See `before`.
    pub after: u64,
    /// Segments that could not be read and so are as they were.
    pub damage: Vec<Damage>,
    /// Events that still have what is gone, as a scan over all of the archive says: none, if it does
    /// what it should. Where something could not be read nobody looked.
    pub left: u64,
}

/// Forgets what is gone in the archive in `dir`: deleted and replaced records, what the operator
/// has taken down, and accounts whose host said before `deleted_before_ns` that they are deleted.
///
/// # Errors
/// [`Error::Locked`] if another process writes the archive, and those of the disk. What was done
/// until then stays.
pub fn compact(dir: &Path, options: Options, deleted_before_ns: u64) -> Result<Compacted, Error> {
    let folder = Folder::new(dir);
    if !folder.manifest().exists() {
        return Err(Error::NoArchive { path: dir.to_owned() });
    }
    // What lies in logs is forgotten by having it in a segment. Another writer that came in between would
    // leave a log that is not, and a deletion that came before the proof would fail it.
    let (_, _lock) = Writer::open(dir, options)?.finish_locked(true)?;
    let mut rules = Gone::open(dir, deleted_before_ns)?;
    let mut done = Compacted::default();
    let numbers = segments(&folder)?;
    done.before = bytes(&folder, &numbers)?;
    let mut damaged = 0;
    for members in numbers.chunk_by(|a, b| group_of(*a) == group_of(*b)) {
        // Nobody is to be written against an account whose tree goes. Which others end otherwise
        // when they are encoded anew is found out by doing so: then the group is begun again.
        let mut alone = HashSet::new();
        let (rules, level) = (&mut rules, options.level);
        let mut anew = Anew { rules, level, alone: &mut alone };
        while !anew.group(&folder, members, &mut done)? {
            done.damage.truncate(damaged);
        }
        damaged = done.damage.len();
    }
    done.after = bytes(&folder, &numbers)?;
    if done.damage.is_empty() {
        done.left = unforgotten(dir, &mut rules)?;
    }
    Ok(done)
}

fn segments(folder: &Folder) -> Result<Vec<u32>, Error> {
    let list = folder.list()?.into_iter();
    Ok(list.filter(|(_, is)| is.segment).map(|(number, _)| number).collect())
}

fn bytes(folder: &Folder, numbers: &[u32]) -> Result<u64, Error> {
    let length = |number: &u32| {
        let path = folder.segment(*number);
        disk::len(&disk::open(&path)?, &path)
    };
    numbers.iter().map(length).sum()
}

/// How many events of the archive in `dir` still have bytes that are to be forgotten: none, once it
/// was compacted.
///
/// # Errors
/// Those of the disk.
pub fn unforgotten(dir: &Path, gone: &mut Gone) -> Result<u64, Error> {
    let mut reader = crate::Reader::open(dir)?;
    let mut scan = reader.scan(crate::Query::default());
    let mut count = 0;
    while let Some(found) = scan.next()? {
        if let crate::Found::Event(event) = found {
            count += u64::from(gone.left(event.n, event.body)?.is_some());
        }
    }
    Ok(count)
}
