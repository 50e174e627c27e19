//! What events deleted that can't be read any more, where what is derived has to be made anew besides.

use super::*;
use crate::disk::CALLS_LEFT;
use crate::folder::Folder;

/// The segment that can't be read; what it says is mostly of records before it.
const LOST: u32 = 20;

/// Which events of segment 20 of ten events each are lost.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    All,
    ABlock,
}

fn lose(dir: &Path, loss: Loss) {
    let path = Folder::new(dir).segment(LOST);
    let mut bytes = std::fs::read(&path).unwrap();
    match loss {
        Loss::All => bytes = vec![0; 100],
        Loss::ABlock => bytes[200] ^= 1,
    }
    std::fs::write(&path, bytes).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[20] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A file of what is derived of each kind, but for the leaves of one segment.
fn derived(dir: &Path) -> Vec<PathBuf> {
    let named = |kind: &str| {
        let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        all.filter(|path| name(path).starts_with(kind)).min().unwrap()
    };
    vec![named("path-"), named("leaf-")]
}

/// Holds the lattice against what all events said, for those that can be read.
fn check_rest(dir: &Path, model: &Model, when: &str) {
    let (there, damage) = read(dir, Query::default());
    assert!(!damage.is_empty(), "{when}: nothing is lost");
    let there: HashSet<u64> = there.iter().filter_map(|back| back.n).collect();
    let ops: Vec<_> = model.ops.iter().filter(|(n, ..)| there.contains(n)).cloned().collect();
    assert!(ops.len() < model.ops.len());
    let rest = Model { gone: model.gone.clone(), ops, away: model.away.clone() };
    rest.check(&mut Lattice::open(dir).unwrap(), when);
    assert_eq!(differences(dir).unwrap(), [], "{when}");
}

/// An archive in which one segment alone says what became of all that is in it.
fn whole() -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = u64::from(LOST) * 10;
    let mut stream = mixed(1..seq + 1);
    let mut next = || {
        seq += 1;
        seq
    };
    for (account, status) in (0..).zip([Some("deleted"), None, Some("takendown")]) {
        let seq = next();
        add(&mut stream, PDS, seq, &super::account(&did(account), seq, status), true);
    }
    for account in 0..5 {
        let (did, seq) = (did(account), next());
        let ops: Vec<_> = (0..10).map(|record| ("delete", path(record))).collect();
        add(&mut stream, PDS, seq, &commit(&did, seq, &ops), true);
    }
    // Few, so that they have no tables yet, and what tells of the others is in those that are there.
    for account in [5, 6, 0, 1, 2, 3, 4] {
        stream.event(PDS.0, account, next(), 3);
    }
    stream.mark(PDS.0, seq);
    pack(dir.path(), small(), &stream, true).unwrap();
    let model = check(dir.path(), "whole");
    (dir, model)
}

fn held(dir: &Path) -> bool {
    dir.join("held-00000000-00.run").exists() || dir.join("said-00000000-00.run").exists()
}

#[test]
fn what_lost_events_deleted_stays_deleted_when_all_that_is_derived_is_made_again() {
    let (good, model) = whole();
    for loss in [Loss::All, Loss::ABlock] {
        let dir = tempfile::tempdir().unwrap();
        copy(good.path(), dir.path());
        lose(dir.path(), loss);
        flip(&derived(dir.path())[0]);
        let damage = crate::repair(dir.path()).unwrap();
        let deletions = |damage: &Damage| matches!(damage.cause, Cause::Deletions { .. });
        assert!(!damage.iter().any(deletions), "{damage:?}");
        check_rest(dir.path(), &model, "repaired");
        // It outlives the lattice that it was taken over from.
        assert!(held(dir.path()));
        std::fs::remove_file(dir.path().join("lattice")).unwrap();
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        check_rest(dir.path(), &model, "made again once more");
    }
    // Where nothing is lost the events say it.
    flip(&derived(good.path())[0]);
    crate::repair(good.path()).unwrap();
    assert!(!held(good.path()));
    check(good.path(), "repaired");
}

#[test]
fn what_nobody_knows_any_more_is_named_with_the_events_that_may_show_again() {
    let (good, _) = whole();
    let causes = |dir: &Path| -> Vec<Cause> {
        let damage = crate::repair(dir).unwrap().into_iter().map(|damage| damage.cause);
        damage.filter(|cause| matches!(cause, Cause::Deletions { .. })).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    copy(good.path(), dir.path());
    lose(dir.path(), Loss::All);
    std::fs::remove_file(dir.path().join("lattice")).unwrap();
    let last = read(dir.path(), Query::default()).0.last().unwrap().n.unwrap();
    assert_eq!(causes(dir.path()), [Cause::Deletions { first: 0, last }]);
    // Of one segment the leaves are lost, too: which of its bits is whose is not known.
    let dir = tempfile::tempdir().unwrap();
    copy(good.path(), dir.path());
    lose(dir.path(), Loss::All);
    flip(&derived(dir.path())[1]);
    assert_eq!(causes(dir.path()), [Cause::Deletions { first: 0, last: 9 }]);
    assert_eq!(causes(dir.path()), [], "it is said once");
}

/// Wherever making it again ends before its time.
#[test]
fn a_kill_while_it_is_made_again_loses_none_of_it() {
    let (good, model) = whole();
    lose(good.path(), Loss::All);
    flip(&derived(good.path())[0]);
    let mut calls = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        copy(good.path(), dir.path());
        CALLS_LEFT.set(Some(calls));
        let done = crate::repair(dir.path()).is_ok();
        CALLS_LEFT.set(None);
        Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        // One that had not begun is not made again by a start.
        crate::repair(dir.path()).unwrap();
        check_rest(dir.path(), &model, &format!("after {calls} calls"));
        if done {
            break;
        }
        calls = calls * 4 / 3 + 1;
    }
    assert!(calls > 100, "{calls}");
}
