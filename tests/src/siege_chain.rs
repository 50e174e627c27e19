//! The siege of the whole chain: thousands of hosts, every event sent twice, forged ones among
//! them, stages killed at random, and the chain started again by `pipelines/siege`.
//!
//! `pds-sim --load --copies 2` serves the hosts and says of each event what it is. Behind the chain
//! lie an archive and the files of what was refused. So it is known of each event whether it was
//! stored, how often, and whether it was refused. Moments and victims come from a seed that is
//! printed. A slow machine is made by stopping the chain's processes most of the time (SIGSTOP),
//! which needs no rights and slows all that they do alike.

mod chain;
mod report;
mod stored;

pub use report::ChainReport;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use chain::{Chain, STAGES};
use stored::Stored;

use crate::siege::{Process, ghost_mon, raise_file_limit, variable};
use crate::tool;

/// How often each event is sent.
const COPIES: u64 = 2;
/// Silence after which the chain ends.
const IDLE: Duration = Duration::from_secs(8);
/// What has not gone on for so long will not.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is laid before the chain.
#[derive(Debug, Clone)]
pub struct ChainSiege {
    /// Hosts, each at an address of its own.
    pub hosts: usize,
    /// Accounts over all of them.
    pub accounts: usize,
    /// Events, each of which is sent twice.
    pub events: u64,
    /// Of them so many a second.
    pub rate: u64,
    /// Stages that are killed.
    pub kills: usize,
    /// Of so many parts of time the chain has one.
    pub slowness: u32,
    /// Decides who is killed when.
    pub seed: u64,
}

impl ChainSiege {
    /// As the variables `SIEGE_HOSTS`, `SIEGE_EVENTS`, `SIEGE_SPIKE`, `SIEGE_KILLS` and `SIEGE_SEED`
    /// say: 10,000 hosts, 1.5 million events at ten times what the network has, eight kills.
    pub fn from_env() -> ChainSiege {
        let hosts = variable("SIEGE_HOSTS", 10_000.0) as usize;
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
        ChainSiege {
            hosts,
            accounts: 2 * hosts,
            events: variable("SIEGE_EVENTS", 1_500_000.0) as u64,
            rate: variable("SIEGE_SPIKE", 5_000.0) as u64,
            kills: variable("SIEGE_KILLS", 8.0) as usize,
            slowness: 1,
            seed: variable("SIEGE_SEED", now as f64) as u64,
        }
    }

    /// The same on a machine that is ten times slower: a tenth of the hosts and a thirtieth of the
    /// events, at the same rate, and nobody is killed.
    #[must_use]
    pub fn slow(&self) -> ChainSiege {
        let hosts = (self.hosts / 10).max(1);
        ChainSiege {
            hosts,
            accounts: 2 * hosts,
            events: (self.events / 30).max(1),
            kills: 0,
            slowness: 10,
            ..self.clone()
        }
    }

    /// Lays it, and says what was seen. `progress` is told how it stands, now and then.
    pub fn run(&self, mut progress: impl FnMut(&str)) -> ChainReport {
        raise_file_limit(self.hosts);
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        progress("the events are made and signed");
        let sim = self.start_sim(dir);
        let truth = stored::Truth::read(&dir.join("truth.jsonl"), COPIES);

        let mut chain = Chain::start(dir, IDLE);
        let _brake = (self.slowness > 1).then(|| chain.slow_down(self.slowness));
        let (began, spike) = (Instant::now(), Duration::from_secs(self.events / self.rate));
        let mut moments = self.moments(spike);
        let mut kills = Vec::new();
        let (mut first, mut ended) = (None, None);
        let mut backlog = Backlog::default();
        let (mut last, mut moved) = (Counts::default(), Instant::now());
        while ended.is_none() {
            std::thread::sleep(Duration::from_millis(100));
            ended = chain.ended();
            let counts = Counts::look(dir);
            // After a restart they begin anew, and behind the end there are none.
            if counts.taken > last.taken || counts.stored > last.stored {
                moved = Instant::now();
                first.get_or_insert(moved);
            }
            last = counts;
            assert!(moved.elapsed() < PATIENCE, "nothing goes on:\n{}", chain.stderr());
            let Some(first) = first else { continue };
            let at: Duration = first.elapsed();
            if let Some((_, stage)) = moments.pop_if(|(moment, _)| at >= *moment)
                && chain.kill(stage)
            {
                kills.push((began.elapsed(), STAGES[stage]));
            }
            if self.kills == 0 && last.taken > 0 {
                let all = self.events * COPIES;
                let made = (at.as_secs_f64() * (self.rate * COPIES) as f64) as u64;
                backlog.look(at, made.min(all), last.taken);
            }
            progress(&format!(
                "{} kills; {} events stored since the last",
                kills.len(),
                last.stored
            ));
        }
        assert!(ended == Some(true), "the chain failed:\n{}", chain.stderr());
        let took = moved - began;
        let spiked = first.map_or(Duration::ZERO, |first| first - began) + spike;
        progress("what was stored is held against the truth");
        let stored = Stored::read(dir, &truth);
        drop(sim);
        ChainReport {
            siege: self.clone(),
            sent: truth.events() * COPIES,
            good: truth.good(),
            forged: truth.events() - truth.good(),
            starts: chain.starts(),
            kills,
            took,
            behind: took.saturating_sub(spiked),
            backlog: backlog.series,
            stored,
        }
    }

