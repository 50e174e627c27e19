//! The archive's promises, as processes: kills of whoever writes it, flipped bits in each of its
//! files, and an old archive written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Chain, Sim, json_lines, tool};
use serde_json::Value;

use crate::{Refnet, text};

/// The capture, proved, as a file of frames.
struct Proved {
    refnet: Refnet,
    frames: PathBuf,
}

impl Proved {
    fn make() -> Proved {
        let refnet = Refnet::start(&[]);
        let (index, frames) = (refnet.index(), refnet.path("proved.frames"));
        Chain::new()
            .stage("pds-tap", &refnet.tap())
            .stage("sig-verify", &["--index", &index, "--out", text(&frames)])
            .succeed();
        Proved { refnet, frames }
    }

    /// The first events of it alone.
    fn first(count: &str) -> Proved {
        let mut proved = Proved::make();
        let (all, frames) = (proved.path("all"), proved.refnet.path("first.frames"));
        run("archive-pack", &["--out", &all, "--level", "1", text(&proved.frames)]);
        run("archive-cat", &[&all, "--count", count, "--out", text(&frames)]);
        proved.frames = frames;
        proved
    }

    fn path(&self, name: &str) -> String {
        text(&self.refnet.path(name)).to_owned()
    }
}

/// Small segments: several groups of them.
const SMALL: [&str; 4] = ["--segment-events", "70", "--level", "1"];

fn run(name: &str, args: &[&str]) -> Vec<u8> {
    Chain::new().stage(name, args).succeed()
}

/// Starts a tool and kills it some milliseconds later, if it is not done by then.
fn kill_after(name: &str, args: &[&str], wait_ms: u64) {
    let mut command = tool(name);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(wait_ms));
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}

/// What an archive gives, but for when its marks were written.
fn contents(archive: &str) -> Vec<Value> {
    let mut lines = json_lines(&run("archive-cat", &[archive, "--json"]));
    for line in &mut lines {
        if line["kind"] == "mark" {
            line["time"] = Value::Null;
            line["time_ns"] = Value::Null;
        }
    }
    lines
}

fn events(archive: &str) -> Vec<Value> {
    contents(archive).into_iter().filter(|line| line["kind"] == "event").collect()
}

/// Accounts that have commits.
fn accounts(events: &[Value]) -> Vec<String> {
    let commits = events.iter().filter(|line| line["type"] == "#commit");
    let mut dids: Vec<String> =
        commits.map(|line| line["did"].as_str().unwrap().to_owned()).collect();
    dids.sort();
    dids.dedup();
    dids
}

#[test]
fn whoever_is_killed_packer_compactor_or_takedown_the_archive_ends_the_same() {
    let proved = Proved::first("2200");
    let frames = text(&proved.frames);
    let (clean, killed) = (proved.path("clean"), proved.path("killed"));
    run("archive-pack", &[&["--out", &clean], &SMALL[..], &[frames]].concat());
    let dids = accounts(&events(&clean));
    assert!(dids.len() > 10, "{}", dids.len());
    let mut moment = 7;
    for did in dids.iter().take(8) {
        // Moments spread over the work, the same in every run.
        moment = (moment * 37 + 11) % 211;
        kill_after("archive-pack", &[&["--out", &killed], &SMALL[..], &[frames]].concat(), moment);
        if Path::new(&killed).join("manifest").exists() {
            kill_after("archive-forget", &[&killed, did, "--reason", "a test"], moment % 9);
            kill_after("archive-compact", &[&killed, "--level", "1", "--grace", "0s"], moment);
        }
    }
    run("archive-pack", &[&["--out", &killed], &SMALL[..], &[frames]].concat());
    run("archive-forget", &[&killed, &dids[9], "--reason", "a test"]);
    run("archive-compact", &[&killed, "--level", "1", "--grace", "0s"]);
    // What was taken down before the kill is what the list says.
    let listed = run("archive-forget", &[&killed, "--list"]);
    let listed = String::from_utf8(listed).unwrap();
    for line in listed.lines() {
        let did = line.split(' ').nth(2).unwrap();
        run("archive-forget", &[&clean, did, "--reason", "a test"]);
    }
    run("archive-compact", &[&clean, "--level", "6", "--grace", "0s"]);
    assert!(events(&killed) == events(&clean), "other events, or others that were forgotten");
    for archive in [&killed, &clean] {
        run("archive-check", &[archive]);
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_named_or_harmless_and_what_can_be_made_again_is() {
    let proved = Proved::first("700");
    let archive = proved.path("archive");
    // Two groups and an open log.
    let pack = ["--out", &archive, "--segment-events", "40", "--level", "1"];
    run("archive-pack", &[&pack[..], &[text(&proved.frames)]].concat());
    let whole = events(&archive);
    run("archive-forget", &[&archive, &accounts(&whole)[0], "--reason", "a test"]);
    let whole = events(&archive);
    for kind in files(&archive).keys() {
        for part in [0.3, 0.7, 0.999] {
            // What is made again may have another name.
            let path = &files(&archive)[kind];
            let good = std::fs::read(path).unwrap();
            let mut bytes = good.clone();
            let Some(byte) = bytes.get_mut((good.len() as f64 * part) as usize) else { continue };
            *byte ^= 0x10;
            std::fs::write(path, &bytes).unwrap();
            let (output, ended) = Chain::new().stage("archive-cat", &[&archive, "--json"]).run();
            let back: Vec<Value> =
                json_lines(&output).into_iter().filter(|line| line["kind"] == "event").collect();
            let code = ended[0].code;
            assert!(code == Some(0) || code == Some(1), "{kind} {part}: {ended:?}");
            if back != whole {
                assert!(code == Some(1) && !ended[0].stderr.is_empty(), "{kind} {part}: {ended:?}");
                assert!(back.iter().all(|line| whole.contains(line)), "{kind} {part}: false");
            }
            // Primary bytes are there once; what follows from them is made again.
            if !kind.starts_with("seg") && !kind.starts_with("log") && kind != "middle" {
                let (_, ended) = Chain::new().stage("archive-check", &[&archive, "--repair"]).run();
                assert_eq!(ended[0].code, Some(0), "{kind} {part}: {ended:?}");
                assert!(events(&archive) == whole, "{kind} {part}");
                run("archive-cat", &[&archive, "--live", "--json"]);
            } else {
                std::fs::write(path, &good).unwrap();
            }
        }
    }
}

/// A file of each kind.
fn files(archive: &str) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(archive).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // Of segments one at the beginning of a group, and one in its middle.
        let kind = name.split(['-', '.']).next().unwrap().to_owned();
        let middle = kind == "seg" && name.contains("05");
        files.insert(
            if middle { "middle".into() } else { name.get(..9).unwrap_or(name).into() },
            path,
        );
    }
    files
}

