//! Files of records of one size, written once and mapped by their readers.
//!
//! ```text
//! run     = pages extra trailer
//! pages   = records, then for sorted records the first keys of those pages, then the first keys of
//!           the pages of keys, until a level is one page
//! page    = records or keys, zeros to 4092, CRC-32C of what is before it; the last page of a level
//!           ends behind its last record or key and the checksum of those
//! extra   = whatever the kind has besides
//! ```
//!
//! Trailer, 128 bytes, integers little-endian:
//!
//! | offset | size | field    | meaning                                                     |
//! |-------:|-----:|----------|-------------------------------------------------------------|
//! |      0 |    8 | magic    | `SVRNrun1`; the last byte is the version                    |
//! |      8 |    1 | kind     | 1: leaves, 2: paths, 3: accounts                            |
//! |      9 |    1 | record   | bytes of a record                                           |
//! |     10 |    1 | key      | bytes of its key, with which it begins; 0: not sorted       |
//! |     11 |    1 | level    | it covers 4^level segments                                  |
//! |     12 |    4 | segment  | number of the first of them                                 |
//! |     16 |    8 | records  | how many                                                    |
//! |     24 |    8 | extra    | bytes of the extra                                          |
//! |     32 |   64 | notes    | eight numbers, the kind's own                               |
//! |     96 |    4 | extra    | CRC-32C of the extra                                        |
//! |    100 |   24 | reserved | zero                                                        |
//! |    124 |    4 | crc32c   | of bytes 0 to 124                                           |
//!
//! A look-up reads one page of each level of keys and one or two of records: with 16-byte keys that
//! are four pages for up to 65,025 pages of records ([`Run::reads_max`] says it for each file). Every
//! page is held against its checksum when it is read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use table::Map;

use crate::bytes::Take;
use crate::error::Cause;
use crate::folder::{Folder, unfinished};
use crate::segment::contents::read_at;
use crate::{Damage, Error, disk};

pub(crate) const PAGE_BYTES: usize = 4096;
/// What of a page is not its checksum.
const HELD_BYTES: usize = PAGE_BYTES - CRC_BYTES;
const CRC_BYTES: usize = 4;
const MAGIC: [u8; 8] = *b"SVRNrun1";
const TRAILER_BYTES: usize = 128;
/// So much is written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// What is in a file of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: u8,
    pub(crate) record: usize,
    pub(crate) key: usize,
}

impl Shape {
    /// Keys in a page.
    const fn keys_in_page(self) -> usize {
        HELD_BYTES / self.key
    }

    /// The level of records, that of the keys of its pages, that of the keys of those, and so on; and
    /// where they end.
    fn levels(self, records: u64) -> Option<(Vec<Level>, u64)> {
        let mut levels = Vec::new();
        let mut level = Level { start: 0, entries: records, entry: self.record };
        loop {
            let end = level.end()?;
            let pages = level.pages();
            levels.push(level);
            if self.key == 0 || pages <= 1 {
                return Some((levels, end));
            }
            level = Level { start: end, entries: pages, entry: self.key };
        }
    }
}

/// Pages one behind the other.
#[derive(Debug, Clone, Copy)]
struct Level {
    start: u64,
    entries: u64,
    /// Bytes of an entry.
    entry: usize,
}

impl Level {
    fn in_page(&self) -> u64 {
        (HELD_BYTES / self.entry) as u64
    }

    fn pages(&self) -> u64 {
        self.entries.div_ceil(self.in_page())
    }

    /// The entries of a page.
    fn entries_of(&self, page: u64) -> usize {
        let before = page.saturating_mul(self.in_page()).min(self.entries);
        (self.entries - before).min(self.in_page()) as usize
    }

    fn end(&self) -> Option<u64> {
        let Some(last) = self.pages().checked_sub(1) else { return Some(self.start) };
        let bytes = self.entries_of(last) * self.entry + CRC_BYTES;
        last.checked_mul(PAGE_BYTES as u64)?.checked_add(self.start)?.checked_add(bytes as u64)
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) level: u8,
    pub(crate) notes: [u64; 8],
}

