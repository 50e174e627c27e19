//! Whether the lattice says what the events say. A bit that has flipped looks like any other, so all of
//! them are held against the leaves, and all words against the events.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use atproto::event::{self, Event};
use frame::Kind;

use crate::derived::account::Status;
use crate::derived::draft;
use crate::derived::leaf::{CREATE, DELETE, LEAF_BYTES, Leaf, LeafNotes, NO_ACCOUNT, UPDATE};
use crate::derived::levels::{self, Files, Kind as File};
use crate::derived::run::Run;
use crate::error::{Cause, Damage};
use crate::folder::Folder;
use crate::lattice::head::Field;
use crate::lattice::open::{OpenLeaves, open_segments};
use crate::lattice::read::There;
use crate::lattice::{event_of, word};
use crate::manifest::Manifest;
use crate::{Error, Found, Query, Reader, content};

/// So many leaves are looked at in one pass: what is known of their paths is held in memory.
const PASS_LEAVES: u64 = 8 << 20;
/// So many are read at a time of a log.
const READ_LEAVES: u64 = 4096;

/// Holds the lattice of the archive in `dir` against its events, and names where they differ. An archive
/// without a lattice has no difference. What a writer sets meanwhile is none either.
///
/// # Errors
/// Those of the disk.
pub fn differences(dir: &Path) -> Result<Vec<Damage>, Error> {
    let found = Check::new(dir).and_then(|check| match check {
        Some(mut check) => check.run(dir),
        None => Ok(Vec::new()),
    });
    match found {
        Err(Error::Damaged(damage)) => Ok(vec![damage]),
        other => other,
    }
}

/// A whole repository as it was before an event.
struct Repo {
    did: String,
    before: u64,
    paths: HashSet<[u8; 8]>,
}

/// What was put there before this leaf under other paths than these is gone.
struct Lacks {
    before: u64,
    paths: HashSet<[u8; 8]>,
}

