//! What is derived of one log or segment, while it is made of its events, and what they say of earlier
//! records (see [`crate::lattice`]).

use std::collections::{HashMap, HashSet};

use atproto::event::{self, Action, Event};
use frame::{Frame, Kind};

use crate::Error;
use crate::content;
use crate::derived::account::{Head, Pending, Record, Settled, settle};
use crate::derived::leaf::{
    CREATE, DELETE, Leaf, LeafNotes, NO_ACCOUNT, PathLeaf, TOO_FAR, UNPROVED, UPDATE,
};
use crate::derived::{Name, name};
use crate::hosts::{Host, HostNo, Hosts};
use crate::lattice::{self, Said};

/// An account as earlier segments leave it: its number and last leaf.
pub(crate) type Before = (u32, Option<u64>);

/// Who knows what earlier segments say.
pub(crate) trait Known {
    /// Of an account.
    fn account(&self, name: &Name) -> Result<Option<Before>, Error>;

    /// A leaf of an account before this one, for one that lies too far back: the last that a table of
    /// accounts speaks of.
    fn leaf_before(&self, name: &Name, leaf: u64) -> Result<Option<u64>, Error>;

    /// Shows the leaves of a path, the last first, until `see` has seen enough.
    fn path(&self, path: &[u8; 8], see: &mut SeeLeaf<'_>) -> Result<(), Error>;

    /// A leaf; `None` if its segment is not there any more.
    fn leaf(&self, number: u64) -> Result<Option<Leaf>, Error>;
}

/// Who is shown leaves by number; false if that is enough.
pub(crate) type SeeLeaf<'s> = dyn FnMut(u64) -> Result<bool, Error> + 's;

/// An event, as far as anything is derived of it.
pub(crate) struct Given<'a> {
    pub(crate) ordinal: u32,
    pub(crate) n: u64,
    pub(crate) host: &'a Host,
    pub(crate) epoch: u32,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    /// What it says, if that can be read.
    pub(crate) event: Option<Event<'a>>,
    pub(crate) proved: bool,
}

impl<'a> Given<'a> {
    /// One that a reader has read.
    pub(crate) fn of(ordinal: u32, event: &'a crate::Event<'a>) -> Given<'a> {
        Given {
            ordinal,
            n: event.n,
            host: event.from,
            epoch: event.epoch,
            seq: event.seq,
            time_ns: event.time_ns,
            event: event::parse(event.body).ok(),
            proved: event.proof().is_some(),
        }
    }
}

/// What is derived so far.
#[derive(Debug)]
pub(crate) struct Draft {
    key: [u8; 32],
    pub(crate) segment: u32,
    notes: LeafNotes,
    pub(crate) leaves: Vec<Leaf>,
    accounts: HashMap<Name, Account>,
    /// The last leaf of each path.
    paths: HashMap<[u8; 8], PathLeaf>,
    /// And of one that was created here again, those before.
    older: HashMap<[u8; 8], Vec<PathLeaf>>,
    /// Where each event came from that has a record.
    places: HashMap<u64, (HostNo, u32, u64)>,
    hosts: Hosts,
    /// What was said since this was asked for last.
    said: Said,
}

#[derive(Debug)]
struct Account {
    number: u32,
    leaf: Option<u64>,
    records: Vec<Record>,
}

impl Draft {
    /// Begins with what comes behind the segment before, or at the beginning of an archive.
    pub(crate) fn new(
        key: &[u8; 32],
        segment: u32,
        event: u64,
        before: Option<&LeafNotes>,
    ) -> Draft {
        let before = before.copied().unwrap_or_default();
        let notes = LeafNotes { event, seconds_before: before.seconds, ..before };
        Draft {
            key: *key,
            segment,
            notes,
            leaves: Vec::new(),
            accounts: HashMap::new(),
            paths: HashMap::new(),
            older: HashMap::new(),
            places: HashMap::new(),
            hosts: Hosts::default(),
            said: Said::default(),
        }
    }

    /// The notes of the file of leaves.
    pub(crate) fn notes(&self) -> LeafNotes {
        self.notes
    }

    /// What the next segment begins behind.
    pub(crate) fn end(&self) -> LeafNotes {
        LeafNotes { first: self.next_leaf(), ..self.notes }
    }

    /// An account as this leaves it.
    pub(crate) fn account(&self, name: &Name) -> Option<Before> {
        let account = self.accounts.get(name)?;
        Some((account.number, account.leaf))
    }

