//! What the operator has taken down: accounts and single records, whatever the network says. It is
//! in force for every reader as soon as it is written, and each word stands in the file with its
//! time and reason.
//!
//! Lines of text, each ended by a newline, with the CRC-32C of what stands before it at the end:
//!
//! ```text
//! 2026-08-01T12:00:00.000000Z forget DID reason #8d2a43f1
//! 2026-08-01T12:00:00.000000Z forget at://DID/collection/rkey reason #0b54e1c7
//! 2026-08-01T12:00:00.000000Z reverse DID reason #44e6a9d0
//! ```
//!
//! Of several lines on one target the last counts. A line with another second word is of a newer
//! version and left out. The first version wrote lines without the checksum; of those one that is
//! not ended is none.
//!
//! The file is there twice (`forgotten.again`), for nothing else could say what it said, and both
//! are replaced by a rename. Readers go by whichever holds; if neither does they give nothing, for
//! they might give what was taken down.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use atproto::syntax;

use crate::error::Cause;
use crate::folder::{Folder, unfinished};
use crate::{Damage, Error, disk};

/// An account, or one of its records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// All that there is of an account.
    Account(String),
    /// What is or was under a path of an account.
    Record {
        /// The account.
        did: String,
        /// `collection/rkey`.
        path: String,
    },
}

/// The text names neither an account nor a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a DID nor at://DID/collection/rkey")]
pub struct NoTarget;

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Target, NoTarget> {
        let Some(rest) = text.strip_prefix("at://") else {
            let account = || Target::Account(text.to_owned());
            return syntax::is_did(text).then(account).ok_or(NoTarget);
        };
        let (did, path) = rest.split_once('/').ok_or(NoTarget)?;
        let record = || Target::Record { did: did.to_owned(), path: path.to_owned() };
        (syntax::is_did(did) && syntax::is_path(path)).then(record).ok_or(NoTarget)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Account(did) => f.write_str(did),
            Target::Record { did, path } => write!(f, "at://{did}/{path}"),
        }
    }
}

/// What has been taken down.
#[derive(Debug)]
pub struct Forgotten {
    folder: Folder,
    /// The lines, as they were read.
    text: String,
    /// By account: all of it, and paths.
    accounts: HashMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    whole: bool,
    paths: HashMap<String, bool>,
}

impl Forgotten {
    /// Reads what there is for the archive in `dir`; nothing, if nothing was ever taken down.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn open(dir: &Path) -> Result<Forgotten, Error> {
        let folder = Folder::new(dir);
        let mut forgotten = Forgotten { folder, text: String::new(), accounts: HashMap::new() };
        forgotten.read()?;
        Ok(forgotten)
    }

    /// Reads what has been added since.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let len = self.folder.forgotten().metadata().map_or(0, |meta| meta.len());
        if len == self.text.len() as u64 { Ok(()) } else { self.read() }
    }

    fn read(&mut self) -> Result<(), Error> {
        let mut damage = None;
        for path in self.copies() {
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::io(&path, "read", source)),
            };
            match lines(&path, &bytes) {
                Ok((text, words)) => {
                    self.text = text.to_owned();
                    self.accounts.clear();
                    words.into_iter().for_each(|(target, forget)| self.set(target, forget));
                    return Ok(());
                }
                Err(found) => damage = damage.or(Some(found)),
            }
        }
        damage.map_or(Ok(()), |damage| Err(damage.into()))
    }

    fn copies(&self) -> [PathBuf; 2] {
        [self.folder.forgotten(), self.folder.forgotten_again()]
    }

    fn set(&mut self, target: Target, forget: bool) {
        match target {
            Target::Account(did) => self.accounts.entry(did).or_default().whole = forget,
            Target::Record { did, path } => {
                self.accounts.entry(did).or_default().paths.insert(path, forget);
            }
        }
    }

    /// The lines of the file: when, what, and why.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| checked(line).map_or(line, |(line, _)| line))
    }

    /// Whether nothing was ever taken down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether all of an account is taken down.
    #[must_use]
    pub fn account(&self, did: &str) -> bool {
        self.accounts.get(did).is_some_and(|account| account.whole)
    }

    /// Whether a path of an account is taken down, or all of the account.
    #[must_use]
    pub fn path(&self, did: &str, path: &str) -> bool {
        self.accounts.get(did).is_some_and(|account| {
            account.whole || account.paths.get(path).copied().unwrap_or_default()
        })
    }

    /// Whether anything of an account is taken down.
    #[must_use]
    pub fn any(&self, did: &str) -> bool {
        self.accounts.contains_key(did)
    }

    /// Takes something down, or takes that back, durably. `time` is a word, `reason` one line.
    ///
    /// # Errors
    /// [`Error::NoArchive`], [`Error::Damaged`], and those of the disk.
    pub fn add(
        &mut self,
        time: &str,
        target: &Target,
        forget: bool,
        reason: &str,
    ) -> Result<(), Error> {
        let dir = self.folder.path();
        if !self.folder.manifest().exists() {
            return Err(Error::NoArchive { path: dir.to_owned() });
        }
        // Two at once would each write a file without the other's line.
        let lock = disk::open(dir)?;
        lock.lock().map_err(|source| Error::io(dir, "lock", source))?;
        self.read()?;
        let word = if forget { "forget" } else { "reverse" };
        let reason = reason.replace(['\n', '\r'], " ");
        let line = format!("{time} {word} {target} {reason}");
        self.text.push_str(&format!("{line} #{:08x}\n", crc32c::crc32c(line.as_bytes())));
        self.write()?;
        self.read()
    }

    /// Writes both copies anew, of which one may have been lost or damaged.
    pub(crate) fn write(&self) -> Result<(), Error> {
        for path in self.copies() {
            let new = unfinished(&path);
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&new, "remove", error));
                }
                _ => {}
            }
            let file: File = disk::create(&new)?;
            disk::write(&file, &new, self.text.as_bytes())?;
            disk::sync(&file, &new)?;
            self.folder.publish(&new, &path)?;
        }
        Ok(())
    }
}

