//! Look-ups take no memory.
#![allow(clippy::unwrap_used)]

use didindex::{Builder, Change, Cursor, DidIndex, Key, PlcDid};

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
}
