//! `index-build` alone: what it makes of the operations it is given.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use didindex::{DidIndex, Status};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

const ROTATED: &str = include_str!("../../../tests/fixtures/refnet/rotated.json");
const EXPORT: &str = include_str!("../../../tests/fixtures/refnet/plc-export.jsonl");

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_index-build"));
        e2e::fed(command.args(args).current_dir(self.0.path()), input)
    }

    /// Builds and gives the summary.
    fn build(&self, args: &[&str], input: &[u8]) -> Value {
        let args = [args, &["--out", "did.idx", "--json", "--force"]].concat();
        let output = self.run(&args, input);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn index(&self) -> DidIndex {
        let index = DidIndex::open(&self.path("did.idx")).unwrap();
        index.verify().unwrap();
        index
    }
}

impl Place {
    /// What an index leaves in its folder.
    fn files(&self) -> BTreeSet<OsString> {
        let id = self.index().id();
        let [log, delta] = ["log", "delta"].map(|ending| format!("did.idx.{id:016x}.{ending}"));
        ["did.idx".into(), "did.idx.lock".into(), log, delta].map(OsString::from).into()
    }
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn frame(text: &str) -> Vec<u8> {
    zstd::bulk::compress(text.as_bytes(), 3).unwrap()
}

const FIRST: &str = "bafyreiht2jap4zh7ymbrcz4r7ogazetvtbnpx2oyawl4crpslnlh2kt3ou";
const KEY_A: &str = "did:key:zQ3shkKkAzEii6GqtYP66HNFFp9ZJSvtoNLbkyd696yaN5g9Q";
const KEY_B: &str = "did:key:zDnaehEgRPL3eVHJMWa1b5ChEa7FS4VRssJmxexX9vGouqtqY";
const DID: &str = "did:plc:6pjeb7te77bqgelhsh5yydes";

fn cid(number: u8) -> String {
    // The last characters stand for the last bytes; what is before says nothing here.
    format!("{}{}aa", &FIRST[..16], char::from(b'b' + number).to_string().repeat(41))
}

fn line(number: u8, prev: Option<u8>, time: &str, mut operation: Value) -> String {
    operation["prev"] = prev.map(cid).into();
    let line = json!({
        "did": DID, "operation": operation, "cid": cid(number), "nullified": false,
        "createdAt": format!("2026-01-01T{time}.000Z"),
    });
    format!("{line}\n")
}

fn operation(key: &str, pds: &str) -> Value {
    json!({
        "type": "plc_operation", "verificationMethods": { "atproto": key }, "sig": "x",
        "rotationKeys": [], "alsoKnownAs": [], "services": {
            "atproto_pds": { "type": "AtprotoPersonalDataServer", "endpoint": pds },
        },
    })
}

#[test]
fn the_recorded_directory_comes_out_as_it_was() {
    let place = Place::new();
    place.put("ops.jsonl", EXPORT);
    let summary = place.build(&["--ops", "ops.jsonl"], b"");
    for (field, number) in [
        ("accounts", 120),
        ("operations", 123),
        ("lines", 123),
        ("lines_bad", 0),
        ("nullified", 0),
        ("repeated", 0),
        ("accounts_rotated", 2),
        ("accounts_broken", 0),
        ("hosts", 1),
    ] {
        assert_eq!(summary[field], number, "{field}");
    }
    assert_eq!(summary["last_created_at"], "2026-11-23T11:12:23.014Z");
    let index = place.index();
    let rotated: Vec<Value> = serde_json::from_str(ROTATED).unwrap();
    assert_eq!(rotated.len(), 2);
    for account in &rotated {
        let (did, new) = (account["did"].as_str().unwrap(), account["newKey"].as_str().unwrap());
        let entry = index.get(did).unwrap();
        let new = keys::PublicKey::from_did_key(new).unwrap().to_bytes();
        assert_eq!((entry.status(), entry.key()), (Status::Active, Some(new)));
        assert_eq!(entry.pds(), Some("localhost:2583"));
        let history: Vec<_> = entry.history().collect();
        assert_eq!(history.len(), 2);
        assert_eq!(history[1].key, Some(new));
        let at = history[1].from_ms;
        let keys =
            |time: u64| entry.keys_at(time).filter_map(|period| period.key).collect::<Vec<_>>();
        assert_eq!(keys(at), [new]);
        assert_eq!(keys(at - 1), [history[0].key.unwrap(), new]);
        assert_eq!(keys(at - 300_001), [history[0].key.unwrap()]);
    }
    let dids: BTreeSet<String> = EXPORT
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["did"].as_str().unwrap().into())
        .collect();
    assert!(dids.iter().all(|did| index.get(did).unwrap().history().count() >= 1));
}

