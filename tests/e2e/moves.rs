//! Accounts that move between hosts, sleep and come back, and hosts that send commits of the old
//! form and skip numbers: through a tap and a verifier that asks the directory and the hosts.

use std::collections::BTreeMap;

use e2e::{Chain, Sim, json_lines};

use crate::text;

#[test]
fn accounts_that_move_are_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.jsonl");
    let sim = Sim::start(&[
        "--hosts",
        "3",
        "--accounts",
        "12",
        "--events",
        "700",
        "--backfill",
        "700",
        "--seed",
        "5",
        "--mix",
        "all=0,create=60,delete=10,migrate=12,deactivate=4,activate=5,legacy=6,jump=6",
        "--truth",
        text(&truth),
    ]);
    let mut tap = vec!["--allow-private", "--cursor", "0", "--until-idle", "2"];
    sim.hosts.iter().for_each(|host| tap.extend(["--host", host]));
    let verify = ["--resolve", &sim.plc, "--allow-private", "--pass-all"];
    let output = Chain::new()
        .stage("pds-tap", &tap)
        .stage("sig-verify", &verify)
        .stage("frame-cat", &["--events"])
        .succeed();
    let events = json_lines(&output);
    let lines = std::fs::read_to_string(&truth).unwrap();
    let mut truths: BTreeMap<(String, u64), serde_json::Value> = BTreeMap::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = (line["host"].as_str().unwrap().to_owned(), line["seq"].as_u64().unwrap());
        truths.insert(key, line);
    }
    assert_eq!(events.len(), truths.len());
    let (mut moved, mut refused) = (0, BTreeMap::<String, usize>::new());
    for event in &events {
        let key = (event["host"].as_str().unwrap().to_owned(), event["seq"].as_u64().unwrap());
        let truth = &truths[&key];
        let rule = event["rule"].as_str().unwrap_or("ok");
        if truth["fault"] == "migration" {
            moved += 1;
            assert_eq!((&event["verdict"], rule), (&"refused".into(), "rev-mismatch"));
            continue;
        }
        let said = format!("{} {rule}", event["verdict"].as_str().unwrap());
        *refused.entry(said).or_default() += 1;
        // All hosts send their past at once, so what one has said later may come before: then it
        // is stale, and the old host's word on the account is a stranger's.
        let expected: &[&str] = match event["type"].as_str().unwrap() {
            "#commit" | "#sync" => &["ok", "stale-rev", "repeat"],
            _ => &["ok", "wrong-host"],
        };
        assert!(expected.contains(&rule), "{event:#}");
    }
    assert!(moved > 10, "{moved} moves");
    // Some 400 as a rule; how many are stale is up to which host is read first.
    assert!(refused["ok ok"] > 100, "{refused:?}");
}
