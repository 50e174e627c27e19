use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::event::{self, Event};
use crate::mst::root;
use crate::testing::{Ipld, event, ipld, link, link_or_null, node};

/// Every node of whole trees, and which of them were asked for.
#[derive(Default)]
struct Store {
    nodes: HashMap<Cid, Vec<u8>>,
    asked: RefCell<BTreeSet<Cid>>,
}

impl Source for Store {
    fn block(&self, cid: &Cid) -> Option<&[u8]> {
        self.asked.borrow_mut().insert(*cid);
        self.nodes.get(cid).map(Vec::as_slice)
    }
}

type Records = BTreeMap<String, Cid>;

impl Store {
    /// The tree of these records, written down from its definition: a node of a layer holds the
    /// keys of that layer, and between them what is below.
    fn tree(&mut self, records: &Records) -> Cid {
        let all: Vec<(&str, Cid)> = records.iter().map(|(key, cid)| (&**key, *cid)).collect();
        let top = all.iter().map(|(key, _)| layer(key.as_bytes())).max().unwrap_or(0);
        match self.part(&all, top) {
            Some(root) => root,
            None => self.add(node(None, &[])),
        }
    }

    fn part(&mut self, records: &[(&str, Cid)], at: u32) -> Option<Cid> {
        if records.is_empty() {
            return None;
        }
        let mut runs = records.split(|(key, _)| layer(key.as_bytes()) == at);
        let below = |store: &mut Store, run: &[(&str, Cid)]| {
            at.checked_sub(1).and_then(|below| store.part(run, below))
        };
        let left = runs.next().and_then(|run| below(self, run));
        let mut entries = Vec::new();
        for ((key, cid), run) in
            records.iter().filter(|(key, _)| layer(key.as_bytes()) == at).zip(runs)
        {
            entries.push((*key, *cid, below(self, run)));
        }
        Some(self.add(node(left.as_ref(), &entries)))
    }

    fn add(&mut self, node: Vec<u8>) -> Cid {
        let cid = Cid::dag_cbor(&node);
        self.nodes.insert(cid, node);
        cid
    }
}

fn record(name: impl std::fmt::Display) -> Cid {
    Cid::dag_cbor(name.to_string().as_bytes())
}

/// What was done to each path: the record after, and the one before.
type Changes = BTreeMap<String, (Option<Cid>, Option<Cid>)>;

/// An event with these operations; the rest of it says nothing.
fn commit(changes: &Changes) -> Vec<u8> {
    let ops = changes.iter().map(|(path, (cid, prev))| {
        let action = match (cid, prev) {
            (Some(_), None) => "create",
            (Some(_), Some(_)) => "update",
            _ => "delete",
        };
        ipld!({ "action": action, "cid": link_or_null(cid.as_ref()), "path": path.as_str(),
                "prev": link_or_null(prev.as_ref()) })
    });
    let ops = Ipld::List(ops.collect());
    event(
        "#commit",
        &ipld!({
            "seq": 1, "repo": "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "rev": "3jzfcijpj2z2a", "since": null,
            "commit": link(&record("commit")), "blocks": Ipld::Bytes(Vec::new()), "ops": ops,
            "time": "2026-01-01T00:00:00Z", "tooBig": false, "rebase": false, "blobs": [],
        }),
    )
}

fn undo(root: &Cid, changes: &Changes, store: &impl Source) -> Result<Cid, Fault> {
    let body = commit(changes);
    let Ok(Event::Commit(commit)) = event::parse(&body) else { panic!("no commit") };
    let mut undo = Undo::new();
    let once = undo.undo(root, commit.ops, store);
    assert_eq!(undo.undo(root, commit.ops, store), once, "what is left of one event shows");
    once
}

/// Applies changes and gives them as operations say them.
fn apply(records: &mut Records, edits: &[(String, Option<u32>)]) -> Changes {
    let mut changes = Changes::new();
    for (key, value) in edits.iter().filter(|(key, _)| !key.is_empty()) {
        if changes.contains_key(key) {
            continue;
        }
        let new = value.map(record);
        let old = match new {
            Some(new) => records.insert(key.clone(), new),
            None => records.remove(key),
        };
        if new.is_some() || old.is_some() {
            changes.insert(key.clone(), (new, old));
        }
    }
    changes
}

