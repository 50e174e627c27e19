//! Whether the lattice says what the events say. A bit that has flipped looks like any other, so all of
//! them are held against the leaves, and all words against the events.

mod repos;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use atproto::event::{self, Event};

use crate::derived::account::Status;
use crate::derived::leaf::{CREATE, DELETE, Leaf, NO_ACCOUNT, UPDATE};
use crate::derived::levels::{Files, Kind};
use crate::derived::{make, whole};
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::lattice::check::repos::{Left, Repos};
use crate::lattice::files::LeafFiles;
use crate::lattice::head::Field;
use crate::lattice::read::There;
use crate::lattice::{event_of, word};
use crate::manifest::Manifest;
use crate::{Error, Found, Query, Reader, content};

#[cfg(test)]
pub(crate) use repos::held as held_paths;

/// So many leaves are looked at in one pass: what is known of their paths is held in memory.
const PASS_LEAVES: u64 = 8 << 20;
/// How often is looked for a file that is missing: it may be made one with others meanwhile.
const LOOKS: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Names what is missing or damaged of what is derived of the archive in `dir`; if nothing is, holds its
/// lattice against its events, and names where they differ. An archive of an older version that has
/// nothing of this has no difference. What a writer does meanwhile is none either.
///
/// # Errors
/// Those of the disk.
pub fn differences(dir: &Path) -> Result<Vec<Damage>, Error> {
    let folder = Folder::new(dir);
    if folder.lattice().exists() {
        let damaged = whole::damaged(&folder)?;
        if !damaged.is_empty() {
            return Ok(damaged);
        }
    }
    differences_of_good(dir)
}

/// The same where no file that is derived is damaged.
pub(crate) fn differences_of_good(dir: &Path) -> Result<Vec<Damage>, Error> {
    if let Some(missing) = missing(&Folder::new(dir))? {
        return Ok(vec![missing]);
    }
    let found = Check::new(dir).and_then(|check| match check {
        Some(mut check) => check.run(dir),
        None => Ok(Vec::new()),
    });
    match found {
        Err(Error::Damaged(damage)) => Ok(vec![damage]),
        other => other,
    }
}

/// What is missing, if something is.
fn missing(folder: &Folder) -> Result<Option<Damage>, Error> {
    if !folder.lattice().exists() {
        let is_new = Files::list(folder)?.of(Kind::Leaves).next().is_some();
        return Ok(is_new.then(|| Damage::at(&folder.lattice(), 0, Cause::Gone)));
    }
    let mut looks = 0;
    loop {
        looks += 1;
        let segments = make::sealed_before(folder, u32::MAX)?;
        match whole::missing(folder, &segments) {
            Ok(Some(_)) if looks < LOOKS => std::thread::sleep(LOOK_EVERY),
            Err(error) if error.is_gone() && looks < LOOKS => std::thread::sleep(LOOK_EVERY),
            other => return other,
        }
    }
}

struct Check {
    folder: Folder,
    key: [u8; 32],
    there: There,
    /// How many leaves there are.
    leaves: u64,
    /// What accounts' words should be.
    words: HashMap<u32, u64>,
    repos: Repos,
    /// The events that there are.
    events: std::ops::Range<u64>,
    /// Whether some can't be read.
    is_damaged: bool,
}

impl Check {
    fn new(dir: &Path) -> Result<Option<Check>, Error> {
        let folder = Folder::new(dir);
        let manifest = Manifest::read(&folder)?;
        let Some((there, manifest)) = There::open(&folder)?.zip(manifest) else { return Ok(None) };
        let leaves = there.head.get(Field::Leaves)?;
        Ok(Some(Check {
            folder,
            key: manifest.key,
            there,
            leaves,
            words: HashMap::new(),
            repos: Repos::default(),
            events: 0..0,
            is_damaged: false,
        }))
    }

