//! Files of records against the simplest model, and with a flipped bit anywhere.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;

/// Counts the files that a thread has open.
#[derive(Debug)]
pub(crate) struct Opened;

thread_local! {
    /// How many are open, and how many were at most.
    static OPEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

impl Opened {
    pub(super) fn new() -> Opened {
        OPEN.with(|open| {
            let (now, most) = open.get();
            open.set((now + 1, most.max(now + 1)));
        });
        Opened
    }

    /// How many were open at most since this was asked for.
    pub(crate) fn take_most() -> usize {
        OPEN.with(|open| {
            let (now, most) = open.replace((open.get().0, open.get().0));
            most.max(now)
        })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        OPEN.with(|open| open.set((open.get().0.saturating_sub(1), open.get().1)));
    }
}

const SORTED: Shape = Shape { kind: 2, record: 16, key: 8 };

fn made(dir: &Path, shape: Shape, records: &[[u8; 16]], extra: &[u8]) -> PathBuf {
    let path = path(&Folder::new(dir), "path", 7, 0);
    let mut new = NewRun::begin(&path, shape).unwrap();
    records.iter().for_each(|record| new.push(record).unwrap());
    let place = Place { segment: 7, level: 0, notes: [1, 2, 3, 4, 5, 6, 7, 8] };
    new.finish(&place, extra).unwrap();
    path
}

fn record(key: u64, value: u64) -> [u8; 16] {
    [key.to_be_bytes(), value.to_le_bytes()].concat().try_into().unwrap()
}

#[test]
fn every_key_is_found_by_few_pages_and_no_other_is() {
    // One page; pages below one page of keys; two levels of keys.
    for count in [0u64, 1, 255, 256, 255 * 511, 255 * 511 + 1] {
        let dir = tempfile::tempdir().unwrap();
        let model: BTreeMap<u64, u64> = (0..count).map(|at| (at * 10 + 5, at)).collect();
        let records: Vec<_> = model.iter().map(|(key, value)| record(*key, *value)).collect();
        let run = Run::open(&made(dir.path(), SORTED, &records, b""), SORTED).unwrap();
        assert_eq!(
            run.reads_max(),
            [2, 2, 2, 3, 3, 4]
                [[0, 1, 255, 256, 130_305, 130_306].iter().position(|n| *n == count).unwrap()]
        );
        let mut cursor = run.cursor();
        for record in &records {
            assert_eq!(cursor.next().unwrap(), Some(&record[..]));
        }
        assert_eq!(cursor.next().unwrap(), None);
        for at in (0..count).step_by(1 + count as usize / 999).chain(count.checked_sub(1)) {
            let before = run.reads();
            let found = run.all_of(&(at * 10 + 5).to_be_bytes()).unwrap();
            assert_eq!(found, [&record(at * 10 + 5, at)[..]]);
            assert!(run.reads() - before <= run.reads_max(), "{count} {at}");
            assert!(run.all_of(&(at * 10 + 6).to_be_bytes()).unwrap().is_empty());
        }
        assert!(run.all_of(&[0; 8]).unwrap().is_empty());
        assert!(run.all_of(&[255; 8]).unwrap().is_empty());
    }
}

#[test]
fn several_records_of_a_key_come_together_across_pages() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..2000).map(|at| record(at / 600, at)).collect();
    let run = Run::open(&made(dir.path(), SORTED, &records, b""), SORTED).unwrap();
    for key in 0..5u64 {
        let all = run.all_of(&key.to_be_bytes()).unwrap();
        let expected: Vec<_> = records.iter().filter(|it| it[..8] == key.to_be_bytes()).collect();
        assert_eq!(all, expected.iter().map(|it| &it[..]).collect::<Vec<_>>(), "{key}");
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..600).map(|at| record(at, at)).collect();
    let path = made(dir.path(), SORTED, &records, b"extra");
    let good = std::fs::read(&path).unwrap();
    assert_eq!(Run::open(&path, SORTED).unwrap().extra().unwrap(), b"extra");
    for at in (0..good.len()).step_by(13).chain(good.len() - 140..good.len()) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let checked = Run::open(&path, SORTED).and_then(|run| run.check());
        assert!(matches!(checked, Err(Error::Damaged(_))), "byte {at}: {checked:?}");
    }
    for length in [0, 4, 128, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(Run::open(&path, SORTED), Err(Error::Damaged(_))), "{length} bytes");
    }
}
