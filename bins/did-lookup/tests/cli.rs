//! `did-lookup` alone: what it prints about accounts and about the index.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use didindex::{Builder, Change, Cursor, DeltaWriter, DidIndex, Key, PlcDid, Room};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY_A: &str = "did:key:zQ3shkKkAzEii6GqtYP66HNFFp9ZJSvtoNLbkyd696yaN5g9Q";
const KEY_B: &str = "did:key:zDnaehEgRPL3eVHJMWa1b5ChEa7FS4VRssJmxexX9vGouqtqY";

/// Two times of operations, unix ms.
const FIRST: u64 = 1_795_432_265_084;
const SECOND: u64 = 1_795_432_300_000;

fn did(number: u8) -> String {
    PlcDid::from_bytes([number; 15]).to_string()
}

/// Accounts: 1 has rotated, 2 has one key, 3 is given up, 4 has a key of unknown type.
fn index() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let key = |text: &str| Key::Known(text.parse::<keys::PublicKey>().unwrap().to_bytes());
    let change = |from_ms, key, pds| Change { from_ms, key, pds };
    let (a, b) = (Some("a.example"), Some("b.example"));
    let born = change(FIRST, key(KEY_A), a);
    let mut builder = Builder::create(&path, 4, false).unwrap();
    for (number, changes) in [
        (1, vec![born, change(SECOND, key(KEY_B), b)]),
        (2, vec![born]),
        (3, vec![born, change(SECOND, Key::Tombstone, None)]),
        (4, vec![change(FIRST, Key::UnknownType, b)]),
    ] {
        builder.add(&PlcDid::from_bytes([number; 15]), &changes).unwrap();
    }
    builder.finish(Cursor { created_ms: SECOND, operations: 6 }).unwrap();
    (folder, path)
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_did-lookup"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_account_is_one_object_with_its_history() {
    let (_folder, path) = index();
    let path = path.to_str().unwrap();
    let output = run(&[path, &did(1), &did(2), &did(3), &did(4)]);
    assert!(output.status.success(), "{output:?}");
    let (first, second) = ("2026-11-23T11:11:05.084Z", "2026-11-23T11:11:40.000Z");
    let expected = [
        json!({ "did": did(1), "status": "active", "key": KEY_B, "pds": "b.example", "history": [
            { "from": first, "key": KEY_A }, { "from": second, "key": KEY_B },
        ] }),
        json!({ "did": did(2), "status": "active", "key": KEY_A, "pds": "a.example", "history": [
            { "from": null, "key": KEY_A },
        ] }),
        json!({ "did": did(3), "status": "tombstoned", "key": null, "pds": null, "history": [
            { "from": first, "key": KEY_A },
            { "from": second, "key": null, "status": "tombstoned" },
        ] }),
        json!({ "did": did(4), "status": "unknown-key-type", "key": null, "pds": "b.example",
            "history": [{ "from": null, "key": null, "status": "unknown-key-type" }] }),
    ];
    assert_eq!(lines(&output), expected);
    let start = format!("{{\"did\":\"{}\",\"status\":\"active\",\"key\":", did(1));
    assert!(stdout(&output).starts_with(&start), "fields come in their order");
}

