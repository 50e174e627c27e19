//! Tombstones: which records are gone, and which accounts are away, for every reader at once.
//!
//! A record is gone when a later proved event of its account deletes or replaces it. The writer
//! says so in one file that only grows, right after the log has the event, and readers in other
//! processes read on from where they were: no lock, and no message between them.
//!
//! | offset | size | field    | meaning                                                       |
//! |-------:|-----:|----------|---------------------------------------------------------------|
//! |      0 |    8 | magic    | `SVRNtmb1`; the last byte is the version                      |
//! |      8 |    8 | reserved | zero                                                          |
//! |     16 |      | entries  | 32 bytes each                                                 |
//!
//! | offset | size | field    | meaning                                                       |
//! |-------:|-----:|----------|---------------------------------------------------------------|
//! |      0 |   16 | name     | of an account's path, or of an account: first half of SHA-256 over the archive's key, the DID, a zero byte and the path (nothing for an account) |
//! |     16 |    8 | n        | number of the event that says so                              |
//! |     24 |    1 | kind     | 1: what was under the path before is gone; 2: the account is away; 3: it is here; 4: it is away because it is deleted; 5: a `repo` frame stands before event n, and what it lacks is gone (its name is of the path `/`); 6: that frame has the path |
//! |     25 |    3 | reserved | zero                                                          |
//! |     28 |    4 | crc32c   | of bytes 0 to 28                                              |
//!
//! Of several entries with one name that with the highest number counts; those of kind 6 are for
//! themselves. The name holds the exact
//! path, and the key is nobody's to know: a stranger's delete cannot hit a record of somebody
//! else's. A torn entry at the end is no entry; one before others is damage, and a reader that
//! passed over it would show what is gone.
//!
//! The file is derived. A writer that starts looks at its end alone: entries of events that its log
//! may have are held against the log, and what is wanting is added. Is there something that the log
//! does not say, as after a loss of power, or no file, it is begun anew (by a rename; readers turn to
//! the new file), from what is sealed and then the log. It is synced before a log goes. If it is lost
//! or damaged it is made again from the segments.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use atproto::event::{Action, Event};
use frame::{Frame, Kind};

use crate::bytes::Take;
use crate::error::Cause;
use crate::folder::{Folder, unfinished};
use crate::manifest::Manifest;
use crate::{Damage, Error, disk};

const MAGIC: [u8; 8] = *b"SVRNtmb1";
const HEAD_BYTES: u64 = 16;
const ENTRY_BYTES: usize = 32;
/// How much is read at a time.
const READ_BYTES: usize = 32_768 * ENTRY_BYTES;

const GONE: u8 = 1;
const AWAY: u8 = 2;
const HERE: u8 = 3;
const DELETED: u8 = 4;
const REPO: u8 = 5;
const HAS: u8 = 6;
/// No record has this path.
const REPO_PATH: &str = "/";

type Name = [u8; 16];

/// What tombstones are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// A proved event.
    Event(&'a Event<'a>),
    /// A control frame.
    Note(Frame<'a>),
}

/// Who is shown proved events by number, and control frames by that of the event behind them.
pub(crate) type See<'s> = dyn FnMut(u64, Seen<'_>) + 's;

/// One word of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    name: Name,
    n: u64,
    kind: u8,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        bytes.extend_from_slice(&self.name);
        bytes.extend_from_slice(&self.n.to_le_bytes());
        bytes.extend_from_slice(&[self.kind, 0, 0, 0]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; ENTRY_BYTES])
    }

    fn read(bytes: &[u8]) -> Option<Entry> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut take = Take::new(covered);
        Some(Entry { name: take.array()?, n: take.u64()?, kind: take.u8()? })
    }
}

fn name(key: &[u8; 32], did: &str, path: &str) -> Name {
    let whole = [&key[..], did.as_bytes(), &[0], path.as_bytes()].concat();
    atproto::Cid::raw(&whole).digest().first_chunk().copied().unwrap_or_default()
}

