use super::*;
use crate::heads::{Head, HostKey};

use atproto::{Cid, Tid};

const DID: &str = "did:plc:2a7ygipkrbh544aqhcav53oy";
const WEB: &str = "did:web:example.com";

fn account(number: u64) -> Account {
    let cid = |what: &str| Cid::dag_cbor(format!("{what} {number}").as_bytes());
    let head = Head { rev: Tid::new(number, 0), commit: cid("commit"), data: cid("data") };
    let away = number.is_multiple_of(2).then(|| HostKey::of("pds.example"));
    Account { head: Some(head), away, healed: false }
}

/// Notes the changes of an account from one number to the next, each behind a mark.
fn go_on(path: &Path, did: &str, numbers: std::ops::Range<u64>) {
    let mut heads = Heads::default();
    let (mut state, _) = State::open(path, &mut heads).unwrap();
    for number in numbers {
        let (before, after) = (heads.get(did), account(number));
        heads.put(did, after);
        state.note(did, &before, &after);
        state.save(&heads).unwrap();
    }
}

fn opened(path: &Path) -> (Heads, Recent, State) {
    let mut heads = Heads::default();
    let (state, recent) = State::open(path, &mut heads).unwrap();
    (heads, recent, state)
}

#[test]
fn what_was_known_comes_back_with_what_was_known_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    go_on(&path, DID, 1..5);
    go_on(&path, WEB, 7..8);
    let (mut heads, mut recent, _state) = opened(&path);
    assert_eq!((heads.get(DID), heads.get(WEB)), (account(4), account(7)));
    let Head { rev, commit, .. } = account(3).head.unwrap();
    assert_eq!(recent.again(DID, rev, &commit), Some(Again::For(account(2))));
    assert_eq!(recent.again(WEB, rev, &commit), None);
    recent.came(DID, rev, &commit);
    assert_eq!(recent.again(DID, rev, &commit), Some(Again::Twice));
}

#[test]
fn what_was_healed_a_moment_ago_is_healed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    go_on(&path, DID, 1..3);
    let (mut heads, _, mut state) = opened(&path);
    let healed = Account { healed: true, ..account(8) };
    for (before, after) in [(account(2), healed), (healed, account(9))] {
        heads.put(DID, after);
        state.note(DID, &before, &after);
        state.save(&heads).unwrap();
    }
    drop(state);
    let (mut heads, recent, state) = opened(&path);
    assert_eq!(heads.get(DID).head, account(2).head, "its frame may not have arrived");
    let Head { rev, commit, .. } = account(8).head.unwrap();
    assert_eq!(recent.again(DID, rev, &commit), None, "that commit is behind the gap again");
    let Head { rev, commit, .. } = account(9).head.unwrap();
    assert_eq!(recent.again(DID, rev, &commit), Some(Again::For(healed)));
    drop(state);
    // Unless all of it was handed on.
    opened(&path).2.finish().unwrap();
    assert_eq!(opened(&path).0.get(DID).head, account(9).head);
}

#[test]
fn a_file_cut_anywhere_says_what_its_whole_batches_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    go_on(&path, DID, 1..4);
    let whole = std::fs::read(&path).unwrap();
    let mut last = 0;
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (mut heads, ..) = opened(&path);
        let known = heads.get(DID);
        let number = (1..4).find(|number| account(*number) == known);
        assert!(known == Account::default() || number.is_some(), "cut at {cut}");
        let number = number.unwrap_or(0);
        assert!(number == last || number == last + 1, "cut at {cut}");
        last = number;
        // And it can go on from there.
        go_on(&path, DID, 9..10);
        assert_eq!(opened(&path).0.get(DID), account(9), "cut at {cut}");
    }
    assert_eq!(last, 3);
    // A flipped bit costs its batch and those behind it.
    let mut flipped = whole.clone();
    let at = whole.len() - 30;
    flipped[at] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(opened(&path).0.get(DID), account(2));
}

#[test]
fn a_file_that_is_written_anew_knows_the_same_and_what_is_recent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    go_on(&path, DID, 1..100);
    go_on(&path, WEB, 1..100);
    let (mut heads, _, mut state) = opened(&path);
    let before = state.bytes;
    state.renew(&heads).unwrap();
    assert!(state.known_bytes < before);
    let (was, now) = (heads.get(DID), account(200));
    heads.put(DID, now);
    state.note(DID, &was, &now);
    state.save(&heads).unwrap();
    drop(state);
    let (mut heads, recent, _state) = opened(&path);
    assert_eq!((heads.get(DID), heads.get(WEB)), (now, account(99)));
    for (number, before) in [(200, 99), (50, 49)] {
        let Head { rev, commit, .. } = account(number).head.unwrap();
        assert_eq!(recent.again(DID, rev, &commit), Some(Again::For(account(before))));
    }
    assert!(!folder.path().join("state.tmp").exists());
}