/// A file in the making.
pub(crate) struct NewRun {
    file: File,
    path: PathBuf,
    unfinished: PathBuf,
    shape: Shape,
    /// What is not written yet: whole pages, and the one that is being filled.
    bytes: Vec<u8>,
    /// Bytes in that page.
    filled: usize,
    records: u64,
    /// The first key of each page.
    keys: Vec<u8>,
}

impl NewRun {
    pub(crate) fn begin(path: &Path, shape: Shape) -> Result<NewRun, Error> {
        let unfinished = unfinished(path);
        match disk::remove(&unfinished) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
        let file = disk::create(&unfinished)?;
        let (bytes, keys) = (Vec::new(), Vec::new());
        let path = path.to_owned();
        Ok(NewRun { file, path, unfinished, shape, bytes, filled: 0, records: 0, keys })
    }

    /// Adds a record; they have to come in order.
    pub(crate) fn push(&mut self, record: &[u8]) -> Result<(), Error> {
        debug_assert_eq!(record.len(), self.shape.record);
        if self.filled + self.shape.record > HELD_BYTES {
            self.end_page(false)?;
        }
        if self.filled == 0 && self.shape.key > 0 {
            self.keys.extend_from_slice(record.get(..self.shape.key).unwrap_or_default());
        }
        self.records += 1;
        self.put(record);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Ends a page; what is not the last of its level has the whole length.
    fn end_page(&mut self, last: bool) -> Result<(), Error> {
        if self.filled == 0 {
            return Ok(());
        }
        let start = self.bytes.len() - self.filled;
        if !last {
            self.bytes.resize(start + HELD_BYTES, 0);
        }
        let crc = crc32c::crc32c(self.bytes.get(start..).unwrap_or_default());
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.filled = 0;
        if self.bytes.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        disk::write(&self.file, &self.unfinished, &self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    /// Writes the rest and gives the file its name, durably but for the folder.
    pub(crate) fn finish(mut self, place: &Place, extra: &[u8]) -> Result<(), Error> {
        let done = self.rest(place, extra);
        if done.is_err() {
            // On a full disk the room is wanted more than an unfinished file.
            let _ = std::fs::remove_file(&self.unfinished);
        }
        done
    }

    fn rest(&mut self, place: &Place, extra: &[u8]) -> Result<(), Error> {
        self.end_page(true)?;
        if self.shape.key > 0 {
            let each = self.shape.keys_in_page() * self.shape.key;
            let mut keys = std::mem::take(&mut self.keys);
            while keys.len() > self.shape.key {
                let mut above = Vec::new();
                for page in keys.chunks(each) {
                    above.extend_from_slice(page.get(..self.shape.key).unwrap_or_default());
                    self.put(page);
                    self.end_page(above.len() * each >= keys.len() * self.shape.key)?;
                }
                keys = above;
            }
        }
        self.bytes.extend_from_slice(extra);
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.extend_from_slice(&MAGIC);
        let [record, key] = [self.shape.record, self.shape.key].map(|bytes| bytes as u8);
        trailer.extend_from_slice(&[self.shape.kind, record, key, place.level]);
        trailer.extend_from_slice(&place.segment.to_le_bytes());
        trailer.extend_from_slice(&self.records.to_le_bytes());
        trailer.extend_from_slice(&(extra.len() as u64).to_le_bytes());
        place.notes.iter().for_each(|note| trailer.extend_from_slice(&note.to_le_bytes()));
        trailer.extend_from_slice(&crc32c::crc32c(extra).to_le_bytes());
        trailer.resize(TRAILER_BYTES - 4, 0);
        trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
        self.bytes.extend_from_slice(&trailer);
        self.write()?;
        disk::sync(&self.file, &self.unfinished)?;
        disk::rename(&self.unfinished, &self.path)
    }
}

/// A file, mapped.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    pub(crate) place: Place,
    pub(crate) records: u64,
    map: Map,
    levels: Vec<Level>,
    /// Where the extra begins, its length, and its checksum.
    extra: (usize, usize, u32),
    reads: AtomicU64,
    #[cfg(test)]
    _opened: tests::Opened,
}

impl Run {
    pub(crate) fn open(path: &Path, shape: Shape) -> Result<Run, Error> {
        let damaged = |cause| Error::from(Damage::at(path, 0, cause));
        let file = disk::open(path)?;
        let length = disk::len(&file, path)?;
        let at =
            length.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged(Cause::Truncated))?;
        let mut trailer = [0; TRAILER_BYTES];
        read_at(&file, path, at, &mut trailer)?;
        let (covered, crc) =
            trailer.split_last_chunk::<4>().ok_or_else(|| damaged(Cause::Truncated))?;
        if !covered.starts_with(&MAGIC) {
            return Err(damaged(Cause::Magic));
        }
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(Damage::at(path, at, Cause::Checksum).into());
        }
        let form = || damaged(Cause::Form("trailer"));
        let mut take = Take::new(covered);
        let mut fields = || {
            take.u64()?;
            let [kind, record, key, level] = take.array()?;
            let segment = take.u32()?;
            let (records, extra) = (take.u64()?, usize::try_from(take.u64()?).ok()?);
            let mut notes = [0; 8];
            for note in &mut notes {
                *note = take.u64()?;
            }
            let found = Shape { kind, record: record.into(), key: key.into() };
            (found == shape).then_some((
                Place { segment, level, notes },
                records,
                extra,
                take.u32()?,
            ))
        };
        let (place, records, extra, crc) = fields().ok_or_else(form)?;
        if records > length {
            return Err(form());
        }
        let (levels, pages) = shape.levels(records).ok_or_else(form)?;
        if pages.checked_add(extra as u64) != Some(at) {
            return Err(form());
        }
        let map = Map::new(&file, 0, at).map_err(|source| Error::io(path, "map", source))?;
        let extra = (usize::try_from(pages).map_err(|_| form())?, extra, crc);
        let (path, reads) = (path.to_owned(), AtomicU64::new(0));
        Ok(Run {
            path,
            place,
            records,
            map,
            levels,
            extra,
            reads,
            #[cfg(test)]
            _opened: tests::Opened::new(),
        })
    }

