//! `did.idx.<id>.log`: the operations of the last three days, and all since the index was built.
//!
//! ```text
//! log = head (64) | records
//!
//! All integers little-endian. <id> is the id of the index, 16 hex digits.
//!
//! head
//! offset size name
//!      0    8 magic      "SVRNdlog"
//!      8    4 version    1
//!     12    4 reserved   0
//!     16    8 id         of the index it belongs to
//!     24   36 reserved   0
//!     60    4 checksum   CRC32C of bytes 0..60
//!
//! record: an operation of the directory
//!      0    4 checksum   CRC32C of what follows in the record
//!      4    2 bytes      length of the record, 46..=356
//!      6    1 flags      bits 0..2 key: 0 known, 1 none, 2 of unknown type, 3 tombstone;
//!                        4 it follows another; 8 the index itself knows it; 16 it is nullified
//!                        for good by one of which the log may know no more; others 0
//!      7   15 did
//!     22   16 name       the first half of its CID's digest
//!     38    8 created    when the directory accepted it, unix ms
//!     46   16 prev       the same of the operation it follows, if it does
//!          34 key        curve (1 K-256, 2 P-256) and SEC 1, compressed, if it is known
//!             host       the canonical name of the PDS, to the end of the record; may be empty
//! ```
//!
//! **What it is for.** An account can, for 72 hours, follow an older operation than its last, and
//! what lies between is then nullified. The index keeps what accounts are and not which operation
//! made them so; these records are enough to work it out anew ([`crate`] does not: it knows no
//! operations). The delta (`crate::delta`) is made from the log.
//!
//! **Order of writes.** Records are appended and synced before anything that follows from them is
//! seen. What a crash leaves behind the last whole record was never seen and is cut off by the
//! next writer. A record of which half the bytes are there fails its checksum.
//!
//! **Damage** in the middle ends the log there; the operations behind it are still in the
//! directory, and the cursor goes back with them.
//!
//! A reader refuses a version that it does not know. **Versions.** 1: as above.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    Error, HOST_BYTES_MAX, KEY_BYTES, Key, PlcDid, beside,
    layout::{bytes_at, put, u16_at, u32_at, u64_at},
};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"SVRNdlog";
/// The version written and read.
pub const VERSION: u32 = 1;

const HEAD_BYTES: usize = 64;
const HEAD_CHECKSUM_AT: usize = HEAD_BYTES - 4;
const FIXED_BYTES: usize = 46;
const NAME_BYTES: usize = 16;
const RECORD_BYTES_MAX: usize = FIXED_BYTES + NAME_BYTES + KEY_BYTES + HOST_BYTES_MAX;
const KEY_MASK: u8 = 3;
const FOLLOWS: u8 = 4;
const KNOWN: u8 = 8;
const NULLIFIED: u8 = 16;

const _: () = assert!(RECORD_BYTES_MAX == 356);

/// An operation, as far as its account's state and its place in the chain go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever keeps a log fills it in")]
pub struct Record<'a> {
    /// Whose it is.
    pub did: PlcDid,
    /// The first half of its CID's digest.
    pub name: [u8; NAME_BYTES],
    /// The same of the operation it follows.
    pub prev: Option<[u8; NAME_BYTES]>,
    /// When the directory accepted it (unix ms).
    pub created_ms: u64,
    /// The signing key it sets.
    pub key: Key,
    /// The PDS it sets, by its canonical name.
    pub host: Option<&'a str>,
    /// The index itself was built with it.
    pub known: bool,
    /// It is nullified, and kept to be recognised when it comes again.
    pub nullified: bool,
}

