//! Reading a table where it lies.

use std::ops::Range;

use crate::{
    Error, Seed,
    group::{Group, has_room, has_spilled, home, tag},
    header::{
        GROUP_BYTES, GROUP_SLOTS, GROUPS_SPARE, HEADER_BYTES, Header, REACH_MAX, slots, slots_at,
    },
    machine::{matches, prefetch},
};

/// So many look-ups are under way together in [`Table::find_each`].
const TOGETHER: usize = 64;

/// A table of `KEY`-byte keys and `VALUE`-byte values in any bytes: a [`crate::Map`], a `Vec`, a
/// slice. Look-ups allocate nothing.
#[derive(Debug)]
pub struct Table<B, const KEY: usize, const VALUE: usize> {
    bytes: B,
    header: Header,
    slots_at: usize,
}

/// Whether two keys are the same, in two comparisons where their length allows it.
#[inline]
fn same<const KEY: usize>(a: &[u8; KEY], b: &[u8; KEY]) -> bool {
    let ends = |key: &[u8; KEY]| {
        Some((u64::from_le_bytes(*key.first_chunk()?), u64::from_le_bytes(*key.last_chunk()?)))
    };
    match (ends(a), ends(b)) {
        (Some(ends), Some(others)) if KEY <= 16 => ends == others,
        _ => a == b,
    }
}

/// A look-up under way.
#[derive(Debug, Clone, Copy)]
struct Search<'k, const KEY: usize> {
    key: &'k [u8; KEY],
    hash: u64,
    home: u64,
    /// Slots of its home that may have it.
    places: u32,
}

/// Where a value lies: its slot's number, and itself.
type Found<'a, const VALUE: usize> = Option<(u64, &'a [u8; VALUE])>;

impl<B: AsRef<[u8]>, const KEY: usize, const VALUE: usize> Table<B, KEY, VALUE> {
    /// Checks the header of the table that is all of `bytes`.
    ///
    /// # Errors
    /// [`Error`] when it is no table, a damaged one, or one of other sizes.
    pub fn open(bytes: B) -> Result<Self, Error> {
        let header = Header::read(bytes.as_ref())?;
        if (header.key_bytes as usize, header.value_bytes as usize) != (KEY, VALUE) {
            return Err(Error::Shape {
                key: header.key_bytes,
                value: header.value_bytes,
                key_wanted: KEY as u32,
                value_wanted: VALUE as u32,
            });
        }
        Ok(Self { bytes, header, slots_at: slots_at(header.homes) as usize })
    }