/// A line before its checksum, and the checksum.
fn checked(line: &str) -> Option<(&str, u32)> {
    let (line, crc) = line.rsplit_once(" #")?;
    let crc = Some(crc).filter(|crc| crc.len() == 8)?;
    Some((line, u32::from_str_radix(crc, 16).ok()?))
}

/// What lines say: targets, and whether they are taken down.
type Words = Vec<(Target, bool)>;

/// The whole lines, and what they say.
fn lines<'b>(path: &Path, bytes: &'b [u8]) -> Result<(&'b str, Words), Damage> {
    let damaged = |at: usize, cause| Damage::at(path, at as u64, cause);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| damaged(error.valid_up_to(), Cause::Form("line")))?;
    let (text, tail) = text.split_at(text.rfind('\n').map_or(0, |last| last + 1));
    // The first version could be torn; a line with a checksum was put there whole.
    if tail.contains(" #") {
        return Err(damaged(text.len(), Cause::Truncated));
    }
    let mut words = Vec::new();
    let mut at = 0;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches('\n');
        let said = match checked(line) {
            Some((line, crc)) if crc32c::crc32c(line.as_bytes()) == crc => line,
            Some(_) => return Err(damaged(at, Cause::Checksum)),
            None => line,
        };
        let mut parts = said.split(' ').skip(1);
        let forget = match parts.next() {
            Some("forget") => Some(true),
            Some("reverse") => Some(false),
            _ => None,
        };
        let target = parts.next().and_then(|target| target.parse().ok());
        match (forget, target) {
            (Some(forget), Some(target)) => words.push((target, forget)),
            _ if said.len() < line.len() => {}
            _ => return Err(damaged(at, Cause::Form("line"))),
        }
        at += whole.len();
    }
    Ok((text, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:44ybard66vv44zksje25o7dz";

    #[test]
    fn a_flipped_bit_takes_nothing_back_and_two_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("manifest"), "").unwrap();
        let mut forgotten = Forgotten::open(dir.path()).unwrap();
        forgotten.add("now", &DID.parse().unwrap(), true, "a reason").unwrap();
        let [first, second] = forgotten.copies();
        let good = std::fs::read(&first).unwrap();
        assert_eq!(std::fs::read(&second).unwrap(), good);
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            std::fs::write(&first, &bytes).unwrap();
            assert!(Forgotten::open(dir.path()).unwrap().account(DID), "bit {at}");
        }
        let mut bytes = good.clone();
        bytes[40] ^= 1;
        std::fs::write(&first, &bytes).unwrap();
        std::fs::write(&second, &bytes).unwrap();
        assert!(matches!(Forgotten::open(dir.path()), Err(Error::Damaged(_))));
        std::fs::remove_file(&first).unwrap();
        std::fs::write(&second, &good).unwrap();
        let forgotten = Forgotten::open(dir.path()).unwrap();
        assert_eq!(forgotten.lines().collect::<Vec<_>>(), [format!("now forget {DID} a reason")]);
        forgotten.write().unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), good, "both are there again");
    }

    #[test]
    fn lines_of_the_first_version_count_unless_they_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forgotten");
        std::fs::write(&path, format!("now forget {DID} why\nnow forget {DID}/x wh")).unwrap();
        assert!(Forgotten::open(dir.path()).unwrap().account(DID));
        std::fs::write(&path, format!("now borget {DID} why\n")).unwrap();
        assert!(matches!(Forgotten::open(dir.path()), Err(Error::Damaged(_))));
    }
}
