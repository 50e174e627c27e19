//! The chain under siege: `pipelines/siege` and the stages that it has started.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::bin;
use crate::siege::stats_dir;

/// The stages, in order.
pub(super) const STAGES: [&str; 5] =
    ["pds-tap", "dedupe", "car-extract", "sig-verify", "archive-pack"];

/// A slow machine gets its share of time in parts of this length.
const TURN: Duration = Duration::from_millis(10);

/// The script, in a process group of its own. All of it dies with this value.
pub(super) struct Chain {
    script: Child,
    stderr: File,
    stdout: PathBuf,
}

/// While it lives the chain is slow.
pub(super) struct Brake {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Chain {
    /// Starts the script for the hosts, the index and the certificates of a folder.
    pub(super) fn start(dir: &Path, idle: Duration) -> Chain {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let stderr = tempfile::tempfile().expect("a file for stderr");
        let stdout = dir.join("stdout");
        let mut command = Command::new("bash");
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SOVEREIGN_") {
                command.env_remove(variable);
            }
        }
        command.arg(root.join("pipelines/siege")).process_group(0).stdin(Stdio::null());
        command.stdout(File::create(&stdout).expect("a file for stdout"));
        command.stderr(stderr.try_clone().expect("a descriptor"));
        command.env("BIN", bin("pds-tap").parent().expect("a folder"));
        command.env("SOVEREIGN_STATS_DIR", stats_dir(dir)).env("IDLE", idle.as_secs().to_string());
        command.env("HOSTS", dir.join("hosts")).env("INDEX", dir.join("did.idx"));
        command.env("CA", dir.join("ca.pem")).env("DATA", dir);
        let script = command.spawn().expect("bash runs");
        Chain { script, stderr, stdout }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.script.id()).expect("a pid"))
    }

    /// Kills a stage, if it runs at this moment.
    pub(super) fn kill(&self, stage: usize) -> bool {
        let group = self.script.id().to_string();
        let found = std::fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = stat.rsplit_once(')')?;
            let in_group = rest.split_ascii_whitespace().nth(2)? == group;
            (in_group && name.ends_with(STAGES[stage])).then_some(pid)
        });
        found.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    /// Lets the chain run only one part in so many of time from here on.
    pub(super) fn slow_down(&self, parts: u32) -> Brake {
        let over = Arc::new(AtomicBool::new(false));
        let (seen, group) = (Arc::clone(&over), self.group());
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let _ = killpg(group, Signal::SIGSTOP);
                std::thread::sleep(TURN * (parts - 1));
                let _ = killpg(group, Signal::SIGCONT);
                std::thread::sleep(TURN);
            }
        });
        Brake { over, thread: Some(thread) }
    }

    /// Whether it has ended, and well.
    pub(super) fn ended(&mut self) -> Option<bool> {
        self.script.try_wait().expect("wait").map(|status| status.success())
    }

    /// How often the chain was started, as the script says at its end.
    pub(super) fn starts(&self) -> usize {
        let text = std::fs::read_to_string(&self.stdout).expect("stdout is text");
        let count = text.trim().strip_prefix("starts: ").expect("the script says so");
        count.parse().expect("a number")
    }

    /// What was said on stderr.
    pub(super) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr.rewind().expect("rewind");
        self.stderr.read_to_string(&mut text).expect("stderr is text");
        text
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // It has ended, or nobody needs it any longer.
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.script.wait();
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
