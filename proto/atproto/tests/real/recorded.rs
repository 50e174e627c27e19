//! Everything that real servers sent reads, hashes and agrees with itself.

use std::collections::BTreeMap;

use atproto::blocks::Blocks;
use atproto::event::{self, Action, Commit, Event};
use atproto::spans::Role;
use atproto::{car, commit, loose, mst, syntax};

use crate::data;

#[derive(Default, Debug, PartialEq)]
struct Seen {
    events: usize,
    commits: usize,
    syncs: usize,
    others: usize,
    ops: usize,
    records: usize,
    nodes: usize,
    unnamed: usize,
    odd: usize,
}

fn check_all(events: &[Vec<u8>]) -> Seen {
    let mut seen = Seen::default();
    let mut blocks = Blocks::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (number, body) in events.iter().enumerate() {
        let event = event::parse(body).unwrap_or_else(|e| panic!("event {number}: {e}"));
        seen.events += 1;
        blocks.fill(body, &event).unwrap_or_else(|e| panic!("event {number}: {e}"));
        match &event {
            Event::Commit(commit) => {
                seen.commits += 1;
                seen.ops += commit.ops.len();
                check_commit(body, commit, &blocks, &mut seen);
                assert!(
                    last.insert(commit.repo.into(), commit.rev.into()) < Some(commit.rev.into())
                );
            }
            Event::Sync(sync) => {
                seen.syncs += 1;
                let root = car::parse(sync.blocks).unwrap().root().unwrap();
                let signed = commit::parse(blocks.get(body, &root).unwrap()).unwrap();
                assert_eq!((signed.did, signed.rev), (sync.did, sync.rev));
                assert_eq!(blocks.spans().len(), 1);
                assert_eq!(blocks.spans()[0].role, Role::Commit);
            }
            Event::Identity(_) | Event::Account(_) => seen.others += 1,
            other => panic!("event {number} is {}", other.type_name()),
        }
        assert!(syntax::is_did(event.did().unwrap()));
    }
    seen
}

fn check_commit(body: &[u8], event: &Commit<'_>, blocks: &Blocks, seen: &mut Seen) {
    event.limit().unwrap();
    assert!(syntax::is_tid(event.rev));
    assert_eq!(car::parse(event.blocks).unwrap().root(), Some(event.commit));
    let signed = commit::parse(blocks.get(body, &event.commit).unwrap()).unwrap();
    assert_eq!((signed.did, signed.rev), (event.repo, event.rev));
    for op in event.ops {
        assert_ne!(op.action, Action::Unknown);
        assert!(syntax::is_path(op.path), "{}", op.path);
        assert_eq!(syntax::split_path(op.path), Some((op.collection(), op.rkey())));
        let found = mst::find(op.path, &signed.data, &blocks.of(body)).unwrap();
        assert_eq!(found, op.cid, "{} {}", op.name, op.path);
        if let Some(cid) = op.cid {
            let notes = loose::walk(blocks.get(body, &cid).unwrap()).unwrap();
            seen.odd += usize::from(!notes.is_empty());
        }
    }
    let before = mst::Undo::new().undo(&signed.data, event.ops, &blocks.of(body));
    let said = event.prev_data.or((event.since.is_none()).then(mst::empty));
    assert_eq!(before.ok(), said, "{} {}", event.repo, event.rev);
    for span in blocks.spans() {
        match span.role {
            Role::Record => seen.records += 1,
            Role::Node => seen.nodes += 1,
            Role::Other => seen.unnamed += 1,
            _ => {}
        }
    }
}

#[test]
fn the_recorded_network_reads_whole() {
    let seen = check_all(&data::refnet());
    let want = Seen {
        events: 6414,
        commits: 6052,
        syncs: 120,
        others: 242,
        ops: 7057,
        records: 6579,
        nodes: 19362,
        unnamed: 0,
        odd: 0,
    };
    assert_eq!(seen, want);
}

#[test]
fn an_independent_reader_saw_the_same() {
    let lines = std::fs::read(data::fixture("fixtures/refnet/verdicts.jsonl.zst")).unwrap();
    let lines = String::from_utf8(zstd::decode_all(&lines[..]).unwrap()).unwrap();
    let events = data::refnet();
    assert_eq!(lines.lines().count(), events.len());
    for (line, body) in lines.lines().zip(&events) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = event::parse(body).unwrap();
        let ops = match event {
            Event::Commit(commit) => Some(commit.ops.len()),
            Event::Sync(_) => Some(0),
            _ => None,
        };
        assert_eq!(line["t"], event.type_name());
        assert_eq!(line["seq"].as_i64(), event.seq());
        assert_eq!(line["did"].as_str(), event.did());
        assert_eq!(line["rev"].as_str(), event.rev());
        assert_eq!(line["ops"].as_u64().map(|n| n as usize), ops);
    }
}

#[test]
fn the_real_network_reads_whole() {
    let Some(path) = data::beside("wild/firehose.u32be.zst") else { return };
    let seen = check_all(&data::capture(&path));
    let want =
        Seen { events: 100, commits: 100, ops: 102, records: 99, nodes: 854, ..Seen::default() };
    assert_eq!(seen, want);
}
