use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::{Sim, capture, event, fixture, get, subscribe};

fn replay(extra: &[&str]) -> Sim {
    let (capture, plc) = (fixture("firehose.u32be.zst"), fixture("plc-export.jsonl"));
    Sim::start(&[&["--replay", &capture, "--plc", &plc][..], extra].concat())
}

#[test]
fn a_capture_is_served_byte_for_byte_by_every_host() {
    let recorded = capture("firehose.u32be.zst");
    let sim = replay(&["--hosts", "2"]);
    for host in 0..2 {
        let mut client = subscribe(sim.host(host), Some(0));
        assert!(client.take(recorded.len()) == recorded);
    }
    let after = &recorded[recorded.len() - 10..];
    let cursor = event(&recorded[recorded.len() - 11]).seq();
    assert!(subscribe(sim.host(1), Some(cursor)).take(10) == after);
    let export = std::fs::read_to_string(fixture("plc-export.jsonl")).unwrap();
    assert_eq!(get(sim.plc(), "/export?count=1000").text(), export.trim_end());
}

#[test]
fn a_split_capture_has_each_account_on_one_host_and_loses_nothing() {
    let recorded = capture("firehose.u32be.zst");
    let sim = replay(&["--hosts", "3", "--split", "did"]);
    let mut seen = 0;
    let mut homes: Vec<BTreeSet<String>> = Vec::new();
    for host in 0..3 {
        let listed = sim.xrpc(host, "com.atproto.sync.listRepos?limit=1000").json();
        let listed: BTreeSet<String> = listed["repos"]
            .as_array()
            .unwrap()
            .iter()
            .map(|repo| repo["did"].as_str().unwrap().to_owned())
            .collect();
        let own: Vec<&Vec<u8>> =
            recorded.iter().filter(|bytes| listed.contains(event(bytes).did())).collect();
        let served = subscribe(sim.host(host), Some(0)).take(own.len());
        assert!(served.iter().eq(own));
        assert!(homes.iter().all(|other| other.is_disjoint(&listed)));
        seen += served.len();
        homes.push(listed);
    }
    assert_eq!(seen, recorded.len());
}

#[test]
fn a_pace_is_kept_from_the_first_subscriber_on() {
    let recorded = capture("firehose.u32be.zst");
    let sim = replay(&["--speed", "400", "--backfill", "25"]);
    let begun = Instant::now();
    // What is backfill is there; the rest is live, and none of it is missed.
    let mut client = subscribe(sim.host(0), None);
    assert!(client.take(200) == recorded[25..225]);
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    assert!(subscribe(sim.host(0), Some(0)).take(225) == recorded[..225]);
}

#[test]
fn the_recorded_pace_can_be_multiplied() {
    let recorded = capture("firehose.u32be.zst");
    let sent = |number: usize| {
        let time: jiff::Timestamp = event(&recorded[number]).text("time").parse().unwrap();
        time
    };
    let took = sent(300).duration_since(sent(0)).unsigned_abs();
    let sim = replay(&["--realtime", "20"]);
    let begun = Instant::now();
    assert!(subscribe(sim.host(0), None).take(301) == recorded[..301]);
    assert!(begun.elapsed() >= took.div_f64(20.5), "{:?} of {took:?}", begun.elapsed());
}

#[test]
fn recorded_accounts_are_listed_with_their_last_commit() {
    let sim = replay(&[]);
    let recorded = capture("firehose.u32be.zst");
    let last = recorded.iter().rev().map(|bytes| event(bytes)).find(|event| event.t == "#commit");
    let last = last.unwrap();
    let commit = crate::harness::link(&last.body, "commit").unwrap().to_string();
    let query = format!("com.atproto.sync.getLatestCommit?did={}", last.did());
    let answer = sim.xrpc(0, &query).json();
    assert_eq!((&answer["cid"], &answer["rev"]), (&commit.into(), &last.text("rev").into()));
    // Their records are not known.
    let repo = sim.xrpc(0, &format!("com.atproto.sync.getRepo?did={}", last.did()));
    assert_eq!((repo.status, &repo.json()["error"]), (400, &"RepoNotFound".into()));
}
