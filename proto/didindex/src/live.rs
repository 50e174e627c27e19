//! An index that is kept current while it is read.
//!
//! The file itself never changes. Whoever keeps it current writes what has changed into a delta,
//! which readers have mapped and ask first; now and then the two become a new index, which takes
//! the place of the old one under its name. A reader that has the old one open goes on with it
//! until it asks ([`DidIndex::refresh`]) whether it is superseded.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Cursor, DidIndex, Entry, Error, Host, Info, PlcDid, beside,
    delta::{Delta, Slot},
    log::Records,
};

/// A superseded index is looked for under its name again after so long: between its being
/// superseded and the next one's getting the name lie some system calls.
const AGAIN: Duration = Duration::from_millis(10);

/// Without a delta nothing tells a reader that there is another index, so it looks after so long.
const LOOK: Duration = Duration::from_millis(250);

/// So often an index may be replaced while it is being opened.
const TRIES: u32 = 100;

/// What lies beside an index, as its reader sees it.
#[derive(Debug)]
pub(crate) struct Beside {
    path: PathBuf,
    /// Device and number of the file itself.
    file: (u64, u64),
    /// Where its delta is if there is one.
    delta_path: PathBuf,
    delta: Option<Delta>,
    looked: Instant,
}

impl Beside {
    /// Of an index that has, or is taken to have, no delta.
    pub(crate) fn none(path: &Path, id: u64, file: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            file: (file.dev(), file.ino()),
            delta_path: beside::delta(path, id),
            delta: None,
            looked: Instant::now(),
        }
    }

    /// Whether nothing is there that was not when it was opened. Takes no memory.
    fn is_as_it_was(&self) -> bool {
        let same = fs::metadata(&self.path).is_ok_and(|file| self.file == (file.dev(), file.ino()));
        same && self.delta.is_none() && fs::metadata(&self.delta_path).is_err()
    }
}

/// What has changed since an index was built, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeltaInfo {
    /// States of accounts written; an account that changed twice counts twice.
    pub states: u64,
    /// Accounts that the index itself lacks.
    pub added: u64,
    /// Bytes of its area that are taken.
    pub bytes_used: u64,
    /// Bytes of its area.
    pub bytes: u64,
}

