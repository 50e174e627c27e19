//! The tool as a process, and what it wrote.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use frame::{Decoder, Frame, Header, HostId, Item, Kind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::server::LOCAL;

/// A frame, made easy to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Host { id: u32, relay: bool, name: String },
    Event { host: u32, epoch: u32, seq: u64, body: Vec<u8> },
    Mark(Vec<(u32, u32, u64)>),
    Hole { host: u32, after: u64, until: u64 },
    End,
}

pub struct Tap {
    child: Child,
    reader: Option<JoinHandle<()>>,
    stderr: Arc<Mutex<String>>,
    pub stdout: Option<ChildStdout>,
    bytes: Vec<u8>,
}

pub struct Done {
    pub status: ExitStatus,
    pub frames: Vec<Seen>,
    pub stderr: String,
}

/// Longer than anything here takes, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the tool, with short pauses, private addresses allowed, and the certificate believed
/// that all hosts here have.
pub fn tap(args: &[&str]) -> Tap {
    let ca = LOCAL.1.to_str().unwrap();
    bare(&[&["--allow-private", "--retry", "20ms", "--ca", ca], args].concat())
}

/// Starts the tool as it is.
pub fn bare(args: &[&str]) -> Tap {
    start(Command::new(env!("CARGO_BIN_EXE_pds-tap")).args(args).stdin(Stdio::null()))
}

/// Starts the tool with an input.
pub fn fed(args: &[&str], input: &str) -> Tap {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pds-tap"));
    let mut tap = start(command.args(args).stdin(Stdio::piped()));
    tap.child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    tap
}

