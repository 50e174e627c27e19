//! The lattice as readers have it.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use atproto::event::Event;

use crate::Error;
use crate::derived::account::Status;
use crate::derived::leaf::{LEAF_BYTES, Leaf, LeafNotes, NO_ACCOUNT};
use crate::derived::leaves::Leaves;
use crate::derived::levels::{self, Files, Kind};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::lattice::array::{Array, What};
use crate::lattice::head::{Field, Head};
use crate::lattice::keep;
use crate::lattice::open::{OpenLeaves, open_segments};
use crate::lattice::{WORD_LEAVES, event_of, status_of};
use crate::lock::{RepairLock, WriterLock};
use crate::manifest::Manifest;
use crate::marks::LOOKS_MAX;

/// How long an event may be in the log before its leaves are in their file, with a writer that runs.
/// After that it is asked whether there is one.
const WAIT: Duration = Duration::from_millis(100);
/// How often that is asked.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Which records of an archive are gone, and which accounts are away, at the moment of asking.
#[derive(Debug)]
pub struct Lattice {
    folder: Folder,
    there: Option<There>,
}

/// What became of an event's records and of its account.
#[derive(Debug, Clone, Copy)]
pub struct Fate<'l> {
    gone: &'l [bool],
    word: u64,
}

impl Fate<'_> {
    /// Whether the record that this operation of the event put there is gone.
    #[must_use]
    pub fn is_gone(&self, op: usize) -> bool {
        self.gone.get(op).copied().unwrap_or_default()
    }

    /// Whether any is.
    #[must_use]
    pub fn any_gone(&self) -> bool {
        self.gone.contains(&true)
    }

    /// The paths of the event whose records are gone.
    #[must_use]
    pub fn gone_paths<'e>(&self, event: &Event<'e>) -> HashSet<&'e str> {
        match event {
            Event::Commit(commit) if self.any_gone() => {
                let ops = commit.ops.enumerate().filter(|(at, _)| self.is_gone(*at));
                ops.map(|(_, op)| op.path).collect()
            }
            _ => HashSet::new(),
        }
    }

    /// Whether the account is away: deactivated, taken down, suspended or deleted, as its host said
    /// last.
    #[must_use]
    pub fn is_away(&self) -> bool {
        status_of(self.word).is_some_and(|status| status != Status::Active)
    }

    /// The event that says that the account is deleted, if that is the last word on it.
    #[must_use]
    pub fn deleted_by(&self) -> Option<u64> {
        (status_of(self.word) == Some(Status::Deleted)).then(|| event_of(self.word))
    }
}

impl Lattice {
    /// Opens that of the archive in `dir`. While a writer repairs, this waits for it.
    ///
    /// # Errors
    /// [`Error::NoArchive`], [`Error::Repairing`] if a writer does not get done in a minute,
    /// [`Error::Damaged`], and those of the disk.
    pub fn open(dir: &Path) -> Result<Lattice, Error> {
        let folder = Folder::new(dir);
        if Manifest::read(&folder)?.is_none() {
            return Err(Error::NoArchive { path: dir.to_owned() });
        }
        let there = settled(&folder)?;
        Ok(Lattice { folder, there })
    }

    /// Whether there is one: archives that an older version wrote have none until they are written
    /// again.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.there.is_some()
    }

    /// What has become of event `n`, which is in the archive. While a writer makes all of it again, this
    /// waits for it.
    ///
    /// # Errors
    /// [`Error::Repairing`], [`Error::Damaged`], and those of the disk.
    pub fn fate(&mut self, n: u64) -> Result<Fate<'_>, Error> {
        let missing = || Damage::at(&self.folder.lattice(), 0, Cause::Gone);
        let word = loop {
            if self.there.as_ref().is_some_and(|there| there.head.has_ended()) {
                self.there = settled(&self.folder)?;
            }
            let there = self.there.as_mut().ok_or_else(missing)?;
            let word = there.fate(&self.folder, n)?;
            // Of files that a writer removed meanwhile nothing was seen.
            if !there.head.has_ended() && there.is_renewed()? {
                break word;
            }
        };
        let gone = self.there.as_ref().map_or(&[][..], |there| &there.gone);
        Ok(Fate { gone, word })
    }
}

/// What is there, or is as soon as a writer that begins has made it.
fn settled(folder: &Folder) -> Result<Option<There>, Error> {
    let _settled = RepairLock::settled(folder)?;
    There::open(folder)
}

/// Bits and words of one stamp.
#[derive(Debug)]
pub(crate) struct Pair {
    stamp: u32,
    gone: Array,
    away: Array,
}

impl Pair {
    fn new(folder: &Folder, stamp: u32) -> Pair {
        let gone = Array::new(folder, What::Gone, stamp);
        Pair { stamp, gone, away: Array::new(folder, What::Away, stamp) }
    }
}

