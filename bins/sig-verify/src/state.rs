//! `--state FILE`: what is known of accounts, kept for the next run.
//!
//! Where no archive is behind that could say it. The file is written and synced before a mark goes
//! on, so it is never behind what is durable at the other end of the line. It may be ahead of that:
//! what was judged and then lost with a stage comes again, and must be judged as it was. So each
//! change is kept with what was known before it, and those of the last [`RECENT_BYTES`] are held
//! against what comes in the next run ([`Recent`]). An account whose repository was fetched among
//! them is as it was before, unless that run ended in order: the `repo` frame may be lost, and is made
//! again.
//!
//! # Byte table
//!
//! ```text
//! file    = magic batch*
//! magic   = "SVRNsta1"                           the last byte is the version
//! batch   = u32 length | u32 crc32c | payload    the checksum is over length and payload
//! payload = u8 kind | entry*
//! entry   = did | account                        kind 0: what is known of the account
//!         | did | account | account              kind 1: what was known, and what is
//!                                                kind 2: no entry; all was handed on in order
//! did     = u8 0 | 15 bytes                      a did:plc
//!         | u8 1 | u16 length | text             any other
//! account = u8 bits | head? | u64?               bit 0: a head; bit 1: the host that said that
//!                                                the account is inactive, by a hash of its name;
//!                                                bit 2: the head is that of a fetched repository
//! head    = u64 rev | 36 bytes CID of the commit | 36 bytes CID of the tree
//! ```
//!
//! All integers are little-endian. The later entry counts. A kind that is not known is an error.
//!
//! What damage is survived: a file that ends in the middle of a batch, or in one whose checksum
//! does not hold, is cut off there. When the file has outgrown what is known by far, it is written
//! anew beside itself, synced, and takes its place by a rename. One tool at a time writes it: a
//! lock on the file dies with the process.
//!
//! # Versions
//!
//! * `1`: the first.

mod codec;
mod recent;

pub(crate) use recent::{Again, Recent};

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::heads::{Account, Heads};

/// What a file begins with.
const MAGIC: [u8; 8] = *b"SVRNsta1";

/// Length and checksum.
const BATCH_HEADER_BYTES: usize = 8;

/// The longest batch. Changes are written when they have come to a quarter of it, mark or no mark.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// How much of the file's end is held against what comes again: some 300,000 changes, which is
/// more than pipes, rings and the log of an archive hold between two marks.
const RECENT_BYTES: u64 = 64 << 20;

/// What the changes may come to, beside twice what is known, before the file is written anew.
const CHANGES_BYTES: u64 = 2 * RECENT_BYTES;

const KNOWN: u8 = 0;
const CHANGED: u8 = 1;
const HANDED_ON: u8 = 2;

/// The open file.
#[derive(Debug)]
pub(crate) struct State {
    file: File,
    path: PathBuf,
    /// Changes since the last save, as a batch without its header.
    changes: Vec<u8>,
    bytes: u64,
    /// How much of it says what is known, as far as it was written at once.
    known_bytes: u64,
}

impl State {
    /// Opens a file, or begins one, and learns what it says.
    ///
    /// # Errors
    /// If it is none, is of another version, is in use, or what the system says.
    pub(crate) fn open(path: &Path, heads: &mut Heads) -> anyhow::Result<(State, Recent)> {
        let name = || path.display().to_string();
        let mut file = open(path).with_context(name)?;
        lock(&file).with_context(name)?;
        let length = file.metadata().with_context(name)?.len();
        let mut recent = Recent::default();
        let read = read(&mut file, length, heads, &mut recent).with_context(name)?;
        let (bytes, known_bytes) = match read {
            Some(read) => read,
            None => (begin(&mut file).with_context(name)?, 0),
        };
        if bytes < length {
            file.set_len(bytes).with_context(name)?;
        }
        file.seek(SeekFrom::Start(bytes)).with_context(name)?;
        let (path, changes) = (path.to_owned(), vec![CHANGED]);
        Ok((State { file, path, changes, bytes, known_bytes }, recent))
    }

    /// Notes a change. It is in the file after the next [`State::save`].
    pub(crate) fn note(&mut self, did: &str, before: &Account, after: &Account) {
        codec::put_did(&mut self.changes, did);
        codec::put_account(&mut self.changes, before);
        codec::put_account(&mut self.changes, after);
    }

    /// Writes the changes, without a mark, if there are many.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn relieve(&mut self) -> anyhow::Result<()> {
        if self.changes.len() >= BATCH_BYTES_MAX / 4 { self.write() } else { Ok(()) }
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// What the system says: then nothing more may be passed on.
    pub(crate) fn save(&mut self, heads: &Heads) -> anyhow::Result<()> {
        if self.changes.len() > 1 {
            self.write()?;
            self.file.sync_data().with_context(|| self.path.display().to_string())?;
        }
        if self.bytes > 2 * self.known_bytes + CHANGES_BYTES {
            self.renew(heads).with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }

    /// Notes that the run ended in order, after the last save.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let name = || self.path.display().to_string();
        put_batch(&mut self.file, &[HANDED_ON]).with_context(name)?;
        self.file.sync_data().with_context(name)
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let written = put_batch(&mut self.file, &self.changes);
        self.changes.truncate(1);
        self.bytes += written.with_context(|| self.path.display().to_string())?;
        Ok(())
    }