    /// What the kind has besides its records.
    pub(crate) fn extra(&self) -> Result<&[u8], Error> {
        let (at, bytes, crc) = self.extra;
        let extra = self.map.as_ref().get(at..at + bytes).unwrap_or_default();
        if crc32c::crc32c(extra) != crc {
            return Err(Damage::at(&self.path, at as u64, Cause::Checksum).into());
        }
        Ok(extra)
    }

    /// How many pages were read so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many pages a look-up reads at most.
    #[cfg(test)]
    pub(crate) fn reads_max(&self) -> u64 {
        self.levels.len() as u64 + 1
    }

    /// The entries of a page, whose checksum holds; none behind the last page.
    fn page(&self, level: &Level, page: u64) -> Result<&[u8], Error> {
        let entries = level.entries_of(page);
        if entries == 0 {
            return Ok(&[]);
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        let last = page + 1 == level.pages();
        let bytes = if last { entries * level.entry } else { HELD_BYTES };
        let offset = level.start + page * PAGE_BYTES as u64;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let held = self.map.as_ref().get(at..).and_then(|rest| rest.get(..bytes + CRC_BYTES));
        let held = held.and_then(|page| page.split_last_chunk::<CRC_BYTES>());
        let (held, crc) = held.ok_or_else(|| Damage::at(&self.path, 0, Cause::Truncated))?;
        if crc32c::crc32c(held) != u32::from_le_bytes(*crc) {
            return Err(Damage::at(&self.path, offset, Cause::Checksum).into());
        }
        Ok(held.get(..entries * level.entry).unwrap_or_default())
    }

    /// The level of records.
    fn bottom(&self) -> Level {
        self.levels.first().copied().unwrap_or(Level { start: 0, entries: 0, entry: 1 })
    }

    /// Checks every page and the extra.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.extra()?;
        for level in &self.levels {
            (0..level.pages()).try_for_each(|page| self.page(level, page).map(|_| ()))?;
        }
        Ok(())
    }

