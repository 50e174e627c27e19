//! An index that is kept current: what its readers see, and what survives.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use didindex::{
    Builder, Change, Cursor, DeltaWriter, DidIndex, Error, Key, LogWriter, Period, PlcDid, Record,
    Records, Room, Status, beside,
};
use proptest::{collection, option, prelude::*, sample};

const ROOM: Room = Room { slots: 64, bytes: 1 << 16 };
const CURSOR: Cursor = Cursor { created_ms: 5000, operations: 7 };

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("did.idx");
        Self { _folder: folder, path }
    }

    /// An index of the DIDs 0.., each with one key and one host.
    fn build(&self, accounts: u8) -> u64 {
        let mut builder = Builder::create(&self.path, u64::from(accounts), true).unwrap();
        for number in 0..accounts {
            builder.add(&did(number), &[change(1, number, Some("base.example"))]).unwrap();
        }
        let sealed = builder.seal(CURSOR).unwrap();
        let id = sealed.id();
        sealed.publish().unwrap();
        id
    }

    fn begin(&self, id: u64, room: Room) -> DeltaWriter {
        DeltaWriter::create(&self.path, id, self.open().seed(), room).unwrap()
    }

    fn delta(&self, id: u64, room: Room) -> DeltaWriter {
        let mut delta = self.begin(id, room);
        delta.set_cursor(CURSOR);
        delta.publish().unwrap();
        delta
    }

    fn open(&self) -> DidIndex {
        DidIndex::open(&self.path).unwrap()
    }
}

fn did(number: u8) -> PlcDid {
    PlcDid::from_bytes([number; 15])
}

fn key(seed: u8) -> Key {
    let mut key = [seed; 34];
    key[0] = 1 + seed % 2;
    key[1] = 2 + seed / 2 % 2;
    Key::Known(key)
}

fn change(from_ms: u64, seed: u8, pds: Option<&str>) -> Change<'_> {
    Change { from_ms, key: key(seed), pds }
}

/// Periods as they follow from the changes, the slow way.
fn model(changes: &[Change<'_>]) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    for change in changes {
        let period = Period::new(change.from_ms, change.key);
        if periods.last().is_none_or(|last| last.to_key() != change.key) {
            periods.push(period);
        }
    }
    if let [only] = &mut periods[..] {
        only.from_ms = 0;
    }
    periods
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => (0..6u8).prop_map(key),
        1 => Just(Key::Missing),
        1 => Just(Key::UnknownType),
        1 => Just(Key::Tombstone),
    ]
}

