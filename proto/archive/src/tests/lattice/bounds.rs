//! What is held at once, however large the archive is.

use super::*;
use crate::derived::leaves::OPEN_MAX;
use crate::derived::run::tests::Opened;
use crate::lattice::held_paths;

/// Whole repositories of an account each, with records that only they say are gone.
#[test]
fn a_check_holds_one_list_of_paths_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = Stream::new();
    let records = |account: u64| (0..40).map(move |at| path(account * 100 + at));
    for account in 0..20 {
        let did = did(account as u8);
        for (seq, record) in (1 + account * 100..).zip(records(account)) {
            add(&mut stream, PDS, seq, &commit(&did, seq, &[("create", record)]), true);
        }
        let kept: Vec<String> = records(account).skip(3).collect();
        repo(&mut stream, &did, &kept);
    }
    pack(dir.path(), small(), &stream, false).unwrap();
    let model = check(dir.path(), "with repositories");
    assert_eq!(model.gone.len(), 60);
    assert_eq!(held_paths::take_most(), 37);
    // Of a writer that goes on what its logs said is in two places.
    Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
    // And it goes by them: a bit that is wanting, one that should not be.
    for bit in [0, 5] {
        let gone = maps(dir.path(), "gone-")[0].clone();
        let mut bytes = std::fs::read(&gone).unwrap();
        bytes[0] ^= 1 << bit;
        std::fs::write(&gone, &bytes).unwrap();
        let found = differences(dir.path()).unwrap();
        let one = matches!(found[..], [Damage { cause: Cause::Bits { count: 1, .. }, .. }]);
        assert!(one, "{bit}: {found:?}");
        bytes[0] ^= 1 << bit;
        std::fs::write(&gone, &bytes).unwrap();
    }
}

/// Each segment has its file of leaves; tables are merged.
#[test]
fn few_files_are_open_at_once_however_many_segments_there_are() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &mixed(1..2200), false).unwrap();
    assert!(crate::usage(dir.path()).unwrap().segments > 200);
    // Three a level of two kinds, and those that take their place.
    let tables = 2 * 3 * 5 * 2;
    let most = |what: &str| {
        let most = Opened::take_most();
        assert!(most <= OPEN_MAX + tables, "{what}: {most}");
        assert!(most > 4, "{what}: {most}");
    };
    most("written");
    check(dir.path(), "held against the events");
    most("checked");
    // Whole repositories take away what lies far back.
    pack(dir.path(), small(), &mixed(2200..2300), false).unwrap();
    most("gone on with");
    std::fs::remove_file(dir.path().join("lattice")).unwrap();
    Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
    most("made again");
    let query = Query { dids: vec![did(1)], paths: vec![path(3)], ..Query::default() };
    assert!(read(dir.path(), query).0.len() > 20);
    most("found by path");
    crate::compact(dir.path(), small(), 0).unwrap();
    most("compacted");
    check(dir.path(), "compacted");
}
