//! Thousands of hosts in one thread: few here, but with all their manners.

use std::collections::BTreeMap;

use crate::harness::{Sim, event, json_lines, link, subscribe_tls, wait_until};

const LOAD: [&str; 15] = [
    "--load",
    "--tls",
    "--ca-out",
    "DIR/ca.pem",
    "--truth",
    "DIR/truth.jsonl",
    "--accounts",
    "3",
    "--records",
    "10",
    "--backfill",
    "20",
    "--mix",
    "all=0,create=1",
    "--counts",
];
const FIRST: i64 = 65_536;

fn load(args: &[&str]) -> Sim {
    Sim::start(&[&LOAD[..], args].concat())
}

/// Seq of the first event and number of events of each host.
fn truth(sim: &Sim) -> Vec<(i64, usize)> {
    let hosts = sim.truth().into_iter().map(|line| {
        let number = |name: &str| line[name].as_u64().unwrap();
        (number("first") as i64, number("events") as usize)
    });
    hosts.collect()
}

#[test]
fn each_host_sends_made_events_under_its_own_numbers_and_again_to_a_cursor() {
    let mut sim = load(&["--hosts", "3", "--rate", "400", "--events", "200", "--start", "all"]);
    let ca = sim.path("ca.pem");
    let join = |host: usize, cursor| subscribe_tls(sim.host(host), &ca, cursor).unwrap();
    let mut live: Vec<_> = (0..3).map(|host| join(host, None)).collect();
    let truth = truth(&sim);
    assert_eq!(truth.iter().map(|(_, events)| events).sum::<usize>(), 200);
    let mut times = BTreeMap::new();
    for (host, (first, count)) in truth.iter().enumerate() {
        assert_eq!(*first, FIRST);
        let sent = live[host].take(*count);
        for (number, bytes) in sent.iter().enumerate() {
            let event = event(bytes);
            assert_eq!((event.t.as_str(), event.seq()), ("#commit", FIRST + number as i64));
            assert_eq!(event.text("time").len(), "2026-01-01T00:00:00.000000000Z".len());
            *times.entry(event.text("time").to_owned()).or_insert(0) += 1;
            assert!(!event.blocks().blocks.is_empty());
        }
        let half = *count / 2;
        let mut again = join(host, Some(FIRST + half as i64 - 1));
        assert!(again.take(count - half) == sent[half..], "host {host}: other bytes");
        // A cursor from before is told that it asks for more than there is.
        let mut whole = join(host, Some(0));
        assert_eq!(event(&whole.next()).text("name"), "OutdatedCursor");
        assert!(whole.take(*count) == sent);
        let mut future = join(host, Some(FIRST + *count as i64));
        assert_eq!(event(&future.next()).text("error"), "FutureCursor");
        assert!(future.try_next().is_none());
    }
    assert!(times.len() > 20, "the times of the events are those of their sending");
    let (status, rest) = sim.stop();
    let counts = json_lines(&rest).pop().unwrap();
    assert!(status.success());
    assert_eq!((&counts["events_made"], &counts["subscriptions"]), (&200.into(), &12.into()));
    assert!(counts["behind_ns_max"].as_u64().is_some());
}

#[test]
fn connections_break_and_hosts_go_away_and_what_they_had_to_say_is_there_afterwards() {
    let args = ["--rate", "500", "--events", "100", "--drop-conn", "7", "--churn", "20"];
    let sim = load(&[&args[..], &["--away", "50ms"]].concat());
    let ca = sim.path("ca.pem");
    let (mut next, mut parts) = (FIRST, 0);
    while next < FIRST + 100 {
        let cursor = if next > FIRST { Some(next - 1) } else { Some(0) };
        // Away, it lets nobody in.
        let Ok(mut client) = subscribe_tls(sim.host(0), &ca, cursor) else { continue };
        parts += 1;
        while let Some(bytes) = client.try_next() {
            let event = event(&bytes);
            if event.t == "#info" {
                continue;
            }
            assert_eq!(event.seq(), next);
            next += 1;
            if next == FIRST + 100 {
                break;
            }
        }
    }
    assert!(parts > 100 / 7, "{parts}");
}

#[test]
fn a_reader_that_does_not_read_is_waited_for_and_once_ends_when_it_has_all() {
    let args = ["--rate", "20000", "--events", "5000", "--once"];
    let mut sim = load(&args);
    let mut client = subscribe_tls(sim.host(0), &sim.path("ca.pem"), None).unwrap();
    // All is made while nobody reads, and far more than a socket holds.
    wait_until(|| sim.path("truth.jsonl").exists());
    let seqs: Vec<i64> = client.take(5000).iter().map(|bytes| event(bytes).seq()).collect();
    assert_eq!(seqs, (FIRST..FIRST + 5000).collect::<Vec<_>>());
    client.close();
    let (status, _) = sim.wait();
    assert!(status.success());
}

#[test]
fn each_host_sends_what_its_accounts_did_as_often_as_was_asked_and_the_truth_is_of_each_event() {
    let args = ["--hosts", "3", "--copies", "2", "--rate", "2000", "--start", "all", "--forge"];
    let sim = load(&[&args[..], &["0.3"]].concat());
    let ca = sim.path("ca.pem");
    // It is written before anyone can connect.
    let truth = sim.truth();
    assert!((20..25).contains(&truth.len()), "{}", truth.len());
    assert!(truth.iter().any(|line| line["current"] != "ok"));
    let mut live: Vec<_> =
        (0..3).map(|host| subscribe_tls(sim.host(host), &ca, None).unwrap()).collect();
    for (number, client) in live.iter_mut().enumerate() {
        let name = sim.host(number).strip_prefix("wss://").unwrap();
        let own: Vec<_> = truth.iter().filter(|line| line["host"] == name).collect();
        let sent = client.take(2 * own.len());
        for (line, copies) in own.iter().zip(sent.chunks(2)) {
            let [first, second] = [&copies[0], &copies[1]].map(|bytes| event(bytes));
            let seq = line["seq"].as_i64().unwrap();
            assert_eq!((first.seq(), second.seq()), (seq, seq + 1));
            for event in [&first, &second] {
                assert_eq!(event.text("repo"), line["did"].as_str().unwrap());
                assert_eq!(event.text("rev"), line["rev"].as_str().unwrap());
            }
            assert_eq!(link(&first.body, "commit"), link(&second.body, "commit"));
        }
    }
}

#[test]
fn load_that_can_not_be_served_is_misuse() {
    for args in [
        &["--load"][..],
        &["--load", "--tls", "--ca-out", "DIR/ca.pem", "--rate", "0"],
        &["--load", "--tls", "--ca-out", "DIR/ca.pem", "--listen", "10.0.0.1:0"],
        &["--load", "--tls", "--ca-out", "DIR/ca.pem", "--records", "1"],
        &["--churn", "1"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pds-sim"));
        let output = command.args(args.iter().map(|arg| arg.replace("DIR", place))).output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{args:?}");
    }
}
