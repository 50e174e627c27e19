//! `archive-compact` alone, as a process: whether the bytes are gone, and all else is there.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use archive::{Forgotten, Found, Fsync, Options, Outcome, Query, Reader, Writer};
use atproto::blocks::Blocks;
use atproto::event::{self, Action, Event};
use frame::host::Role;
use frame::verdict::Verdict;
use frame::{Decoder, Header, HostId, Item, Kind, Tag};

#[path = "cli/bytes.rs"]
mod bytes;
#[path = "cli/full.rs"]
mod full;

/// The first events of the capture.
fn capture(count: usize) -> Vec<Vec<u8>> {
    let mut events = e2e::refnet_events();
    events.truncate(count);
    events
}

/// Puts events into an archive; how many were there already.
fn pack(dir: &Path, events: &[Vec<u8>]) -> usize {
    let options =
        Options { segment_events: 500, level: 1, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir, options).unwrap();
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(1), Role::Pds, "pds.example.com").unwrap();
    let verdict = Verdict::ok(Some([1; 34])).to_bytes();
    for (seq, body) in (1..).zip(events) {
        let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, seq) };
        let sections = [(Tag::VERDICT, Some(&verdict[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut stream, &header, body, sections).unwrap();
    }
    let (mut decoder, mut rest, mut there) = (Decoder::default(), &stream[..], 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            there += usize::from(writer.put(&frame).unwrap() == Outcome::Duplicate);
        }
    }
    writer.finish(false).unwrap();
    there
}

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_archive-compact")).arg(dir).args(args).output().unwrap()
}

