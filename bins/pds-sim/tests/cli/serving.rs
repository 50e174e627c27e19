use std::process::Command;

use crate::harness::{Sim, event, fixture, subscribe, subscribe_tls};

fn seqs(events: &[Vec<u8>]) -> Vec<i64> {
    events.iter().map(|bytes| event(bytes).seq()).collect()
}

#[test]
fn a_cursor_is_exclusive_and_without_one_a_subscriber_joins_live() {
    let args = ["--accounts", "5", "--events", "60", "--backfill", "40", "--rate", "0"];
    let sim = Sim::start(&args);
    // The live events begin with the first subscriber, so this one has them all.
    let mut live = subscribe(sim.host(0), None);
    assert_eq!(seqs(&live.take(20)), (41..=60).collect::<Vec<_>>());
    assert_eq!(seqs(&subscribe(sim.host(0), Some(0)).take(60)), (1..=60).collect::<Vec<_>>());
    assert_eq!(seqs(&subscribe(sim.host(0), Some(57)).take(3)), [58, 59, 60]);
}

#[test]
fn a_cursor_above_the_last_seq_is_an_error_and_the_end() {
    let args = ["--accounts", "5", "--events", "24", "--backfill", "20", "--rate", "0"];
    let sim = Sim::start(&[&args[..], &["--start", "all"]].concat());
    let mut client = subscribe(sim.host(0), Some(21));
    let error = event(&client.next());
    assert_eq!((&*error.t, error.text("error")), ("-1", "FutureCursor"));
    assert!(client.try_next().is_none());
}

#[test]
fn the_last_seq_is_a_cursor_like_any_other() {
    let args = ["--accounts", "5", "--events", "24", "--backfill", "20", "--rate", "0"];
    let sim = Sim::start(&args);
    assert_eq!(seqs(&subscribe(sim.host(0), Some(20)).take(4)), [21, 22, 23, 24]);
}

#[test]
fn a_cursor_below_the_window_is_told_and_gets_the_window() {
    let args = ["--accounts", "5", "--events", "200", "--backfill", "200", "--window", "50"];
    let sim = Sim::start(&args);
    let mut client = subscribe(sim.host(0), Some(0));
    let info = event(&client.next());
    assert_eq!((&*info.t, info.text("name")), ("#info", "OutdatedCursor"));
    assert_eq!(seqs(&client.take(50)), (151..=200).collect::<Vec<_>>());
    let mut client = subscribe(sim.host(0), Some(150));
    assert_eq!(seqs(&client.take(50)), (151..=200).collect::<Vec<_>>());
}

#[test]
fn a_slow_subscriber_is_waited_for_and_loses_nothing() {
    // Far more than the sockets between them hold, and a window that would forget it.
    let args = ["--accounts", "5", "--records", "9", "--events", "6000", "--rate", "0"];
    let more = ["--window", "10", "--truth", "DIR/truth.jsonl"];
    let sim = Sim::start(&[&args[..], &more].concat());
    let mut slow = subscribe(sim.host(0), Some(0));
    // Everything is made before it reads a word.
    assert_eq!(sim.truth().len(), 6000);
    assert_eq!(seqs(&slow.take(6000)), (1..=6000).collect::<Vec<_>>());
}

#[test]
fn connections_are_reset_after_so_many_events_and_cursors_bring_the_rest() {
    let args = ["--accounts", "10", "--events", "300", "--rate", "0", "--drop-conn", "70"];
    let mut sim = Sim::start(&[&args[..], &["--counts", "--start", "now"]].concat());
    let mut had: Vec<i64> = Vec::new();
    let mut connections = 0;
    while had.len() < 300 {
        connections += 1;
        let mut client = subscribe(sim.host(0), Some(had.last().copied().unwrap_or(0)));
        let mut new = 0;
        while let Some(bytes) = client.try_next() {
            had.push(event(&bytes).seq());
            new += 1;
            if had.len() == 300 {
                break;
            }
        }
        assert!(new > 0 && new <= 70, "{new} events on a connection");
    }
    assert!(connections >= 5);
    assert_eq!(had, (1..=300).collect::<Vec<_>>());
    let (status, counts) = sim.stop();
    assert!(status.success());
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    assert_eq!(counts["events_made"], 300);
    assert!(counts["resets"].as_u64().unwrap() >= 4, "{counts}");
}

