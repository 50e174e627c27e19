//! Pages made as real tools make them, and ghost-mon to look at them.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use stats::{HostState, Page, State};
use tempfile::TempDir;

/// Far more than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A directory of pages, and the pages of a pipeline in it.
pub struct Running {
    pub dir: TempDir,
    pub pages: Vec<Page>,
}

pub fn page(dir: &Path, tool: &str, name: Option<&str>, input: &str, output: &str) -> Page {
    let page = Page::create_in(dir, tool, name, "0.1.0").unwrap();
    page.set_inputs(&[input]);
    page.set_output(output);
    page.state(State::Working);
    page
}

/// `pds-tap | dedupe -o ring:verify`, `sig-verify --name west ring:verify -o pipe`,
/// `archive-pack`, made in an order that is not theirs.
pub fn pipeline() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let pack = page(at, "archive-pack", None, "pipe:[22]", "/data/archive");
    let verify = page(at, "sig-verify", Some("west"), "ring:verify", "pipe:[22]");
    let dedupe = page(at, "dedupe", None, "pipe:[11]", "ring:verify");
    let tap = page(at, "pds-tap", None, "wss://relay.example.com", "pipe:[11]");

    tap.events_out(1_000);
    tap.gauge("hosts-connected").set(12);
    dedupe.events_in(1_000);
    dedupe.events_out(990);
    dedupe.dropped(10);
    dedupe.queue(256 << 10, 1 << 20);
    verify.events_in(990);
    verify.events_out(981);
    verify.refused(9);
    verify.refusal("bad-signature").add(7);
    verify.refusal("no-key").add(2);
    verify.queue(1 << 20, 1 << 20);
    verify.held(3);
    (0..99).for_each(|_| verify.latency(100_000));
    verify.latency(8_000_000);
    pack.named("log-bytes").add(3 << 20);
    pack.age(5_000_000);
    Running { dir, pages: vec![tap, dedupe, verify, pack] }
}

pub fn ghost_mon(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ghost-mon"));
    command.env("SOVEREIGN_STATS_DIR", dir).env_remove("LC_ALL").env("LC_CTYPE", "C.UTF-8");
    command.env_remove("NO_COLOR").env("TERM", "xterm").stdin(Stdio::null());
    command
}

pub fn run(dir: &Path, args: &[&str]) -> Output {
    ghost_mon(dir).args(args).output().unwrap()
}

pub fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn json(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Hosts of a tap: `h0` to `h8`, each louder and later than the one before; one dead, one new.
pub fn write_hosts(tap: &Page) -> stats::HostTable {
    let names: Vec<String> = (0..9).map(|n| format!("h{n}.example")).collect();
    let hosts = names.iter().zip(0..).map(|(name, n)| stats::Host {
        name: name.as_str(),
        state: HostState::Connected,
        events: n,
        bytes: n * 100,
        rate_milli: n * 2_000,
        seq: 70 + n,
        last_event_ns: 1,
        lag_ns: Some(n * 1_000_000),
        failures: 0,
        ..stats::Host::default()
    });
    let dead = stats::Host {
        name: "dead.example",
        state: HostState::Dead,
        failures: 7,
        ..stats::Host::default()
    };
    let new = stats::Host { name: "new.example", ..stats::Host::default() };
    let mut table = tap.host_table().unwrap();
    tap.set_hosts(table.write(hosts.chain([dead, new])).unwrap());
    table
}

pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}