struct Check {
    folder: Folder,
    key: [u8; 32],
    there: There,
    /// How many leaves there are.
    leaves: u64,
    /// What accounts' words should be.
    words: HashMap<u32, u64>,
    /// Whole repositories by account.
    repos: HashMap<u32, Vec<Lacks>>,
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
            repos: HashMap::new(),
            events: 0..0,
            is_damaged: false,
        }))
    }

    fn run(&mut self, dir: &Path) -> Result<Vec<Damage>, Error> {
        let repos = self.scan(dir)?;
        self.resolve(dir, repos)?;
        let mut bits = Differing::default();
        let mut accounts = 0;
        let passes = 1 + self.end()? / PASS_LEAVES;
        for pass in 0..passes {
            let mut paths = Paths::default();
            self.each_leaf(|check, number, leaf| {
                accounts = accounts.max(u64::from(leaf.account) + 1);
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
            for (account, path, number) in paths.left() {
                let is_gone = self.there.is_gone(number)?;
                match self.lacks(account, &path, number) {
                    true => bits.wanting(number, is_gone),
                    false => bits.surplus(number, is_gone),
                }
            }
        }
        let words = self.words_differ(accounts.min(u64::from(NO_ACCOUNT)))?;
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

    /// Goes through the events: the words of accounts, and whole repositories.
    fn scan(&mut self, dir: &Path) -> Result<Vec<Repo>, Error> {
        let mut repos = Vec::new();
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
                Found::Note(note) => {
                    let frame = note.frame();
                    let proof = content::proof(frame.section(frame::Tag::VERDICT));
                    if frame.header.kind != Kind::REPO || proof.is_none() {
                        continue;
                    }
                    let Ok((repo, mut list)) = frame::repo::read(&frame) else { continue };
                    let mut paths = HashSet::new();
                    while let Some((path, _)) = list.next() {
                        let path = std::str::from_utf8(path).ok();
                        paths.extend(path.map(|path| draft::path(&self.key, repo.did, path, true)));
                    }
                    if list.left() == 0 {
                        repos.push(Repo { did: repo.did.to_owned(), before: note.before, paths });
                    }
                }
                Found::Damage(_) => self.is_damaged = true,
            }
        }
        Ok(repos)
    }

    /// Finds the accounts of whole repositories, and the leaves before which they were fetched.
    fn resolve(&mut self, dir: &Path, repos: Vec<Repo>) -> Result<(), Error> {
        let mut accounts: HashMap<String, u32> = HashMap::new();
        for Repo { did, before, paths } in repos {
            if !accounts.contains_key(&did) {
                let dids = vec![did.clone()];
                let mut reader = Reader::open(dir)?;
                let mut scan = reader.scan(Query { dids, count: Some(1), ..Query::default() });
                while let Some(found) = scan.next()? {
                    let Found::Event(stored) = found else { continue };
                    if event::parse(stored.body).ok().and_then(|it| it.did()) != Some(&*did) {
                        continue;
                    }
                    let leaves = self.there.leaves(&self.folder, stored.n)?;
                    let leaf = leaves.and_then(|(_, leaves)| leaves.first().copied());
                    accounts.extend(leaf.map(|leaf| (did.clone(), leaf.account)));
                }
            }
            let leaf = match before < self.events.end {
                true => self.there.leaves(&self.folder, before)?.map(|(first, _)| first),
                false => None,
            };
            if let Some(account) = accounts.get(&did) {
                let repos = self.repos.entry(*account).or_default();
                repos.push(Lacks { before: leaf.unwrap_or(u64::MAX), paths });
            }
        }
        Ok(())
    }

    /// Whether a whole repository lacks what this leaf put there before it was fetched.
    fn lacks(&self, account: u32, path: &[u8; 8], leaf: u64) -> bool {
        let mut repos = self.repos.get(&account).into_iter().flatten();
        repos.any(|repo| leaf < repo.before && !repo.paths.contains(path))
    }

    /// Where the leaves end: what the head says may be damaged.
    fn end(&self) -> Result<u64, Error> {
        match sources(&self.folder)?.pop() {
            None => Ok(0),
            Some(last) => Ok(last.first().saturating_add(last.count(self.leaves)?)),
        }
    }

    /// Shows all leaves in order.
    fn each_leaf(
        &mut self,
        mut see: impl FnMut(&mut Check, u64, &Leaf) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for source in sources(&self.folder)? {
            let (first, count) = (source.first(), source.count(self.leaves)?);
            let mut place = 0;
            while place < count {
                let bytes = source.read(place, count)?;
                for (bytes, at) in bytes.chunks_exact(LEAF_BYTES).zip(place..) {
                    if let Some(leaf) = Leaf::read(bytes) {
                        see(self, first + at, &leaf)?;
                    }
                    place += 1;
                }
            }
        }
        Ok(())
    }

    /// The number of a leaf's event.
    fn event_of_leaf(&self, number: u64) -> Result<u64, Error> {
        let source = sources(&self.folder)?.into_iter().rev().find(|it| it.first() <= number);
        let Some(source) = source else { return Ok(0) };
        let place = number - source.first();
        let bytes = source.read(place, source.count(self.leaves)?)?;
        let ordinal = bytes.first_chunk::<LEAF_BYTES>().and_then(|bytes| Leaf::read(bytes));
        Ok(source.event() + u64::from(ordinal.map_or(0, |leaf| leaf.ordinal)))
    }

    /// How many words of accounts are others than they should be.
    fn words_differ(&mut self, accounts: u64) -> Result<u64, Error> {
        let mut count = 0;
        for account in 0..accounts as u32 {
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

/// A file of leaves.
enum Source {
    Sealed(Run),
    Open(OpenLeaves),
}

impl Source {
    fn first(&self) -> u64 {
        match self {
            Source::Sealed(run) => LeafNotes::of(run).first,
            Source::Open(open) => open.first,
        }
    }

    fn event(&self) -> u64 {
        match self {
            Source::Sealed(run) => LeafNotes::of(run).event,
            Source::Open(open) => open.event,
        }
    }

    fn count(&self, leaves: u64) -> Result<u64, Error> {
        match self {
            Source::Sealed(run) => Ok(run.records),
            Source::Open(open) => open.count(leaves),
        }
    }

    /// Leaves from a place on: some.
    fn read(&self, place: u64, count: u64) -> Result<Vec<u8>, Error> {
        match self {
            Source::Sealed(run) => {
                let at = place % Run::records_in_page(LEAF_BYTES) as u64;
                let page = run.page_of(place)?;
                Ok(page.get(at as usize * LEAF_BYTES..).unwrap_or_default().to_vec())
            }
            Source::Open(open) => open.read(place, (count - place).min(READ_LEAVES) as usize),
        }
    }
}

/// All files of leaves, in order.
fn sources(folder: &Folder) -> Result<Vec<Source>, Error> {
    let files = Files::list(folder)?;
    let mut sources = Vec::new();
    for at in files.of(File::Leaves) {
        sources.push(Source::Sealed(levels::open(folder, File::Leaves, at)?));
    }
    let mut open = open_segments(folder)?;
    open.retain(|segment| !files.has(File::Leaves, (*segment, 0)));
    open.sort_unstable();
    for segment in open {
        match OpenLeaves::open(folder, segment) {
            // It was sealed meanwhile.
            Err(error) if error.is_gone() => {
                sources.push(Source::Sealed(levels::open(folder, File::Leaves, (segment, 0))?));
            }
            other => sources.push(Source::Open(other?)),
        }
    }
    Ok(sources)
}
