use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::*;
use crate::testing::{Ipld, encode, ipld, link, node};

#[derive(Default)]
struct Store(HashMap<Cid, Vec<u8>>);

impl Store {
    fn add(&mut self, node: Vec<u8>) -> Cid {
        let cid = Cid::dag_cbor(&node);
        self.0.insert(cid, node);
        cid
    }
}

impl Source for Store {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        self.0.get(cid).map(Vec::as_slice)
    }
}

fn record(name: &str) -> Cid {
    Cid::dag_cbor(name.as_bytes())
}

#[test]
fn a_path_is_found_on_every_level_and_its_absence_too() {
    let mut store = Store::default();
    let left = store.add(node(None, &[("a/1", record("a1"), None)]));
    let middle =
        store.add(node(None, &[("c/1", record("c1"), None), ("c/12", record("c12"), None)]));
    let right = store.add(node(None, &[("e/1", record("e1"), None)]));
    let root = store.add(node(
        Some(&left),
        &[("b/1", record("b1"), Some(middle)), ("d/1", record("d1"), Some(right))],
    ));
    for (path, name) in
        [("a/1", "a1"), ("b/1", "b1"), ("c/1", "c1"), ("c/12", "c12"), ("d/1", "d1"), ("e/1", "e1")]
    {
        assert_eq!(find(path, &root, &store), Ok(Some(record(name))), "{path}");
    }
    for path in ["a/0", "a/2", "b/10", "c/11", "c/2", "e/2", "", "z"] {
        assert_eq!(find(path, &root, &store), Ok(None), "{path}");
    }
    store.0.remove(&middle);
    assert_eq!(find("c/1", &root, &store), Err(Error::MissingBlock(middle)));
    assert_eq!(find("b/2", &root, &store), Err(Error::MissingBlock(middle)));
    assert_eq!(find("d/1", &root, &store), Ok(Some(record("d1"))));
}

