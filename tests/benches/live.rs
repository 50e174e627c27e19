//! How long after a deletion went into `archive-pack` a reader in another process leaves out what
//! was deleted, while the archive is busy.

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use archive::Lattice;
use atproto::event::{self, Action, Event};

use crate::measure::Spread;
use crate::streams::Streams;

/// Between two events: 5,000 a second.
const PAUSE: Duration = Duration::from_micros(200);

/// Between two looks of the reader. It could spin, but for the two cores that others want, too.
const LOOK_EVERY: Duration = Duration::from_micros(20);

/// A record that was deleted or replaced: the event that wrote it, which of its operations, and when the
/// deletion went in.
type Deletion = (u64, usize, Instant);

/// Prints how long it takes.
pub(crate) fn report(streams: &Streams) {
    let folder = streams.scratch("live");
    let frames = std::fs::read(streams.frames_of(&streams.events, "live.frames")).expect("frames");
    let mut pack = e2e::tool("archive-pack");
    let mut pack =
        pack.arg("--out").arg(&folder).stdin(Stdio::piped()).spawn().expect("archive-pack");
    let mut stdin = pack.stdin.take().expect("its input");
    let (sender, receiver) = mpsc::channel();
    let watcher = std::thread::spawn({
        let folder = folder.clone();
        move || watch(&folder, &receiver)
    });
    let mut wrote: HashMap<(String, String), (u64, usize)> = HashMap::new();
    let (mut decoder, mut rest, mut n) = (frame::Decoder::default(), &frames[..], 0);
    let mut due = Instant::now();
    while let Some((item, used)) = decoder.next(rest).expect("frames") {
        let (bytes, behind) = rest.split_at(used);
        rest = behind;
        let mut deleted = Vec::new();
        let mut is_event = false;
        if let frame::Item::Frame(frame) = item {
            is_event = frame.header.kind == frame::Kind::EVENT;
            if let (true, Ok(Event::Commit(commit))) = (is_event, event::parse(frame.body())) {
                for (at, op) in commit.ops.enumerate() {
                    let key = (commit.repo.to_owned(), op.path.to_owned());
                    let before = match op.action {
                        Action::Delete => wrote.remove(&key),
                        _ => wrote.insert(key, (n, at)),
                    };
                    deleted.extend(before.filter(|_| op.action != Action::Create));
                }
            }
        }
        let now = Instant::now();
        for (before, op) in deleted {
            sender.send((before, op, now)).expect("the watcher");
        }
        stdin.write_all(bytes).expect("archive-pack reads");
        if is_event {
            n += 1;
            // Not spinning: the machine may have two cores, and three want one.
            due += PAUSE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    drop((sender, stdin));
    let took = watcher.join().expect("the watcher");
    assert!(pack.wait().expect("archive-pack").success());
    let count = took.len();
    println!(
        "\nLIVE: from archive-pack's input (5,000 events a second) to a reader in another process that"
    );
    println!("asks before each event, as archive-cat --live does: {count} deletions, milliseconds");
    let mut spread = Spread::default();
    took.iter().for_each(|took| spread.push(took.as_secs_f64() * 1e3));
    let at = |share: f64| took[((count - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "p50 {:.3}, p90 {:.3}, p99 {:.3}, all {spread:.3} (goal: p99 below 1)",
        at(0.5),
        at(0.9),
        at(0.99)
    );
}

/// When each deletion is known, ascending.
fn watch(folder: &std::path::Path, deletions: &mpsc::Receiver<Deletion>) -> Vec<Duration> {
    let mut lattice = loop {
        match Lattice::open(folder) {
            Ok(lattice) if lattice.is_there() => break lattice,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let (mut waiting, mut took): (Vec<Deletion>, Vec<Duration>) = (Vec::new(), Vec::new());
    let mut open = true;
    while open || !waiting.is_empty() {
        loop {
            match deletions.try_recv() {
                Ok(deletion) => waiting.push(deletion),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        waiting.retain(|(n, op, since)| {
            let gone = lattice.fate(*n).expect("the lattice").is_gone(*op);
            if gone {
                took.push(since.elapsed());
            }
            !gone
        });
        std::thread::sleep(LOOK_EVERY);
    }
    took.sort_unstable();
    took
}
