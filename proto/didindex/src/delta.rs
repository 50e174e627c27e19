//! `did.idx.<id>.delta`: what has changed since the index was built, as its readers see it.
//!
//! ```text
//! A live file (`table::live`): head | words | area. <id> is the id of the index, 16 hex digits.
//!
//! note in the head
//! offset size name
//!      0    8 id        of the index it belongs to
//!      8   32 seed      of the hash (`table::header`), the same as that of the index
//!     40   16 boot      the boot of the machine that wrote it, zeros where none is known
//!     56    8 reserved  0
//!
//! words
//!      0 bytes of the area that are published
//!      1 superseded: not 0 when another delta, or another index, has taken its place
//!      2 cursor: createdAt of the newest operation (unix ms)
//!      3 cursor: operations read, repeats left out
//!      4 slots written
//!      5 accounts that the index itself lacks
//!      6 whole: not 0 when all of it is durable and its writer has ended
//!      7 accounts that had more than one key here and one in the index itself
//!  8..16 0
//!   16.. buckets: place of the newest slot in the low half, marks in the high half; 0 none
//!
//! place  1 + offset in the area / 64, u32; 0 stands for none
//!
//! slot   64 bytes: an account's state, complete in itself
//!      0   15 did
//!     15    1 flags     as in the index (`crate::layout`); 64 there are periods
//!     16   32 x         of the signing key, 0 without one
//!     48    4 host      place of its name
//!     52    4 periods   place of its periods, for an account that had more than one key
//!     56    4 before    place of an older slot of the same bucket, always a lower one
//!     60    4 checksum  CRC32C of bytes 0..60
//! name   bytes u16 | UTF-8
//! periods
//!        count u32 | for each, oldest first, 41 bytes: from (unix ms) u48 | status as in flags
//!        u8 | key 34, zeros without one
//! ```
//!
//! **Look-up.** The hash of a DID (64 bits) has bucket `hash * buckets / 2^64` and mark
//! `2^(32 + hash modulo 32)`. A bucket without the mark ends the search at one cache line;
//! otherwise its slots are compared, the newest first, and the first that has the DID is the
//! answer. Readers ask here first and then the index, with one hash for both; as long as nothing is
//! published they have no bucket to look at.
//!
//! **Why nothing is seen torn and nothing goes back.** Slots, names and periods are pieces of the
//! area, written once. The bucket's word is stored last: a reader finds the account's former state
//! or all of the new one. What a bucket says is followed by newer states alone.
//!
//! **What survives.** The log beside it (`crate::log`) is the truth: every operation is durable
//! there before it is seen here, and the cursor is stored behind the slots it speaks of. Whoever
//! goes on with an index makes a new delta from the log. Pages of this file reach the disk when
//! the kernel likes, so after a crash of the machine it may be half there: a reader believes it
//! only in the boot in which it was written, or when it is whole.
//!
//! **Versions.** It has that of `table::live` and the one of the index whose id it has.

mod write;

use std::{fs::File, path::Path};

use table::{
    Live, Seed,
    live::{NOTE_BYTES, PIECE_ALIGN},
};

pub(crate) use write::supersede;
pub use write::{DeltaWriter, Room};

use crate::{
    Cursor, Error, KEY_BYTES, Key, Period, PlcDid, Status, beside,
    layout::{bytes_at, u16_at, u32_at},
    packed::{self, Packed},
};

pub(crate) const SUPERSEDED: usize = 1;
const CURSOR_MS: usize = 2;
const CURSOR_OPERATIONS: usize = 3;
const SLOTS: usize = 4;
const ADDED: usize = 5;
const WHOLE: usize = 6;
const ROTATED: usize = 7;
const BUCKETS: usize = 16;

const SLOT_BYTES: usize = 64;
const FLAGS_AT: usize = PlcDid::BYTES;
const X_AT: usize = FLAGS_AT + 1;
const HOST_AT: usize = X_AT + packed::X_BYTES;
const PERIODS_AT: usize = HOST_AT + 4;
const BEFORE_AT: usize = PERIODS_AT + 4;
const CHECKSUM_AT: usize = BEFORE_AT + 4;
const PERIOD_BYTES: usize = 6 + 1 + KEY_BYTES;

