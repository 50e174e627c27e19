//! Whole repositories: what they lack is gone. A list may have a million paths, and there may be as many
//! lists as accounts, so none is kept: they are read again, one at a time.

use std::collections::{HashMap, HashSet};

use frame::{Frame, Kind};

use crate::derived::draft;
use crate::folder::Folder;
use crate::hosts::Hosts;
use crate::image::{Entry, LogImage};
use crate::segment::read::Segment;
use crate::{Error, content};

/// The accounts of which there are whole repositories.
#[derive(Debug, Default)]
pub(super) struct Repos {
    /// The last before which event there is one, and how many before that.
    last: (u64, u64),
    /// Their numbers, as far as they were found.
    accounts: HashMap<String, Option<u32>>,
}

/// Leaves that no operation has retired, by account: paths and numbers.
pub(super) type Left = HashMap<u32, Vec<([u8; 8], u64)>>;

impl Repos {
    /// A control frame before event `n`, as they come.
    pub(super) fn note(&mut self, n: u64, frame: &Frame<'_>) {
        if let Some((repo, _)) = repo_of(frame) {
            self.last = (n, if self.last.0 == n { self.last.1 + 1 } else { 1 });
            self.accounts.entry(repo.did.to_owned()).or_default();
        }
    }

    /// The accounts.
    pub(super) fn dids(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    pub(super) fn is_account(&mut self, did: &str, account: u32) {
        self.accounts.insert(did.to_owned(), Some(account));
    }

    /// The numbers of all of them.
    pub(super) fn numbers(&self) -> HashSet<u32> {
        self.accounts.values().flatten().copied().collect()
    }

    /// Takes the leaves out of `left` that were put there before a whole repository which lacks their
    /// path. `first` says which is the first leaf of an event or behind it.
    pub(super) fn take_lacking(
        &self,
        folder: &Folder,
        key: &[u8; 32],
        left: &mut Left,
        mut first: impl FnMut(u64) -> Result<u64, Error>,
    ) -> Result<Vec<u64>, Error> {
        let (mut at_last, mut lacking) = (0, Vec::new());
        each_note(folder, |n, frame| {
            let Some((repo, mut list)) = repo_of(frame) else { return Ok(()) };
            // What came since the accounts were looked up is not known here.
            at_last += u64::from(n == self.last.0);
            if n > self.last.0 || n == self.last.0 && at_last > self.last.1 {
                return Ok(());
            }
            let account = self.accounts.get(repo.did).copied().flatten();
            let Some(leaves) = account.and_then(|account| left.get_mut(&account)) else {
                return Ok(());
            };
            let mut paths: Vec<[u8; 8]> = Vec::new();
            while let Some((path, _)) = list.next() {
                let path = std::str::from_utf8(path).ok();
                paths.extend(path.map(|path| draft::path(key, repo.did, path, true)));
            }
            #[cfg(test)]
            held::count(paths.len());
            if list.left() > 0 {
                return Ok(());
            }
            paths.sort_unstable();
            let before = first(n)?;
            leaves.retain(|(path, leaf)| {
                let lacks = *leaf < before && paths.binary_search(path).is_err();
                lacking.extend(lacks.then_some(*leaf));
                !lacks
            });
            Ok(())
        })?;
        Ok(lacking)
    }
}

/// What a proved `repo` frame says.
fn repo_of<'f>(frame: &Frame<'f>) -> Option<(frame::repo::Repo<'f>, frame::repo::Paths<'f>)> {
    let is_proved = || content::proof(frame.section(frame::Tag::VERDICT)).is_some();
    let is_repo = frame.header.kind == Kind::REPO && is_proved();
    is_repo.then(|| frame::repo::read(frame).ok()).flatten()
}

/// Shows all control frames that can be read, with the numbers of the events behind them.
fn each_note(
    folder: &Folder,
    mut see: impl FnMut(u64, &Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    for (number, present) in folder.list()? {
        let seen = match present.segment {
            true => notes_of_segment(folder, number, &mut see),
            false => notes_of_log(folder, number, &mut see),
        };
        match seen {
            // It was sealed meanwhile.
            Err(error) if error.is_gone() => match notes_of_segment(folder, number, &mut see) {
                Err(error) if error.is_gone() => {}
                Err(Error::Damaged(_)) => {}
                other => other?,
            },
            // It is named by who reads the events.
            Err(Error::Damaged(_)) => {}
            other => other?,
        }
    }
    Ok(())
}

fn notes_of_segment(
    folder: &Folder,
    number: u32,
    see: &mut impl FnMut(u64, &Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let segment = Segment::open(&folder.segment(number), number)?;
    let (bytes, notes) = segment.notes(segment.hosts()?.len())?;
    for note in notes {
        let mut decoder = frame::Decoder::default();
        decoder.next(&frame::MAGIC)?;
        let bytes = bytes.get(note.frame).unwrap_or_default();
        if let Some((frame::Item::Frame(frame), _)) = decoder.next(bytes)? {
            see(segment.contents.first + u64::from(note.before), &frame)?;
        }
    }
    Ok(())
}

fn notes_of_log(
    folder: &Folder,
    number: u32,
    see: &mut impl FnMut(u64, &Frame<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let image = LogImage::read(&folder.log(number))?;
    let first = image.head.first;
    image.visit(&mut Hosts::default(), |entry| match entry {
        Entry::Note { before, frame, .. } => see(first + u64::from(before), &frame),
        _ => Ok(()),
    })
}

/// How many paths of lists were held at once.
#[cfg(test)]
pub(crate) mod held {
    use std::cell::Cell;

    thread_local! {
        static MOST: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count(paths: usize) {
        MOST.with(|most| most.set(most.get().max(paths)));
    }

    pub(crate) fn take_most() -> usize {
        MOST.with(Cell::take)
    }
}
