//! Accounts with keys, and events made from nothing: good ones, and any kind of bad ones.

use std::collections::{BTreeMap, BTreeSet};

use atproto::{Cid, Tid, mst};
use k256::ecdsa::signature::hazmat::PrehashSigner;
use keys::{Curve, PublicKey};
use sha2::{Digest, Sha256};

use crate::harness::NOW_NS;

/// When the events of these tests were made, unix us: a minute before they were received.
pub const MADE_US: u64 = NOW_NS / 1000 - 60_000_000;

pub enum Secret {
    K256(k256::ecdsa::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Secret {
    pub fn new(curve: Curve, seed: u8) -> Secret {
        match curve {
            Curve::K256 => Secret::K256(k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
            Curve::P256 => Secret::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
        }
    }

    pub fn public(&self) -> PublicKey {
        match self {
            Secret::K256(key) => {
                let point = key.verifying_key().to_sec1_point(true);
                PublicKey::from_compressed(Curve::K256, point.as_bytes())
            }
            Secret::P256(key) => {
                let point = key.verifying_key().to_sec1_point(true);
                PublicKey::from_compressed(Curve::P256, point.as_bytes())
            }
        }
        .unwrap()
    }

    /// The public key as older DID documents have it: type and text of a verification method.
    pub fn older_method(&self) -> (&'static str, String) {
        let (kind, point) = match self {
            Secret::K256(key) => (
                "EcdsaSecp256k1VerificationKey2019",
                key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            ),
            Secret::P256(key) => (
                "EcdsaSecp256r1VerificationKey2019",
                key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            ),
        };
        (kind, format!("z{}", bs58::encode(point).into_string()))
    }

    /// With a low S, or with the high one that holds just as well for a careless reader.
    pub fn sign(&self, message: &[u8], high: bool) -> Vec<u8> {
        let digest = Sha256::digest(message);
        match self {
            Secret::K256(key) => {
                let low: k256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let low = low.normalize_s();
                let (r, s) = low.split_scalars();
                let other = k256::ecdsa::Signature::from_scalars(r, -s).unwrap();
                if high { other } else { low }.to_bytes().to_vec()
            }
            Secret::P256(key) => {
                let low: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                let low = low.normalize_s();
                let (r, s) = low.split_scalars();
                let other = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
                if high { other } else { low }.to_bytes().to_vec()
            }
        }
    }
}

/// A commit object before it is signed.
#[derive(Clone)]
pub struct Commit {
    pub did: String,
    pub rev: String,
    pub data: Cid,
    pub version: u64,
    /// Further fields, by name.
    pub extra: Vec<(&'static str, Vec<u8>)>,
}

impl Commit {
    fn fields(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut fields = vec![
            ("did", text(&self.did)),
            ("rev", text(&self.rev)),
            ("data", link(&self.data)),
            ("prev", vec![0xf6]),
            ("version", uint(self.version)),
        ];
        fields.extend(self.extra.iter().cloned());
        fields
    }

    /// The bytes that are signed.
    pub fn unsigned(&self) -> Vec<u8> {
        map(self.fields())
    }

    pub fn with(&self, signature: &[u8]) -> Vec<u8> {
        let mut fields = self.fields();
        fields.push(("sig", bytes(signature)));
        map(fields)
    }
}

#[derive(Clone)]
pub struct Op {
    pub action: &'static str,
    pub path: String,
    pub cid: Option<Cid>,
    pub prev: Option<Cid>,
}

/// A `#commit` or `#sync` before its bytes are laid out.
#[derive(Clone)]
pub struct Draft {
    pub kind: &'static str,
    pub seq: u64,
    pub did: String,
    pub rev: String,
    pub commit: Cid,
    pub roots: Vec<Cid>,
    pub blocks: Vec<(Cid, Vec<u8>)>,
    pub ops: Vec<Op>,
    pub since: Option<String>,
    pub prev_data: Option<Cid>,
    /// What the commit block says.
    pub object: Commit,
    /// Bytes behind the last block.
    pub behind: Vec<u8>,
    /// Further fields of the event, by name.
    pub extra: Vec<(&'static str, Vec<u8>)>,
}

impl Draft {
    /// An account's first commit, of one record. `number` makes it another rev and record.
    pub fn new(did: &str, secret: &Secret, number: u64) -> Draft {
        let record = map(vec![
            ("$type", text("app.bsky.feed.post")),
            ("text", text(&format!("post {number}"))),
        ]);
        Draft::of_record(did, secret, number, record)
    }

    /// The same of another record.
    pub fn of_record(did: &str, secret: &Secret, number: u64, record: Vec<u8>) -> Draft {
        let path = format!("app.bsky.feed.post/{}", Tid::new(MADE_US + number, 1));
        let value = Cid::dag_cbor(&record);
        let entry = map(vec![
            ("k", bytes(path.as_bytes())),
            ("p", uint(0)),
            ("t", vec![0xf6]),
            ("v", link(&value)),
        ]);
        let node = map(vec![("e", array(&[entry])), ("l", vec![0xf6])]);
        let data = Cid::dag_cbor(&node);
        let rev = Tid::new(MADE_US + number, 0).to_string();
        let object =
            Commit { did: did.into(), rev: rev.clone(), data, version: 3, extra: Vec::new() };
        let mut draft = Draft {
            kind: "#commit",
            seq: number,
            did: did.into(),
            rev,
            commit: data,
            roots: Vec::new(),
            blocks: vec![(data, data_of(&[])), (data, node), (value, record)],
            ops: vec![Op { action: "create", path, cid: Some(value), prev: None }],
            since: None,
            prev_data: None,
            object,
            behind: Vec::new(),
            extra: Vec::new(),
        };
        draft.sign(secret);
        draft
    }

    /// A commit after which an account has other records than before: with all nodes of its tree, and
    /// the records that came.
    pub fn between(
        did: &str,
        secret: &Secret,
        number: u64,
        before: &Records,
        after: &Records,
    ) -> Draft {
        let mut draft = Draft::new(did, secret, number);
        let cid = |record: &Vec<u8>| Cid::dag_cbor(record);
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
        let ops = changed.map(|path| {
            let (prev, new) = (before.get(path).map(cid), after.get(path).map(cid));
            let action = match (prev, new) {
                (None, _) => "create",
                (_, None) => "delete",
                _ => "update",
            };
            Op { action, path: path.clone(), cid: new, prev }
        });
        draft.ops = ops.collect();
        draft.blocks.truncate(1);
        let (root, nodes) = tree(after);
        draft.blocks.extend(nodes);
        for op in draft.ops.iter().filter(|op| op.cid.is_some()) {
            let record = &after[&op.path];
            draft.blocks.push((cid(record), record.clone()));
        }
        if !before.is_empty() {
            draft.prev_data = Some(tree(before).0);
            draft.since = Some(Tid::new(MADE_US + number - 1, 0).to_string());
        }
        draft.object.data = root;
        draft.sign(secret);
        draft
    }

    /// As a `#sync` of the same state.
    pub fn sync(did: &str, secret: &Secret, number: u64) -> Draft {
        let mut draft = Draft::new(did, secret, number);
        draft.kind = "#sync";
        draft.blocks.truncate(1);
        draft
    }

    /// Signs the commit object as it is, and names the outcome wherever a commit is named.
    pub fn sign(&mut self, secret: &Secret) {
        let signature = secret.sign(&self.object.unsigned(), false);
        self.put_signature(&signature);
    }

    pub fn put_signature(&mut self, signature: &[u8]) {
        self.put_commit(self.object.with(signature));
    }

    pub fn put_commit(&mut self, block: Vec<u8>) {
        self.commit = Cid::dag_cbor(&block);
        self.roots = vec![self.commit];
        self.blocks[0] = (self.commit, block);
    }

    /// Gives the record other bytes, and a CID to fit in the op, but not in the tree.
    pub fn put_record(&mut self, record: Vec<u8>) {
        let cid = Cid::dag_cbor(&record);
        self.ops[0].cid = Some(cid);
        self.blocks[2] = (cid, record);
    }

    pub fn car(&self) -> Vec<u8> {
        let roots: Vec<Vec<u8>> = self.roots.iter().map(link).collect();
        let header = map(vec![("roots", array(&roots)), ("version", uint(1))]);
        let mut car = varint(header.len());
        car.extend(header);
        for (cid, data) in &self.blocks {
            car.extend(varint(36 + data.len()));
            car.extend_from_slice(cid.as_bytes());
            car.extend_from_slice(data);
        }
        car.extend_from_slice(&self.behind);
        car
    }

    pub fn body(&self) -> Vec<u8> {
        let optional = |cid: &Option<Cid>| cid.as_ref().map_or(vec![0xf6], link);
        let mut fields = vec![
            ("seq", uint(self.seq)),
            ("rev", text(&self.rev)),
            ("blocks", bytes(&self.car())),
            ("time", text("2026-11-30T23:59:00.000Z")),
        ];
        fields.extend(self.extra.iter().cloned());
        if self.kind == "#sync" {
            fields.push(("did", text(&self.did)));
            return envelope(self.kind, fields);
        }
        let ops: Vec<Vec<u8>> = self
            .ops
            .iter()
            .map(|op| {
                let mut fields = vec![
                    ("action", text(op.action)),
                    ("path", text(&op.path)),
                    ("cid", optional(&op.cid)),
                ];
                if let Some(prev) = &op.prev {
                    fields.push(("prev", link(prev)));
                }
                map(fields)
            })
            .collect();
        fields.extend([
            ("repo", text(&self.did)),
            ("commit", link(&self.commit)),
            ("since", self.since.as_deref().map_or(vec![0xf6], text)),
            ("ops", array(&ops)),
            ("blobs", array(&[])),
            ("rebase", vec![0xf4]),
            ("tooBig", vec![0xf4]),
        ]);
        if let Some(prev) = &self.prev_data {
            fields.push(("prevData", link(prev)));
        }
        envelope(self.kind, fields)
    }
}

/// Records by path.
pub type Records = BTreeMap<String, Vec<u8>>;

/// The tree of some records: its root, and all its nodes.
pub fn tree(records: &Records) -> (Cid, Vec<(Cid, Vec<u8>)>) {
    let all: Vec<(&str, Cid)> =
        records.iter().map(|(path, record)| (&**path, Cid::dag_cbor(record))).collect();
    let top = all.iter().map(|(path, _)| mst::layer(path.as_bytes())).max().unwrap_or(0);
    let mut nodes = Vec::new();
    let root = subtree(&all, top, &mut nodes);
    (root.unwrap_or_else(|| put_node(&mut nodes, None, &[])), nodes)
}

fn subtree(records: &[(&str, Cid)], at: u32, nodes: &mut Vec<(Cid, Vec<u8>)>) -> Option<Cid> {
    if records.is_empty() {
        return None;
    }
    let is_here = |(path, _): &(&str, Cid)| mst::layer(path.as_bytes()) == at;
    let gaps: Vec<Option<Cid>> = records
        .split(is_here)
        .map(|run| at.checked_sub(1).and_then(|below| subtree(run, below, nodes)))
        .collect();
    let here = records.iter().filter(|record| is_here(record));
    let entries: Vec<_> =
        here.zip(&gaps[1..]).map(|((path, cid), right)| (*path, *cid, *right)).collect();
    Some(put_node(nodes, gaps[0], &entries))
}

fn put_node(
    nodes: &mut Vec<(Cid, Vec<u8>)>,
    left: Option<Cid>,
    entries: &[(&str, Cid, Option<Cid>)],
) -> Cid {
    let block = node(left, entries);
    let cid = Cid::dag_cbor(&block);
    nodes.push((cid, block));
    cid
}

/// A node of a tree, as it is told to be.
pub fn node(left: Option<Cid>, entries: &[(&str, Cid, Option<Cid>)]) -> Vec<u8> {
    let optional = |cid: &Option<Cid>| cid.as_ref().map_or(vec![0xf6], link);
    let mut last = "";
    let entries = entries.iter().map(|(path, value, right)| {
        let shared = last.bytes().zip(path.bytes()).take_while(|(one, other)| one == other).count();
        last = path;
        map(vec![
            ("k", bytes(&path.as_bytes()[shared..])),
            ("p", uint(shared as u64)),
            ("t", optional(right)),
            ("v", link(value)),
        ])
    });
    let entries: Vec<Vec<u8>> = entries.collect();
    map(vec![("e", array(&entries)), ("l", optional(&left))])
}

/// An `#identity`, or an `#account` that is active.
pub fn unsigned(kind: &str, did: &str, seq: u64) -> Vec<u8> {
    if kind == "#account" {
        return account(did, seq, true);
    }
    envelope(kind, spoken(did, seq))
}

/// An `#account`.
pub fn account(did: &str, seq: u64, active: bool) -> Vec<u8> {
    let mut fields = spoken(did, seq);
    fields.push(("active", vec![if active { 0xf5 } else { 0xf4 }]));
    if !active {
        fields.push(("status", text("deactivated")));
    }
    envelope("#account", fields)
}

fn spoken(did: &str, seq: u64) -> Vec<(&'static str, Vec<u8>)> {
    vec![("did", text(did)), ("seq", uint(seq)), ("time", text("2026-11-30T23:59:00.000Z"))]
}

pub fn envelope(kind: &str, fields: Vec<(&'static str, Vec<u8>)>) -> Vec<u8> {
    let mut body = map(vec![("op", uint(1)), ("t", text(kind))]);
    body.extend(map(fields));
    body
}

fn data_of(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn head(major: u8, n: u64) -> Vec<u8> {
    let kind = major << 5;
    match n {
        0..24 => vec![kind | n as u8],
        24..0x100 => vec![kind | 24, n as u8],
        0x100..0x1_0000 => [&[kind | 25][..], &(n as u16).to_be_bytes()].concat(),
        0x1_0000..0x1_0000_0000 => [&[kind | 26][..], &(n as u32).to_be_bytes()].concat(),
        _ => [&[kind | 27][..], &n.to_be_bytes()].concat(),
    }
}

pub fn uint(n: u64) -> Vec<u8> {
    head(0, n)
}

pub fn text(text: &str) -> Vec<u8> {
    [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len() as u64), bytes.to_vec()].concat()
}

pub fn link(cid: &Cid) -> Vec<u8> {
    [&[0xd8, 42, 0x58, 37, 0][..], cid.as_bytes()].concat()
}

pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [head(4, items.len() as u64), items.concat()].concat()
}

pub fn map(mut fields: Vec<(&'static str, Vec<u8>)>) -> Vec<u8> {
    fields.sort_by_key(|(name, _)| (name.len(), *name));
    let mut out = head(5, fields.len() as u64);
    for (name, value) in fields {
        out.extend(text(name));
        out.extend(value);
    }
    out
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}
