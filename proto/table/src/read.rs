//! Reading a table where it lies.

use crate::{
    Error,
    header::{HEADER_BYTES, Header, slots_at},
    probe::{Found, search},
};

/// A table of `KEY`-byte keys and `VALUE`-byte values in any bytes: a [`crate::Map`], a `Vec`, a
/// slice. Look-ups allocate nothing.
#[derive(Debug)]
pub struct Table<B, const KEY: usize, const VALUE: usize> {
    bytes: B,
    header: Header,
    slots_at: usize,
}

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
        Ok(Self { bytes, header, slots_at: slots_at(header.slots) as usize })
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
    pub fn find(&self, key: &[u8; KEY]) -> Option<(u64, &[u8; VALUE])> {
        let hash = self.header.seed.hash(key);
        let is_key = |slot| self.slot(slot).is_some_and(|(found, _)| found == key);
        match search(self.tags(), hash, is_key) {
            Found::At(slot) => self.slot(slot).map(|(_, value)| (slot, value)),
            Found::Empty(_) | Found::Nowhere => None,
        }
    }

    /// Every entry with its slot, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8; KEY], &[u8; VALUE])> {
        self.tags().iter().enumerate().filter(|(_, tag)| **tag != 0).filter_map(|(slot, _)| {
            let slot = slot as u64;
            self.slot(slot).map(|(key, value)| (slot, key, value))
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
        self.header.slots
    }

    /// All bytes of the table.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    #[inline]
    fn tags(&self) -> &[u8] {
        let end = HEADER_BYTES + self.header.slots as usize;
        self.bytes.as_ref().get(HEADER_BYTES..end).unwrap_or_default()
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