impl DidIndex {
    /// Maps the file, checks its head, and maps what has changed since it was built.
    ///
    /// # Errors
    /// [`Error`]: it cannot be read, is something else, of another version, damaged or cut short.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut index = Self::open_base(path)?;
        for _ in 0..TRIES {
            index.beside.delta = Delta::open(path, index.id(), index.seed())?;
            if index.beside.delta.is_some() {
                break;
            }
            // It has none, or it was replaced meanwhile and its delta is gone.
            let again = Self::open_base(path)?;
            if again.id() == index.id() {
                break;
            }
            index = again;
        }
        Ok(index)
    }

    /// Goes on with the index that has taken this one's place, if one has; says whether so. A
    /// reader that runs for long calls this whenever it holds no entry: it is one load from
    /// memory as long as nothing has happened.
    ///
    /// # Errors
    /// As [`DidIndex::open`]; this one then stays as it is.
    #[inline]
    pub fn refresh(&mut self) -> Result<bool, Error> {
        match &self.beside.delta {
            Some(delta) if !delta.superseded() => Ok(false),
            Some(_) => self.look(AGAIN),
            None => self.look(LOOK),
        }
    }

    #[cold]
    fn look(&mut self, after: Duration) -> Result<bool, Error> {
        if self.beside.looked.elapsed() < after {
            return Ok(false);
        }
        self.beside.looked = Instant::now();
        if self.beside.is_as_it_was() {
            return Ok(false);
        }
        let found = match Self::open(&self.beside.path) {
            // It is being moved; there will be one again.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            found => found?,
        };
        let newer = match &found.beside.delta {
            Some(delta) => !delta.superseded() || found.id() != self.id(),
            None => found.id() != self.id(),
        };
        if newer {
            *self = found;
        }
        Ok(newer)
    }

    /// What has become of an account since the file was built; nothing if it is as it was, or
    /// there is none.
    #[inline]
    #[must_use]
    pub fn changed(&self, did: &PlcDid) -> Option<Entry<'_>> {
        self.changed_hashed(did, self.seed().hash(did.as_bytes()))
    }

    #[inline]
    pub(crate) fn changed_hashed(&self, did: &PlcDid, hash: u64) -> Option<Entry<'_>> {
        let slot = self.beside.delta.as_ref()?.find(did, hash)?;
        Some(Entry::changed(self, slot))
    }

    /// Every account, in no order that means anything. What changes meanwhile may be seen or not.
    pub fn iter(&self) -> impl Iterator<Item = (PlcDid, Entry<'_>)> {
        let added = self.added_slots().map(|slot| (slot.did(), Entry::changed(self, slot)));
        let base = self.base_iter();
        base.map(|(did, entry)| (did, self.changed(&did).unwrap_or(entry))).chain(added)
    }

    /// The accounts that have come since the file was built.
    pub fn added(&self) -> impl Iterator<Item = PlcDid> + '_ {
        self.added_slots().map(|slot| slot.did())
    }

    fn added_slots(&self) -> impl Iterator<Item = Slot<'_>> {
        let slots = self.beside.delta.iter().flat_map(Delta::iter);
        slots.filter(|slot| self.base_entry(&slot.did()).is_none())
    }

    /// The hosts, with the accounts that are on them at present; first those of the file itself,
    /// in the order of their numbers.
    pub fn hosts(&self) -> impl Iterator<Item = Host<'_>> {
        let mut hosts: Vec<Host<'_>> = self.base_hosts().collect();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let changed = self.beside.delta.iter().flat_map(Delta::iter);
        for (at, slot) in changed.enumerate() {
            if at == 0 {
                numbers.extend(hosts.iter().enumerate().map(|(number, host)| (host.name, number)));
            }
            let mut move_one = |name: Option<&'_ str>, by: i64| {
                let number = *numbers.get(name?)?;
                let host = hosts.get_mut(number)?;
                host.accounts = host.accounts.saturating_add_signed(by);
                Some(())
            };
            move_one(self.base_entry(&slot.did()).and_then(|entry| entry.pds()), -1);
            if move_one(slot.host(), 1).is_none()
                && let Some(name) = slot.host()
            {
                numbers.insert(name, hosts.len());
                hosts.push(Host { name, accounts: 1 });
            }
        }
        hosts.into_iter()
    }

    /// Up to where the operations were read.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.beside.delta.as_ref().map_or_else(|| self.base_cursor(), Delta::cursor)
    }

    /// What it holds, in numbers.
    #[must_use]
    pub fn info(&self) -> Info {
        let mut info = self.base_info();
        if let Some(delta) = &self.beside.delta {
            let counts = delta.counts();
            info.entries += counts.added;
            info.rotated = info.rotated.wrapping_add(counts.rotated);
            info.hosts = self.hosts().count() as u64;
            info.cursor = delta.cursor();
            info.delta = Some(DeltaInfo {
                states: counts.slots,
                added: counts.added,
                bytes_used: counts.bytes_used,
                bytes: counts.bytes,
            });
        }
        info
    }

    /// Reads all of the file and of what lies beside it and compares every checksum.
    ///
    /// # Errors
    /// [`Error::SectionChecksum`] with the first section that is damaged, [`Error::Delta`],
    /// [`Error::Log`].
    pub fn verify(&self) -> Result<(), Error> {
        self.verify_base()?;
        let Some(delta) = &self.beside.delta else { return Ok(()) };
        delta.verify()?;
        // Before the log is read: what the cursor speaks of is in it.
        let expected = delta.cursor().operations.wrapping_sub(self.base_cursor().operations);
        let mut records = match Records::open(&self.beside.path, self.id()) {
            // Replaced meanwhile, or taken along without it.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(());
            }
            records => records?,
        };
        let mut found = 0;
        while let Some(record) = records.next()? {
            found += u64::from(!record.known);
        }
        if found < expected {
            return Err(Error::Log { offset: records.offset(), found, expected });
        }
        Ok(())
    }
}
