//! Joints that go wrong, between real stages.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{tool, wait_until};
use frame::host::Role;
use frame::{Header, HostId, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::text;

/// A kind that every tool passes on as it is.
const UNKNOWN: Kind = Kind(99);

/// A child that does not outlive its test.
pub(crate) struct Stage(pub(crate) Child);

impl Stage {
    pub(crate) fn start(command: &mut Command) -> Stage {
        Stage(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Its exit code and what it said, if that was piped.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (self.0.wait().unwrap().code(), said)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tool whose rings are in this folder.
fn ringing(name: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = tool(name);
    command.env("XDG_RUNTIME_DIR", folder).args(args).stderr(Stdio::piped());
    command.stdout(Stdio::null());
    command
}

/// Waits until that side of the ring says who it is.
fn until_held(folder: &Path, side: &str, stage: &Stage) {
    let path = folder.join("sovereign").join(format!("ring-a.{side}"));
    let pid = format!("{}\n", stage.0.id());
    wait_until("a side of the ring", || std::fs::read_to_string(&path).is_ok_and(|it| it == pid));
}

/// A stream of frames of these lengths, without an end.
pub(crate) fn stream(lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut bytes = frame::MAGIC.to_vec();
    frame::host::put(&mut bytes, HostId(1), Role::Pds, "pds.example.com").unwrap();
    for (seq, length) in lengths.into_iter().enumerate() {
        let header = Header { seq: seq as u64, host: HostId(1), ..Header::new(UNKNOWN, 1) };
        let body: Vec<u8> = (0..length).map(|at| (at * 31 + seq) as u8).collect();
        frame::put(&mut bytes, &header, &body).unwrap();
    }
    bytes
}

pub(crate) fn end() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &Header::new(Kind::END, 1), b"").unwrap();
    bytes
}

#[test]
fn two_of_a_side_are_refused_and_told_who_is_there_and_the_dead_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.frames");
    std::fs::write(&input, [stream([10]), end()].concat()).unwrap();
    let writer = || ringing("dedupe", folder.path(), &[text(&input), "--out", "ring:a"]);
    let reader = || ringing("car-extract", folder.path(), &["ring:b"]);

    let first = Stage::start(&mut writer());
    until_held(folder.path(), "writer", &first);
    let (code, said) = Stage::start(&mut writer()).end();
    assert_eq!(code, Some(1), "{said}");
    let holder = format!("ring:a has a writer already: process {} (dedupe)", first.0.id());
    assert!(said.contains(&holder), "{said}");

    let waiting = Stage::start(&mut reader());
    let path = folder.path().join("sovereign/ring-b.reader");
    let pid = format!("{}\n", waiting.0.id());
    wait_until("the reader", || std::fs::read_to_string(&path).is_ok_and(|it| it == pid));
    let (code, said) = Stage::start(&mut reader()).end();
    assert_eq!(code, Some(1), "{said}");
    let holder = format!("ring:b has a reader already: process {} (car-extract)", waiting.0.id());
    assert!(said.contains(&holder), "{said}");

    // Killed while it waits: its socket stays behind, and is nobody's.
    let socket = folder.path().join("sovereign/ring-a.sock");
    wait_until("the socket", || socket.exists());
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().0, None);
    assert!(socket.exists());
    let late = Stage::start(&mut ringing("car-extract", folder.path(), &["ring:a"]));
    let next = Stage::start(&mut writer());
    let ended = [next.end(), late.end()];
    assert!(ended.iter().all(|(code, _)| *code == Some(0)), "{ended:?}");
}

#[test]
fn no_memory_for_a_ring_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.frames");
    std::fs::write(&input, [stream([10]), end()].concat()).unwrap();
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes: enough for all but the ring.
    limited.args(["-c", "ulimit -f 1024; exec \"$0\" \"$@\""]).arg(e2e::bin("dedupe"));
    limited.args([text(&input), "--out", "ring:a"]).env("XDG_RUNTIME_DIR", folder.path());
    limited.stdout(Stdio::null()).stderr(Stdio::piped());
    let (code, said) = Stage::start(&mut limited).end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ring:a: no memory for a ring of"), "{said}");
}

