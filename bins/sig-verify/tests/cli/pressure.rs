//! More waits than there is room for: the stage stops reading, says so, and loses nothing.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use didindex::PlcDid;
use frame::Kind;
use keys::Curve;

use crate::directory::{self, Directory, Reply};
use crate::forge::{self, Secret};
use crate::harness::{self, Stream};

/// More than are held, and than the pipes take.
const EVENTS: u64 = 120_000;

/// As many are held.
const BOUND: u64 = 32_768;

#[test]
fn at_the_bound_nothing_is_read_until_there_are_answers() {
    let did = PlcDid::from_bytes([1; 15]).to_string();
    let directory = Directory::start();
    let key = Secret::new(Curve::K256, 1).public();
    let good = directory::document(&did, key, "pds.example");
    directory.answer(&format!("/{did}"), &[Reply::Hang(Box::new(good))]);
    let mut stream = Stream::of("pds.example");
    for seq in 0..EVENTS {
        stream.event(1, seq, &forge::unsigned("#account", &did, seq));
    }
    stream.mark(EVENTS);
    let bytes = stream.end();

    let args = ["--resolve", &directory.url, "--allow-private"];
    let mut child = harness::tool(&args).spawn().unwrap();
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let fed = Arc::new(AtomicUsize::new(0));
    let feeder = std::thread::spawn({
        let fed = Arc::clone(&fed);
        move || {
            for chunk in bytes.chunks(1 << 16) {
                stdin.write_all(chunk).unwrap();
                fed.fetch_add(chunk.len(), Ordering::Relaxed);
            }
            bytes.len()
        }
    });
    // It says so, once it has come to that.
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    let said = harness::text(&said);
    for part in ["resolving 0/s", "1 accounts waiting", "an index would help"] {
        assert!(said.contains(part), "{said}");
    }
    // The bound, and at most the batch that was under way when it was reached.
    let waiting = said.split("with ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let waiting: u64 = waiting.parse().unwrap();
    assert!((BOUND..2 * BOUND).contains(&waiting), "{said}");
    let before = loop {
        let before = fed.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        if fed.load(Ordering::Relaxed) == before {
            break before;
        }
    };
    directory.let_go();
    let output = child.wait_with_output().unwrap();
    assert!(feeder.join().unwrap() > before, "all of it was read while nothing went on");
    let (seen, ended) = harness::decode(&output.stdout);
    assert!(ended && output.status.success());
    let events: Vec<u64> =
        seen.iter().filter(|it| it.kind == Kind::EVENT).map(|it| it.seq).collect();
    assert_eq!(events, (0..EVENTS).collect::<Vec<_>>());
    assert_eq!(seen[seen.len() - 2].kind, Kind::MARK);
}