type Changes = Vec<(u64, Key, Option<&'static str>)>;

fn any_changes() -> impl Strategy<Value = Changes> {
    let pds = option::of(sample::select(vec!["base.example", "b.example", "127.0.0.1:2583"]));
    collection::vec((0..1u64 << 41, any_key(), pds), 1..6).prop_map(|mut changes| {
        changes.sort_by_key(|(from_ms, ..)| *from_ms);
        changes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_delta_says_what_was_put_in_last(
        states in collection::vec((0..20u8, any_changes()), 0..60),
    ) {
        let place = Place::new();
        let id = place.build(10);
        let mut delta = place.delta(id, ROOM);
        let index = place.open();
        let mut last: HashMap<u8, Vec<Change<'_>>> = HashMap::new();
        for (number, changes) in &states {
            let changes: Vec<Change<'_>> = changes
                .iter()
                .map(|(from_ms, key, pds)| Change { from_ms: *from_ms, key: *key, pds: *pds })
                .collect();
            let before = index.base_entry(&did(*number)).map(|entry| entry.is_rotated());
            prop_assert!(delta.put(&did(*number), &changes, before).unwrap());
            last.insert(*number, changes);
        }
        index.verify().unwrap();
        for number in 0..25u8 {
            let entry = index.entry(&did(number));
            let changes = match last.get(&number) {
                Some(changes) => changes.clone(),
                None if number < 10 => vec![change(1, number, Some("base.example"))],
                None => {
                    prop_assert!(entry.is_none());
                    continue;
                }
            };
            let entry = entry.unwrap();
            let (now, expected) = (changes.last().unwrap(), model(&changes));
            prop_assert_eq!((entry.key(), entry.pds()), (now.key.bytes(), now.pds));
            prop_assert_eq!(entry.status(), now.status());
            prop_assert_eq!(entry.is_rotated(), expected.len() > 1);
            prop_assert_eq!(entry.history().collect::<Vec<_>>(), expected);
        }
        let added = last.keys().filter(|number| **number >= 10).count() as u64;
        let info = index.info();
        prop_assert_eq!(info.entries, 10 + added);
        prop_assert_eq!(info.delta.unwrap().states, states.len() as u64);
        prop_assert_eq!(index.iter().count() as u64, 10 + added);
        let rotated = index.iter().filter(|(_, entry)| entry.is_rotated()).count() as u64;
        prop_assert_eq!(info.rotated, rotated);
        for host in index.hosts() {
            let on_it = index.iter().filter(|(_, entry)| entry.pds() == Some(host.name)).count();
            prop_assert_eq!(host.accounts, on_it as u64, "{}", host.name);
        }
    }

    #[test]
    fn a_log_gives_back_what_was_kept(
        records in collection::vec(any_record(), 0..40),
        known: bool,
    ) {
        let place = Place::new();
        let mut log = LogWriter::create(&place.path, 7).unwrap();
        for record in &records {
            log.push(&record.lend(known)).unwrap();
        }
        log.publish().unwrap();
        let (read, cut) = recover(&place, 7);
        prop_assert_eq!(cut, 0);
        prop_assert_eq!(read.len(), records.len());
        for (read, record) in read.iter().zip(&records) {
            prop_assert_eq!(read, &format!("{:?}", record.lend(known)));
        }
    }

    #[test]
    fn a_flipped_bit_in_a_log_ends_it_there(
        records in collection::vec(any_record(), 1..10),
        at in any::<sample::Index>(),
        bit in 0..8u8,
    ) {
        let place = Place::new();
        let mut log = LogWriter::create(&place.path, 7).unwrap();
        log.publish().unwrap();
        let mut ends = vec![64];
        for record in &records {
            log.push(&record.lend(false)).unwrap();
            log.commit().unwrap();
            ends.push(log.bytes() as usize);
        }
        let path = beside::log(&place.path, 7);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let expected: Option<usize> = ends.iter().rposition(|end| *end <= at);
        match Records::open(&place.path, 7) {
            Err(_) => prop_assert_eq!(expected, None),
            Ok(mut read) => {
                let mut count = 0;
                while read.next().unwrap().is_some() {
                    count += 1;
                }
                prop_assert_eq!(Some(count), expected);
            }
        }
    }
}

/// A record that owns its host.
#[derive(Debug, Clone)]
struct Kept {
    did: u8,
    name: [u8; 16],
    prev: Option<[u8; 16]>,
    created_ms: u64,
    key: Key,
    host: Option<String>,
}

impl Kept {
    fn lend(&self, known: bool) -> Record<'_> {
        let Self { did, name, prev, created_ms, key, host } = self;
        Record {
            did: self::did(*did),
            name: *name,
            prev: *prev,
            created_ms: *created_ms,
            key: *key,
            host: host.as_deref(),
            known,
            nullified: !known,
        }
    }
}

fn any_record() -> impl Strategy<Value = Kept> {
    let host = option::of("[a-z.]{1,260}");
    (any::<u8>(), any::<[u8; 16]>(), option::of(any::<[u8; 16]>()), any::<u64>(), any_key(), host)
        .prop_map(|(did, name, prev, created_ms, key, host)| Kept {
            did,
            name,
            prev,
            created_ms,
            key,
            host,
        })
}

fn recover(place: &Place, id: u64) -> (Vec<String>, u64) {
    let mut read = Vec::new();
    let recovered = LogWriter::recover::<Error>(&place.path, id, |record| {
        read.push(format!("{record:?}"));
        Ok(())
    });
    (read, recovered.unwrap().1)
}

#[test]
fn a_log_torn_at_any_byte_gives_its_whole_records_and_goes_on() {
    let place = Place::new();
    let record = |number: u8| Record {
        did: did(number),
        name: [number; 16],
        prev: number.checked_sub(1).map(|before| [before; 16]),
        created_ms: u64::from(number),
        key: key(number),
        host: Some("pds.example"),
        known: false,
        nullified: false,
    };
    let mut log = LogWriter::create(&place.path, 7).unwrap();
    log.publish().unwrap();
    let mut ends = Vec::new();
    for number in 0..4 {
        log.push(&record(number)).unwrap();
        log.commit().unwrap();
        ends.push(log.bytes());
    }
    let path = beside::log(&place.path, 7);
    let whole = fs::read(&path).unwrap();
    assert_eq!(ends[3], whole.len() as u64);
    for torn in 0..=whole.len() {
        fs::write(&path, &whole[..torn]).unwrap();
        if torn < 64 {
            // It has no name before its head is durable.
            assert!(LogWriter::recover::<Error>(&place.path, 7, |_| Ok(())).is_err());
            continue;
        }
        let last = ends.iter().copied().filter(|end| *end <= torn as u64).max().unwrap_or(64);
        let kept = ends.iter().filter(|end| **end <= torn as u64).count();
        let (read, cut) = recover(&place, 7);
        assert_eq!((read.len(), cut), (kept, torn as u64 - last), "{torn}");
        // The cut is made, and the log goes on behind it.
        let (mut log, cut) = LogWriter::recover::<Error>(&place.path, 7, |_| Ok(())).unwrap();
        assert_eq!(cut, 0);
        log.push(&record(9)).unwrap();
        log.commit().unwrap();
        let (read, cut) = recover(&place, 7);
        assert_eq!((read.len(), cut), (kept + 1, 0));
        assert_eq!(read[kept], format!("{:?}", record(9)));
    }
}

#[test]
fn a_log_of_another_index_or_version_is_refused() {
    let place = Place::new();
    assert!(matches!(Records::open(&place.path, 7), Err(Error::Io { .. })));
    LogWriter::create(&place.path, 7).unwrap().publish().unwrap();
    let path = beside::log(&place.path, 7);
    assert!(path.to_str().unwrap().ends_with("did.idx.0000000000000007.log"));
    fs::copy(&path, beside::log(&place.path, 8)).unwrap();
    assert!(matches!(Records::open(&place.path, 8), Err(Error::HeadChecksum { .. })));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Records::open(&place.path, 7), Err(Error::Version { found: 9, known: 1 })));
    fs::write(&path, b"{}").unwrap();
    assert!(matches!(Records::open(&place.path, 7), Err(Error::NotALog { .. })));
}

