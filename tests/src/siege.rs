//! The siege: `pds-tap` against thousands of hosts at once, and what that costs.
//!
//! `pds-sim --load` serves the hosts, and sends events that bear their time; `pds-tap` holds a TLS
//! WebSocket to each; a reader at the end of its pipe knows every event by host and seq. So it is
//! known of each event whether it came, how often, and how late. Memory and processor time are
//! the system's own figures of the two processes. With churn, hosts go away all the time and come
//! back, and what is asked is whether memory ends where it began: both figures are the middle of many
//! readings, at the same work, once every host has spoken and just before the last event.

mod process;
mod reader;
mod report;

pub(crate) use process::{Process, raise_file_limit, stats_dir};
pub use report::Report;

use std::path::Path;
use std::time::{Duration, Instant};

use reader::{Reader, Received};

use crate::{json_lines, wait_until};

/// What is not there when nothing has come for that long will not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// All have to be joined within this time, and some more is waited before that is given up.
const JOIN_MAX: Duration = Duration::from_secs(240);

/// What is laid before the tap.
#[derive(Debug, Clone)]
pub struct Siege {
    /// Hosts, each at an address of its own.
    pub hosts: usize,
    /// Events a second over all of them.
    pub rate: u64,
    /// How long they come.
    pub seconds: u64,
    /// Hosts that go away each second.
    pub churn: f64,
    /// For how long.
    pub away: Duration,
    /// Resets of a connection after so many events; 0 for none.
    pub drop_conn: u64,
    /// How long the hosts stay silent after the last of them was joined, in seconds: memory is
    /// read meanwhile.
    pub settle: u64,
}

impl Siege {
    /// As the variables `SIEGE_HOSTS`, `SIEGE_RATE`, `SIEGE_SECONDS` and `SIEGE_CHURN` say: 10,000
    /// hosts, 5,000 events a second, ten minutes, no churn.
    pub fn from_env() -> Siege {
        Siege {
            hosts: variable("SIEGE_HOSTS", 10_000.0) as usize,
            rate: variable("SIEGE_RATE", 5_000.0) as u64,
            seconds: variable("SIEGE_SECONDS", 600.0) as u64,
            churn: variable("SIEGE_CHURN", 0.0),
            away: Duration::from_secs(10),
            drop_conn: 0,
            settle: 6,
        }
    }

    /// Lays it, and says what was seen. `progress` is told how it stands, now and then.
    pub fn run(&self, mut progress: impl FnMut(&str)) -> Report {
        raise_file_limit(self.hosts);
        let settle = Duration::from_secs(self.settle);
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let (sim, hosts) = self.start_sim(dir);
        let list: String = hosts.iter().map(|host| format!("{host}\n")).collect();
        let (all, one) = (dir.join("hosts"), dir.join("one"));
        std::fs::write(&all, list).expect("the list of hosts");
        std::fs::write(&one, &hosts[0]).expect("the list of one host");

        let alone_bytes = memory_with_one(dir, &one);
        let began = Instant::now();
        let mut tap = start_tap(dir, &all);
        let reader = Reader::start(tap.output(), hosts.len());
        let mut connected = 0;
        while connected < hosts.len() && began.elapsed() < JOIN_MAX {
            connected = connected_hosts(dir);
            progress(&format!("{connected} of {} hosts connected", hosts.len()));
            std::thread::sleep(Duration::from_millis(200));
        }
        let join = began.elapsed();
        assert_eq!(connected, hosts.len(), "not all are joined:\n{}", tap.stderr());
        std::thread::sleep(settle / 2);
        let quiet_bytes = tap.memory();
        let (tap_cpu, sim_cpu) = (tap.cpu(), sim.cpu());

        let mut memory = Memory::default();
        let truth = dir.join("truth.jsonl");
        let mut sent: Option<u64> = None;
        let (mut last, mut moved) = (0, Instant::now());
        let mut first = None;
        while sent != Some(reader.count()) && moved.elapsed() < PATIENCE + settle {
            if sent.is_none() && truth.exists() {
                sent = Some(total(&truth));
            }
            let count = reader.count();
            if count != last {
                (last, moved) = (count, Instant::now());
                first.get_or_insert(moved);
            }
            let bytes = tap.memory();
            if let (Some(first), None) = (first, sent) {
                memory.look(first.elapsed(), bytes);
            }
            progress(&format!("{count} events, {} MiB", bytes >> 20));
            std::thread::sleep(Duration::from_millis(if sent.is_none() { 500 } else { 20 }));
        }
        let (tap_cpu, sim_cpu) = (tap.cpu() - tap_cpu, sim.cpu() - sim_cpu);
        // Silence again, and all who were away come back.
        if self.churn > 0.0 {
            wait_until("all hosts back", || connected_hosts(dir) == hosts.len());
        }
        std::thread::sleep(settle / 2);
        let end_bytes = tap.memory();
        let mut monitor = Monitor::default();
        // The table is written once a second.
        wait_until("the table of hosts", || {
            monitor = Monitor::list(dir);
            monitor.events == reader.count()
        });

        let ended = tap.stop();
        assert!(ended.success(), "pds-tap ended with {ended}:\n{}", tap.stderr());
        let received = reader.finish();
        let counts = sim.stop_and_read_counts();
        self.report(Seen {
            join,
            alone_bytes,
            quiet_bytes,
            end_bytes,
            memory,
            monitor,
            tap_cpu,
            sim_cpu,
            truth: read_truth(&truth),
            received,
            counts,
        })
    }

