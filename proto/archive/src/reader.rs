//! Reading an archive, also while another process writes it. No lock is taken: segments never
//! change, and a log is read up to its last whole batch of the moment at which the archive was
//! opened.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::group::Group;
use crate::hosts::{Host, HostNo, Hosts};
use crate::manifest::Manifest;
use crate::marks::LOOKS_MAX;
use crate::scan::{Found, Scan};
use crate::{Error, disk};

/// How often a folder whose numbers have a hole is listed again: a log may have become a segment
/// while the folder was being listed.
const HOLE_LOOKS: u32 = 5;

/// Which events are asked for. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The first number.
    pub from: u64,
    /// How many events at most.
    pub count: Option<u64>,
    /// Of these accounts only; of all if there are none.
    pub dids: Vec<String>,
    /// Only commits with an operation on one of these paths, `collection/rkey`.
    pub paths: Vec<String>,
    /// Only commits with an operation in one of these collections, and all events that are no
    /// commits: who goes by a collection has to hear of accounts that go.
    pub collections: Vec<String>,
    /// Begin with the first event that was received at this time or later, nanoseconds since 1970.
    pub since_ns: u64,
}

impl Query {
    /// Whether this asks for all that there is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Query::default()
    }

    /// Whether an operation on this path is asked for.
    #[must_use]
    pub fn wants_path(&self, path: &str) -> bool {
        let collection = path.split_once('/').map_or(path, |(collection, _)| collection);
        (self.paths.is_empty() || self.paths.iter().any(|asked| asked == path))
            && (self.collections.is_empty() || self.collections.iter().any(|it| it == collection))
    }

    /// Whether that hinges on what an event says, besides its account.
    pub(crate) fn looks_into_events(&self) -> bool {
        !self.paths.is_empty() || !self.collections.is_empty()
    }

    /// Whether a finding is asked for by what it says.
    pub(crate) fn wants(&self, found: &Found<'_>) -> bool {
        let event = match found {
            Found::Event(event) => event,
            Found::Note(_) => return self.dids.is_empty() && self.paths.is_empty(),
            _ => return true,
        };
        if self.dids.is_empty() && !self.looks_into_events() {
            return true;
        }
        let parsed = atproto::event::parse(event.body).ok();
        let did = parsed.as_ref().and_then(atproto::event::Event::did).unwrap_or_default();
        if !self.dids.is_empty() && !self.dids.iter().any(|asked| asked == did) {
            return false;
        }
        match parsed {
            Some(atproto::event::Event::Commit(commit)) => {
                !self.looks_into_events()
                    || commit.ops.into_iter().any(|op| self.wants_path(op.path))
            }
            _ => self.paths.is_empty(),
        }
    }
}

/// An archive as it was when it was opened.
#[derive(Debug)]
pub struct Reader {
    pub(crate) folder: Folder,
    pub(crate) sources: Vec<Source>,
    pub(crate) hosts: Hosts,
    pub(crate) damage: Vec<Damage>,
    pub(crate) group: Option<Group>,
}

/// A file with events.
#[derive(Debug)]
pub(crate) enum Source {
    Segment { number: u32 },
    Log { number: u32, path: PathBuf, file: File, len: u64 },
}

impl Source {
    pub(crate) fn number(&self) -> u32 {
        match self {
            Source::Segment { number } | Source::Log { number, .. } => *number,
        }
    }
}

impl Reader {
    /// Opens the archive in `dir`.
    ///
    /// # Errors
    /// [`Error::NoArchive`], [`Error::Version`], and those of the disk.
    pub fn open(dir: &Path) -> Result<Reader, Error> {
        let folder = Folder::new(dir);
        let no_archive = || Error::NoArchive { path: dir.to_owned() };
        let (manifest, damage) = match Manifest::read(&folder) {
            Ok(manifest) => (manifest, None),
            Err(Error::Damaged(damage)) => (None, Some(damage)),
            Err(error) => return Err(error),
        };
        let sources = match sources(&folder) {
            Err(error) if error.is_gone() => return Err(no_archive()),
            other => other?,
        };
        let damage = match manifest {
            Some(_) => None,
            None if sources.is_empty() && damage.is_none() => return Err(no_archive()),
            None => {
                let missing = Damage::at(&folder.manifest(), 0, Cause::Gone);
                Some(damage.unwrap_or(missing))
            }
        };
        let damage = damage.into_iter().collect();
        Ok(Reader { folder, sources, hosts: Hosts::default(), damage, group: None })
    }

    /// Goes through what is asked for, in order of arrival.
    pub fn scan(&mut self, query: Query) -> Scan<'_> {
        Scan::new(self, query)
    }

    pub(crate) fn group(&mut self) -> Result<&mut Group, Error> {
        self.group_and_hosts().map(|(group, _)| group)
    }

    pub(crate) fn group_and_hosts(&mut self) -> Result<(&mut Group, &mut Hosts), Error> {
        let group = match self.group.take() {
            Some(group) => group,
            None => Group::new(&self.folder)?,
        };
        Ok((self.group.insert(group), &mut self.hosts))
    }

    /// A host by its number.
    #[must_use]
    pub fn host(&self, host: HostNo) -> Option<&Host> {
        self.hosts.get(host)
    }
}

/// What there is to read, in order, each log opened so that it stays while it is being sealed.
fn sources(folder: &Folder) -> Result<Vec<Source>, Error> {
    let mut looks = 0;
    loop {
        looks += 1;
        match sources_once(folder) {
            Err(error) if error.is_gone() && folder.path().is_dir() && looks < LOOKS_MAX => {}
            Ok(sources) if has_hole(&sources) && looks < HOLE_LOOKS => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn sources_once(folder: &Folder) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for (number, present) in folder.list()? {
        sources.push(if present.segment {
            Source::Segment { number }
        } else {
            let path = folder.log(number);
            let file = disk::open(&path)?;
            let len = disk::len(&file, &path)?;
            Source::Log { number, path, file, len }
        });
    }
    Ok(sources)
}

fn has_hole(sources: &[Source]) -> bool {
    sources.windows(2).any(|pair| match pair {
        [before, after] => before.number().checked_add(1) != Some(after.number()),
        _ => false,
    })
}
