//! `plc-fetch` alone, against a directory inside the test: paging, faults, kills, torn files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod directory;

/// Dumps: their layouts, their hashes, what is missing or false in them.
#[path = "cli/import.rs"]
mod import;
/// Sequence numbers and the stream.
#[path = "cli/numbers.rs"]
mod numbers;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use directory::{Directory, Fault};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

struct Ops(TempDir);

impl Ops {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("ops")
    }

    fn command(&self, directory: &Directory, more: &[&str]) -> Command {
        let mut command = command(directory);
        command.arg("--out").arg(self.folder()).args(more);
        command
    }

    fn run(&self, directory: &Directory, more: &[&str]) -> Output {
        self.command(directory, more).output().unwrap()
    }

    /// Lines in no order, without what the form of a line adds.
    fn names(&self) -> Vec<String> {
        names(&self.lines())
    }

    /// Runs to the end, and says what was said.
    fn fetch(&self, directory: &Directory) -> String {
        let output = self.run(directory, &[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            paths.filter(|path| path.to_str().unwrap().ends_with(".jsonl.zst")).collect();
        files.sort();
        files
    }

    /// Everything in the whole frames, as zstdcat would print it.
    fn text(&self) -> String {
        let text: Vec<u8> = self.files().iter().flat_map(|path| whole_frames(path)).collect();
        String::from_utf8(text).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "half a line");
        text.lines().map(str::to_owned).collect()
    }
}

/// CIDs, sorted.
fn names(lines: &[String]) -> Vec<String> {
    let cid = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["cid"].as_str().unwrap().to_owned()
    };
    let mut names: Vec<String> = lines.iter().map(cid).collect();
    names.sort();
    names
}

fn whole_frames(path: &Path) -> Vec<u8> {
    let packed = fs::read(path).unwrap();
    let (mut rest, mut text) = (&packed[..], Vec::new());
    while let Ok(bytes @ 1..) = zstd::zstd_safe::find_frame_compressed_size(rest) {
        let frame = zstd::decode_all(&rest[..bytes]).unwrap();
        assert!(frame.ends_with(b"\n"), "a frame with half a line");
        text.extend(frame);
        rest = &rest[bytes..];
    }
    text
}

