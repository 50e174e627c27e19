//! How long after a deletion went into `archive-pack` a reader in another process leaves out what
//! was deleted, while the archive is busy.
//!
//! Beside it, in turn, a peer that does the least which could do: a process that writes what comes to
//! a file, has a thread sync it at each mark, and counts events in a mapped word. What takes it more
//! than a millisecond is the machine's: a processor that others had, a disk that was busy.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use archive::Lattice;
use atproto::event::{self, Action, Event};
use frame::Kind;
use table::{Words, WordsMut};

use crate::ROUNDS;
use crate::measure::Spread;
use crate::streams::Streams;

/// Between two events: 5,000 a second.
const PAUSE: Duration = Duration::from_micros(200);

/// A record that was deleted or replaced.
struct Deletion {
    /// The event that wrote it, and which of its operations.
    wrote: (u64, usize),
    /// The event that says so, and when it went in.
    by: u64,
    since: Instant,
}

/// Prints how long it takes.
pub(crate) fn report(streams: &Streams) {
    let frames = std::fs::read(streams.frames_of(&streams.events, "live.frames")).expect("frames");
    let (mut ours, mut peers) = (Delays::default(), Delays::default());
    for round in 0..ROUNDS {
        let folder = streams.scratch(&format!("live-{round}"));
        let mut pack = e2e::tool("archive-pack");
        pack.arg("--out").arg(&folder);
        ours.push(run(&mut pack, &frames, move || lattice(&folder)));
        let folder = streams.scratch(&format!("peer-{round}"));
        std::fs::create_dir(&folder).expect("a folder");
        let mut peer = Command::new(std::env::current_exe().expect("this program"));
        peer.arg(PEER).arg(&folder);
        peers.push(run(&mut peer, &frames, move || counted(&folder)));
    }
    println!(
        "\nLIVE: from archive-pack's input (5,000 events a second) to a reader in another process that"
    );
    println!("asks before each event, as archive-cat --live does: {} deletions,", ours.count());
    println!("milliseconds; beside a peer that writes, syncs and counts, and does nothing else");
    println!("archive-pack  {} (goal: p99 below 1)", ours.show());
    println!("peer          {}", peers.show());
}

/// What was measured in some rounds.
#[derive(Default)]
struct Delays {
    all: Spread,
    /// The 99th percentile of each.
    worst: Spread,
}

impl Delays {
    fn push(&mut self, took: Vec<Duration>) {
        let mut round = Spread::default();
        for took in took {
            round.push(took.as_secs_f64() * 1e3);
            self.all.push(took.as_secs_f64() * 1e3);
        }
        self.worst.push(round.at(0.99));
    }

    fn count(&self) -> usize {
        self.all.count()
    }

    fn show(&self) -> String {
        let [half, most, nearly] = [0.5, 0.9, 0.99].map(|share| self.all.at(share));
        let worst = &self.worst;
        format!("p50 {half:.3}, p90 {most:.3}, p99 {nearly:.3}; p99 of a round {worst:.3}")
    }
}

/// Feeds a process; how long after each deletion `seen` knew of it.
fn run<S: FnMut(&Deletion) -> bool>(
    command: &mut Command,
    frames: &[u8],
    seen: impl FnOnce() -> S + Send + 'static,
) -> Vec<Duration> {
    let mut process = command.stdin(Stdio::piped()).spawn().expect("a process");
    let mut stdin = process.stdin.take().expect("its input");
    let (sender, receiver) = mpsc::channel();
    let (ready, begun) = mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let seen = seen();
        ready.send(()).expect("who feeds");
        watch(&receiver, seen)
    });
    begun.recv().expect("the watcher");
    feed(&mut stdin, frames, &sender);
    drop((sender, stdin));
    let took = watcher.join().expect("the watcher");
    assert!(process.wait().expect("a process").success());
    took
}

