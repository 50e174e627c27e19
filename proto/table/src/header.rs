//! The bytes of a table: a header, the groups of tags, the slots.
//!
//! ```text
//! table = header (128) | groups (16 each) | zeros to a multiple of 4096 | slots
//!
//! header, all integers little-endian
//! offset size name
//!      0    8 magic        "SVRNtabl"
//!      8    4 version      2
//!     12    4 key_bytes    1..=64
//!     16    4 value_bytes  0..=4096
//!     20    4 reserved     0
//!     24    8 homes        1..: groups that a hash can fall on; 16 more lie behind them
//!     32    8 entries      at most 15 * (homes + 16), which are at most 2^32
//!     40   32 seed         four u64, random for each file: the key of the hash
//!     72   52 reserved     0
//!    124    4 checksum     CRC32C of bytes 0..124
//!
//! group
//!      0   15 tags         one for each of the group's slots, from the left: 0 = empty, else the
//!                          lowest byte of the hash, 1 for 0
//!     15    1 spilled      bit (hash / 256) modulo 8 is set for each entry that is at home here
//!                          and lies in a later group
//!
//! slot    key (key_bytes) | value (value_bytes), without padding; tag i of group g is of slot
//!         15 g + i
//! ```
//!
//! **Look-up.** The hash of a key is 64 bits (below). Its home is group `hash * homes / 2^64`. A
//! tag there that equals the key's leads to a comparison of the whole key. If none of them was it
//! and the key's bit in `spilled` is set, the next groups are searched alike, up to the first
//! that has an empty slot, and no more than 255 of them.
//!
//! **Filling.** Entries come in the order of their hashes. A group takes in those that are at home
//! in it; what it has no room for waits and is put, oldest first, into the room that later groups
//! have left. So a table is written from front to back, and 93 of 100 entries are at home.
//!
//! **Hash.** `fold(a, b)` is the low half of the 128-bit product of `a` and `b` xor its high half.
//! With `s` the four words of the seed, `a = s[0]`; then for each 16 bytes of the key, padded with
//! zeros, as two words `lo` and `hi`: `a = fold(lo ^ a, hi ^ s[1])`; the hash is
//! `fold(a ^ s[2], s[3])`. Key sizes are fixed, so padding is no ambiguity.
//!
//! **Why so.** A group is compared at once, in one register. The groups are a fiftieth of the
//! table, so they are what stays in the cache: a miss ends there (nine of ten) and a hit takes one
//! more line from memory. Tried against it: pages that hold their own tags, so that a look-up
//! stays inside of one page, were slower by a third on hits and by half on misses, because then
//! the tags come from memory too. Beyond memory the groups come in first and stay, and a look-up
//! is one page of slots. The seed is random for each file: whoever makes up keys cannot know
//! which of them meet.
//!
//! **What is checked.** On opening: magic, version, sizes against each other and against the bytes
//! there are, reserved bytes, the header's checksum. The body has no checksum here; the file that
//! a table lies in keeps one. A damaged body gives wrong answers, never a fault or an endless
//! search.
//!
//! A reader refuses a version that it does not know.
//!
//! **Versions.** 2: as above. 1: single slots as homes, filled in any order.

use crate::{Error, Seed};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVRNtabl";
/// The version written and read.
pub const VERSION: u32 = 2;
/// Bytes of the header.
pub const HEADER_BYTES: usize = CHECKSUM_AT + size_of::<u32>();
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 64;
/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Most slots: a slot's number fits 32 bits where others refer to it.
pub const SLOTS_MAX: u64 = 1 << 32;
/// Bytes of a group.
pub const GROUP_BYTES: usize = 16;
/// Slots of a group.
pub const GROUP_SLOTS: usize = GROUP_BYTES - 1;
/// Groups behind the last home, for what the last homes have no room for.
pub const GROUPS_SPARE: u64 = 16;
/// How many groups behind its home an entry may lie.
pub const REACH_MAX: u64 = 255;

