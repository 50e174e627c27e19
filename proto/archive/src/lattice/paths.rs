//! Which paths had records that are gone, whatever event put them there.

use std::collections::{HashMap, HashSet};

use atproto::event::Event;

use crate::Error;
use crate::derived::draft;
use crate::derived::find::Finder;
use crate::derived::leaf::{CREATE, DELETE, Leaf, UPDATE};
use crate::folder::Folder;
use crate::lattice::read::There;
use crate::manifest::Manifest;

/// What sealed segments say of paths.
#[derive(Debug)]
pub(crate) struct PathsGone {
    key: [u8; 32],
    finder: Finder,
    there: Option<There>,
    /// The leaves of the last segments, which have no tables, by path.
    last: HashMap<[u8; 8], Vec<u64>>,
}

impl PathsGone {
    /// Of these segments.
    pub(crate) fn open(folder: &Folder, segments: Vec<u32>) -> Result<PathsGone, Error> {
        let key = Manifest::read(folder)?.map(|manifest| manifest.key);
        let key = key.ok_or_else(|| Error::NoArchive { path: folder.path().to_owned() })?;
        let mut finder = Finder::open(folder, key, segments)?;
        let mut last: HashMap<[u8; 8], Vec<u64>> = HashMap::new();
        finder.leaves_without_tables(|number, leaf| {
            last.entry(leaf.path).or_default().push(number);
        })?;
        Ok(PathsGone { key, finder, there: There::open(folder)?, last })
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
