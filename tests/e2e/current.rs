//! The index, kept current: plc-fetch and index-build joined by a pipe, whatever is killed.

use std::path::Path;
use std::time::Duration;

use e2e::{Chain, Sim, json_lines, wait_until};
use serde_json::Value;

use crate::text;

/// Accounts whose keys change in all ways, recovery included.
const LIFE: [&str; 8] = [
    "--accounts",
    "40",
    "--rate",
    "300",
    "--start",
    "now",
    "--mix",
    "all=0,rotate=200,handle=60,remove=5,recover=80,birth=10",
];

fn fetch(sim: &Sim, args: &[&str]) -> Vec<u8> {
    let all = [&["--url", &sim.plc, "--allow-private"][..], args].concat();
    Chain::new().stage("plc-fetch", &all).succeed()
}

/// Builds an index and says what of.
fn build(dir: &Path, name: &str, operations: &[u8]) -> Value {
    let (ops, index) = (dir.join("ops.jsonl"), dir.join(name));
    std::fs::write(&ops, operations).unwrap();
    let args = ["--ops", text(&ops), "--out", text(&index), "--json"];
    json_lines(&Chain::new().stage("index-build", &args).succeed()).remove(0)
}

/// What an index says of every account of a directory, a JSON object a line.
fn all_of(index: &Path, operations: &[Value]) -> Vec<Value> {
    let mut dids: Vec<&str> = operations.iter().map(|line| line["did"].as_str().unwrap()).collect();
    dids.sort_unstable();
    dids.dedup();
    let asked = [&[text(index)][..], &dids].concat();
    json_lines(&Chain::new().stage("did-lookup", &asked).succeed())
}

#[test]
fn kill_9_of_either_loses_nothing_and_nullifies_what_is_nullified() {
    let faults = ["--drop-conn", "97", "--plc-late", "0.1"];
    for (interface, more) in [("stream", &[][..]), ("time", &["--plc-old"])] {
        let sim = Sim::start(&[&LIFE[..], &["--events", "3000"], &faults, more].concat());
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("did.idx");
        build(dir.path(), "did.idx", &fetch(&sim, &["--out", "-"]));
        let chain = || {
            let follow =
                ["--url", &sim.plc, "--allow-private", "--follow", "--resume", text(&index)];
            let update = ["--update", text(&index), "--merge-at", "150"];
            Chain::new().stage("plc-fetch", &follow).stage("index-build", &update).start()
        };
        for round in 0..8u64 {
            let mut running = chain();
            std::thread::sleep(Duration::from_millis(500 + 131 * round));
            running.kill((round % 2) as usize);
            // The other ends with it, or the supervisor ends it.
            running.kill(((round + 1) % 2) as usize);
            running.wait();
            Chain::new().stage("did-lookup", &[text(&index), "--verify"]).succeed();
        }
        let mut running = chain();
        let mut operations = Vec::new();
        wait_until("the index has all operations", || {
            let before = operations.len();
            operations = json_lines(&fetch(&sim, &["--out", "-"]));
            let info = ["--info", "--json"];
            let asked = [&[text(&index)][..], &info].concat();
            let info = &json_lines(&Chain::new().stage("did-lookup", &asked).succeed())[0];
            before == operations.len() && info["operations"] == operations.len()
        });
        running.kill(0);
        running.kill(1);
        running.wait();
        let lines: String = operations.iter().map(|line| format!("{line}\n")).collect();
        let built = build(dir.path(), "whole.idx", lines.as_bytes());
        let whole = dir.path().join("whole.idx");
        assert!(built["nullified"].as_u64().unwrap() > 10, "{interface}: {built}");
        let accounts = all_of(&index, &operations);
        for (account, expected) in accounts.iter().zip(all_of(&whole, &operations)) {
            assert_eq!(account, &expected, "{interface}");
        }
    }
}
