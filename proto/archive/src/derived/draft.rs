//! What is derived of one log or segment, while it is made of its events.

use std::collections::HashMap;

use atproto::event::{self, Action, Event};
use frame::{Frame, Kind};

use crate::Error;
use crate::content;
use crate::derived::account::{Head, Pending, Record, Settled, settle};
use crate::derived::leaf::{Leaf, LeafNotes, NO_ACCOUNT, TOO_FAR, UNPROVED};
use crate::derived::{Name, name};
use crate::hosts::Host;

/// An account as earlier segments leave it: its number and last leaf.
pub(crate) type Before = (u32, u64);

/// Who knows what earlier segments say of an account.
pub(crate) trait Known {
    fn account(&self, name: &Name) -> Result<Option<Before>, Error>;
}

/// An event, as far as anything is derived of it.
pub(crate) struct Given<'a> {
    pub(crate) ordinal: u32,
    pub(crate) n: u64,
    pub(crate) host: &'a Host,
    pub(crate) epoch: u32,
    pub(crate) seq: u64,
    pub(crate) time_ns: u64,
    pub(crate) body: &'a [u8],
    pub(crate) verdict: Option<&'a [u8]>,
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
            body: event.body,
            verdict: event.verdict(),
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
    pub(crate) paths: HashMap<[u8; 8], u64>,
    /// Where each event came from that has a record.
    places: HashMap<u64, (Host, u32, u64)>,
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
            places: HashMap::new(),
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
        Some((account.number, account.leaf?))
    }

    fn next_leaf(&self) -> u64 {
        self.notes.first + self.leaves.len() as u64
    }

    /// An event.
    pub(crate) fn event(&mut self, known: &impl Known, given: &Given<'_>) -> Result<(), Error> {
        let proved = content::proof(given.verdict).is_some();
        let event = event::parse(given.body).ok();
        let seconds = u32::try_from(given.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        self.notes.seconds = self.notes.seconds.max(seconds);
        let did = event.as_ref().and_then(Event::did).filter(|did| !did.is_empty());
        let Some((event, did)) = event.as_ref().zip(did) else {
            self.leaf(given.ordinal, NO_ACCOUNT, &mut None, ([0; 8], 0));
            return Ok(());
        };
        let account_name = name(&self.key, did, "");
        let mut account = match self.accounts.remove(&account_name) {
            Some(account) => account,
            None => self.begin(known, &account_name)?,
        };
        let mark = if proved { 0 } else { UNPROVED };
        let mut any = false;
        if let Event::Commit(commit) = event {
            for op in commit.ops {
                any = true;
                let path = path(&self.key, did, op.path, proved);
                let kind = match op.action {
                    Action::Create => 1,
                    Action::Update => 2,
                    Action::Delete => 3,
                    _ => 4,
                };
                self.paths.insert(path, self.next_leaf());
                self.leaf(given.ordinal, account.number, &mut account.leaf, (path, kind | mark));
            }
        }
        if !any {
            self.leaf(given.ordinal, account.number, &mut account.leaf, ([0; 8], mark));
        }
        let leaf = account.leaf.unwrap_or(0);
        let mut record = Record::new(account_name, given.n, account.number, leaf);
        if proved {
            record.learn(event, given.host);
        }
        if record.head.is_some() || record.away.is_some() || record.status.is_some() {
            self.places.insert(given.n, (given.host.clone(), given.epoch, given.seq));
            account.records.push(record);
        } else {
            // Numbers and leaves need no mark.
            account.records.push(Record { settled: true, ..record });
        }
        self.accounts.insert(account_name, account);
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
        let Ok((repo, _)) = frame::repo::read(frame) else { return Ok(()) };
        let cid = |bytes: &[u8]| atproto::Cid::from_slice(bytes).ok();
        let Some((commit, data)) = cid(&repo.commit).zip(cid(&repo.data)) else { return Ok(()) };
        let account_name = name(&self.key, repo.did, "");
        let mut account = match self.accounts.remove(&account_name) {
            Some(account) => account,
            None => self.begin(known, &account_name)?,
        };
        let head = Head { rev: repo.rev, commit, data, healed: true };
        let record = Record::new(account_name, n, account.number, account.leaf.unwrap_or(0));
        account.records.push(Record { head: Some(head), settled: true, ..record });
        self.accounts.insert(account_name, account);
        Ok(())
    }

    fn begin(&mut self, known: &impl Known, name: &Name) -> Result<Account, Error> {
        let (number, leaf) = match known.account(name)? {
            Some((number, leaf)) => (number, Some(leaf)),
            None => {
                self.notes.accounts += 1;
                (self.notes.accounts - 1, None)
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
