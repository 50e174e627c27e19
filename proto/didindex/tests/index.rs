//! The index against the simplest model, and against files that are no index.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, fs, os::unix::fs::FileExt, path::Path};

use didindex::{Builder, Change, Cursor, DidIndex, Error, Key, Period, PlcDid, Status};
use proptest::{collection, option, prelude::*, sample};

const CURSOR: Cursor = Cursor { created_ms: 1_700_000_000_123, operations: 77 };

#[derive(Debug, Clone)]
struct Account {
    changes: Vec<(u64, Key, Option<String>)>,
}

fn build(path: &Path, accounts: &HashMap<[u8; 15], Account>) {
    let mut builder = Builder::create(path, accounts.len() as u64, true).unwrap();
    for (did, account) in accounts {
        let changes: Vec<_> = account
            .changes
            .iter()
            .map(|(from_ms, key, pds)| Change { from_ms: *from_ms, key: *key, pds: pds.as_deref() })
            .collect();
        builder.add(&PlcDid::from_bytes(*did), &changes).unwrap();
    }
    builder.finish(CURSOR).unwrap();
}

fn known(seed: u8) -> Key {
    let mut key = [seed; 34];
    key[0] = 1 + seed % 2;
    key[1] = 2 + seed / 2 % 2;
    Key::Known(key)
}

/// Periods as they follow from the changes, the slow way.
fn model(account: &Account) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    for (from_ms, key, _) in &account.changes {
        let period = Period::new(*from_ms, *key);
        if periods.last().is_none_or(|last| (last.key, last.status) != (period.key, period.status))
        {
            periods.push(period);
        }
    }
    if let [only] = &mut periods[..] {
        only.from_ms = 0;
    }
    periods
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => (0..6u8).prop_map(known),
        1 => Just(Key::Missing),
        1 => Just(Key::UnknownType),
        1 => Just(Key::Tombstone),
    ]
}

