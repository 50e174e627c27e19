//! Making `did.idx`.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use table::{Fill, MapMut, NewFile, Seed};

use crate::{
    Cursor, Error, KEY_BYTES, Key, PlcDid, Status,
    entry::Value,
    hosts::Numbers,
    layout::{
        self, ACCOUNTS, FROM_MS_MAX, HEAD_BYTES, HOST_FAR, HOST_NONE, Head, PERIOD_MISSING,
        PERIOD_PRESENT, PERIOD_TOMBSTONE, PERIOD_UNKNOWN, Place, SECTIONS, VALUE_BYTES,
    },
    section::Section,
};

/// What one operation that counts made of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever builds an index fills it in")]
pub struct Change<'a> {
    /// When the directory accepted it (unix ms).
    pub from_ms: u64,
    /// The signing key from then on.
    pub key: Key,
    /// The PDS from then on, by its canonical name.
    pub pds: Option<&'a str>,
}

/// What was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Accounts.
    pub entries: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Different hosts.
    pub hosts: u64,
    /// Accounts that had more than one key.
    pub rotated: u64,
}

/// An index in the making. The table is filled in the mapped file itself; what is held in memory
/// beside it are the hosts, the former keys and the periods of accounts that had several.
///
/// Accounts may be added in any order, each once, so that whoever brings them can sort or split
/// the operations as memory allows. Dropped without [`Builder::finish`] it leaves no file.
#[derive(Debug)]
pub struct Builder {
    path: PathBuf,
    new: NewFile,
    fill: Fill<MapMut, { PlcDid::BYTES }, VALUE_BYTES>,
    hosts: Numbers,
    /// Slot and number of the first period.
    rotated: Vec<(u32, u32)>,
    /// From and key number; an account's are together.
    periods: Vec<(u64, u32)>,
    keys: HashMap<[u8; KEY_BYTES], u32>,
    far: Vec<(u32, u32)>,
}

impl Builder {
    /// Begins an index for at most `accounts` accounts. A file that is there is replaced only if
    /// `replace` says so, and only by [`Builder::finish`].
    ///
    /// # Errors
    /// [`Error::Table`] when the file exists, another process makes it, or the disk has no room.
    pub fn create(path: &Path, accounts: u64, replace: bool) -> Result<Self, Error> {
        let new = NewFile::create(path, replace)?;
        let slots = table::slots_for(accounts);
        let bytes = table::bytes(slots, PlcDid::BYTES, VALUE_BYTES)?;
        let map = new.map(HEAD_BYTES as u64, bytes)?;
        let fill = Fill::new(map, slots, Seed::random()?)?;
        Ok(Self {
            path: path.to_owned(),
            new,
            fill,
            hosts: Numbers::default(),
            rotated: Vec::new(),
            periods: Vec::new(),
            keys: HashMap::new(),
            far: Vec::new(),
        })
    }

