//! Flipped bits and cut files: never a panic, never a wrong event, and never a loss that is not
//! named.

use super::*;
use crate::folder::Folder;

fn sealed(events: u64) -> (tempfile::TempDir, Stream) {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(events);
    let options = Options { segment_events: 1000, fsync: Fsync::Mark, ..small() };
    pack(dir.path(), options, &stream, true).unwrap();
    (dir, stream)
}

/// Whatever comes back is true, and what does not is named.
fn honest(dir: &Path, all: &[Back], what: &str) -> u64 {
    let (back, damage) = read(dir, Query::default());
    for back in &back {
        assert!(all.contains(back), "{what}: something false came back: {back:?}");
    }
    let events = |all: &[Back]| all.iter().filter(|back| back.n.is_some()).count() as u64;
    let missing = events(all) - events(&back);
    let named: u64 = damage.iter().map(|damage| damage.lost.count()).sum();
    if missing > 0 || back.len() < all.len() {
        assert!(!damage.is_empty(), "{what}: {missing} events are gone without a word");
    }
    if damage.iter().any(|damage| damage.lost.count() > 0) {
        assert_eq!(named, missing, "{what}: {damage:?}");
    }
    missing
}

#[test]
fn any_flipped_byte_of_a_segment_is_harmless_or_named() {
    let (dir, stream) = sealed(9);
    let all = expected(&stream);
    let path = Folder::new(dir.path()).segment(0);
    let good = std::fs::read(&path).unwrap();
    let mut costly = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        costly += u64::from(honest(dir.path(), &all, &format!("byte {at}")) > 0);
        if at % 20 == 0 {
            // A writer opens it all the same, and goes on with the right number.
            let writer = Writer::open(dir.path(), small()).unwrap();
            assert_eq!(writer.events(), 9, "byte {at}");
        }
    }
    // Only the one block is there once; everything else that events hang on is there twice.
    std::fs::write(&path, &good).unwrap();
    let segment = crate::segment::read::Segment::open(&path, 0).unwrap();
    let blocks = segment.index().unwrap().blocks;
    assert_eq!(costly, blocks[0].length as u64);
}

/// A segment's blocks are decoded while the one before it is handed on. Compaction may give its name
/// to another file meanwhile: that one counts, and it may be damaged.
#[test]
fn a_segment_that_is_replaced_while_the_one_before_is_handed_on_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), small(), &stream(45), true).unwrap();
    let path = Folder::new(dir.path()).segment(1);
    let good = std::fs::read(&path).unwrap();
    let segment = crate::segment::read::Segment::open(&path, 1).unwrap();
    let block = segment.index().unwrap().blocks[0];
    let mut bad = good.clone();
    bad[block.offset as usize] ^= 1;
    for (bytes, missing) in [(good, vec![]), (bad, (10..20).collect())] {
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut scan = reader.scan(Query::default());
        assert!(matches!(scan.next().unwrap(), Some(Found::Event(event)) if event.n == 0));
        let new = dir.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, &path).unwrap();
        let (mut numbers, mut lost) = (vec![0], Vec::new());
        while let Some(found) = scan.next().unwrap() {
            match found {
                Found::Event(event) => numbers.push(event.n),
                Found::Damage(damage) => lost.extend(damage.lost.ranges().to_vec()),
                Found::Note(_) => {}
            }
        }
        assert_eq!(lost.into_iter().flatten().collect::<Vec<_>>(), missing);
        numbers.extend(missing);
        numbers.sort_unstable();
        assert_eq!(numbers, (0..45).collect::<Vec<_>>());
    }
}

#[test]
fn any_cut_of_a_segment_is_named() {
    let (dir, stream) = sealed(9);
    let all = expected(&stream);
    let path = Folder::new(dir.path()).segment(0);
    let good = std::fs::read(&path).unwrap();
    for len in 0..good.len() {
        std::fs::write(&path, &good[..len]).unwrap();
        assert_eq!(honest(dir.path(), &all, &format!("cut at {len}")), 9);
    }
}

#[test]
fn any_flipped_byte_of_a_closed_log_is_harmless_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(9);
    let all = expected(&stream);
    let options = Options { segment_events: 1000, fsync: Fsync::Mark, ..small() };
    pack(dir.path(), options, &stream, false).unwrap();
    let path = Folder::new(dir.path()).log(0);
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        honest(dir.path(), &all, &format!("byte {at}"));
    }
}

