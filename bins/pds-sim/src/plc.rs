//! The directory: operations in the order in which they appeared, which numbers them, and in that
//! of their times, found again by DID.

use std::collections::HashMap;
use std::path::Path;
use std::sync::RwLock;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::clock::{iso, parse_iso};
use crate::operation::{Operation, State, state_of};

/// A PLC directory, shared by those who add to it and those who serve it.
pub struct Directory {
    inner: RwLock<Inner>,
    /// Number of operations, told when it grows.
    grown: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    /// As they appeared.
    ops: Vec<Entry>,
    /// Places in the order of `/export` by time: createdAt, then CID.
    by_time: Vec<usize>,
    by_did: HashMap<String, Vec<usize>>,
}

struct Entry {
    /// Its number. Numbers have gaps, as those of a database sequence do.
    seq: u64,
    /// Milliseconds since 1970.
    created_ms: u64,
    cid: Box<str>,
    nullified: bool,
    /// The operation alone, JSON.
    operation: Box<str>,
    /// The line of `/export` by time and the element of `/log/audit`.
    line: Box<str>,
    /// The line of `/export` by number and the message of `/export/stream`.
    numbered: Box<str>,
}

/// A line of the export by time, in the order of the official server.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    did: &'a str,
    #[serde(borrow)]
    operation: &'a RawValue,
    cid: &'a str,
    nullified: bool,
    created_at: &'a str,
}

/// A line of the export by number.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbered<'a> {
    r#type: &'static str,
    seq: u64,
    did: &'a str,
    cid: &'a str,
    operation: &'a RawValue,
    created_at: &'a str,
}

/// The operation that another follows.
#[derive(Deserialize)]
struct Prev<'a> {
    #[serde(borrow)]
    prev: Option<&'a str>,
}

/// What the directory knows of a DID.
pub enum Known {
    /// The DID was never registered.
    Nothing,
    /// Its last operation is a tombstone.
    Tombstoned,
    /// Its present state.
    State(Box<State>),
}

/// Where a reader of the stream begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Join {
    /// At this place in the order of appearance.
    At(usize),
    /// Its cursor lies before the window.
    Outdated,
    /// Its cursor is a number that there is not yet.
    Future,
}

impl Default for Directory {
    fn default() -> Self {
        Self::of(Inner::default())
    }
}

impl Directory {
    fn of(inner: Inner) -> Self {
        let grown = watch::channel(inner.ops.len()).0;
        Self { inner: RwLock::new(inner), grown }
    }

