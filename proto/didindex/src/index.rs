//! Reading `did.idx`.

use std::{
    cmp::Ordering,
    fs::File,
    io::{self, Read},
    path::Path,
};

use table::{Map, Seed, Table, Use};

use crate::{
    Cursor, Entry, Error, Host, PlcDid,
    entry::At,
    hosts::Hosts,
    layout::{
        self, ACCOUNTS, CURSOR, FAR, FAR_RECORD_BYTES, HEAD_BYTES, HOSTS, Head, KEYS, NAMES,
        PERIOD_RECORD_BYTES, PERIODS, Place, ROTATED, ROTATED_RECORD_BYTES, SECTIONS, VALUE_BYTES,
    },
    live::{Beside, DeltaInfo},
};

/// Read at once in a pass over all of it.
const AHEAD_BYTES: usize = 4 << 20;

/// A mapped `did.idx`. Look-ups allocate nothing and make no system call; any number of threads
/// and processes may share one file.
#[derive(Debug)]
pub struct DidIndex {
    accounts: Table<Map, { PlcDid::BYTES }, VALUE_BYTES>,
    /// Everything behind the table.
    rest: Map,
    head: Head,
    pub(crate) beside: Beside,
}

/// What a file holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Accounts.
    pub entries: u64,
    /// Slots of the table.
    pub slots: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Different hosts.
    pub hosts: u64,
    /// Accounts that had more than one key.
    pub rotated: u64,
    /// Different former keys.
    pub former_keys: u64,
    /// Accounts whose host has no 16-bit number.
    pub far: u64,
    /// Up to where the operations were read.
    pub cursor: Cursor,
    /// What has changed since the file was built, where that is known.
    pub delta: Option<DeltaInfo>,
}

impl DidIndex {
    /// Maps the file and checks its head. What has changed since it was built is left out.
    ///
    /// # Errors
    /// [`Error`]: it cannot be read, is something else, of another version, damaged or cut short.
    pub fn open_base(path: &Path) -> Result<Self, Error> {
        let io_error = |doing| move |source| Error::Io { doing, path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error("open"))?;
        let metadata = file.metadata().map_err(io_error("open"))?;
        let length = metadata.len();
        let mut page = Vec::with_capacity(HEAD_BYTES);
        let read = (&file).take(HEAD_BYTES as u64).read_to_end(&mut page);
        read.map_err(io_error("read"))?;
        let head = Head::read(&page, length)?;
        let map = |from: u64, to: u64| Map::new(&file, from, to.saturating_sub(from));
        let [accounts, ..] = head.sections;
        let table = map(accounts.offset, accounts.end()).map_err(io_error("map"))?;
        let rest = map(accounts.end(), length).map_err(io_error("map"))?;
        let accounts = Table::open(table)?;
        let map = accounts.bytes();
        map.will_be(accounts.groups_range(), Use::Dense);
        // Large pages spare a look-up a walk through the page tables, which takes longer than the
        // rest of it; they are read as a whole, though.
        let fits = table::map::fit_in_memory(length);
        map.will_be(accounts.slots_range(), if fits { Use::Dense } else { Use::Random });
        let beside = Beside::none(path, head.id, &metadata);
        Ok(Self { accounts, rest, head, beside })
    }

