use std::collections::BTreeMap;
use std::path::Path;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use serde_json::Value;

use super::*;
use crate::block::{cid_of, read};

const EMPTY: &str = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm";
/// Data that is not part of the repository; its tests say so when it is absent.
const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

fn shared(path: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(SHARED).join(path);
    let there = path.exists();
    if !there {
        eprintln!("skipped: {} is absent", path.display());
    }
    there.then_some(path)
}

fn root(tree: &mut Tree) -> Cid {
    tree.root(&mut Vec::new()).unwrap()
}

fn tree_of<'a>(keys: impl IntoIterator<Item = (&'a str, Cid)>) -> Tree {
    let mut tree = Tree::new();
    for (key, value) in keys {
        tree.insert(key, value);
    }
    tree
}

#[test]
fn the_empty_tree_has_its_known_cid_also_after_everything_went() {
    let mut tree = Tree::new();
    assert_eq!(root(&mut tree).to_string(), EMPTY);
    let value = cid_of(b"value").unwrap();
    let keys: Vec<String> = (0..500).map(|n| format!("app.bsky.feed.post/{n}")).collect();
    for key in &keys {
        assert_eq!(tree.insert(key, value), None);
    }
    assert_ne!(root(&mut tree).to_string(), EMPTY);
    for key in &keys {
        assert_eq!(tree.remove(key), Some(value));
        assert_eq!(tree.remove(key), None);
    }
    assert_eq!(root(&mut tree).to_string(), EMPTY);
}

#[test]
fn the_tree_follows_from_its_keys_whatever_the_order_and_the_detours() {
    let mut rng = fastrand::Rng::with_seed(3);
    for round in 0..30 {
        let mut model = BTreeMap::new();
        let mut tree = Tree::new();
        for step in 0..300 {
            let key = format!("app.bsky.feed.post/{}", rng.u32(0..120));
            if rng.u8(0..3) > 0 {
                let value = cid_of(&[round, step as u8]).unwrap();
                assert_eq!(tree.insert(&key, value), model.insert(key, value));
            } else {
                assert_eq!(tree.remove(&key), model.remove(&key));
            }
            if step % 7 == 0 {
                root(&mut tree);
            }
        }
        let mut keys: Vec<_> = model.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        rng.shuffle(&mut keys);
        assert_eq!(root(&mut tree), root(&mut tree_of(keys)));
    }
}

#[test]
fn the_commit_proof_fixtures_give_their_roots_and_their_proofs() {
    let Some(path) = shared("vectors/repo/commit-proof-fixtures.json") else { return };
    let fixtures: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!fixtures.is_empty());
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    for fixture in fixtures {
        let comment = fixture["comment"].as_str().unwrap();
        let value: Cid = fixture["leafValue"].as_str().unwrap().parse().unwrap();
        let (keys, adds, dels) =
            (list(&fixture["keys"]), list(&fixture["adds"]), list(&fixture["dels"]));
        let mut tree = tree_of(keys.iter().map(|key| (key.as_str(), value)));
        assert_eq!(root(&mut tree).to_string(), fixture["rootBeforeCommit"], "{comment}");
        adds.iter().for_each(|key| assert_eq!(tree.insert(key, value), None));
        dels.iter().for_each(|key| assert_eq!(tree.remove(key), Some(value)));
        assert_eq!(root(&mut tree).to_string(), fixture["rootAfterCommit"], "{comment}");

        let mut proof = BTreeMap::new();
        adds.iter().chain(&dels).for_each(|key| tree.proof(key, &mut proof));
        let mut have: Vec<String> = proof.keys().map(Cid::to_string).collect();
        let mut want = list(&fixture["blocksInProof"]);
        have.sort();
        want.sort();
        assert_eq!(have, want, "{comment}");
    }
}

#[test]
fn repositories_of_the_official_server_are_rebuilt_from_their_records() {
    let Some(folder) = shared("refnet") else { return };
    let mut rebuilt = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "car") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"{") {
            // What the server answers for an account that is deactivated.
            continue;
        }
        let (commit, blocks) = read::car(&bytes);
        let decoded: BTreeMap<Cid, Ipld> = blocks
            .iter()
            .map(|block| (block.cid, serde_ipld_dagcbor::from_slice(&block.bytes).unwrap()))
            .collect();
        let Ipld::Link(data) = field(&decoded[&commit], "data") else { panic!("no data") };
        let mut keys = Vec::new();
        walk(&decoded, *data, &mut keys);
        let mut tree = tree_of(keys.iter().map(|(key, value)| (key.as_str(), *value)));
        assert_eq!(root(&mut tree), *data, "{}", path.display());
        let mut nodes = Vec::new();
        tree.blocks(&mut nodes);
        for node in nodes {
            assert!(blocks.contains(node), "a node that the export lacks");
        }
        rebuilt += 1;
    }
    assert!(rebuilt >= 4, "{rebuilt} exports rebuilt");
}

fn field<'a>(value: &'a Ipld, name: &str) -> &'a Ipld {
    let Ipld::Map(map) = value else { panic!("not a map") };
    &map[name]
}

/// The keys and values under a node of somebody else's tree.
fn walk(blocks: &BTreeMap<Cid, Ipld>, node: Cid, out: &mut Vec<(String, Cid)>) {
    let node = &blocks[&node];
    if let Ipld::Link(left) = field(node, "l") {
        walk(blocks, *left, out);
    }
    let mut key: Vec<u8> = Vec::new();
    let Ipld::List(entries) = field(node, "e") else { panic!("no entries") };
    for entry in entries {
        let Ipld::Integer(shared) = field(entry, "p") else { panic!("no p") };
        let Ipld::Bytes(rest) = field(entry, "k") else { panic!("no k") };
        let Ipld::Link(value) = field(entry, "v") else { panic!("no v") };
        key.truncate(*shared as usize);
        key.extend_from_slice(rest);
        out.push((String::from_utf8(key.clone()).unwrap(), *value));
        if let Ipld::Link(right) = field(entry, "t") {
            walk(blocks, *right, out);
        }
    }
}