    /// The directory that an export holds, line by line as it was exported.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read the export", path.display()))?;
        let mut inner = Inner::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let at = || format!("{}: line {}: not a line of /export", path.display(), number + 1);
            let parsed: Line<'_> = serde_json::from_str(line).with_context(at)?;
            let created_us = parse_iso(parsed.created_at).with_context(at)?;
            inner.push(&parsed, line.into(), created_us / 1000)?;
        }
        // An export is in the order of its times but for those that came late.
        inner.by_time = (0..inner.ops.len()).collect();
        inner.by_time.sort_by_key(|place| inner.ops[*place].created_ms);
        Ok(Self::of(inner))
    }

    /// Adds an operation. What behind the one it follows was in force is nullified.
    pub fn add(&self, did: &str, operation: &Operation, created_us: u64) -> Result<()> {
        let raw: &RawValue = serde_json::from_str(&operation.json)?;
        let (cid, created_at) = (operation.cid.to_string(), iso(created_us));
        let line =
            Line { did, operation: raw, cid: &cid, nullified: false, created_at: &created_at };
        let prev: Prev<'_> = serde_json::from_str(&operation.json)?;
        let mut inner = self.write();
        if let Some(prev) = prev.prev {
            inner.nullify_behind(did, prev)?;
        }
        inner.push(&line, serde_json::to_string(&line)?.into(), created_us / 1000)?;
        let count = inner.ops.len();
        drop(inner);
        self.grown.send_replace(count);
        Ok(())
    }

    /// Up to `count` lines with times later than `after_ms`, without a newline behind the last.
    pub fn export(&self, after_ms: Option<u64>, count: usize) -> String {
        let inner = self.read_lock();
        let from = match after_ms {
            Some(after) => {
                inner.by_time.partition_point(|place| inner.ops[*place].created_ms <= after)
            }
            None => 0,
        };
        let places = inner.by_time.iter().skip(from).take(count);
        join(places.map(|place| &*inner.ops[*place].line), "\n")
    }

    /// Up to `count` lines with numbers above `after`, without a newline behind the last.
    pub fn export_numbered(&self, after: u64, count: usize) -> String {
        let inner = self.read_lock();
        let from = inner.ops.partition_point(|entry| entry.seq <= after);
        join(inner.ops.iter().skip(from).take(count).map(|entry| &*entry.numbered), "\n")
    }

    /// Where a reader of the stream begins, if it reaches back over `window` operations.
    pub fn join(&self, cursor: Option<u64>, window: Option<usize>) -> Join {
        let inner = self.read_lock();
        let end = inner.ops.len();
        let Some(cursor) = cursor else { return Join::At(end) };
        let place = inner.ops.partition_point(|entry| entry.seq <= cursor);
        match inner.ops.last() {
            Some(last) if cursor > last.seq => Join::Future,
            None if cursor > 0 => Join::Future,
            _ if window.is_some_and(|window| end - place > window) => Join::Outdated,
            _ => Join::At(place),
        }
    }

    /// Up to `count` messages of the stream from a place on.
    pub fn messages(&self, place: usize, count: usize) -> Vec<String> {
        let inner = self.read_lock();
        inner.ops.iter().skip(place).take(count).map(|entry| entry.numbered.to_string()).collect()
    }

    /// Number of operations, told when it grows.
    pub fn grown(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }

    /// The array of `/log/audit`, with what was nullified; empty for an unknown DID.
    pub fn audit(&self, did: &str) -> Option<String> {
        self.log(did, |_| true, |entry| &entry.line)
    }

    /// The array of `/log`: operations alone, without what was nullified.
    pub fn operations(&self, did: &str) -> Option<String> {
        self.log(did, |entry| !entry.nullified, |entry| &entry.operation)
    }

    /// The last operation in force.
    pub fn last(&self, did: &str) -> Option<String> {
        let inner = self.read_lock();
        inner.last(did).map(|entry| entry.operation.to_string())
    }

    /// What is known of a DID.
    pub fn known(&self, did: &str) -> Result<Known> {
        let Some(operation) = self.last(did) else { return Ok(Known::Nothing) };
        let operation: Value = serde_json::from_str(&operation)?;
        Ok(match state_of(&operation)? {
            Some(state) => Known::State(Box::new(state)),
            None => Known::Tombstoned,
        })
    }

    fn log(
        &self,
        did: &str,
        keep: impl Fn(&Entry) -> bool,
        part: impl Fn(&Entry) -> &str,
    ) -> Option<String> {
        let inner = self.read_lock();
        let places = inner.by_did.get(did)?;
        let entries = places.iter().filter_map(|place| inner.ops.get(*place));
        let parts = entries.filter(|entry| keep(entry)).map(part);
        Some(format!("[{}]", join(parts, ",")))
    }

    // A thread that panicked with the lock held has ended the process (or its test) already.
    fn read_lock(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, line: &Line<'_>, text: Box<str>, created_ms: u64) -> Result<()> {
        let place = self.ops.len();
        let seq = (place + place / 7 + 1) as u64;
        let numbered = serde_json::to_string(&Numbered {
            r#type: "sequenced_op",
            seq,
            did: line.did,
            cid: line.cid,
            operation: line.operation,
            created_at: line.created_at,
        })?;
        let at = self.by_time.partition_point(|other| {
            let other = &self.ops[*other];
            (other.created_ms, &*other.cid) < (created_ms, line.cid)
        });
        self.by_time.insert(at, place);
        self.by_did.entry(line.did.to_owned()).or_default().push(place);
        self.ops.push(Entry {
            seq,
            created_ms,
            cid: line.cid.into(),
            nullified: line.nullified,
            operation: line.operation.get().into(),
            line: text,
            numbered: numbered.into(),
        });
        Ok(())
    }

    /// Of an account's operations, those behind this one are no longer in force. Lines by time
    /// say so from now on; those by number never do.
    fn nullify_behind(&mut self, did: &str, prev: &str) -> Result<()> {
        let places = self.by_did.get(did).map(Vec::as_slice).unwrap_or_default();
        let follows = places.iter().rev().take_while(|place| &*self.ops[**place].cid != prev);
        for place in follows.copied().collect::<Vec<_>>() {
            let Some(entry) = self.ops.get_mut(place).filter(|entry| !entry.nullified) else {
                continue;
            };
            let mut line: Line<'_> = serde_json::from_str(&entry.line)?;
            line.nullified = true;
            let text = serde_json::to_string(&line)?;
            entry.nullified = true;
            entry.line = text.into();
        }
        Ok(())
    }

    fn last(&self, did: &str) -> Option<&Entry> {
        let places = self.by_did.get(did)?;
        let mut entries = places.iter().rev().filter_map(|place| self.ops.get(*place));
        entries.find(|entry| !entry.nullified)
    }
}

