//! `archive-check` alone, as a process: what holds, what does not, and what is damaged.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use archive::{Fsync, Options, Writer};
use frame::host::Role;
use frame::verdict::Verdict;
use frame::{Decoder, Header, HostId, Item, Kind, Tag};
use serde_json::Value;

/// The shortest commit of the recorded network.
fn commit() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/archive/commit.event");
    std::fs::read(path).unwrap()
}

/// The key of its account, as the recorded directory has it.
fn key(body: &[u8]) -> [u8; 34] {
    let did = atproto::event::parse(body).unwrap().did().unwrap().to_owned();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet/plc-export.jsonl");
    let export = std::fs::read_to_string(path).unwrap();
    let line = export.lines().find(|line| line.contains(&did)).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let key = line["operation"]["verificationMethods"]["atproto"].as_str().unwrap();
    keys::PublicKey::from_did_key(key).unwrap().to_bytes()
}

/// An archive of these events, each with a verdict.
fn archive(events: &[(&[u8], Verdict)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { level: 3, fsync: Fsync::Never, ..Options::default() };
    let mut writer = Writer::open(dir.path(), options).unwrap();
    let mut stream = frame::MAGIC.to_vec();
    frame::host::put(&mut stream, HostId(1), Role::Pds, "pds.example.com").unwrap();
    for (seq, (body, verdict)) in (1..).zip(events) {
        let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, seq) };
        let sections = [(Tag::VERDICT, Some(&verdict.to_bytes()[..])), (Tag::NUMBER, None)];
        frame::put_with_two(&mut stream, &header, body, sections).unwrap();
    }
    let (mut decoder, mut rest) = (Decoder::default(), &stream[..]);
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        if let Item::Frame(frame) = item {
            writer.put(&frame).unwrap();
        }
    }
    writer.finish(true).unwrap();
    dir
}

fn run(dir: &Path, args: &[&str]) -> (Output, Value) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_archive-check"));
    let output = check.arg(dir).arg("--json").args(args).output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, value)
}

#[test]
fn what_was_proved_is_proved_again_with_the_key_that_lies_beside_it() {
    let body = commit();
    let dir = archive(&[(&body, Verdict::ok(Some(key(&body))))]);
    let (output, value) = run(dir.path(), &["--parts"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&value["proved"], &value["wrong"]), (&1.into(), &0.into()));
    let parts = value["parts"].as_array().unwrap();
    let sum = |name: &str| parts.iter().map(|part| part[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("came"), body.len() as u64, "every byte that came is of one part");
    assert_eq!(Value::from(sum("kept")), value["segment_bytes"], "as is every byte that is kept");
}

#[test]
fn what_does_not_hold_is_named_and_exits_with_one() {
    let body = commit();
    let mut forged = body.clone();
    let at = forged.windows(4).position(|bytes| bytes == b"csig").unwrap() + 20;
    forged[at] ^= 1;
    let good = Verdict::ok(Some(key(&body)));
    let other = Verdict::ok(Some([1; 34]));
    for (events, why) in [
        ([(&forged[..], good), (&body[..], good)], "event 0: a block does not hash to its CID"),
        ([(&body[..], other), (&body[..], good)], "event 0: "),
    ] {
        let dir = archive(&events);
        let (output, value) = run(dir.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(value["wrong"], 1);
    }
}

#[test]
fn what_was_stored_unproved_is_counted_and_no_error() {
    let body = commit();
    let unchecked = Verdict::unchecked(frame::verdict::Rule::NO_ANSWER);
    let (output, value) = run(archive(&[(&body, unchecked)]).path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((&value["proved"], &value["unproved"]), (&0.into(), &1.into()));
}

#[test]
fn a_flipped_bit_is_named() {
    let body = commit();
    let dir = archive(&[(&body, Verdict::ok(Some(key(&body))))]);
    let path = dir.path().join("seg-00000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (output, value) = run(dir.path(), &["--parts"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("seg-00000000.seg"));
    assert_eq!(value["damaged"], 1);
}

#[test]
fn a_folder_without_an_archive_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no archive here"));
}

#[test]
fn a_bit_that_does_not_say_what_the_events_say_is_named_and_mended() {
    let body = commit();
    let verdict = Verdict::ok(Some(key(&body)));
    let dir = archive(&[(&body, verdict)]);
    assert_eq!(run(dir.path(), &[]).0.status.code(), Some(0));
    // The base, of which there is one file.
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let base = files.filter(|path| path.to_str().unwrap().contains("/gone-")).min().unwrap();
    let mut bits = std::fs::read(&base).unwrap();
    bits[0] ^= 1;
    std::fs::write(&base, bits).unwrap();
    let (output, value) = run(dir.path(), &[]);
    assert_eq!((output.status.code(), &value["damaged"]), (Some(1), &1.into()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("lattice") && said.contains("event 0"), "{said}");
    assert!(said.contains("archive-check --repair"), "{said}");
    assert_eq!(run(dir.path(), &["--repair"]).0.status.code(), Some(0));
    assert_eq!(run(dir.path(), &[]).0.status.code(), Some(0));
}