#[test]
fn every_packing_and_the_order_of_names() {
    let place = Place::new();
    let lines: Vec<&str> = EXPORT.split_inclusive('\n').collect();
    place.put(
        "ops/000001.jsonl.zst",
        [frame(&lines[..20].concat()), frame(&lines[20..40].concat())].concat(),
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(lines[40..80].concat().as_bytes()).unwrap();
    let first = gzip.finish().unwrap();
    let mut gzip = GzEncoder::new(first, Compression::fast());
    gzip.write_all(lines[80..100].concat().as_bytes()).unwrap();
    place.put("ops/000002.jsonl.gz", gzip.finish().unwrap());
    place.put("ops/000003.jsonl", lines[100..].concat());
    place.put("ops/plc-fetch.state", "no operations");
    let summary = place.build(&["--ops", "ops"], b"");
    assert_eq!((&summary["operations"], &summary["files"]), (&json!(123), &json!(3)));
    // The same again by way of a pipe, plain and packed, and twice over.
    let twice = [EXPORT, EXPORT].concat();
    let summary = place.build(&[], twice.as_bytes());
    assert_eq!((&summary["operations"], &summary["repeated"]), (&json!(123), &json!(123)));
    let summary = place.build(&["--ops", "-"], &frame(EXPORT));
    assert_eq!(summary["operations"], 123);
    // A last line without an end is a line.
    let summary = place.build(&[], EXPORT.trim_end().as_bytes());
    assert_eq!(summary["operations"], 123);
}

#[test]
fn a_frame_too_long_to_be_held_is_read_as_it_comes() {
    let place = Place::new();
    let many = EXPORT.repeat(600);
    assert!(many.len() > 40 << 20);
    let packed = frame(&many);
    place.put("ops.jsonl.zst", &packed);
    let summary = place.build(&["--ops", "ops.jsonl.zst"], b"");
    assert_eq!(summary["lines"], 123 * 600);
    // Torn, it gives what came before.
    place.put("ops.jsonl.zst", &packed[..packed.len() - 100]);
    let summary = place.build(&["--ops", "ops.jsonl.zst"], b"");
    assert_eq!((&summary["files_torn"], &summary["accounts"]), (&json!(1), &json!(120)));
    assert_eq!(summary["lines_bad"], 0);
}

#[test]
fn of_a_torn_tail_the_whole_frames_are_taken() {
    let place = Place::new();
    let lines: Vec<&str> = EXPORT.split_inclusive('\n').collect();
    let whole = frame(&lines[..100].concat());
    let tail = frame(&lines[100..].concat());
    for cut in [1, 5, 17, tail.len() / 2, tail.len() - 1] {
        place.put("ops/000001.jsonl.zst", [&whole[..], &tail[..cut]].concat());
        let output = place.run(&["--ops", "ops", "--out", "did.idx", "--json", "--force"], b"");
        assert!(output.status.success(), "{output:?}");
        assert!(stderr(&output).contains("000001.jsonl.zst: its end is torn"), "{output:?}");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["lines"], &summary["lines_bad"]), (&json!(100), &json!(0)), "{cut}");
        place.index();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(EXPORT.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    place.put("ops.jsonl.gz", &packed[..packed.len() / 2]);
    let summary = place.build(&["--ops", "ops.jsonl.gz"], b"");
    assert_eq!((&summary["files_torn"], &summary["lines_bad"]), (&json!(1), &json!(0)));
}

#[test]
fn a_damaged_file_is_an_error_and_makes_no_index() {
    let place = Place::new();
    let mut packed = [frame(EXPORT), frame(EXPORT)].concat();
    let middle = packed.len() / 2 + 30;
    packed[middle..middle + 40].fill(0xff);
    place.put("ops/000001.jsonl.zst", packed);
    let output = place.run(&["--ops", "ops", "--out", "did.idx"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("index-build: ops/000001.jsonl.zst: behind line 123: "));
    assert!(!place.path("did.idx").exists());
}

#[test]
fn a_bad_line_is_named_and_left_out_or_stops() {
    let place = Place::new();
    let lines: Vec<&str> = EXPORT.split_inclusive('\n').collect();
    let long = format!("{{\"did\":\"{}\n", "x".repeat(2 << 20));
    let text =
        [lines[0], "{\"did\":\"did:plc:x\"}\n", "\n", &long, "\u{0}\u{ff}\n", lines[1]].concat();
    place.put("ops.jsonl", &text);
    let output = place.run(&["--ops", "ops.jsonl", "--out", "did.idx", "--json"], b"");
    assert!(output.status.success(), "{output:?}");
    let said: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with("index-build: ops.jsonl: line 2: not an operation: missing field"));
    let over = "index-build: ops.jsonl: line 4: line is over the limit of 1048576 bytes; left out";
    assert_eq!(said[1], over);
    assert!(said[2].starts_with("index-build: ops.jsonl: line 5: not an operation:"));
    assert_eq!(said[3], "index-build: 3 lines were no operations and are left out");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["accounts"], &summary["lines_bad"]), (&json!(2), &json!(3)));

    let args = ["--ops", "ops.jsonl", "--out", "strict.idx", "--strict"];
    let output = place.run(&args, b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("index-build: ops.jsonl: line 2: not an operation:"));
    assert!(!place.path("strict.idx").exists());
}

