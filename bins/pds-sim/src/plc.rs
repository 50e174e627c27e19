//! The directory: operations in the order of their times, found again by DID.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::RwLock;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::{iso, parse_iso};
use crate::operation::{Operation, State, state_of};

/// A PLC directory, shared by those who add to it and those who serve it.
#[derive(Default)]
pub struct Directory {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    ops: Vec<Entry>,
    by_did: HashMap<String, Vec<usize>>,
}

struct Entry {
    /// Milliseconds since 1970.
    created_ms: u64,
    nullified: bool,
    /// The operation alone, JSON.
    operation: Box<str>,
    /// The line of `/export` and the element of `/log/audit`.
    line: Box<str>,
}

/// A line of the export, in the order of the official server.
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

/// What the directory knows of a DID.
pub enum Known {
    /// The DID was never registered.
    Nothing,
    /// Its last operation is a tombstone.
    Tombstoned,
    /// Its present state.
    State(Box<State>),
}

impl Directory {
    /// The directory that an export holds, line by line as it was exported.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read the export", path.display()))?;
        let mut inner = Inner::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let at = || format!("{}: line {}: not a line of /export", path.display(), number + 1);
            let parsed: Line<'_> = serde_json::from_str(line).with_context(at)?;
            let created_us = parse_iso(parsed.created_at).with_context(at)?;
            inner.push(
                parsed.did,
                Entry {
                    created_ms: created_us / 1000,
                    nullified: parsed.nullified,
                    operation: parsed.operation.get().into(),
                    line: line.into(),
                },
            );
        }
        // An export is in the order of its times but for those that came late.
        if !inner.ops.is_sorted_by_key(|entry| entry.created_ms) {
            inner.sort();
        }
        Ok(Self { inner: RwLock::new(inner) })
    }

    /// Adds an operation. Times may not go back.
    pub fn add(&self, did: &str, operation: &Operation, created_us: u64) -> Result<()> {
        let raw: &RawValue = serde_json::from_str(&operation.json)?;
        let (cid, created_at) = (operation.cid.to_string(), iso(created_us));
        let line =
            Line { did, operation: raw, cid: &cid, nullified: false, created_at: &created_at };
        let entry = Entry {
            created_ms: created_us / 1000,
            nullified: false,
            line: serde_json::to_string(&line)?.into(),
            operation: operation.json.as_str().into(),
        };
        let mut inner = self.write();
        inner.push(did, entry);
        Ok(())
    }

    /// Up to `count` lines with times later than `after_ms`, without a newline behind the last.
    pub fn export(&self, after_ms: Option<u64>, count: usize) -> String {
        let inner = self.read_lock();
        let from = match after_ms {
            Some(after) => inner.ops.partition_point(|entry| entry.created_ms <= after),
            None => 0,
        };
        join(inner.ops.iter().skip(from).take(count).map(|entry| &*entry.line), "\n")
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
    fn push(&mut self, did: &str, entry: Entry) {
        let place = self.ops.len();
        self.ops.push(entry);
        match self.by_did.get_mut(did) {
            Some(places) => places.push(place),
            None => {
                self.by_did.insert(did.to_owned(), vec![place]);
            }
        }
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.ops.len()).collect();
        order.sort_by_key(|place| self.ops[*place].created_ms);
        let mut place_now = vec![0; order.len()];
        for (now, before) in order.iter().enumerate() {
            place_now[*before] = now;
        }
        self.ops.sort_by_key(|entry| entry.created_ms);
        for place in self.by_did.values_mut().flatten() {
            *place = place_now[*place];
        }
        self.by_did.values_mut().for_each(|places| places.sort_unstable());
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

/// The DID document of a state, as the official server gives it.
pub fn document(did: &str, state: &State) -> Value {
    let mut context = vec!["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];
    let mut methods = Vec::new();
    for (name, key) in &state.verification_methods {
        let suite = match key.get(8..12) {
            Some("zQ3s") => Some("https://w3id.org/security/suites/secp256k1-2019/v1"),
            Some("zDna") => Some("https://w3id.org/security/suites/ecdsa-2019/v1"),
            _ => None,
        };
        context.extend(suite.filter(|suite| !context.contains(suite)));
        methods.push(json!({
            "id": format!("{did}#{name}"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key.strip_prefix("did:key:").unwrap_or(key),
        }));
    }
    let services = state.services.iter().map(|(name, service)| {
        json!({
            "id": format!("#{name}"),
            "type": service.kind,
            "serviceEndpoint": service.endpoint,
        })
    });
    json!({
        "@context": context,
        "id": did,
        "alsoKnownAs": state.also_known_as,
        "verificationMethod": methods,
        "service": services.collect::<Vec<_>>(),
    })
}

/// The answer of `/DID/data`.
pub fn data(did: &str, state: &State) -> Value {
    let fields: BTreeMap<&str, Value> = [
        ("did", json!(did)),
        ("verificationMethods", json!(state.verification_methods)),
        ("rotationKeys", json!(state.rotation_keys)),
        ("alsoKnownAs", json!(state.also_known_as)),
        ("services", json!(state.services)),
    ]
    .into();
    json!(fields)
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

    #[test]
    fn the_document_is_the_one_that_the_directory_gave() {
        let state = State {
            services: [(
                "atproto_pds".to_owned(),
                Service {
                    kind: "AtprotoPersonalDataServer".to_owned(),
                    endpoint: "https://pds.example.com".to_owned(),
                },
            )]
            .into(),
            also_known_as: vec!["at://a.example.com".to_owned()],
            rotation_keys: Vec::new(),
            verification_methods: [(
                "atproto".to_owned(),
                "did:key:zQ3shrc8v5X6ZiANcZxA6JerfT2T4SskeCGxpmtDfMuHF9KRj".to_owned(),
            )]
            .into(),
        };
        let did = "did:plc:2a7ygipkrbh544aqhcav53oy";
        let want = json!({
            "@context": [
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1",
                "https://w3id.org/security/suites/secp256k1-2019/v1"
            ],
            "id": did,
            "alsoKnownAs": ["at://a.example.com"],
            "verificationMethod": [{
                "id": format!("{did}#atproto"),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": "zQ3shrc8v5X6ZiANcZxA6JerfT2T4SskeCGxpmtDfMuHF9KRj"
            }],
            "service": [{
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.example.com"
            }]
        });
        assert_eq!(document(did, &state), want);
    }
}