    /// Adds an account: what its operations that count made of it, oldest first.
    ///
    /// # Errors
    /// [`Error::NoOperation`], [`Error::Table`] when the DID is there already or there are more
    /// than were announced, [`Error::HostName`], [`Error::TooMany`].
    pub fn add(&mut self, did: &PlcDid, changes: &[Change<'_>]) -> Result<(), Error> {
        let last = changes.last().ok_or(Error::NoOperation)?;
        let host = last.pds.map(|name| self.hosts.count(name)).transpose()?;
        let status = match (last.key.status(), host) {
            (Status::Active, None) => Status::NoPds,
            (status, _) => status,
        };
        let rotated = changes.iter().any(|change| change.key != last.key);
        let number = match host {
            None => HOST_NONE,
            Some(number) => match u16::try_from(number) {
                Ok(number) if number < HOST_FAR => number,
                _ => HOST_FAR,
            },
        };
        let value = Value { status, key: last.key.bytes(), rotated, host: number };
        let slot = self.fill.insert(did.as_bytes(), &value.to_bytes())?;
        // A table has at most 2^32 slots.
        let slot = slot as u32;
        if let (HOST_FAR, Some(host)) = (number, host) {
            self.far.push((slot, host));
        }
        if rotated {
            let first = count(self.periods.len(), "periods")?;
            self.rotated.push((slot, first));
            self.add_periods(changes, last.key)?;
        }
        Ok(())
    }

    fn add_periods(&mut self, changes: &[Change<'_>], present: Key) -> Result<(), Error> {
        let mut before = None;
        for change in changes {
            if before.replace(change.key) == Some(change.key) {
                continue;
            }
            let key = match change.key {
                key if key == present => PERIOD_PRESENT,
                Key::Known(key) => {
                    let next = count(self.keys.len(), "former keys")?;
                    *self.keys.entry(key).or_insert(next)
                }
                Key::Missing => PERIOD_MISSING,
                Key::UnknownType => PERIOD_UNKNOWN,
                Key::Tombstone => PERIOD_TOMBSTONE,
            };
            self.periods.push((change.from_ms.min(FROM_MS_MAX), key));
        }
        Ok(())
    }

    /// Writes what belongs beside the table, makes everything durable and gives the file its
    /// name.
    ///
    /// # Errors
    /// [`Error::Table`] and [`Error::Io`]; nothing has been replaced then.
    pub fn finish(self, cursor: Cursor) -> Result<Summary, Error> {
        let path = self.path.clone();
        let io_error = |source| Error::Io { doing: "write", path, source };
        let Self { new, fill, hosts, rotated, periods, keys, far, .. } = self;
        let entries = fill.entries();
        let map = fill.finish();
        let table = map.as_ref();
        let accounts = Place {
            offset: HEAD_BYTES as u64,
            bytes: table.len() as u64,
            checksum: crc32c::crc32c(table),
        };
        let (hosts_count, rotated_count) = (hosts.len(), rotated.len() as u64);
        let id = random_id()?;
        let side = Side { id, hosts, rotated, periods, keys, far, cursor };
        let head = side.write(new.file(), accounts).map_err(io_error)?;
        drop(map);
        new.publish()?;
        Ok(Summary { entries, bytes: head.bytes(), hosts: hosts_count, rotated: rotated_count })
    }
}

/// What lies behind the table.
struct Side {
    id: u64,
    hosts: Numbers,
    rotated: Vec<(u32, u32)>,
    periods: Vec<(u64, u32)>,
    keys: HashMap<[u8; KEY_BYTES], u32>,
    far: Vec<(u32, u32)>,
    cursor: Cursor,
}

impl Side {
    /// Writes the sections behind the table, then the head.
    fn write(mut self, mut file: &std::fs::File, accounts: Place) -> io::Result<Head> {
        file.seek(SeekFrom::Start(accounts.end()))?;
        let mut out = Section::new(BufWriter::new(file), accounts.end());
        let mut sections = [Place::default(); SECTIONS.len()];
        for (number, place) in sections.iter_mut().enumerate() {
            if number == ACCOUNTS {
                *place = accounts;
                continue;
            }
            out.begin()?;
            self.section(number, &mut out)?;
            *place = out.end();
        }
        out.into_inner().flush()?;
        let head = Head { id: self.id, sections };
        file.write_all_at(&head.write(), 0)?;
        Ok(head)
    }

    fn section(&mut self, number: usize, out: &mut impl Write) -> io::Result<()> {
        match number {
            layout::HOSTS => self.hosts.records().try_for_each(|record| out.write_all(&record)),
            layout::NAMES => out.write_all(self.hosts.names()),
            layout::ROTATED => {
                // Periods are written in the order of slots, so the first ones are counted anew.
                self.order_periods();
                pairs(&self.rotated, out)
            }
            layout::PERIODS => self.periods.iter().try_for_each(|(from_ms, key)| {
                let [from_ms @ .., _, _] = from_ms.to_le_bytes();
                out.write_all(&from_ms)?;
                out.write_all(&key.to_le_bytes())
            }),
            layout::KEYS => {
                let mut keys: Vec<_> = self.keys.iter().collect();
                keys.sort_unstable_by_key(|(_, number)| **number);
                keys.into_iter().try_for_each(|(key, _)| out.write_all(key))
            }
            layout::FAR => {
                self.far.sort_unstable();
                pairs(&self.far, out)
            }
            _ => out.write_all(&self.cursor.to_bytes()),
        }
    }

    fn order_periods(&mut self) {
        let ends = self.rotated.iter().skip(1).map(|(_, next)| *next as usize);
        let ends = ends.chain([self.periods.len()]);
        let mut runs: Vec<_> = self
            .rotated
            .iter()
            .zip(ends)
            .map(|((slot, first), end)| (*slot, *first as usize..end))
            .collect();
        runs.sort_unstable_by_key(|(slot, _)| *slot);
        let mut ordered = Vec::with_capacity(self.periods.len());
        self.rotated.clear();
        for (slot, run) in runs {
            self.rotated.push((slot, ordered.len() as u32));
            ordered.extend_from_slice(self.periods.get(run).unwrap_or_default());
        }
        self.periods = ordered;
    }
}

/// Bits that no other file has.
fn random_id() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| table::Error::Random(io::Error::other(error)))?;
    Ok(u64::from_le_bytes(bytes))
}

fn pairs(pairs: &[(u32, u32)], out: &mut impl Write) -> io::Result<()> {
    pairs.iter().try_for_each(|(slot, number)| {
        out.write_all(&slot.to_le_bytes())?;
        out.write_all(&number.to_le_bytes())
    })
}

/// A number for the next of something; the last few stand for other things.
fn count(so_far: usize, what: &'static str) -> Result<u32, Error> {
    let limit = PERIOD_TOMBSTONE;
    let number = u32::try_from(so_far).ok().filter(|number| *number < limit);
    number.ok_or(Error::TooMany { what, limit: u64::from(limit) })
}
