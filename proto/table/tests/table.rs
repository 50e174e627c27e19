//! The table against the simplest model, and against bytes that are no table.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::{collection, prelude::*};
use table::{Error, Fill, NewFile, Seed, Table, bytes, slots_for};

const KEY: usize = 15;
const VALUE: usize = 7;

fn built(slots: u64, entries: &HashMap<[u8; KEY], [u8; VALUE]>) -> Vec<u8> {
    let area = vec![0; bytes(slots, KEY, VALUE).unwrap() as usize];
    let mut fill = Fill::<_, KEY, VALUE>::new(area, slots, Seed::random().unwrap()).unwrap();
    for (key, value) in entries {
        fill.insert(key, value).unwrap();
    }
    fill.finish()
}

/// Keys of few different bytes, so that some differ in one place only.
fn key() -> impl Strategy<Value = [u8; KEY]> {
    collection::vec(0..4u8, KEY).prop_map(|bytes| bytes.try_into().unwrap())
}

proptest! {
    #[test]
    fn a_table_answers_as_a_hash_map_does(
        entries in collection::hash_map(key(), any::<[u8; VALUE]>(), 0..300),
        others in collection::vec(key(), 0..100),
        spare in 0..20u64,
    ) {
        // Down to a single empty slot.
        let slots = (entries.len() as u64 + 1 + spare).max(16);
        let area = built(slots, &entries);
        let table = Table::<_, KEY, VALUE>::open(&area).unwrap();
        prop_assert_eq!(table.entries(), entries.len() as u64);
        for (key, value) in &entries {
            prop_assert_eq!(table.get(key), Some(value));
        }
        for key in &others {
            prop_assert_eq!(table.get(key), entries.get(key));
        }
        let all: HashMap<_, _> = table.iter().map(|(_, key, value)| (*key, *value)).collect();
        prop_assert_eq!(all, entries);
    }

    #[test]
    fn a_flipped_bit_anywhere_never_makes_a_search_fail_or_hang(
        entries in collection::hash_map(key(), any::<[u8; VALUE]>(), 1..50),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut area = built(slots_for(entries.len() as u64), &entries);
        let at = at.index(area.len());
        area[at] ^= 1u8 << bit;
        match Table::<_, KEY, VALUE>::open(&area) {
            Err(_) => prop_assert!(at < 128),
            Ok(table) => {
                prop_assert!(at >= 128);
                for key in entries.keys() {
                    let _ = table.get(key);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_table_or_an_error(area in collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Table::<_, KEY, VALUE>::open(&area).is_err());
    }
}

#[test]
fn a_million_entries_at_the_usual_load_are_all_found() {
    let entries: u64 = 1_000_000;
    let slots = slots_for(entries);
    assert!((0.865..=0.87).contains(&(entries as f64 / slots as f64)));
    let area = vec![0; bytes(slots, 8, 8).unwrap() as usize];
    let mut fill = Fill::<_, 8, 8>::new(area, slots, Seed::random().unwrap()).unwrap();
    let mut places = Vec::new();
    for number in 0..entries {
        places.push(fill.insert(&number.to_le_bytes(), &(!number).to_le_bytes()).unwrap());
    }
    let table = Table::<_, 8, 8>::open(fill.finish()).unwrap();
    for number in 0..entries {
        let (slot, value) = table.find(&number.to_le_bytes()).unwrap();
        assert_eq!((slot, *value), (places[number as usize], (!number).to_le_bytes()));
        assert_eq!(table.get(&(number + entries).to_le_bytes()), None);
    }
}

#[test]
fn a_repeated_key_and_a_full_table_are_errors_that_change_nothing() {
    let mut area = vec![0; bytes(16, 1, 1).unwrap() as usize];
    let mut fill = Fill::<_, 1, 1>::new(&mut area, 16, Seed::random().unwrap()).unwrap();
    for number in 0..15 {
        fill.insert(&[number], &[number]).unwrap();
    }
    assert!(matches!(fill.insert(&[3], &[9]), Err(Error::Repeated { .. })));
    assert!(matches!(fill.insert(&[15], &[9]), Err(Error::Full { entries: 15, slots: 16 })));
    fill.finish();
    let table = Table::<_, 1, 1>::open(&area).unwrap();
    assert_eq!(table.get(&[3]), Some(&[3]));
    assert_eq!(table.get(&[15]), None);
}

#[test]
fn a_table_without_an_empty_slot_ends_its_searches() {
    let mut area = built(16, &HashMap::new());
    area[128..128 + 16].fill(1);
    let table = Table::<_, KEY, VALUE>::open(&area).unwrap();
    assert_eq!(table.get(&[7; KEY]), None);
}

#[test]
fn damaged_headers_are_named() {
    let good = built(20, &HashMap::from([([1; KEY], [2; VALUE])]));
    let open = |area: &[u8]| Table::<_, KEY, VALUE>::open(area.to_vec()).map(drop);
    // With a checksum that holds, so that the check behind it is the one that speaks.
    let changed = |at: usize, with: &[u8]| {
        let mut area = good.clone();
        area[at..at + with.len()].copy_from_slice(with);
        let checksum = crc32c::crc32c(&area[..124]);
        area[124..128].copy_from_slice(&checksum.to_le_bytes());
        open(&area)
    };
    assert!(open(&good).is_ok());
    assert!(matches!(open(b""), Err(Error::NotATable { .. })));
    assert!(matches!(open(b"SVRNtab"), Err(Error::NotATable { .. })));
    assert!(matches!(open(b"SVRNtabl"), Err(Error::Length { expected: 128, found: 8 })));
    assert!(matches!(open(&good[..good.len() - 1]), Err(Error::Length { .. })));
    assert!(matches!(open(&[&good[..], b"x"].concat()), Err(Error::Length { .. })));
    let mut flipped = good.clone();
    flipped[50] ^= 1;
    assert!(matches!(open(&flipped), Err(Error::HeaderChecksum { .. })));
    assert!(matches!(changed(8, &[2]), Err(Error::Version { found: 2, known: 1 })));
    assert!(matches!(changed(12, &[14]), Err(Error::Length { .. })));
    assert!(matches!(changed(12, &[14, 0, 0, 0, 8]), Err(Error::Shape { key: 14, value: 8, .. })));
    assert!(matches!(changed(12, &[0; 4]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(16, &[0xff; 4]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(20, &[1]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[0xff; 8]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[0; 8]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[21]), Err(Error::Length { .. })));
    assert!(matches!(changed(32, &[20]), Err(Error::Sizes { slots: 20, entries: 20 })));
    assert!(matches!(changed(100, &[1]), Err(Error::Sizes { .. })));
    assert!(matches!(bytes(15, KEY, VALUE), Err(Error::Sizes { .. })));
    assert!(matches!(bytes(u64::MAX, KEY, VALUE), Err(Error::Sizes { .. })));
}

#[test]
fn a_file_appears_whole_and_its_readers_keep_the_one_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tab");
    let write = |value: u8, replace| -> Result<(), Error> {
        let new = NewFile::create(&path, replace)?;
        let map = new.map(4096, bytes(16, 1, 1)?)?;
        let mut fill = Fill::<_, 1, 1>::new(map, 16, Seed::random()?)?;
        fill.insert(&[1], &[value])?;
        fill.finish();
        if value == 9 {
            return Ok(());
        }
        new.publish()
    };
    let open = || {
        let file = std::fs::File::open(&path).unwrap();
        let length = file.metadata().unwrap().len() - 4096;
        Table::<_, 1, 1>::open(table::Map::new(&file, 4096, length).unwrap()).unwrap()
    };
    write(9, false).unwrap();
    assert!(!path.exists(), "given up before it was published");
    write(1, false).unwrap();
    let old = open();
    assert!(matches!(write(2, false), Err(Error::Exists { .. })));
    assert_eq!(open().get(&[1]), Some(&[1]));
    std::fs::write(folder.path().join("x.tab.tmp"), vec![7; 100_000]).unwrap();
    write(3, true).unwrap();
    assert_eq!(open().get(&[1]), Some(&[3]), "what a killed writer left is no part of it");
    assert_eq!(old.get(&[1]), Some(&[1]));
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["x.tab", "x.tab.lock"]);
}

#[test]
fn of_two_writers_the_second_is_told_who_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tab");
    let first = NewFile::create(&path, false).unwrap();
    match NewFile::create(&path, false) {
        Err(Error::Busy { holder, .. }) => assert_eq!(holder, std::process::id()),
        other => panic!("{other:?}"),
    }
    drop(first);
    NewFile::create(&path, false).unwrap();
}

#[test]
fn mapping_more_than_a_file_has_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(10).unwrap();
    assert!(table::Map::new(&file, 0, 11).is_err());
    assert!(table::Map::new(&file, u64::MAX, 2).is_err());
}
