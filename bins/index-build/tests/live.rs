//! `index-build --update`: an index kept current, whatever happens to whoever keeps it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

#[path = "live/directory.rs"]
mod directory;
#[path = "live/faults.rs"]
mod faults;
#[path = "live/place.rs"]
mod place;
#[path = "live/readers.rs"]
mod readers;

use serde_json::json;

use directory::{Dice, as_they_come, did, line, operation, operations, text};
use place::{Place, states, stderr};

/// When the last operation of these tests' own directories is accepted, or thereabouts.
const NOW_MS: u64 = 1_785_000_000_000;
const HOUR_MS: u64 = 3600 * 1000;

#[test]
fn any_order_and_any_split_give_the_index_of_all_operations() {
    for seed in 0..8 {
        let mut dice = Dice::new(seed);
        let (accounts, count) = (5 + dice.below(40), 100 + dice.below(400));
        let lines = operations(&mut dice, accounts, count);
        let come = as_they_come(&mut dice, &lines);
        let place = Place::new();
        let mut at = dice.below(come.len());
        place.build("did.idx", &text(&come[..at]));
        let (mut merges, merge_at) = (0, (1 + dice.below(60)).to_string());
        while at < come.len() {
            let to = at + 1 + dice.below((come.len() - at).min(100));
            let summary = place.update(&["--merge-at", &merge_at], &text(&come[at..to]));
            merges += summary["merges"].as_u64().unwrap();
            at = to;
        }
        println!("{accounts} accounts, {count} operations, {merges} merges");
        place.assert_is_of(&text(&come));
        // All of it again changes nothing.
        let before = states(&place.index("did.idx"));
        let summary = place.update(&[], &text(&lines));
        assert_eq!((&summary["operations"], &summary["states"]), (&json!(0), &json!(0)));
        assert_eq!(states(&place.index("did.idx")), before);
    }
}

#[test]
fn an_empty_index_can_be_filled() {
    let mut dice = Dice::new(77);
    let lines = operations(&mut dice, 30, 400);
    let place = Place::new();
    place.build("did.idx", "");
    let summary = place.update(&["--merge-at", "60"], &text(&lines));
    assert_eq!(summary["operations"], 400);
    assert!(summary["merges"].as_u64().unwrap() >= 1);
    place.assert_is_of(&text(&lines));
}

#[test]
fn nullification_reaches_behind_what_the_index_was_built_of() {
    let keys = directory::keys();
    let at = |hours: u64| NOW_MS + hours * HOUR_MS;
    let old = [
        line(1, 0, None, at(0), operation(&keys[0], "a.example")),
        line(1, 1, Some(0), at(100), operation(&keys[1], "b.example")),
        line(1, 2, Some(1), at(200), operation(&keys[2], "thief.example")),
        line(1, 3, Some(2), at(210), operation(&keys[3], "thief.example")),
    ];
    let place = Place::new();
    place.build("did.idx", &text(&old));
    // It goes back to what is older than the window, past two that the index was built of.
    let back = line(1, 4, Some(1), at(260), operation(&keys[4], "c.example"));
    place.update(&[], &back.text);
    let index = place.index("did.idx");
    let entry = index.entry(&did(1)).unwrap();
    assert_eq!(entry.pds(), Some("c.example"));
    let history: Vec<u64> = entry.history().map(|period| period.from_ms).collect();
    assert_eq!(history, [at(0), at(100), at(260)]);
    place.assert_is_of(&text(&[&old[..], &[back]].concat()));
    // A tombstone that is taken back.
    let given_up = line(1, 5, Some(4), at(270), json!({ "type": "plc_tombstone" }));
    place.update(&[], &given_up.text);
    assert_eq!(place.index("did.idx").entry(&did(1)).unwrap().status().name(), "tombstoned");
    let again = line(1, 6, Some(4), at(300), operation(&keys[4], "d.example"));
    place.update(&[], &again.text);
    let index = place.index("did.idx");
    let entry = index.entry(&did(1)).unwrap();
    assert_eq!((entry.status().name(), entry.pds()), ("active", Some("d.example")));
    assert_eq!(entry.history().count(), 3);
}