/// Keys of few letters, so that layers, neighbours and shared beginnings all occur.
fn key() -> impl Strategy<Value = String> {
    (0..400u32, any::<bool>()).prop_map(|(number, other)| {
        format!("com.example.{}/{number:05}", if other { "a" } else { "record" })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_before_comes_out_whatever_was_done(
        before in prop_oneof![
            proptest::collection::btree_map(key(), 0..5u32, 0..8),
            proptest::collection::btree_map(key(), 0..5u32, 0..120),
        ],
        edits in proptest::collection::vec((key(), proptest::option::of(0..5u32)), 0..24),
    ) {
        let mut records: Records = before.into_iter().map(|(key, value)| (key, record(value))).collect();
        let mut store = Store::default();
        let old = store.tree(&records);
        prop_assert_eq!(root(records.iter().map(|(key, cid)| (key.as_bytes(), *cid))), old);
        let changes = apply(&mut records, &edits);
        let mut store = Store::default();
        let new = store.tree(&records);
        prop_assert_eq!(undo(&new, &changes, &store), Ok(old));

        // The nodes that were looked into are proof enough; without any one of them it is none.
        let asked: Vec<Cid> = store.asked.borrow().iter().copied().collect();
        let all = std::mem::take(&mut store.nodes);
        store.nodes = all.iter().filter(|(cid, _)| asked.contains(cid)).map(|(cid, node)| (*cid, node.clone())).collect();
        prop_assert_eq!(undo(&new, &changes, &store), Ok(old));
        for cid in asked {
            let node = store.nodes.remove(&cid);
            let result = undo(&new, &changes, &store);
            prop_assert!(
                result == Err(Fault::Tree(Error::MissingBlock(cid))) || result == Ok(old),
                "{:?}", result
            );
            store.nodes.extend(node.map(|node| (cid, node)));
        }

        // An operation that is kept back, or made up, shows.
        if let Some((path, _)) = changes.iter().find(|(_, (cid, prev))| cid != prev) {
            let mut fewer = changes.clone();
            fewer.remove(path);
            prop_assert_ne!(undo(&new, &fewer, &store), Ok(old));
            let mut other = changes.clone();
            if let Some((cid, prev)) = other.get_mut(path) {
                match (cid.is_some(), prev.as_mut()) {
                    (true, _) => *cid = Some(record("another")),
                    (false, Some(prev)) => *prev = record("another"),
                    _ => {}
                }
            }
            prop_assert_ne!(undo(&new, &other, &store), Ok(old));
        }
    }
}

#[test]
fn an_account_that_begins_comes_out_empty() {
    let mut records = Records::new();
    let changes = apply(&mut records, &[("a/1".into(), Some(1)), ("b/1".into(), Some(2))]);
    let mut store = Store::default();
    let root = store.tree(&records);
    let empty = undo(&root, &changes, &store).unwrap();
    assert_eq!(empty.to_string(), "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
    assert_eq!(undo(&root, &Changes::new(), &store), Ok(root), "an empty commit changes nothing");
}

#[test]
fn what_the_tree_does_not_say_is_named_by_its_operation() {
    let records: Records = [("a/1".to_owned(), record(1)), ("c/1".to_owned(), record(3))].into();
    let mut store = Store::default();
    let root = store.tree(&records);
    let op = |path: &str, cid, prev| Changes::from([(path.to_owned(), (cid, prev))]);
    for (wrong, what) in [
        (op("a/1", Some(record(2)), None), "a create of another record"),
        (op("b/1", Some(record(2)), None), "a create of what is not there"),
        (op("a/1", Some(record(2)), Some(record(0))), "an update to another record"),
        (op("b/1", Some(record(2)), Some(record(0))), "an update of what is not there"),
        (op("b/1", Some(record(2)), Some(record(2))), "an update to the same that is not there"),
        (op("a/1", None, Some(record(1))), "a delete of what is there"),
    ] {
        assert_eq!(undo(&root, &wrong, &store), Err(Fault::Op(0)), "{what}");
    }
    let same = op("a/1", Some(record(1)), Some(record(1)));
    assert_eq!(undo(&root, &same, &store), Ok(root));
    assert_eq!(undo(&root, &same, &Store::default()), Err(Fault::Tree(Error::MissingBlock(root))));
}

#[test]
fn a_root_without_keys_is_none() {
    let mut store = Store::default();
    let real = store.tree(&[("a/1".to_owned(), record(1))].into());
    let above = store.add(node(Some(&real), &[]));
    let created = Changes::from([("a/1".to_owned(), (Some(record(1)), None))]);
    assert_eq!(undo(&above, &created, &store), Err(Fault::Tree(Error::Fields { offset: 0 })));
}

#[test]
fn subtrees_below_the_lowest_layer_end_the_search() {
    let mut store = Store::default();
    let bottom = store.add(node(None, &[("a/0", record(0), None)]));
    let keys: Vec<String> = (0..200).map(|number| format!("b/{number}")).collect();
    let low = keys.iter().find(|key| layer(key.as_bytes()) == 0).unwrap();
    let root = store.add(node(Some(&bottom), &[(low, record(1), None)]));
    let created = Changes::from([("a/0".to_owned(), (Some(record(0)), None))]);
    assert_eq!(undo(&root, &created, &store), Err(Fault::Tree(Error::Depth)));
}

/// Keys of each layer, going up.
fn keys_of(wanted: u32, beginning: &str, count: usize) -> Vec<String> {
    let keys = (0..).map(|number| format!("{beginning}/{number:05}"));
    keys.filter(|key| layer(key.as_bytes()) == wanted).take(count).collect()
}

/// Trees that no repository has, signed all the same: whoever holds an account's key can make them.
#[test]
fn what_is_looked_into_has_the_form_of_a_tree() {
    let (early, late) = (keys_of(0, "a", 2), keys_of(0, "c", 2));
    let high = keys_of(1, "b", 1);
    let created = |key: &str| Changes::from([(key.to_owned(), (Some(record(key)), None))]);
    let wrong = Err(Fault::Tree(Error::Place));
    let mut store = Store::default();

    // A key beside others of the layer above its own, and one alone in a layer above its own.
    let root = [high[0].clone(), late[0].clone()];
    let root = store.add(node(None, &root.each_ref().map(|key| (&**key, record(key), None))));
    assert_eq!(undo(&root, &created(&late[0]), &store), wrong);
    let same = Changes::from([(late[0].clone(), (Some(record(&late[0])), Some(record("before"))))]);
    assert_eq!(undo(&root, &same, &store), wrong, "an update is of a key in its place, too");
    let bottom = store.add(node(None, &[(&late[0], record(&late[0]), None)]));
    let skipped = keys_of(2, "a", 1);
    let root = store.add(node(None, &[(&skipped[0], record(&skipped[0]), Some(bottom))]));
    assert_eq!(undo(&root, &created(&late[0]), &store), wrong, "a layer is left out");

    // A subtree with keys of another gap, on either side, whatever is done to it.
    let child = [&early[0], &late[0]].map(|key| (&**key, record(key), None));
    let child = store.add(node(None, &child));
    let behind = store.add(node(None, &[(&high[0], record(&high[0]), Some(child))]));
    let before = store.add(node(Some(&child), &[(&high[0], record(&high[0]), None)]));
    assert_eq!(undo(&behind, &created(&late[0]), &store), wrong);
    assert_eq!(undo(&before, &created(&early[0]), &store), wrong);
    for (root, key) in [(behind, &late[1]), (before, &early[1])] {
        let deleted = Changes::from([(key.clone(), (None, Some(record("gone"))))]);
        assert_eq!(undo(&root, &deleted, &store), wrong);
    }

    // Two subtrees that are one before, and whose keys do not go up then.
    let left = store.add(node(None, &[(&late[0], record("left"), None)]));
    let right = store.add(node(None, &[(&early[0], record("right"), None)]));
    let root = store.add(node(Some(&left), &[(&high[0], record(&high[0]), Some(right))]));
    assert_eq!(undo(&root, &created(&high[0]), &store), wrong);
}

#[test]
fn what_was_done_elsewhere_in_the_tree_shows() {
    let mut records: Records =
        (0..300).map(|number| (format!("a/{number:05}"), record(number))).collect();
    let mut store = Store::default();
    let old = store.tree(&records);
    let changes = apply(&mut records, &[("a/00150x".into(), Some(1))]);
    for (other, value) in [("a/00020", Some(7)), ("a/00150y", Some(7)), ("a/00280", None)] {
        let mut records = records.clone();
        apply(&mut records, &[(other.into(), value)]);
        let new = store.tree(&records);
        let undone = undo(&new, &changes, &store);
        assert!(undone.is_ok_and(|before| before != old), "{other}");
    }
    let new = store.tree(&records);
    assert_eq!(undo(&new, &changes, &store), Ok(old));
}

/// The proofs of the reference implementations: from exactly the blocks that they send, the tree
/// before has to come out.
#[test]
fn the_proofs_of_others_are_enough() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let path = format!("{root}/vectors/repo/commit-proof-fixtures.json");
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let strings = |name: &str| -> Vec<String> {
            let list = case[name].as_array().unwrap().iter();
            list.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let cid = |name: &str| -> Cid { case[name].as_str().unwrap().parse().unwrap() };
        let value = cid("leafValue");
        let mut records: Records = strings("keys").into_iter().map(|key| (key, value)).collect();
        assert_eq!(Store::default().tree(&records), cid("rootBeforeCommit"), "{}", case["comment"]);
        let mut changes = Changes::new();
        for key in strings("adds") {
            records.insert(key.clone(), value);
            changes.insert(key, (Some(value), None));
        }
        for key in strings("dels") {
            records.remove(&key);
            changes.insert(key, (None, Some(value)));
        }
        let mut store = Store::default();
        assert_eq!(store.tree(&records), cid("rootAfterCommit"));
        let sent: Vec<Cid> =
            strings("blocksInProof").iter().map(|cid| cid.parse().unwrap()).collect();
        store.nodes.retain(|cid, _| sent.contains(cid));
        let before = undo(&cid("rootAfterCommit"), &changes, &store);
        assert_eq!(before, Ok(cid("rootBeforeCommit")), "{}", case["comment"]);
    }
}
