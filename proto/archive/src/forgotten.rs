//! What the operator has taken down: accounts and single records, whatever the network says. It is
//! in force for every reader as soon as it is written, and each word stands in the file with its
//! time and reason.
//!
//! Lines of text, each ended by a newline; a reader leaves out a line that is not whole or that it
//! does not know:
//!
//! ```text
//! 2026-08-01T12:00:00.000000Z forget DID reason
//! 2026-08-01T12:00:00.000000Z forget at://DID/collection/rkey reason
//! 2026-08-01T12:00:00.000000Z reverse DID reason
//! ```
//!
//! Of several lines on one target the last counts.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::str::FromStr;

use atproto::syntax;

use crate::folder::Folder;
use crate::{Error, disk};

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
    /// Bytes of the file that were read.
    read: u64,
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
    /// Those of the disk.
    pub fn open(dir: &Path) -> Result<Forgotten, Error> {
        let folder = Folder::new(dir);
        let mut forgotten = Forgotten { folder, read: 0, accounts: HashMap::new() };
        forgotten.refresh()?;
        Ok(forgotten)
    }

    /// Reads what has been added since.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let path = self.folder.forgotten();
        if path.metadata().map_or(0, |meta| meta.len()) == self.read {
            return Ok(());
        }
        let text = std::fs::read(&path).map_err(|source| Error::io(&path, "read", source))?;
        self.read = text.len() as u64;
        self.accounts.clear();
        for line in String::from_utf8_lossy(&text).split_inclusive('\n') {
            let mut words = line.split(' ');
            let (_, word, target) = (words.next(), words.next(), words.next());
            let Some(Ok(target)) = target.map(str::parse) else { continue };
            let forget = match word {
                Some("forget") => true,
                Some("reverse") => false,
                _ => continue,
            };
            if line.ends_with('\n') {
                self.set(target, forget);
            }
        }
        Ok(())
    }

    fn set(&mut self, target: Target, forget: bool) {
        match target {
            Target::Account(did) => self.accounts.entry(did).or_default().whole = forget,
            Target::Record { did, path } => {
                self.accounts.entry(did).or_default().paths.insert(path, forget);
            }
        }
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
    /// [`Error::NoArchive`], and those of the disk.
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
        let path = self.folder.forgotten();
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(|source| Error::io(&path, "open", source))?;
        let word = if forget { "forget" } else { "reverse" };
        let reason = reason.replace(['\n', '\r'], " ");
        disk::write(&file, &path, format!("{time} {word} {target} {reason}\n").as_bytes())?;
        disk::sync(&file, &path)?;
        self.folder.sync()?;
        self.refresh()
    }
}
