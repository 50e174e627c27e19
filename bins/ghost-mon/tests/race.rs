//! The race, on a network whose delays are known: this test sends every copy itself, waits until it
//! has arrived, and knows between which bounds the other one came behind it.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use atproto::event::{self, Event};
use frame::host::Role;
use frame::{Header, HostId, Kind};
use serde_json::Value;
use stats::Snapshot;
use tungstenite::{Message, WebSocket};

use support::{DEADLINE, ghost_mon};

/// The signed events of a capture, each once.
fn signed() -> Vec<Vec<u8>> {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/refnet/firehose.u32be.zst");
    let bytes = zstd::decode_all(std::fs::File::open(capture).unwrap()).unwrap();
    let mut rest = bytes.as_slice();
    let (mut events, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (body, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        rest = behind;
        if let Ok(Event::Commit(commit)) = event::parse(body)
            && seen.insert((commit.repo.to_owned(), commit.rev.to_owned()))
        {
            events.push(body.to_vec());
        }
    }
    events
}

/// A race with both sides in our hands.
struct Race {
    child: Child,
    ours: ChildStdin,
    theirs: WebSocket<TcpStream>,
    dir: tempfile::TempDir,
}

impl Race {
    fn start(args: &[&str]) -> Race {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = format!("ws://{}", listener.local_addr().unwrap());
        let mut child = ghost_mon(dir.path())
            .args(["race", "--theirs", &relay, "--allow-private", "--settle", "0", "--json"])
            .arg("--log")
            .arg(dir.path().join("log"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ours = child.stdin.take().unwrap();
        let mut start = Vec::new();
        frame::put_magic(&mut start);
        frame::host::put(&mut start, HostId(1), Role::Pds, "a.example").unwrap();
        ours.write_all(&start).unwrap();
        let theirs = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        Race { child, ours, theirs, dir }
    }

    fn send_ours(&mut self, events: &[Vec<u8>]) {
        let mut frames = Vec::new();
        for (body, seq) in events.iter().zip(1..) {
            let now_ns = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            let header = Header { host: HostId(1), seq, ..Header::new(Kind::EVENT, now_ns) };
            frame::put(&mut frames, &header, body).unwrap();
        }
        self.ours.write_all(&frames).unwrap();
    }

    fn send_theirs(&mut self, events: &[Vec<u8>]) {
        for body in events {
            self.theirs.send(Message::Binary(body.clone().into())).unwrap();
        }
    }

    /// Waits until so many events of ours and of theirs have arrived.
    fn wait(&self, ours: u64, theirs: u64) {
        let until = Instant::now() + DEADLINE;
        loop {
            let mut pages = Snapshot::read_all(self.dir.path()).unwrap().pages;
            let page = pages.pop();
            let arrived = page.map_or((0, 0), |page| {
                let named = page.named.iter().find(|named| named.name == "theirs");
                (page.counts.events_in, named.map_or(0, |named| named.value))
            });
            if arrived.0 >= ours && arrived.1 >= theirs {
                return;
            }
            assert!(Instant::now() < until, "{arrived:?} of {:?}", (ours, theirs));
            std::thread::yield_now();
        }
    }

    /// Ends our frames; the summary, and the log.
    fn end(self) -> (Value, Vec<Value>) {
        let Race { mut child, mut ours, theirs, dir } = self;
        let mut end = Vec::new();
        frame::put(&mut end, &Header::new(Kind::END, 1), b"").unwrap();
        ours.write_all(&end).unwrap();
        // Another stream may come behind an end, so it is the closed pipe that ends it.
        drop(ours);
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
        drop(theirs);
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let log = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (serde_json::from_str(&said).unwrap(), log)
    }
}

/// What is known of a delay: at least and at most, in ns.
type Bounds = (i64, i64);

fn is_within((least, most): Bounds, advantage: &Value) -> bool {
    (least..=most).contains(&advantage.as_i64().unwrap())
}

/// Sends events on one side, and behind a pause on the other. What is known of the delay.
fn one_behind_the_other(
    race: &mut Race,
    events: &[Vec<u8>],
    sent: (u64, u64),
    ours_first: bool,
) -> Bounds {
    const PAUSE: Duration = Duration::from_millis(120);
    let count = events.len() as u64;
    let began = Instant::now();
    if ours_first {
        race.send_ours(events);
        race.wait(sent.0 + count, sent.1);
    } else {
        race.send_theirs(events);
        race.wait(sent.0, sent.1 + count);
    }
    // Not to wait for anything: this is the delay that is to be measured.
    std::thread::sleep(PAUSE);
    if ours_first {
        race.send_theirs(events);
    } else {
        race.send_ours(events);
    }
    race.wait(sent.0 + count, sent.1 + count);
    (PAUSE.as_nanos() as i64, began.elapsed().as_nanos() as i64)
}

#[test]
fn wins_and_losses_and_by_how_much_are_what_was_sent() {
    let events = signed();
    let mut race = Race::start(&["--patience", "1h"]);
    // Their side has begun when this has arrived; ours begins with its first event.
    race.send_theirs(&events[..1]);
    race.wait(0, 1);
    let won = one_behind_the_other(&mut race, &events[1..101], (0, 1), true);
    let lost = one_behind_the_other(&mut race, &events[101..141], (100, 101), false);
    // Copies that come again change nothing.
    race.send_ours(&events[1..11]);
    race.wait(150, 141);
    let (summary, log) = race.end();
    let number = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((number("wins"), number("losses"), number("ties")), (100, 40, 0), "{summary}");
    assert_eq!((number("missed_by_us"), number("missed_by_them")), (0, 0));
    assert_eq!((number("open"), number("repeats"), number("breaks")), (1, 10, 0), "{summary}");
    assert_eq!(summary["advantage"]["count"], 140);
    // A percentile is known to one sixteenth.
    let most = won.1 + won.1 / 16 + 1;
    for name in ["p50_ns", "p90_ns", "p99_ns"] {
        assert!(is_within((won.0, most), &summary["advantage"][name]), "{name} {won:?} {summary}");
    }
    assert_eq!(log.len(), 140);
    for line in &log {
        let (bounds, name) = match line["result"].as_str().unwrap() {
            "win" => (won, "win"),
            "loss" => ((-lost.1, -lost.0), "loss"),
            other => panic!("{other}"),
        };
        assert!(is_within(bounds, &line["advantage_ns"]), "{name} {bounds:?} {line}");
        let times =
            ["ours_ns", "theirs_ns", "received_ns"].map(|name| line[name].as_i64().unwrap());
        assert_eq!(times[1] - times[0], line["advantage_ns"].as_i64().unwrap());
        assert!(times[2] <= times[0], "{line}");
    }
}

#[test]
fn what_one_side_alone_sends_the_other_has_missed() {
    let events = signed();
    let page = tempfile::tempdir().unwrap();
    let page = page.path().join("race.html");
    let mut race = Race::start(&["--patience", "50ms", "--page", page.to_str().unwrap()]);
    race.send_theirs(&events[..1]);
    race.wait(0, 1);
    race.send_ours(&events[1..2]);
    race.wait(1, 1);
    race.send_ours(&events[2..22]);
    race.send_theirs(&events[22..32]);
    race.wait(21, 11);
    let until = Instant::now() + DEADLINE;
    let mut sent = 0;
    // The log is written in pieces, so what is settled is seen at the end; the end comes when the
    // last has had its patience, which later events show.
    while sent < 5 {
        std::thread::sleep(Duration::from_millis(100));
        race.send_ours(&events[40 + sent..41 + sent]);
        sent += 1;
        assert!(Instant::now() < until);
    }
    let (summary, log) = race.end();
    let of = |result: &str| log.iter().filter(|line| line["result"] == result).count();
    assert_eq!(of("missed-by-us"), 10, "{summary}");
    assert!((21..=26).contains(&of("missed-by-them")), "{summary}");
    assert_eq!(summary["missed_by_us"], 10);
    let drawn = std::fs::read_to_string(page).unwrap();
    assert!(drawn.contains("missed by us 10") && drawn.contains("<svg "), "{drawn}");
}

#[test]
fn a_relay_that_is_not_there_is_tried_again_and_the_race_ends_with_our_frames() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut child = ghost_mon(dir.path())
        .args(["race", "--theirs", &relay, "--allow-private"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut frames = Vec::new();
    frame::put_magic(&mut frames);
    frame::put(&mut frames, &Header::new(Kind::END, 1), b"").unwrap();
    child.stdin.take().unwrap().write_all(&frames).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("0 wins (0.0 %), 0 ties, 0 losses; missed by us 0, by them 0\n"),
        "{said}"
    );
}
