//! The manifest: what version the archive is of, and the key of its identities.
//!
//! Lines of text, each ended by a newline:
//!
//! ```text
//! sovereign archive 1
//! key 64 hexadecimal digits
//! crc 8 hexadecimal digits: CRC-32C of every byte before this line
//! ```
//!
//! A reader ignores lines between the first and the last that it does not know. The manifest is
//! written once and replaced by rename. Logs and segments repeat the key in their heads, so a
//! manifest that is lost or damaged is made again from them.

use std::io::Read as _;

use data_encoding::HEXLOWER;

use crate::error::{Cause, Damage};
use crate::folder::{Folder, unfinished};
use crate::head::{HEAD_BYTES, Head, LOG_MAGIC, SEGMENT_MAGIC};
use crate::{Error, disk};

/// The newest version of the archive's layout.
pub(crate) const VERSION: u32 = 1;
/// More than any manifest has.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
const FIRST_WORDS: &str = "sovereign archive ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) key: [u8; 32],
}

impl Manifest {
    /// Reads the manifest; `None` if there is none.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Manifest>, Error> {
        let path = folder.manifest();
        let file = match disk::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MANIFEST_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::io(&path, "read", source))?;
        let damaged = |cause| Error::Damaged(Damage::at(&path, 0, cause));
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged(Cause::Magic))?;
        let version = text
            .strip_prefix(FIRST_WORDS)
            .and_then(|rest| rest.lines().next())
            .and_then(|word| word.parse::<u32>().ok())
            .ok_or_else(|| damaged(Cause::Magic))?;
        if version > VERSION {
            return Err(Error::Version { path: path.clone(), found: version, known: VERSION });
        }
        let (covered, crc) = text.rsplit_once("crc ").ok_or_else(|| damaged(Cause::Truncated))?;
        let sum = crc.strip_suffix('\n').and_then(|crc| u32::from_str_radix(crc, 16).ok());
        if sum != Some(crc32c::crc32c(covered.as_bytes())) {
            return Err(damaged(Cause::Checksum));
        }
        let key = covered
            .lines()
            .find_map(|line| line.strip_prefix("key "))
            .and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok())
            .and_then(|key| key.try_into().ok());
        key.map(|key| Some(Manifest { key })).ok_or_else(|| damaged(Cause::NoPart("identity key")))
    }

    /// Writes the manifest, durably.
    pub(crate) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let path = folder.manifest();
        let covered = format!("{FIRST_WORDS}{VERSION}\nkey {}\n", HEXLOWER.encode(&self.key));
        let text = format!("{covered}crc {:08x}\n", crc32c::crc32c(covered.as_bytes()));
        let unfinished = unfinished(&path);
        let file = disk::create(&unfinished)?;
        disk::write(&file, &unfinished, text.as_bytes())?;
        disk::sync(&file, &unfinished)?;
        folder.publish(&unfinished, &path)
    }

    /// The manifest of a folder that is going to be written: the one that is there, the one that
    /// its newest log or segment tells of, or a new one.
    pub(crate) fn read_or_make(folder: &Folder) -> Result<Manifest, Error> {
        let damage = match Manifest::read(folder) {
            Ok(Some(manifest)) => return Ok(manifest),
            Ok(None) => None,
            Err(error @ Error::Damaged(_)) => Some(error),
            Err(error) => return Err(error),
        };
        let manifest = match (key_in_heads(folder)?, damage) {
            (Some(key), _) => Manifest { key },
            (None, Some(damage)) => return Err(damage),
            (None, None) => Manifest { key: random()? },
        };
        manifest.write(folder)?;
        Ok(manifest)
    }
}

/// The key that the newest log or segment repeats.
fn key_in_heads(folder: &Folder) -> Result<Option<[u8; 32]>, Error> {
    for (number, present) in folder.list()?.into_iter().rev() {
        let logs = present.log.then(|| (folder.log(number), LOG_MAGIC));
        let segments = present.segment.then(|| (folder.segment(number), SEGMENT_MAGIC));
        for (path, magic) in logs.into_iter().chain(segments) {
            let mut head = Vec::with_capacity(HEAD_BYTES);
            disk::open(&path)?
                .take(HEAD_BYTES as u64)
                .read_to_end(&mut head)
                .map_err(|source| Error::io(&path, "read", source))?;
            if let Ok(head) = Head::read(&head, magic) {
                return Ok(Some(head.key));
            }
        }
    }
    Ok(None)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let source = std::path::Path::new("/dev/urandom");
    let mut bytes = [0; N];
    disk::open(source)?.read_exact(&mut bytes).map_err(|error| Error::io(source, "read", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_every_damaged_byte_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert_eq!(Manifest::read(&folder).unwrap(), None);
        let manifest = Manifest { key: random().unwrap() };
        manifest.write(&folder).unwrap();
        assert_eq!(Manifest::read(&folder).unwrap(), Some(manifest));
        let bytes = std::fs::read(folder.manifest()).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(folder.manifest(), &flipped).unwrap();
            assert!(Manifest::read(&folder).is_err(), "byte {at}");
            std::fs::write(folder.manifest(), &bytes[..at]).unwrap();
            assert!(Manifest::read(&folder).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        std::fs::write(folder.manifest(), "sovereign archive 2\nwhatever\n").unwrap();
        let error = Manifest::read(&folder).unwrap_err();
        assert!(matches!(error, Error::Version { found: 2, .. }), "{error}");
    }

    #[test]
    fn a_lost_manifest_is_made_again_from_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let head = Head { number: 0, first: 0, salt: [0; 8], key: [7; 32], time_ns: 0 };
        std::fs::write(folder.log(0), head.to_bytes(LOG_MAGIC)).unwrap();
        assert_eq!(Manifest::read_or_make(&folder).unwrap().key, [7; 32]);
        assert_eq!(Manifest::read(&folder).unwrap().unwrap().key, [7; 32]);
    }
}
