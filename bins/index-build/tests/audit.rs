//! `index-build --audit`: what it says of a directory, of single logs, and what the index is then.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../../proto/plc/tests/account/mod.rs"]
mod account;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use account::*;
use didindex::{DidIndex, Status};
use serde_json::{Value, json};
use tempfile::TempDir;

const EXPORT: &str = include_str!("../../../tests/fixtures/refnet/plc-export.jsonl");

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_index-build"));
        e2e::fed(command.args(args).current_dir(self.0.path()), input)
    }

    /// Audits what comes in: the findings, and the last line.
    fn audit(&self, args: &[&str], input: &[u8]) -> (Vec<Value>, Value) {
        let output = self.run(&[&["--audit"], args].concat(), input);
        assert!(output.status.success(), "{output:?}");
        said(&output)
    }

    fn index(&self, name: &str) -> DidIndex {
        let index = DidIndex::open(&self.path(name)).unwrap();
        index.verify().unwrap();
        index
    }
}

fn said(output: &Output) -> (Vec<Value>, Value) {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    assert_eq!(last["type"], "audit");
    (lines, last)
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn jsonl(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// An account whose second key took over what the first one took back, and then some.
fn recovered(seed: u8) -> Vec<Value> {
    let (a, b) = (Key::k256(seed), Key::p256(seed));
    let first = genesis(&[&a, &b], &b);
    let stolen = update(&first, &[&b], &b);
    let back = update(&first, &[&a], &a);
    log(&[&first, &stolen, &back, &update(&back, &[&b], &a)])
}

/// An account whose third operation has a wrong signature, and the rest what it may be.
fn forged(seed: u8) -> Vec<Value> {
    let (a, mallory) = (Key::k256(seed), Key::k256(200));
    let first = genesis(&[&a], &a);
    let mut moved = says(Some(&first), &[&a]);
    moved["services"]["atproto_pds"]["endpoint"] = "https://second.example".into();
    let second = sign(moved, &a);
    let mut wrong = says(Some(&second), &[&mallory]);
    wrong["services"]["atproto_pds"]["endpoint"] = "https://evil.example".into();
    wrong["verificationMethods"]["atproto"] = mallory.did().into();
    let wrong = sign(wrong, &mallory);
    let after = update(&wrong, &[&mallory], &mallory);
    let beside = update(&second, &[&a], &a);
    log(&[&first, &second, &wrong, &after, &beside])
}

#[test]
fn a_proved_directory_has_no_findings_and_the_same_index() {
    let place = Place::new();
    let input = EXPORT.to_owned() + &jsonl(&recovered(7));
    let (findings, last) = place.audit(&[], input.as_bytes());
    assert_eq!(findings, [Value::Null; 0]);
    for (field, number) in [
        ("operations", 127),
        ("dids", 121),
        ("invalid", 0),
        ("dids_invalid", 0),
        ("notes", 0),
        ("nullified", 1),
        ("repeated", 0),
        ("unreadable", 0),
    ] {
        assert_eq!(last[field], number, "{field}");
    }
    assert!(last["seconds"].as_f64().unwrap() > 0.0);
    assert!(last["seconds_per_million"].as_f64().unwrap() > 0.0);
    let (_, again) = place.audit(&["--out", "audited.idx"], format!("{input}{EXPORT}").as_bytes());
    assert_eq!((&again["operations"], &again["repeated"]), (&json!(127), &json!(123)));
    assert!(place.run(&["--out", "plain.idx"], input.as_bytes()).status.success());
    let (audited, plain) = (place.index("audited.idx"), place.index("plain.idx"));
    let mut dids: Vec<String> = input
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["did"].as_str().unwrap().into())
        .collect();
    dids.dedup();
    for did in dids {
        let (a, b) = (audited.get(&did).unwrap(), plain.get(&did).unwrap());
        assert_eq!((a.status(), a.key(), a.pds()), (b.status(), b.key(), b.pds()));
        let history = |entry: &didindex::Entry<'_>| {
            entry.history().map(|period| (period.from_ms, period.key)).collect::<Vec<_>>()
        };
        assert_eq!(history(&a), history(&b));
    }
}