#[test]
fn hosts_speak_tls_under_the_authority_that_was_written_and_under_no_other() {
    let args = ["--hosts", "2", "--listen", "127.0.0.1:0", "--spread", "address", "--tls"];
    let args = [&args[..], &["--ca-out", "DIR/ca.pem", "--accounts", "4", "--events", "30"]];
    let sim = Sim::start(&args.concat());
    let ca = sim.path("ca.pem");
    assert_eq!(sim.ready["ca"].as_str(), ca.to_str());
    assert!(sim.host(1).starts_with("wss://127.0.0.2:"), "{}", sim.host(1));
    for host in 0..2 {
        let mut client = subscribe_tls(sim.host(host), &ca, Some(0)).unwrap();
        assert_eq!(seqs(&client.take(8)), (1..=8).collect::<Vec<_>>());
    }
    let other = Sim::start(&["--tls", "--ca-out", "DIR/ca.pem"]);
    let error = subscribe_tls(sim.host(0), &other.path("ca.pem"), Some(0)).err().unwrap();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
}

#[test]
fn once_ends_when_every_host_was_read_to_its_end_and_left() {
    let args = ["--hosts", "2", "--accounts", "4", "--events", "50", "--rate", "0", "--once"];
    let more = ["--ready-file", "DIR/ready", "--counts", "--truth", "DIR/truth.jsonl"];
    let mut sim = Sim::start(&[&args[..], &more].concat());
    let written = std::fs::read_to_string(sim.path("ready")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), sim.ready);
    let mut clients: Vec<_> = (0..2).map(|host| subscribe(sim.host(host), Some(0))).collect();
    let truth = sim.truth();
    for (host, client) in clients.iter_mut().enumerate() {
        let name = sim.host(host).trim_start_matches("ws://").to_owned();
        let own = truth.iter().filter(|event| event["host"] == *name).count();
        assert_eq!(client.take(own).len(), own);
    }
    clients.into_iter().for_each(crate::harness::Client::close);
    let (status, counts) = sim.wait();
    assert!(status.success());
    assert!(counts.contains("\"events_made\":50"), "{counts}");
}

#[test]
fn a_signal_ends_it_with_0_and_the_truth_is_there() {
    let args = ["--accounts", "5", "--rate", "0", "--truth", "DIR/truth.jsonl"];
    let mut sim = Sim::start(&args);
    let mut client = subscribe(sim.host(0), Some(0));
    client.take(200);
    assert!(!sim.path("truth.jsonl").exists());
    assert!(sim.stop().0.success());
    assert!(sim.truth().len() >= 200);
}

#[test]
fn misuse_is_told_with_2_and_help_shows_an_example() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pds-sim")).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("pds-sim --accounts 50") && help.contains("Exit status"));
    for args in [
        &["--tls"][..],
        &["--hosts", "0"],
        &["--forge", "2"],
        &["--mix", "dance=1"],
        &["--speed", "5"],
        &["--replay", "x", "--events", "5"],
        &["--plc-limit", "5"],
        &["--start-time", "yesterday"],
        &["--no-such-option"],
    ] {
        let (code, text) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.starts_with("pds-sim: "), "{text}");
    }
    let (code, text) = run(&["--replay", "/nonexistent/capture"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("/nonexistent/capture"), "{text}");
    let torn = tempfile::NamedTempFile::new().unwrap();
    let whole = std::fs::read(fixture("plc-export.jsonl")).unwrap();
    std::fs::write(&torn, &whole[..100]).unwrap();
    let path = torn.path().to_str().unwrap();
    let (code, text) = run(&["--replay", path]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("offset 0: an event is cut off"), "{text}");
}