#[test]
fn nullification_follows_from_the_chain_and_not_from_the_field() {
    let place = Place::new();
    let a = operation(KEY_A, "https://A.example/");
    let b = operation(KEY_B, "https://b.example");
    let text = [
        line(0, None, "10:00:00", a.clone()),
        line(1, Some(0), "11:00:00", b),
        line(2, Some(1), "11:30:00", json!({ "type": "plc_tombstone" })),
        line(3, Some(0), "12:00:00", operation(KEY_A, "https://c.example")),
    ];
    // In any order: operations can appear a little after later ones.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 3, 1, 2]] {
        let text: String = order.iter().map(|number| text[*number].as_str()).collect();
        let summary = place.build(&[], text.as_bytes());
        assert_eq!((&summary["nullified"], &summary["operations"]), (&json!(2), &json!(4)));
        let index = place.index();
        let entry = index.get(DID).unwrap();
        assert_eq!((entry.status(), entry.pds()), (Status::Active, Some("c.example")));
        assert_eq!(entry.history().count(), 1, "the key between does not count");
    }
}

#[test]
fn what_an_account_can_be() {
    let place = Place::new();
    let unknown = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    let mut keyless = operation(KEY_A, "https://a.example");
    keyless["verificationMethods"] = json!({});
    let legacy = json!({
        "type": "create", "signingKey": KEY_B, "recoveryKey": KEY_A, "handle": "x.test",
        "service": "bsky.social", "sig": "x",
    });
    for (operation, status, pds) in [
        (operation(KEY_A, "https://a.example:443"), Status::Active, Some("a.example")),
        (operation(KEY_A, "http://a.example:3000/"), Status::Active, Some("a.example:3000")),
        (operation(KEY_A, "https://a.example/path"), Status::NoPds, None),
        (operation(KEY_A, &"x".repeat(2000)), Status::NoPds, None),
        (operation(unknown, "https://a.example"), Status::UnknownKeyType, Some("a.example")),
        (operation("did:key:?", "https://a.example"), Status::UnknownKeyType, Some("a.example")),
        (keyless, Status::NoKey, Some("a.example")),
        (legacy, Status::Active, Some("bsky.social")),
        (json!({ "type": "plc_tombstone" }), Status::Tombstoned, None),
    ] {
        let text = [
            line(0, None, "10:00:00", operation_before()),
            line(1, Some(0), "11:00:00", operation),
        ];
        place.build(&[], text.concat().as_bytes());
        let index = place.index();
        let entry = index.get(DID).unwrap();
        assert_eq!((entry.status(), entry.pds()), (status, pds));
    }
    let broken = line(1, Some(0), "11:00:00", operation_before());
    let output = place.run(&["--out", "did.idx", "--force"], broken.as_bytes());
    assert!(output.status.success());
    assert!(stderr(&output).contains("1 DIDs lack an operation that others follow"), "{output:?}");
}

