//! What is to be forgotten.

use std::collections::HashSet;
use std::path::Path;

use atproto::event::{self, Event};

use crate::Error;
use crate::derived::make;
use crate::folder::Folder;
use crate::forgotten::Forgotten;
use crate::lattice::{Lattice, PathsGone};
use crate::redact::{redact_all, without_blocks};
use crate::segment::read::{Index, Segment};

/// Deleted and replaced records, what the operator has taken down, and accounts whose host said long
/// enough ago that they are deleted.
#[derive(Debug)]
pub struct Gone {
    lattice: Lattice,
    paths: PathsGone,
    forgotten: Forgotten,
    /// Accounts with events in segments that have been deleted for long enough.
    deleted: HashSet<String>,
    since: Since,
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
        let numbers = super::segments(&folder)?;
        let since = Since { dropped: Dropped::of(&folder, &numbers)?, deleted_before_ns };
        let mut deleted = HashSet::new();
        for number in &numbers {
            deleted.extend(deleted_accounts(&folder, *number, &mut lattice, &since)?);
        }
        let paths = PathsGone::open(&folder, numbers)?;
        Ok(Gone { lattice, paths, forgotten, deleted, since })
    }

    /// Whether all of an account goes but its signed commits.
    pub(crate) fn is_stripped(&self, did: &str) -> bool {
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
        // Nothing may be left of an account but what was refused, and what was said of it.
        if let Some(did) = event::parse(body).ok().as_ref().and_then(Event::did)
            && let Some(by) = self.paths.deleted_by(did)?
            && self.since.is_over_with_dropped(by)
        {
            self.deleted.insert(did.to_owned());
        }
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

/// How long ago an account has to have been deleted, and what is known of when that was.
#[derive(Debug)]
struct Since {
    dropped: Dropped,
    deleted_before_ns: u64,
}

impl Since {
    /// Whether an event was received long enough ago that is in this segment, or in one that was
    /// dropped.
    fn is_over(&self, n: u64, first: u64, index: &Index) -> bool {
        let ordinal = n.checked_sub(first).and_then(|ordinal| usize::try_from(ordinal).ok());
        match ordinal.and_then(|ordinal| index.rows.get(ordinal)) {
            Some(row) => row.time_ns < self.deleted_before_ns,
            None => self.is_over_with_dropped(n),
        }
    }

    fn is_over_with_dropped(&self, n: u64) -> bool {
        n < self.dropped.events && self.dropped.time_ns < self.deleted_before_ns
    }
}

/// Events that retention has dropped. What they said of accounts outlives them, but for when.
#[derive(Debug, Default)]
struct Dropped {
    /// How many there were.
    events: u64,
    /// None of them was received later.
    time_ns: u64,
}

impl Dropped {
    /// Those before these segments.
    fn of(folder: &Folder, segments: &[u32]) -> Result<Dropped, Error> {
        let Some(first) = segments.first().copied() else { return Ok(Dropped::default()) };
        if let Some(notes) = make::begin_of(folder, first)?
            && (notes.event == 0 || notes.seconds_before > 0)
        {
            let time_ns = (u64::from(notes.seconds_before) + 1) * 1_000_000_000;
            return Ok(Dropped { events: notes.event, time_ns });
        }
        // The next best: what came behind them was received later.
        match read(folder, first) {
            Ok((events, index)) => {
                let time_ns = index.rows.iter().map(|row| row.time_ns).max().unwrap_or(u64::MAX);
                Ok(Dropped { events, time_ns })
            }
            Err(Error::Damaged(_)) => Ok(Dropped::default()),
            Err(error) => Err(error),
        }
    }
}

/// The number of a segment's first event, and what finds its events.
fn read(folder: &Folder, number: u32) -> Result<(u64, Index), Error> {
    let segment = Segment::open(&folder.segment(number), number)?;
    Ok((segment.contents.first, segment.index()?))
}

/// Accounts with events in this segment that have been deleted for long enough, as its events say or those
/// that were dropped.
fn deleted_accounts(
    folder: &Folder,
    number: u32,
    lattice: &mut Lattice,
    since: &Since,
) -> Result<Vec<String>, Error> {
    let (first, index) = match read(folder, number) {
        // It is met again.
        Err(Error::Damaged(_)) => return Ok(Vec::new()),
        other => other?,
    };
    let mut deleted = Vec::new();
    for (account, did) in (0..).zip(&index.accounts.dids) {
        let Some(any) = index.of_account(account).first() else { continue };
        let by = lattice.fate(first + u64::from(*any))?.deleted_by();
        if by.is_some_and(|n| since.is_over(n, first, &index)) {
            deleted.push(did.to_string());
        }
    }
    Ok(deleted)
}
