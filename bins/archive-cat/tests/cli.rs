//! `archive-cat` alone, as a process: all of an archive, parts of it, and what is damaged.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use archive::{Fsync, Options, Writer};
use frame::host::{HostTable, Role};
use frame::mark::Mark;
use frame::verdict::Verdict;
use frame::{Decoder, Header, HostId, Item, Kind, Tag};
use serde_json::Value;

#[path = "cli/asked.rs"]
mod asked;
#[path = "cli/gone.rs"]
mod gone;

const HOSTS: [(u32, Role, &str); 2] =
    [(9, Role::Pds, "pds.example.com"), (4, Role::Relay, "relay.example.com")];

/// The first events of the capture.
fn capture(count: usize) -> Vec<Vec<u8>> {
    let mut events = e2e::refnet_events();
    events.truncate(count);
    events
}

/// The events on two hosts in turn, a hole in the middle, marks at the end.
fn stream(events: &[Vec<u8>]) -> Vec<u8> {
    let mut out = frame::MAGIC.to_vec();
    for (id, role, name) in HOSTS {
        frame::host::put(&mut out, HostId(id), role, name).unwrap();
    }
    let verdict = Verdict::ok(Some([1; 34])).to_bytes();
    for (seq, body) in (0u64..).zip(events) {
        let host = HostId(if seq % 2 == 0 { 9 } else { 4 });
        let header =
            Header { host, seq, epoch: 3, flags: 1, ..Header::new(Kind::EVENT, seq * 1_000_007) };
        let sections = [(Tag::SPANS, Some(&b"spans"[..])), (Tag::VERDICT, Some(&verdict[..]))];
        frame::put_with_two(&mut out, &header, body, sections).unwrap();
        if seq == 20 {
            let hole = frame::hole::Hole { after: 20, until: 30 };
            frame::hole::put(&mut out, HostId(9), 3, 77, hole).unwrap();
        }
    }
    let marks = [9, 4].map(|id| Mark { host: HostId(id), epoch: 3, seq: u64::from(id) * 100 });
    frame::mark::put(&mut out, &mut Vec::new(), 1, marks).unwrap();
    out
}