#[test]
fn what_fails_is_named_and_the_account_stays_as_it_was() {
    let place = Place::new();
    let bad = forged(3);
    // The lines of accounts lie between each other.
    let mut mixed = Vec::new();
    for (a, b) in bad.iter().zip(recovered(4).iter().chain([&recovered(5)[0]])) {
        mixed.extend([a.clone(), b.clone()]);
    }
    let args = ["--out", "did.idx", "--json"];
    let output = place.run(&[&["--audit"], &args[..]].concat(), jsonl(&mixed).as_bytes());
    assert!(output.status.success(), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [wrong, after, last, built] = &lines[..] else { panic!("{text}") };
    assert_eq!(
        wrong,
        &json!({
            "type": "invalid", "did": bad[2]["did"], "cid": bad[2]["cid"], "rule": "bad-signature",
            "detail": "the signature is by no rotation key that may sign it",
        })
    );
    assert_eq!((&after["cid"], &after["rule"]), (&bad[3]["cid"], &json!("prev-invalid")));
    assert_eq!((&last["invalid"], &last["dids_invalid"]), (&json!(2), &json!(1)));
    assert_eq!(last["rules"], json!({ "bad-signature": 1, "prev-invalid": 1 }));
    assert_eq!((&built["type"], &built["accounts"]), (&json!("summary"), &json!(3)));
    assert!(stderr(&output).contains("bad-signature"), "{}", stderr(&output));
    let index = place.index("did.idx");
    let entry = index.get(bad[0]["did"].as_str().unwrap()).unwrap();
    // The operation after it that holds does not count either.
    assert_eq!((entry.status(), entry.pds()), (Status::Active, Some("second.example")));
    assert_eq!(entry.history().count(), 1);
}

#[test]
fn an_account_without_a_valid_operation_is_not_in_the_index() {
    let place = Place::new();
    let mut lines = recovered(4);
    for line in &mut lines {
        line["did"] = "did:plc:6pjeb7te77bqgelhsh5yydes".into();
    }
    let good = recovered(5);
    let input = jsonl(&lines) + &jsonl(&good);
    let (findings, last) = place.audit(&["--out", "did.idx"], input.as_bytes());
    let rules: Vec<&str> = findings.iter().map(|line| line["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["genesis-hash", "prev-invalid", "prev-invalid", "prev-invalid"]);
    assert_eq!(last["dids"], 2);
    let index = place.index("did.idx");
    assert!(index.get("did:plc:6pjeb7te77bqgelhsh5yydes").is_none());
    assert!(index.get(good[0]["did"].as_str().unwrap()).is_some());
}

#[test]
fn a_forged_line_under_a_true_name_does_not_get_into_the_index() {
    let place = Place::new();
    let good = recovered(4);
    let mut forged = good[0].clone();
    forged["operation"]["services"]["atproto_pds"]["endpoint"] = "https://evil.example".into();
    let lines = [&[forged], &good[..]].concat();
    let (findings, _) = place.audit(&["--out", "did.idx"], jsonl(&lines).as_bytes());
    assert_eq!((findings.len(), &findings[0]["rule"]), (1, &json!("cid-mismatch")));
    let index = place.index("did.idx");
    let entry = index.get(good[0]["did"].as_str().unwrap());
    // Nothing counted yet when it came.
    assert!(entry.is_none());
    let later = [&good[..1], &[lines[0].clone()], &good[1..]].concat();
    place.audit(&["--out", "did.idx", "--force"], jsonl(&later).as_bytes());
    let index = place.index("did.idx");
    let entry = index.get(good[0]["did"].as_str().unwrap()).unwrap();
    assert_eq!(entry.pds(), Some("pds.example"));
}

#[test]
fn lines_that_are_no_operations_are_findings() {
    let place = Place::new();
    let good = recovered(4);
    let mut odd = good[1].clone();
    odd["operation"]["type"] = "plc_rename".into();
    let mut web = good[0].clone();
    web["did"] = "did:web:a.example".into();
    let too_long = "x".repeat(2 << 20);
    let input =
        format!("{}{odd}\n{{\n\n{web}\n{too_long}\n{}", jsonl(&good[..1]), jsonl(&good[2..]));
    let output = place.run(&["--audit", "--strict"], input.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (findings, last) = said(&output);
    assert!(findings.iter().all(|line| line["rule"] == "schema" && line["type"] == "invalid"));
    let details: Vec<&str> = findings.iter().map(|line| line["detail"].as_str().unwrap()).collect();
    assert_eq!(details[..3].iter().filter(|text| text.contains("standard input: line")).count(), 3);
    assert_eq!(details[3], "the operation is of an unknown type");
    assert_eq!((&findings[3]["did"], &findings[3]["cid"]), (&odd["did"], &odd["cid"]));
    assert_eq!((&findings[0]["did"], &last["unreadable"]), (&Value::Null, &json!(3)));
    assert_eq!((&last["invalid"], &last["operations"]), (&json!(4), &json!(4)));
    assert!(stderr(&output).contains("schema"), "{}", stderr(&output));
    // What it is asked only to report does not fail it.
    assert!(place.run(&["--audit"], input.as_bytes()).status.success());
}

#[test]
fn notes_are_no_failures() {
    let place = Place::new();
    let key = Key::k256(1);
    let mut says = says(None, &[&key, &key]);
    says["alsoKnownAs"] = json!(["at://".to_owned() + &"x".repeat(5000)]);
    let lines = log(&[&sign(says, &key)]);
    let (findings, last) = place.audit(&["--strict"], jsonl(&lines).as_bytes());
    let rules: Vec<&str> = findings.iter().map(|line| line["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["limit-bytes", "rotation-keys-repeated", "limit-also-known-as"]);
    assert!(findings.iter().all(|line| line["type"] == "note" && line["did"] == lines[0]["did"]));
    assert_eq!((&last["notes"], &last["invalid"]), (&json!(3), &json!(0)));
}

#[test]
fn torn_and_packed_files_are_judged_up_to_where_they_are_whole() {
    let place = Place::new();
    fs::create_dir(place.path("ops")).unwrap();
    let good = recovered(4);
    let frame = |lines: &[Value]| zstd::bulk::compress(jsonl(lines).as_bytes(), 3).unwrap();
    let whole = frame(&good[..2]);
    let torn = frame(&good[2..]);
    fs::write(place.path("ops/1.jsonl.zst"), [&whole[..], &torn[..torn.len() - 3]].concat())
        .unwrap();
    fs::write(place.path("ops/2.jsonl"), jsonl(&good[2..3])).unwrap();
    let output = place.run(&["--audit", "--ops", "ops"], b"");
    assert!(output.status.success(), "{output:?}");
    let (findings, last) = said(&output);
    assert_eq!((findings.len(), &last["operations"]), (0, &json!(3)));
    assert!(stderr(&output).contains("torn"), "{}", stderr(&output));
    fs::write(place.path("ops/3.jsonl.zst"), b"\x28\xb5\x2f\xfdnothing of zstd").unwrap();
    let output = place.run(&["--audit", "--ops", "ops"], b"");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn in_little_memory_the_disk_is_used_and_nothing_is_left_on_it() {
    let place = Place::new();
    fs::create_dir(place.path("temp")).unwrap();
    let mut input = String::new();
    for seed in 1..60 {
        input += &jsonl(&recovered(seed));
        input += &jsonl(&forged(seed + 60));
    }
    // Repeats take room as well.
    let input = input.repeat(16);
    let (all, whole) = place.audit(&[], input.as_bytes());
    let (findings, last) =
        place.audit(&["--memory", "1MiB", "--temp", "temp", "--out", "did.idx"], input.as_bytes());
    assert_eq!((all.len(), findings.len()), (118, 118));
    assert_eq!(whole["spilled_bytes"], 0);
    assert!(last["spilled_bytes"].as_u64().unwrap() > 500_000, "{last}");
    for field in ["operations", "dids", "invalid", "nullified", "repeated", "rules"] {
        assert_eq!(whole[field], last[field], "{field}");
    }
    assert_eq!(fs::read_dir(place.path("temp")).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_audit_but_not_the_index() {
    let place = Place::new();
    let mut input = String::new();
    for seed in 1..250 {
        input += &jsonl(&forged(seed));
    }
    let end = |args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_index-build"))
            .args(args)
            .current_dir(place.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        // It may end before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait().unwrap().code()
    };
    assert_eq!(end(&["--audit"]), Some(0));
    assert_eq!(end(&["--audit", "--out", "did.idx"]), Some(0));
    assert!(place.path("did.idx").exists());
}

#[test]
fn logs_are_judged_one_by_one() {
    let place = Place::new();
    let put = |name: &str, log: &[Value]| fs::write(place.path(name), json!(log).to_string());
    let mut good = recovered(4);
    good[1]["nullified"] = true.into();
    put("good.json", &good).unwrap();
    put("bad.json", &forged(3)).unwrap();
    let mut wrong_word = recovered(5);
    wrong_word[2]["nullified"] = true.into();
    put("word.json", &wrong_word).unwrap();
    let output = place.run(&["--audit", "--log", "good.json"], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (findings, last) = said(&output);
    assert_eq!((findings.len(), &last["operations"], &last["dids"]), (0, &json!(4), &json!(1)));
    let output = place.run(&["--audit", "--log", "good.json", "bad.json", "word.json"], b"");
    assert_eq!(output.status.code(), Some(1));
    let (findings, last) = said(&output);
    let rules: Vec<_> =
        findings.iter().map(|line| (line["file"].as_str(), line["rule"].as_str())).collect();
    assert_eq!(
        rules,
        [
            (Some("bad.json"), Some("bad-signature")),
            (Some("bad.json"), Some("prev-invalid")),
            (Some("word.json"), Some("nullified-flag")),
            (Some("word.json"), Some("nullified-flag")),
        ]
    );
    assert_eq!(
        (&last["invalid"], &last["notes"], &last["dids"]),
        (&json!(2), &json!(2), &json!(3))
    );
    assert!(stderr(&output).contains("bad.json: did:plc:"), "{}", stderr(&output));
    assert!(stderr(&output).contains("bad-signature"), "{}", stderr(&output));
    assert_eq!(place.run(&["--audit", "--log", "word.json"], b"").status.code(), Some(0));
    let log = json!(forged(3)).to_string();
    let output = place.run(&["--audit", "--log", "-"], log.as_bytes());
    assert_eq!((output.status.code(), &said(&output).0[0]["file"]), (Some(1), &json!("-")));
}

#[test]
fn files_that_are_no_logs_fail() {
    let place = Place::new();
    for (log, detail) in [
        ("", "no audit log"),
        ("[]", "a log of nothing"),
        ("{}", "no audit log"),
        ("[1]", "member 0"),
        ("[{\"did\":\"did:web:a.example\"}]", "member 0"),
        ("[{\"cid\"", "no audit log"),
    ] {
        fs::write(place.path("log.json"), log).unwrap();
        let output = place.run(&["--audit", "--log", "log.json"], b"");
        assert_eq!(output.status.code(), Some(1), "{log}");
        let (findings, _) = said(&output);
        assert_eq!((findings.len(), &findings[0]["rule"]), (1, &json!("schema")));
        assert!(findings[0]["detail"].as_str().unwrap().contains(detail), "{findings:?}");
    }
    let output = place.run(&["--audit", "--log", "gone.json", "log.json"], b"");
    assert_eq!((output.status.code(), said(&output).0.len()), (Some(1), 1));
    assert!(stderr(&output).contains("gone.json"), "{}", stderr(&output));
    // One of another account among them.
    let mut log = recovered(4);
    log[3] = recovered(5)[0].clone();
    fs::write(place.path("log.json"), json!(log).to_string()).unwrap();
    let (findings, _) = said(&place.run(&["--audit", "--log", "log.json"], b""));
    assert_eq!((findings.len(), &findings[0]["rule"]), (1, &json!("other-did")));
}

#[test]
fn misuse_is_exit_2() {
    let place = Place::new();
    for args in [&["--log", "a.json"][..], &[], &["--audit", "--log"]] {
        assert_eq!(place.run(args, b"").status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_official_logs_come_out_as_their_folders_say() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vectors/plc");
    let place = Place::new();
    for (folder, code) in [("valid", 0), ("invalid", 1)] {
        let Ok(files) = fs::read_dir(vectors.join(folder)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let output = place.run(&["--audit", "--log", path.to_str().unwrap()], b"");
            assert_eq!(output.status.code(), Some(code), "{}", path.display());
            let (findings, _) = said(&output);
            let invalid = findings.iter().filter(|line| line["type"] == "invalid").count();
            assert_eq!(invalid, code as usize, "{findings:?}");
        }
    }
}