/// What the slots begin at a multiple of.
const SLOTS_ALIGN: u64 = 4096;
const VERSION_AT: usize = MAGIC.len();
const KEY_BYTES_AT: usize = VERSION_AT + size_of::<u32>();
const VALUE_BYTES_AT: usize = KEY_BYTES_AT + size_of::<u32>();
const HOMES_AT: usize = VALUE_BYTES_AT + 2 * size_of::<u32>(); // and a reserved word
const ENTRIES_AT: usize = HOMES_AT + size_of::<u64>();
const SEED_AT: usize = ENTRIES_AT + size_of::<u64>();
const CHECKSUM_AT: usize = SEED_AT + Seed::BYTES + 52;

const _: () = assert!(HEADER_BYTES == 128 && SEED_AT == 40 && CHECKSUM_AT == 124);

/// Homes for that many entries: a load of 0.92, at which 7 of 100 entries are not at home.
#[must_use]
pub const fn homes_for(entries: u64) -> u64 {
    // 15 slots a group: 100 entries for each 92 * 15.
    entries.saturating_mul(100) / (92 * GROUP_SLOTS as u64) + 1
}

/// Slots of a table of so many homes.
#[must_use]
pub const fn slots(homes: u64) -> u64 {
    homes.saturating_add(GROUPS_SPARE).saturating_mul(GROUP_SLOTS as u64)
}

/// Bytes that a table of so many homes takes, header included.
///
/// # Errors
/// [`Error::Sizes`] when no table can be of that size.
pub fn bytes(homes: u64, key_bytes: usize, value_bytes: usize) -> Result<u64, Error> {
    let fits = homes > 0
        && slots(homes) <= SLOTS_MAX
        && (1..=KEY_BYTES_MAX).contains(&key_bytes)
        && value_bytes <= VALUE_BYTES_MAX;
    if !fits {
        return Err(Error::Sizes { homes, entries: 0 });
    }
    // At most 2^32 slots of 4,160 bytes: no overflow.
    Ok(slots_at(homes) + slots(homes) * (key_bytes + value_bytes) as u64)
}

/// Where the slots begin.
#[must_use]
pub const fn slots_at(homes: u64) -> u64 {
    let groups = homes.saturating_add(GROUPS_SPARE).saturating_mul(GROUP_BYTES as u64);
    (HEADER_BYTES as u64).saturating_add(groups).div_ceil(SLOTS_ALIGN).saturating_mul(SLOTS_ALIGN)
}

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
    pub(crate) homes: u64,
    pub(crate) entries: u64,
    pub(crate) seed: Seed,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
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
        put(HOMES_AT, &self.homes.to_le_bytes());
        put(ENTRIES_AT, &self.entries.to_le_bytes());
        put(SEED_AT, &self.seed.to_bytes());
        let checksum = crc32c::crc32c(bytes.get(..CHECKSUM_AT).unwrap_or_default());
        if let Some(place) = bytes.last_chunk_mut() {
            *place = checksum.to_le_bytes();
        }
        bytes
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
            homes: long(bytes, HOMES_AT),
            entries: long(bytes, ENTRIES_AT),
            seed: Seed::from_bytes(
                bytes.get(SEED_AT..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 32]),
            ),
        };
        let reserved = [VALUE_BYTES_AT + 4..HOMES_AT, SEED_AT + Seed::BYTES..CHECKSUM_AT];
        let clear = reserved.into_iter().flatten().all(|at| bytes.get(at) == Some(&0));
        if header.entries > slots(header.homes) || !clear {
            return Err(Error::Sizes { homes: header.homes, entries: header.entries });
        }
        let (key, value) = (header.key_bytes as usize, header.value_bytes as usize);
        let expected = self::bytes(header.homes, key, value)?;
        if expected != area.len() as u64 {
            return Err(Error::Length { expected, found: area.len() as u64 });
        }
        Ok(header)
    }
}

/// The bytes at `at`; zeros where there are none.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn word(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}
