//! The bytes of `did.idx`.
//!
//! ```text
//! did.idx = head (4096) | accounts | hosts | names | rotated | periods | keys | far | cursor
//!
//! All integers little-endian. Sections in this order, each at the next multiple of 64 behind the
//! one before it, zeros between; the file ends with the last.
//!
//! head
//! offset size name
//!      0    8 magic     "SVRNdidx"
//!      8    4 version   2
//!     12    4 sections  8
//!     16    8 bytes     length of the file
//!     24    8 id        random, other for each file: what lies beside it names it by this
//!     32  192 for each section: offset u64 | bytes u64 | CRC32C of its bytes u32 | 0 u32
//!    224 3868 reserved  0
//!   4092    4 checksum  CRC32C of bytes 0..4092
//!
//! accounts  a hash table (`table::header`) of 15-byte keys and 35-byte values: 50 bytes a slot
//!      0   15 did       the 24 characters of a did:plc as the bytes they stand for
//!     15   32 x         x of the signing key's point, 0 without a key
//!     47    1 flags     bits 0..3 status: 0 active, 1 no-pds, 2 unknown-key-type, 3 no-key,
//!                       4 tombstoned; 8 curve is P-256 (else K-256); 16 y is odd; 32 there is a
//!                       key; 64 the account is in `rotated`; 128 always 0
//!     48    2 host      number in `hosts`; 0xffff none; 0xfffe in `far`
//!
//! hosts     for each host 16 bytes: accounts on it u64 | offset in `names` u32 | bytes u32
//! names     the hosts' canonical names, UTF-8, one behind the other
//! rotated   8 bytes for each account that had more than one key, by slot:
//!           slot in `accounts` u32 | its first period u32
//! periods   10 bytes each, an account's oldest first: from (unix ms) u47 | last of its account u1
//!           | key u32: a number in `keys`, or 0xffffffff the account's present key, 0xfffffffe
//!           none, 0xfffffffd one of unknown type, 0xfffffffc given up
//! keys      34 bytes for each former key: curve (1 K-256, 2 P-256) | SEC 1, compressed; the same
//!           may be there more than once
//! far       8 bytes by slot: slot in `accounts` u32 | number in `hosts` u32
//! cursor    createdAt of the newest operation (unix ms) u64 | operations read u64
//! ```
//!
//! **Why so.** A look-up touches one slot. What few accounts have is outside of it and found by
//! the slot's number. Former keys are interned because for years one host signed for all of its
//! accounts with one key; they are so as far as the builder's memory goes. All but `rotated` and
//! `far` is written as it comes, in memory that does not grow with the accounts. Hosts have 16-bit numbers in the order in which
//! they came; anyone can register endless names, so from number 65,534 on an account's host is in
//! `far`, which costs eight bytes and a binary search and harms only who came that late. An
//! account that never changed its key has no period: its one key counts from the beginning of
//! time (`crate::keys_at`).
//!
//! **What is checked.** On opening: magic, version, the head's checksum, that the sections follow
//! each other and fill the file, and the table's own header. `DidIndex::verify` checks every
//! section's checksum and the zeros between them; as the head holds those checksums, its own
//! stands for the whole file. The rest is looked up with bounds checked: damage gives a wrong
//! answer or none, never a fault.
//!
//! **Writing.** The cursor is the last section, and the file gets its name only when it is synced
//! (`table::file`): a `did.idx` holds all that its cursor speaks of.
//!
//! A reader refuses a version that it does not know; the file is built again from the operations.
//!
//! **Versions.** 2: as above. 1: without an id, with another table, periods in
//! the order of slots.

use crate::Error;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVRNdidx";
/// The version written and read.
pub const VERSION: u32 = 2;
/// Bytes of the head.
pub const HEAD_BYTES: usize = 4096;
/// Bytes of a slot's value.
pub const VALUE_BYTES: usize = 35;

/// The sections' names, in order.
pub const SECTIONS: [&str; 8] =
    ["accounts", "hosts", "names", "rotated", "periods", "keys", "far", "cursor"];

/// The places of the sections in [`SECTIONS`] and in [`Head::sections`].
pub(crate) const ACCOUNTS: usize = 0;
pub(crate) const HOSTS: usize = 1;
pub(crate) const NAMES: usize = 2;
pub(crate) const ROTATED: usize = 3;
pub(crate) const PERIODS: usize = 4;
pub(crate) const KEYS: usize = 5;
pub(crate) const FAR: usize = 6;
pub(crate) const CURSOR: usize = 7;

pub(crate) const HOST_RECORD_BYTES: usize = 16;
pub(crate) const ROTATED_RECORD_BYTES: usize = 8;
pub(crate) const PERIOD_RECORD_BYTES: usize = 10;
pub(crate) const FAR_RECORD_BYTES: usize = 8;
pub(crate) const CURSOR_BYTES: usize = 16;

/// What the length of each section is a multiple of.
const RECORD_BYTES: [usize; SECTIONS.len()] = [
    1,
    HOST_RECORD_BYTES,
    1,
    ROTATED_RECORD_BYTES,
    PERIOD_RECORD_BYTES,
    crate::KEY_BYTES,
    FAR_RECORD_BYTES,
    CURSOR_BYTES,
];

pub(crate) const STATUS_MASK: u8 = 7;
pub(crate) const FLAG_P256: u8 = 8;
pub(crate) const FLAG_ODD: u8 = 16;
pub(crate) const FLAG_KEY: u8 = 32;
pub(crate) const FLAG_ROTATED: u8 = 64;