#[test]
fn what_cannot_be_is_left_out_and_harms_nothing() {
    let keys = directory::keys();
    let place = Place::new();
    let first = line(1, 0, None, NOW_MS, operation(&keys[0], "a.example"));
    let later = line(2, 0, None, NOW_MS + 200 * HOUR_MS, operation(&keys[0], "a.example"));
    place.build("did.idx", &text(&[first, later]));
    let before = states(&place.index("did.idx"));
    // A second first operation, one from the next century, one from before the window.
    let second = line(1, 1, None, NOW_MS + 190 * HOUR_MS, operation(&keys[1], "b.example"));
    let ahead = line(2, 1, Some(0), 4_000_000_000_000, operation(&keys[1], "b.example"));
    let old = line(1, 2, Some(0), NOW_MS + HOUR_MS, operation(&keys[1], "b.example"));
    let bad = "{\"did\":\"did:plc:x\"}\n\n";
    let input = [&second.text, bad, &ahead.text, &old.text].map(|text| text.to_owned()).concat();
    let output = place.run(&["--update", "did.idx", "--json"], &input);
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (field, number) in
        [("ahead", 1), ("old", 1), ("lines_bad", 1), ("states", 0), ("lines", 5), ("accounts", 2)]
    {
        assert_eq!(summary[field], number, "{field}: {summary}");
    }
    let said: Vec<&str> = stderr(&output).lines().collect();
    assert!(said[0].starts_with("index-build: standard input: line 2: "), "{said:?}");
    assert!(said[1].contains("a day ahead of the clock"), "{said:?}");
    assert_eq!(states(&place.index("did.idx")), before);
    // What comes after it counts.
    let good = line(2, 3, Some(0), NOW_MS + 201 * HOUR_MS, operation(&keys[2], "c.example"));
    place.update(&[], &good.text);
    assert_eq!(place.index("did.idx").entry(&did(2)).unwrap().pds(), Some("c.example"));
}

#[test]
fn the_operations_on_disk_are_caught_up_with_and_not_read_from_the_beginning() {
    let mut dice = Dice::new(5);
    let lines = operations(&mut dice, 40, 600);
    let place = Place::new();
    for (number, part) in lines.chunks(60).enumerate() {
        let packed = zstd::bulk::compress(text(part).as_bytes(), 3).unwrap();
        place.put(&format!("ops/{number:06}.jsonl.zst"), packed);
    }
    place.build("did.idx", &text(&lines[..300]));
    let summary = place.update(&["--ops", "ops"], "");
    assert_eq!(summary["operations"], 300);
    // 72 hours are some 70 operations.
    assert!(summary["lines"].as_u64().unwrap() < 500, "{summary}");
    place.assert_is_of(&text(&lines));
    let summary = place.update(&["--ops", "ops"], "");
    assert_eq!(summary["operations"], 0);
    assert!(summary["lines"].as_u64().unwrap() < 200, "{summary}");
    // An empty folder is one that plc-fetch has not written to yet.
    std::fs::create_dir(place.path("none")).unwrap();
    place.update(&["--ops", "none"], "");
}

#[test]
fn an_index_that_came_without_its_log_needs_the_operations_on_disk() {
    let mut dice = Dice::new(6);
    let lines = operations(&mut dice, 40, 500);
    let place = Place::new();
    place.build("first.idx", &text(&lines[..400]));
    std::fs::copy(place.path("first.idx"), place.path("did.idx")).unwrap();
    let output = place.run(&["--update", "did.idx"], &text(&lines[400..]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("its log is missing"), "{output:?}");
    assert!(stderr(&output).contains("--ops ops/"), "{output:?}");
    place.put("ops/1.jsonl", text(&lines[..420]));
    let summary = place.update(&["--ops", "ops"], &text(&lines[420..]));
    assert_eq!(summary["operations"], 100, "{summary}");
    place.assert_is_of(&text(&lines));
    place.update(&[], "");
    place.assert_is_of(&text(&lines));
}

#[test]
fn misuse_is_told_apart() {
    let place = Place::new();
    let code = |args: &[&str]| place.run(args, "").status.code();
    assert_eq!(code(&["--update", "did.idx"]), Some(1), "there is none");
    place.build("did.idx", "");
    place.put("x.idx", "{}");
    for args in [
        &["--update", "x.idx"][..],
        &["--update", "did.idx", "--out", "other.idx"],
        &["--update", "did.idx", "--force"],
        &["--update", "did.idx", "--merge-at", "0"],
        &["--out", "y.idx", "--merge-at", "7"],
    ] {
        assert_eq!(code(args), Some(2), "{args:?}");
    }
    // Both may come from the environment.
    let mut command = place.command(&["--update", "did.idx"]);
    command.env("SOVEREIGN_INDEX", "did.idx");
    assert!(place::run(command, "").status.success());
    let strict = place.run(&["--update", "did.idx", "--strict"], "{}\n");
    assert_eq!(strict.status.code(), Some(1));
    assert!(stderr(&strict).starts_with("index-build: did.idx: standard input: line 1: "));
}