/// What a proved event makes of what was there before.
fn entries(key: &[u8; 32], n: u64, seen: Seen<'_>, put: &mut Vec<Entry>) {
    let event = match seen {
        Seen::Event(event) => event,
        Seen::Note(frame) => return repo(key, n, &frame, put),
    };
    match event {
        Event::Commit(commit) => {
            let gone = |action| matches!(action, Action::Update | Action::Delete);
            for op in commit.ops.filter(|op| gone(op.action)) {
                put.push(Entry { name: name(key, commit.repo, op.path), n, kind: GONE });
            }
        }
        Event::Account(account) => {
            let kind = match (account.active, account.status) {
                (true, _) => HERE,
                (false, Some("deleted")) => DELETED,
                (false, _) => AWAY,
            };
            put.push(Entry { name: name(key, account.did, ""), n, kind });
        }
        _ => {}
    }
}

/// What a whole repository makes of what was there before.
fn repo(key: &[u8; 32], n: u64, frame: &Frame<'_>, put: &mut Vec<Entry>) {
    if frame.header.kind != Kind::REPO {
        return;
    }
    let Ok((repo, mut paths)) = frame::repo::read(frame) else { return };
    let before = put.len();
    while let Some((path, _)) = paths.next() {
        // A path that is no text is no path of an operation.
        if let Ok(path) = std::str::from_utf8(path) {
            put.push(Entry { name: name(key, repo.did, path), n, kind: HAS });
        }
    }
    // A list that is not whole would have records gone that are there.
    if paths.left() > 0 {
        return put.truncate(before);
    }
    put.push(Entry { name: name(key, repo.did, REPO_PATH), n, kind: REPO });
}

/// The file as the archive's writer has it.
#[derive(Debug)]
pub(crate) struct Tombs {
    file: File,
    path: std::path::PathBuf,
    key: [u8; 32],
    len: u64,
    synced: u64,
    /// Of events that are not written to the log yet.
    waiting: Vec<Entry>,
}

