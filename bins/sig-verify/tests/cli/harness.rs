//! Runs the tool, and reads back what it writes.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use frame::host::{HostTable, Role};
use frame::verdict::{self, Status, Verdict};
use frame::{Decoder, Header, HostId, Item, Kind};

/// When the events of these tests were received, unix ns: 2026-12-01.
pub const NOW_NS: u64 = 1_796_083_200_000_000_000;

/// Later than any clock: such an event counts as received in the moment when it is read.
pub const LIVE_NS: u64 = u64::MAX;

/// A frame as it came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub kind: Kind,
    pub host: String,
    pub seq: u64,
    pub body: Vec<u8>,
    pub verdict: Option<Verdict>,
}

impl Seen {
    /// Status and rule in short: `ok`, `refused bad-cid`.
    pub fn verdict(&self) -> String {
        let verdict = self.verdict.expect("a verdict");
        let rule = verdict.rule.map_or(String::new(), |rule| format!(" {rule}"));
        format!("{}{rule}", verdict.status.name())
    }

    pub fn is_ok(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict.status == Status::Ok)
    }

    pub fn notes(&self) -> Vec<&'static str> {
        let notes = self.verdict.map_or(0, |verdict| verdict.notes);
        verdict::notes::NAMES.iter().filter(|(bit, _)| notes & bit != 0).map(|it| it.1).collect()
    }
}

/// A stream in the making.
#[derive(Default)]
pub struct Stream {
    pub bytes: Vec<u8>,
}

impl Stream {
    /// With a PDS of this name as host 1, and a relay as host 2.
    pub fn of(pds: &str) -> Stream {
        let mut stream = Stream { bytes: frame::MAGIC.to_vec() };
        stream.host(1, Role::Pds, pds);
        stream.host(2, Role::Relay, "relay.example");
        stream
    }

    pub fn host(&mut self, id: u32, role: Role, name: &str) {
        frame::host::put(&mut self.bytes, HostId(id), role, name).unwrap();
    }

    pub fn event(&mut self, host: u32, seq: u64, body: &[u8]) {
        self.event_at(NOW_NS, host, seq, body);
    }

    pub fn event_at(&mut self, time_ns: u64, host: u32, seq: u64, body: &[u8]) {
        let header =
            Header { host: HostId(host), epoch: 1, seq, ..Header::new(Kind::EVENT, time_ns) };
        frame::put(&mut self.bytes, &header, body).unwrap();
    }

    pub fn mark(&mut self, seq: u64) {
        let mark = frame::mark::Mark { host: HostId(1), epoch: 1, seq };
        frame::mark::put(&mut self.bytes, &mut Vec::new(), NOW_NS, [mark]).unwrap();
    }

    pub fn end(mut self) -> Vec<u8> {
        frame::put(&mut self.bytes, &Header::new(Kind::END, NOW_NS), b"").unwrap();
        self.bytes
    }
}

/// Decodes a stream; fails where it is none. Says whether it ended cleanly.
pub fn decode(bytes: &[u8]) -> (Vec<Seen>, bool) {
    let (mut decoder, mut rest) = (Decoder::default(), bytes);
    let (mut hosts, mut seen) = (HostTable::default(), Vec::new());
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else {
            hosts.clear();
            continue;
        };
        hosts.apply(&frame).unwrap();
        let name = hosts.get(frame.header.host).map_or("", |host| host.name);
        let mut seq = frame.header.seq;
        if frame.header.kind == Kind::MARK {
            seq = frame::mark::read(&frame).unwrap().last().map_or(0, |mark| mark.seq);
        }
        seen.push(Seen {
            kind: frame.header.kind,
            host: name.into(),
            seq,
            body: frame.body().into(),
            verdict: verdict::read(&frame).unwrap(),
        });
    }
    assert!(rest.is_empty(), "{} bytes behind the last whole frame", rest.len());
    (seen, decoder.ended())
}

/// The events alone.
pub fn events(bytes: &[u8]) -> Vec<Seen> {
    let (mut seen, _) = decode(bytes);
    seen.retain(|frame| frame.kind == Kind::EVENT);
    seen
}

pub fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sig-verify"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the tool over a stream.
pub fn run(args: &[&str], input: &[u8]) -> Output {
    e2e::fed(&mut tool(args), input)
}

/// Runs the tool over a stream and expects exit code 0; gives the events that come out.
pub fn proved(args: &[&str], input: &[u8]) -> Vec<Seen> {
    let output = run(args, input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(decode(&output.stdout).1, "no end");
    events(&output.stdout)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The tool while it runs: frames are fed and read one by one.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    frames: std::sync::mpsc::Receiver<Seen>,
    /// What it wrote, up to the last whole frame.
    written: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Running {
        let mut child = tool(args).stderr(Stdio::inherit()).spawn().unwrap();
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, frames) = std::sync::mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&written);
        std::thread::spawn(move || {
            let (mut bytes, mut told) = (Vec::new(), 0);
            let mut room = [0; 1 << 16];
            while let Ok(count @ 1..) = stdout.read(&mut room) {
                bytes.extend_from_slice(&room[..count]);
                let whole = whole(&bytes);
                let (seen, _) = decode(&bytes[..whole]);
                *all.lock().unwrap() = bytes[..whole].to_vec();
                for frame in seen.into_iter().skip(told) {
                    told += 1;
                    let _ = sender.send(frame);
                }
            }
        });
        Running { child, stdin, frames, written }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// The next event or mark; host frames are passed over.
    pub fn next(&self) -> Seen {
        loop {
            let seen = self.frames.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            if seen.kind == Kind::EVENT || seen.kind == Kind::MARK {
                return seen;
            }
        }
    }

    /// Whether nothing comes for a moment.
    pub fn is_quiet(&self) -> bool {
        self.frames.recv_timeout(std::time::Duration::from_millis(300)).is_err()
    }

    /// Kills it at once, and gives what it had written by then and was not read yet.
    pub fn kill(mut self) -> Vec<Seen> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.frames.iter().collect()
    }

    /// Kills it at once, and gives the stream that it had written by then.
    pub fn kill_for_stream(mut self) -> Vec<u8> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.frames.iter().for_each(drop);
        self.written.lock().unwrap().clone()
    }

    /// Ends the input, and waits for a clean end.
    pub fn finish(mut self) -> Vec<Seen> {
        self.stdin = None;
        let mut rest: Vec<Seen> = self.frames.iter().collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(rest.pop().map(|frame| frame.kind), Some(Kind::END));
        rest
    }
}

/// How many of these bytes are whole items.
fn whole(bytes: &[u8]) -> usize {
    let (mut decoder, mut at) = (Decoder::default(), 0);
    while let Some((_, used)) = decoder.next(&bytes[at..]).unwrap() {
        at += used;
    }
    at
}