/// A lattice that is there.
#[derive(Debug)]
pub(crate) struct There {
    pub(crate) head: Head,
    base: Pair,
    live: Pair,
    /// Where the last event was.
    here: Option<Here>,
    /// How many leaves there were when one that was waited for did not come.
    given_up: Option<u64>,
    /// Of the last event's operations.
    gone: Vec<bool>,
}

impl There {
    pub(crate) fn open(folder: &Folder) -> Result<Option<There>, Error> {
        let Some(head) = Head::open(folder)? else { return Ok(None) };
        if head.has_ended() {
            return Err(Damage::at(&head.path, 0, Cause::Ended).into());
        }
        keep::check(folder, &head)?;
        let (base, live) = (head.base, head.stamp(Field::Live)?);
        let (base, live) = (Pair::new(folder, base), Pair::new(folder, live));
        Ok(Some(There { head, base, live, here: None, given_up: None, gone: Vec::new() }))
    }

    /// Whether the live files are those of the writer that began last.
    fn is_renewed(&self) -> Result<bool, Error> {
        Ok(self.head.stamp(Field::Live)? == self.live.stamp)
    }

    /// Turns to the live files of a writer that has begun since.
    fn renew(&mut self, folder: &Folder) -> Result<(), Error> {
        if !self.is_renewed()? {
            self.live = Pair::new(folder, self.head.stamp(Field::Live)?);
            self.here = None;
        }
        Ok(())
    }

    /// Whether a leaf's bit is set.
    pub(crate) fn is_gone(&mut self, leaf: u64) -> Result<bool, Error> {
        let at = leaf / WORD_LEAVES;
        let bits = self.base.gone.get(at)? | self.live.gone.get(at)?;
        Ok(bits >> (leaf % WORD_LEAVES) & 1 != 0)
    }

    /// An account's word.
    pub(crate) fn word(&mut self, account: u32) -> Result<u64, Error> {
        match self.live.away.get(account.into())? {
            0 => self.base.away.get(account.into()),
            word => Ok(word),
        }
    }

    /// Says in `gone` which records of an event are gone; its account's word.
    fn fate(&mut self, folder: &Folder, n: u64) -> Result<u64, Error> {
        self.renew(folder)?;
        self.gone.clear();
        let Some((first, leaves)) = self.leaves(folder, n)? else { return Ok(0) };
        let account = leaves.first().map_or(NO_ACCOUNT, |leaf| leaf.account);
        for at in 0..leaves.len() as u64 {
            let is_gone = self.is_gone(first + at)?;
            self.gone.push(is_gone);
        }
        if account == NO_ACCOUNT { Ok(0) } else { self.word(account) }
    }

    /// The leaves of an event with the number of the first; `None` if a kill has kept them from being
    /// made, or another writer has begun. While the writer that is to make them lives, this waits for
    /// it: what has become of the event is not known before.
    pub(crate) fn leaves(
        &mut self,
        folder: &Folder,
        n: u64,
    ) -> Result<Option<(u64, Vec<Leaf>)>, Error> {
        let mut begun: Option<Instant> = None;
        loop {
            let leaves = self.head.get(Field::Leaves)?;
            if let Some(found) = self.find(folder, n, leaves)? {
                return Ok(Some(found));
            }
            if self.given_up == Some(leaves) || self.head.has_ended() || !self.is_renewed()? {
                return Ok(None);
            }
            if begun.get_or_insert_with(Instant::now).elapsed() < WAIT {
                std::thread::yield_now();
            } else if WriterLock::is_held(folder)? {
                std::thread::sleep(ASK_EVERY);
            } else if self.head.get(Field::Leaves)? == leaves {
                // Nor were they made just before it went.
                self.given_up = Some(leaves);
            }
        }
    }

    fn find(
        &mut self,
        folder: &Folder,
        n: u64,
        leaves: u64,
    ) -> Result<Option<(u64, Vec<Leaf>)>, Error> {
        if let Some(here) = &mut self.here {
            if let Some(found) = here.find(n, leaves)? {
                return Ok(Some(found));
            }
            // A log that is still open: it is yet to come.
            if here.is_open() && n >= here.event && self.head.stamp(Field::Segment)? == here.segment
            {
                return Ok(None);
            }
        }
        let mut looks = 0;
        let here = loop {
            looks += 1;
            match Here::of(folder, n) {
                Err(error) if error.is_gone() && looks < LOOKS_MAX => {}
                other => break other?,
            }
        };
        let Some(here) = here else { return Ok(None) };
        self.here.insert(here).find(n, leaves)
    }
}

/// The leaves of a segment or log, while its events are asked for one after the other.
#[derive(Debug)]
struct Here {
    segment: u32,
    /// Numbers of the first leaf and event.
    first: u64,
    event: u64,
    source: Source,
    /// How many leaves there were.
    count: u64,
    /// A piece of the leaves, and which.
    piece: Vec<u8>,
    piece_at: u64,
    /// The place behind the leaves of the event that was asked for last.
    next: u64,
}

