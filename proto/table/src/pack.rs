//! Writing a table from front to back.

use std::{collections::VecDeque, io::Write};

use crate::{
    Error, Seed,
    group::{Group, home, set_spilled, tag},
    header::{
        GROUP_BYTES, GROUP_SLOTS, GROUPS_SPARE, HEADER_BYTES, Header, REACH_MAX, bytes, slots,
    },
};

/// A table in the making. Entries come in the order of [`Seed::hash`]; groups and slots go to two
/// writers, each from its front to its end, so that memory is taken only for what waits for room.
///
/// An entry can carry a note of type `N`; [`Pack::finish`] says into which slots those went.
#[derive(Debug)]
pub struct Pack<G, S, N, const KEY: usize, const VALUE: usize> {
    groups: G,
    slots: S,
    seed: Seed,
    homes: u64,
    entries: u64,
    last: Option<(u64, [u8; KEY])>,
    /// The group that is being filled.
    at: u64,
    group: Group,
    count: usize,
    /// Its slots.
    area: Vec<u8>,
    /// What its home had no room for, in the order in which it came.
    waiting: VecDeque<Entry<N, KEY, VALUE>>,
    noted: Vec<(u32, N)>,
}

#[derive(Debug)]
struct Entry<N, const KEY: usize, const VALUE: usize> {
    hash: u64,
    key: [u8; KEY],
    value: [u8; VALUE],
    note: Option<N>,
}

/// A written table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packed<G, S, N> {
    /// What belongs before the groups.
    pub header: [u8; HEADER_BYTES],
    /// The writer of the groups.
    pub groups: G,
    /// The writer of the slots.
    pub slots: S,
    /// Slots of the entries that had a note, and the notes.
    pub noted: Vec<(u32, N)>,
    /// Entries in it.
    pub entries: u64,
}

impl<G: Write, S: Write, N, const KEY: usize, const VALUE: usize> Pack<G, S, N, KEY, VALUE> {
    /// A table of so many homes (see [`crate::homes_for`]).
    ///
    /// # Errors
    /// [`Error::Sizes`].
    pub fn new(groups: G, slots: S, homes: u64, seed: Seed) -> Result<Self, Error> {
        bytes(homes, KEY, VALUE)?;
        Ok(Self {
            groups,
            slots,
            seed,
            homes,
            entries: 0,
            last: None,
            at: 0,
            group: [0; GROUP_BYTES],
            count: 0,
            area: vec![0; GROUP_SLOTS * (KEY + VALUE)],
            waiting: VecDeque::new(),
            noted: Vec::new(),
        })
    }

    /// Puts the next entry in.
    ///
    /// # Errors
    /// [`Error::Order`] when its hash is below the last one's, [`Error::Repeated`] when it has the
    /// key of the last one (who sorts by hash and key finds all of them), [`Error::Full`], and
    /// [`Error::Write`].
    pub fn push(
        &mut self,
        key: &[u8; KEY],
        value: &[u8; VALUE],
        note: Option<N>,
    ) -> Result<(), Error> {
        let hash = self.seed.hash(key);
        if let Some((last, last_key)) = self.last.replace((hash, *key)) {
            if hash < last {
                return Err(Error::Order);
            }
            if last_key == *key {
                return Err(Error::Repeated);
            }
        }
        let home = home(hash, self.homes);
        while self.at < home {
            self.close()?;
        }
        self.entries += 1;
        let entry = Entry { hash, key: *key, value: *value, note };
        if self.count < GROUP_SLOTS {
            self.put(entry);
        } else {
            set_spilled(&mut self.group, hash);
            self.waiting.push_back(entry);
        }
        Ok(())
    }

    /// Writes what is left and says what the header has to be.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Write`].
    pub fn finish(mut self) -> Result<Packed<G, S, N>, Error> {
        while self.at < self.homes + GROUPS_SPARE {
            self.close()?;
        }
        if !self.waiting.is_empty() {
            return Err(self.full());
        }
        let header = Header {
            key_bytes: KEY as u32,
            value_bytes: VALUE as u32,
            homes: self.homes,
            entries: self.entries,
            seed: self.seed,
        };
        let Self { mut groups, mut slots, noted, entries, .. } = self;
        groups.flush().and_then(|()| slots.flush()).map_err(Error::Write)?;
        Ok(Packed { header: header.to_bytes(), groups, slots, noted, entries })
    }

    /// Puts an entry into the group, which has room.
    fn put(&mut self, entry: Entry<N, KEY, VALUE>) {
        if let Some(place) = self.group.get_mut(self.count) {
            *place = tag(entry.hash);
        }
        let at = self.count * (KEY + VALUE);
        let place = self.area.get_mut(at..).and_then(|rest| rest.split_first_chunk_mut());
        if let Some((key, rest)) = place {
            *key = entry.key;
            if let Some(value) = rest.first_chunk_mut() {
                *value = entry.value;
            }
        }
        if let Some(note) = entry.note {
            // A table has at most 2^32 slots.
            let slot = self.at * GROUP_SLOTS as u64 + self.count as u64;
            self.noted.push((slot as u32, note));
        }
        self.count += 1;
    }

    /// Fills the group up with what waits and goes on to the next.
    fn close(&mut self) -> Result<(), Error> {
        while self.count < GROUP_SLOTS
            && let Some(entry) = self.waiting.pop_front()
        {
            if self.at - home(entry.hash, self.homes) > REACH_MAX {
                return Err(self.full());
            }
            self.put(entry);
        }
        let written = self.groups.write_all(&self.group);
        written.and_then(|()| self.slots.write_all(&self.area)).map_err(Error::Write)?;
        self.group = [0; GROUP_BYTES];
        self.area.fill(0);
        self.count = 0;
        self.at += 1;
        Ok(())
    }

    fn full(&self) -> Error {
        Error::Full { entries: self.entries, slots: slots(self.homes) }
    }
}