#[test]
fn a_reader_that_stops_holds_all_up_and_frames_longer_than_the_ring_come_whole() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.frames");
    // Around half the ring, which is what it shows in one piece; the ring; the limit of a frame.
    let half = ring_bytes() / 2 - frame::HEADER_BYTES;
    let long = [half, half + 1, 10, 2 * half, 3 * half + 7, frame::PAYLOAD_BYTES_MAX, 0];
    let lengths = (0..2_000).map(|_| 5_400).chain(long).chain((0..500).map(|_| 200));
    let bytes = stream(lengths.clone().chain(lengths));

    let args = ["ring:a", "--out", text(&output)];
    let reader = Stage::start(&mut ringing("car-extract", folder.path(), &args));
    let mut writer = ringing("dedupe", folder.path(), &["--out", "ring:a"]);
    let mut writer = Stage::start(writer.stdin(Stdio::piped()));
    let mut to = writer.0.stdin.take().unwrap();
    let fed = AtomicUsize::new(0);
    let (go_on, stopped) = std::sync::mpsc::channel();
    let (fed, bytes) = (&fed, &bytes);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (n, piece) in bytes.chunks(100_000).enumerate() {
                if n == 50 {
                    stopped.recv().unwrap();
                }
                to.write_all(piece).unwrap();
                fed.fetch_add(piece.len(), Ordering::Relaxed);
            }
            to.write_all(&end()).unwrap();
            drop(to);
        });
        wait_until("frames through the ring", || {
            output.metadata().is_ok_and(|file| file.len() > 1 << 20)
        });
        reader.signal(Signal::SIGSTOP);
        go_on.send(()).unwrap();
        wait_until("the joints to be full", || {
            let before = fed.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
            before > 0 && before == fed.load(Ordering::Relaxed)
        });
        // What ring, pipe and buffers hold is less than half of it: the source is held up.
        assert!(fed.load(Ordering::Relaxed) < bytes.len() / 2);
        reader.signal(Signal::SIGCONT);
    });
    let ended = [writer.end(), reader.end()];
    assert!(ended.iter().all(|(code, _)| *code == Some(0)), "{ended:?}");
    let came = std::fs::read(&output).unwrap();
    let (came, last) = came.split_at(came.len() - frame::HEADER_BYTES);
    assert!(came == &bytes[..], "{} bytes came of {}", came.len(), bytes.len());
    assert_eq!(last[4], Kind::END.0);
}

/// What a tool makes its rings of.
fn ring_bytes() -> usize {
    1 << 20
}

/// The header page of a stage's ring, as the process itself has it.
struct HeaderPage {
    memory: File,
    from: u64,
}

impl HeaderPage {
    fn of(stage: &Stage) -> HeaderPage {
        let pid = stage.0.id();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let is_ours =
            |line: &&str| line.contains(" 00000000 ") && line.contains("sovereign-ring-a");
        let line = maps.lines().find(is_ours).unwrap_or_else(|| panic!("no ring: {maps}"));
        let from = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        HeaderPage { memory: memory.unwrap(), from }
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, self.from + at).unwrap();
        u64::from_le_bytes(word)
    }

    fn scribble(&self, at: u64) {
        self.memory.write_all_at(&[0xff; 4], self.from + at).unwrap();
    }
}

#[test]
fn a_header_word_that_is_scribbled_on_ends_the_stage_that_reads_it_with_what_it_read() {
    // Offsets of the header page, as `proto/ring` describes it.
    let (head, writer_closed, tail) = (128, 136, 256);
    for (word, at, by_reader) in
        [("head", head, true), ("writer_closed", writer_closed, true), ("tail", tail, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let reader = Stage::start(&mut ringing("car-extract", folder.path(), &["ring:a"]));
        let mut writer = ringing("dedupe", folder.path(), &["--out", "ring:a"]);
        let mut writer = Stage::start(writer.stdin(Stdio::piped()));
        let mut to = writer.0.stdin.take().unwrap();
        let bytes = stream([10]);
        to.write_all(&bytes).unwrap();
        let mut page = None;
        wait_until("a frame through the ring", || {
            let joined = folder.path().join("sovereign/ring-a.reader").exists();
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", writer.0.id())).unwrap();
            if joined && maps.contains("sovereign-ring-a") {
                page.get_or_insert_with(|| HeaderPage::of(&writer));
            }
            page.as_ref().is_some_and(|page| page.word(tail) == bytes.len() as u64)
        });
        let page = page.unwrap();
        // The reader looks at nothing while something is laid there for it.
        reader.signal(Signal::SIGSTOP);
        let more = &stream([10, 10])[frame::MAGIC.len()..];
        to.write_all(more).unwrap();
        wait_until("more in the ring", || page.word(head) == (bytes.len() + more.len()) as u64);
        page.scribble(at);
        let said = if by_reader {
            reader.signal(Signal::SIGCONT);
            let (code, said) = reader.end();
            assert_eq!(code, Some(1), "{word}: {said}");
            drop(to);
            // For the other, as with a pipe, its reader went away.
            assert_eq!(writer.end().0, Some(0), "{word}");
            said
        } else {
            to.write_all(&end()).unwrap();
            drop(to);
            let (code, said) = writer.end();
            assert_eq!(code, Some(1), "{word}: {said}");
            reader.signal(Signal::SIGCONT);
            assert_eq!(reader.end().0, Some(1), "{word}");
            said
        };
        assert!(said.contains(word) && said.contains("4294967295"), "{word}: {said}");
    }
}