    /// Shows the leaves of a path here, the last first; false if `see` has seen enough.
    pub(crate) fn path(&self, path: &[u8; 8], see: &mut SeeLeaf<'_>) -> Result<bool, Error> {
        let older = self.older.get(path).into_iter().flatten().rev();
        for last in self.paths.get(path).into_iter().chain(older) {
            if !see(last.leaf)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All paths in order, and their leaves.
    pub(crate) fn path_leaves(&self) -> Vec<([u8; 8], PathLeaf)> {
        let mut all: Vec<_> = self.paths.iter().map(|(path, last)| (*path, *last)).collect();
        all.extend(self.older.iter().flat_map(|(path, older)| older.iter().map(|it| (*path, *it))));
        all.sort_unstable_by_key(|(path, last)| (*path, last.leaf));
        all
    }

    /// A leaf by its number, if it is here.
    pub(crate) fn leaf_at(&self, number: u64) -> Option<Leaf> {
        let place = usize::try_from(number.checked_sub(self.notes.first)?).ok()?;
        self.leaves.get(place).copied()
    }

    /// What was said since this was asked for last.
    pub(crate) fn take_said(&mut self) -> Said {
        std::mem::take(&mut self.said)
    }

    /// The number of the leaf that comes next.
    pub(crate) fn next_leaf(&self) -> u64 {
        self.notes.first + self.leaves.len() as u64
    }

    /// An event.
    pub(crate) fn event(&mut self, known: &impl Known, given: &Given<'_>) -> Result<(), Error> {
        let seconds = u32::try_from(given.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        self.notes.seconds = self.notes.seconds.max(seconds);
        let did = given.event.as_ref().and_then(Event::did).filter(|did| !did.is_empty());
        let Some((event, did)) = given.event.as_ref().zip(did) else {
            self.leaf(given.ordinal, NO_ACCOUNT, &mut None, ([0; 8], 0));
            return Ok(());
        };
        let account_name = name(&self.key, did, "");
        let mut account = self.begin(known, &account_name)?;
        let mark = if given.proved { 0 } else { UNPROVED };
        let mut any = false;
        if let Event::Commit(commit) = event {
            for op in commit.ops {
                any = true;
                let path = path(&self.key, did, op.path, given.proved);
                let kind = match op.action {
                    Action::Create => CREATE,
                    Action::Update => UPDATE,
                    Action::Delete => DELETE,
                    _ => 4,
                };
                if given.proved && matches!(kind, UPDATE | DELETE) {
                    self.retire(known, &path, account.number)?;
                }
                self.put_path(path, PathLeaf { leaf: self.next_leaf(), created: kind == CREATE });
                self.leaf(given.ordinal, account.number, &mut account.leaf, (path, kind | mark));
            }
        }
        if !any {
            self.leaf(given.ordinal, account.number, &mut account.leaf, ([0; 8], mark));
        }
        let mut record = Record::new(account_name, given.n, account.number, account.leaf);
        if given.proved {
            record.learn(event, given.host);
        }
        if let Some(status) = record.status.filter(|_| account.number != NO_ACCOUNT) {
            self.said.away.insert(account.number, lattice::word(status, given.n));
        }
        if record.head.is_some() || record.away.is_some() || record.status.is_some() {
            let host = self.hosts.number(given.host.role, &given.host.name)?;
            self.places.insert(given.n, (host, given.epoch, given.seq));
            account.records.push(record);
        } else {
            // Numbers and leaves need no mark.
            account.records.push(Record { settled: true, ..record });
        }
        self.accounts.insert(account_name, account);
        Ok(())
    }

    fn put_path(&mut self, path: [u8; 8], last: PathLeaf) {
        let before = self.paths.insert(path, last);
        match before {
            Some(before) if last.created => self.older.entry(path).or_default().push(before),
            Some(before) if before.created => drop(self.older.remove(&path)),
            _ => {}
        }
    }

    /// What an account put under a path so far is gone: the last record, and behind one that was created
    /// those before it, which a gap may have left.
    fn retire(&mut self, known: &impl Known, path: &[u8; 8], account: u32) -> Result<(), Error> {
        let mut gone = Vec::new();
        let mut see = |number: u64| {
            let leaf = match self.leaf_at(number) {
                Some(leaf) => Some(leaf),
                None => known.leaf(number)?,
            };
            // One of another account, or of a segment that was dropped, is none of ours.
            let Some(leaf) = leaf.filter(|leaf| leaf.account == account && leaf.path == *path)
            else {
                return Ok(false);
            };
            if matches!(leaf.op, CREATE | UPDATE) {
                gone.push(number);
            }
            Ok(leaf.op == CREATE)
        };
        if self.path(path, &mut see)? {
            known.path(path, &mut see)?;
        }
        self.said.gone.append(&mut gone);
        Ok(())
    }

    /// What an account has under other paths than these is gone.
    fn retire_others(
        &mut self,
        known: &impl Known,
        (name, account): (&Name, &Account),
        kept: &HashSet<[u8; 8]>,
    ) -> Result<(), Error> {
        let mut next = account.leaf;
        while let Some(number) = next {
            let leaf = match self.leaf_at(number) {
                Some(leaf) => Some(leaf),
                None => known.leaf(number)?,
            };
            // What is not there any more went with its segment, and all before it.
            let Some(leaf) = leaf.filter(|leaf| leaf.account == account.number) else { break };
            if matches!(leaf.op, CREATE | UPDATE) && !kept.contains(&leaf.path) {
                self.said.gone.push(number);
            }
            next = match leaf.before {
                0 => None,
                TOO_FAR => known.leaf_before(name, number)?,
                ago => number.checked_sub(u64::from(ago)),
            };
        }
        Ok(())
    }

    /// An event whose bytes are lost: it has a leaf, so that the others keep their numbers.
    pub(crate) fn lost(&mut self, ordinal: u32) {
        self.leaf(ordinal, NO_ACCOUNT, &mut None, ([0; 8], 0));
    }

    /// A control frame before event `n`.
    pub(crate) fn note(
        &mut self,
        known: &impl Known,
        n: u64,
        frame: &Frame<'_>,
    ) -> Result<(), Error> {
        if frame.header.kind != Kind::REPO
            || content::proof(frame.section(frame::Tag::VERDICT)).is_none()
        {
            return Ok(());
        }
        let Ok((repo, mut paths)) = frame::repo::read(frame) else { return Ok(()) };
        let account_name = name(&self.key, repo.did, "");
        let mut account = self.begin(known, &account_name)?;
        let mut kept = HashSet::new();
        while let Some((path_bytes, _)) = paths.next() {
            // A path that is no text is no path of an operation.
            let text = std::str::from_utf8(path_bytes).ok();
            kept.extend(text.map(|text| path(&self.key, repo.did, text, true)));
        }
        // A list that is not whole would have records gone that are there.
        if paths.left() == 0 {
            self.retire_others(known, (&account_name, &account), &kept)?;
        }
        let cid = |bytes: &[u8]| atproto::Cid::from_slice(bytes).ok();
        if let Some((commit, data)) = cid(&repo.commit).zip(cid(&repo.data)) {
            let head = Head { rev: repo.rev, commit, data, healed: true };
            let record = Record::new(account_name, n, account.number, account.leaf);
            account.records.push(Record { head: Some(head), settled: true, ..record });
        }
        self.accounts.insert(account_name, account);
        Ok(())
    }

    /// Takes an account out, to be changed and put back.
    fn begin(&mut self, known: &impl Known, name: &Name) -> Result<Account, Error> {
        if let Some(account) = self.accounts.remove(name) {
            return Ok(account);
        }
        let (number, leaf) = match known.account(name)? {
            Some(before) => before,
            None => {
                // When all are given, those who come have none, and not that of another.
                let number = self.notes.accounts;
                self.notes.accounts = number.saturating_add(1);
                (number, None)
            }
        };
        Ok(Account { number, leaf, records: Vec::new() })
    }

    fn leaf(
        &mut self,
        ordinal: u32,
        account: u32,
        last: &mut Option<u64>,
        (path, op): ([u8; 8], u8),
    ) {
        let leaf = self.next_leaf();
        // One that is not before this is of files that do not belong together.
        let ago = |last: u64| leaf.checked_sub(last).and_then(|ago| u32::try_from(ago).ok());
        let before = last.map_or(0, |last| ago(last).unwrap_or(TOO_FAR));
        let (segment, seconds) = (self.segment, self.notes.seconds);
        self.leaves.push(Leaf { path, account, segment, ordinal, op, before, seconds });
        *last = Some(leaf);
    }

    /// The records of all accounts in order, and those of them that no mark covers.
    pub(crate) fn records(&self, settled: &Settled) -> (Vec<Record>, Pending) {
        let mut pending = Pending::default();
        for (n, (host, epoch, seq)) in &self.places {
            let Some(host) = self.hosts.get(*host) else { continue };
            if !settled.covers(host, *epoch, *seq) {
                pending.by_n.insert(*n, (host.clone(), *epoch, *seq));
            }
        }
        let mut names: Vec<&Name> = self.accounts.keys().collect();
        names.sort_unstable();
        let of = |name: &&Name| self.accounts.get(*name);
        let records = names.iter().filter_map(of).flat_map(|it| settle(&it.records, &pending));
        (records.collect(), pending)
    }
}

/// What a path is called in leaves. An event that was not proved calls it otherwise, so that it
/// hides nothing.
pub(crate) fn path(key: &[u8; 32], did: &str, path: &str, proved: bool) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = name(key, did, path);
    if proved { [a, b, c, d, e, f, g, h] } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::Nobody;

    #[test]
    fn when_all_account_numbers_are_given_none_is_given_twice() {
        let before = LeafNotes { accounts: NO_ACCOUNT - 1, ..LeafNotes::default() };
        let mut draft = Draft::new(&[0; 32], 0, 0, Some(&before));
        let numbers = [1, 2, 3].map(|name| draft.begin(&Nobody, &[name; 16]).unwrap().number);
        assert_eq!(numbers, [NO_ACCOUNT - 1, NO_ACCOUNT, NO_ACCOUNT]);
        assert_eq!(draft.end().accounts, NO_ACCOUNT);
    }
}