/// Writes frames at their pace, and says of each deletion when it went in.
fn feed(to: &mut impl std::io::Write, frames: &[u8], deletions: &Sender<Deletion>) {
    let mut wrote: HashMap<(String, String), (u64, usize)> = HashMap::new();
    let (mut decoder, mut rest, mut n) = (frame::Decoder::default(), frames, 0);
    let mut due = Instant::now();
    while let Some((item, used)) = decoder.next(rest).expect("frames") {
        let (bytes, behind) = rest.split_at(used);
        rest = behind;
        let mut deleted = Vec::new();
        let is_event = is_event(&item);
        if let (true, frame::Item::Frame(frame)) = (is_event, &item)
            && let Ok(Event::Commit(commit)) = event::parse(frame.body())
        {
            for (at, op) in commit.ops.enumerate() {
                let key = (commit.repo.to_owned(), op.path.to_owned());
                let before = match op.action {
                    Action::Delete => wrote.remove(&key),
                    _ => wrote.insert(key, (n, at)),
                };
                deleted.extend(before.filter(|_| op.action != Action::Create));
            }
        }
        let since = Instant::now();
        for wrote in deleted {
            deletions.send(Deletion { wrote, by: n, since }).expect("the watcher");
        }
        to.write_all(bytes).expect("a reader");
        if is_event {
            n += 1;
            due += PAUSE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

fn is_event(item: &frame::Item<'_>) -> bool {
    matches!(item, frame::Item::Frame(frame) if frame.header.kind == Kind::EVENT)
}

/// When each deletion is known.
///
/// It looks again at once, as a reader does that has events to give, but lets others go first: what it
/// waits for may be waiting for its core. If it slept between, a timer and a core that was halted would
/// be measured, which on a virtual machine are milliseconds.
fn watch(deletions: &Receiver<Deletion>, mut seen: impl FnMut(&Deletion) -> bool) -> Vec<Duration> {
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
        waiting.retain(|deletion| {
            let seen = seen(deletion);
            if seen {
                took.push(deletion.since.elapsed());
            }
            !seen
        });
        std::thread::yield_now();
    }
    took
}

/// Waits until `archive-pack` has begun; then whether a reader leaves a record out.
fn lattice(folder: &Path) -> impl FnMut(&Deletion) -> bool + use<> {
    let mut lattice = loop {
        match Lattice::open(folder) {
            Ok(lattice) if lattice.is_there() => break lattice,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    move |deletion| {
        let (n, op) = deletion.wrote;
        lattice.fate(n).expect("the lattice").is_gone(op)
    }
}

/// The argument that makes this program the peer.
pub(crate) const PEER: &str = "live-peer";

/// Waits until the peer has begun; then whether it has counted an event.
fn counted(folder: &Path) -> impl FnMut(&Deletion) -> bool + use<> {
    let words = loop {
        match File::open(folder.join("word")).and_then(|file| Words::open(file, 1)) {
            Ok(words) if words.look().expect("its length") > 0 => break words,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    move |deletion| words.get(0) > deletion.by
}

/// The peer: what comes goes to a file, which is synced at marks, and the word says how many events did.
pub(crate) fn peer(folder: &Path) {
    let create = |name| {
        File::options().read(true).write(true).create(true).truncate(true).open(folder.join(name))
    };
    let log = create("log").expect("a file");
    let mut word = WordsMut::open(create("word").expect("a file"), 1).expect("a map");
    word.take_room(0).expect("room");
    let (marks, marked) = mpsc::channel();
    let synced = log.try_clone().expect("the same file");
    let syncer = std::thread::spawn(move || {
        while marked.recv().is_ok() {
            synced.sync_data().expect("a disk");
        }
    });
    let (mut decoder, mut input, mut n) = (frame::Decoder::default(), std::io::stdin().lock(), 0);
    let (mut buffer, mut have) = (vec![0; 2 << 20], 0);
    loop {
        let read = input.read(&mut buffer[have..]).expect("frames");
        if read == 0 {
            break;
        }
        have += read;
        let (mut whole, mut is_marked) = (0, false);
        while let Some((item, used)) = decoder.next(&buffer[whole..have]).expect("frames") {
            n += u64::from(is_event(&item));
            is_marked |=
                matches!(item, frame::Item::Frame(frame) if frame.header.kind == Kind::MARK);
            whole += used;
        }
        (&log).write_all(&buffer[..whole]).expect("room");
        assert!(word.set(0, n), "it has room");
        if is_marked {
            marks.send(()).expect("the syncer");
        }
        buffer.copy_within(whole..have, 0);
        have -= whole;
    }
    drop(marks);
    syncer.join().expect("the syncer");
}
