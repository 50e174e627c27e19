//! A process under watch: its output, its memory, its processor time, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::tool;

/// Files of a process beside its connections.
const FILES: u64 = 200;

/// A tool that runs. It dies with this value.
pub(crate) struct Process {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    stderr: File,
}

impl Process {
    /// Starts a tool whose statistics page lies in that directory.
    pub(crate) fn start(name: &str, args: &[&str], dir: &Path) -> Process {
        let stats = stats_dir(dir);
        std::fs::create_dir_all(&stats).expect("a directory for statistics");
        let stderr = tempfile::tempfile().expect("a file for stderr");
        let mut command = tool(name);
        command.args(args).env("SOVEREIGN_STATS_DIR", stats).stdout(Stdio::piped());
        command.stderr(stderr.try_clone().expect("a descriptor"));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = child.stdout.take().map(BufReader::new);
        Process { child, output, stderr }
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.output.as_mut().expect("the output is not taken");
        output.read_line(&mut line).expect("a line");
        line
    }

    /// Its output, from here on.
    pub(crate) fn output(&mut self) -> ChildStdout {
        let output = self.output.take().expect("the output is taken once");
        assert!(output.buffer().is_empty(), "some of it was read already");
        output.into_inner()
    }

    /// What it has said on stderr.
    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr.rewind().expect("rewind");
        self.stderr.read_to_string(&mut text).expect("stderr is text");
        text
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kib << 10
    }

    /// User and system time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.read("stat");
        // The name, in parentheses, may hold anything.
        let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks: Vec<f64> = rest
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse().expect("ticks"))
            .collect();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("ticks a second");
        ticks.iter().sum::<f64>() / per_second as f64
    }

    fn read(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("a signal");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, and reads the last line that it printed.
    pub(crate) fn stop_and_read_counts(mut self) -> serde_json::Value {
        assert!(self.stop().success(), "{}", self.stderr());
        let mut text = String::new();
        let output = self.output.as_mut().expect("the output is not taken");
        output.read_to_string(&mut text).expect("text");
        let last = text.lines().last().expect("counts");
        serde_json::from_str(last).unwrap_or_else(|_| panic!("no counts: {last}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the statistics of a run lie.
pub(crate) fn stats_dir(dir: &Path) -> PathBuf {
    dir.join("stats")
}

/// Lets this process and those it starts have a connection for each host: as far as the hard
/// limit, and beyond it where this user may.
pub(crate) fn raise_file_limit(hosts: usize) {
    let wanted = hosts as u64 + FILES;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit on files");
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(hard), wanted.max(hard))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit on files");
    assert!(
        raised.is_ok() && soft >= wanted,
        "{hosts} hosts need {wanted} files and this user may have {hard}: raise it with \
         `ulimit -Hn {wanted}` as root, or take fewer hosts"
    );
}
