use std::collections::{BTreeMap, BTreeSet};

use ipld_core::ipld::Ipld;
use serde_json::Value;

use crate::harness::{Event, Sim, event, get, link, subscribe, text};
use crate::proof::{check, commit};

/// A lively network, whole: what was sent and what is true of it.
fn lively(extra: &[&str]) -> (Sim, Vec<Event>, Vec<Value>) {
    let mix = "create=300,update=90,delete=100,batch=80,rotate=30,deactivate=20,activate=20,stale=3,recover=15";
    let args = [
        &["--accounts", "12", "--events", "900", "--rate", "0", "--mix", mix][..],
        &["--truth", "DIR/truth.jsonl"],
        extra,
    ];
    let sim = Sim::start(&args.concat());
    let mut client = subscribe(sim.host(0), Some(0));
    let events: Vec<Event> = client.take(900).iter().map(|bytes| event(bytes)).collect();
    client.close();
    let truth = sim.truth();
    assert_eq!(truth.len(), 900);
    (sim, events, truth)
}

/// Microseconds of a TID.
fn micros(tid: &str) -> i64 {
    let digit = |c: u8| b"234567abcdefghijklmnopqrstuvwxyz".iter().position(|d| *d == c).unwrap();
    tid.bytes().fold(0, |value, c| value << 5 | digit(c) as i64) >> 10
}

/// The signing keys of an account and the microsecond from which on each was named, without what
/// was nullified.
fn keys_of(sim: &Sim, did: &str) -> Vec<(i64, Option<String>)> {
    let audit = get(sim.plc(), &format!("/{did}/log/audit")).json();
    let key = |line: &Value| {
        let from: jiff::Timestamp = line["createdAt"].as_str().unwrap().parse().unwrap();
        let key = line["operation"]["verificationMethods"]["atproto"].as_str();
        (from.as_microsecond(), key.map(str::to_owned))
    };
    let valid = audit.as_array().unwrap().iter().filter(|line| line["nullified"] == false);
    valid.map(key).collect()
}

#[test]
fn every_verdict_of_the_truth_file_is_true() {
    let of = verdicts(&["--forge", "0.1", "--damage", "0.05"]);
    assert!(of("ok", "ok") > 100);
    assert!(of("bad-signature", "ok") > 10, "keys were rotated");
    assert!(of("bad-signature", "bad-signature") > 0, "hosts kept old keys");
}

#[test]
fn they_are_true_also_where_operations_appear_late_or_share_a_time() {
    let of =
        verdicts(&["--forge", "0.1", "--damage", "0.05", "--plc-late", "0.3", "--plc-crowd", "3"]);
    assert!(of("ok", "ok") > 100);
}

/// Checks all verdicts of a network, and counts those on true events by what they are.
fn verdicts(args: &[&str]) -> impl Fn(&str, &str) -> i32 {
    let (sim, events, truth) = lively(args);
    let mut verdicts = BTreeMap::new();
    let mut history = BTreeMap::new();
    for (number, (event, truth)) in events.iter().zip(&truth).enumerate() {
        assert_eq!(event.seq(), number as i64 + 1);
        assert_eq!(
            (truth["seq"].as_i64(), truth["t"].as_str()),
            (Some(event.seq()), Some(&*event.t))
        );
        assert_eq!(truth["did"], event.did());
        assert_eq!(format!("ws://{}", truth["host"].as_str().unwrap()), sim.host(0));
        if event.t != "#commit" && event.t != "#sync" {
            assert_eq!(truth["current"], Value::Null);
            continue;
        }
        let blocks = event.blocks();
        assert_eq!(truth["rev"], event.text("rev"));
        let keys =
            history.entry(event.did().to_owned()).or_insert_with(|| keys_of(&sim, event.did()));
        let last = keys.last().unwrap().1.as_deref();
        let later = keys.partition_point(|(from, _)| *from <= micros(event.text("rev")));
        let then = keys[later.saturating_sub(1)].1.as_deref();
        let fault = truth["fault"].as_str().unwrap_or("none");
        let signer = truth["key"].as_str().unwrap();
        for (name, key) in [("current", last), ("at_time", then)] {
            let verdict = match (fault, key) {
                ("content", None) => "bad-cid",
                (_, None) => "tombstoned",
                (_, Some(key)) => check(&blocks, key),
            };
            assert_eq!(truth[name], verdict, "{name} of event {}", number + 1);
        }
        let signed = match fault {
            "content" => "bad-cid",
            "high-s" => "high-s",
            "signature" => "bad-signature",
            _ => "ok",
        };
        assert_eq!(check(&blocks, signer), signed);
        let verdict =
            (fault.to_owned(), truth["current"].to_string(), truth["at_time"].to_string());
        *verdicts.entry(verdict).or_insert(0) += 1;
    }
    // Everything that can be said was said.
    let faults: BTreeSet<_> = verdicts.keys().map(|(fault, ..)| fault.as_str()).collect();
    assert_eq!(faults, BTreeSet::from(["none", "signature", "high-s", "stranger", "content"]));
    move |current, at_time| {
        let quoted = |text: &str| format!("\"{text}\"");
        verdicts.get(&("none".to_owned(), quoted(current), quoted(at_time))).copied().unwrap_or(0)
    }
}

