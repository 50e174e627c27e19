//! Look-ups take no memory.
#![allow(clippy::unwrap_used)]

use didindex::{Builder, Change, Cursor, DeltaWriter, DidIndex, Key, PlcDid, Room};

#[test]
fn looking_up_keys_hosts_and_history_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let mut builder = Builder::create(&path, 100, false).unwrap();
    let dids: Vec<PlcDid> = (0..100).map(|number| PlcDid::from_bytes([number; 15])).collect();
    for (number, did) in dids.iter().enumerate() {
        let key = |curve| Key::Known([curve; 34]);
        let first = Change { from_ms: 1, key: key(1), pds: Some("a.example") };
        let second = Change { from_ms: 2_000_000, key: key(2), pds: Some("b.example") };
        let changes = if number % 2 == 0 { &[first, second][..] } else { &[first] };
        builder.add(did, changes).unwrap();
    }
    builder.finish(Cursor { created_ms: 0, operations: 150 }).unwrap();
    let index = DidIndex::open(&path).unwrap();
    let texts: Vec<String> = dids.iter().map(PlcDid::to_string).collect();

    let mut found = 0;
    let mut entries = vec![None; dids.len()];
    let counted = allocation_counter::measure(|| {
        for did in &texts {
            let entry = index.get(did).unwrap();
            found += entry.pds().map_or(0, str::len) + entry.history().count();
            found += entry.keys_at(1_900_000).filter_map(|period| period.key).count();
        }
        assert!(index.get("did:plc:7777777777777777777777aa").is_none());
        assert!(index.get("did:web:example.com").is_none());
        index.entries(&dids, &mut entries);
    });
    assert_eq!(counted.count_total, 0);
    assert!(entries.iter().all(Option::is_some));
    assert_eq!(found, 100 * 9 + 150 + 150);
    without_a_delta(index);
    with_a_delta(&path, &texts, &dids);
}

fn without_a_delta(mut index: DidIndex) {
    let counted = allocation_counter::measure(|| {
        // Long enough for it to look whether there is another index.
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(300) {
            assert!(!index.refresh().unwrap());
        }
    });
    assert_eq!(counted.count_total, 0);
}

fn with_a_delta(path: &std::path::Path, texts: &[String], dids: &[PlcDid]) {
    let index = DidIndex::open(path).unwrap();
    let room = Room { slots: 100, bytes: 1 << 20 };
    let mut delta = DeltaWriter::create(path, index.id(), index.seed(), room).unwrap();
    delta.publish().unwrap();
    let mut index = DidIndex::open(path).unwrap();
    for did in dids.iter().step_by(3) {
        let first = Change { from_ms: 1, key: Key::Known([1; 34]), pds: Some("a.example") };
        let second = Change { from_ms: 2_000_000, key: Key::Missing, pds: Some("changed.example") };
        assert!(delta.put(did, &[first, second], Some(true)).unwrap());
    }
    let mut changed = 0;
    let counted = allocation_counter::measure(|| {
        for did in texts {
            assert!(!index.refresh().unwrap());
            let entry = index.get(did).unwrap();
            changed += usize::from(entry.pds() == Some("changed.example"));
            assert!(entry.history().count() + entry.keys_at(1_900_000).count() >= 2);
        }
        assert!(index.get("did:plc:7777777777777777777777aa").is_none());
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(changed, 34);
}