/// An archive of these events: segments of a hundred, and the rest in a log.
fn archive(events: &[Vec<u8>]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_events: 100, level: 3, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let input = stream(events);
    let (mut decoder, mut rest) = (Decoder::default(), &input[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        match item {
            Item::Start => writer.start(),
            Item::Frame(frame) => drop(writer.put(&frame).unwrap()),
        }
    }
    writer.finish(false).unwrap();
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_archive-cat")).arg(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn ok(output: Output) -> Vec<u8> {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    output.stdout
}

/// A frame without its number and its block table, and with its host's name in place of an id.
type Plain = (String, Header, Vec<u8>, Option<Vec<u8>>);

/// The frames of a stream with their numbers; fails unless it ends cleanly.
fn frames(stream: &[u8], ended: bool) -> Vec<(Option<u64>, Plain)> {
    let (mut decoder, mut rest) = (Decoder::default(), stream);
    let (mut hosts, mut frames) = (HostTable::default(), Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        hosts.apply(&frame).unwrap();
        if matches!(frame.header.kind, Kind::EVENT | Kind::HOLE) {
            let host = hosts.get(frame.header.host).unwrap().name.to_owned();
            let header = Header { host: HostId(0), ..frame.header };
            let verdict = frame.section(Tag::VERDICT).map(<[u8]>::to_vec);
            let plain = (host, header, frame.body().to_vec(), verdict);
            frames.push((frame::number::read(&frame), plain));
        }
    }
    assert!(rest.is_empty());
    assert_eq!(decoder.ended(), ended);
    frames
}

fn numbers(output: &[u8]) -> Vec<u64> {
    frames(output, true).into_iter().filter_map(|(n, _)| n).collect()
}

fn did(event: &[u8]) -> String {
    atproto::event::parse(event).unwrap().did().unwrap().to_owned()
}

#[test]
fn all_of_an_archive_is_what_was_packed_frame_by_frame() {
    let events = capture(usize::MAX);
    let dir = archive(&events);
    let back = frames(&ok(run(dir.path(), &[])), true);
    let sent = frames(&stream(&events), false);
    assert_eq!(back.len(), sent.len());
    let mut n = 0;
    for ((number, back), (_, sent)) in back.into_iter().zip(sent) {
        assert_eq!(back, sent);
        let expected = (back.1.kind == Kind::EVENT).then_some(n);
        assert_eq!(number, expected);
        n += u64::from(expected.is_some());
    }
    assert_eq!(n, 6414);
}

#[test]
fn an_old_archive_becomes_a_new_one_with_the_same_marks() {
    let events = capture(250);
    let old = archive(&events);
    let output = ok(run(old.path(), &[]));
    let new = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(new.path(), Options::default()).unwrap();
    let (mut decoder, mut rest) = (Decoder::default(), &output[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            writer.put(&frame).unwrap();
        }
    }
    assert_eq!(writer.finish(true).unwrap().events, 250);
    assert_eq!(archive::marks(new.path()).unwrap(), archive::marks(old.path()).unwrap());
    assert_eq!(archive::marks(new.path()).unwrap().unwrap().len(), 2);
    assert_eq!(frames(&ok(run(new.path(), &[])), true), frames(&output, true));
}

#[test]
fn from_and_count_give_those_numbers_wherever_they_lie() {
    let dir = archive(&capture(250));
    for (from, count) in [(0, 1), (0, 0), (99, 2), (100, 100), (150, 90), (249, 5), (250, 5)] {
        let args = ["--from", &from.to_string(), "--count", &count.to_string()];
        let expected: Vec<u64> = (from..(from + count).min(250)).collect();
        assert_eq!(numbers(&ok(run(dir.path(), &args))), expected, "{args:?}");
    }
    assert_eq!(numbers(&ok(run(dir.path(), &["--from", "240"]))).len(), 10);
    let huge = u64::MAX.to_string();
    assert_eq!(numbers(&ok(run(dir.path(), &["--from", &huge]))), [0u64; 0]);
}

#[test]
fn did_gives_all_events_of_these_accounts_and_no_others() {
    let events = capture(450);
    let dir = archive(&events);
    let (one, other) = (did(&events[3]), did(&events[200]));
    assert_ne!(one, other);
    let of = |wanted: &[&String]| -> Vec<u64> {
        let all = (0..).zip(&events).filter(|(_, event)| wanted.contains(&&did(event)));
        all.map(|(n, _)| n).collect()
    };
    let both = ["--did", &one, "--did", &other];
    assert_eq!(numbers(&ok(run(dir.path(), &both))), of(&[&one, &other]));
    assert_eq!(numbers(&ok(run(dir.path(), &both[..2]))), of(&[&one]));
    let some = [&both[..], &["--from", "100", "--count", "3"]].concat();
    let expected: Vec<u64> =
        of(&[&one, &other]).into_iter().filter(|n| *n >= 100).take(3).collect();
    assert_eq!(numbers(&ok(run(dir.path(), &some))), expected);
    let nobody = ["--did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"];
    assert_eq!(numbers(&ok(run(dir.path(), &nobody))), [0u64; 0]);
}

#[test]
fn json_lines_have_the_number_and_what_the_event_says() {
    let events = capture(130);
    let dir = archive(&events);
    let output = ok(run(dir.path(), &["--json"]));
    let lines: Vec<Value> =
        text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    assert_eq!(of_kind("event").count(), 130);
    for (n, (line, event)) in of_kind("event").zip(&events).enumerate() {
        assert_eq!(line["n"], n);
        assert_eq!(line["seq"], n);
        assert_eq!(line["did"], did(event));
        assert_eq!(line["verdict"], "ok");
        assert_eq!(line["host"], HOSTS[n % 2].2);
        assert_eq!(line["bytes"], event.len());
    }
    assert_eq!(of_kind("hole").count(), 1);
    assert_eq!(of_kind("host").count(), 2);
    assert_eq!(of_kind("mark").count(), 1);
}

#[test]
fn a_damaged_block_is_named_and_everything_else_still_comes() {
    let events = capture(250);
    let dir = archive(&events);
    let path = dir.path().join("seg-00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("seg-00000001.seg: offset 160: the checksum does not hold"), "{said}");
    assert!(said.contains("lost"), "{said}");
    let back = frames(&output.stdout, true);
    let kept: Vec<u64> = back.iter().filter_map(|(n, _)| *n).collect();
    assert!(kept.len() >= 150 && kept.len() < 250, "{}", kept.len());
    for (n, (_, _, body, _)) in back {
        assert!(n.is_none_or(|n| body == events[n as usize]));
    }
    // What does not touch the damage does not meet it.
    assert_eq!(numbers(&ok(run(dir.path(), &["--from", "200"]))).len(), 50);
}

#[test]
fn one_account_is_read_without_the_blocks_of_others() {
    let events = capture(2000);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { level: 3, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let input = stream(&events);
    let (mut decoder, mut rest) = (Decoder::default(), &input[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            writer.put(&frame).unwrap();
        }
    }
    writer.finish(true).unwrap();
    // Blocks follow the head, by account.
    let path = dir.path().join("seg-00000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut dids: Vec<String> = events.iter().map(|event| did(event)).collect();
    dids.sort();
    let last = &dids[1999];
    let expected = dids.iter().filter(|did| *did == last).count();
    assert_eq!(numbers(&ok(run(dir.path(), &["--did", last]))).len(), expected);
    assert_eq!(run(dir.path(), &["--did", &dids[0]]).status.code(), Some(1));
}

#[test]
fn frames_go_to_a_file_and_not_over_one() {
    let dir = archive(&capture(20));
    let out = dir.path().join("out.frames");
    let args = ["--out", out.to_str().unwrap()];
    assert_eq!(ok(run(dir.path(), &args)), b"");
    assert_eq!(numbers(&std::fs::read(&out).unwrap()).len(), 20);
    let again = run(dir.path(), &args);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"));
    ok(run(dir.path(), &[&args[..], &["--force"]].concat()));
}

#[test]
fn what_is_no_archive_is_named_and_misuse_exits_2() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no archive here"));
    assert_eq!(run(&dir.path().join("none"), &[]).status.code(), Some(1));
    for args in [&["--did", "alice"][..], &["--from", "-1"], &["--json", "--out", "x"]] {
        assert_eq!(run(dir.path(), args).status.code(), Some(2), "{args:?}");
    }
    let help = ok(run(dir.path(), &["--help"]));
    assert!(text(&help).contains("archive-cat archive/ --did"));
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let dir = archive(&capture(2000));
    for args in [&[][..], &["--json"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_archive-cat"))
            .arg(dir.path())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut some = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn an_archive_that_is_being_written_is_read_as_it_is() {
    let events = capture(600);
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_events: 50, level: 1, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let input = stream(&events);
    let (mut decoder, mut rest) = (Decoder::default(), &input[..]);
    let (mut reads, mut last) = (0, 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        writer.put(&frame).unwrap();
        if writer.events().is_multiple_of(37) && writer.events() > last {
            last = writer.events();
            writer.flush().unwrap();
            let back = frames(&ok(run(dir.path(), &[])), true);
            let events_back: Vec<_> = back.iter().filter(|(n, _)| n.is_some()).collect();
            assert_eq!(events_back.len() as u64, last);
            for (n, (_, _, body, _)) in events_back {
                assert_eq!(*body, events[n.unwrap() as usize]);
            }
            reads += 1;
        }
    }
    assert!(reads > 10);
}