#[test]
fn commits_of_an_account_are_a_chain_and_carry_their_records() {
    let (_sim, events, _) = lively(&[]);
    let mut heads: BTreeMap<String, (String, Ipld)> = BTreeMap::new();
    let (mut kinds, mut actions) = (BTreeMap::new(), BTreeMap::new());
    for event in &events {
        *kinds.entry(event.t.clone()).or_insert(0) += 1;
        if event.t != "#commit" && event.t != "#sync" {
            continue;
        }
        let blocks = event.blocks();
        let commit = commit(&blocks);
        let names: Vec<&str> = commit.keys().map(String::as_str).collect();
        assert_eq!(names, ["data", "did", "prev", "rev", "sig", "version"]);
        assert_eq!((text(&commit, "did"), text(&commit, "rev")), (event.did(), event.text("rev")));
        assert_eq!((&commit["version"], &commit["prev"]), (&Ipld::Integer(3), &Ipld::Null));
        let head = (event.text("rev").to_owned(), commit["data"].clone());
        let before = heads.insert(event.did().to_owned(), head.clone());
        if event.t == "#sync" {
            assert_eq!(blocks.blocks.len(), 1);
            assert!(before.is_some_and(|(rev, data)| rev <= head.0 && data == head.1));
            continue;
        }
        assert_eq!(link(&event.body, "commit"), Some(blocks.root));
        let Ipld::List(ops) = &event.body["ops"] else { panic!("no ops") };
        match &before {
            None => {
                assert_eq!((&event.body["since"], ops.len()), (&Ipld::Null, 0));
                assert!(!event.body.contains_key("prevData"));
            }
            Some((rev, data)) => {
                assert_eq!(event.text("since"), rev);
                assert!(*rev < head.0);
                assert_eq!(event.body.get("prevData"), Some(data));
            }
        }
        let have: BTreeSet<_> = blocks.blocks.iter().map(|(cid, _)| *cid).collect();
        assert!(matches!(head.1, Ipld::Link(data) if have.contains(&data)));
        for op in ops {
            let Ipld::Map(op) = op else { panic!("no op") };
            let (cid, prev) = (link(op, "cid"), link(op, "prev"));
            let action = text(op, "action");
            assert_eq!(cid.is_some(), action != "delete");
            assert_eq!(prev.is_some(), action != "create");
            assert!(cid.is_none_or(|cid| have.contains(&cid)), "a record is missing");
            *actions.entry(action.to_owned()).or_insert(0) += 1;
        }
    }
    for kind in ["#commit", "#sync", "#identity", "#account"] {
        assert!(kinds[kind] >= 10, "{kinds:?}");
    }
    for action in ["create", "update", "delete"] {
        assert!(actions[action] >= 50, "{actions:?}");
    }
}

#[test]
fn an_account_is_born_as_on_the_official_server() {
    let sim = Sim::start(&["--accounts", "3", "--events", "12"]);
    let events = subscribe(sim.host(0), Some(0)).take(12);
    let events: Vec<Event> = events.iter().map(|bytes| event(bytes)).collect();
    for birth in events.chunks(4) {
        let kinds: Vec<&str> = birth.iter().map(|event| &*event.t).collect();
        assert_eq!(kinds, ["#identity", "#account", "#commit", "#sync"]);
        assert!(birth.iter().all(|event| event.did() == birth[0].did()));
        assert_eq!(birth[1].body["active"], Ipld::Bool(true));
        assert_eq!(birth[2].text("rev"), birth[3].text("rev"));
        assert_eq!(birth[2].blocks().root, birth[3].blocks().root);
    }
}

#[test]
fn a_true_event_follows_each_forged_copy_of_it() {
    let (_sim, events, truth) = lively(&["--forge", "0.3"]);
    let mut forged = 0;
    for (number, truth) in truth.iter().enumerate() {
        if truth["fault"].is_null() {
            continue;
        }
        forged += 1;
        let (copy, event) = (&events[number], &events[number + 1]);
        assert_eq!(copy.t, event.t);
        assert_eq!((copy.did(), copy.text("rev")), (event.did(), event.text("rev")));
    }
    assert!(forged > 100, "{forged}");
}

#[test]
fn a_seed_and_a_start_time_decide_every_byte() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{}", free());
    let run = |seed: &str| {
        let sim = Sim::start(
            &[
                &["--listen", &listen, "--seed", seed, "--start-time", "2026-01-01T00:00:00Z"][..],
                &["--accounts", "7", "--records", "5", "--events", "200", "--backfill", "80"],
                &["--rate", "0", "--forge", "0.1"],
            ]
            .concat(),
        );
        let mut client = subscribe(sim.host(0), Some(0));
        (client.take(200), get(sim.plc(), "/export").body)
    };
    let first = run("5");
    assert!(first == run("5"));
    let other = run("6");
    assert_ne!(first.0, other.0);
    assert_ne!(first.1, other.1);
}