fn operation_before() -> Value {
    operation(KEY_A, "https://before.example")
}

#[test]
fn an_index_is_replaced_only_when_asked_and_only_by_a_whole_one() {
    let place = Place::new();
    place.build(&[], EXPORT.as_bytes());
    let before = fs::read(place.path("did.idx")).unwrap();
    let output = place.run(&["--out", "did.idx"], EXPORT.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "index-build: did.idx exists; --force replaces it\n");
    let output = place.run(&["--out", "did.idx", "--force", "--strict"], b"{}\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(place.path("did.idx")).unwrap(), before);
    let names: BTreeSet<_> =
        fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, place.files());
}

#[test]
fn kill_9_at_any_moment_leaves_the_index_that_was_there() {
    let place = Place::new();
    place.put("ops.jsonl", EXPORT);
    place.build(&["--ops", "ops.jsonl"], b"");
    place.put("more.jsonl", EXPORT.repeat(100));
    for round in 0..20 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_index-build"))
            .args(["--ops", "more.jsonl", "--out", "did.idx", "--force"])
            .current_dir(place.0.path())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        // It may have ended.
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(place.index().info().entries, 120);
    }
    // What the last one left is in nobody's way.
    place.put("did.idx.tmp", vec![7; 1 << 20]);
    place.build(&["--ops", "more.jsonl"], b"");
    assert!(!place.path("did.idx.tmp").exists());
}