    fn run(&mut self, dir: &Path) -> Result<Vec<Damage>, Error> {
        self.scan(dir)?;
        self.resolve(dir)?;
        let with_repos = self.repos.numbers();
        let mut bits = Differing::default();
        let mut accounts = 0;
        let passes = 1 + self.end()? / PASS_LEAVES;
        for pass in 0..passes {
            let mut paths = Paths::default();
            self.each_leaf(|check, number, leaf| {
                // A lost event is of none, and so is one that can't be read.
                if leaf.account != NO_ACCOUNT {
                    accounts = accounts.max(leaf.account + 1);
                }
                let [part, ..] = leaf.path.as_chunks::<4>().0 else { return Ok(()) };
                if u64::from(u32::from_le_bytes(*part)) % passes != pass {
                    return Ok(());
                }
                match leaf.op {
                    CREATE => paths.put(number, leaf),
                    UPDATE | DELETE => {
                        for gone in paths.take(leaf) {
                            bits.wanting(gone, check.there.is_gone(gone)?);
                        }
                        if leaf.op == UPDATE {
                            paths.put(number, leaf);
                        } else {
                            bits.surplus(number, check.there.is_gone(number)?);
                        }
                    }
                    _ => bits.surplus(number, check.there.is_gone(number)?),
                }
                Ok(())
            })?;
            let mut left = Left::new();
            for (account, path, number) in paths.left() {
                if with_repos.contains(&account) {
                    left.entry(account).or_default().push((path, number));
                } else {
                    bits.surplus(number, self.there.is_gone(number)?);
                }
            }
            self.left(left, &mut bits)?;
        }
        let words = self.words_differ(accounts)?;
        // What was set since this began is not known here.
        if self.is_damaged || self.there.head.get(Field::Leaves)? != self.leaves {
            bits.surplus = None;
            bits.surplus_count = 0;
        }
        let mut found = Vec::new();
        let path = &self.there.head.path;
        if let Some(leaf) = bits.first() {
            let event = self.event_of_leaf(leaf)?;
            let cause = Cause::Bits { count: bits.count(), event };
            found.push(Damage::at(path, 0, cause));
        }
        if words > 0 {
            found.push(Damage::at(path, 0, Cause::Words { count: words }));
        }
        Ok(found)
    }

    /// Goes through the events: the words of accounts, and of which there are whole repositories.
    fn scan(&mut self, dir: &Path) -> Result<(), Error> {
        let mut reader = Reader::open(dir)?;
        let mut scan = reader.scan(Query::default());
        while let Some(found) = scan.next()? {
            match found {
                Found::Event(stored) => {
                    let start = if self.events.is_empty() { stored.n } else { self.events.start };
                    self.events = start..stored.n + 1;
                    let proved = content::proved(stored.body, stored.verdict());
                    let Some(Event::Account(said)) = proved else { continue };
                    let leaves = self.there.leaves(&self.folder, stored.n)?;
                    let leaf = leaves.and_then(|(_, leaves)| leaves.first().copied());
                    if let Some(leaf) = leaf.filter(|leaf| leaf.account != NO_ACCOUNT) {
                        let status = Status::of(said.active, said.status);
                        self.words.insert(leaf.account, word(status, stored.n));
                    }
                }
                Found::Note(note) => self.repos.note(note.before, &note.frame()),
                Found::Damage(_) => self.is_damaged = true,
            }
        }
        Ok(())
    }

    /// Finds the numbers of accounts of which there are whole repositories.
    fn resolve(&mut self, dir: &Path) -> Result<(), Error> {
        for did in self.repos.dids() {
            let dids = vec![did.clone()];
            let mut reader = Reader::open(dir)?;
            let mut scan = reader.scan(Query { dids, count: Some(1), ..Query::default() });
            while let Some(found) = scan.next()? {
                let Found::Event(stored) = found else { continue };
                if event::parse(stored.body).ok().and_then(|it| it.did()) != Some(&*did) {
                    continue;
                }
                let leaves = self.there.leaves(&self.folder, stored.n)?;
                if let Some(leaf) = leaves.and_then(|(_, leaves)| leaves.first().copied()) {
                    self.repos.is_account(&did, leaf.account);
                }
            }
        }
        Ok(())
    }

