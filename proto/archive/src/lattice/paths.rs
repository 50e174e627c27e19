//! Which paths had records that are gone, and which accounts are deleted, whatever events of them there
//! are.

use std::collections::{HashMap, HashSet};

use atproto::event::Event;

use crate::Error;
use crate::derived::account::Status;
use crate::derived::draft::{self, Known as _};
use crate::derived::earlier::Earlier;
use crate::derived::find::Finder;
use crate::derived::leaf::{CREATE, DELETE, Leaf, UPDATE};
use crate::derived::levels::Files;
use crate::derived::name;
use crate::folder::Folder;
use crate::lattice::read::There;
use crate::lattice::{event_of, status_of};
use crate::manifest::Manifest;

/// What sealed segments say of paths.
#[derive(Debug)]
pub(crate) struct PathsGone {
    key: [u8; 32],
    finder: Finder,
    there: Option<There>,
    /// The leaves of the last segments, which have no tables, by path.
    last: HashMap<[u8; 8], Vec<u64>>,
    /// What tables say of accounts, those of dropped segments included.
    accounts: Earlier,
}

impl PathsGone {
    /// Of these segments.
    pub(crate) fn open(folder: &Folder, segments: Vec<u32>) -> Result<PathsGone, Error> {
        let key = Manifest::read(folder)?.map(|manifest| manifest.key);
        let key = key.ok_or_else(|| Error::NoArchive { path: folder.path().to_owned() })?;
        let accounts = Earlier::open(folder, &Files::list(folder)?, &segments)?;
        let mut finder = Finder::open(folder, key, segments)?;
        let mut last: HashMap<[u8; 8], Vec<u64>> = HashMap::new();
        finder.leaves_without_tables(|number, leaf| {
            last.entry(leaf.path).or_default().push(number);
        })?;
        Ok(PathsGone { key, finder, there: There::open(folder)?, last, accounts })
    }

    /// Those of an event.
    pub(crate) fn of<'e>(&mut self, event: &Event<'e>) -> Result<HashSet<&'e str>, Error> {
        let mut gone = HashSet::new();
        if let Event::Commit(commit) = event {
            for op in commit.ops {
                if self.is_gone(&draft::path(&self.key, commit.repo, op.path, true))? {
                    gone.insert(op.path);
                }
            }
        }
        Ok(gone)
    }

    /// The event that says that an account is deleted, if that is the last word on it.
    pub(crate) fn deleted_by(&mut self, did: &str) -> Result<Option<u64>, Error> {
        let account = self.accounts.account(&name(&self.key, did, ""))?;
        let Some(((account, _), there)) = account.zip(self.there.as_mut()) else { return Ok(None) };
        let word = there.word(account)?;
        Ok((status_of(word) == Some(Status::Deleted)).then(|| event_of(word)))
    }

    /// Whether a proved event deleted or replaced what was under a path, or a whole repository lacks it.
    fn is_gone(&mut self, path: &[u8; 8]) -> Result<bool, Error> {
        let mut leaves = self.finder.of_path(path)?;
        leaves.extend(self.last.get(path).into_iter().flatten());
        for number in leaves.into_iter().rev() {
            let Some(Leaf { op, .. }) = self.finder.leaf(number)? else { break };
            let retired = match &mut self.there {
                Some(there) if op == CREATE => there.is_gone(number)?,
                _ => false,
            };
            if retired || matches!(op, UPDATE | DELETE) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