#[derive(Debug)]
enum Source {
    Sealed(Run),
    Open(OpenLeaves),
}

/// Leaves of a piece.
const PIECE_LEAVES: u64 = Run::records_in_page(LEAF_BYTES) as u64;

impl Here {
    /// The leaves of the segment or log that has this event, or would have it; `None` if it is behind
    /// all that there are.
    fn of(folder: &Folder, n: u64) -> Result<Option<Here>, Error> {
        let files = Files::list(folder)?;
        let sealed = files.of(Kind::Leaves).map(|(segment, _)| segment).collect();
        let mut sealed = Leaves::new(folder, sealed);
        let behind = sealed.partition(|notes| notes.event <= n)?;
        let last = behind.checked_sub(1).and_then(|at| sealed.segments().get(at).copied());
        let mut open: Vec<u32> = open_segments(folder)?;
        open.retain(|segment| sealed.segments().binary_search(segment).is_err());
        open.sort_unstable();
        for segment in open.into_iter().rev().filter(|segment| Some(*segment) > last) {
            let leaves = OpenLeaves::open(folder, segment)?;
            if leaves.event <= n {
                let (first, event) = (leaves.first, leaves.event);
                return Ok(Some(Here::new(segment, (first, event), Source::Open(leaves))));
            }
        }
        let is_last = behind == sealed.segments().len();
        let missing = || Damage::at(folder.path(), 0, Cause::NoLeaves(n));
        let Some(segment) = last else {
            return if is_last { Ok(None) } else { Err(missing().into()) };
        };
        let run = levels::open(folder, Kind::Leaves, (segment, 0))?;
        let notes = LeafNotes::of(&run);
        let mut here = Here::new(segment, (notes.first, notes.event), Source::Sealed(run));
        if here.find(n, u64::MAX)?.is_none() && !is_last {
            return Err(missing().into());
        }
        Ok(Some(here))
    }

    fn new(segment: u32, (first, event): (u64, u64), source: Source) -> Here {
        let (count, piece) = (0, Vec::new());
        Here { segment, first, event, source, count, piece, piece_at: 0, next: 0 }
    }

    fn is_open(&self) -> bool {
        matches!(self.source, Source::Open(_))
    }

    /// The leaves of an event with the number of the first, if it is here; there are `leaves` in all.
    fn find(&mut self, n: u64, leaves: u64) -> Result<Option<(u64, Vec<Leaf>)>, Error> {
        let ordinal = n.checked_sub(self.event).and_then(|ordinal| u32::try_from(ordinal).ok());
        let Some(ordinal) = ordinal else { return Ok(None) };
        // All leaves of an event are there at once.
        if let Some(found) = self.find_in(ordinal)? {
            return Ok(Some(found));
        }
        self.count = match &self.source {
            Source::Sealed(run) => run.records,
            Source::Open(open) => open.count(leaves)?,
        };
        self.find_in(ordinal)
    }

    fn find_in(&mut self, ordinal: u32) -> Result<Option<(u64, Vec<Leaf>)>, Error> {
        let is_next = self.next < self.count && self.leaf(self.next)?.ordinal == ordinal;
        let mut place = if is_next { self.next } else { self.search(ordinal)? };
        let first = self.first + place;
        let mut found = Vec::new();
        while place < self.count {
            let leaf = self.leaf(place)?;
            if leaf.ordinal != ordinal {
                break;
            }
            found.push(leaf);
            place += 1;
        }
        self.next = place;
        Ok(Some((first, found)).filter(|(_, found)| !found.is_empty()))
    }

    /// The place of the first leaf of this ordinal or a later one.
    fn search(&mut self, ordinal: u32) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.leaf(middle)?.ordinal < ordinal {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn leaf(&mut self, place: u64) -> Result<Leaf, Error> {
        let at = (place % PIECE_LEAVES) as usize * LEAF_BYTES;
        if self.piece_at != place / PIECE_LEAVES || self.piece.len() < at + LEAF_BYTES {
            let piece = place / PIECE_LEAVES;
            let start = piece * PIECE_LEAVES;
            self.piece.clear();
            match &self.source {
                Source::Sealed(run) => self.piece.extend_from_slice(run.page_of(start)?),
                Source::Open(open) => {
                    self.piece =
                        open.read(start, (self.count - start).min(PIECE_LEAVES) as usize)?;
                }
            }
            self.piece_at = piece;
        }
        let leaf = self.piece.get(at..at + LEAF_BYTES).and_then(Leaf::read);
        let path = match &self.source {
            Source::Sealed(run) => &run.path,
            Source::Open(open) => &open.path,
        };
        Ok(leaf.ok_or_else(|| Damage::at(path, 0, Cause::Form("leaves")))?)
    }
}