fn ok(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The bodies and flags of an archive.
fn stored(dir: &Path) -> Vec<(Vec<u8>, u8)> {
    let mut reader = Reader::open(dir).unwrap();
    let mut scan = reader.scan(Query::default());
    let mut events = Vec::new();
    loop {
        match scan.next().unwrap() {
            None => return events,
            Some(Found::Event(event)) => events.push((event.body.to_vec(), event.flags)),
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// The records of an event that are among its blocks, as paths.
fn records(body: &[u8]) -> Vec<String> {
    let event = event::parse(body).unwrap();
    let mut blocks = Blocks::new();
    blocks.fill(body, &event).unwrap();
    let Event::Commit(commit) = event else { return Vec::new() };
    let there = commit.ops.filter(|op| op.cid.is_some_and(|cid| blocks.get(body, &cid).is_some()));
    there.map(|op| format!("{}/{}", commit.repo, op.path)).collect()
}

#[test]
fn deleted_and_replaced_records_are_gone_and_nothing_else() {
    let events = capture(3000);
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    ok(&run(dir.path(), &["--level", "3"]));
    let after = stored(dir.path());
    assert_eq!(after.len(), events.len());
    let mut last = std::collections::HashMap::new();
    for (n, body) in events.iter().enumerate() {
        if let Event::Commit(commit) = event::parse(body).unwrap() {
            for op in commit.ops.filter(|op| op.action != Action::Create) {
                last.insert(format!("{}/{}", commit.repo, op.path), n);
            }
        }
    }
    let mut redacted = 0;
    for (n, (before, (body, flags))) in events.iter().zip(&after).enumerate() {
        let gone = |path: &String| last.get(path).is_some_and(|later| *later > n);
        let had = records(before);
        let kept: Vec<_> = had.iter().filter(|path| !gone(path)).cloned().collect();
        if kept.len() == had.len() {
            assert_eq!((body, *flags), (before, 0), "event {n}");
        } else {
            redacted += 1;
            assert_eq!(records(body), kept, "event {n}");
            assert_ne!(flags & frame::flags::REDACTED, 0, "event {n}");
        }
    }
    assert!(redacted > 20, "{redacted}");
    let mut gone = archive::Gone::open(dir.path(), 0).unwrap();
    assert_eq!(archive::unforgotten(dir.path(), &mut gone).unwrap(), 0);
    // A second time there is nothing to do, and copies that come late bring nothing back.
    ok(&run(dir.path(), &[]));
    assert_eq!(stored(dir.path()), after);
    assert_eq!(pack(dir.path(), &events), events.len());
    assert_eq!(stored(dir.path()), after);
}

#[test]
fn of_an_account_that_was_taken_down_the_signed_commits_are_left() {
    let events = capture(600);
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    let commit = |body: &&Vec<u8>| matches!(event::parse(body), Ok(Event::Commit(_)));
    let parsed = event::parse(events.iter().rev().find(commit).unwrap()).unwrap();
    let did = parsed.did().unwrap();
    let mut forgotten = Forgotten::open(dir.path()).unwrap();
    forgotten.add("now", &did.parse().unwrap(), true, "a test").unwrap();
    ok(&run(dir.path(), &["--json"]));
    forgotten.add("later", &did.parse().unwrap(), false, "too late").unwrap();
    let mut signed = 0;
    for (before, (body, _)) in events.iter().zip(stored(dir.path())) {
        let event = event::parse(&body).unwrap();
        if event.did() != Some(did) || event.blocks().is_none() {
            continue;
        }
        let mut blocks = Blocks::new();
        blocks.fill(&body, &event).unwrap();
        let Event::Commit(commit) = event else { continue };
        let Event::Commit(whole) = event::parse(before).unwrap() else { panic!() };
        assert_eq!((commit.rev, commit.commit), (whole.rev, whole.commit));
        assert!(blocks.get(&body, &commit.commit).is_some());
        assert_eq!(atproto::car::parse(commit.blocks).unwrap().blocks().count(), 1);
        signed += 1;
    }
    assert!(signed > 0);
}

/// An `#account` event that says that an account is deleted.
fn deletion(did: &str) -> Vec<u8> {
    let account = |event: &Vec<u8>| matches!(event::parse(event), Ok(Event::Account(_)));
    let pattern = e2e::refnet_events().into_iter().find(account).unwrap();
    let Event::Account(found) = event::parse(&pattern).unwrap() else { panic!() };
    let mut out = Vec::new();
    // {t, op}{did, seq, time, active, status}
    out.extend(b"\xa2at\x68#account\x62op\x01\xa5\x63did\x78");
    out.push(did.len() as u8);
    out.extend(did.as_bytes());
    out.extend(b"\x63seq\x1a\x70\x00\x00\x00\x64time\x78");
    out.push(found.time.len() as u8);
    out.extend(found.time.as_bytes());
    out.extend(b"\x66active\xf4\x66status\x67deleted");
    out
}

#[test]
fn an_account_that_is_deleted_stays_for_the_grace_and_then_only_its_signed_commits() {
    let mut events = capture(600);
    let commit = |body: &&Vec<u8>| matches!(event::parse(body), Ok(Event::Commit(_)));
    let did = {
        let parsed = event::parse(events.iter().rev().find(commit).unwrap()).unwrap();
        parsed.did().unwrap().to_owned()
    };
    events.push(deletion(&did));
    let parsed = event::parse(events.last().unwrap()).unwrap();
    assert!(matches!(parsed, Event::Account(account) if !account.active && account.did == did));
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    let of = || -> Vec<usize> {
        let stored = stored(dir.path());
        let of = |body: &[u8]| event::parse(body).unwrap().did() == Some(&did[..]);
        stored.iter().filter(|(body, _)| of(body)).map(|(body, _)| records(body).len()).collect()
    };
    // As these tests have it, all this was in 1970: a grace of a century is not over.
    ok(&run(dir.path(), &["--grace", "36500d"]));
    assert!(of().iter().sum::<usize>() > 0);
    ok(&run(dir.path(), &["--grace", "1d"]));
    assert!(!of().is_empty() && of().iter().sum::<usize>() == 0);
    assert_eq!(stored(dir.path()).len(), events.len());
}

#[test]
fn refused_frames_forget_the_same() {
    let events = capture(3000);
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    let path = dir.path().join("refused.frames");
    let mut frames = frame::MAGIC.to_vec();
    frame::host::put(&mut frames, HostId(1), Role::Pds, "pds.example.com").unwrap();
    let verdict = Verdict::refused(frame::verdict::Rule::BAD_SIGNATURE).to_bytes();
    for (seq, body) in (1..).zip(&events) {
        let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, seq) };
        let sections = [(Tag::VERDICT, Some(&verdict[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut frames, &header, body, sections).unwrap();
    }
    std::fs::write(&path, &frames).unwrap();
    ok(&run(dir.path(), &["--level", "1", "--rejects", path.to_str().unwrap()]));
    let kept = stored(dir.path());
    let back = std::fs::read(&path).unwrap();
    let (mut decoder, mut rest, mut n) = (Decoder::default(), &back[..], 0);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        if frame.header.kind != Kind::EVENT {
            continue;
        }
        // What the archive forgot of an event, its refused copy has not either.
        let (there, here) = (records(&kept[n].0), records(frame.body()));
        assert!(here.iter().all(|path| there.contains(path)), "event {n}");
        assert_eq!(frame.section(Tag::VERDICT), Some(&verdict[..]));
        n += 1;
    }
    assert_eq!(n, events.len());
    assert!(back.len() < frames.len());
}

#[test]
fn a_writer_keeps_it_away_and_a_damaged_segment_stays_as_it_is() {
    let events = capture(1200);
    let dir = tempfile::tempdir().unwrap();
    pack(dir.path(), &events);
    let writer = Writer::open(dir.path(), Options::default()).unwrap();
    let output = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let pid = std::process::id().to_string();
    assert!(String::from_utf8(output.stderr).unwrap().contains(&pid));
    writer.finish(false).unwrap();
    let path = dir.path().join("seg-00000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("seg-00000000.seg"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_folder_without_an_archive_is_an_error_and_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &[]).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