impl<'a> Record<'a> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let host = self.host.unwrap_or_default();
        if host.len() > HOST_BYTES_MAX {
            return Err(Error::HostName { bytes: host.len(), limit: HOST_BYTES_MAX });
        }
        let from = out.len();
        let mut flags = match self.key {
            Key::Known(_) => 0,
            Key::Missing => 1,
            Key::UnknownType => 2,
            Key::Tombstone => 3,
        };
        flags |= if self.prev.is_some() { FOLLOWS } else { 0 };
        flags |= if self.known { KNOWN } else { 0 };
        flags |= if self.nullified { NULLIFIED } else { 0 };
        // Checksum and length are filled in below.
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, flags]);
        out.extend_from_slice(self.did.as_bytes());
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(self.prev.as_ref().map_or(&[][..], |prev| prev));
        if let Key::Known(key) = &self.key {
            out.extend_from_slice(key);
        }
        out.extend_from_slice(host.as_bytes());
        let bytes = (out.len() - from) as u16;
        put(out, from + 4, &bytes.to_le_bytes());
        let checksum = crc32c::crc32c(out.get(from + 4..).unwrap_or_default());
        put(out, from, &checksum.to_le_bytes());
        Ok(())
    }

    /// Reads a record that is all of `bytes`; nothing if it is damaged.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        if crc32c::crc32c(bytes.get(4..)?) != u32_at(bytes, 0) {
            return None;
        }
        let [flags] = bytes_at(bytes, 6);
        let mut rest = bytes.get(FIXED_BYTES..)?;
        let mut take = |count: usize| {
            let (taken, more) = rest.split_at_checked(count)?;
            rest = more;
            Some(taken)
        };
        let prev = match flags & FOLLOWS {
            0 => None,
            _ => Some(bytes_at(take(NAME_BYTES)?, 0)),
        };
        let key = match flags & KEY_MASK {
            0 => Key::Known(bytes_at(take(KEY_BYTES)?, 0)),
            1 => Key::Missing,
            2 => Key::UnknownType,
            _ => Key::Tombstone,
        };
        let host = std::str::from_utf8(rest).ok()?;
        Some(Self {
            did: PlcDid::from_bytes(bytes_at(bytes, 7)),
            name: bytes_at(bytes, 22),
            prev,
            created_ms: u64_at(bytes, 38),
            key,
            host: (!host.is_empty()).then_some(host),
            known: flags & KNOWN != 0,
            nullified: flags & NULLIFIED != 0,
        })
    }
}

/// A log in the hands of its one writer, who holds the index's lock.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    path: PathBuf,
    /// It has not got its name yet.
    unnamed: bool,
    /// Behind the last record that is durable.
    bytes: u64,
    gathered: Vec<u8>,
}

impl LogWriter {
    /// Begins the log of the index that has, or will have, that id. It is one when
    /// [`LogWriter::publish`] gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(index: &Path, id: u64) -> Result<Self, Error> {
        let path = beside::log(index, id);
        let temporary = beside::temporary(&path);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(beside::io_error("create", &temporary))?;
        let mut head = [0; HEAD_BYTES];
        put(&mut head, 0, &MAGIC);
        put(&mut head, 8, &VERSION.to_le_bytes());
        put(&mut head, 16, &id.to_le_bytes());
        let checksum = crc32c::crc32c(head.get(..HEAD_CHECKSUM_AT).unwrap_or_default());
        put(&mut head, HEAD_CHECKSUM_AT, &checksum.to_le_bytes());
        Ok(Self { file, path, unnamed: true, bytes: 0, gathered: head.to_vec() })
    }

    /// Goes on with a log, cuts off what a crash left behind its last whole record, and says how
    /// many bytes that were. Every record goes to `each`, in order.
    ///
    /// # Errors
    /// [`Error::Io`], `NotFound` when there is none; [`Error::NotALog`], [`Error::Version`],
    /// [`Error::HeadChecksum`]; those of `each`.
    pub fn recover<E: From<Error>>(
        index: &Path,
        id: u64,
        mut each: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, u64), E> {
        let path = beside::log(index, id);
        let mut records = Records::open(index, id)?;
        while let Some(record) = records.next()? {
            each(record)?;
        }
        let bytes = records.bytes;
        let file = OpenOptions::new().write(true).open(&path);
        let mut file = file.map_err(beside::io_error("open", &path))?;
        let length = file.metadata().map_err(beside::io_error("open", &path))?.len();
        if length > bytes {
            file.set_len(bytes).map_err(beside::io_error("cut", &path))?;
        }
        file.seek(SeekFrom::Start(bytes)).map_err(beside::io_error("read", &path))?;
        let log = Self { file, path, unnamed: false, bytes, gathered: Vec::new() };
        Ok((log, length.saturating_sub(bytes)))
    }

    /// Gathers a record for the next [`LogWriter::commit`].
    ///
    /// # Errors
    /// [`Error::HostName`].
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), Error> {
        record.write(&mut self.gathered)
    }

    /// Bytes that [`LogWriter::commit`] would write.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.gathered.len()
    }

    /// Writes what has gathered. It is durable after [`LogWriter::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&mut self) -> Result<(), Error> {
        let written = self.file.write_all(&self.gathered);
        if written.is_err() {
            // Half a record would be cut off by the next writer, too; so it need not wait for it.
            let _ = self.file.set_len(self.bytes);
        }
        written.map_err(beside::io_error("write", &self.path))?;
        self.bytes += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    /// Makes durable what has gathered.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included. It is final: what a failed sync has left on the disk
    /// is not known.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.write()?;
        self.file.sync_data().map_err(beside::io_error("sync", &self.path))
    }

    /// Makes durable what has gathered since it was begun, and gives it its name.
    ///
    /// # Errors
    /// As [`LogWriter::commit`].
    pub fn publish(&mut self) -> Result<(), Error> {
        self.commit()?;
        let temporary = beside::temporary(&self.path);
        fs::rename(&temporary, &self.path).map_err(beside::io_error("rename", &temporary))?;
        self.unnamed = false;
        Ok(())
    }

    /// Length of the log, as far as it is written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if self.unnamed {
            // What stays is removed by the next writer.
            let _ = fs::remove_file(beside::temporary(&self.path));
        }
    }
}