#[test]
fn misuse_and_missing_files_are_told_apart() {
    let place = Place::new();
    assert_eq!(place.run(&[], b"").status.code(), Some(2), "without --out");
    assert_eq!(place.run(&["--nonsense"], b"").status.code(), Some(2));
    let output = place.run(&["--ops", "nowhere", "--out", "x.idx"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "index-build: nowhere: No such file or directory (os error 2)\n");
    fs::create_dir(place.path("empty")).unwrap();
    let output = place.run(&["--ops", "empty", "--out", "x.idx"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("plc-fetch --out empty makes some"), "{output:?}");
    let help = place.run(&["--help"], b"");
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("index-build --ops ops/ --out did.idx"));
    assert!(place.run(&["--version"], b"").status.success());
}

/// The whole of a larger recording, where it is at hand.
#[test]
fn a_larger_recording_comes_out_as_it_was() {
    let recording =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/busy/plc-export.jsonl");
    let Ok(text) = fs::read(recording) else { return };
    let place = Place::new();
    let summary = place.build(&[], &text);
    assert_eq!((&summary["operations"], &summary["accounts"]), (&json!(403), &json!(400)));
}

/// Many accounts, some of which changed their keys or hosts, out of order and partly repeated.
fn many(accounts: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let text = |number: usize, chars: usize| -> String {
        let mut mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let next = |_| {
            mixed = mixed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            char::from(ALPHABET[(mixed >> 59) as usize])
        };
        (0..chars).map(next).collect()
    };
    let cid = |number: usize| format!("bafyreia{}", text(number, 50) + "a");
    let mut lines = Vec::new();
    for account in 0..accounts {
        let operations = if account % 10 == 0 { 3 } else { 1 };
        for operation in 0..operations {
            let number = account * 3 + operation;
            let key = if operation == 1 { KEY_B } else { KEY_A };
            let prev = match operation {
                0 => "null".to_owned(),
                _ => format!("\"{}\"", cid(number - 1)),
            };
            lines.push(format!(
                "{{\"did\":\"did:plc:{}\",\"operation\":{{\"type\":\"plc_operation\",\"prev\":{prev},\
                 \"sig\":\"x\",\"services\":{{\"atproto_pds\":{{\"type\":\
                 \"AtprotoPersonalDataServer\",\"endpoint\":\"https://h{}.example\"}}}},\
                 \"alsoKnownAs\":[],\"rotationKeys\":[],\"verificationMethods\":\
                 {{\"atproto\":\"{key}\"}}}},\"cid\":\"{}\",\"nullified\":false,\
                 \"createdAt\":\"2026-01-0{}T00:00:00.000Z\"}}\n",
                text(account + 1_000_000, 24),
                account % 70,
                cid(number),
                operation + 1
            ));
        }
    }
    // Later operations first for some.
    let middle = lines.len() / 3;
    lines.rotate_left(middle);
    lines.extend_from_within(..lines.len() / 50);
    lines.concat()
}

#[test]
fn what_memory_has_no_room_for_comes_out_the_same() {
    let place = Place::new();
    place.put("ops.jsonl", many(30_000));
    fs::create_dir(place.path("temp")).unwrap();
    let ops = ["--ops", "ops.jsonl"];
    let in_memory = place.build(&ops, b"");
    let first = place.index();
    let on_disk = place.build(&[&ops[..], &["--memory", "1", "--temp", "temp"]].concat(), b"");
    let second = place.index();
    assert_eq!(in_memory["spilled_bytes"], 0);
    assert!(on_disk["spilled_bytes"].as_u64().unwrap() > 2_000_000, "{on_disk}");
    assert_eq!(fs::read_dir(place.path("temp")).unwrap().count(), 0);
    for field in ["accounts", "operations", "repeated", "nullified", "accounts_rotated", "hosts"] {
        assert_eq!(in_memory[field], on_disk[field], "{field}");
    }
    assert_eq!((&on_disk["accounts"], &on_disk["operations"]), (&json!(30_000), &json!(36_000)));
    assert_eq!((&on_disk["accounts_rotated"], &on_disk["nullified"]), (&json!(3000), &json!(0)));
    assert_eq!(first.iter().count(), 30_000);
    for (did, one) in first.iter() {
        let other = second.entry(&did).unwrap();
        assert_eq!(
            (one.key(), one.status(), one.pds()),
            (other.key(), other.status(), other.pds())
        );
        assert!(one.history().eq(other.history()));
    }
}

/// As on a full disk: a write behind that many blocks of 512 bytes is refused.
fn with_file_limit(place: &Place, blocks: u32, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_index-build"))
        .args(args)
        .current_dir(place.0.path())
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_said_and_leaves_the_index_that_was_there() {
    let place = Place::new();
    place.build(&[], EXPORT.as_bytes());
    let before = fs::read(place.path("did.idx")).unwrap();
    place.put("ops.jsonl", many(30_000));
    let args = ["--ops", "ops.jsonl", "--out", "did.idx", "--force", "--memory"];
    for (memory, said) in [
        ("1", "--temp names another folder, --memory gives more memory: "),
        ("1G", "did.idx: cannot take room for did.idx.tmp: "),
    ] {
        let output = with_file_limit(&place, 2000, &[&args[..], &[memory]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(said), "{output:?}");
        assert_eq!(fs::read(place.path("did.idx")).unwrap(), before);
        assert!(!place.path("did.idx.tmp").exists());
    }
    let output = place.run(&["--out", "x.idx", "--temp", "nowhere"], EXPORT.as_bytes());
    assert_eq!(stderr(&output), "index-build: nowhere: is no folder\n");
}

#[test]
fn kill_9_while_operations_lie_on_the_disk_leaves_nothing_of_them() {
    let place = Place::new();
    place.build(&[], EXPORT.as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_index-build"))
        .args(["--out", "did.idx", "--force", "--memory", "1", "--temp", "."])
        .current_dir(place.0.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // All of it is read, and it waits for more.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(many(30_000).as_bytes()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let names: BTreeSet<_> =
        fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, place.files());
    assert_eq!(place.index().info().entries, 120);
}

#[test]
fn lines_of_any_length_are_told_apart() {
    let place = Place::new();
    let lines: Vec<&str> = EXPORT.split_inclusive('\n').collect();
    // Around the limit of a line, with lines before, between and behind.
    for length in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let long = "x".repeat(length) + "\n";
        let text = [lines[0], &long, lines[1], &long, &long, lines[2], long.trim_end()].concat();
        let args = ["--out", "did.idx", "--json", "--force"];
        let output = place.run(&args, text.as_bytes());
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["lines"], &summary["lines_bad"]), (&json!(7), &json!(4)));
        let cause = if length > 1 << 20 { "over the limit" } else { "not an operation" };
        for number in [2, 4, 5, 7] {
            let said = format!("standard input: line {number}: ");
            let line = stderr(&output).lines().find(|line| line.contains(&said)).unwrap();
            assert!(line.contains(cause), "{line}");
        }
        assert_eq!(place.index().info().entries, 3);
    }
}