    /// When who is killed, the last first: anywhere within the spike.
    fn moments(&self, spike: Duration) -> Vec<(Duration, usize)> {
        let mut state = self.seed | 1;
        let mut next = || {
            // xorshift: any numbers will do that a seed gives again.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut moments: Vec<(Duration, usize)> = (0..self.kills)
            .map(|_| {
                let share = (next() % 1000) as f64 / 1000.0;
                (spike.mul_f64(share), (next() % STAGES.len() as u64) as usize)
            })
            .collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        moments
    }

    /// The network, the index of its directory, and the list of its hosts.
    fn start_sim(&self, dir: &Path) -> Process {
        let text = |name: &str| dir.join(name).to_str().expect("a path of text").to_owned();
        let (ca, truth, index, ops) =
            (text("ca.pem"), text("truth.jsonl"), text("did.idx"), text("ops"));
        let numbers = [
            ("--hosts", self.hosts.to_string()),
            ("--accounts", self.accounts.to_string()),
            ("--backfill", self.events.to_string()),
            ("--rate", (self.rate * COPIES).to_string()),
            ("--copies", COPIES.to_string()),
        ];
        let mut args = vec!["--load", "--tls", "--ca-out", &ca, "--truth", &truth];
        args.extend(["--records", "2", "--forge", "0.04", "--damage", "0.01", "--start", "all"]);
        args.extend(["--mix", "all=0,create=70,update=10,delete=15,batch=4,empty=1"]);
        args.extend(numbers.iter().flat_map(|(name, number)| [*name, number]));
        let mut sim = Process::start("pds-sim", &args, dir);
        let ready = sim.line();
        let ready: serde_json::Value =
            serde_json::from_str(&ready).unwrap_or_else(|_| panic!("not ready: {}", sim.stderr()));
        let hosts = ready["hosts"].as_array().expect("hosts");
        let hosts: Vec<&str> = hosts.iter().map(|host| host.as_str().expect("a URL")).collect();
        std::fs::write(dir.join("hosts"), hosts.join("\n")).expect("the list of hosts");
        let plc = ready["plc"].as_str().expect("a URL");
        run("plc-fetch", &["--url", plc, "--out", &ops, "--allow-private", "--no-progress"]);
        run("index-build", &["--ops", &ops, "--out", &index, "--no-progress"]);
        sim
    }
}

fn run(name: &str, args: &[&str]) {
    let output = tool(name).args(args).output().expect("it runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How far a chain is that has not been broken.
#[derive(Default)]
struct Counts {
    /// Events that the tap has handed on.
    taken: u64,
    /// Events that the archive has.
    stored: u64,
}

impl Counts {
    fn look(dir: &Path) -> Counts {
        let stages = ghost_mon(dir, &[]);
        let count = |tool: &str, name: &str| {
            let stage = stages.iter().find(|stage| stage["tool"] == tool);
            stage.and_then(|stage| stage[name].as_u64()).unwrap_or(0)
        };
        Counts { taken: count("pds-tap", "events_out"), stored: count("archive-pack", "events_in") }
    }
}

/// How many events there are that the tap has not handed on: seconds and events, some of them.
#[derive(Default)]
struct Backlog {
    series: Vec<(u64, u64)>,
}

impl Backlog {
    fn look(&mut self, at: Duration, made: u64, taken: u64) {
        if self.series.last().is_none_or(|(last, _)| at.as_secs() > *last) {
            self.series.push((at.as_secs(), made.saturating_sub(taken)));
        }
    }
}

/// Opens a file of a run.
fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
