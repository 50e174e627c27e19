//! A writer may be killed between any two bytes that reach the disk, and the disk may refuse any
//! call. What is tested after each: the archive is valid, its marks are true, and the same input
//! from the marks on makes the same archive, each event once.

use super::*;
use crate::derived::earlier::Earlier;
use crate::derived::levels::Files;
use crate::disk::CALLS_LEFT;
use crate::folder::Folder;
use crate::marks;
use crate::sealer::Job;

/// What a tap would send again: every host from its mark in the archive on.
fn from_marks(dir: &Path, stream: &Stream) -> Stream {
    let marks = marks(dir).unwrap().unwrap_or_default();
    let behind =
        |name: &str| marks.iter().find(|mark| mark.name == name).map_or(0, |mark| mark.seq);
    let mut again = Stream::new();
    let mut hosts = frame::host::HostTable::default();
    stream.each(|item| {
        let Item::Frame(frame) = item else { return };
        hosts.apply(&frame).unwrap();
        let keep = match frame.header.kind {
            Kind::EVENT => frame.header.seq > behind(hosts.get(frame.header.host).unwrap().name),
            Kind::MARK => true,
            _ => false,
        };
        if keep {
            again.bytes.extend(frame.bytes());
        }
    });
    again
}

fn without_notes(back: Vec<Back>) -> Vec<Back> {
    back.into_iter().filter(|back| back.n.is_some()).collect()
}

/// Resumes and checks that the archive is as if nothing had happened.
fn resumes(dir: &Path, options: Options, stream: &Stream, what: &str) {
    let before = without_notes(read_all(dir));
    let all = without_notes(expected(stream));
    assert_eq!(before, all[..before.len()], "{what}: what is there is a beginning");
    for mark in marks(dir).unwrap().unwrap_or_default() {
        let held =
            before.iter().filter(|back| back.host == mark.name && back.header.seq <= mark.seq);
        let sent = all.iter().filter(|back| back.host == mark.name && back.header.seq <= mark.seq);
        assert_eq!(held.count(), sent.count(), "{what}: a mark is ahead of {}", mark.name);
    }
    pack(dir, options, &from_marks(dir, stream), false).unwrap();
    assert_eq!(without_notes(read_all(dir)), all, "{what}");
}

#[test]
fn a_log_cut_at_any_byte_resumes_to_the_same_archive() {
    let stream = stream(14);
    let options = Options { segment_events: 6, ..small() };
    let whole = tempfile::tempdir().unwrap();
    pack(whole.path(), options, &stream, false).unwrap();
    let log = Folder::new(Path::new("")).log(2);
    let bytes = std::fs::read(whole.path().join(&log)).unwrap();
    for len in crate::head::HEAD_BYTES..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        std::fs::write(dir.path().join(&log), &bytes[..len]).unwrap();
        resumes(dir.path(), options, &stream, &format!("cut at {len}"));
    }
}

#[test]
fn a_torn_tail_of_anything_is_ignored_for_ever() {
    let stream = stream(14);
    let options = Options { fsync: Fsync::Mark, ..small() };
    let whole = tempfile::tempdir().unwrap();
    pack(whole.path(), options, &stream, false).unwrap();
    let log = Folder::new(Path::new("")).log(1);
    let bytes = std::fs::read(whole.path().join(&log)).unwrap();
    // After a loss of power a tail may hold zeros, old bytes, or a later batch without an earlier.
    let last = bytes.len() - 200;
    let mut hole = bytes.clone();
    hole[last..last + 40].fill(0);
    for tail in [vec![0; 5000], bytes.clone(), bytes[crate::head::HEAD_BYTES..300].to_vec()] {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        std::fs::write(dir.path().join(&log), [&bytes[..], &tail].concat()).unwrap();
        for _ in 0..3 {
            resumes(dir.path(), options, &stream, "torn tail");
        }
    }
}

#[test]
fn a_call_that_fails_at_any_moment_leaves_an_archive_that_resumes() {
    let stream = stream(25);
    let options = Options { fsync: Fsync::Mark, ..small() };
    for calls in 0.. {
        let dir = tempfile::tempdir().unwrap();
        CALLS_LEFT.set(Some(calls));
        let result = pack(dir.path(), options, &stream, true);
        CALLS_LEFT.set(None);
        if calls > 8 {
            // Enough for a manifest and a log, so there is an archive.
            resumes(dir.path(), options, &stream, &format!("call {calls} failed"));
        }
        match result {
            Ok(_) => return assert!(calls > 20, "{calls} calls only"),
            Err(Error::Full { .. } | Error::Sync { .. }) => {}
            Err(error) => panic!("call {calls}: {error}"),
        }
    }
}

