//! A capture off the official servers, event by event against the verdicts of an independent
//! program (OpenSSL and libipld).

use std::io::Read;

use frame::Kind;
use serde_json::Value;

use crate::export;
use crate::harness::{self, Seen, Stream};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/refnet");

fn unpacked(name: &str) -> Vec<u8> {
    let file = std::fs::File::open(format!("{FOLDER}/{name}")).unwrap();
    let mut bytes = Vec::new();
    zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The bodies of the capture.
pub fn bodies() -> Vec<Vec<u8>> {
    let capture = unpacked("firehose.u32be.zst");
    let mut rest = &capture[..];
    let mut bodies = Vec::new();
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (body, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        bodies.push(body.to_vec());
        rest = tail;
    }
    bodies
}

pub fn directory() -> String {
    std::fs::read_to_string(format!("{FOLDER}/plc-export.jsonl")).unwrap()
}

/// The capture as a stream from the host that its directory names.
pub fn stream() -> Vec<u8> {
    let mut stream = Stream::of("localhost:2583");
    for (number, body) in (1..).zip(bodies()) {
        stream.event(1, number, &body);
    }
    stream.mark(bodies().len() as u64);
    stream.end()
}

fn verdicts() -> Vec<Value> {
    let text = String::from_utf8(unpacked("verdicts.jsonl.zst")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs the capture with these keys, everything passed on.
fn judged(keys: &str) -> Vec<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let index = export::index(folder.path(), &directory());
    let index = harness::path(&index);
    harness::proved(&["--index", index, "--keys", keys, "--pass-all"], &stream())
}

/// Compares each event with the verdicts: `expected` says whether its signature should hold.
fn compare(keys: &str, expected: impl Fn(&Value) -> bool) {
    let (seen, verdicts) = (judged(keys), verdicts());
    assert_eq!(seen.len(), 6414);
    assert_eq!(verdicts.len(), 6414);
    let mut signed = 0;
    for (seen, verdict) in seen.iter().zip(&verdicts) {
        let is_signed = verdict.get("current").is_some();
        signed += usize::from(is_signed);
        let key = seen.verdict.unwrap().key;
        if !is_signed {
            // The host is the one that the directory names.
            assert_eq!((seen.verdict().as_str(), key), ("ok", None), "{verdict}");
        } else if expected(verdict) {
            assert_eq!(seen.verdict(), "ok", "{verdict}");
            assert!(key.is_some(), "{verdict}");
        } else {
            assert_eq!(seen.verdict(), "refused bad-signature", "{verdict}");
            assert_eq!(key, None, "{verdict}");
        }
        assert!(!seen.notes().contains(&"foreign"), "{verdict}");
    }
    assert_eq!(signed, 6172);
}

fn is_ok(verdict: &Value, field: &str) -> bool {
    verdict[field] == "ok"
}

#[test]
fn under_the_present_key_all_verdicts_are_those_of_an_independent_program() {
    compare("current", |verdict| is_ok(verdict, "current"));
}

#[test]
fn under_the_key_of_their_time_all_verdicts_are_those_of_an_independent_program() {
    compare("history", |verdict| is_ok(verdict, "at_time"));
}

#[test]
fn by_default_an_event_holds_if_it_does_under_either_key() {
    compare("auto", |verdict| is_ok(verdict, "current") || is_ok(verdict, "at_time"));
    let seen = judged("auto");
    let former = seen.iter().filter(|seen| seen.notes().contains(&"former-key")).count();
    assert_eq!(former, 111, "109 commits and 2 #sync were signed with a key that was rotated away");
}

#[test]
fn without_pass_all_the_proved_come_out_and_the_rest_goes_to_rejects() {
    let folder = tempfile::tempdir().unwrap();
    let index = export::index(folder.path(), &directory());
    let rejects = folder.path().join("rejects.frames");
    let args = ["--index", harness::path(&index), "--keys", "current"];
    let args = [&args[..], &["--rejects", harness::path(&rejects)]].concat();
    let passed = harness::proved(&args, &stream());
    assert!(passed.iter().all(Seen::is_ok));
    let (kept, ended) = harness::decode(&std::fs::read(&rejects).unwrap());
    assert!(ended, "the file of rejects is a whole stream");
    let kept: Vec<Seen> = kept.into_iter().filter(|seen| seen.kind == Kind::EVENT).collect();
    assert_eq!((passed.len(), kept.len()), (6293, 121));
    assert!(kept.iter().all(|seen| seen.verdict() == "refused bad-signature"));
    assert!(kept.iter().all(|seen| seen.host == "localhost:2583"));
    // Every event is in one of the two, byte for byte, and in order.
    let (mut passed, mut kept) = (passed.into_iter().peekable(), kept.into_iter().peekable());
    for (seq, body) in (1..).zip(bodies()) {
        let next = if passed.peek().is_some_and(|seen| seen.seq == seq) {
            passed.next()
        } else {
            kept.next()
        };
        let seen = next.unwrap();
        assert!(seen.seq == seq && seen.body == body, "event {seq}");
    }
}

#[test]
fn from_another_pds_the_unsigned_are_refused_and_the_signed_are_noted() {
    let folder = tempfile::tempdir().unwrap();
    let index = export::index(folder.path(), &directory());
    let mut stream = Stream::of("elsewhere.example");
    for (number, body) in (1..).zip(bodies().iter().take(400)) {
        stream.event(1, number, body);
        stream.event(2, number, body);
    }
    let args = ["--index", harness::path(&index), "--keys", "history", "--pass-all"];
    let seen = harness::proved(&args, &stream.end());
    assert_eq!(seen.len(), 800);
    for (seen, verdict) in seen.chunks(2).zip(verdicts()) {
        let [pds, relay] = seen else { panic!("two of each") };
        if verdict.get("current").is_some() {
            assert_eq!(pds.verdict(), "ok", "{verdict}");
            // A commit that came before is a copy, whoever brings it.
            let copy = if verdict["t"] == "#commit" { "unchecked repeat" } else { "ok" };
            assert_eq!(relay.verdict(), copy, "{verdict}");
            assert!(pds.notes().contains(&"foreign"));
            assert!(!relay.notes().contains(&"foreign"));
        } else {
            assert_eq!(pds.verdict(), "refused wrong-host");
            assert_eq!(relay.verdict(), "unchecked hearsay");
        }
    }
}