    /// A record by its place.
    pub(crate) fn record(&self, at: u64) -> Result<&[u8], Error> {
        let level = self.bottom();
        let page = self.page(&level, at / level.in_page())?;
        let start = (at % level.in_page()) as usize * level.entry;
        Ok(page.get(start..start + level.entry).unwrap_or_default())
    }

    /// How many records of this size are in a page.
    pub(crate) const fn records_in_page(record: usize) -> usize {
        HELD_BYTES / record
    }

    /// The records of the page that has this one.
    pub(crate) fn page_of(&self, at: u64) -> Result<&[u8], Error> {
        let level = self.bottom();
        self.page(&level, at / level.in_page())
    }

    /// All records of a key.
    pub(crate) fn all_of(&self, key: &[u8]) -> Result<Vec<&[u8]>, Error> {
        let (bottom, mut at) = (self.bottom(), 0);
        // From the top: each level says which page of the one below.
        for level in self.levels.iter().skip(1).rev() {
            let below = lower_bound(self.page(level, at)?, level.entry, key);
            at = at * level.in_page() + below.saturating_sub(1);
        }
        let mut page = self.page(&bottom, at)?;
        let mut first = lower_bound(page, bottom.entry, key) as usize;
        let mut all = Vec::new();
        loop {
            for record in page.chunks_exact(bottom.entry).skip(first) {
                if !record.starts_with(key) {
                    return Ok(all);
                }
                all.push(record);
            }
            (at, first) = (at + 1, 0);
            if at >= bottom.pages() {
                return Ok(all);
            }
            page = self.page(&bottom, at)?;
        }
    }

    /// All records, in order.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { run: self, at: 0, page: &[] }
    }
}

/// How many of these entries have a key below `key`.
fn lower_bound(entries: &[u8], entry: usize, key: &[u8]) -> u64 {
    let below = |at: usize| {
        let start = at * entry;
        entries.get(start..start + key.len()).is_some_and(|found| found < key)
    };
    let (mut low, mut high) = (0, entries.len() / entry.max(1));
    while low < high {
        let middle = low.midpoint(high);
        if below(middle) { low = middle + 1 } else { high = middle }
    }
    low as u64
}

/// Goes through a file; each page is checked once.
pub(crate) struct Cursor<'r> {
    run: &'r Run,
    at: u64,
    page: &'r [u8],
}

impl<'r> Cursor<'r> {
    pub(crate) fn next(&mut self) -> Result<Option<&'r [u8]>, Error> {
        if self.at >= self.run.records {
            return Ok(None);
        }
        let level = self.run.bottom();
        let each = level.in_page();
        if self.at.is_multiple_of(each) {
            self.page = self.run.page(&level, self.at / each)?;
        }
        let start = (self.at % each) as usize * level.entry;
        self.at += 1;
        Ok(self.page.get(start..start + level.entry))
    }
}

/// The records' files in a folder, by kind, segment and level.
pub(crate) fn path(folder: &Folder, kind: &str, segment: u32, level: u8) -> PathBuf {
    folder.path().join(format!("{kind}-{segment:08}-{level:02}.run"))
}

/// What a name says; `None` for a name that is none of these.
pub(crate) fn read_name(name: &str) -> Option<(&str, u32, u8)> {
    let mut parts = name.strip_suffix(".run")?.split('-');
    let (kind, segment, level) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = segment.len() == 8 && level.len() == 2 && digits(segment) && digits(level);
    (whole && parts.next().is_none())
        .then(|| Some((kind, segment.parse().ok()?, level.parse().ok()?)))?
}

#[cfg(test)]
pub(crate) mod tests;