#[test]
fn an_old_archive_through_a_pipe_is_an_equal_new_one() {
    let proved = Proved::make();
    let (old, new) = (proved.path("old"), proved.path("new"));
    let frames = text(&proved.frames);
    run("archive-pack", &[&["--out", &old], &SMALL[..], &[frames]].concat());
    // What was forgotten stays so.
    run("archive-compact", &[&old, "--level", "1"]);
    Chain::new()
        .stage("archive-cat", &[&old])
        .stage("archive-pack", &["--out", &new, "--segment-bytes", "1MiB", "--level", "3"])
        .succeed();
    let contents = [contents(&old), contents(&new)];
    assert!(contents[0].iter().any(|line| line["kind"] == "mark"));
    assert!(contents[0] == contents[1]);
    run("archive-check", &[&new]);
    // And once more into itself: there is nothing to add.
    let output = Chain::new()
        .stage("archive-cat", &[&old])
        .stage("archive-pack", &["--out", &new, "--json"])
        .succeed();
    assert_eq!(json_lines(&output)[0]["events"], 0);
}

/// A network in which accounts are deleted, its index as it was while they were there, and an archive
/// of all that it did.
fn with_deleted(folder: &Path) -> [String; 2] {
    let path = |name: &str| text(&folder.join(name)).to_owned();
    let (ops, index, archive) = (path("ops.jsonl"), path("did.idx"), path("old"));
    let mix = "all=0,create=60,delete=10,remove=3,birth=3";
    let events = ["--accounts", "12", "--events", "500", "--backfill", "500", "--mix", mix];
    let sim = Sim::start(&events);
    let all = String::from_utf8(run("plc-fetch", &["--url", &sim.plc, "--allow-private"])).unwrap();
    let there = all.lines().filter(|line| !line.contains("plc_tombstone"));
    std::fs::write(&ops, there.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    run("index-build", &["--ops", &ops, "--out", &index]);
    let host = &sim.hosts[0];
    Chain::new()
        .stage(
            "pds-tap",
            &["--allow-private", "--cursor", "0", "--until-idle", "2", "--host", host],
        )
        .stage("sig-verify", &["--index", &index, "--pass-all"])
        .stage("archive-pack", &["--out", &archive, "--level", "1", "--unproved", "--seal"])
        .succeed();
    [archive, index]
}

#[test]
fn what_is_left_of_a_deleted_account_is_proved_by_its_signatures() {
    let folder = tempfile::tempdir().unwrap();
    let [old, index] = with_deleted(folder.path());
    let new = text(&folder.path().join("new")).to_owned();
    let replay = Chain::new()
        .stage("archive-cat", &[&old])
        .stage("sig-verify", &["--index", &index, "--pass-all"]);
    let judge = || -> Vec<Value> {
        let judged = replay.clone().stage("frame-cat", &["--events"]).succeed();
        let signed = |line: &Value| line["type"] == "#commit" || line["type"] == "#sync";
        json_lines(&judged).into_iter().filter(signed).collect()
    };
    let notes = |line: &Value, name: &str| {
        line["notes"].as_array().is_some_and(|notes| notes.iter().any(|note| note == name))
    };
    let before = judge();
    assert!(before.iter().all(|line| line["verdict"] == "ok" && !notes(line, "no-tree")));
    run("archive-compact", &[&old, "--grace", "0s", "--level", "1"]);
    let after = judge();
    assert_eq!(after.len(), before.len());
    let bare = after.iter().filter(|line| notes(line, "no-tree")).count();
    assert!(bare > 10, "{bare} commits have no tree left");
    for line in &after {
        assert_eq!(line["verdict"], "ok", "{line}");
        let redacted = line["flags"].as_array().is_some_and(|flags| !flags.is_empty());
        assert!(redacted || !notes(line, "no-tree"), "{line}");
    }
    // So they go into another archive, which holds as the first one does.
    replay.stage("archive-pack", &["--out", &new, "--level", "1"]).succeed();
    run("archive-check", &[&old]);
    run("archive-check", &[&new]);
}
