//! The table against the simplest model, and against bytes that are no table.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, os::unix::fs::FileExt};

use proptest::{collection, prelude::*};
use table::{Error, NewFile, Pack, Seed, Table, bytes, header, homes_for};

const KEY: usize = 15;
const VALUE: usize = 7;

fn packed<const K: usize, const V: usize>(
    homes: u64,
    entries: impl IntoIterator<Item = ([u8; K], [u8; V])>,
) -> Result<Vec<u8>, Error> {
    let seed = Seed::random()?;
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(key, _)| (seed.hash(key), *key));
    let mut pack = Pack::<_, _, [u8; K], K, V>::new(Vec::new(), Vec::new(), homes, seed)?;
    for (number, (key, value)) in entries.iter().enumerate() {
        // Every other one wants to know where it is.
        pack.push(key, value, number.is_multiple_of(2).then_some(*key))?;
    }
    let packed = pack.finish()?;
    let mut area = [&packed.header[..], &packed.groups].concat();
    area.resize(header::slots_at(homes) as usize, 0);
    area.extend(packed.slots);
    assert_eq!(area.len() as u64, bytes(homes, K, V)?);
    let table = Table::<_, K, V>::open(&area)?;
    assert_eq!(packed.noted.len(), entries.len().div_ceil(2));
    for (slot, key) in packed.noted {
        assert_eq!(table.find(&key).unwrap().0, u64::from(slot));
    }
    Ok(area)
}

fn built(homes: u64, entries: &HashMap<[u8; KEY], [u8; VALUE]>) -> Vec<u8> {
    packed(homes, entries.iter().map(|(key, value)| (*key, *value))).unwrap()
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
        homes in 1..40u64,
    ) {
        // From more than there is room for at home, to groups that are nearly empty.
        let homes = homes.max(entries.len() as u64 / 20);
        let area = built(homes, &entries);
        let table = Table::<_, KEY, VALUE>::open(&area).unwrap();
        prop_assert_eq!(table.entries(), entries.len() as u64);
        for (key, value) in &entries {
            prop_assert_eq!(table.get(key), Some(value));
        }
        for key in &others {
            prop_assert_eq!(table.get(key), entries.get(key));
        }
        let keys: Vec<_> = others.iter().chain(entries.keys()).copied().collect();
        let mut together = Vec::new();
        table.find_each(&keys, |_, found| together.push(found));
        let single: Vec<_> = keys.iter().map(|key| table.find(key)).collect();
        prop_assert_eq!(together, single);
        for (slot, key, _) in table.iter() {
            prop_assert!(table.hash_from(slot) <= table.seed().hash(key));
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
        let mut area = built(homes_for(entries.len() as u64), &entries);
        let at = at.index(area.len());
        area[at] ^= 1u8 << bit;
        match Table::<_, KEY, VALUE>::open(&area) {
            Err(_) => prop_assert!(at < 128),
            Ok(table) => {
                prop_assert!(at >= 128);
                for key in entries.keys() {
                    let _ = table.get(key);
                }
                let mut found = 0;
                table.find_each(entries.keys(), |_, _| found += 1);
                prop_assert_eq!(found, entries.len());
                let _ = table.iter().count();
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
    let homes = homes_for(entries);
    assert!((0.919..0.92).contains(&(entries as f64 / header::slots(homes) as f64)));
    let all = (0..entries).map(|number| (number.to_le_bytes(), (!number).to_le_bytes()));
    let table = Table::<_, 8, 8>::open(packed(homes, all).unwrap()).unwrap();
    for number in 0..entries {
        assert_eq!(table.get(&number.to_le_bytes()), Some(&(!number).to_le_bytes()));
        assert_eq!(table.get(&(number + entries).to_le_bytes()), None);
    }
}

#[test]
fn what_cannot_be_packed_is_told_apart() {
    let some = |count: u16| (0..count).map(|number| (number.to_le_bytes(), [7]));
    // All of the room there is; one more than that.
    assert!(packed(1, some(255)).is_ok());
    assert!(matches!(packed(1, some(256)), Err(Error::Full { entries: 256, slots: 255 })));
    let twice = [([1], [1]), ([2], [2]), ([1], [1])];
    assert!(matches!(packed(1, twice), Err(Error::Repeated)));
    assert!(matches!(packed(0, some(1)), Err(Error::Sizes { homes: 0, .. })));
    let seed = Seed::random().unwrap();
    let mut pack = Pack::<_, _, (), 1, 1>::new(Vec::new(), Vec::new(), 1, seed).unwrap();
    let [low, high] = if seed.hash(&[1]) < seed.hash(&[2]) { [1, 2] } else { [2, 1] };
    pack.push(&[high], &[0], None).unwrap();
    assert!(matches!(pack.push(&[low], &[0], None), Err(Error::Order)));
}

#[test]
fn a_writer_that_refuses_is_an_error() {
    let seed = Seed::random().unwrap();
    let mut room = [0; 100];
    let slots = &mut room[..];
    let pack = Pack::<_, _, (), 1, 1>::new(Vec::new(), slots, 100, seed).unwrap();
    assert!(matches!(pack.finish(), Err(Error::Write(_))));
}

#[test]
fn a_table_without_an_empty_slot_ends_its_searches() {
    let mut area = built(10_000, &HashMap::new());
    let end = 128 + 16 * 10_016;
    area[128..end].fill(255);
    let table = Table::<_, KEY, VALUE>::open(&area).unwrap();
    for key in 0..200 {
        assert_eq!(table.get(&[key; KEY]), None);
    }
}

#[test]
fn damaged_headers_are_named() {
    let good = built(2, &HashMap::from([([1; KEY], [2; VALUE])]));
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
    assert!(matches!(changed(8, &[1]), Err(Error::Version { found: 1, known: 2 })));
    assert!(matches!(changed(12, &[14]), Err(Error::Length { .. })));
    assert!(matches!(changed(12, &[14, 0, 0, 0, 8]), Err(Error::Shape { key: 14, value: 8, .. })));
    assert!(matches!(changed(12, &[0; 4]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(16, &[0xff; 4]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(20, &[1]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[0xff; 8]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[0; 8]), Err(Error::Sizes { .. })));
    assert!(matches!(changed(24, &[1, 1]), Err(Error::Length { .. })));
    assert!(matches!(changed(32, &[15, 1]), Err(Error::Sizes { homes: 2, entries: 271 })));
    assert!(matches!(changed(100, &[1]), Err(Error::Sizes { .. })));
    assert!(matches!(bytes(0, KEY, VALUE), Err(Error::Sizes { .. })));
    assert!(matches!(bytes(u64::MAX, KEY, VALUE), Err(Error::Sizes { .. })));
}

#[test]
fn a_file_appears_whole_and_its_readers_keep_the_one_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tab");
    let write = |value: u8, replace| -> Result<(), Error> {
        let new = NewFile::create(&path, replace)?;
        new.reserve(8192)?;
        new.file().write_all_at(&packed(1, [([1], [value])])?, 4096).unwrap();
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