    /// Writes what is known, and the recent changes behind it, to a new file that takes the place
    /// of this one.
    fn renew(&mut self, heads: &Heads) -> anyhow::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        let mut file = open(&beside)?;
        lock(&file)?;
        file.set_len(0)?;
        let mut bytes = begin(&mut file)?;
        let mut batch = vec![KNOWN];
        for (did, account) in heads.iter() {
            codec::put_did(&mut batch, &did);
            codec::put_account(&mut batch, &account);
            if batch.len() >= BATCH_BYTES_MAX / 4 {
                bytes += put_batch(&mut file, &batch)?;
                batch.truncate(1);
            }
        }
        bytes += put_batch(&mut file, &batch)?;
        let known_bytes = bytes;
        bytes += self.copy_recent(&mut file)?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        (self.file, self.bytes, self.known_bytes) = (file, bytes, known_bytes);
        Ok(())
    }

    /// Copies the batches of changes at the end of the file.
    fn copy_recent(&mut self, to: &mut File) -> anyhow::Result<u64> {
        self.file.seek(SeekFrom::Start(MAGIC.len() as u64))?;
        let mut batches = Batches::of(&self.file, self.bytes);
        let mut copied = 0;
        while batches.next()? {
            if batches.payload.first() == Some(&CHANGED) && batches.is_recent() {
                copied += put_batch(to, &batches.payload)?;
            }
        }
        Ok(copied)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn lock(file: &File) -> anyhow::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("in use by another sig-verify; each has a state file of its own")
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn begin(file: &mut File) -> std::io::Result<u64> {
    file.write_all(&MAGIC)?;
    Ok(MAGIC.len() as u64)
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

fn put_batch(file: &mut File, payload: &[u8]) -> std::io::Result<u64> {
    // Never over the limit of a batch.
    let length = (payload.len() as u32).to_le_bytes();
    let mut header = [0; BATCH_HEADER_BYTES];
    let (first, second) = header.split_at_mut(4);
    first.copy_from_slice(&length);
    second.copy_from_slice(&checksum(length, payload).to_le_bytes());
    file.write_all(&header)?;
    file.write_all(payload)?;
    Ok((BATCH_HEADER_BYTES + payload.len()) as u64)
}

/// Reads a whole file; how much of it is whole, and how much of that says what is known. Nothing,
/// if not even its beginning was written.
fn read(
    file: &mut File,
    length: u64,
    heads: &mut Heads,
    recent: &mut Recent,
) -> anyhow::Result<Option<(u64, u64)>> {
    let mut magic = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        return Ok(None);
    }
    anyhow::ensure!(
        magic == MAGIC,
        "not a state file of this version of sig-verify (it has to begin with SVRNsta1); name \
         another file"
    );
    let mut batches = Batches::of(file, length);
    let mut known_bytes = MAGIC.len() as u64;
    let mut unhealed: HashMap<Box<str>, Account> = HashMap::new();
    while batches.next()? {
        match batches.payload.split_first() {
            Some((&KNOWN, entries)) => {
                codec::read(entries, |did, account| heads.put(did, account))?;
                known_bytes = batches.at;
            }
            Some((&CHANGED, entries)) => {
                let is_recent = batches.is_recent();
                codec::read_changes(entries, |did, before, after| {
                    heads.put(did, after);
                    let is_healed = after.healed && after.head != before.head;
                    if is_recent && is_healed {
                        unhealed.entry(did.into()).or_insert(before);
                    } else if is_recent {
                        recent.put(did, before, after);
                    }
                })?;
            }
            Some((&HANDED_ON, [])) => unhealed.clear(),
            _ => anyhow::bail!("a batch of a kind that this version does not know"),
        }
    }
    for (did, before) in unhealed {
        let away = heads.get(&did).away;
        heads.put(&did, Account { away, ..before });
    }
    Ok(Some((batches.at, known_bytes)))
}

/// Goes through the batches of a file, up to the last whole one.
struct Batches<'f> {
    input: BufReader<&'f File>,
    /// The end of the last whole batch.
    at: u64,
    length: u64,
    payload: Vec<u8>,
}

impl<'f> Batches<'f> {
    /// From behind the magic on, where `file` has to stand.
    fn of(file: &'f File, length: u64) -> Batches<'f> {
        let input = BufReader::with_capacity(1 << 20, file);
        Batches { input, at: MAGIC.len() as u64, length, payload: Vec::new() }
    }

    /// Whether the batch that was read last is near enough to the end.
    fn is_recent(&self) -> bool {
        self.at + RECENT_BYTES >= self.length
    }

    /// Reads the next one into `payload`, if it is whole.
    fn next(&mut self) -> std::io::Result<bool> {
        let mut header = [0; BATCH_HEADER_BYTES];
        if !whole(self.input.read_exact(&mut header))? {
            return Ok(false);
        }
        let [a, b, c, d, e, f, g, h] = header;
        let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if bytes > BATCH_BYTES_MAX {
            return Ok(false);
        }
        self.payload.resize(bytes, 0);
        if !whole(self.input.read_exact(&mut self.payload))? {
            return Ok(false);
        }
        if checksum([a, b, c, d], &self.payload) != u32::from_le_bytes([e, f, g, h]) {
            return Ok(false);
        }
        self.at += (BATCH_HEADER_BYTES + bytes) as u64;
        Ok(true)
    }
}

/// Whether there was enough to read.
fn whole(read: std::io::Result<()>) -> std::io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