#[test]
fn a_damaged_log_goes_back_to_the_marks_before_the_damage() {
    let whole = tempfile::tempdir().unwrap();
    let stream = stream(16);
    let options = Options { segment_events: 1000, fsync: Fsync::Mark, ..small() };
    pack(whole.path(), options, &stream, false).unwrap();
    let log = Folder::new(Path::new("")).log(0);
    let good = std::fs::read(whole.path().join(&log)).unwrap();
    let salt = &good[24..32];
    let batches: Vec<usize> =
        (160..good.len() - 8).filter(|at| good[*at..].starts_with(salt)).collect();
    assert!(batches.len() > 4, "{batches:?}");
    // The second batch: events 4 to 7 of 16, behind the mark of event 3.
    let mut bytes = good.clone();
    bytes[batches[1] + 100] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    copy(whole.path(), dir.path());
    std::fs::write(dir.path().join(&log), &bytes).unwrap();
    let (back, damage) = read(dir.path(), Query::default());
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].lost.to_string(), "4-7");
    assert_eq!(back.iter().filter(|back| back.n.is_some()).count(), 12);
    let marks = crate::marks(dir.path()).unwrap().unwrap();
    assert_eq!(marks.iter().map(|mark| mark.seq).collect::<Vec<_>>(), [4]);

    // Sent again from there on, only what was lost is stored, and a segment names the loss.
    let again = pack(dir.path(), options, &stream, true).unwrap();
    assert_eq!((again.events, again.duplicates), (4, 12));
    let (back, damage) = read(dir.path(), Query::default());
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].lost.to_string(), "4-7");
    assert_eq!(back.iter().filter(|back| back.n.is_some()).count(), 16);
    let marks = crate::marks(dir.path()).unwrap().unwrap();
    assert_eq!(marks.iter().map(|mark| mark.seq).collect::<Vec<_>>(), [16, 12]);
}

#[test]
fn a_segment_that_is_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(35);
    pack(dir.path(), small(), &stream, false).unwrap();
    let folder = Folder::new(dir.path());
    std::fs::remove_file(folder.segment(1)).unwrap();
    let (back, damage) = read(dir.path(), Query::default());
    assert_eq!(back.iter().filter(|back| back.n.is_some()).count(), 25);
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].cause, damage[0].lost.to_string()), (crate::Cause::Gone, "10-19".into()));
    // The oldest may go: that is what keeping only so much means.
    std::fs::remove_file(folder.segment(0)).unwrap();
    assert_eq!(read(dir.path(), Query::default()).1, []);
}

#[test]
fn an_event_that_looks_like_a_batch_is_never_one() {
    // A stranger who knows the format puts a whole log into an event, but can't know the salt.
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let options = Options { segment_events: 1000, fsync: Fsync::Mark, ..small() };
    pack(other.path(), options, &stream(5), false).unwrap();
    let forged = std::fs::read(Folder::new(other.path()).log(0)).unwrap();
    let mut stream = stream(5);
    let header = Header { host: HostId(3), seq: 6, ..Header::new(Kind::EVENT, 1) };
    frame::put(&mut stream.bytes, &header, &forged).unwrap();
    stream.event(3, 1, 7, 0);
    pack(dir.path(), options, &stream, false).unwrap();
    let path = Folder::new(dir.path()).log(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(forged.len()).position(|bytes| bytes == forged).unwrap();
    bytes[at - 200] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    honest(dir.path(), &expected(&stream), "forged batch");
}

#[test]
fn a_lost_or_damaged_manifest_is_named_and_made_again() {
    for bytes in [None, Some(&b"sovereign archive 1\nkey"[..])] {
        let (dir, stream) = sealed(9);
        let path = dir.path().join("manifest");
        let good = std::fs::read(&path).unwrap();
        match bytes {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        let (back, damage) = read(dir.path(), Query::default());
        assert_eq!((back, damage.len()), (expected(&stream), 1));
        assert!(crate::marks(dir.path()).unwrap().is_some());
        let again = pack(dir.path(), small(), &stream, false).unwrap();
        assert_eq!((again.events, again.duplicates), (0, 9));
        assert_eq!(std::fs::read(&path).unwrap(), good, "the same key");
        assert_eq!(read(dir.path(), Query::default()).1, []);
    }
}