    /// Leaves that no operation has retired: those are gone that a whole repository lacks.
    fn left(&mut self, mut left: Left, bits: &mut Differing) -> Result<(), Error> {
        let Check { folder, key, there, repos, events, .. } = self;
        let first = |n: u64| {
            let leaves = if n < events.end { there.leaves(folder, n)? } else { None };
            Ok(leaves.map_or(u64::MAX, |(first, _)| first))
        };
        let gone = match left.is_empty() {
            true => Vec::new(),
            false => repos.take_lacking(folder, key, &mut left, first)?,
        };
        for number in gone {
            bits.wanting(number, self.there.is_gone(number)?);
        }
        for (_, number) in left.into_values().flatten() {
            bits.surplus(number, self.there.is_gone(number)?);
        }
        Ok(())
    }

    /// Where the leaves end: what the head says may be damaged.
    fn end(&self) -> Result<u64, Error> {
        match LeafFiles::list(&self.folder)?.iter().next_back().transpose()? {
            None => Ok(0),
            Some(last) => Ok(last.first.saturating_add(last.count(self.leaves)?)),
        }
    }

    /// Shows all leaves in order.
    fn each_leaf(
        &mut self,
        mut see: impl FnMut(&mut Check, u64, &Leaf) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for file in LeafFiles::list(&self.folder)?.iter() {
            let leaves = self.leaves;
            file?.each((0, leaves), |number, leaf| see(self, number, leaf).map(|()| true))?;
        }
        Ok(())
    }

    /// The number of a leaf's event.
    fn event_of_leaf(&self, number: u64) -> Result<u64, Error> {
        for file in LeafFiles::list(&self.folder)?.iter().rev() {
            let file = file?;
            if file.first > number {
                continue;
            }
            let mut event = file.event;
            file.each((number - file.first, self.leaves), |_, leaf| {
                event += u64::from(leaf.ordinal);
                Ok(false)
            })?;
            return Ok(event);
        }
        Ok(0)
    }

    /// How many words of accounts are others than they should be.
    fn words_differ(&mut self, accounts: u32) -> Result<u64, Error> {
        let mut count = 0;
        for account in 0..accounts {
            let (found, expected) = (self.there.word(account)?, self.words.get(&account).copied());
            // What was said since, or by an event that is gone with its segment, is not known here.
            let is_known = self.events.contains(&event_of(found)) && !self.is_damaged;
            count += u64::from(match expected {
                Some(expected) => found != expected && (found == 0 || is_known),
                None => found != 0 && is_known,
            });
        }
        Ok(count)
    }
}

/// The leaves of paths that nothing has retired so far.
#[derive(Default)]
struct Paths {
    last: HashMap<(u32, [u8; 8]), u64>,
    /// Those before one that was created.
    older: HashMap<(u32, [u8; 8]), Vec<u64>>,
}

impl Paths {
    fn put(&mut self, number: u64, leaf: &Leaf) {
        let path = (leaf.account, leaf.path);
        if let Some(before) = self.last.insert(path, number) {
            self.older.entry(path).or_default().push(before);
        }
    }

    fn take(&mut self, leaf: &Leaf) -> impl Iterator<Item = u64> {
        let path = (leaf.account, leaf.path);
        let older = self.older.remove(&path).into_iter().flatten();
        self.last.remove(&path).into_iter().chain(older)
    }

    fn left(self) -> impl Iterator<Item = (u32, [u8; 8], u64)> {
        let older = self.older.into_iter();
        let older = older.flat_map(|(path, all)| all.into_iter().map(move |number| (path, number)));
        self.last.into_iter().chain(older).map(|((account, path), number)| (account, path, number))
    }
}

/// Leaves whose bits are others than they should be.
#[derive(Default)]
struct Differing {
    wanting: Option<u64>,
    wanting_count: u64,
    surplus: Option<u64>,
    surplus_count: u64,
}

impl Differing {
    fn wanting(&mut self, leaf: u64, is_gone: bool) {
        if !is_gone {
            self.wanting = Some(self.wanting.map_or(leaf, |first| first.min(leaf)));
            self.wanting_count += 1;
        }
    }

    fn surplus(&mut self, leaf: u64, is_gone: bool) {
        if is_gone {
            self.surplus = Some(self.surplus.map_or(leaf, |first| first.min(leaf)));
            self.surplus_count += 1;
        }
    }

    fn first(&self) -> Option<u64> {
        self.wanting.into_iter().chain(self.surplus).min()
    }

    fn count(&self) -> u64 {
        self.wanting_count + self.surplus_count
    }
}