#[test]
fn sealing_that_fails_at_any_call_keeps_the_log_or_has_the_segment() {
    let stream = stream(9);
    let whole = tempfile::tempdir().unwrap();
    pack(whole.path(), Options { segment_events: 100, ..small() }, &stream, false).unwrap();
    let folder = Folder::new(whole.path());
    let key = crate::manifest::Manifest::read(&folder).unwrap().unwrap().key;
    let image = crate::image::LogImage::read(&folder.log(0)).unwrap();
    let nothing = Earlier::open(&folder, &Files::default(), &[]).unwrap();
    let mut draft = crate::derived::draft::Draft::new(&key, 0, 0, None);
    crate::derived::make::of_image(&mut draft, &nothing, &image).unwrap();
    let draft = Some(std::sync::Arc::new(draft));
    let mut encoder = crate::codec::Encoder::new(1).unwrap();
    for calls in 0.. {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        CALLS_LEFT.set(Some(calls));
        let job = Job { number: 0, identities: Vec::new(), draft: draft.clone() };
        let known = (&mut Default::default(), &mut Default::default());
        let key = atproto::identity::Key(key);
        let folder = Folder::new(dir.path());
        let sealed = crate::seal::seal(&folder, job, &key, &mut encoder, known);
        CALLS_LEFT.set(None);
        assert_eq!(read_all(dir.path()), expected(&stream), "call {calls} failed");
        resumes(dir.path(), small(), &stream, &format!("call {calls} failed"));
        if sealed.is_ok() {
            return assert!(calls > 5, "{calls} calls only");
        }
    }
}

#[test]
fn a_log_whose_segment_is_there_is_dropped_and_a_bad_segment_is_made_again() {
    let stream = stream(9);
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    pack(dir.path(), Options { segment_events: 100, ..small() }, &stream, false).unwrap();
    let log = std::fs::read(folder.log(0)).unwrap();
    pack(dir.path(), small(), &Stream::new(), true).unwrap();
    assert!(!folder.log(0).exists() && folder.segment(0).exists());

    std::fs::write(folder.log(0), &log).unwrap();
    assert_eq!(read_all(dir.path()), expected(&stream), "the segment counts");
    pack(dir.path(), small(), &Stream::new(), false).unwrap();
    assert!(!folder.log(0).exists());

    std::fs::write(folder.log(0), &log).unwrap();
    let mut segment = std::fs::read(folder.segment(0)).unwrap();
    segment.truncate(300);
    std::fs::write(folder.segment(0), &segment).unwrap();
    let writer = Writer::open(dir.path(), small()).unwrap();
    assert_eq!(writer.damage().len(), 1);
    writer.finish(false).unwrap();
    assert!(!folder.log(0).exists());
    assert_eq!(read_all(dir.path()), expected(&stream));
}

#[test]
fn unfinished_files_are_removed_and_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(15);
    pack(dir.path(), small(), &stream, false).unwrap();
    let strange = ["seg-00000007.seg.tmp", "log-00000007.wal.tmp", "manifest.tmp"];
    for name in strange {
        std::fs::write(dir.path().join(name), b"half of something").unwrap();
    }
    std::fs::write(dir.path().join("notes.tmp"), b"somebody else's").unwrap();
    assert_eq!(read_all(dir.path()), expected(&stream));
    pack(dir.path(), small(), &Stream::new(), false).unwrap();
    for name in strange {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
    assert!(dir.path().join("notes.tmp").exists());
}

#[test]
fn a_reader_that_has_a_torn_log_open_loses_nothing_when_it_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(9);
    let options = Options { segment_events: 100, ..small() };
    pack(dir.path(), options, &stream, false).unwrap();
    let log = Folder::new(dir.path()).log(0);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend(b"torn");
    std::fs::write(&log, &bytes).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    pack(dir.path(), options, &Stream::new(), true).unwrap();
    let mut scan = reader.scan(Query::default());
    let mut events = 0;
    while let Some(found) = scan.next().unwrap() {
        events += u32::from(matches!(found, Found::Event(_)));
    }
    assert_eq!(events, 9);
}