fn account() -> impl Strategy<Value = Account> {
    let pds = option::of(sample::select(vec!["a.example", "b.example", "127.0.0.1:2583"]));
    let change = (0..1u64 << 41, key(), pds.prop_map(|pds| pds.map(str::to_owned)));
    collection::vec(change, 1..5).prop_map(|mut changes| {
        changes.sort_by_key(|(from_ms, ..)| *from_ms);
        Account { changes }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_was_put_in(
        accounts in collection::hash_map(any::<[u8; 15]>(), account(), 0..60),
        stranger: [u8; 15],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("did.idx");
        build(&path, &accounts);
        let index = DidIndex::open(&path).unwrap();
        index.verify().unwrap();
        prop_assert_eq!(index.cursor(), CURSOR);
        prop_assert_eq!(index.info().entries, accounts.len() as u64);
        for (did, account) in &accounts {
            let entry = index.get(&PlcDid::from_bytes(*did).to_string()).unwrap();
            let (_, key, pds) = account.changes.last().unwrap();
            prop_assert_eq!(entry.key(), key.bytes());
            prop_assert_eq!(entry.pds(), pds.as_deref());
            let status = match key.status() {
                Status::Active if pds.is_none() => Status::NoPds,
                status => status,
            };
            prop_assert_eq!(entry.status(), status);
            prop_assert_eq!(entry.history().collect::<Vec<_>>(), model(account));
        }
        prop_assert_eq!(index.iter().count(), accounts.len());
        let mut dids: Vec<_> = accounts.keys().copied().map(PlcDid::from_bytes).collect();
        dids.push(PlcDid::from_bytes(stranger));
        let mut entries = vec![None; dids.len() + 1];
        index.entries(&dids, &mut entries);
        for (did, entry) in dids.iter().zip(&entries) {
            let single = index.entry(did);
            prop_assert_eq!(entry.map(|entry| entry.key()), single.map(|entry| entry.key()));
            let history = |entry: &didindex::Entry<'_>| entry.history().collect::<Vec<_>>();
            prop_assert_eq!(entry.as_ref().map(history), single.as_ref().map(history));
        }
        let there = accounts.contains_key(&stranger);
        prop_assert_eq!(index.entry(&PlcDid::from_bytes(stranger)).is_some(), there);
        for host in index.hosts() {
            let on_it = |account: &&Account| {
                account.changes.last().unwrap().2.as_deref() == Some(host.name)
            };
            prop_assert_eq!(host.accounts, accounts.values().filter(on_it).count() as u64);
        }
    }

    #[test]
    fn a_flipped_bit_is_found_by_verify_and_harms_nothing_before(
        accounts in collection::hash_map(any::<[u8; 15]>(), account(), 1..20),
        at in any::<sample::Index>(),
        bit in 0..8u8,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("did.idx");
        build(&path, &accounts);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let other = folder.path().join("other.idx");
        fs::write(&other, &bytes).unwrap();
        match DidIndex::open(&other) {
            Err(_) => prop_assert!(at < 4096 + 128, "only heads are checked on opening"),
            Ok(index) => prop_assert!(index.verify().is_err()),
        }
        didindex::fuzz_open(&bytes, folder.path()).unwrap();
    }

    #[test]
    fn a_hostile_body_with_a_good_head_never_fails_badly(
        accounts in collection::hash_map(any::<[u8; 15]>(), account(), 1..20),
        garbage in collection::vec(any::<u8>(), 1..64),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("did.idx");
        build(&path, &accounts);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in bytes.iter_mut().enumerate().skip(4096 + 128) {
            *byte = garbage[at % garbage.len()];
        }
        didindex::fuzz_open(&bytes, folder.path()).unwrap();
    }
}

#[test]
fn more_hosts_than_sixteen_bits_count_are_all_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let accounts = 70_000u32;
    let did = |number: u32| {
        let mut did = [0; 15];
        did[..4].copy_from_slice(&number.to_le_bytes());
        PlcDid::from_bytes(did)
    };
    let mut builder = Builder::create(&path, accounts.into(), false).unwrap();
    for number in 0..accounts {
        let pds = format!("host-{number}.example");
        let change = Change { from_ms: 5, key: known(1), pds: Some(&pds) };
        builder.add(&did(number), &[change]).unwrap();
    }
    builder.finish(CURSOR).unwrap();
    let index = DidIndex::open(&path).unwrap();
    index.verify().unwrap();
    assert_eq!((index.info().hosts, index.info().far), (70_000, 70_000 - 0xfffe));
    for number in 0..accounts {
        let entry = index.entry(&did(number)).unwrap();
        assert_eq!(entry.pds(), Some(&*format!("host-{number}.example")));
    }
}

#[test]
fn a_hundred_thousand_accounts_take_less_than_sixty_bytes_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let mut builder = Builder::create(&path, 100_000, false).unwrap();
    for number in 0..100_000u32 {
        let mut did = [7; 15];
        did[3..7].copy_from_slice(&number.to_be_bytes());
        let pds = format!("pds-{}.example", number % 200);
        let first = Change { from_ms: 5, key: known(1), pds: Some(&pds) };
        let second = Change { from_ms: 900, key: known((number % 250) as u8), ..first };
        // One in thirty has rotated.
        let changes = if number % 30 == 0 { &[first, second][..] } else { &[second] };
        builder.add(&PlcDid::from_bytes(did), changes).unwrap();
    }
    let summary = builder.finish(CURSOR).unwrap();
    assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
    assert!(summary.bytes < 59 * 100_000, "{summary:?}");
}

#[test]
fn former_keys_that_are_too_many_for_memory_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let count = 600_000u32;
    let did = |number: u32| {
        let mut did = [3; 15];
        did[..4].copy_from_slice(&number.to_le_bytes());
        PlcDid::from_bytes(did)
    };
    let key = |number: u32| {
        let mut key = [2; 34];
        key[2..6].copy_from_slice(&number.to_le_bytes());
        Key::Known(key)
    };
    let change = |from_ms, key| Change { from_ms, key, pds: None };
    let mut builder = Builder::create(&path, count.into(), false).unwrap();
    for number in 0..count {
        let changes = [change(5, key(number)), change(9, key(u32::MAX))];
        builder.add(&did(number), &changes).unwrap();
    }
    let summary = builder.finish(CURSOR).unwrap();
    assert_eq!(summary.rotated, count.into());
    let index = DidIndex::open(&path).unwrap();
    index.verify().unwrap();
    for number in (0..count).step_by(97) {
        let keys: Vec<_> = index.entry(&did(number)).unwrap().history().collect();
        assert_eq!(keys, [Period::new(5, key(number)), Period::new(9, key(u32::MAX))]);
    }
}