    /// How long after the first event memory is what it will be (each host has spoken), and over
    /// how long it is read then, and again at the end.
    fn minute(&self) -> Duration {
        Duration::from_secs((self.seconds / 4).min(60))
    }

    fn start_sim(&self, dir: &Path) -> (Process, Vec<String>) {
        let text = |name: &str| dir.join(name).to_str().expect("a path of text").to_owned();
        let (ca, truth) = (text("ca.pem"), text("truth.jsonl"));
        let numbers = [
            ("--hosts", self.hosts.to_string()),
            ("--rate", self.rate.to_string()),
            ("--events", (self.rate * self.seconds).to_string()),
            ("--churn", self.churn.to_string()),
            ("--away", format!("{}s", self.away.as_secs())),
            ("--settle", format!("{}s", self.settle)),
            ("--drop-conn", self.drop_conn.to_string()),
        ];
        let mut args = vec!["--load", "--tls", "--ca-out", &ca, "--truth", &truth, "--counts"];
        args.extend(["--accounts", "100", "--records", "200", "--backfill", "2000"]);
        args.extend(["--start", "all"]);
        for (name, number) in numbers.iter().filter(|(_, number)| *number != "0") {
            args.extend([*name, number]);
        }
        let mut sim = Process::start("pds-sim", &args, dir);
        let ready = sim.line();
        let ready: serde_json::Value =
            serde_json::from_str(&ready).unwrap_or_else(|_| panic!("not ready: {}", sim.stderr()));
        let hosts = ready["hosts"].as_array().expect("hosts");
        (sim, hosts.iter().map(|host| host.as_str().expect("an address").to_owned()).collect())
    }

    fn report(&self, seen: Seen) -> Report {
        let sent: u64 = seen.truth.iter().map(|(_, _, events)| events).sum();
        let (mut lost, mut foreign) = (0, 0);
        for (name, first, events) in &seen.truth {
            let came = seen.received.hosts.get(name);
            lost += events - came.map_or(0, |came| came.between(*first, first + events));
            foreign +=
                came.map_or(0, |came| came.distinct() - came.between(*first, first + events));
        }
        let per_1000 = |seconds: f64| seconds * 1e6 / sent.max(1) as f64;
        Report {
            siege: self.clone(),
            join: seen.join,
            sent,
            received: seen.received.events,
            lost,
            duplicates: seen.received.duplicates,
            foreign,
            backward: seen.received.backward,
            resets: seen.counts["resets"].as_u64().unwrap_or(0),
            behind: Duration::from_nanos(seen.counts["behind_ns_max"].as_u64().unwrap_or(0)),
            alone_bytes: seen.alone_bytes,
            quiet_bytes: seen.quiet_bytes,
            end_bytes: seen.end_bytes,
            first_minute_bytes: seen.memory.middle(self.minute(), self.minute() * 2),
            last_minute_bytes: seen
                .memory
                .middle(seen.memory.last().saturating_sub(self.minute()), Duration::MAX),
            most_bytes: seen.memory.most(),
            series: seen.memory.series(),
            listed: seen.monitor.hosts,
            listed_events: seen.monitor.events,
            listing: seen.monitor.took,
            tap_cpu_ms: per_1000(seen.tap_cpu),
            sim_cpu_ms: per_1000(seen.sim_cpu),
            bytes: seen.received.bytes,
            whole: seen.received.latency,
            inside: seen.received.inside,
        }
    }
}