#[test]
fn a_full_delta_says_so_and_keeps_what_it_has() {
    let place = Place::new();
    let id = place.build(1);
    let mut delta = place.delta(id, Room { slots: 10, bytes: 64 });
    let index = place.open();
    let mut taken = 0;
    for number in 0..20 {
        taken += u8::from(delta.put(&did(number), &[change(1, 99, None)], None).unwrap());
    }
    assert_eq!(taken, 11);
    assert!(delta.load() > 0.99);
    for number in 0..20 {
        let changed = index.entry(&did(number)).is_some_and(|entry| entry.key() == key(99).bytes());
        assert_eq!(changed, number < taken, "{number}");
    }
    // One without any room is a delta, too: it tells its readers when it is superseded.
    let none = place.build(1);
    let mut delta = place.delta(none, Room { slots: 0, bytes: 0 });
    assert!(!delta.put(&did(0), &[change(1, 99, None)], None).unwrap());
    assert_eq!(place.open().entry(&did(0)).unwrap().key(), key(0).bytes());
}

#[test]
fn a_superseded_reader_goes_on_with_the_next_index_and_not_before() {
    let place = Place::new();
    let id = place.build(3);
    let mut delta = place.delta(id, ROOM);
    let mut reader = place.open();
    assert!(!reader.refresh().unwrap());
    delta.put(&did(0), &[change(9, 50, None)], Some(false)).unwrap();
    assert_eq!(reader.entry(&did(0)).unwrap().key(), key(50).bytes(), "without being asked to");
    // The writer dies between the two steps: the reader keeps what it has.
    delta.supersede();
    std::thread::sleep(std::time::Duration::from_millis(15));
    assert!(!reader.refresh().unwrap());
    assert_eq!(reader.entry(&did(0)).unwrap().key(), key(50).bytes());
    assert_eq!(reader.entry(&did(0)).unwrap().status(), Status::NoPds);
    // Another delta of the same index, made from the log.
    let mut again = place.begin(id, ROOM);
    again.put(&did(0), &[change(9, 51, None)], Some(false)).unwrap();
    again.publish().unwrap();
    wait_for(&mut reader);
    assert_eq!(reader.entry(&did(0)).unwrap().key(), key(51).bytes());
    assert!(!reader.refresh().unwrap());
    // Another index.
    let next = place.build(3);
    drop(place.delta(next, ROOM));
    again.supersede();
    wait_for(&mut reader);
    assert_eq!(reader.id(), next);
    assert_eq!(reader.entry(&did(0)).unwrap().key(), key(0).bytes());
    // A reader without a delta finds its way by itself.
    fs::remove_file(beside::delta(&place.path, next)).unwrap();
    let mut reader = place.open();
    assert!(!reader.refresh().unwrap());
    let last = place.build(4);
    wait_for(&mut reader);
    assert_eq!(reader.id(), last);
}

