//! Commits whose trees are forged: whoever holds an account's key can sign any tree there is, so each
//! of these bears a good signature and blocks that hash. What it says it did is not what it did, or
//! what it has is no tree.

use atproto::{Cid, mst};
use keys::Curve;

use crate::chain::Bench;
use crate::forge::{self, Draft, Records, Secret};
use crate::harness::{self, Stream};

/// An account with many records, to which one is added.
struct Forger {
    bench: Bench,
    before: Records,
    after: Records,
    /// The path that is added.
    path: String,
}

fn record(number: usize) -> Vec<u8> {
    forge::map(vec![("n", forge::uint(number as u64))])
}

fn path(number: usize) -> String {
    format!("com.example.record/{number:05}")
}

impl Forger {
    fn new() -> Forger {
        let before: Records = (0..400).map(|number| (path(2 * number), record(number))).collect();
        // At the bottom, below a tree of several layers.
        let low = |number: &usize| mst::layer(path(*number).as_bytes()) == 0;
        let path = path((301..500).step_by(2).find(low).unwrap());
        let mut after = before.clone();
        after.insert(path.clone(), record(1000));
        Forger { bench: Bench::new(), before, after, path }
    }

    fn draft(&self) -> Draft {
        Draft::between(&self.bench.did, &self.bench.secret, 7, &self.before, &self.after)
    }

    fn judge(&self, draft: &Draft) -> String {
        let index = self.bench.folder.path().join("did.idx");
        let mut stream = Stream::of("pds.example");
        stream.event(1, 1, &draft.body());
        let seen =
            harness::proved(&["--index", harness::path(&index), "--pass-all"], &stream.end());
        seen[0].verdict()
    }

    /// The nodes from the root down to the one that holds the added path.
    fn way(&self, draft: &Draft) -> Vec<usize> {
        let (mut way, mut next) = (Vec::new(), Some(draft.object.data));
        while let Some(cid) = next {
            let at = draft.blocks.iter().position(|(other, _)| *other == cid).unwrap();
            way.push(at);
            let node = Node::read(&draft.blocks[at].1);
            let place = node.entries.partition_point(|(key, ..)| *key <= self.path);
            let found = place.checked_sub(1).map(|place| &node.entries[place]);
            next = match found {
                Some((key, ..)) if *key == self.path => None,
                Some((_, _, right)) => *right,
                None => node.left,
            };
        }
        way
    }

    /// Changes the node of that number on the way, and with it all above, so that everything hashes
    /// and is signed.
    fn change(&self, number: usize, change: impl FnOnce(&mut Node) -> Vec<u8>) -> Draft {
        let mut draft = self.draft();
        let way = self.way(&draft);
        let at = way[number];
        let mut block = change(&mut Node::read(&draft.blocks[at].1));
        for at in way[..=number].iter().rev() {
            let old = draft.blocks[*at].0;
            let new = Cid::dag_cbor(&block);
            draft.blocks[*at] = (new, block);
            let above = way.iter().position(|it| it == at).unwrap().checked_sub(1);
            let Some(above) = above else {
                draft.object.data = new;
                break;
            };
            // Its name stands in the node above.
            let mut parent = draft.blocks[way[above]].1.clone();
            let place = parent.windows(36).position(|it| it == old.as_bytes()).unwrap();
            parent[place..place + 36].copy_from_slice(new.as_bytes());
            block = parent;
        }
        draft.sign(&self.bench.secret);
        draft
    }
}

/// A node that can be changed.
struct Node {
    left: Option<Cid>,
    entries: Vec<(String, Cid, Option<Cid>)>,
}