fn command(directory: &Directory) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plc-fetch"));
    let args = ["--url", &directory.url, "--allow-private", "--retry", "5ms"];
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that does not outlive its test.
struct Running(Option<Child>);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().try_into().unwrap()), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.child().try_wait().unwrap().is_some()
    }

    fn ended(mut self) -> Output {
        wait_until("the end of plc-fetch", || self.has_ended());
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn operations_are_stored_once_exactly_as_they_were_sent() {
    let directory = Directory::new((0..2500).map(|number| number * 7), 1000);
    let ops = Ops::new();
    let output = ops.run(&directory, &["--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["operations"], 2500);
    assert_eq!(report["last_created_at"], "2026-01-01T00:00:17.493Z");
    assert_eq!(ops.lines(), directory.lines());
    // Again, with and without something to fetch.
    let before = fs::read(&ops.files()[0]).unwrap();
    assert_eq!(ops.fetch(&directory), "");
    assert_eq!(fs::read(&ops.files()[0]).unwrap(), before);
    (2500..2600).for_each(|number| directory.add(number * 7));
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn operations_of_one_millisecond_on_both_sides_of_a_page_are_all_there() {
    // Pages of ten, and runs of up to eight at one time that lie across their borders.
    let directory = Directory::new((0..500).map(|number| number / 8 * 3), 10);
    let ops = Ops::new();
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn a_page_within_one_millisecond_is_an_error_and_not_a_skip() {
    let directory = Directory::new((0..5).chain([9; 1200]).chain(20..30), 1000);
    let ops = Ops::new();
    let output = ops.run(&directory, &[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "a whole page of 1000 operations at 2026-01-01T00:00:00.009Z";
    assert!(said(&output).contains(expected), "{output:?}");
    assert_eq!(ops.lines(), directory.lines()[..1005]);
}

#[test]
fn an_operation_that_appears_late_with_an_earlier_time_is_fetched() {
    let directory = Directory::new((0..100).map(|number| number * 1000), 1000);
    let ops = Ops::new();
    ops.fetch(&directory);
    directory.add(99_000);
    directory.add(70_500);
    ops.fetch(&directory);
    let (mut stored, mut there) = (ops.lines(), directory.lines());
    stored.sort();
    there.sort();
    assert_eq!(stored, there);
}

#[test]
fn a_new_file_is_begun_now_and_then_and_the_run_goes_on_over_files() {
    let directory = Directory::new((0..95).map(|number| number * 10), 10);
    let ops = Ops::new();
    for step in [95, 140] {
        let output = ops.run(&directory, &["--file-lines", "25"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(ops.lines(), directory.lines());
        (95..140).for_each(|number| directory.add(number * 10 + step));
    }
    let names: Vec<_> =
        ops.files().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names[..2], ["000001.jsonl.zst", "000002.jsonl.zst"]);
    assert!(names.len() >= 4);
}

#[test]
fn after_begins_behind_a_time_in_an_empty_folder() {
    let directory = Directory::new((0..100).map(|number| number * 1000), 1000);
    let ops = Ops::new();
    let output = ops.run(&directory, &["--after", "2026-01-01T00:00:49Z"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ops.lines(), directory.lines()[50..]);
    let output = ops.run(&directory, &["--after", "yesterday"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_directory_that_is_asked_too_soon_gets_the_time_it_wants() {
    let directory = Directory::new(0..50, 10);
    directory.fault(Fault::Status("429 Too Many Requests\r\nretry-after: 1".into()));
    let ops = Ops::new();
    let output = ops.run(&directory, &["--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["requests_refused"], 1);
    assert_eq!(report["interfaces"], serde_json::json!(["time"]));
    let asked = directory.state.lock().unwrap().asked.clone();
    assert!(asked[1].1 - asked[0].1 >= Duration::from_secs(1));
    assert_eq!(ops.lines(), directory.lines());
    assert!(ops.folder().join("plc-fetch.state").exists());
    // What was learned may be lost, or be nonsense.
    fs::write(ops.folder().join("plc-fetch.state"), [0xff; 100]).unwrap();
    ops.fetch(&directory);
    fs::remove_file(ops.folder().join("plc-fetch.state")).unwrap();
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn failures_that_pass_are_waited_for() {
    let directory = Directory::new(0..30, 10);
    for fault in [
        Fault::Status("500 Internal Server Error".into()),
        Fault::Status("503 Service Unavailable\r\nretry-after: 0".into()),
        Fault::Cut(30),
        Fault::Silence(Duration::from_millis(900)),
        Fault::Body(directory.lines()[0][..40].into()),
    ] {
        directory.fault(fault);
    }
    let ops = Ops::new();
    let output = ops.run(&directory, &["--timeout", "500ms"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ops.lines(), directory.lines());
    let said = said(&output);
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(said.contains("status 500; again in"), "{said}");
    assert!(said.contains("no answer within the time for it; again in"), "{said}");
    assert!(said.contains("the answer breaks off in its line 1; again in"), "{said}");
}

#[test]
fn failures_that_stay_are_an_error_with_the_cause() {
    let directory = Directory::new(0..30, 10);
    for _ in 0..4 {
        directory.fault(Fault::Status("502 Bad Gateway".into()));
    }
    let ops = Ops::new();
    let output = ops.run(&directory, &["--retries", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let last = format!("plc-fetch: {}: given up: status 502", directory.url);
    assert_eq!(said(&output).lines().last(), Some(&*last));

    directory.fault(Fault::Status("404 Not Found".into()));
    let output = ops.run(&directory, &[]);
    assert_eq!(said(&output), format!("plc-fetch: {}: status 404\n", directory.url));
    directory.fault(Fault::Body("<html>\n<body>".into()));
    let output = ops.run(&directory, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("line 1 of the answer is no operation"), "{output:?}");
    assert_eq!(ops.lines(), [""; 0]);
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_stores_nothing_twice() {
    let directory = Directory::new((0..3000).map(|number| number / 3 * 5), 10);
    directory.state.lock().unwrap().delay = Duration::from_millis(1);
    let ops = Ops::new();
    let mut kills = 0;
    for round in 0..12u64 {
        let mut child = Running::start(ops.command(&directory, &["--file-lines", "400"]));
        let before = directory.requests();
        wait_until("some questions", || directory.requests() > before + 5 || child.has_ended());
        thread::sleep(Duration::from_micros(round * 1700));
        child.signal(Signal::SIGKILL);
        kills += u32::from(!child.ended().status.success());
        let (stored, there) = (ops.lines(), directory.lines());
        assert_eq!(stored, there[..stored.len()], "after kill {round}");
    }
    assert!(kills > 5);
    directory.state.lock().unwrap().delay = Duration::ZERO;
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_fetched_again() {
    let directory = Directory::new((0..60).map(|number| number * 10), 20);
    let ops = Ops::new();
    ops.fetch(&directory);
    let file = ops.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let first = zstd::zstd_safe::find_frame_compressed_size(&whole).unwrap();
    for length in (0..whole.len()).step_by(29).chain([first - 1, first, first + 1, whole.len() - 1])
    {
        fs::write(&file, &whole[..length]).unwrap();
        let said = ops.fetch(&directory);
        assert_eq!(ops.lines(), directory.lines(), "torn at {length}");
        let torn = ![0, first].contains(&length) && fs::read(&file).unwrap() == whole;
        assert!(!torn || said.contains("were no whole frame and are cut off"), "{length}: {said}");
    }
    // What a power failure leaves: a file of the right length and blocks that were never written.
    let mut zeros = whole.clone();
    zeros[first + 9..].fill(0);
    fs::write(&file, zeros).unwrap();
    assert!(ops.fetch(&directory).contains("cut off"));
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn a_file_without_a_frame_does_not_hide_the_one_before_it() {
    let directory = Directory::new((0..60).map(|number| number * 10), 20);
    let ops = Ops::new();
    ops.fetch(&directory);
    fs::write(ops.folder().join("000002.jsonl.zst"), b"").unwrap();
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
    directory.add(999);
    ops.fetch(&directory);
    assert_eq!(ops.lines(), directory.lines());
    assert!(fs::metadata(ops.folder().join("000002.jsonl.zst")).unwrap().len() > 0);
}

#[test]
fn following_brings_what_is_new_until_a_signal_ends_it_with_0() {
    for stop in [Signal::SIGTERM, Signal::SIGINT] {
        let directory = Directory::new((0..30).map(|number| number * 10), 1000);
        let ops = Ops::new();
        let child = Running::start(ops.command(&directory, &["--follow", "--every", "10ms"]));
        wait_until("the first operations", || ops.lines().len() == 30);
        directory.add(400);
        directory.add(150);
        wait_until("new operations, a late one among them", || ops.lines().len() == 32);
        // A directory that is away for a while is asked again.
        (0..20).for_each(|_| directory.fault(Fault::Status("503 Later\r\nretry-after: 0".into())));
        directory.add(500);
        wait_until("the one after the failures", || ops.lines().len() == 33);
        child.signal(stop);
        let output = child.ended();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn a_signal_is_obeyed_while_the_directory_is_silent() {
    let directory = Directory::new(0..30, 10);
    directory.fault(Fault::Silence(DEADLINE * 4));
    let ops = Ops::new();
    let child = Running::start(ops.command(&directory, &[]));
    wait_until("a question", || directory.requests() == 1);
    child.signal(Signal::SIGTERM);
    assert!(child.ended().status.success());
    // And while it makes a pause.
    directory.fault(Fault::Status("429 Too Many Requests\r\nretry-after: 3000".into()));
    let child = Running::start(ops.command(&directory, &[]));
    wait_until("a question", || directory.requests() == 2);
    thread::sleep(Duration::from_millis(50));
    child.signal(Signal::SIGTERM);
    assert!(child.ended().status.success());
}

#[test]
fn of_two_in_one_folder_the_second_is_told_who_the_first_is() {
    let directory = Directory::new(0..30, 1000);
    let ops = Ops::new();
    let first = Running::start(ops.command(&directory, &["--follow", "--every", "10ms"]));
    wait_until("the first", || ops.lines().len() == 30);
    let second = ops.run(&directory, &[]);
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("the plc-fetch of process {} is at work here\n", first.id());
    assert!(said(&second).ends_with(&expected), "{second:?}");
    // The lock dies with its process.
    first.signal(Signal::SIGKILL);
    first.ended();
    ops.fetch(&directory);
}

#[test]
fn standard_output_gets_plain_lines() {
    let directory = Directory::new((0..200).map(|number| number / 3), 10);
    let output = command(&directory).args(["--out", "-"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), directory.lines().join("\n") + "\n");
    // A reader that has enough ends it without a word.
    let mut following = command(&directory);
    following.args(["--follow", "--every", "5ms"]);
    let mut child = Running::start(following);
    let mut lines = BufReader::new(child.child().stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), directory.lines()[0]);
    drop(lines);
    (1000..1010).for_each(|time| directory.add(time));
    let output = child.ended();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let directory = Directory::new((0..2000).map(|number| number * 10), 50);
    let ops = Ops::new();
    // A limit on the size of files stands in for the end of a disk.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec {} --url {} --allow-private --out {}",
        env!("CARGO_BIN_EXE_plc-fetch"),
        directory.url,
        ops.folder().display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("000001.jsonl.zst: what came before is safe; make room"));
    let stored = ops.lines();
    assert!(!stored.is_empty() && stored.len() < 2000);
    let packed = fs::read(&ops.files()[0]).unwrap();
    assert_eq!(
        zstd::decode_all(&packed[..]).unwrap(),
        whole_frames(&ops.files()[0]),
        "no torn end"
    );
    assert_eq!(ops.fetch(&directory), "");
    assert_eq!(ops.lines(), directory.lines());
}

#[test]
fn private_addresses_are_reached_only_when_allowed() {
    let directory = Directory::new(0..3, 10);
    let mut command = Command::new(env!("CARGO_BIN_EXE_plc-fetch"));
    let output = command.args(["--url", &directory.url]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--allow-private lets it be reached"), "{output:?}");
    assert_eq!(directory.requests(), 0);
}

#[test]
fn foreign_files_are_left_as_they_are() {
    let directory = Directory::new(0..3, 10);
    let ops = Ops::new();
    fs::create_dir(ops.folder()).unwrap();
    let dump = zstd::encode_all(&b"not an operation\n"[..], 3).unwrap();
    fs::write(ops.folder().join("000007.jsonl.zst"), &dump).unwrap();
    let output = ops.run(&directory, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("000007.jsonl.zst"), "{output:?}");
    assert_eq!(fs::read(ops.folder().join("000007.jsonl.zst")).unwrap(), dump);
}

#[test]
fn misuse_ends_with_2() {
    let run =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_plc-fetch")).args(args).output().unwrap();
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["--out", "-", "--json"]).status.code(), Some(2));
    assert_eq!(run(&["--every", "5parsecs"]).status.code(), Some(2));
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(
        String::from_utf8_lossy(&help.stdout).contains("plc-fetch --url https://plc.directory")
    );
}