#[test]
fn an_unknown_account_is_said_and_ends_with_1() {
    let (_folder, path) = index();
    let path = path.to_str().unwrap();
    let output = run(&[path, &did(9), &did(2), "did:key:zabc", &did(8)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], json!({ "did": did(9), "status": "unknown" }));
    assert_eq!(lines[2], json!({ "did": "did:key:zabc", "status": "unknown" }));
    let said = format!("did-lookup: 3 of 4 DIDs are not in {path}\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
}

#[test]
fn an_answer_comes_before_the_next_question() {
    let (_folder, path) = index();
    for args in [&[path.to_str().unwrap()][..], &[path.to_str().unwrap(), "-"]] {
        let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        for number in [1, 2, 3] {
            writeln!(input, "{}", did(number)).unwrap();
            let line: Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["did"], did(number));
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn the_index_says_what_it_holds() {
    let (_folder, path) = index();
    let bytes = fs::metadata(&path).unwrap().len();
    let path = path.to_str().unwrap();
    let output = run(&[path, "--info", "--json"]);
    let info = &lines(&output)[0];
    assert_eq!(info["type"], "info");
    assert_eq!((&info["accounts"], &info["operations"]), (&json!(4), &json!(6)));
    assert_eq!(info["bytes"], bytes);
    assert_eq!(info["last_created_at"], "2026-11-23T11:11:40.000Z");
    assert!(info["age_seconds"].is_u64(), "{info}");
    for name in ["slots", "load", "bytes_per_did", "accounts_rotated", "former_keys"] {
        assert!(info[name].is_number(), "{name}: {info}");
    }
    let hosts = json!([
        { "name": "b.example", "accounts": 2 }, { "name": "a.example", "accounts": 1 },
    ]);
    assert_eq!(info["hosts"], hosts);
    let text = run(&[path, "--info"]);
    assert!(stdout(&text).contains("accounts        4\n"), "{text:?}");
    assert!(stdout(&text).contains("             2  b.example\n"), "{text:?}");
    assert_eq!(stdout(&run(&[path, "--hosts"])), "b.example\na.example\n");
    let lines = lines(&run(&[path, "--hosts", "--json"]));
    assert_eq!(lines[0], json!({ "type": "host", "name": "b.example", "accounts": 2 }));
    assert_eq!(lines.len(), 2);
}

#[test]
fn an_index_of_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("did.idx");
    let empty = Builder::create(&path, 0, false).unwrap();
    empty.finish(Cursor { created_ms: 0, operations: 0 }).unwrap();
    let path = path.to_str().unwrap();
    let info = &lines(&run(&[path, "--info", "--json"]))[0];
    assert_eq!((&info["accounts"], &info["load"]), (&json!(0), &json!(0.0)));
    assert_eq!((&info["last_created_at"], &info["age_seconds"]), (&Value::Null, &Value::Null));
    assert!(stdout(&run(&[path, "--info"])).contains("last operation  none\n"));
    let hosts = run(&[path, "--hosts"]);
    assert!(hosts.status.success() && hosts.stdout.is_empty());
}

#[test]
fn what_has_changed_since_the_index_was_built_counts_at_once() {
    let (_folder, path) = index();
    let index = DidIndex::open(&path).unwrap();
    let room = Room { slots: 10, bytes: 1 << 16 };
    let mut delta = DeltaWriter::create(&path, index.id(), index.seed(), room).unwrap();
    delta.publish().unwrap();
    let mut child = command(&[path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |number: u8| -> Value {
        writeln!(input, "{}", did(number)).unwrap();
        serde_json::from_str(&output.next().unwrap().unwrap()).unwrap()
    };
    assert_eq!(ask(2)["pds"], "a.example");
    let born = Change { from_ms: FIRST, key: Key::Missing, pds: Some("new.example") };
    assert!(delta.put(&PlcDid::from_bytes([2; 15]), &[born], Some(false)).unwrap());
    assert!(delta.put(&PlcDid::from_bytes([5; 15]), &[born], None).unwrap());
    delta.set_cursor(Cursor { created_ms: SECOND + 1000, operations: 8 });
    assert_eq!((&ask(2)["pds"], &ask(5)["status"]), (&json!("new.example"), &json!("no-key")));
    // Another index, built anew.
    let mut builder = Builder::create(&path, 1, true).unwrap();
    let moved = Change { pds: Some("moved.example"), ..born };
    builder.add(&PlcDid::from_bytes([2; 15]), &[moved]).unwrap();
    let output = run(&[path.to_str().unwrap(), "--info", "--json"]);
    let info = &lines(&output)[0];
    assert_eq!((&info["accounts"], &info["operations"]), (&json!(5), &json!(8)));
    assert_eq!((&info["changes"], &info["accounts_added"]), (&json!(2), &json!(1)));
    assert_eq!(info["last_created_at"], "2026-11-23T11:11:41.000Z");
    assert_eq!(info["hosts"][0], json!({ "name": "b.example", "accounts": 2 }));
    assert_eq!(info["hosts"][1], json!({ "name": "new.example", "accounts": 2 }));
    let text = run(&[path.to_str().unwrap(), "--info"]);
    assert!(stdout(&text).contains("changes         2 since it was built, 1 new accounts\n"));
    assert!(run(&[path.to_str().unwrap(), "--verify"]).status.success());
    delta.supersede();
    builder.finish(Cursor::default()).unwrap();
    let began = std::time::Instant::now();
    while ask(2)["pds"] != "moved.example" {
        assert!(began.elapsed().as_secs() < 60);
    }
    drop(input);
    child.wait().unwrap();
}

#[test]
fn damage_is_found_by_verify() {
    let (_folder, path) = index();
    assert!(run(&[path.to_str().unwrap(), "--verify"]).status.success());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let damaged = path.with_extension("damaged");
    fs::write(&damaged, bytes).unwrap();
    let output = run(&[damaged.to_str().unwrap(), "--verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cursor is damaged"), "{output:?}");
}

#[test]
fn misuse_ends_with_2_and_failure_with_1() {
    let (folder, path) = index();
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&[path.to_str().unwrap(), "--info", &did(1)]).status.code(), Some(2));
    let other = folder.path().join("ops.jsonl");
    fs::write(&other, "{\"did\":\"x\"}\n").unwrap();
    let output = run(&[other.to_str().unwrap(), &did(1)]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is no did.idx; index-build makes one"), "{said}");
    fs::write(&other, &fs::read(&path).unwrap()[..5000]).unwrap();
    assert_eq!(run(&[other.to_str().unwrap(), &did(1)]).status.code(), Some(1));
    assert_eq!(run(&["/nowhere/did.idx", &did(1)]).status.code(), Some(1));
    let help = run(&["--help"]);
    assert!(help.status.success() && stdout(&help).contains("did-lookup did.idx did:plc:"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (_folder, path) = index();
    let many: Vec<String> = (0..20_000).map(|number| did((number % 4) as u8 + 1)).collect();
    let mut child = command(&[path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // It may be gone before all is written.
    let _ = child.stdin.take().unwrap().write_all(many.join("\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