#[test]
fn which_keys_count_at_a_time() {
    const MIN: u64 = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let [a, b, c, d] = [known(0), known(1), known(2), known(3)];
    let hour = |hours: u64| hours * 60 * MIN;
    let changes = [
        (hour(10), a, None),
        (hour(20), b, None),
        // A change of handle is none of keys.
        (hour(22), b, None),
        (hour(30), c, None),
        (hour(30) + 2 * MIN, Key::Missing, None),
        (hour(30) + 4 * MIN, d, None),
    ];
    let account = Account { changes: changes.to_vec() };
    let single = Account { changes: vec![(hour(10), a, None)] };
    build(&path, &HashMap::from([([1; 15], account), ([2; 15], single)]));
    let index = DidIndex::open(&path).unwrap();
    let at = |did: u8, time: u64| -> Vec<Option<[u8; 34]>> {
        let entry = index.entry(&PlcDid::from_bytes([did; 15])).unwrap();
        entry.keys_at(time).map(|period| period.key).collect()
    };
    let [a, b, c, d] = [a, b, c, d].map(|key| key.bytes());
    assert_eq!(at(1, 0), [a], "before the first operation the first key counts");
    assert_eq!(at(1, hour(20) - 5 * MIN - 1), [a]);
    assert_eq!(at(1, hour(20) - 5 * MIN), [a, b], "five minutes early");
    assert_eq!(at(1, hour(20) - 1), [a, b]);
    assert_eq!(at(1, hour(20)), [b], "the former key ends with the operation");
    assert_eq!(at(1, hour(22)), [b]);
    assert_eq!(at(1, hour(30) - MIN), [b, c, None, d]);
    assert_eq!(at(1, hour(30) + 3 * MIN), [None, d]);
    assert_eq!(at(1, u64::MAX), [d]);
    for time in [0, hour(10), u64::MAX] {
        assert_eq!(at(2, time), [a]);
    }
}

#[test]
fn files_that_are_no_index_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let account = Account { changes: vec![(1, known(1), Some("a.example".into()))] };
    build(&path, &HashMap::from([([1; 15], account)]));
    let good = fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        let path = folder.path().join("x.idx");
        fs::write(&path, bytes).unwrap();
        DidIndex::open(&path).map(drop)
    };
    // With a checksum that holds, so that the check behind it is the one that speaks.
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..4096].copy_from_slice(&checksum.to_le_bytes());
        open(&bytes)
    };
    assert!(open(&good).is_ok());
    assert!(matches!(DidIndex::open(Path::new("/nowhere/did.idx")), Err(Error::Io { .. })));
    assert!(matches!(open(b""), Err(Error::NotAnIndex { .. })));
    assert!(matches!(open(b"{\"did\":\"did:plc:x\"}"), Err(Error::NotAnIndex { .. })));
    assert!(matches!(open(&good[..100]), Err(Error::Length { expected: 4096, found: 100 })));
    assert!(matches!(open(&good[..good.len() - 1]), Err(Error::Section { .. })));
    assert!(matches!(open(&[&good[..], b"x"].concat()), Err(Error::Length { .. })));
    let mut flipped = good.clone();
    flipped[300] ^= 1;
    assert!(matches!(open(&flipped), Err(Error::HeadChecksum { .. })));
    let old = changed(8, &[1]).unwrap_err();
    assert_eq!(
        old.to_string(),
        "did.idx version 1, and this program reads version 2; build it anew: index-build --force"
    );
    assert!(matches!(changed(8, &[9]), Err(Error::Version { found: 9, known: 2 })));
    assert!(matches!(changed(32, &[1]), Err(Error::Section { section: "accounts", .. })));
    assert!(matches!(changed(40, &[0xff; 8]), Err(Error::Section { section: "accounts", .. })));
    assert!(matches!(changed(40, &[0; 8]), Err(Error::Section { section: "hosts", .. })));
    assert!(matches!(changed(64, &[17]), Err(Error::Section { section: "hosts", .. })));
    assert!(matches!(changed(4096, b"x"), Err(Error::Table(table::Error::NotATable { .. }))));
}

#[test]
fn building_over_an_index_needs_to_be_asked_for_and_its_readers_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let one = PlcDid::from_bytes([1; 15]);
    let add = |replace: bool, key: Key| -> Result<(), Error> {
        let mut builder = Builder::create(&path, 1, replace)?;
        builder.add(&one, &[Change { from_ms: 0, key, pds: None }])?;
        builder.finish(CURSOR).map(drop)
    };
    add(false, known(1)).unwrap();
    let old = DidIndex::open(&path).unwrap();
    assert!(matches!(add(false, known(2)), Err(Error::Table(table::Error::Exists { .. }))));
    add(true, known(2)).unwrap();
    assert_eq!(old.entry(&one).unwrap().key(), known(1).bytes());
    assert_ne!(old.id(), DidIndex::open(&path).unwrap().id());
    assert_eq!(DidIndex::open(&path).unwrap().entry(&one).unwrap().key(), known(2).bytes());
}

