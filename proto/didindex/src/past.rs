//! The former keys of accounts, while an index is built.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use crate::{
    Change, Error, KEY_BYTES, Key,
    layout::{
        self, FROM_MS_MAX, PERIOD_LAST, PERIOD_MISSING, PERIOD_PRESENT, PERIOD_RECORD_BYTES,
        PERIOD_TOMBSTONE, PERIOD_UNKNOWN,
    },
    spool::Spool,
};

/// So many former keys are known again. A key that many accounts had is among the first that come,
/// because accounts come in the order of a hash.
const KNOWN_MAX: usize = 1 << 18;

/// The sections of periods and keys.
#[derive(Debug)]
pub(crate) struct Past {
    folder: PathBuf,
    periods: Spool,
    periods_count: u32,
    keys: Spool,
    keys_count: u32,
    known: HashMap<[u8; KEY_BYTES], u32>,
}

impl Past {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            periods: Spool::new(folder),
            periods_count: 0,
            keys: Spool::new(folder),
            keys_count: 0,
            known: HashMap::new(),
        }
    }

    /// Takes in the periods of an account; the number of its first.
    pub(crate) fn add(&mut self, changes: &[Change<'_>], present: Key) -> Result<u32, Error> {
        let first = self.periods_count;
        let mut periods = changes.chunk_by(|a, b| a.key == b.key).filter_map(<[_]>::first);
        let mut next = periods.next();
        while let Some(change) = next {
            next = periods.next();
            let key = match change.key {
                key if key == present => PERIOD_PRESENT,
                Key::Known(key) => self.key(key)?,
                Key::Missing => PERIOD_MISSING,
                Key::UnknownType => PERIOD_UNKNOWN,
                Key::Tombstone => PERIOD_TOMBSTONE,
            };
            let last = if next.is_none() { PERIOD_LAST } else { 0 };
            let [from_ms @ .., _, _] = (change.from_ms.min(FROM_MS_MAX) | last).to_le_bytes();
            self.periods_count = following(self.periods_count, "periods")?;
            let mut record = [0; PERIOD_RECORD_BYTES];
            layout::put(&mut record, 0, &from_ms);
            layout::put(&mut record, from_ms.len(), &key.to_le_bytes());
            self.periods.push(&record).map_err(|source| self.io_error(source))?;
        }
        Ok(first)
    }

    /// The number of a former key.
    fn key(&mut self, key: [u8; KEY_BYTES]) -> Result<u32, Error> {
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let number = self.keys_count;
        self.keys_count = following(number, "former keys")?;
        self.keys.push(&key).map_err(|source| self.io_error(source))?;
        if self.known.len() < KNOWN_MAX {
            self.known.insert(key, number);
        }
        Ok(number)
    }

    fn io_error(&self, source: io::Error) -> Error {
        Error::Io { doing: "keep former keys in", path: self.folder.clone(), source }
    }

    /// The sections of periods and of keys.
    pub(crate) fn into_sections(self) -> (Spool, Spool) {
        (self.periods, self.keys)
    }
}

/// The number behind this one; the last few stand for other things.
fn following(number: u32, what: &'static str) -> Result<u32, Error> {
    let limit = PERIOD_TOMBSTONE;
    let next = number.checked_add(1).filter(|next| *next < limit);
    next.ok_or(Error::TooMany { what, limit: u64::from(limit) })
}