pub fn start(command: &mut Command) -> Tap {
    let mut child = command
        .env("SOVEREIGN_STATS_DIR", std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take();
    let mut pipe = child.stderr.take().unwrap();
    let stderr: Arc<Mutex<String>> = Arc::default();
    let text = Arc::clone(&stderr);
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    Tap { child, reader: Some(reader), stderr, stdout, bytes: Vec::new() }
}

impl Tap {
    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Memory in KiB: what the process has, and the most that it ever had.
    pub fn memory(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Reads until an event of that host and seq has come, or the output ends.
    pub fn until(&mut self, host: u32, seq: u64) {
        self.until_frame(|header| {
            (header.kind, header.host, header.seq) == (Kind::EVENT, HostId(host), seq)
        });
    }

    /// Reads until so many hosts have sent an event of that seq. Says which.
    pub fn until_hosts(&mut self, count: usize, seq: u64) -> Vec<u32> {
        let mut hosts = Vec::new();
        self.until_frame(|header| {
            if (header.kind, header.seq) == (Kind::EVENT, seq) {
                hosts.push(header.host.0);
            }
            hosts.len() == count
        });
        hosts
    }

    /// Reads from the beginning until a frame is the one, or the output ends.
    fn until_frame(&mut self, mut is_it: impl FnMut(&Header) -> bool) {
        let mut decoder = Decoder::default();
        let mut at = 0;
        loop {
            while let Some((item, used)) = decoder.next(&self.bytes[at..]).unwrap() {
                at += used;
                if let Item::Frame(Frame { header, .. }) = item
                    && is_it(&header)
                {
                    return;
                }
            }
            let mut chunk = vec![0; 1 << 16];
            let stdout = self.stdout.as_mut().unwrap();
            assert_readable(stdout);
            match stdout.read(&mut chunk).unwrap() {
                0 => return,
                count => self.bytes.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Waits until the tool has said this.
    pub fn says(&self, words: &str) {
        self.says_times(words, 1);
    }

    /// Waits until the tool has said this so often.
    pub fn says_times(&self, words: &str, times: usize) {
        let said = || self.stderr.lock().unwrap().matches(words).count();
        let deadline = Instant::now() + PATIENCE;
        while said() < times {
            assert!(Instant::now() < deadline, "not said: {words:?}: {:?}", self.stderr);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads so much of the output.
    pub fn read_exact(&mut self, buffer: &mut [u8]) {
        self.stdout.as_mut().unwrap().read_exact(buffer).unwrap();
        self.bytes.extend_from_slice(buffer);
    }

    /// Asks it to stop when that event has come, and reads to the end.
    pub fn stop_after(mut self, host: u32, seq: u64) -> Done {
        self.until(host, seq);
        self.signal(Signal::SIGTERM);
        self.finish().ok()
    }

    /// Reads to the end of the output.
    pub fn finish(mut self) -> Done {
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_end(&mut self.bytes).unwrap();
        }
        let status = self.wait();
        self.reader.take().unwrap().join().unwrap();
        let stderr = self.stderr.lock().unwrap().clone();
        Done { status, frames: frames(&self.bytes), stderr }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("pds-tap did not end: {:?}", self.stderr);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Tap {
    /// A test that failed leaves none behind, which would call at ports that others have by then.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn assert_readable(stdout: &ChildStdout) {
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut fds, timeout).unwrap(), 1, "nothing came in {PATIENCE:?}");
}

impl Done {
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        self
    }

    /// Seq and bytes of all events of a host, in order.
    pub fn events(&self, id: u32) -> Vec<(u64, Vec<u8>)> {
        let own = |frame: &Seen| match frame {
            Seen::Event { host, seq, body, .. } if *host == id => Some((*seq, body.clone())),
            _ => None,
        };
        self.frames.iter().filter_map(own).collect()
    }

    pub fn seqs(&self, id: u32) -> Vec<u64> {
        self.events(id).into_iter().map(|(seq, _)| seq).collect()
    }

    /// The last mark of a host.
    pub fn mark(&self, id: u32) -> Option<(u32, u64)> {
        let marks = self.frames.iter().filter_map(|frame| match frame {
            Seen::Mark(marks) => Some(marks),
            _ => None,
        });
        let mut own = marks.flatten().filter(|(host, _, _)| *host == id);
        own.next_back().map(|(_, epoch, seq)| (*epoch, *seq))
    }

    /// No mark is ahead of the events before it, none is behind the one before it, every host is
    /// named before its first frame, and all ends with a mark of everything and an `end`.
    pub fn holds_together(&self) {
        let mut last = std::collections::HashMap::new();
        let mut marked = std::collections::HashMap::new();
        let mut named = std::collections::HashSet::new();
        for frame in &self.frames {
            match frame {
                Seen::Host { id, .. } => assert!(named.insert(*id), "host {id} is named twice"),
                Seen::Event { host, epoch, seq, .. } => {
                    assert!(named.contains(host), "host {host} is not named");
                    let before = last.insert(*host, (*epoch, *seq));
                    assert!(before < Some((*epoch, *seq)), "{before:?} before {seq}");
                }
                Seen::Mark(marks) => {
                    for (host, epoch, seq) in marks {
                        assert!(named.contains(host), "host {host} is not named");
                        if *seq == 0 {
                            // It was joined, and has said nothing yet.
                            assert_eq!(last.get(host), None, "mark of {host}");
                            continue;
                        }
                        assert_eq!(last.get(host), Some(&(*epoch, *seq)), "mark of {host}");
                        let before = marked.insert(*host, (*epoch, *seq));
                        assert!(before < Some((*epoch, *seq)));
                    }
                }
                Seen::Hole { .. } | Seen::End => {}
            }
        }
        assert_eq!(self.frames.last(), Some(&Seen::End));
        assert_eq!(last, marked, "not everything is marked at the end");
    }
}

pub fn frames(bytes: &[u8]) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut rest = bytes;
    let mut frames = Vec::new();
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        let Item::Frame(frame) = item else { continue };
        let host = frame.header.host.0;
        frames.push(match frame.header.kind {
            Kind::HOST => {
                let read = frame::host::read(&frame).unwrap();
                let relay = read.role == frame::host::Role::Relay;
                Seen::Host { id: host, relay, name: read.name.into() }
            }
            Kind::EVENT => {
                let year_2020_ns = 1_577_836_800_000_000_000;
                assert!(frame.header.time_ns > year_2020_ns, "no receive time");
                let (epoch, seq) = (frame.header.epoch, frame.header.seq);
                Seen::Event { host, epoch, seq, body: frame.body().to_vec() }
            }
            Kind::MARK => {
                let marks = frame::mark::read(&frame).unwrap();
                Seen::Mark(marks.map(|mark| (mark.host.0, mark.epoch, mark.seq)).collect())
            }
            Kind::HOLE => {
                let hole = frame::hole::read(&frame).unwrap();
                Seen::Hole { host, after: hole.after, until: hole.until }
            }
            Kind::END => Seen::End,
            other => panic!("a frame of kind {other:?}"),
        });
    }
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    frames
}

/// An archive whose last mark of a host is this one.
pub fn archive_with_mark(dir: &std::path::Path, name: &str, epoch: u32, seq: u64) {
    let host = HostId(1);
    let mark = frame::mark::Mark { host, epoch, seq };
    let mut stream = Vec::new();
    frame::put_magic(&mut stream);
    frame::host::put(&mut stream, host, frame::host::Role::Pds, name).unwrap();
    frame::mark::put(&mut stream, &mut Vec::new(), 1, [mark]).unwrap();
    let mut writer = archive::Writer::open(dir, archive::Options::default()).unwrap();
    let mut decoder = Decoder::default();
    let mut rest = stream.as_slice();
    while let Some((item, used)) = decoder.next(rest).unwrap() {
        rest = &rest[used..];
        match item {
            Item::Start => writer.start(),
            Item::Frame(frame) => _ = writer.put(&frame).unwrap(),
        }
    }
    writer.finish(false).unwrap();
}