#[test]
fn an_account_is_added_once_and_with_an_operation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let mut builder = Builder::create(&path, 2, false).unwrap();
    let did = PlcDid::from_bytes([1; 15]);
    let change = Change { from_ms: 0, key: Key::Missing, pds: None };
    assert!(matches!(builder.add(&did, &[]), Err(Error::NoOperation)));
    let long = "a".repeat(261);
    let other = PlcDid::from_bytes([2; 15]);
    let too_long = builder.add(&other, &[Change { pds: Some(&long), ..change }]);
    assert!(matches!(too_long, Err(Error::HostName { bytes: 261, limit: 260 })));
    builder.add(&did, &[change]).unwrap();
    builder.add(&did, &[change]).unwrap();
    let twice = builder.finish(CURSOR);
    assert!(matches!(twice, Err(Error::Table(table::Error::Repeated))));
    let mut builder = Builder::create(&path, 2, false).unwrap();
    builder.add(&did, &[change]).unwrap();
    builder.settle(u64::MAX).unwrap();
    builder.add(&did, &[change]).unwrap();
    assert!(builder.finish(CURSOR).is_err(), "after it was settled");
    assert!(!path.exists());
}

#[test]
fn an_index_is_built_from_another_in_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.idx"), folder.path().join("second.idx"));
    let count = 50_000u32;
    let did = |number: u32| {
        let mut did = [9; 15];
        did[..4].copy_from_slice(&number.to_le_bytes());
        PlcDid::from_bytes(did)
    };
    let mut builder = Builder::create(&first, count.into(), false).unwrap();
    for number in 0..count {
        let change = |seed: u32| Change { from_ms: 7, key: known(seed as u8), pds: None };
        let changes = [change(number), change(number / 3)];
        builder.add(&did(number), &changes[..1 + number as usize % 2]).unwrap();
    }
    builder.finish(CURSOR).unwrap();
    let base = DidIndex::open(&first).unwrap();
    let mut builder = Builder::create_keyed(&second, count.into(), false, base.seed()).unwrap();
    for (number, (did, entry)) in base.iter().enumerate() {
        let changes: Vec<_> = entry
            .history()
            .map(|period| {
                let key = period.key.map_or(Key::Missing, Key::Known);
                Change { from_ms: period.from_ms, key, pds: entry.pds() }
            })
            .collect();
        builder.add(&did, &changes).unwrap();
        if number % 1000 == 0 {
            builder.settle(base.hash_from(&entry)).unwrap();
        }
    }
    builder.finish(CURSOR).unwrap();
    let copy = DidIndex::open(&second).unwrap();
    copy.verify().unwrap();
    assert_eq!(copy.info().entries, count.into());
    for number in 0..count {
        let (a, b) = (base.entry(&did(number)).unwrap(), copy.entry(&did(number)).unwrap());
        assert_eq!((a.key(), a.status()), (b.key(), b.status()));
        assert!(a.history().eq(b.history()));
    }
}

#[test]
fn the_format_is_the_one_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let did: PlcDid = "did:plc:aaaaaaababcdefgh76543277".parse().unwrap();
    let mut builder = Builder::create(&path, 1, false).unwrap();
    let first = Change { from_ms: 0x0102_0304_0506, key: known(3), pds: None };
    let second = Change { from_ms: 0x0202_0304_0506, key: known(5), pds: Some("b.example:99") };
    builder.add(&did, &[first, second]).unwrap();
    builder.finish(CURSOR).unwrap();
    let file = fs::File::open(&path).unwrap();
    let mut head = [0; 224];
    file.read_exact_at(&mut head, 0).unwrap();
    let section = |number: usize| {
        let at = 32 + 24 * number;
        let field = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let mut bytes = vec![0; field(at + 8) as usize];
        file.read_exact_at(&mut bytes, field(at)).unwrap();
        bytes
    };
    let accounts = section(0);
    // One home and sixteen spare groups; the slots begin at a page.
    assert_eq!(
        (accounts.len(), &accounts[24..40]),
        (4096 + 17 * 15 * 50, &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],)
    );
    assert!(accounts[128] != 0 && accounts[129..400].iter().all(|tag| *tag == 0));
    let entry = &accounts[4096..][..50];
    assert_eq!(&entry[..15], did.as_bytes());
    assert_eq!(&entry[15..47], [5; 32]);
    // P-256, even, with a key, rotated; host 0.
    assert_eq!(&entry[47..], [8 | 32 | 64, 0, 0]);
    assert_eq!(section(1), [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4], &[12, 0, 0, 0]].concat());
    assert_eq!(section(2), b"b.example:99");
    assert_eq!(section(3), [0; 8]);
    let periods = [6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 6, 5, 4, 3, 2, 0x82, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(section(4), periods);
    assert_eq!(section(5), known(3).bytes().unwrap());
    assert!(section(6).is_empty());
    assert_eq!(
        section(7),
        [&CURSOR.created_ms.to_le_bytes()[..], &[77, 0, 0, 0, 0, 0, 0, 0]].concat()
    );
}
