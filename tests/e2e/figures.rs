//! What a running stage says of itself, as `ghost-mon` shows it: `dedupe` of copies, of who sends
//! them, and of its filter beside the formula.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use e2e::{json_lines, tool, wait_until};
use frame::host::Role;
use frame::{Header, HostId, Kind};
use serde_json::Value;

use crate::joints::{Stage, end};

/// How many events the first host sends a second time.
const AGAIN: usize = 100;

/// Each event by one host and then by another, and some once more by the first: no end yet.
fn stream(events: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = frame::MAGIC.to_vec();
    for (id, name) in [(1, "a.example.com"), (2, "b.example.com")] {
        frame::host::put(&mut bytes, HostId(id), Role::Pds, name).unwrap();
    }
    let mut seq = 0;
    for (at, event) in events.iter().enumerate() {
        let again = (at < AGAIN).then_some(1);
        for host in [1, 2].into_iter().chain(again) {
            seq += 1;
            let header = Header { host: HostId(host), seq, ..Header::new(Kind::EVENT, seq) };
            frame::put(&mut bytes, &header, event).unwrap();
        }
    }
    bytes
}

/// What is served there, without its head.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn copies_who_sends_them_and_the_filter_are_on_the_screen_as_json_and_as_metrics() {
    let is_commit = |event: &Vec<u8>| event.windows(7).any(|window| window == b"#commit");
    let events: Vec<_> = e2e::refnet_events().into_iter().filter(is_commit).collect();
    let count = events.len() as u64;
    let pages = tempfile::tempdir().unwrap();
    let seen_by = |name: &str, args: &[&str]| -> Command {
        let mut command = tool(name);
        command.env("SOVEREIGN_STATS_DIR", pages.path()).args(args);
        command
    };
    // Fewer than go by, so that the filter is as full as it gets.
    let mut dedupe = seen_by("dedupe", &["--window", "1000"]);
    let mut dedupe = Stage::start(dedupe.stdin(Stdio::piped()).stdout(Stdio::null()));
    let mut to = dedupe.0.stdin.take().unwrap();
    to.write_all(&stream(&events)).unwrap();

    let look = ["--once", "--json", "--hosts", "2", "--interval", "20ms"];
    let mut lines: Vec<Value> = Vec::new();
    wait_until("all of it to be told of", || {
        lines = json_lines(&seen_by("ghost-mon", &look).output().unwrap().stdout);
        lines.iter().any(|line| line["host"] == "b.example.com" && line["copies"] == count)
    });
    let told = &lines[0];
    let look_ups = 2 * count + AGAIN as u64;
    assert_eq!(told["counts"]["filter-look-ups"], look_ups, "{told}");
    // A copy from another host may be the true one, and goes on to be judged.
    assert_eq!(told["dropped"], AGAIN as u64, "{told}");
    assert_eq!(told["counts"]["copies-passed"], count, "{told}");
    let copier = &told["hosts"]["copiers"][0];
    assert_eq!((&copier["host"], &copier["copies"]), (&"b.example.com".into(), &count.into()));
    let host = |name: &str| lines.iter().find(|line| line["host"] == name).unwrap();
    let shares = |name: &str| ["first", "copies"].map(|field| host(name)[field].as_u64().unwrap());
    assert_eq!(shares("a.example.com"), [count, AGAIN as u64]);
    assert_eq!(shares("b.example.com"), [0, count]);
    let gauge = |name: &str| told["gauges"][name].as_u64().unwrap_or_else(|| panic!("{told}"));
    assert!(gauge("remembered") >= 1_000, "{told}");
    assert!((10_000..300_000).contains(&gauge("filter-fill-ppm")), "{told}");
    let [wrong, expected] = ["filter-wrong-ppm", "filter-expected-ppm"].map(gauge);
    assert!((100..20_000).contains(&expected), "{told}");
    // In all: what the gauge says is of late, and that may be few.
    let in_all = told["counts"]["filter-wrong"].as_u64().unwrap();
    assert!(in_all < 10 + 10 * expected * look_ups / 1_000_000, "{told}");

    let screen = seen_by("ghost-mon", &["--once", "--hosts", "2"]).output().unwrap().stdout;
    let screen = String::from_utf8(screen).unwrap();
    for shown in ["copies-passed", "filter-fill-ppm", "filter-expected-ppm", "first"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }

    let mut monitor = seen_by("ghost-mon", &["--listen", "127.0.0.1:0", "-v"]);
    let mut monitor = Stage::start(monitor.stderr(Stdio::piped()));
    let said = BufReader::new(monitor.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = said.filter_map(|line| Some(line.split_once("http://")?.1.replace('/', "")));
    let address = { address }.next().unwrap();
    let stage = r#"stage="dedupe",tool="dedupe""#;
    let wanted = [
        format!("sovereign_host_copies_total{{{stage},host=\"b.example.com\"}} {count}\n"),
        format!("sovereign_host_first_total{{{stage},host=\"a.example.com\"}} {count}\n"),
        format!("sovereign_level{{{stage},level=\"filter-expected-ppm\"}} {expected}\n"),
        format!("sovereign_level{{{stage},level=\"filter-wrong-ppm\"}} {wrong}\n"),
    ];
    let mut metrics = String::new();
    wait_until("metrics", || {
        metrics = get(&address, "/metrics");
        metrics.contains("sovereign_host_copies_total{")
    });
    for wanted in wanted {
        assert!(metrics.contains(&wanted), "{wanted}: {metrics}");
    }
    to.write_all(&end()).unwrap();
    drop(to);
    assert_eq!(dedupe.end().0, Some(0));
}
