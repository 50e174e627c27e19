//! The bytes of a table: a header, a byte of tag per slot, the slots.
//!
//! ```text
//! table = header (128) | tags (slots) | zeros to 64 | slots
//!
//! header, all integers little-endian
//! offset size name
//!      0    8 magic        "SVRNtabl"
//!      8    4 version      1
//!     12    4 key_bytes    1..=64
//!     16    4 value_bytes  0..=4096
//!     20    4 reserved     0
//!     24    8 slots        16..=2^32
//!     32    8 entries      less than slots
//!     40   32 seed         four u64, random for each file: the key of the hash
//!     72   52 reserved     0
//!    124    4 checksum     CRC32C of bytes 0..124
//!
//! tag   0 = empty slot, else 1 + (hash modulo 255)
//! slot  key (key_bytes) | value (value_bytes), without padding
//! ```
//!
//! **Look-up.** The hash of a key is 64 bits (below). Its home is slot `hash * slots / 2^64`, so
//! the number of slots need not be a power of two. From the home on, slot by slot and on from the
//! end to the beginning: a tag of 0 ends the search, a tag equal to the key's leads to a
//! comparison of the whole key. Nothing is ever deleted, so an empty slot ends every search.
//!
//! **Hash.** `fold(a, b)` is the low half of the 128-bit product of `a` and `b` xor its high half.
//! With `s` the four words of the seed, `a = s[0]`; then for each 16 bytes of the key, padded with
//! zeros, as two words `lo` and `hi`: `a = fold(lo ^ a, hi ^ s[1])`; the hash is
//! `fold(a ^ s[2], s[3])`. Key sizes are fixed, so padding is no ambiguity.
//!
//! **Why so.** The tags of a home lie together and are compared many at a time, so a miss (which
//! at load 0.87 would pass some thirty slots) mostly touches one cache line and no slot at all,
//! and a hit touches its own slot alone. The seed is random for each file: whoever makes up keys
//! cannot know which of them meet.
//!
//! **What is checked.** On opening: magic, version, sizes against each other and against the bytes
//! there are, reserved bytes, the header's checksum. The body has no checksum here; the file that
//! a table lies in keeps one. A damaged body gives wrong answers, never a fault or an endless
//! search: a search ends after as many slots as there are.
//!
//! A reader refuses a version that it does not know.
//!
//! **Versions.** 1: as above.

use crate::{Error, Seed};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVRNtabl";
/// The version written and read.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = CHECKSUM_AT + size_of::<u32>();
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 64;
/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Fewest slots.
pub const SLOTS_MIN: u64 = 16;
/// Most slots: a slot's number fits 32 bits where others refer to it.
pub const SLOTS_MAX: u64 = 1 << 32;

const VERSION_AT: usize = MAGIC.len();
const KEY_BYTES_AT: usize = VERSION_AT + size_of::<u32>();
const VALUE_BYTES_AT: usize = KEY_BYTES_AT + size_of::<u32>();
const SLOTS_AT: usize = VALUE_BYTES_AT + 2 * size_of::<u32>(); // and a reserved word
const ENTRIES_AT: usize = SLOTS_AT + size_of::<u64>();
const SEED_AT: usize = ENTRIES_AT + size_of::<u64>();
const CHECKSUM_AT: usize = SEED_AT + Seed::BYTES + 52;

const _: () = assert!(HEADER_BYTES == 128 && SEED_AT == 40 && CHECKSUM_AT == 124);

/// Slots for that many entries: a load of 0.87, at which a hit passes four slots and a miss
/// thirty, nearly all of them by their tags.
#[must_use]
pub const fn slots_for(entries: u64) -> u64 {
    let slots = entries.saturating_mul(100) / 87 + 1;
    if slots < SLOTS_MIN { SLOTS_MIN } else { slots }
}

/// Bytes that a table of so many slots takes, header included.
///
/// # Errors
/// [`Error::Sizes`] when no table can be of that size.
pub fn bytes(slots: u64, key_bytes: usize, value_bytes: usize) -> Result<u64, Error> {
    let fits = (SLOTS_MIN..=SLOTS_MAX).contains(&slots)
        && (1..=KEY_BYTES_MAX).contains(&key_bytes)
        && value_bytes <= VALUE_BYTES_MAX;
    if !fits {
        return Err(Error::Sizes { slots, entries: 0 });
    }
    // At most 2^32 slots of 4,160 bytes: no overflow.
    Ok(slots_at(slots) + slots * (key_bytes + value_bytes) as u64)
}

/// Where the slots begin.
pub(crate) fn slots_at(slots: u64) -> u64 {
    (HEADER_BYTES as u64 + slots).next_multiple_of(64)
}

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
    pub(crate) slots: u64,
    pub(crate) entries: u64,
    pub(crate) seed: Seed,
}

impl Header {
    pub(crate) fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(VERSION_AT, &VERSION.to_le_bytes());
        put(KEY_BYTES_AT, &self.key_bytes.to_le_bytes());
        put(VALUE_BYTES_AT, &self.value_bytes.to_le_bytes());
        put(SLOTS_AT, &self.slots.to_le_bytes());
        put(ENTRIES_AT, &self.entries.to_le_bytes());
        put(SEED_AT, &self.seed.to_bytes());
        let checksum = crc32c::crc32c(bytes.get(..CHECKSUM_AT).unwrap_or_default());
        if let Some(place) = bytes.last_chunk_mut() {
            *place = checksum.to_le_bytes();
        }
        *out = bytes;
    }

    /// Reads and checks the header of the table that is all of `area`.
    pub(crate) fn read(area: &[u8]) -> Result<Self, Error> {
        let mut found = [0; 8];
        for (to, from) in found.iter_mut().zip(area) {
            *to = *from;
        }
        if found != MAGIC {
            return Err(Error::NotATable { found });
        }
        let short = Error::Length { expected: HEADER_BYTES as u64, found: area.len() as u64 };
        let bytes: &[u8; HEADER_BYTES] = area.first_chunk().ok_or(short)?;
        // Before the checksum, because a later version may lay its header out otherwise.
        let version = word(bytes, VERSION_AT);
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let computed = crc32c::crc32c(bytes.get(..CHECKSUM_AT).unwrap_or_default());
        let checksum = word(bytes, CHECKSUM_AT);
        if checksum != computed {
            return Err(Error::HeaderChecksum { found: checksum, computed });
        }
        let header = Self {
            key_bytes: word(bytes, KEY_BYTES_AT),
            value_bytes: word(bytes, VALUE_BYTES_AT),
            slots: long(bytes, SLOTS_AT),
            entries: long(bytes, ENTRIES_AT),
            seed: Seed::from_bytes(
                bytes.get(SEED_AT..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 32]),
            ),
        };
        let reserved = [VALUE_BYTES_AT + 4..SLOTS_AT, SEED_AT + Seed::BYTES..CHECKSUM_AT];
        let clear = reserved.into_iter().flatten().all(|at| bytes.get(at) == Some(&0));
        if header.entries >= header.slots || !clear {
            return Err(Error::Sizes { slots: header.slots, entries: header.entries });
        }
        let (key, value) = (header.key_bytes as usize, header.value_bytes as usize);
        let expected = self::bytes(header.slots, key, value)?;
        if expected != area.len() as u64 {
            return Err(Error::Length { expected, found: area.len() as u64 });
        }
        Ok(header)
    }
}

fn word(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}
