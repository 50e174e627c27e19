//! Limits: the oldest groups of segments go, and a disk that is nearly full stops it in time.

use crate::support::*;

#[test]
fn the_oldest_groups_go_when_there_is_more_than_is_to_be_kept() {
    let events = capture(3000);
    let dir = tempfile::tempdir().unwrap();
    let args = ["--segment-events", "50", "--level", "3", "--keep-bytes", "100KiB"];
    let done = pack(dir.path(), &args, &stream(&events));
    assert_eq!(done.code, Some(0), "{done:?}");
    let kept = contents(dir.path());
    assert!(kept.len() < 2500 && kept.len() > 200, "{}", kept.len());
    // Numbers stay, what is kept is the newest without a hole, and the cursor is the last mark.
    let all = numbered(&events);
    assert_eq!(kept, all[all.len() - kept.len()..]);
    let marks = archive::marks(dir.path()).unwrap().unwrap();
    assert_eq!(marks[0].seq, 3000);
    // What comes again is still known as far as it is kept, and what follows goes on behind it.
    let again = pack(dir.path(), &[&args[..], &["--json"]].concat(), &stream(&events[2900..]));
    assert!(again.stdout.contains("\"events\":0,"), "{again:?}");
    assert!(archive::usage(dir.path()).unwrap().segment_bytes < 600 << 10);
}

#[test]
fn events_go_by_their_age_a_group_at_a_time() {
    let events = capture(1000);
    let dir = tempfile::tempdir().unwrap();
    // As the events of these tests are received in 1970.
    let args = ["--segment-events", "20", "--level", "3", "--keep-age", "1d"];
    let done = pack(dir.path(), &args, &stream(&events));
    assert_eq!(done.code, Some(0), "{done:?}");
    let kept = contents(dir.path());
    assert!(kept.len() <= 400, "the newest group and the log: {}", kept.len());
    let whole = tempfile::tempdir().unwrap();
    let args = [&args[..5], &["36500d"]].concat();
    assert_eq!(pack(whole.path(), &args, &stream(&events)).code, Some(0));
    assert_eq!(contents(whole.path()).len(), 1000);
}

#[test]
fn a_disk_that_is_nearly_full_stops_it_loudly_and_loses_nothing() {
    let events = capture(100);
    let dir = tempfile::tempdir().unwrap();
    let done = pack(dir.path(), &["--min-free", "100000T"], &stream(&events));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("--min-free") && done.stderr.contains("--resume"), "{done:?}");
    let again = pack(dir.path(), &["--min-free", "1"], &stream(&events));
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(contents(dir.path()), numbered(&events));
}

/// Events of a file come without a pause; in batches of 256 KiB, as they are written when they are
/// full, the first of each would wait for milliseconds, and a deletion for as long until it counts.
#[test]
fn what_came_is_written_soon_although_more_comes_without_a_pause() {
    let events = capture(2000);
    let dir = tempfile::tempdir().unwrap();
    let (input, archive) = (dir.path().join("events.frames"), dir.path().join("archive"));
    std::fs::write(&input, stream(&events)).unwrap();
    let done = pack(&archive, &[input.to_str().unwrap()], b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    let log = std::fs::read(archive.join("log-00000000.wal")).unwrap();
    // What each batch begins with.
    let batches = log[160..].windows(8).filter(|bytes| *bytes == &log[24..32]).count();
    let marks = 2000 / MARK_EVERY;
    assert!(batches > marks + 3 * (log.len() >> 18), "{batches} in {} bytes", log.len());
}