    /// What it says about a DID; nothing about one that is no did:plc.
    #[inline]
    #[must_use]
    pub fn get(&self, did: &str) -> Option<Entry<'_>> {
        self.entry(&PlcDid::parse(did)?)
    }

    /// What it says about a DID.
    #[inline]
    #[must_use]
    pub fn entry(&self, did: &PlcDid) -> Option<Entry<'_>> {
        let hash = self.seed().hash(did.as_bytes());
        self.changed_hashed(did, hash).or_else(|| self.base_entry_hashed(did, hash))
    }

    /// What the file itself says about a DID, whatever has changed since it was built.
    #[inline]
    #[must_use]
    pub fn base_entry(&self, did: &PlcDid) -> Option<Entry<'_>> {
        self.base_entry_hashed(did, self.seed().hash(did.as_bytes()))
    }

    #[inline]
    fn base_entry_hashed(&self, did: &PlcDid, hash: u64) -> Option<Entry<'_>> {
        let (slot, value) = self.accounts.find_hashed(did.as_bytes(), hash)?;
        Some(Entry { index: self, at: At::Index(slot, value) })
    }

    /// What it says about many DIDs, each at its place in `entries`; as many as both have places.
    /// With some hundreds at a time it takes a third of what single look-ups take, or less: they
    /// wait for memory together.
    #[inline]
    pub fn entries<'i>(&'i self, dids: &[PlcDid], entries: &mut [Option<Entry<'i>>]) {
        let mut places = entries.iter_mut().zip(dids);
        let keys = dids.iter().take(places.len()).map(PlcDid::as_bytes);
        self.accounts.find_each(keys, |hash, found| {
            if let Some((place, did)) = places.next() {
                *place = self.changed_hashed(did, hash).or_else(|| {
                    found.map(|(slot, value)| Entry { index: self, at: At::Index(slot, value) })
                });
            }
        });
    }

    /// Accounts of the file itself.
    #[must_use]
    pub fn base_accounts(&self) -> u64 {
        self.accounts.entries()
    }

    /// Every account of the file itself as it was built, in the order of slots
    /// ([`DidIndex::hash_from`]).
    pub fn base_iter(&self) -> impl Iterator<Item = (PlcDid, Entry<'_>)> {
        self.accounts.iter().map(|(slot, did, value)| {
            self.read_ahead(slot);
            (PlcDid::from_bytes(*did), Entry { index: self, at: At::Index(slot, value) })
        })
    }

    /// The hosts of the file itself in the order of their numbers.
    pub(crate) fn base_hosts(&self) -> impl Iterator<Item = Host<'_>> {
        // What is damaged is left out.
        (0..self.all_hosts().len() as u32).filter_map(|number| self.host(number))
    }

    /// The bits by which what lies beside the file names it; another file has others.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.head.id
    }

    /// Up to where the operations were read of which the file itself was built.
    #[must_use]
    pub fn base_cursor(&self) -> Cursor {
        Cursor::from_bytes(self.section(CURSOR))
    }

    /// What it holds, in numbers.
    #[must_use]
    pub(crate) fn base_info(&self) -> Info {
        let records = |section, bytes| (self.section(section).len() / bytes) as u64;
        Info {
            entries: self.accounts.entries(),
            slots: self.accounts.slots(),
            bytes: self.head.bytes(),
            hosts: self.all_hosts().len(),
            rotated: records(ROTATED, ROTATED_RECORD_BYTES),
            former_keys: records(KEYS, crate::KEY_BYTES),
            far: records(FAR, FAR_RECORD_BYTES),
            cursor: self.base_cursor(),
            delta: None,
        }
    }

    /// Reads all of the file itself and compares every checksum.
    pub(crate) fn verify_base(&self) -> Result<(), Error> {
        let mut end = HEAD_BYTES as u64;
        for (number, place) in self.head.sections.iter().enumerate() {
            let accounts = number == ACCOUNTS;
            let map = if accounts { self.accounts.bytes() } else { &self.rest };
            let bytes = if accounts { map.as_ref() } else { self.section(number) };
            let computed =
                bytes.chunks(AHEAD_BYTES).enumerate().fold(0, |checksum, (at, piece)| {
                    if accounts {
                        let from = at * AHEAD_BYTES;
                        map.will_be(from..from + 2 * AHEAD_BYTES, Use::Soon);
                    }
                    crc32c::crc32c_append(checksum, piece)
                });
            // The table begins right behind the head.
            let between = if accounts { &[] } else { self.rest(end, place.offset) };
            end = place.end();
            if computed != place.checksum || between.iter().any(|byte| *byte != 0) {
                let section = SECTIONS.get(number).copied().unwrap_or_default();
                return Err(Error::SectionChecksum { section, found: place.checksum, computed });
            }
        }
        Ok(())
    }

    /// The key of the table's hash: an index that is built with it can be built from this one in
    /// one pass.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.accounts.seed()
    }

    /// The least hash that this account of the file itself and those behind it can have.
    #[must_use]
    pub fn hash_from(&self, entry: &Entry<'_>) -> u64 {
        match entry.at {
            At::Index(slot, _) => self.accounts.hash_from(slot),
            At::Delta(_) => 0,
        }
    }

    /// In a pass over all slots: has the next ones read while these are worked on.
    fn read_ahead(&self, slot: u64) {
        let slot_bytes = PlcDid::BYTES + VALUE_BYTES;
        let at = slot as usize * slot_bytes % AHEAD_BYTES;
        if at < slot_bytes {
            let from = self.accounts.slots_range().start + slot as usize * slot_bytes;
            self.accounts.bytes().will_be(from..from + 2 * AHEAD_BYTES, Use::Soon);
        }
    }

    pub(crate) fn host(&self, number: u32) -> Option<Host<'_>> {
        self.all_hosts().get(number)
    }

    /// The number of the host of an account that has it in `far`.
    pub(crate) fn far_host(&self, slot: u64) -> Option<u32> {
        let records = self.section(FAR);
        let at = find(records, FAR_RECORD_BYTES, slot)?;
        Some(layout::u32_at(records, at * FAR_RECORD_BYTES + 4))
    }

    /// The records of periods from the first on of an account that has some.
    pub(crate) fn periods(&self, slot: u64) -> &[u8] {
        let records = self.section(ROTATED);
        let Some(at) = find(records, ROTATED_RECORD_BYTES, slot) else { return &[] };
        let first = layout::u32_at(records, at * ROTATED_RECORD_BYTES + 4) as usize;
        self.section(PERIODS).get(first * PERIOD_RECORD_BYTES..).unwrap_or_default()
    }

    pub(crate) fn former_keys(&self) -> &[u8] {
        self.section(KEYS)
    }

    fn all_hosts(&self) -> Hosts<'_> {
        Hosts { records: self.section(HOSTS), names: self.section(NAMES) }
    }

    /// The bytes of a section behind the table.
    fn section(&self, number: usize) -> &[u8] {
        let place = self.head.sections.get(number).copied().unwrap_or_default();
        self.rest(place.offset, place.end())
    }

    /// A part of the file behind the table, by offsets in the file.
    fn rest(&self, from: u64, to: u64) -> &[u8] {
        let base = self.head.sections.get(ACCOUNTS).map_or(0, Place::end);
        let range = from.saturating_sub(base) as usize..to.saturating_sub(base) as usize;
        self.rest.as_ref().get(range).unwrap_or_default()
    }
}

/// Finds the record of a slot among records that begin with one and are sorted by it.
fn find(records: &[u8], record_bytes: usize, slot: u64) -> Option<usize> {
    let (mut low, mut high) = (0, records.len() / record_bytes);
    while low < high {
        let middle = low + (high - low) / 2;
        match u64::from(layout::u32_at(records, middle * record_bytes)).cmp(&slot) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Some(middle),
        }
    }
    None
}

/// Opens any bytes as an index and asks it about a DID: it may be wrong, never fail badly.
///
/// # Errors
/// When the bytes cannot be written to a file.
pub fn fuzz_open(data: &[u8], folder: &Path) -> io::Result<()> {
    let path = folder.join("fuzz.idx");
    std::fs::write(&path, data)?;
    if let Ok(index) = DidIndex::open(&path) {
        for (did, entry) in index.iter().take(1000) {
            let _ = (index.entry(&did).is_some(), entry.pds(), entry.history().take(1000).count());
            let mut found = [None; 40];
            index.entries(&[did; 40], &mut found);
        }
        let _ = (index.info(), index.hosts().count(), index.verify());
    }
    Ok(())
}
