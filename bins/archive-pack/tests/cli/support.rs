//! Processes, streams made of the capture, and what an archive holds.

use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use frame::host::Role;
use frame::mark::Mark;
use frame::verdict::Verdict;
use frame::{Decoder, Header, HostId, Item, Kind, Tag};

/// The name of the one host of [`stream`].
pub const HOST: &str = "pds.example.com";
/// How many events lie between two marks of it.
pub const MARK_EVERY: usize = 25;

/// The first events of the capture.
pub fn capture(count: usize) -> Vec<Vec<u8>> {
    let mut events = e2e::refnet_events();
    events.truncate(count);
    events
}

/// The events as `sig-verify` would pass them on, all proved.
pub fn stream(events: &[Vec<u8>]) -> Vec<u8> {
    stream_with(events, |_| Some(Verdict::ok(Some([1; 34]))))
}

pub fn stream_with(events: &[Vec<u8>], verdict: impl Fn(usize) -> Option<Verdict>) -> Vec<u8> {
    stream_from(events, 0, verdict)
}

/// Events whose seqs begin behind `after`: the n-th has seq n, from 1.
pub fn stream_from(
    events: &[Vec<u8>],
    after: usize,
    verdict: impl Fn(usize) -> Option<Verdict>,
) -> Vec<u8> {
    let mut out = frame::MAGIC.to_vec();
    frame::host::put(&mut out, HostId(5), Role::Pds, HOST).unwrap();
    for (at, body) in events.iter().enumerate() {
        let seq = (after + at + 1) as u64;
        let header = Header { host: HostId(5), seq, ..Header::new(Kind::EVENT, seq * 1000) };
        let verdict = verdict(at).map(|verdict| verdict.to_bytes());
        let verdict = verdict.as_ref().map(|bytes| &bytes[..]);
        let sections = [(Tag::SPANS, Some(&b"spans"[..])), (Tag::VERDICT, verdict)];
        frame::put_with_two(&mut out, &header, body, sections).unwrap();
        if (after + at + 1).is_multiple_of(MARK_EVERY) {
            let mark = Mark { host: HostId(5), epoch: 0, seq };
            frame::mark::put(&mut out, &mut Vec::new(), 1, [mark]).unwrap();
        }
    }
    frame::put(&mut out, &Header::new(Kind::END, 1), b"").unwrap();
    out
}

/// Where each event's frame ends in a stream.
pub fn frame_ends(stream: &[u8]) -> Vec<usize> {
    let (mut decoder, mut at, mut ends) = (Decoder::default(), 0, Vec::new());
    while let Some((item, used)) = decoder.next(&stream[at..]).unwrap() {
        at += used;
        if matches!(item, Item::Frame(frame) if frame.header.kind == Kind::EVENT) {
            ends.push(at);
        }
    }
    ends
}

/// How many whole events a piece of a stream holds.
pub fn events_within(stream: &[u8]) -> usize {
    frame_ends(stream).len()
}

/// What an archive of these events should hold.
pub fn numbered(events: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    (0..).zip(events.iter().cloned()).collect()
}

/// What an archive holds: numbers and bytes. Nothing in it may be damaged.
pub fn contents(dir: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = archive::Reader::open(dir).unwrap();
    let mut scan = reader.scan(archive::Query::default());
    let mut events = Vec::new();
    loop {
        match scan.next().unwrap() {
            None => return events,
            Some(archive::Found::Event(event)) => events.push((event.n, event.body.to_vec())),
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// The mark of the one host; 0 if there is none.
pub fn marked(dir: &Path) -> usize {
    let marks = archive::marks(dir).unwrap().unwrap_or_default();
    marks.iter().find(|mark| mark.name == HOST).map_or(0, |mark| mark.seq as usize)
}

/// How a process ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_archive-pack"))
}

pub fn run(args: &[&str], input: &[u8]) -> Done {
    let mut command = command();
    command.args(args);
    run_command(command, input)
}

pub fn run_command(mut command: Command, input: &[u8]) -> Done {
    let output = e2e::fed(&mut command, input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Packs a stream to its end.
pub fn pack(dir: &Path, args: &[&str], input: &[u8]) -> Done {
    run(&[&["--out", dir.to_str().unwrap()], args].concat(), input)
}

/// A packer that is fed by hand.
pub struct Running {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
}

pub fn spawn(dir: &Path, args: &[&str]) -> Running {
    let mut command = command();
    command.arg("--out").arg(dir).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    Running { child, stdin }
}

/// Writes to a packer; one that is gone is no error.
pub fn feed(running: &mut Running, bytes: &[u8]) {
    if let Some(stdin) = &mut running.stdin {
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }
}

impl Running {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the input and waits.
    pub fn finish(mut self) -> Done {
        drop(self.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

pub fn wait_for(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(90), "nothing happened for 90 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}