const _: () = assert!(CHECKSUM_AT + 4 == SLOT_BYTES && SLOT_BYTES == PIECE_ALIGN);

/// A delta, mapped for reading.
#[derive(Debug)]
pub(crate) struct Delta {
    live: Live,
    buckets: u64,
}

/// An account's state in a delta.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    area: &'a [u8],
    bytes: &'a [u8; SLOT_BYTES],
}

impl Delta {
    /// Maps the delta of the index of that id and seed; nothing if there is none, or none to be
    /// believed.
    pub(crate) fn open(index: &Path, id: u64, seed: Seed) -> Result<Option<Self>, Error> {
        let path = beside::delta(index, id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| Error::Io { doing: "open", path, source })?,
        };
        match Live::open(&file) {
            Ok(live) => Ok(Self::of(live, id, seed)),
            // What a crash of the machine left of it.
            Err(
                table::Error::NotLive { .. }
                | table::Error::HeaderChecksum { .. }
                | table::Error::Length { .. },
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn of(live: Live, id: u64, seed: Seed) -> Option<Self> {
        let note = live.note();
        let believed = bytes_at(note, 40) == boot_id() || live.word(WHOLE) != 0;
        let buckets = live.words().saturating_sub(BUCKETS) as u64;
        let ours = u64::from_le_bytes(bytes_at(note, 0)) == id
            && Seed::from_bytes(&bytes_at(note, 8)) == seed;
        (ours && believed).then_some(Self { live, buckets })
    }

    /// The state of an account that has changed, whose hash that is.
    #[inline]
    pub(crate) fn find(&self, did: &PlcDid, hash: u64) -> Option<Slot<'_>> {
        if self.live.is_empty() {
            return None;
        }
        let (bucket, mark) = bucket(hash, self.buckets);
        let word = self.live.word(bucket);
        if word & mark == 0 {
            return None;
        }
        let area = self.live.area();
        slots(area, word as u32).find(|slot| slot.did_bytes() == did.as_bytes())
    }

    /// The newest state of every account that has changed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.buckets as usize).flat_map(move |number| {
            let word = self.live.word(BUCKETS + number);
            let area = self.live.area();
            slots(area, word as u32).enumerate().filter_map(move |(at, slot)| {
                let newer = slots(area, word as u32).take(at);
                let first = newer.into_iter().all(|newer| newer.did_bytes() != slot.did_bytes());
                first.then_some(slot)
            })
        })
    }

    #[inline]
    pub(crate) fn superseded(&self) -> bool {
        self.live.word(SUPERSEDED) != 0
    }

    pub(crate) fn cursor(&self) -> Cursor {
        let created_ms = self.live.word(CURSOR_MS);
        Cursor { created_ms, operations: self.live.word(CURSOR_OPERATIONS) }
    }

    /// Slots written, the room for them, accounts added and accounts that came to have more than
    /// one key.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            slots: self.live.word(SLOTS),
            added: self.live.word(ADDED),
            rotated: self.live.word(ROTATED),
            bytes: self.live.area_bytes() as u64,
            bytes_used: self.live.area().len() as u64,
        }
    }

    /// Looks at every slot.
    ///
    /// # Errors
    /// [`Error::Delta`] at the first that is damaged.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        for number in 0..self.buckets as usize {
            let mut place = self.live.word(BUCKETS + number) as u32;
            let area = self.live.area();
            while place != 0 {
                let slot = Slot::at(area, place).filter(|slot| self.holds(slot, number, place));
                place = slot.ok_or(Error::Delta { place })?.before();
            }
        }
        Ok(())
    }

    fn hash(&self, did: &PlcDid) -> u64 {
        Seed::from_bytes(&bytes_at(self.live.note(), 8)).hash(did.as_bytes())
    }

    fn holds(&self, slot: &Slot<'_>, number: usize, place: u32) -> bool {
        let checksum = crc32c::crc32c(slot.bytes.get(..CHECKSUM_AT).unwrap_or_default());
        let (home, mark) = bucket(self.hash(&slot.did()), self.buckets);
        let host = u32_at(slot.bytes, HOST_AT);
        let rotated = u32_at(slot.bytes, PERIODS_AT) != 0;
        checksum == u32_at(slot.bytes, CHECKSUM_AT)
            && home == BUCKETS + number
            && self.live.word(home) & mark != 0
            && slot.before() < place
            && (host == 0) == slot.host().is_none()
            && rotated != slot.periods().is_empty()
    }
}

