//! kill -9 at any moment, and the same chain again.

use std::collections::HashMap;
use std::time::Duration;

use atproto::Tid;
use atproto::event;

use crate::support::*;

/// Moments spread over the work, the same in every run.
fn moments() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::from_fn(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(state >> 33)
    })
}

const SMALL: [&str; 6] = ["--segment-bytes", "150KiB", "--segment-events", "170", "--level", "1"];

/// Feeds a stream until the process is killed some milliseconds later; whether it was.
fn killed_within(dir: &std::path::Path, input: &[u8], after: Duration) -> bool {
    let mut running = spawn(dir, &SMALL);
    let mut stdin = running.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        // In pieces of odd sizes, with pauses, so that kills meet every state.
        for piece in input.chunks(41_111) {
            if stdin.write_all(piece).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    std::thread::sleep(after);
    let ended = running.child.try_wait().unwrap().is_some();
    running.kill();
    feeder.join().unwrap();
    !ended
}

#[test]
fn killed_at_any_moment_it_goes_on_from_its_marks_to_the_same_archive() {
    let events = capture(2000);
    for round in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut kills = 0;
        for moment in moments().skip(round * 20).take(12) {
            let from = marked(dir.path());
            let before = contents_or_none(dir.path());
            assert_eq!(before, numbered(&events[..before.len()]), "a beginning of the input");
            assert!(from <= before.len(), "mark {from} is ahead of {} events", before.len());
            knows_the_heads_of(dir.path(), &events, from);
            let again = stream_from(&events[from..], from, proved);
            kills +=
                u32::from(killed_within(dir.path(), &again, Duration::from_millis(moment % 60)));
        }
        assert!(kills > 0);
        let from = marked(dir.path());
        let done = pack(dir.path(), &SMALL, &stream_from(&events[from..], from, proved));
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(contents(dir.path()), numbered(&events));
        knows_the_heads_of(dir.path(), &events, events.len());
        // Whatever bits a kill came before, they are set; and no others.
        assert_eq!(archive::differences(dir.path()).unwrap(), []);
        assert!(gone(dir.path(), events.len()) > 20);
    }
}

/// How many events have a record that is gone.
fn gone(dir: &std::path::Path, events: usize) -> usize {
    let mut lattice = archive::Lattice::open(dir).unwrap();
    (0..events as u64).filter(|n| lattice.fate(*n).unwrap().any_gone()).count()
}

/// What is known of accounts is what the first `marked` events say, and nothing behind them.
fn knows_the_heads_of(dir: &std::path::Path, events: &[Vec<u8>], marked: usize) {
    let Some(mut heads) = archive::heads(dir).unwrap() else { return assert_eq!(marked, 0) };
    let mut revs: HashMap<String, Option<u64>> = HashMap::new();
    for (at, body) in events.iter().enumerate() {
        let event = event::parse(body).unwrap();
        let Some(did) = event.did() else { continue };
        let known = revs.entry(did.to_owned()).or_default();
        if at < marked && event.blocks().is_some() {
            let rev: Tid = event.rev().unwrap().parse().unwrap();
            *known = (*known).max(Some(rev.0));
        }
    }
    assert!(revs.len() > 20);
    for (did, rev) in revs {
        let head = heads.get(&did).unwrap().head;
        assert_eq!(head.map(|head| head.rev), rev, "{did} with {marked} events");
    }
}

#[test]
fn killed_and_given_the_whole_input_again_it_stores_each_event_once() {
    let events = capture(2000);
    let input = stream(&events);
    let dir = tempfile::tempdir().unwrap();
    for moment in moments().take(12) {
        killed_within(dir.path(), &input, Duration::from_millis(moment % 90));
    }
    let done = pack(dir.path(), &[&SMALL[..], &["--seal"]].concat(), &input);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(contents(dir.path()), numbered(&events));
    assert_eq!(marked(dir.path()), 2000);
}

fn proved(_: usize) -> Option<frame::verdict::Verdict> {
    Some(frame::verdict::Verdict::ok(Some([1; 34])))
}

/// A kill can come before there is an archive.
fn contents_or_none(dir: &std::path::Path) -> Vec<(u64, Vec<u8>)> {
    match archive::Reader::open(dir) {
        Err(archive::Error::NoArchive { .. }) => Vec::new(),
        _ => contents(dir),
    }
}
