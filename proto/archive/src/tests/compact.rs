//! What compaction forgets and when; that the bytes are gone is tested with the tool.

use atproto::event;

use super::heads::{account, add};
use super::*;
use crate::{Compacted, compact};

const PDS: HostId = HostId(3);
const SECOND_NS: u64 = 1_000_000_000;

/// A recorded commit and its account.
fn recorded() -> (String, Vec<u8>) {
    let commit = |body: &Vec<u8>| matches!(event::parse(body), Ok(event::Event::Commit(_)));
    let body = e2e::refnet_events().into_iter().find(commit).unwrap();
    (crate::content::did(&body).to_owned(), body)
}

/// An account is deleted in the third second, of which all is dropped but what comes late; and how many
/// seconds those took that were dropped.
fn deleted_and_dropped(dir: &Path) -> (String, Vec<u8>, u64) {
    let (did, body) = recorded();
    let options = Options { keep_bytes: Some(1), ..small() };
    let mut stream = Stream::new();
    for seq in 1..=700 {
        match seq {
            3 => add(&mut stream, PDS, seq, &account(&did, seq, Some("deleted")), true),
            690 => add(&mut stream, PDS, seq, &body, true),
            _ => add(&mut stream, PDS, seq, &event((seq % 5) as u8, seq, 0), true),
        }
        if seq % 9 == 0 {
            stream.mark(PDS.0, seq);
        }
    }
    pack(dir, options, &stream, false).unwrap();
    let first = read_all(dir).iter().find_map(|back| back.n).unwrap();
    assert!(first > 400, "nothing was dropped");
    (did, body, first)
}

fn forgets(dir: &Path, deleted_before_ns: u64) -> Compacted {
    let done = compact(dir, small(), deleted_before_ns).unwrap();
    assert_eq!(done.damage, []);
    done
}

/// When it was said is not known any more: no later than all else that was dropped with it.
#[test]
fn an_account_is_forgotten_whose_deletion_was_dropped_with_its_segments() {
    for made_again in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (did, body, first) = deleted_and_dropped(dir.path());
        if made_again {
            std::fs::remove_file(dir.path().join("lattice")).unwrap();
            Writer::open(dir.path(), small()).unwrap().finish(false).unwrap();
        }
        // The first that is left was received in second `first` + 1, or a little later.
        let last_ns = (first + 1) * SECOND_NS;
        assert_eq!(forgets(dir.path(), last_ns).events, 0);
        let mut gone = crate::Gone::open(dir.path(), last_ns).unwrap();
        assert_eq!(gone.left_of_refused(&body).unwrap(), None);
        assert_eq!(forgets(dir.path(), last_ns + 1).events, 1);
        let kept: Vec<Back> = read_all(dir.path());
        let redacted = |back: &&Back| back.header.flags & frame::flags::REDACTED != 0;
        let kept: Vec<&Back> = kept.iter().filter(redacted).collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(crate::content::did(&kept[0].body), did);
        assert!(kept[0].body.len() < body.len());
    }
}

/// Nothing is left of it but in files of refused frames.
#[test]
fn refused_frames_of_an_account_that_was_dropped_whole_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (_, body, first) = deleted_and_dropped(dir.path());
    let mut more = Stream::new();
    for seq in 701..1000 {
        add(&mut more, PDS, seq, &event(1, seq, 0), true);
    }
    pack(dir.path(), Options { keep_bytes: Some(1), ..small() }, &more, true).unwrap();
    assert!(read_all(dir.path())[0].n > Some(first), "nothing more was dropped");
    let left = |before_ns: u64| {
        crate::Gone::open(dir.path(), before_ns).unwrap().left_of_refused(&body).unwrap()
    };
    assert_eq!(left(3 * SECOND_NS), None);
    assert!(left(1000 * SECOND_NS).is_some_and(|left| left.len() < body.len()));
}

/// Who waits for the lock gets it when all is done and proved, and not once the log is sealed.
#[test]
fn nobody_writes_between_the_sealing_of_the_log_and_the_proof() {
    let (did, body) = recorded();
    let mut stream = Stream::new();
    for seq in 1..30 {
        add(&mut stream, PDS, seq, &event((seq % 5) as u8, seq, 0), true);
    }
    add(&mut stream, PDS, 30, &body, true);
    add(&mut stream, PDS, 31, &account(&did, 31, Some("deleted")), true);
    for round in 0..20 {
        let copied = tempfile::tempdir().unwrap();
        pack(copied.path(), small(), &stream, false).unwrap();
        let folder = crate::folder::Folder::new(copied.path());
        let (open, _) = folder.list().unwrap().into_iter().next_back().unwrap();
        assert!(folder.log(open).exists(), "all is sealed already");
        let taken = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                loop {
                    let Ok(lock) = crate::lock::WriterLock::take(&folder) else { continue };
                    if folder.log(open).exists() {
                        drop(lock);
                        std::thread::yield_now();
                        continue;
                    }
                    let mut gone = crate::Gone::open(copied.path(), u64::MAX).unwrap();
                    let left = crate::unforgotten(copied.path(), &mut gone).unwrap();
                    drop(lock);
                    return left;
                }
            });
            let compacted = loop {
                match compact(copied.path(), small(), u64::MAX) {
                    // The other one had it first.
                    Err(Error::Locked { .. }) if !waiting.is_finished() => {}
                    other => break other,
                }
            };
            assert_eq!(compacted.unwrap().left, 0);
            waiting.join().unwrap()
        });
        assert_eq!(taken, 0, "round {round}");
    }
}
