//! `archive-pack` alone, as a process: what it takes, what it says, and what is left of an
//! archive when it is killed, locked out, or out of room.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

#[path = "cli/support.rs"]
mod support;

#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/full.rs"]
mod full;
#[path = "cli/groups.rs"]
mod groups;
#[path = "cli/limits.rs"]
mod limits;

use frame::verdict::{Rule, Verdict};
use support::*;

#[test]
fn the_capture_comes_back_byte_for_byte_from_segments_and_log() {
    let events = capture(usize::MAX);
    assert_eq!(events.len(), 6414);
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    let input = stream(&events);
    let first = pack(&archive, &["--segment-bytes", "2MiB", "--level", "3"], &input);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!((&first.stdout[..], &first.stderr[..]), ("", ""), "success is silent");
    assert_eq!(contents(&archive), numbered(&events));
    let usage = archive::usage(&archive).unwrap();
    assert!(usage.segments == 5 && usage.logs == 1, "{usage:?}");

    let again = pack(&archive, &["--json", "--seal", "--level", "3"], &input);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("\"events\":0,"), "{again:?}");
    assert!(again.stdout.contains("\"duplicates\":6414,"), "{again:?}");
    assert_eq!(contents(&archive), numbered(&events));
    assert_eq!(archive::usage(&archive).unwrap().segments, 6);
}

#[test]
fn only_proved_events_are_taken_unless_it_is_told_otherwise() {
    let events = capture(5);
    let verdicts = [
        Some(Verdict::ok(None)),
        Some(Verdict::refused(Rule::BAD_SIGNATURE)),
        Some(Verdict::unchecked(Rule::NO_ANSWER)),
        None,
        Some(Verdict::ok(None)),
    ];
    let input = stream_with(&events, |at| verdicts[at]);
    for (args, taken, silent) in [
        (&[][..], &[0, 4][..], false),
        (&["--take", "unchecked"], &[0, 2, 4], false),
        (&["--take", "unchecked,refused"], &[0, 1, 2, 4], false),
        (&["--unproved"], &[0, 1, 2, 3, 4], true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let done = pack(dir.path(), &[args, &["--json"]].concat(), &input);
        assert_eq!(done.code, Some(0), "{done:?}");
        let bodies: Vec<_> = contents(dir.path()).into_iter().map(|(_, body)| body).collect();
        let expected: Vec<_> = taken.iter().map(|at| events[*at].clone()).collect();
        assert_eq!(bodies, expected, "{args:?}");
        assert_eq!(done.stderr.is_empty(), silent, "{done:?}");
        assert!(silent || done.stderr.contains("put sig-verify before archive-pack"), "{done:?}");
        assert!(done.stdout.contains(&format!("\"events\":{}", taken.len())), "{done:?}");
    }
}

#[test]
fn of_a_torn_stream_everything_whole_is_stored_and_it_exits_1() {
    let events = capture(40);
    let input = stream(&events);
    let whole = frame_ends(&input);
    for cut in [whole[20] + 17, whole[30], whole[39] - 1] {
        let dir = tempfile::tempdir().unwrap();
        let done = pack(dir.path(), &["--json"], &input[..cut]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("torn"), "{done:?}");
        assert!(done.stdout.contains("\"type\":\"summary\""), "{done:?}");
        let whole = events_within(&input[..cut]);
        assert_eq!(contents(dir.path()), numbered(&events[..whole]), "cut at {cut}");
    }
}

#[test]
fn a_stream_that_is_no_frame_stream_is_named_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let done = pack(dir.path(), &[], b"{\"kind\":\"event\"}\n");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("JSON"), "{done:?}");
}

#[test]
fn misuse_exits_2_and_help_shows_an_example() {
    for args in [
        &["--level", "99"][..],
        &["--fsync", "sometimes"],
        &["--segment-bytes", "1GiB"],
        &["--segment-bytes", "3MB"],
        &["--take", "everything"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let done = pack(&dir.path().join("archive"), args, &stream(&[]));
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        assert!(!dir.path().join("archive").exists(), "{args:?}");
    }
    let help = run(&["--help"], b"");
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("pds-tap --hosts hosts.txt --resume archive/"), "{help:?}");
    assert_eq!(run(&[], b"").code, Some(2), "--out is needed");
}

#[test]
fn a_second_writer_is_refused_and_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let events = capture(30);
    let input = stream(&events);
    let mut first = spawn(dir.path(), &[]);
    feed(&mut first, &input[..frame_ends(&input)[10]]);
    wait_for(|| dir.path().join("log-00000000.wal").exists());
    let second = pack(dir.path(), &[], &input);
    assert_eq!(second.code, Some(1), "{second:?}");
    let pid = format!("process {} writes this archive", first.child.id());
    assert!(second.stderr.contains(&pid), "{second:?}");
    first.kill();
    let third = pack(dir.path(), &[], &input);
    assert_eq!(third.code, Some(0), "a lock dies with its process: {third:?}");
    assert_eq!(contents(dir.path()), numbered(&events));
}

#[test]
fn an_event_can_be_read_by_another_process_as_soon_as_the_input_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let events = capture(3);
    let input = stream(&events);
    let mut writer = spawn(dir.path(), &[]);
    let ends = frame_ends(&input);
    feed(&mut writer, &input[..ends[2]]);
    wait_for(|| archive::Reader::open(dir.path()).is_ok() && !contents(dir.path()).is_empty());
    let so_far = contents(dir.path());
    assert_eq!(so_far, numbered(&events[..so_far.len()]));
    feed(&mut writer, &input[ends[2]..]);
    assert_eq!(writer.finish().code, Some(0));
    assert_eq!(contents(dir.path()), numbered(&events));
}

#[test]
fn several_inputs_are_one_archive() {
    let dir = tempfile::tempdir().unwrap();
    let events = capture(20);
    let paths = [dir.path().join("a.frames"), dir.path().join("b.frames")];
    std::fs::write(&paths[0], stream(&events[..10])).unwrap();
    std::fs::write(&paths[1], stream_from(&events[10..], 10, |_| Some(Verdict::ok(None)))).unwrap();
    let archive = dir.path().join("archive");
    let args = ["--out", archive.to_str().unwrap(), paths[0].to_str().unwrap()];
    let done = run(&[&args[..], &[paths[1].to_str().unwrap()]].concat(), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(contents(&archive), numbered(&events));
}
