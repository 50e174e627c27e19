//! Forgetting for good: segments are written anew without the bytes of records that are gone.
//!
//! An event whose records are to be forgotten stays under its number, flagged as redacted, with its
//! commit and its tree; of an account that is to be forgotten only the signed commits stay. So a
//! copy that comes late is still known and brings nothing back. A new segment is made of what is
//! left alone, read back and compared, and takes the place of the old one by a rename. Before that
//! the log is sealed, so nothing is left in one.

use std::collections::HashSet;
use std::path::Path;

use atproto::event::{self, Event};

use crate::codec::{Encoder, Given};
use crate::error::Cause;
use crate::folder::{Folder, unfinished};
use crate::forgotten::Forgotten;
use crate::group::{Group, group_of};
use crate::lattice::{Lattice, PathsGone};
use crate::lock::WriterLock;
use crate::redact::{redact_all, without_blocks};
use crate::seal::compare;
use crate::segment::part;
use crate::segment::read::{Index, Segment};
use crate::segment::write::{Holdings, write};
use crate::writer::{Options, Writer};
use crate::{Damage, Error, disk};

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
}

/// What is to be forgotten: deleted and replaced records, what the operator has taken down, and
/// accounts whose host said long enough ago that they are deleted.
#[derive(Debug)]
pub struct Gone {
    lattice: Lattice,
    paths: PathsGone,
    forgotten: Forgotten,
    /// Accounts that have been deleted for long enough.
    deleted: HashSet<String>,
}

impl Gone {
    /// Reads what the archive in `dir` says; an account counts as deleted if its host said so before
    /// `deleted_before_ns`.
    ///
    /// # Errors
    /// [`Error::NoArchive`], [`Error::Damaged`], and those of the disk.
    pub fn open(dir: &Path, deleted_before_ns: u64) -> Result<Gone, Error> {
        let folder = Folder::new(dir);
        let (mut lattice, forgotten) = (Lattice::open(dir)?, Forgotten::open(dir)?);
        let numbers = segments(&folder)?;
        let mut deleted = HashSet::new();
        for number in &numbers {
            deleted.extend(deleted_accounts(&folder, *number, &mut lattice, deleted_before_ns)?);
        }
        let paths = PathsGone::open(&folder, numbers)?;
        Ok(Gone { lattice, paths, forgotten, deleted })
    }

    /// Whether all of an account goes but its signed commits.
    fn is_stripped(&self, did: &str) -> bool {
        self.forgotten.account(did) || self.deleted.contains(did)
    }

    /// What is left of event `n` of the archive if it loses something.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn left(&mut self, n: u64, body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.without(body, |gone, event| Ok(gone.lattice.fate(n)?.gone_paths(event)))
    }

    /// The same of an event that never was in the archive: a record of it is gone when the archive knows
    /// that what was under its path once was deleted or replaced.
    ///
    /// # Errors
    /// As [`Gone::left`].
    pub fn left_of_refused(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.without(body, |gone, event| gone.paths.of(event))
    }

    fn without<'b>(
        &mut self,
        body: &'b [u8],
        paths: impl FnOnce(&mut Gone, &Event<'b>) -> Result<HashSet<&'b str>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Ok(event) = event::parse(body) else { return Ok(None) };
        if event.blocks().is_none() {
            return Ok(None);
        }
        let did = event.did().unwrap_or_default();
        let left = if self.is_stripped(did) {
            without_blocks(body, &event)
        } else {
            let paths = paths(self, &event)?;
            redact_all(body, |path| self.forgotten.path(did, path) || paths.contains(path))
        };
        Ok(left.filter(|left| left != body))
    }
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
    // What lies in logs is forgotten by having it in a segment.
    Writer::open(dir, options)?.finish(true)?;
    let _lock = WriterLock::take(&folder)?;
    let mut rules = Gone::open(dir, deleted_before_ns)?;
    let mut done = Compacted::default();
    let numbers = segments(&folder)?;
    done.before = bytes(&folder, &numbers)?;
    let mut damaged = 0;
    for members in numbers.chunk_by(|a, b| group_of(*a) == group_of(*b)) {
        // Nobody is to be written against an account whose tree goes. Which others end otherwise
        // when they are encoded anew is found out by doing so: then the group is begun again.
        let mut alone = HashSet::new();
        while !group(&folder, members, &mut rules, options.level, &mut alone, &mut done)? {
            done.damage.truncate(damaged);
        }
        damaged = done.damage.len();
    }
    done.after = bytes(&folder, &numbers)?;
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

