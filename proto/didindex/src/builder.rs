//! Making `did.idx`.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use table::{NewFile, Pack, Packed, Seed, header::HEADER_BYTES};

use crate::{
    Cursor, Error, Key, PlcDid, Status, beside,
    entry::Value,
    hosts::Numbers,
    layout::{HEAD_BYTES, HOST_FAR, HOST_NONE, Head, Place, VALUE_BYTES},
    past::Past,
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

impl Change<'_> {
    /// What the account is by it.
    #[must_use]
    pub fn status(&self) -> Status {
        match (self.key.status(), self.pds) {
            (Status::Active, None) => Status::NoPds,
            (status, _) => status,
        }
    }
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

/// An index in the making. Beside the batch of accounts that was added last it holds the hosts, and
/// some bytes for each account that had several keys.
///
/// Accounts may be added in any order, each once; they go into the file when
/// [`Builder::settle`] says that no earlier ones will come, at the latest in the end. So whoever
/// brings many of them sorts them roughly by [`Seed::hash`] and settles now and then. Dropped
/// without [`Builder::finish`] it leaves no file.
#[derive(Debug)]
pub struct Builder {
    path: PathBuf,
    id: u64,
    new: NewFile,
    seed: Seed,
    homes: u64,
    pack: Pack<Section, Section, Note, { PlcDid::BYTES }, VALUE_BYTES>,
    batch: Vec<Account>,
    hosts: Numbers,
    past: Past,
}

/// An account that is not in the file yet.
#[derive(Debug, Clone, Copy)]
struct Account {
    hash: u64,
    did: PlcDid,
    value: [u8; VALUE_BYTES],
    note: Note,
}

/// What has to be said of an account's slot elsewhere.
#[derive(Debug, Clone, Copy)]
struct Note {
    /// Number of its first period, or [`NOTHING`].
    period: u32,
    /// Number of its host where that is far, or [`NOTHING`].
    far: u32,
}

const NOTHING: u32 = u32::MAX;

impl Builder {
    /// Begins an index for about so many accounts (a twentieth more have room). A file that is
    /// there is replaced only if `replace` says so, and only by [`Builder::finish`].
    ///
    /// # Errors
    /// [`Error::Table`] when the file exists, another process makes it, or the disk has no room.
    pub fn create(path: &Path, accounts: u64, replace: bool) -> Result<Self, Error> {
        Self::of(path, accounts, Seed::random()?, NewFile::create(path, replace)?)
    }

    /// The same, with a hash that the caller knows already.
    ///
    /// # Errors
    /// As [`Builder::create`].
    pub fn create_keyed(
        path: &Path,
        accounts: u64,
        replace: bool,
        seed: Seed,
    ) -> Result<Self, Error> {
        Self::of(path, accounts, seed, NewFile::create(path, replace)?)
    }

    /// The same, under the index's lock, which the caller holds ([`crate::lock`]) and keeps.
    ///
    /// # Errors
    /// As [`Builder::create`].
    pub fn under(
        path: &Path,
        accounts: u64,
        replace: bool,
        seed: Seed,
        lock: &File,
    ) -> Result<Self, Error> {
        let lock = lock.try_clone().map_err(beside::io_error("lock", path))?;
        Self::of(path, accounts, seed, NewFile::under(path, replace, lock)?)
    }

    fn of(path: &Path, accounts: u64, seed: Seed, new: NewFile) -> Result<Self, Error> {
        let homes = table::homes_for(accounts);
        new.reserve(HEAD_BYTES as u64 + table::bytes(homes, PlcDid::BYTES, VALUE_BYTES)?)?;
        let io_error = |source| Error::Io { doing: "write", path: path.to_owned(), source };
        let section = |at: u64| Section::new(new.file(), HEAD_BYTES as u64 + at);
        let groups = section(HEADER_BYTES as u64).map_err(io_error)?;
        let slots = section(table::header::slots_at(homes)).map_err(io_error)?;
        let pack = Pack::new(groups, slots, homes, seed)?;
        Ok(Self {
            path: path.to_owned(),
            id: random_id()?,
            new,
            seed,
            homes,
            pack,
            batch: Vec::new(),
            hosts: Numbers::default(),
            past: Past::new(beside::folder(path)),
        })
    }

    /// The bits by which what lies beside the index will name it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Adds an account: what its operations that count made of it, oldest first.
    ///
    /// # Errors
    /// [`Error::NoOperation`], [`Error::HostName`], [`Error::TooMany`], [`Error::Io`].
    pub fn add(&mut self, did: &PlcDid, changes: &[Change<'_>]) -> Result<(), Error> {
        let last = changes.last().ok_or(Error::NoOperation)?;
        let host = last.pds.map(|name| self.hosts.count(name)).transpose()?;
        let rotated = changes.iter().any(|change| change.key != last.key);
        let number = match host {
            None => HOST_NONE,
            Some(number) => match u16::try_from(number) {
                Ok(number) if number < HOST_FAR => number,
                _ => HOST_FAR,
            },
        };
        let status = last.status();
        let value = Value { status, key: last.key.bytes(), rotated, host: number };
        let far = host.filter(|_| number == HOST_FAR).unwrap_or(NOTHING);
        let period = if rotated { self.past.add(changes, last.key)? } else { NOTHING };
        let hash = self.seed.hash(did.as_bytes());
        let note = Note { period, far };
        self.batch.push(Account { hash, did: *did, value: value.to_bytes(), note });
        Ok(())
    }

    /// Writes the accounts whose hash is below `hash`; none such may be added any more.
    ///
    /// # Errors
    /// [`Error::Table`]: a DID was added twice or after its hash was settled, there are more than
    /// were announced, or the disk is full.
    pub fn settle(&mut self, hash: u64) -> Result<(), Error> {
        self.batch.sort_unstable_by_key(|account| (account.hash, account.did));
        let settled = self.batch.partition_point(|account| account.hash < hash);
        self.write(settled)
    }

    fn write(&mut self, accounts: usize) -> Result<(), Error> {
        for Account { did, value, note, .. } in self.batch.drain(..accounts) {
            let noted = note.period != NOTHING || note.far != NOTHING;
            self.pack.push(did.as_bytes(), &value, noted.then_some(note))?;
        }
        Ok(())
    }

    /// Writes what is left and what belongs beside the table, makes everything durable and gives
    /// the file its name.
    ///
    /// # Errors
    /// As [`Builder::settle`], and [`Error::Io`]; nothing has been replaced then.
    pub fn finish(self, cursor: Cursor) -> Result<Summary, Error> {
        self.seal(cursor)?.publish()
    }

    /// Writes what is left and what belongs beside the table and makes everything durable. What
    /// lies beside the index can be written before [`Sealed::publish`] gives the file its name.
    ///
    /// # Errors
    /// As [`Builder::settle`], and [`Error::Io`].
    pub fn seal(mut self, cursor: Cursor) -> Result<Sealed, Error> {
        self.settle(u64::MAX)?;
        // The greatest hash of all is below none.
        self.write(self.batch.len())?;
        let Self { path, id, new, seed, homes, pack, hosts, past, .. } = self;
        let io_error = |source| Error::Io { doing: "write", path: path.clone(), source };
        let packed = pack.finish()?;
        let entries = packed.entries;
        let noted = |number: fn(&Note) -> u32| {
            let pairs = packed.noted.iter().map(|(slot, note)| (*slot, number(note)));
            let mut pairs: Vec<_> = pairs.filter(|(_, number)| *number != NOTHING).collect();
            pairs.sort_unstable();
            pairs
        };
        let (rotated, far) = (noted(|note| note.period), noted(|note| note.far));
        let (hosts_count, rotated_count) = (hosts.len(), rotated.len() as u64);
        let accounts = table_place(new.file(), homes, &packed).map_err(io_error)?;
        let side = Side { id, hosts, rotated, far, past, cursor };
        let head = side.write(new.file(), accounts).map_err(io_error)?;
        new.sync()?;
        let summary =
            Summary { entries, bytes: head.bytes(), hosts: hosts_count, rotated: rotated_count };
        Ok(Sealed { new, id, seed, summary })
    }
}

/// An index that is whole and durable and has not got its name yet. Dropped, it leaves no file.
#[derive(Debug)]
pub struct Sealed {
    new: NewFile,
    id: u64,
    seed: Seed,
    summary: Summary,
}

impl Sealed {
    /// The bits by which what lies beside it names it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The key of its hash.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The name it has until it is published.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        self.new.temporary()
    }

    /// What it holds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// [`Error::Table`]; nothing has been replaced then.
    pub fn publish(self) -> Result<Summary, Error> {
        self.new.publish()?;
        Ok(self.summary)
    }
}

/// Writes the header of the table, whose groups and slots are written; where all of it lies.
fn table_place(
    file: &File,
    homes: u64,
    packed: &Packed<Section, Section, Note>,
) -> io::Result<Place> {
    let (groups, slots) = (packed.groups.place(), packed.slots.place());
    let offset = HEAD_BYTES as u64;
    file.write_all_at(&packed.header, offset)?;
    let between = vec![0; (slots.offset - groups.end()) as usize];
    let checksum = crc32c::crc32c(&packed.header);
    let checksum = crc32c::crc32c_combine(checksum, groups.checksum, groups.bytes as usize);
    let checksum = crc32c::crc32c_append(checksum, &between);
    let checksum = crc32c::crc32c_combine(checksum, slots.checksum, slots.bytes as usize);
    debug_assert_eq!(slots.offset, offset + table::header::slots_at(homes));
    Ok(Place { offset, bytes: slots.end() - offset, checksum })
}

/// What lies behind the table.
struct Side {
    id: u64,
    hosts: Numbers,
    /// Slot and number of the first period.
    rotated: Vec<(u32, u32)>,
    /// Slot and number of the host.
    far: Vec<(u32, u32)>,
    past: Past,
    cursor: Cursor,
}

impl Side {
    /// Writes the sections behind the table, then the head.
    fn write(self, file: &File, accounts: Place) -> io::Result<Head> {
        let mut out = Section::new(file, accounts.end())?;
        let (periods, keys) = self.past.into_sections();
        let sections = [
            accounts,
            out.next(|out| self.hosts.records().try_for_each(|record| out.write_all(&record)))?,
            out.next(|out| out.write_all(self.hosts.names()))?,
            out.next(|out| pairs(&self.rotated, out))?,
            out.next(|out| periods.copy_to(out))?,
            out.next(|out| keys.copy_to(out))?,
            out.next(|out| pairs(&self.far, out))?,
            out.next(|out| out.write_all(&self.cursor.to_bytes()))?,
        ];
        out.flush()?;
        let head = Head { id: self.id, sections };
        file.write_all_at(&head.write(), 0)?;
        Ok(head)
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
