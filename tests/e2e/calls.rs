//! Pipes are asked to be wide, and few system calls pass many frames.
//!
//! The system counts the calls of a process, and still says how many there were when it has ended
//! and nobody has asked how. Frame by frame there would be as many as frames.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::Command;

use e2e::{Chain, Sim, tool, wait_until};
use frame::host::Role;
use frame::{Header, HostId, Kind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::joints::{Stage, end, stream};
use crate::text;

/// What every tool asks for.
const PIPE_BYTES: i32 = 1 << 20;

const FRAMES: usize = 20_000;

/// A page of a pipe is 20 of the frames below, and the system may hand them on by pages.
const CALLS_MAX: u64 = FRAMES as u64 / 10;

/// How many system calls a process has made to read, and to write.
#[derive(Debug, Clone, Copy)]
struct Calls {
    read: u64,
    written: u64,
}

impl Calls {
    /// All that it made, when it has ended.
    fn until_the_end_of(stage: &Stage) -> Calls {
        let pid = Pid::from_raw(stage.0.id() as i32);
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let [read, written] = ["syscr: ", "syscw: "].map(|name| {
            io.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
        });
        Calls { read, written }
    }

    fn are_few(self) -> bool {
        self.read <= CALLS_MAX && self.written <= CALLS_MAX
    }
}

fn is_wide(pipe: impl AsFd) -> bool {
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap() == PIPE_BYTES
}

/// A tool that writes into a pipe.
fn start(name: &str, args: &[&str], with: impl FnOnce(&mut Command)) -> (Stage, PipeReader) {
    let (from, stdout) = std::io::pipe().unwrap();
    let mut command = tool(name);
    with(command.args(args).stdout(stdout));
    let stage = Stage::start(&mut command);
    // It holds ends of the pipes.
    drop(command);
    (stage, from)
}

/// Feeds a tool this stream through a pipe; what came out.
/// It may not have taken many calls.
fn pass(name: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let (stdin, mut to): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    let (stage, mut from) = start(name, args, |command| {
        command.stdin(stdin);
    });
    wait_until(&format!("{name} {args:?}: wide pipes"), || {
        is_wide(&to) && (name == "archive-pack" || is_wide(&from))
    });
    let mut came = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            to.write_all(bytes).unwrap();
            to.write_all(&end()).unwrap();
        });
        from.read_to_end(&mut came).unwrap();
    });
    let calls = Calls::until_the_end_of(&stage);
    assert_eq!(stage.end().0, Some(0), "{name} {args:?}");
    assert!(calls.are_few(), "{name} {args:?}: {calls:?} for {FRAMES} frames");
    came
}

#[test]
fn every_filter_asks_for_wide_pipes_and_passes_many_frames_in_a_call() {
    let bytes = stream((0..FRAMES).map(|_| 200));
    let export = e2e::fixture("refnet/plc-export.jsonl");
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("did.idx");
    let build = ["--ops", text(&export), "--out", text(&index)];
    Chain::new().stage("index-build", &build).succeed();
    let second = folder.path().join("second.frames");
    let stages: [(&str, &[&str]); 6] = [
        ("dedupe", &["--window", "1000"]),
        ("car-extract", &[]),
        ("sig-verify", &["--index", text(&index)]),
        ("frame-split", &["--by", "did", "--out", "-", text(&second)]),
        ("frame-merge", &["-"]),
        ("frame-meter", &["--quiet"]),
    ];
    for (name, args) in stages {
        assert!(pass(name, args, &bytes).starts_with(&bytes), "{name}");
    }
}

/// The shortest event that has this in it, again and again, each another by its seq.
fn events(with: &str) -> Vec<u8> {
    let is_one = |event: &Vec<u8>| event.windows(with.len()).any(|it| it == with.as_bytes());
    let ours = e2e::refnet_events().into_iter().filter(is_one);
    let shortest = ours.min_by_key(Vec::len).unwrap();
    let mut bytes = frame::MAGIC.to_vec();
    frame::host::put(&mut bytes, HostId(1), Role::Pds, "pds.example.com").unwrap();
    for seq in 1..=FRAMES as u64 {
        let header = Header { seq, host: HostId(1), ..Header::new(Kind::EVENT, seq) };
        frame::put(&mut bytes, &header, &shortest).unwrap();
    }
    bytes
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn lines_and_raw_events_leave_many_in_a_call_too() {
    let bytes = events("#identity");
    assert_eq!(lines(&pass("frame-cat", &["--events"], &bytes)), FRAMES);
    assert_eq!(e2e::split(&pass("frame-cat", &["--raw", "-"], &bytes)).len(), FRAMES);
    assert!(lines(&pass("car-extract", &["--records"], &events("$type"))) >= FRAMES);
}

#[test]
fn an_archive_is_filled_and_read_with_few_calls() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    pass("archive-pack", &["--out", text(&archive), "--unproved"], &events("#identity"));
    for format in ["frames", "json", "jetstream"] {
        let (stage, mut from) = start("archive-cat", &[text(&archive), "--format", format], |_| {});
        // It has more to say than a pipe holds, and waits.
        wait_until("archive-cat: a wide pipe", || is_wide(&from));
        let mut came = Vec::new();
        from.read_to_end(&mut came).unwrap();
        let calls = Calls::until_the_end_of(&stage);
        assert_eq!(stage.end().0, Some(0));
        assert!(format == "frames" || lines(&came) >= FRAMES, "{format}");
        assert!(calls.are_few(), "archive-cat --format {format}: {calls:?} for {FRAMES} events");
    }
}

#[test]
fn a_tap_hands_on_many_events_in_a_call() {
    let all = FRAMES.to_string();
    let sim = Sim::start(&["--accounts", "1", "--backfill", &all, "--events", &all]);
    let args = ["--host", &sim.hosts[0], "--allow-private", "--cursor", "0", "--until-idle", "2"];
    let (stage, mut from) = start("pds-tap", &args, |_| {});
    wait_until("pds-tap: a wide pipe", || is_wide(&from));
    let mut came = Vec::new();
    from.read_to_end(&mut came).unwrap();
    let calls = Calls::until_the_end_of(&stage);
    assert_eq!(stage.end().0, Some(0));
    assert!(calls.written <= CALLS_MAX, "{calls:?} for {FRAMES} events");
}

#[test]
fn the_tools_of_the_directory_ask_for_wide_pipes_too() {
    let plc = e2e::fixture("refnet/plc-export.jsonl");
    let capture = e2e::fixture("refnet/firehose.u32be.zst");
    let sim = Sim::start(&["--replay", text(&capture), "--plc", text(&plc)]);
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("did.idx");
    let (fetch, mut from) = start("plc-fetch", &["--url", &sim.plc, "--allow-private"], |_| {});
    wait_until("plc-fetch: a wide pipe", || is_wide(&from));
    let (stdin, mut to) = std::io::pipe().unwrap();
    let args = ["--ops", "-", "--out", text(&index)];
    let (build, _) = start("index-build", &args, |command| {
        command.stdin(stdin);
    });
    wait_until("index-build: a wide pipe", || is_wide(&to));
    std::io::copy(&mut from, &mut to).unwrap();
    drop(to);
    assert_eq!([fetch.end().0, build.end().0], [Some(0); 2]);
    assert!(index.exists());
}