/// Writes the segments of a group anew that lose something, the last first; false if `alone` has
/// grown, and all of it is to be done again.
fn group(
    folder: &Folder,
    members: &[u32],
    rules: &mut Gone,
    level: i32,
    alone: &mut HashSet<Box<str>>,
    done: &mut Compacted,
) -> Result<bool, Error> {
    let mut decoded = Group::new(folder)?;
    let mut damaged = false;
    for number in members.iter().rev() {
        match segment(&mut decoded, *number, rules, (level, damaged), alone, done) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(Error::Damaged(damage)) => {
                damaged = true;
                done.damage.push(damage);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Accounts whose last word on their status is in this segment, and is that they are deleted.
fn deleted_accounts(
    folder: &Folder,
    number: u32,
    lattice: &mut Lattice,
    before_ns: u64,
) -> Result<Vec<String>, Error> {
    let read = || {
        let segment = Segment::open(&folder.segment(number), number)?;
        Ok((segment.contents.first, segment.index()?))
    };
    let (first, index): (u64, Index) = match read() {
        // It is met again.
        Err(Error::Damaged(_)) => return Ok(Vec::new()),
        other => other?,
    };
    let mut deleted = Vec::new();
    for (account, did) in (0..).zip(&index.accounts.dids) {
        let Some(any) = index.of_account(account).first() else { continue };
        let by = lattice.fate(first + u64::from(*any))?.deleted_by();
        let row = by.and_then(|n| usize::try_from(n.checked_sub(first)?).ok());
        let row = row.and_then(|ordinal| index.rows.get(ordinal));
        if row.is_some_and(|row| row.time_ns < before_ns) {
            deleted.push(did.to_string());
        }
    }
    Ok(deleted)
}

/// Writes a segment anew if it loses something. If a later one is damaged, it stays as it is where
/// what can still be read of that one hangs on it.
fn segment(
    decoded: &mut Group,
    number: u32,
    rules: &mut Gone,
    (level, damaged): (i32, bool),
    alone: &mut HashSet<Box<str>>,
    done: &mut Compacted,
) -> Result<bool, Error> {
    let old = decoded.open(number)?;
    let index = decoded.index(number)?;
    let folder = decoded.folder().clone();
    let path = folder.segment(number);
    // By position: sections and body.
    let mut events: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(index.ordinals.len());
    let mut rows = index.rows.clone();
    let mut changed = 0;
    for (at_block, block_row) in index.blocks.iter().enumerate() {
        let block = decoded.block(number, at_block)?;
        for at in 0..block_row.events as usize {
            let ordinal = index.ordinals.get(events.len()).map_or(usize::MAX, |it| *it as usize);
            let plain = block.event(at).zip(rows.get_mut(ordinal));
            let (plain, row) =
                plain.ok_or_else(|| Damage::at(&path, block_row.offset, Cause::Form("block")))?;
            let left = rules.left(old.contents.first + ordinal as u64, plain.body)?;
            if left.is_some() {
                row.flags |= frame::flags::REDACTED;
                changed += 1;
            }
            events.push((plain.sections.to_vec(), left.unwrap_or_else(|| plain.body.to_vec())));
        }
    }
    let is_alone = |did: &str| alone.contains(did) || rules.is_stripped(did);
    if damaged && changed > 0 && index.accounts.dids.iter().any(|did| is_alone(did)) {
        return Err(Damage::at(&path, 0, Cause::Needed).into());
    }
    let (mut links, mut bases) = (Vec::new(), Vec::new());
    let mut cut = false;
    for (account, did) in index.accounts.dids.iter().enumerate() {
        let link = index.link(account, number);
        cut |= link.is_some() && is_alone(did);
        let link = link.filter(|_| !is_alone(did));
        bases.push(link.map(|earlier| decoded.end(earlier, did)).transpose()?);
        links.push(link.map_or(0, |earlier| number - earlier));
    }
    if changed == 0 && !cut {
        return Ok(true);
    }
    let given = index.ordinals.iter().zip(&events).zip(0..).filter_map(|(event, position)| {
        let (ordinal, (sections, body)) = event;
        let row = rows.get(*ordinal as usize)?;
        let account = row.account? as usize;
        let did = index.accounts.dids.get(account)?;
        let first = index.accounts.starts.get(account) == Some(&position);
        let base = bases.get(account).filter(|_| first).and_then(|base| base.as_ref());
        Some(Given { did, seq: row.seq, sections, body, base })
    });
    let identities = old.identities()?.into_iter().map(Option::unwrap_or_default);
    let holdings = Holdings {
        head: old.head()?,
        events: given.collect(),
        accounts: index.accounts.clone(),
        links,
        hosts: index.hosts.clone(),
        marks: old.marks()?,
        identities: identities.collect(),
        notes: old.part(part::NOTES)?.unwrap_or_default(),
        rows: rows.clone(),
    };
    let new = unfinished(&path);
    let file = disk::create(&new)?;
    let encoder = Encoder::new(level).map_err(|source| Error::io(&new, "compress", source));
    let written = encoder
        .and_then(|mut encoder| write(&file, &new, &holdings, &mut encoder))
        .and_then(|written| {
            disk::sync(&file, &new)?;
            compare(&Segment::open(&new, number)?, &holdings, &written)?;
            Ok(written.ends)
        });
    let ends = match written {
        Ok(ends) => ends,
        Err(error) => {
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
    };
    // What later segments may be written against has to be the same.
    let mut others = Vec::new();
    for did in index.accounts.dids.iter().filter(|did| !is_alone(did)) {
        if decoded.end_if_known(number, did).as_ref() != ends.get(did) {
            others.push(did.clone());
        }
    }
    if !others.is_empty() {
        alone.extend(others);
        disk::remove(&new)?;
        return Ok(false);
    }
    folder.publish(&new, &path)?;
    done.segments += 1;
    done.events += changed;
    Ok(true)
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