/// Reads a log up to its last whole record.
#[derive(Debug)]
pub struct Records {
    file: BufReader<File>,
    path: PathBuf,
    record: Vec<u8>,
    /// Behind the last whole record.
    bytes: u64,
}

impl Records {
    /// Opens the log of the index of that id.
    ///
    /// # Errors
    /// [`Error::Io`], `NotFound` when there is none; [`Error::NotALog`], [`Error::Version`],
    /// [`Error::HeadChecksum`].
    pub fn open(index: &Path, id: u64) -> Result<Self, Error> {
        let path = beside::log(index, id);
        let file = File::open(&path).map_err(beside::io_error("open", &path))?;
        let mut file = BufReader::with_capacity(256 << 10, file);
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let read = (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head);
        read.map_err(beside::io_error("read", &path))?;
        let magic = bytes_at(&head, 0);
        if magic != MAGIC {
            return Err(Error::NotALog { found: magic });
        }
        let version = u32_at(&head, 8);
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let computed = crc32c::crc32c(head.get(..HEAD_CHECKSUM_AT).unwrap_or_default());
        let found = u32_at(&head, HEAD_CHECKSUM_AT);
        if head.len() < HEAD_BYTES || computed != found || u64_at(&head, 16) != id {
            return Err(Error::HeadChecksum { found, computed });
        }
        Ok(Self { file, path, record: Vec::new(), bytes: HEAD_BYTES as u64 })
    }

    /// The next record; none at the end, or where the rest is torn or damaged.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[expect(clippy::should_implement_trait, reason = "a record borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        self.record.clear();
        let io_error = |source| Error::Io { doing: "read", path: self.path.clone(), source };
        if !read(&mut self.file, &mut self.record, 6).map_err(io_error)? {
            return Ok(None);
        }
        let bytes = usize::from(u16_at(&self.record, 4));
        if !(FIXED_BYTES..=RECORD_BYTES_MAX).contains(&bytes)
            || !read(&mut self.file, &mut self.record, bytes - 6).map_err(io_error)?
        {
            return Ok(None);
        }
        let record = Record::read(&self.record);
        self.bytes += if record.is_some() { bytes as u64 } else { 0 };
        Ok(record)
    }

    /// Behind the last whole record that was read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.bytes
    }
}

/// Reads `count` bytes more; whether there were so many.
fn read(file: &mut impl Read, to: &mut Vec<u8>, count: usize) -> io::Result<bool> {
    Ok(file.take(count as u64).read_to_end(to)? == count)
}

/// Reads any bytes as a record.
pub fn fuzz_record(data: &[u8]) {
    if let Some(record) = Record::read(data) {
        let mut again = Vec::new();
        let _ = record.write(&mut again);
    }
}
