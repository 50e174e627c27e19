//! Building a table where it will lie.

use crate::{
    Error, Seed,
    header::{HEADER_BYTES, Header, bytes, slots_at},
    probe::{Found, search, tag},
};

/// A table under construction. Entries go straight to their slot and never move, so a slot's
/// number can be kept from the moment of insertion.
#[derive(Debug)]
pub struct Fill<B, const KEY: usize, const VALUE: usize> {
    bytes: B,
    slots: u64,
    entries: u64,
    seed: Seed,
    slots_at: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, const KEY: usize, const VALUE: usize> Fill<B, KEY, VALUE> {
    /// A table in `bytes`, which are zero and exactly as many as [`bytes`] says.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Sizes`].
    pub fn new(area: B, slots: u64, seed: Seed) -> Result<Self, Error> {
        let expected = bytes(slots, KEY, VALUE)?;
        let found = area.as_ref().len() as u64;
        if expected != found {
            return Err(Error::Length { expected, found });
        }
        Ok(Self { bytes: area, slots, entries: 0, seed, slots_at: slots_at(slots) as usize })
    }

    /// Puts an entry in and says into which slot.
    ///
    /// # Errors
    /// [`Error::Repeated`] when the key is there already (nothing is changed), [`Error::Full`]
    /// when one empty slot is left.
    pub fn insert(&mut self, key: &[u8; KEY], value: &[u8; VALUE]) -> Result<u64, Error> {
        let full = Error::Full { entries: self.entries, slots: self.slots };
        let hash = self.seed.hash(key);
        let tags_end = HEADER_BYTES + self.slots as usize;
        let area = self.bytes.as_ref();
        let tags = area.get(HEADER_BYTES..tags_end).unwrap_or_default();
        let is_key = |slot| {
            let at = self.slots_at + slot as usize * (KEY + VALUE);
            area.get(at..).and_then(|rest| rest.first_chunk()) == Some(key)
        };
        let slot = match search(tags, hash, is_key) {
            Found::At(slot) => return Err(Error::Repeated { slot }),
            Found::Empty(slot) if self.entries + 1 < self.slots => slot,
            Found::Empty(_) | Found::Nowhere => return Err(full),
        };
        let at = self.slots_at + slot as usize * (KEY + VALUE);
        let area = self.bytes.as_mut();
        let place = area.get_mut(at..).and_then(|rest| rest.split_first_chunk_mut());
        if let Some((key_place, rest)) = place {
            *key_place = *key;
            if let Some(value_place) = rest.first_chunk_mut() {
                *value_place = *value;
            }
        }
        if let Some(place) = area.get_mut(HEADER_BYTES + slot as usize) {
            *place = tag(hash);
        }
        self.entries += 1;
        Ok(slot)
    }

    /// Entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes the header, which makes the bytes a table, and gives them back.
    pub fn finish(mut self) -> B {
        let header = Header {
            key_bytes: KEY as u32,
            value_bytes: VALUE as u32,
            slots: self.slots,
            entries: self.entries,
            seed: self.seed,
        };
        if let Some(place) = self.bytes.as_mut().first_chunk_mut() {
            header.write(place);
        }
        self.bytes
    }
}
