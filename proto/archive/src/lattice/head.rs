//! The head of a lattice, see [`super`].

use std::path::PathBuf;

use table::{Words, WordsMut};

use crate::error::{Cause, Damage};
use crate::folder::{Folder, unfinished};
use crate::{Error, disk};

const MAGIC: [u8; 8] = *b"SVRNlat1";
const HEAD_BYTES: usize = 72;
const HEAD_WORDS: usize = HEAD_BYTES / 8;

/// A word that changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Ended = 3,
    Live = 4,
    Segment = 5,
    Leaves = 6,
    Settled = 7,
    Accounts = 8,
}

impl Field {
    const ALL: [Field; 6] =
        [Field::Ended, Field::Live, Field::Segment, Field::Leaves, Field::Settled, Field::Accounts];

    /// A word that says this.
    fn word(self, value: u64) -> u64 {
        let mut bytes = [self as u8; 9];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        value & VALUE | u64::from(crc as u16 ^ (crc >> 16) as u16) << VALUE_BITS
    }

    /// What a word says; `None` if it is damaged.
    fn value(self, word: u64) -> Option<u64> {
        let value = word & VALUE;
        (self.word(value) == word).then_some(value)
    }
}

/// Bits of a word that changes which say something; those above are their check.
const VALUE_BITS: u32 = 48;
const VALUE: u64 = (1 << VALUE_BITS) - 1;

fn bytes_of(base: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&u64::from(base).to_le_bytes());
    bytes.extend_from_slice(&u64::from(crc32c::crc32c(&bytes)).to_le_bytes());
    bytes.extend(Field::ALL.iter().flat_map(|field| field.word(0).to_le_bytes()));
    bytes
}

/// A head as a reader has it.
#[derive(Debug)]
pub(crate) struct Head {
    words: Words,
    pub(crate) path: PathBuf,
    /// The stamp of the base.
    pub(crate) base: u32,
}

impl Head {
    /// Opens the head; `None` if there is none.
    pub(crate) fn open(folder: &Folder) -> Result<Option<Head>, Error> {
        let path = folder.lattice();
        let file = match disk::open(&path) {
            Err(error) if error.is_gone() => return Ok(None),
            other => other?,
        };
        let length = disk::len(&file, &path)?;
        if length != HEAD_BYTES as u64 {
            return Err(Damage::at(&path, length, Cause::Truncated).into());
        }
        let words = Words::open(file, HEAD_WORDS);
        let words = words.map_err(|source| Error::io(&path, "map", source))?;
        let base = read(&words).map_err(|cause| Damage::at(&path, 0, cause))?;
        let head = Head { words, path, base };
        Field::ALL.iter().try_for_each(|field| head.get(*field).map(drop))?;
        Ok(Some(head))
    }

    /// What a word says.
    pub(crate) fn get(&self, field: Field) -> Result<u64, Error> {
        let at = field as usize;
        let damaged = || Damage::at(&self.path, at as u64 * 8, Cause::Checksum);
        Ok(field.value(self.words.get(at)).ok_or_else(damaged)?)
    }

    pub(crate) fn stamp(&self, field: Field) -> Result<u32, Error> {
        Ok(self.get(field)? as u32)
    }

    /// Whether the writer keeps another by now, or is making one. A word for it that is damaged is
    /// none to rely on either.
    pub(crate) fn has_ended(&self) -> bool {
        Field::Ended.value(self.words.get(Field::Ended as usize)) != Some(0)
    }
}

/// The stamp of the base.
fn read(words: &Words) -> Result<u32, Cause> {
    let [magic, base, crc] = [0, 1, 2].map(|at| words.get(at));
    if magic != u64::from_le_bytes(MAGIC) {
        return Err(Cause::Magic);
    }
    let covered = [magic.to_le_bytes(), base.to_le_bytes()].concat();
    if u64::from(crc32c::crc32c(&covered)) != crc {
        return Err(Cause::Checksum);
    }
    u32::try_from(base).map_err(|_| Cause::Form("head"))
}

/// A head as the writer has it.
#[derive(Debug)]
pub(crate) struct HeadMut {
    words: WordsMut,
    path: PathBuf,
}

impl HeadMut {
    /// Begins one for this base, under a name that counts for nothing until [`HeadMut::publish`].
    pub(crate) fn begin(folder: &Folder, base: u32) -> Result<HeadMut, Error> {
        let path = unfinished(&folder.lattice());
        let file = disk::create(&path)?;
        disk::write(&file, &path, &bytes_of(base))?;
        HeadMut::of(file, path)
    }

    /// Goes on with the one that is there, which can be read.
    pub(crate) fn resume(folder: &Folder) -> Result<HeadMut, Error> {
        let path = folder.lattice();
        HeadMut::of(disk::open_write(&path)?, path)
    }

    fn of(file: std::fs::File, path: PathBuf) -> Result<HeadMut, Error> {
        let words = WordsMut::open(file, HEAD_WORDS);
        let mut words = words.map_err(|source| Error::io(&path, "map", source))?;
        disk::take_room(&mut words, &path, 0)?;
        Ok(HeadMut { words, path })
    }

    /// The stamp of the live files; 0 where that is damaged.
    pub(crate) fn live(&self) -> u32 {
        let word = self.words.as_words().get(Field::Live as usize);
        Field::Live.value(word).unwrap_or(0) as u32
    }

    pub(crate) fn set(&mut self, field: Field, value: u64) {
        // The one page has its room since this was opened.
        let _ = self.words.set(field as usize, field.word(value));
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        disk::sync_words(&self.words, &self.path)
    }

    /// Gives it its name, durably.
    pub(crate) fn publish(&mut self, folder: &Folder) -> Result<(), Error> {
        self.sync()?;
        let path = folder.lattice();
        folder.publish(&self.path, &path)?;
        self.path = path;
        Ok(())
    }
}