    /// The value of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: &[u8; KEY]) -> Option<&[u8; VALUE]> {
        self.find(key).map(|(_, value)| value)
    }

    /// The slot and the value of a key.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &[u8; KEY]) -> Found<'_, VALUE> {
        self.find_hashed(key, self.header.seed.hash(key))
    }

    /// The slot and the value of a key, whose hash ([`Table::seed`]) the caller knows already.
    #[inline]
    #[must_use]
    pub fn find_hashed(&self, key: &[u8; KEY], hash: u64) -> Found<'_, VALUE> {
        let home = home(hash, self.header.homes);
        let places = matches(self.group(home)?, tag(hash));
        self.find_at(home, places, key).or_else(|| self.find_behind(home, key, hash))
    }

    /// Looks many keys up, in their order, with several under way together: memory answers the one
    /// while the others are on their way to it. `found` is told the hash of each, too.
    #[inline]
    pub fn find_each<'t, 'k>(
        &'t self,
        keys: impl IntoIterator<Item = &'k [u8; KEY]>,
        mut found: impl FnMut(u64, Found<'t, VALUE>),
    ) {
        let mut keys = keys.into_iter();
        let mut batch = [Search { key: &[0; KEY], hash: 0, home: 0, places: 0 }; TOGETHER];
        loop {
            let mut count = 0;
            for (search, key) in batch.iter_mut().zip(&mut keys) {
                *search = self.begin(key);
                count += 1;
            }
            let batch = batch.get_mut(..count).unwrap_or_default();
            for search in &mut *batch {
                let Some(group) = self.group(search.home) else { continue };
                search.places = matches(group, tag(search.hash));
                self.prefetch_slot(search.home, search.places);
            }
            for Search { key, hash, home, places } in &*batch {
                let here = self.find_at(*home, *places, key);
                found(*hash, here.or_else(|| self.find_behind(*home, key, *hash)));
            }
            if count < TOGETHER {
                return;
            }
        }
    }

    /// Every entry with its slot, in the order of slots, which is that of hashes but for what is
    /// not at home.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8; KEY], &[u8; VALUE])> {
        let full = move |slot: &u64| {
            let (group, place) = (slot / GROUP_SLOTS as u64, slot % GROUP_SLOTS as u64);
            let tag = self.group(group).and_then(|group| group.get(place as usize));
            tag.is_some_and(|tag| *tag != 0)
        };
        (0..self.slots()).filter(full).filter_map(|slot| {
            let (key, value) = self.slot(slot)?;
            Some((slot, key, value))
        })
    }

    /// Entries in it, as its header says.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.header.entries
    }

    /// Slots it has, empty ones included.
    #[must_use]
    pub fn slots(&self) -> u64 {
        slots(self.header.homes)
    }

    /// The key of its hash.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.header.seed
    }

    /// The least hash that an entry in this slot or a later one can have.
    #[must_use]
    pub fn hash_from(&self, slot: u64) -> u64 {
        let home = (slot / GROUP_SLOTS as u64).saturating_sub(REACH_MAX);
        let hash = (u128::from(home) << 64).div_ceil(u128::from(self.header.homes));
        u64::try_from(hash).unwrap_or(u64::MAX)
    }

    /// What it lies in.
    #[must_use]
    pub fn bytes(&self) -> &B {
        &self.bytes
    }

    /// Where in the bytes the groups lie.
    #[must_use]
    pub fn groups_range(&self) -> Range<usize> {
        HEADER_BYTES..self.group_at(self.header.homes + GROUPS_SPARE)
    }

    /// Where in the bytes the slots lie.
    #[must_use]
    pub fn slots_range(&self) -> Range<usize> {
        self.slots_at..self.slots_at + self.slots() as usize * (KEY + VALUE)
    }

    /// Looks for a key in those slots of a group.
    #[inline]
    fn find_at(&self, group: u64, places: u32, key: &[u8; KEY]) -> Found<'_, VALUE> {
        let mut places = places;
        while places != 0 {
            let slot = group * GROUP_SLOTS as u64 + u64::from(places.trailing_zeros());
            if let Some((found, value)) = self.slot(slot)
                && same(found, key)
            {
                return Some((slot, value));
            }
            places &= places - 1;
        }
        None
    }

    /// Looks for a key behind its home, if it can be there.
    #[inline]
    fn find_behind(&self, home: u64, key: &[u8; KEY], hash: u64) -> Found<'_, VALUE> {
        if has_spilled(self.group(home)?, hash) { self.find_spilled(home, key, hash) } else { None }
    }

    /// Kept apart, so that the way of most keys is short.
    #[cold]
    #[inline(never)]
    fn find_spilled(&self, home: u64, key: &[u8; KEY], hash: u64) -> Found<'_, VALUE> {
        for at in home + 1..=home + REACH_MAX {
            let group = self.group(at)?;
            let found = self.find_at(at, matches(group, tag(hash)), key);
            if found.is_some() || has_room(group) {
                return found;
            }
        }
        None
    }

    /// Has the slot fetched that is most likely the one.
    #[inline]
    fn prefetch_slot(&self, group: u64, places: u32) {
        if places != 0 {
            let slot = group * GROUP_SLOTS as u64 + u64::from(places.trailing_zeros());
            let at = self.slots_at + slot as usize * (KEY + VALUE);
            prefetch(self.bytes.as_ref(), at);
            prefetch(self.bytes.as_ref(), at + KEY + VALUE - 1);
        }
    }

    /// Begins a search: has the group fetched where its key is at home.
    #[inline]
    fn begin<'k>(&self, key: &'k [u8; KEY]) -> Search<'k, KEY> {
        let hash = self.header.seed.hash(key);
        let home = home(hash, self.header.homes);
        prefetch(self.bytes.as_ref(), self.group_at(home));
        Search { key, hash, home, places: 0 }
    }

    #[inline]
    fn group_at(&self, group: u64) -> usize {
        HEADER_BYTES + group as usize * GROUP_BYTES
    }

    /// A group; behind the last one there are other bytes, and they are looked at only by who
    /// follows damage.
    #[inline]
    fn group(&self, group: u64) -> Option<&Group> {
        self.bytes.as_ref().get(self.group_at(group)..)?.first_chunk()
    }

    #[inline]
    fn slot(&self, slot: u64) -> Option<(&[u8; KEY], &[u8; VALUE])> {
        let at = self.slots_at + slot as usize * (KEY + VALUE);
        self.bytes
            .as_ref()
            .get(at..)?
            .split_first_chunk()
            .and_then(|(key, rest)| rest.first_chunk().map(|value| (key, value)))
    }
}