fn wait_for(reader: &mut DidIndex) {
    let began = std::time::Instant::now();
    while !reader.refresh().unwrap() {
        assert!(began.elapsed().as_secs() < 60);
        std::thread::yield_now();
    }
}

#[test]
fn a_delta_of_another_boot_is_believed_only_when_it_is_whole() {
    let place = Place::new();
    let id = place.build(3);
    let path = beside::delta(&place.path, id);
    let another_boot = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[32 + 40..32 + 56].fill(7);
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..4096].copy_from_slice(&checksum.to_le_bytes());
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut delta = place.delta(id, ROOM);
    delta.put(&did(0), &[change(9, 50, None)], Some(false)).unwrap();
    another_boot(&path);
    assert_eq!(place.open().entry(&did(0)).unwrap().key(), key(0).bytes());
    let mut delta = place.delta(id, ROOM);
    delta.put(&did(0), &[change(9, 50, None)], Some(false)).unwrap();
    delta.finish().unwrap();
    another_boot(&path);
    assert_eq!(place.open().entry(&did(0)).unwrap().key(), key(50).bytes());
    // What is none is as good as none.
    for bytes in [&b""[..], &[0; 5000], &fs::read(&path).unwrap()[..4096]] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(place.open().entry(&did(0)).unwrap().key(), key(0).bytes());
    }
}

#[test]
fn verify_finds_a_damaged_delta_and_a_log_that_lacks_operations() {
    let place = Place::new();
    let id = place.build(3);
    let mut delta = place.delta(id, ROOM);
    delta.put(&did(1), &[change(9, 50, Some("b.example"))], Some(false)).unwrap();
    LogWriter::create(&place.path, id).unwrap().publish().unwrap();
    place.open().verify().unwrap();
    delta.set_cursor(Cursor { operations: CURSOR.operations + 1, ..CURSOR });
    let lacks = place.open().verify();
    assert!(matches!(lacks, Err(Error::Log { offset: 64, found: 0, expected: 1 })), "{lacks:?}");
    let path = beside::delta(&place.path, id);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(15).position(|window| window == did(1).as_bytes()).unwrap();
    bytes[at + 20] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert!(matches!(place.open().verify(), Err(Error::Delta { place: 2 })));
}

#[test]
fn what_belongs_to_older_indexes_is_removed_and_nothing_else() {
    let place = Place::new();
    let folder = place.path.parent().unwrap();
    let name = |rest: &str| folder.join(format!("did.idx{rest}"));
    let old = [
        ".00000000000000aa.log",
        ".00000000000000aa.delta",
        ".00000000000000aa.delta.tmp",
        ".00000000000000bb.log.tmp",
        ".00000000000000bb.delta.tmp",
    ];
    let kept = [
        ".00000000000000bb.log",
        ".00000000000000bb.delta",
        ".lock",
        ".aa.log",
        ".00000000000000aa.zst",
        "2.00000000000000aa.log",
        ".000000000000000g.log",
    ];
    for rest in old.iter().chain(&kept) {
        fs::write(name(rest), b"x").unwrap();
    }
    beside::clean(&place.path, 0xbb).unwrap();
    assert!(old.iter().all(|rest| !name(rest).exists()));
    assert!(kept.iter().all(|rest| name(rest).exists()));
}