fn join<'a>(parts: impl Iterator<Item = &'a str>, between: &str) -> String {
    let mut out = String::new();
    for part in parts {
        if !out.is_empty() {
            out.push_str(between);
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::block::Block;
    use crate::key::{Curve, Key};
    use crate::operation::{Service, did_of};

    fn fixture(name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/refnet");
        path.join(name)
    }

    #[test]
    fn recorded_operations_have_the_cids_and_dids_that_we_give_them() {
        let text = std::fs::read_to_string(fixture("plc-export.jsonl")).unwrap();
        let mut geneses = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let cid = Block::of(&line["operation"]).unwrap().cid;
            assert_eq!(line["cid"], cid.to_string());
            if line["operation"]["prev"].is_null() {
                assert_eq!(line["did"], did_of(&cid));
                geneses += 1;
            }
        }
        assert!(geneses >= 100);
    }

    #[test]
    fn a_recorded_export_is_given_back_line_by_line() {
        let path = fixture("plc-export.jsonl");
        let directory = Directory::read(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(directory.export(None, usize::MAX), text.trim_end());
        let lines: Vec<&str> = text.lines().collect();
        let second: Value = serde_json::from_str(lines[1]).unwrap();
        let after = parse_iso(second["createdAt"].as_str().unwrap()).unwrap() / 1000;
        assert_eq!(directory.export(Some(after), 1), lines[2]);
    }

    #[test]
    fn chains_are_followed_to_their_last_state_and_to_their_end() {
        let key = Key::from_seed(Curve::K256, 1, "rotation").unwrap();
        let mut state = State {
            services: [(
                "atproto_pds".to_owned(),
                Service {
                    kind: "AtprotoPersonalDataServer".to_owned(),
                    endpoint: "http://127.0.0.1:1".to_owned(),
                },
            )]
            .into(),
            also_known_as: vec!["at://a.test".to_owned()],
            rotation_keys: vec![key.did_key().to_string()],
            verification_methods: [("atproto".to_owned(), key.did_key().to_string())].into(),
        };
        let directory = Directory::default();
        let genesis = Operation::update(&state, None, &key).unwrap();
        let did = genesis.did();
        directory.add(&did, &genesis, 1_700_000_000_000_000).unwrap();
        state.also_known_as = vec!["at://b.test".to_owned()];
        let second = Operation::update(&state, Some(genesis.cid), &key).unwrap();
        directory.add(&did, &second, 1_700_000_000_001_000).unwrap();
        let Known::State(known) = directory.known(&did).unwrap() else { panic!("no state") };
        assert_eq!(*known, state);
        let json: Value = serde_json::from_str(&genesis.json).unwrap();
        assert_eq!(Block::of(&json).unwrap().cid, genesis.cid);

        let end = Operation::tombstone(second.cid, &key).unwrap();
        directory.add(&did, &end, 1_700_000_000_002_000).unwrap();
        assert!(matches!(directory.known(&did).unwrap(), Known::Tombstoned));
        assert!(matches!(directory.known("did:plc:nobody").unwrap(), Known::Nothing));
        let audit: Vec<Value> = serde_json::from_str(&directory.audit(&did).unwrap()).unwrap();
        assert_eq!(audit.len(), 3);
        assert_eq!(audit[2]["createdAt"], "2023-11-14T22:13:20.002Z");
        assert_eq!(directory.audit("did:plc:nobody"), None);
    }
}
