//! The directory as it is asked: its limits, its two interfaces, its stream, its faults.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use e2e::{Chain, Sim, json_lines, wait_until};
use serde_json::Value;

use crate::text;

/// Operations in a page here, so that few of them are many requests.
const PAGE: u64 = 4;

/// A directory of so many operations, and no other life.
fn settled(operations: u64, args: &[&str]) -> Sim {
    let accounts = operations.to_string();
    let (page, records) = (PAGE.to_string(), ["--records", "1", "--events", "0"]);
    let all = [&["--accounts", &accounts, "--plc-page", &page][..], &records, args].concat();
    Sim::start(&all)
}

fn fetch(sim: &Sim, args: &[&str]) -> Vec<u8> {
    let all = [&["--url", &sim.plc, "--allow-private"][..], args].concat();
    Chain::new().stage("plc-fetch", &all).succeed()
}

fn cids(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().map(|line| line["cid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_limit_is_found_out_kept_to_and_remembered() {
    // They wait, most of the time: all at once.
    std::thread::scope(|scope| {
        for (limit, args) in [
            ("50/1s", &[][..]),
            ("90/2s", &["--plc-retry-after", "date", "--plc-old"]),
            ("40/1s,5s:120/1s", &[]),
            ("150/2s,5s:60/2s", &["--plc-retry-after", "none"]),
        ] {
            scope.spawn(move || keeps_to(limit, args));
        }
    });
}

/// Fetches under a limit, twice.
fn keeps_to(limit: &str, args: &[&str]) {
    let operations = 600 * PAGE;
    let sim = settled(operations, &[&["--plc-limit", limit][..], args].concat());
    let dir = tempfile::tempdir().unwrap();
    let ops = dir.path().join("ops");
    let began = Instant::now();
    let report = fetch(&sim, &["--out", text(&ops), "--json"]);
    let took = began.elapsed();
    let report = &json_lines(&report)[0];
    assert_eq!(report["operations"], operations, "{limit}");
    let (asked, refused) =
        (report["requests"].as_u64().unwrap(), report["requests_refused"].as_u64().unwrap());
    // By time each page begins with the last operation of the one before.
    assert!(asked - refused <= operations / (PAGE - 1) + 2, "{limit}: {report}");
    // Of some 600 requests each is 0.17 %.
    assert!(refused * 100 <= asked, "{limit}: {report}");
    // The windows that the limit comes to at its least are about 15 s; a machine that is busy
    // answers slowly besides.
    assert!(took < Duration::from_secs(60), "{limit}: {took:?} {report}");
    // The next run begins with it, and with what is left of the window.
    let report = fetch(&sim, &["--out", text(&ops), "--json"]);
    let report = &json_lines(&report)[0];
    assert_eq!(report["operations"], 0, "{limit}");
    let (asked, refused) =
        (report["requests"].as_u64().unwrap(), report["requests_refused"].as_u64().unwrap());
    assert!(refused * 100 <= asked, "{limit}: {report}");
}

#[test]
fn a_limit_that_the_headers_tell_is_never_met() {
    let sim = settled(300 * PAGE, &["--plc-limit", "60/1s,2s:100/1s", "--plc-headers"]);
    let report = fetch(&sim, &["--out", "-"]);
    assert_eq!(json_lines(&report).len() as u64, 300 * PAGE);
    let dir = tempfile::tempdir().unwrap();
    let report = fetch(&sim, &["--out", text(&dir.path().join("ops")), "--json"]);
    assert_eq!(json_lines(&report)[0]["requests_refused"], 0);
}

#[test]
fn both_interfaces_give_the_same_operations_in_their_forms() {
    let args = ["--plc-late", "0.2", "--plc-crowd", "3"];
    let sim = Sim::start(&[&LIFE[..], &["--events", "800", "--backfill", "800"], &args].concat());
    let old = Sim::start(
        &[&LIFE[..], &["--events", "800", "--backfill", "800", "--plc-old"], &args].concat(),
    );
    let by_number = json_lines(&fetch(&sim, &["--out", "-"]));
    let by_time = json_lines(&fetch(&old, &["--out", "-"]));
    assert!(by_number.len() > 200, "{}", by_number.len());
    assert_eq!(by_number.len(), cids(&by_number).len(), "some came twice");
    assert_eq!(by_time.len(), cids(&by_time).len(), "some came twice");
    assert!(by_number.iter().all(|line| line["seq"].is_u64() && line["nullified"].is_null()));
    assert!(by_time.iter().all(|line| line["seq"].is_null() && line["nullified"].is_boolean()));
    assert!(by_time.iter().any(|line| line["nullified"] == true));
}

/// Accounts whose keys change in all ways.
const LIFE: [&str; 4] =
    ["--accounts", "30", "--mix", "all=0,rotate=200,handle=60,remove=5,recover=80,birth=10"];

#[test]
fn a_living_directory_is_followed_through_kills_cuts_and_outages() {
    let faults = ["--drop-conn", "23", "--plc-window", "40", "--plc-outage", "3s-4s"];
    for (interface, more) in [("stream", &["--plc-late", "0.1"][..]), ("time", &["--plc-old"])] {
        let life = [&LIFE[..], &["--events", "3000", "--rate", "250", "--start", "now"]].concat();
        let sim = Sim::start(&[&life[..], &faults, more].concat());
        let dir = tempfile::tempdir().unwrap();
        let ops = dir.path().join("ops");
        let follow = ["--url", &sim.plc, "--allow-private", "--out", text(&ops), "--follow"];
        let follow = [&follow[..], &["--retry", "20ms", "--file-lines", "300"]].concat();
        for round in 0..8 {
            let mut running = Chain::new().stage("plc-fetch", &follow).start();
            std::thread::sleep(Duration::from_millis(700 + 97 * round));
            running.kill(0);
            running.wait();
        }
        // Until nothing comes any more.
        let mut running = Chain::new().stage("plc-fetch", &follow).start();
        let everything = || json_lines(&fetch(&sim, &["--out", "-"]));
        let stored = || json_lines(&zstdcat(&ops));
        let mut last = 0;
        wait_until("the end of the events", || {
            let (before, now) = (last, everything().len());
            last = now;
            std::thread::sleep(Duration::from_millis(1500));
            before == now
        });
        wait_until("the last operation", || stored().len() >= last);
        running.signal(0, nix::sys::signal::Signal::SIGTERM);
        let ended = running.wait();
        assert_eq!(ended[0].code, Some(0), "{ended:?}");
        let (stored, everything) = (stored(), everything());
        assert_eq!(stored.len(), cids(&stored).len(), "{interface}: some came twice");
        assert!(cids(&stored) == cids(&everything), "{interface}: some were lost");
    }
}

/// All that is in the files of a folder.
fn zstdcat(folder: &std::path::Path) -> Vec<u8> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(".jsonl.zst"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let packed = std::fs::read(file).unwrap();
        let mut rest = &packed[..];
        // Whole frames: the last one may be under way.
        while let Ok(bytes @ 1..) = zstd::zstd_safe::find_frame_compressed_size(rest) {
            let Some(frame) = rest.get(..bytes) else { break };
            all.extend(zstd::decode_all(frame).unwrap());
            rest = &rest[bytes..];
        }
    }
    all
}