#[test]
fn the_tree_without_entries_has_nothing() {
    let mut store = Store::default();
    let root = store.add(node(None, &[]));
    assert_eq!(root.to_string(), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    assert_eq!(find("a/1", &root, &store), Ok(None));
    assert_eq!(root, empty());
}

#[test]
fn a_chain_of_nodes_ends_at_the_limit() {
    let mut store = Store::default();
    let mut root = store.add(node(None, &[]));
    for _ in 1..DEPTH_MAX {
        root = store.add(node(Some(&root), &[]));
    }
    assert_eq!(find("a/1", &root, &store), Ok(None));
    root = store.add(node(Some(&root), &[]));
    assert_eq!(find("a/1", &root, &store), Err(Error::Depth));
}

#[test]
fn a_block_that_is_no_node_is_no_proof() {
    let mut store = Store::default();
    let root = store.add(encode(&ipld!({ "text": "a record" })));
    assert!(matches!(find("a/1", &root, &store), Err(Error::Fields { offset: 0 })));
}

fn entry(k: &[u8], p: i64) -> Ipld {
    ipld!({ "k": Ipld::Bytes(k.to_vec()), "p": p, "t": null, "v": link(&record("v")) })
}

fn parsed(entries: Vec<Ipld>) -> Result<(), Error> {
    Node::parse(&encode(&ipld!({ "e": Ipld::List(entries), "l": null }))).map(drop)
}

#[test]
fn keys_go_up_and_are_whole() {
    assert_eq!(parsed(vec![entry(b"ab", 0), entry(b"c", 1), entry(b"d", 2)]), Ok(()));
    assert_eq!(parsed(vec![entry(b"b", 0), entry(b"a", 0)]), Err(Error::Order { entry: 1 }));
    assert_eq!(parsed(vec![entry(b"b", 0), entry(b"b", 0)]), Err(Error::Order { entry: 1 }));
    assert_eq!(parsed(vec![entry(b"b", 0), entry(b"", 1)]), Err(Error::Order { entry: 1 }));
    assert_eq!(parsed(vec![entry(b"ab", 0), entry(b"", 1)]), Err(Error::Order { entry: 1 }));
    // What is shared and not said to be is another form of the same node.
    assert_eq!(parsed(vec![entry(b"ab", 0), entry(b"ac", 0)]), Err(Error::Prefix { entry: 1 }));
    assert_eq!(parsed(vec![entry(b"ab", 0), entry(b"abc", 0)]), Err(Error::Prefix { entry: 1 }));
    assert_eq!(parsed(vec![entry(b"ab", 0), entry(b"c", 2)]), Ok(()));
    assert_eq!(parsed(vec![entry(b"", 0)]), Err(Error::Key { entry: 0 }));
    assert_eq!(parsed(vec![entry(b"a", 1)]), Err(Error::Key { entry: 0 }));
    assert_eq!(parsed(vec![entry(b"a", 0), entry(b"b", 2)]), Err(Error::Key { entry: 1 }));
    assert_eq!(parsed(vec![entry(&[b'a'; KEY_BYTES_MAX], 0)]), Ok(()));
    assert_eq!(parsed(vec![entry(&[b'a'; KEY_BYTES_MAX + 1], 0)]), Err(Error::Key { entry: 0 }));
    let most = vec![entry(&[b'a'; KEY_BYTES_MAX], 0), entry(b"b", KEY_BYTES_MAX as i64)];
    assert_eq!(parsed(most), Err(Error::Key { entry: 1 }));
}

#[test]
fn other_fields_than_a_nodes_are_refused() {
    let fields = |value: &Ipld| matches!(Node::parse(&encode(value)), Err(Error::Fields { .. }));
    assert!(fields(&ipld!({ "e": [] })));
    assert!(fields(&ipld!({ "l": null })));
    assert!(fields(&ipld!({ "e": [], "l": null, "x": 1 })));
    assert!(fields(&ipld!({ "e": [], "m": null })));
    for other in [
        ipld!({ "k": Ipld::Bytes(vec![1]), "p": 0, "v": link(&record("v")) }),
        ipld!({ "k": Ipld::Bytes(vec![1]), "p": 0, "t": null, "w": link(&record("v")) }),
        ipld!({ "k": Ipld::Bytes(vec![1]), "p": 0, "t": null, "v": link(&record("v")), "x": 1 }),
    ] {
        assert!(fields(&ipld!({ "e": [other], "l": null })));
    }
    let wrong = ipld!({ "k": "a", "p": 0, "t": null, "v": link(&record("v")) });
    assert!(matches!(parsed(vec![wrong]), Err(Error::Cbor(_))));
    assert!(matches!(parsed(vec![entry(b"a", -1)]), Err(Error::Cbor(_))));
}

#[test]
fn entries_of_a_node_are_bounded() {
    let keys = |count: u64| -> Vec<Ipld> {
        let keys: Vec<[u8; 4]> = (0..count as u32).map(u32::to_be_bytes).collect();
        let shared = |one: &[u8; 4], next: &[u8; 4]| {
            one.iter().zip(next).take_while(|(one, next)| one == next).count()
        };
        let first = keys.first().map(|key| entry(key, 0));
        let others = keys.windows(2).map(|pair| {
            let shared = shared(&pair[0], &pair[1]);
            entry(&pair[1][shared..], shared as i64)
        });
        first.into_iter().chain(others).collect()
    };
    assert_eq!(parsed(keys(ENTRIES_MAX + 1)), Err(Error::Entries(ENTRIES_MAX + 1)));
    assert_eq!(parsed(keys(ENTRIES_MAX)), Ok(()));
    fuzz_mst(&encode(&ipld!({ "e": Ipld::List(keys(ENTRIES_MAX)), "l": null })));
}

#[test]
fn layers_count_pairs_of_zero_bits() {
    for (key, want) in [
        ("A0/374913", 0),
        ("B1/986427", 1),
        ("2653ae71", 0),
        ("blue", 1),
        ("app.bsky.feed.post/454397e440ec", 4),
        ("app.bsky.feed.post/9adeb165882c", 8),
    ] {
        assert_eq!(layer(key.as_bytes()), want, "{key}");
    }
}

/// Builds the canonical tree of sorted keys, all with one record, from a layer
/// down. `None` where there is nothing to hold.
fn build(store: &mut Store, keys: &[&str], value: &Cid, height: u32) -> Option<Cid> {
    if keys.is_empty() {
        return None;
    }
    let mut left = None;
    let mut entries: Vec<(&str, Cid, Option<Cid>)> = Vec::new();
    for run in keys.chunk_by(|a, b| layer(a.as_bytes()) < height && layer(b.as_bytes()) < height) {
        if layer(run[0].as_bytes()) >= height {
            entries.push((run[0], *value, None));
            continue;
        }
        let subtree = build(store, run, value, height - 1);
        match entries.last_mut() {
            Some(entry) => entry.2 = subtree,
            None => left = subtree,
        }
    }
    Some(store.add(node(left.as_ref(), &entries)))
}

fn tree(keys: &BTreeSet<&str>, value: &Cid) -> (Store, Cid) {
    let mut store = Store::default();
    let keys: Vec<&str> = keys.iter().copied().collect();
    let height = keys.iter().map(|key| layer(key.as_bytes())).max().unwrap_or(0);
    let root = build(&mut store, &keys, value, height);
    let root = root.unwrap_or_else(|| store.add(node(None, &[])));
    (store, root)
}

fn beside(name: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors");
    std::fs::read_to_string(root.join(name)).ok()
}

#[test]
fn the_nodes_of_a_proof_are_enough_to_look_up_what_changed() {
    let Some(text) = beside("repo/commit-proof-fixtures.json") else { return };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    for case in &cases {
        let list = |name: &str| -> Vec<&str> {
            case[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
        };
        let cid = |name: &str| -> Cid { case[name].as_str().unwrap().parse().unwrap() };
        let value = cid("leafValue");
        let mut keys: BTreeSet<&str> = list("keys").into_iter().collect();
        assert_eq!(tree(&keys, &value).1, cid("rootBeforeCommit"), "{}", case["comment"]);
        keys.extend(list("adds"));
        for gone in list("dels") {
            assert!(keys.remove(gone));
        }
        let (mut store, root) = tree(&keys, &value);
        assert_eq!(root, cid("rootAfterCommit"), "{}", case["comment"]);
        let proof: Vec<Cid> = list("blocksInProof").iter().map(|c| c.parse().unwrap()).collect();
        store.0.retain(|cid, _| proof.contains(cid));
        for added in list("adds") {
            assert_eq!(find(added, &root, &store), Ok(Some(value)));
        }
        for gone in list("dels") {
            assert_eq!(find(gone, &root, &store), Ok(None));
        }
    }
}

#[test]
fn the_layers_of_the_example_keys_are_in_their_names() {
    let Some(text) = beside("repo/mst_example_keys.txt") else { return };
    for key in text.lines() {
        let want: u32 = key[1..2].parse().unwrap();
        assert_eq!(layer(key.as_bytes()), want, "{key}");
    }
}