/// What was seen of a run.
struct Seen {
    join: Duration,
    alone_bytes: u64,
    quiet_bytes: u64,
    end_bytes: u64,
    memory: Memory,
    monitor: Monitor,
    tap_cpu: f64,
    sim_cpu: f64,
    /// Of each host, its name, first seq and number of events.
    truth: Vec<(String, u64, u64)>,
    received: Received,
    counts: serde_json::Value,
}

/// How much memory the tap had while events came, and how long after the first of them.
#[derive(Debug, Default)]
struct Memory(Vec<(Duration, u64)>);

impl Memory {
    fn look(&mut self, at: Duration, bytes: u64) {
        self.0.push((at, bytes));
    }

    fn last(&self) -> Duration {
        self.0.last().map_or(Duration::MAX, |(at, _)| *at)
    }

    fn most(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }

    /// The middle one of the readings in this time.
    fn middle(&self, from: Duration, to: Duration) -> u64 {
        let within = self.0.iter().filter(|(at, _)| (from..to).contains(at));
        let mut bytes: Vec<u64> = within.map(|(_, bytes)| *bytes).collect();
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied().unwrap_or(0)
    }

    /// Seconds and bytes, some of them.
    fn series(&self) -> Vec<(u64, u64)> {
        const EVERY: u64 = 30;
        let mut series: Vec<(u64, u64)> = Vec::new();
        for (at, bytes) in &self.0 {
            if series.last().is_none_or(|(last, _)| at.as_secs() >= last + EVERY) {
                series.push((at.as_secs(), *bytes));
            }
        }
        series
    }
}

fn start_tap(dir: &Path, hosts: &Path) -> Process {
    let ca = dir.join("ca.pem");
    let [hosts, ca] = [hosts, &ca].map(|path| path.to_str().expect("a path of text"));
    Process::start("pds-tap", &["--hosts", hosts, "--ca", ca, "--allow-private"], dir)
}

/// What a tap takes that listens to one host.
fn memory_with_one(dir: &Path, hosts: &Path) -> u64 {
    let mut tap = start_tap(dir, hosts);
    let drain = Reader::start(tap.output(), 1);
    wait_until("the first host connected", || connected_hosts(dir) == 1);
    let bytes = tap.memory();
    assert!(tap.stop().success(), "{}", tap.stderr());
    drain.finish();
    bytes
}

/// What `ghost-mon` lists of the hosts.
#[derive(Default)]
struct Monitor {
    hosts: usize,
    events: u64,
    /// How long it took, with the 20 ms between its two looks.
    took: Duration,
}

impl Monitor {
    fn list(dir: &Path) -> Monitor {
        let began = Instant::now();
        let lines = ghost_mon(dir, &["--hosts", "1000000"]);
        let took = began.elapsed();
        let hosts = lines.iter().filter(|line| line["type"] == "host");
        let events: Vec<u64> = hosts.map(|host| host["events"].as_u64().expect("events")).collect();
        Monitor { hosts: events.len(), events: events.iter().sum(), took }
    }
}

pub(crate) fn ghost_mon(dir: &Path, args: &[&str]) -> Vec<serde_json::Value> {
    let mut monitor = crate::tool("ghost-mon");
    monitor.args(["--once", "--json", "--interval", "20ms"]).args(args);
    monitor.env("SOVEREIGN_STATS_DIR", stats_dir(dir));
    json_lines(&monitor.output().expect("ghost-mon runs").stdout)
}

/// How many hosts the tap says it is connected to.
fn connected_hosts(dir: &Path) -> usize {
    let stages = ghost_mon(dir, &[]);
    let tap = stages.iter().find(|stage| stage["tool"] == "pds-tap");
    let count = tap.and_then(|tap| tap["gauges"]["hosts-connected"].as_u64());
    usize::try_from(count.unwrap_or(0)).expect("a count")
}

fn read_truth(path: &Path) -> Vec<(String, u64, u64)> {
    let lines = json_lines(&std::fs::read(path).unwrap_or_default());
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let host = |line: &serde_json::Value| line["host"].as_str().expect("a name").to_owned();
    lines.iter().map(|line| (host(line), number(&line["first"]), number(&line["events"]))).collect()
}

fn total(truth: &Path) -> u64 {
    read_truth(truth).iter().map(|(_, _, events)| events).sum()
}

pub(crate) fn variable(name: &str, usual: f64) -> f64 {
    match std::env::var(name) {
        Err(_) => usual,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
    }
}
