//! Proofs as one would write them with `rs-car-sync`, `serde_ipld_dagcbor`, `k256` and `p256`.

use std::collections::HashMap;
use std::io::Cursor;

use anyhow::{Context, Result, ensure};
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use keys::{Curve, PublicKey};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_ipld_dagcbor::{de::from_reader_once, from_slice, to_vec};
use sha2::{Digest, Sha256};

use crate::events::Events;

#[derive(Deserialize)]
struct Header {
    t: String,
}

#[derive(Deserialize)]
struct Envelope {
    /// A `#sync` calls it `did`.
    #[serde(alias = "did")]
    repo: String,
    rev: String,
    blocks: ByteBuf,
    #[serde(default)]
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    path: String,
    cid: Option<Cid>,
}

#[derive(Deserialize)]
struct Commit {
    did: String,
    rev: String,
    sig: ByteBuf,
    data: Cid,
    prev: Option<Cid>,
    version: u64,
}

#[derive(Serialize)]
struct Unsigned<'a> {
    did: &'a str,
    rev: &'a str,
    data: Cid,
    prev: Option<Cid>,
    version: u64,
}

#[derive(Deserialize)]
struct Node {
    l: Option<Cid>,
    e: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    p: usize,
    k: ByteBuf,
    v: Cid,
    t: Option<Cid>,
}

enum Parsed {
    K256(k256::ecdsa::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

pub fn prove(events: &Events) -> Result<()> {
    let mut keys = HashMap::new();
    for event in &events.signed {
        if !keys.contains_key(&event.key.to_bytes()) {
            keys.insert(event.key.to_bytes(), parse(&event.key)?);
        }
        let key = keys.get(&event.key.to_bytes()).context("a key")?;
        one(&event.body, key)?;
    }
    Ok(())
}

fn parse(key: &PublicKey) -> Result<Parsed> {
    Ok(match key.curve() {
        Curve::K256 => {
            Parsed::K256(k256::ecdsa::VerifyingKey::from_sec1_bytes(key.compressed())?)
        }
        Curve::P256 => {
            Parsed::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(key.compressed())?)
        }
    })
}

fn one(body: &[u8], key: &Parsed) -> Result<()> {
    let mut reader = Cursor::new(body);
    let header: Header = from_reader_once(&mut reader)?;
    let envelope: Envelope = from_reader_once(&mut reader)?;
    let mut car = Cursor::new(&envelope.blocks[..]);
    let (blocks, header_of_car) = rs_car_sync::car_read_all(&mut car, true)?;
    let root = header_of_car.roots.first().context("no root")?;
    let blocks: HashMap<Cid, Vec<u8>> = blocks.into_iter().collect();
    let commit: Commit = from_slice(blocks.get(root).context("no commit")?)?;
    ensure!(commit.did == envelope.repo && commit.rev == envelope.rev, "another's");
    let Commit { did, rev, data, prev, version, sig } = &commit;
    let unsigned = Unsigned { did, rev, data: *data, prev: *prev, version: *version };
    let digest = Sha256::digest(to_vec(&unsigned)?);
    match key {
        Parsed::K256(key) => {
            key.verify_prehash(&digest, &k256::ecdsa::Signature::from_slice(sig)?)?;
        }
        Parsed::P256(key) => {
            key.verify_prehash(&digest, &p256::ecdsa::Signature::from_slice(sig)?)?;
        }
    }
    if header.t != "#commit" {
        return Ok(());
    }
    for op in &envelope.ops {
        ensure!(find(op.path.as_bytes(), data, &blocks)? == op.cid, "another record");
        if let Some(cid) = &op.cid {
            let _: Ipld = from_slice(blocks.get(cid).context("no record")?)?;
        }
    }
    Ok(())
}

/// What the tree has under a path.
fn find(path: &[u8], root: &Cid, blocks: &HashMap<Cid, Vec<u8>>) -> Result<Option<Cid>> {
    let mut next = Some(*root);
    while let Some(cid) = next {
        let node: Node = from_slice(blocks.get(&cid).context("no node")?)?;
        next = node.l;
        let mut key = Vec::new();
        for entry in node.e {
            key.truncate(entry.p);
            key.extend_from_slice(&entry.k);
            match key.as_slice().cmp(path) {
                std::cmp::Ordering::Less => next = entry.t,
                std::cmp::Ordering::Equal => return Ok(Some(entry.v)),
                std::cmp::Ordering::Greater => break,
            }
        }
    }
    Ok(None)
}
