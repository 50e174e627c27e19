//! Several stages, joined by pipes, that can be killed one by one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bin;

/// A command for a tool, with nothing from the outside in its environment that could change it.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(bin(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SOVEREIGN_") {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Stages from left to right, as in a shell.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    stages: Vec<(String, Vec<String>)>,
}

/// A chain that runs. Stages that still run when it is dropped are killed.
#[derive(Debug)]
pub struct Running {
    stages: Vec<(String, Child, File)>,
    output: Option<std::process::ChildStdout>,
}

/// How a stage ended.
#[derive(Debug)]
pub struct Ended {
    /// Which stage.
    pub tool: String,
    /// Its exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    /// What it said on stderr.
    pub stderr: String,
}

impl Chain {
    /// An empty chain.
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Appends a stage.
    #[must_use]
    pub fn stage(mut self, tool: &str, args: &[&str]) -> Chain {
        self.stages.push((tool.into(), args.iter().map(|arg| (*arg).into()).collect()));
        self
    }

    /// Starts all stages.
    pub fn start(&self) -> Running {
        let mut stages = Vec::new();
        let mut output: Option<std::process::ChildStdout> = None;
        for (name, args) in &self.stages {
            let log = tempfile::tempfile().expect("a file for stderr");
            let mut command = tool(name);
            command.args(args).stdout(Stdio::piped());
            command.stderr(log.try_clone().expect("a descriptor"));
            if let Some(output) = output.take() {
                command.stdin(output);
            }
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
            output = child.stdout.take();
            stages.push((name.clone(), child, log));
        }
        Running { stages, output }
    }

    /// Starts all stages and waits for their end; what the last one wrote, and how each ended.
    pub fn run(&self) -> (Vec<u8>, Vec<Ended>) {
        let mut running = self.start();
        let mut output = Vec::new();
        if let Some(mut last) = running.output.take() {
            last.read_to_end(&mut output).expect("the output");
        }
        (output, running.wait())
    }

    /// Like [`Chain::run`]; fails unless every stage ends with 0.
    pub fn succeed(&self) -> Vec<u8> {
        let (output, ended) = self.run();
        for stage in &ended {
            assert_eq!(stage.code, Some(0), "{stage:#?}\nof {ended:#?}");
        }
        output
    }
}

impl Running {
    /// Kills a stage at once.
    pub fn kill(&mut self, stage: usize) {
        self.signal(stage, Signal::SIGKILL);
    }

    /// Sends a stage a signal.
    pub fn signal(&mut self, stage: usize, signal: Signal) {
        let pid = i32::try_from(self.stages[stage].1.id()).expect("a pid");
        let _ = kill(Pid::from_raw(pid), signal);
    }

    /// The lines of the last stage's output, as they come.
    pub fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let output = self.output.take().expect("the output is taken once");
        BufReader::new(output).lines().map_while(Result::ok)
    }

    /// Closes the reading end of the last stage's output.
    pub fn close_output(&mut self) {
        self.output = None;
    }

    /// Waits until every stage has ended, at most a minute and a half.
    pub fn wait(mut self) -> Vec<Ended> {
        // Nobody may block on an output that nobody reads.
        let drain = self.output.take().map(|mut output| {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut output, &mut std::io::sink());
            })
        });
        let begun = Instant::now();
        let mut ended = Vec::new();
        for (tool, child, log) in &mut self.stages {
            let status = loop {
                if let Some(status) = child.try_wait().expect("wait") {
                    break status;
                }
                assert!(begun.elapsed() < Duration::from_secs(90), "{tool} does not end");
                std::thread::sleep(Duration::from_millis(5));
            };
            let stderr = read_from_start(log);
            ended.push(Ended { tool: tool.clone(), code: status.code(), stderr });
        }
        if let Some(drain) = drain {
            drain.join().expect("the drain ends with the chain");
        }
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.stages {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_from_start(log: &mut File) -> String {
    use std::io::Seek;
    let mut text = String::new();
    log.rewind().expect("rewind");
    log.read_to_string(&mut text).expect("stderr is text");
    text
}

/// The JSON lines of an output or a file.
pub fn json_lines(text: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}