impl Node {
    fn read(block: &[u8]) -> Node {
        let node = mst::Node::parse(block).unwrap();
        let mut key = mst::Key::default();
        let entries = node.entries().map(|entry| {
            let key = key.next(&entry, 0).unwrap();
            (String::from_utf8(key.to_vec()).unwrap(), entry.value, entry.right)
        });
        Node { left: node.left, entries: entries.collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let entries: Vec<_> =
            self.entries.iter().map(|(key, value, right)| (&**key, *value, *right)).collect();
        forge::node(self.left, &entries)
    }
}

#[test]
fn a_true_commit_in_a_large_tree_is_proved() {
    let forger = Forger::new();
    let draft = forger.draft();
    assert!(forger.way(&draft).len() >= 3, "a tree of several layers");
    assert_eq!(forger.judge(&draft), "ok");
    // The spine and what is beside the path is enough; so is the commit of an update or a delete.
    let mut spine = draft.clone();
    let needed: Vec<Cid> = forger.way(&draft).iter().map(|at| draft.blocks[*at].0).collect();
    let record = draft.ops[0].cid.unwrap();
    spine.blocks.retain(|(cid, _)| needed.contains(cid) || *cid == record || *cid == draft.commit);
    assert!(spine.blocks.len() < draft.blocks.len() / 2);
    assert_eq!(forger.judge(&spine), "ok");
    for changed in [Some(record_of(7)), None] {
        let mut after = forger.before.clone();
        match changed {
            Some(record) => after.insert(path(300), record),
            None => after.remove(&path(300)),
        };
        let Bench { did, secret, .. } = &forger.bench;
        let draft = Draft::between(did, secret, 7, &forger.before, &after);
        assert_eq!(forger.judge(&draft), "ok");
        let mut wrong = draft.clone();
        wrong.ops[0].prev = Some(record);
        assert_eq!(forger.judge(&wrong), "refused bad-inversion");
    }
}

fn record_of(number: usize) -> Vec<u8> {
    record(number + 5000)
}

#[test]
fn nodes_that_are_left_out_or_changed_in_place_are_named() {
    let forger = Forger::new();
    let draft = forger.draft();
    for at in forger.way(&draft) {
        let mut without = draft.clone();
        without.blocks.remove(at);
        assert_eq!(forger.judge(&without), "refused missing-block", "node {at}");
        let mut flipped = draft.clone();
        let middle = flipped.blocks[at].1.len() / 2;
        flipped.blocks[at].1[middle] ^= 1;
        assert_eq!(forger.judge(&flipped), "refused bad-cid", "node {at}");
    }
    // A changed record under an unchanged CID.
    let mut other = draft.clone();
    other.blocks.last_mut().unwrap().1 = record(1001);
    assert_eq!(forger.judge(&other), "refused bad-cid");
    // And another record under its own CID, in the op but not in the tree.
    let (cid, record) = (Cid::dag_cbor(&record(1001)), record(1001));
    *other.blocks.last_mut().unwrap() = (cid, record);
    other.ops[0].cid = Some(cid);
    assert_eq!(forger.judge(&other), "refused bad-op");
}

#[test]
fn what_is_done_beside_what_is_said_shows() {
    let forger = Forger::new();
    let value = Cid::dag_cbor(&record(77));
    let way = forger.way(&forger.draft()).len();
    for number in 0..way {
        let draft = forger.draft();
        let at = forger.way(&draft)[number];
        if Node::read(&draft.blocks[at].1).entries.is_empty() {
            // Between keys of distant layers.
            continue;
        }
        // An entry more, one less, and one with another record: in each node of the way.
        let more = forger.change(number, |node| {
            let (key, ..) = node.entries.last().unwrap().clone();
            node.entries.push((format!("{key}x"), value, None));
            node.bytes()
        });
        // Behind the last one of a node it may stand before what is in that one's gap.
        let verdict = forger.judge(&more);
        assert!(["refused bad-inversion", "refused bad-node"].contains(&&*verdict), "{verdict}");
        let other = forger.change(number, |node| {
            let at = node.entries.iter().position(|(key, ..)| *key != forger.path).unwrap_or(0);
            node.entries[at].1 = value;
            node.bytes()
        });
        let verdict = forger.judge(&other);
        assert!(["refused bad-inversion", "refused bad-op"].contains(&&*verdict), "{verdict}");
        // A subtree that is another one's, or that is gone.
        for link in [Some(value), None] {
            let child = forger.change(number, |node| {
                node.left = link;
                node.bytes()
            });
            if child.object.data != forger.draft().object.data {
                let verdict = forger.judge(&child);
                assert!(verdict.starts_with("refused"), "{verdict}: another child of {number}");
            }
        }
    }
    // The same elsewhere in the tree, where the event has no nodes of.
    for elsewhere in [Some(record(9)), None] {
        let mut after = forger.after.clone();
        match elsewhere {
            Some(record) => after.insert(path(11), record),
            None => after.remove(&path(10)),
        };
        let Bench { did, secret, .. } = &forger.bench;
        let mut draft = Draft::between(did, secret, 7, &forger.before, &after);
        draft.ops.retain(|op| op.path == forger.path);
        assert_eq!(forger.judge(&draft), "refused bad-inversion");
    }
}

#[test]
fn what_has_not_the_form_of_a_tree_is_no_tree() {
    let forger = Forger::new();
    let last = forger.way(&forger.draft()).len() - 1;
    // Keys that do not go up.
    let order = forger.change(last, |node| {
        node.entries.reverse();
        node.bytes()
    });
    assert_eq!(forger.judge(&order), "refused bad-node");
    // The same node, but that an entry says it shares less than it does.
    let prefix = forger.change(last, |node| {
        let entries: Vec<Vec<u8>> = node
            .entries
            .iter()
            .map(|(key, value, right)| {
                forge::map(vec![
                    ("k", forge::bytes(key.as_bytes())),
                    ("p", forge::uint(0)),
                    ("t", right.as_ref().map_or(vec![0xf6], forge::link)),
                    ("v", forge::link(value)),
                ])
            })
            .collect();
        assert!(entries.len() > 1, "nothing is shared in a node of one entry");
        let left = node.left.as_ref().map_or(vec![0xf6], forge::link);
        forge::map(vec![("e", forge::array(&entries)), ("l", left)])
    });
    assert_eq!(forger.judge(&prefix), "refused bad-node");
    // More than the key before has, a further field, and no node at all.
    for block in [
        forge::map(vec![
            (
                "e",
                forge::array(&[forge::map(vec![
                    ("k", forge::bytes(b"a.b.c/d")),
                    ("p", forge::uint(3)),
                    ("t", vec![0xf6]),
                    ("v", forge::link(&Cid::raw(b""))),
                ])]),
            ),
            ("l", vec![0xf6]),
        ]),
        forge::map(vec![("e", forge::array(&[])), ("l", vec![0xf6]), ("m", vec![0xf6])]),
        record(1),
    ] {
        assert_eq!(forger.judge(&forger.change(last, |_| block)), "refused bad-node");
    }
    // A key that stands a layer above its own.
    let layer = forger.change(last - 1, |node| {
        let at = node.entries.partition_point(|(key, ..)| *key < forger.path);
        let value = Cid::dag_cbor(&record(1000));
        node.entries.insert(at, (forger.path.clone(), value, None));
        node.bytes()
    });
    assert_eq!(forger.judge(&layer), "refused bad-node");
}

#[test]
fn an_account_begins_with_an_empty_tree() {
    let bench = Bench::new();
    let secret = Secret::new(Curve::K256, 1);
    let forger = Forger { bench, ..Forger::new() };
    let none = Records::new();
    let first = Draft::between(&forger.bench.did, &secret, 7, &none, &first_of(&forger.after, 150));
    assert_eq!(forger.judge(&first), "ok");
    // A record that no op made is not what an account begins with.
    let mut hidden = first.clone();
    hidden.ops.pop();
    assert_eq!(forger.judge(&hidden), "refused bad-inversion");
    // Nothing was done, and nothing says so.
    let mut empty = forger.draft();
    empty.ops.clear();
    assert_eq!(forger.judge(&empty), "refused bad-inversion");
    empty.prev_data = Some(empty.object.data);
    assert_eq!(forger.judge(&empty), "ok", "an empty commit");
}

fn first_of(records: &Records, count: usize) -> Records {
    records.iter().take(count).map(|(path, record)| (path.clone(), record.clone())).collect()
}
