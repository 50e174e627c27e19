use super::*;
use crate::event;
use crate::mst::Source as _;
use crate::testing::{self, Ipld, encode, ipld, link, node, with};

struct Sample {
    record: Vec<u8>,
    leaf: Vec<u8>,
    root: Vec<u8>,
    commit: Vec<u8>,
}

impl Sample {
    fn new() -> Sample {
        let record = encode(&ipld!({ "text": "hello" }));
        let leaf = node(None, &[("a.b.c/1", Cid::dag_cbor(&record), None)]);
        let root = node(Some(&Cid::dag_cbor(&leaf)), &[("a.b.c/2", Cid::raw(b"far"), None)]);
        let commit = encode(&testing::commit("did:a:b", "r", &Cid::dag_cbor(&root)));
        Sample { record, leaf, root, commit }
    }

    /// The event with its blocks in this order and others behind them.
    fn event(&self, others: &[&[u8]]) -> Vec<u8> {
        let own = [&self.commit[..], &self.record, &self.root, &self.leaf];
        let blocks: Vec<(Cid, &[u8])> =
            own.iter().chain(others).map(|data| (Cid::dag_cbor(data), *data)).collect();
        let cid = link(&Cid::dag_cbor(&self.record));
        let op = ipld!({ "action": "create", "path": "a.b.c/1", "cid": cid });
        testing::event("#commit", &testing::commit_event(&blocks, vec![op]))
    }
}

fn fill(body: &[u8]) -> (Blocks, Result<(), car::Error>) {
    let mut blocks = Blocks::new();
    let filled = blocks.fill(body, &event::parse(body).unwrap());
    (blocks, filled)
}

#[test]
fn every_block_has_its_role() {
    let sample = Sample::new();
    let body = sample.event(&[b"\xa0"]);
    let (blocks, filled) = fill(&body);
    assert_eq!(filled, Ok(()));
    let roles: Vec<Role> = blocks.spans().iter().map(|span| span.role).collect();
    assert_eq!(roles, [Role::Commit, Role::Record, Role::Node, Role::Node, Role::Other]);
    for data in [&sample.commit, &sample.record, &sample.root, &sample.leaf] {
        let cid = Cid::dag_cbor(data);
        assert_eq!(blocks.get(&body, &cid), Some(&data[..]));
        assert_eq!(blocks.of(&body).block(&cid), Some(&data[..]));
        let span = blocks.spans().iter().find(|s| body[s.offset as usize..].starts_with(data));
        let span = span.unwrap();
        assert_eq!(&body[span.cid_offset as usize..][..36], cid.as_bytes());
        assert_eq!(span.length as usize, data.len());
    }
    assert_eq!(blocks.get(&body, &Cid::raw(b"far")), None);
    assert!(!blocks.spans().iter().any(|span| span.again));
}

#[test]
fn blocks_that_come_twice_are_flagged() {
    let sample = Sample::new();
    let body = sample.event(&[&sample.leaf, b"\xa0", &sample.record, b"\xa0", b"\xa0"]);
    let (blocks, filled) = fill(&body);
    assert_eq!(filled, Ok(()));
    let again: Vec<bool> = blocks.spans().iter().map(|span| span.again).collect();
    assert_eq!(again, [false, false, false, false, true, false, true, true, true]);
}

#[test]
fn one_digest_under_two_codecs_is_two_blocks() {
    let sample = Sample::new();
    let commit = (Cid::dag_cbor(&sample.commit), &sample.commit[..]);
    let blocks = [commit, (Cid::dag_cbor(b"\xa0"), b"\xa0"), (Cid::raw(b"\xa0"), b"\xa0")];
    let body = testing::event("#commit", &testing::commit_event(&blocks, vec![]));
    let (blocks, filled) = fill(&body);
    assert_eq!(filled, Ok(()));
    assert!(!blocks.spans().iter().any(|span| span.again));
    assert!(blocks.get(&body, &Cid::raw(b"\xa0")).is_some());
}

#[test]
fn a_block_under_a_wrong_cid_empties_the_table() {
    let sample = Sample::new();
    let mut body = sample.event(&[b"hello"]);
    let at = body.windows(5).rposition(|w| w == b"hello").unwrap();
    body[at] ^= 1;
    let (blocks, filled) = fill(&body);
    assert!(matches!(filled, Err(car::Error::Hash { cid, .. }) if cid == Cid::dag_cbor(b"hello")));
    assert!(blocks.spans().is_empty());
    assert_eq!(blocks.get(&body, &Cid::dag_cbor(&sample.record)), None);
}

#[test]
fn a_sync_has_its_commit_at_the_root() {
    let sample = Sample::new();
    let cid = Cid::dag_cbor(&sample.commit);
    let car = testing::car(&cid, &[(cid, &sample.commit[..])]);
    let sync = ipld!({ "seq": 1, "did": "d", "rev": "r", "blocks": Ipld::Bytes(car), "time": "t" });
    let body = testing::event("#sync", &sync);
    let (blocks, filled) = fill(&body);
    assert_eq!(filled, Ok(()));
    assert_eq!(blocks.spans()[0].role, Role::Commit);
    assert_eq!(blocks.get(&body, &cid), Some(&sample.commit[..]));
}

#[test]
fn an_event_without_blocks_empties_the_table() {
    let sample = Sample::new();
    let body = sample.event(&[]);
    let (mut blocks, _) = fill(&body);
    assert_eq!(blocks.spans().len(), 4);
    let other = testing::event("#identity", &ipld!({ "seq": 1, "did": "d", "time": "t" }));
    blocks.fill(&other, &event::parse(&other).unwrap()).unwrap();
    assert!(blocks.spans().is_empty());
}

#[test]
fn bytes_that_are_no_car_are_an_error() {
    let sample = Sample::new();
    let cid = Cid::dag_cbor(&sample.commit);
    let body = testing::commit_event(&[(cid, &sample.commit[..])], vec![]);
    for bad in [vec![], vec![0], vec![0xff; 40]] {
        let body = testing::event("#commit", &with(&body, "blocks", Some(Ipld::Bytes(bad))));
        assert!(fill(&body).1.is_err());
    }
}