impl Tombs {
    /// Goes on with the file that is there, if its end, from event `open` on, is what the log of these
    /// events says, as far as it goes. The rest of it is not read.
    pub(crate) fn resume(
        folder: &Folder,
        key: &[u8; 32],
        open: u64,
        log: impl FnOnce(&mut See<'_>) -> Result<(), Error>,
    ) -> Result<Option<Tombs>, Error> {
        let mut waiting = Vec::new();
        log(&mut |n, seen| entries(key, n, seen, &mut waiting))?;
        let reading = match Reading::open(folder) {
            Err(Error::Damaged(_)) => None,
            other => other?,
        };
        let Some(reading) = reading else { return Ok(None) };
        let path = folder.tombs();
        let written = disk::len(&reading.file, &path)?.saturating_sub(HEAD_BYTES);
        let mut place = written / ENTRY_BYTES as u64;
        let len = HEAD_BYTES + place * ENTRY_BYTES as u64;
        let mut end = Vec::new();
        while let Some(before) = place.checked_sub(1) {
            place = before;
            let mut bytes = [0; ENTRY_BYTES];
            let offset = HEAD_BYTES + place * ENTRY_BYTES as u64;
            crate::segment::contents::read_at(&reading.file, &path, offset, &mut bytes)?;
            match Entry::read(&bytes) {
                Some(entry) if entry.n >= open && end.len() < waiting.len() => end.push(entry),
                Some(entry) if entry.n < open => break,
                _ => return Ok(None),
            }
        }
        end.reverse();
        if !waiting.starts_with(&end) {
            return Ok(None);
        }
        waiting.drain(..end.len());
        let file = disk::open_write(&path)?;
        let mut tombs = Tombs { file, path, key: *key, len, synced: 0, waiting };
        tombs.write()?;
        Ok(Some(tombs))
    }

    /// Begins the file anew: with what an older one says of events before `sealed`, or else with
    /// what `segments` say, and then with what `add` adds.
    pub(crate) fn begin(
        folder: &Folder,
        key: &[u8; 32],
        sealed: u64,
        segments: impl FnOnce(&mut See<'_>) -> Result<(), Error>,
    ) -> Result<Tombs, Error> {
        let path = folder.tombs();
        let kept = match Reading::all(folder) {
            Ok(Some(old)) => old.into_iter().filter(|entry| entry.n < sealed).collect(),
            Ok(None) | Err(Error::Damaged(_)) => {
                let mut kept = Vec::new();
                if sealed > 0 {
                    segments(&mut |n, seen| entries(key, n, seen, &mut kept))?;
                }
                kept
            }
            Err(error) => return Err(error),
        };
        let new = unfinished(&path);
        let file = disk::create(&new)?;
        let mut tombs =
            Tombs { file, path: new.clone(), key: *key, len: HEAD_BYTES, synced: 0, waiting: kept };
        disk::write_at(&tombs.file, &new, 0, &[&MAGIC[..], &[0; 8]].concat())?;
        tombs.write()?;
        disk::sync(&tombs.file, &new)?;
        tombs.synced = tombs.len;
        folder.publish(&new, &path)?;
        tombs.path = path;
        Ok(tombs)
    }

    /// An event or control frame that goes to the log.
    pub(crate) fn add(&mut self, n: u64, seen: Seen<'_>) {
        entries(&self.key, n, seen, &mut self.waiting);
    }

    /// The log has them: says so to every reader.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.waiting.iter().flat_map(|entry| entry.to_bytes()).collect();
        disk::write_at(&self.file, &self.path, self.len, &bytes)?;
        self.len += bytes.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if self.synced != self.len {
            disk::sync(&self.file, &self.path)?;
            self.synced = self.len;
        }
        Ok(())
    }
}

/// The file as a reader has it.
#[derive(Debug)]
struct Reading {
    folder: Folder,
    file: File,
    offset: u64,
}

impl Reading {
    fn open(folder: &Folder) -> Result<Option<Reading>, Error> {
        let path = folder.tombs();
        let file = match disk::open(&path) {
            Err(error) if error.is_gone() => return Ok(None),
            other => other?,
        };
        let mut head = [0; HEAD_BYTES as usize];
        crate::segment::contents::read_at(&file, &path, 0, &mut head)?;
        if !head.starts_with(&MAGIC) {
            return Err(Damage::at(&path, 0, Cause::Magic).into());
        }
        Ok(Some(Reading { folder: folder.clone(), file, offset: HEAD_BYTES }))
    }

    /// All that is there; nothing if there is no file.
    fn all(folder: &Folder) -> Result<Option<Vec<Entry>>, Error> {
        let Some(mut reading) = Reading::open(folder)? else { return Ok(None) };
        let mut all = Vec::new();
        reading.read_on(|entry| all.push(entry))?;
        Ok(Some(all))
    }

    /// Shows what was added since the last time.
    fn read_on(&mut self, mut see: impl FnMut(Entry)) -> Result<(), Error> {
        let path = self.folder.tombs();
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = self.file.read_at(&mut bytes, self.offset);
            let read = read.map_err(|source| Error::io(&path, "read", source))?;
            let whole = bytes.get(..read - read % ENTRY_BYTES).unwrap_or_default();
            let mut words = whole.chunks_exact(ENTRY_BYTES);
            while let Some(bytes) = words.next() {
                match Entry::read(bytes) {
                    Some(entry) => see(entry),
                    // Half written: the next time it is whole.
                    None if words.len() == 0 => return Ok(()),
                    None => return self.torn(&path),
                }
                self.offset += ENTRY_BYTES as u64;
            }
            if whole.len() < READ_BYTES {
                return Ok(());
            }
        }
    }