pub(crate) const HOST_NONE: u16 = 0xffff;
pub(crate) const HOST_FAR: u16 = 0xfffe;

pub(crate) const PERIOD_PRESENT: u32 = 0xffff_ffff;
pub(crate) const PERIOD_MISSING: u32 = 0xffff_fffe;
pub(crate) const PERIOD_UNKNOWN: u32 = 0xffff_fffd;
pub(crate) const PERIOD_TOMBSTONE: u32 = 0xffff_fffc;
/// Times have 47 bits.
pub(crate) const FROM_MS_MAX: u64 = PERIOD_LAST - 1;
/// Beside the time: the period is the last of its account.
pub(crate) const PERIOD_LAST: u64 = 1 << 47;

const ALIGN: u64 = 64;
const VERSION_AT: usize = MAGIC.len();
const COUNT_AT: usize = VERSION_AT + size_of::<u32>();
const BYTES_AT: usize = COUNT_AT + size_of::<u32>();
const ID_AT: usize = BYTES_AT + size_of::<u64>();
const TABLE_AT: usize = ID_AT + size_of::<u64>();
const PLACE_BYTES: usize = 24;
const CHECKSUM_AT: usize = HEAD_BYTES - size_of::<u32>();

const _: () = assert!(TABLE_AT + SECTIONS.len() * PLACE_BYTES == 224);
const _: () = assert!(crate::PlcDid::BYTES + VALUE_BYTES == 50);

/// Up to where an index has read the directory's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "whoever builds an index fills it in")]
pub struct Cursor {
    /// createdAt of the newest operation, unix milliseconds.
    pub created_ms: u64,
    /// Operations read, repeats left out.
    pub operations: u64,
}

impl Cursor {
    pub(crate) fn to_bytes(self) -> [u8; CURSOR_BYTES] {
        let mut bytes = [0; CURSOR_BYTES];
        put(&mut bytes, 0, &self.created_ms.to_le_bytes());
        put(&mut bytes, 8, &self.operations.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { created_ms: u64_at(bytes, 0), operations: u64_at(bytes, 8) }
    }
}

/// Where a section lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// Where the section behind one that ends there begins.
pub(crate) fn next_offset(end: u64) -> u64 {
    end.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX)
}

/// The first page of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) sections: [Place; SECTIONS.len()],
}

impl Head {
    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.sections.last().map_or(0, Place::end)
    }

    pub(crate) fn write(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        put(&mut out, 0, &MAGIC);
        put(&mut out, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut out, COUNT_AT, &(SECTIONS.len() as u32).to_le_bytes());
        put(&mut out, BYTES_AT, &self.bytes().to_le_bytes());
        put(&mut out, ID_AT, &self.id.to_le_bytes());
        for (number, place) in self.sections.iter().enumerate() {
            let at = TABLE_AT + number * PLACE_BYTES;
            put(&mut out, at, &place.offset.to_le_bytes());
            put(&mut out, at + 8, &place.bytes.to_le_bytes());
            put(&mut out, at + 16, &place.checksum.to_le_bytes());
        }
        let checksum = crc32c::crc32c(out.get(..CHECKSUM_AT).unwrap_or_default());
        put(&mut out, CHECKSUM_AT, &checksum.to_le_bytes());
        out
    }

    /// Reads and checks the head of a file of `found` bytes.
    pub(crate) fn read(head: &[u8], found: u64) -> Result<Self, Error> {
        let magic = bytes_at(head, 0);
        if magic != MAGIC {
            return Err(Error::NotAnIndex { found: magic });
        }
        let short = Error::Length { expected: HEAD_BYTES as u64, found };
        let head: &[u8; HEAD_BYTES] = head.first_chunk().ok_or(short)?;
        let version = u32_at(head, VERSION_AT);
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let checksum = u32_at(head, CHECKSUM_AT);
        let computed = crc32c::crc32c(head.get(..CHECKSUM_AT).unwrap_or_default());
        if checksum != computed {
            return Err(Error::HeadChecksum { found: checksum, computed });
        }
        let mut sections = [Place::default(); SECTIONS.len()];
        let mut offset = HEAD_BYTES as u64;
        for (number, section) in sections.iter_mut().enumerate() {
            let at = TABLE_AT + number * PLACE_BYTES;
            *section = Place {
                offset: u64_at(head, at),
                bytes: u64_at(head, at + 8),
                checksum: u32_at(head, at + 16),
            };
            let record = RECORD_BYTES.get(number).map_or(1, |bytes| *bytes as u64);
            let fits = section.offset == offset
                && section.bytes.is_multiple_of(record)
                && section.end() <= found;
            if !fits {
                return Err(Error::Section {
                    section: SECTIONS.get(number).copied().unwrap_or_default(),
                    offset: section.offset,
                    bytes: section.bytes,
                });
            }
            offset = next_offset(section.end());
        }
        let head = Self { id: u64_at(head, ID_AT), sections };
        if found != head.bytes() {
            return Err(Error::Length { expected: head.bytes(), found });
        }
        Ok(head)
    }
}

/// Writes `field` at `at`, if there is room.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// The bytes at `at`; zeros where there are none.
#[inline]
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// The number at `at`; zero where there is none.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, at))
}

/// The number at `at`; zero where there is none.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

/// The number at `at`; zero where there is none.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}