/// What a delta holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) slots: u64,
    pub(crate) added: u64,
    pub(crate) rotated: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_used: u64,
}

impl<'a> Slot<'a> {
    #[inline]
    fn at(area: &'a [u8], place: u32) -> Option<Self> {
        let bytes = piece(area, place)?.first_chunk()?;
        Some(Self { area, bytes })
    }

    #[inline]
    fn did_bytes(&self) -> &'a [u8] {
        self.bytes.get(..PlcDid::BYTES).unwrap_or_default()
    }

    pub(crate) fn did(&self) -> PlcDid {
        PlcDid::from_bytes(bytes_at(self.bytes, 0))
    }

    #[inline]
    pub(crate) fn packed(&self) -> Packed {
        let [flags] = bytes_at(self.bytes, FLAGS_AT);
        packed::unpack(&bytes_at(self.bytes, X_AT), flags)
    }

    pub(crate) fn host(&self) -> Option<&'a str> {
        let piece = piece(self.area, u32_at(self.bytes, HOST_AT))?;
        let name = piece.get(2..)?.get(..usize::from(u16_at(piece, 0)))?;
        std::str::from_utf8(name).ok()
    }

    /// The records of its periods; none for an account that always had one key.
    pub(crate) fn periods(&self) -> &'a [u8] {
        let Some(piece) = piece(self.area, u32_at(self.bytes, PERIODS_AT)) else { return &[] };
        let bytes = (u32_at(piece, 0) as usize).saturating_mul(PERIOD_BYTES);
        piece.get(4..).and_then(|rest| rest.get(..bytes)).unwrap_or_default()
    }

    fn before(&self) -> u32 {
        u32_at(self.bytes, BEFORE_AT)
    }
}

/// Takes the first of the records of periods off.
pub(crate) fn next_period(records: &mut &[u8]) -> Option<Period> {
    let (record, rest) = records.split_at_checked(PERIOD_BYTES)?;
    *records = rest;
    let [a, b, c, d, e, f, status] = bytes_at(record, 0);
    let from_ms = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    let key = match packed::status(status) {
        Status::UnknownKeyType => Key::UnknownType,
        Status::NoKey => Key::Missing,
        Status::Tombstoned => Key::Tombstone,
        _ => Key::Known(bytes_at(record, 7)),
    };
    Some(Period::new(from_ms, key))
}

/// The slots of a bucket from a place on, the newest first.
#[inline]
fn slots(area: &[u8], place: u32) -> impl Iterator<Item = Slot<'_>> {
    let mut place = place;
    std::iter::from_fn(move || {
        let slot = Slot::at(area, place)?;
        // Damage must not lead round in a ring.
        place = if slot.before() < place { slot.before() } else { 0 };
        Some(slot)
    })
}

/// What is at a place.
#[inline]
fn piece(area: &[u8], place: u32) -> Option<&[u8]> {
    area.get((place.checked_sub(1)? as usize).checked_mul(PIECE_ALIGN)?..)
}

/// The number of the word that is the bucket of a DID's hash, and its mark there.
#[inline]
fn bucket(hash: u64, buckets: u64) -> (usize, u64) {
    let home = ((u128::from(hash) * u128::from(buckets)) >> 64) as usize;
    (BUCKETS + home, 1 << (32 + hash % 32))
}

/// What tells this boot of the machine from others; zeros where the system does not say.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_le_bytes()
}

fn note(id: u64, seed: Seed) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    crate::layout::put(&mut note, 0, &id.to_le_bytes());
    crate::layout::put(&mut note, 8, &seed.to_bytes());
    crate::layout::put(&mut note, 40, &boot_id());
    note
}