    /// An entry before others did not hold: damage, unless it was seen while it was written.
    fn torn(&self, path: &Path) -> Result<(), Error> {
        let mut bytes = [0; ENTRY_BYTES];
        crate::segment::contents::read_at(&self.file, path, self.offset, &mut bytes)?;
        match Entry::read(&bytes) {
            Some(_) => Ok(()),
            None => Err(Damage::at(path, self.offset, Cause::Checksum).into()),
        }
    }

    /// Whether the name leads to another file by now.
    fn is_old(&self) -> bool {
        match (self.folder.tombs().metadata(), self.file.metadata()) {
            (Ok(named), Ok(here)) => (named.dev(), named.ino()) != (here.dev(), here.ino()),
            _ => false,
        }
    }
}

/// Which records of an archive are gone by now, and which accounts are away.
#[derive(Debug)]
pub struct Tombstones {
    folder: Folder,
    key: [u8; 32],
    reading: Option<Reading>,
    /// By name: the last event that says so, and what.
    known: HashMap<Name, (u64, u8)>,
    /// By name of a path: the last whole repository that has it.
    has: HashMap<Name, u64>,
}

impl Tombstones {
    /// Reads those of the archive in `dir`.
    ///
    /// # Errors
    /// [`Error::NoArchive`], [`Error::Damaged`], and those of the disk.
    pub fn open(dir: &Path) -> Result<Tombstones, Error> {
        let folder = Folder::new(dir);
        let manifest = Manifest::read(&folder)?;
        let manifest = manifest.ok_or_else(|| Error::NoArchive { path: dir.to_owned() })?;
        let (known, has) = (HashMap::new(), HashMap::new());
        let mut tombs = Tombstones { folder, key: manifest.key, reading: None, known, has };
        tombs.refresh()?;
        Ok(tombs)
    }

    /// Whether there is a file to read: archives that an older version wrote have none until they
    /// are written again.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.reading.is_some()
    }

    /// Reads what has been added since.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn refresh(&mut self) -> Result<(), Error> {
        if self.reading.as_ref().is_none_or(Reading::is_old) {
            self.reading = Reading::open(&self.folder)?;
            self.known.clear();
            self.has.clear();
        }
        let (known, has) = (&mut self.known, &mut self.has);
        let Some(reading) = &mut self.reading else { return Ok(()) };
        reading.read_on(|entry| {
            if entry.kind == HAS {
                let n = has.entry(entry.name).or_insert(entry.n);
                *n = (*n).max(entry.n);
                return;
            }
            let (n, kind) = known.entry(entry.name).or_insert((entry.n, entry.kind));
            if *n <= entry.n {
                (*n, *kind) = (entry.n, entry.kind);
            }
        })
    }

    /// Whether what event `n` put under an account's path is gone.
    #[must_use]
    pub fn is_gone(&self, did: &str, path: &str, n: u64) -> bool {
        let path = name(&self.key, did, path);
        let last = |name: &Name, asked: u8| {
            self.known.get(name).filter(|(_, kind)| *kind == asked).map(|(last, _)| *last)
        };
        if last(&path, GONE).is_some_and(|last| last > n) {
            return true;
        }
        let repo = last(&name(&self.key, did, REPO_PATH), REPO).filter(|repo| *repo > n);
        repo.is_some_and(|repo| self.has.get(&path) != Some(&repo))
    }

    /// Whether an account is away: deactivated, taken down, suspended or deleted, as its host said
    /// last.
    #[must_use]
    pub fn is_away(&self, did: &str) -> bool {
        let word = self.known.get(&name(&self.key, did, ""));
        word.is_some_and(|(_, kind)| *kind == AWAY || *kind == DELETED)
    }

    /// The event that says that an account is deleted, if that is the last word on it.
    #[must_use]
    pub fn deleted_by(&self, did: &str) -> Option<u64> {
        let word = self.known.get(&name(&self.key, did, ""));
        word.filter(|(_, kind)| *kind == DELETED).map(|(n, _)| *n)
    }
}
