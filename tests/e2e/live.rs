//! `make live` against a simulated network: stages are killed, the script starts the whole chain
//! again, and the archive has every event once.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::bin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::exact::{archived, proved_events};
use crate::{Refnet, text};

/// Far more than this takes.
const DEADLINE: Duration = Duration::from_secs(180);

/// The script, ended with all that it has started when it is dropped.
struct Live(Child);

impl Live {
    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The process of a running stage, by its page of statistics.
fn pid_of(pages: &Path, tool: &str) -> Option<i32> {
    let start = format!("sovereign-stats-{tool}-");
    let names = std::fs::read_dir(pages).unwrap().flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.find_map(|name| name.strip_prefix(&start)?.split('-').next()?.parse().ok())
}

#[test]
fn a_stage_that_dies_is_followed_by_the_whole_chain_and_nothing_is_lost() {
    let refnet = Refnet::start(&["--speed", "1500"]);
    let (data, pages, hosts) = (refnet.path("data"), refnet.path("pages"), refnet.path("hosts"));
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(&hosts, format!("{}\n", refnet.sim.hosts[0])).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let script = Command::new(root.join("pipelines/live"))
        .env("BIN", bin("pds-tap").parent().unwrap())
        .envs([("DURATION", "0"), ("BYTES_MAX", "0"), ("LISTEN", "")])
        .envs([("DATA", &data), ("HOSTS", &hosts), ("SOVEREIGN_STATS_DIR", &pages)])
        .env("PLC", &refnet.sim.plc)
        .envs([("SOVEREIGN_ALLOW_PRIVATE", "true"), ("SOVEREIGN_CURSOR", "0")])
        // The capture is served at an address that the accounts' documents do not name.
        .env("SOVEREIGN_FOREIGN", "mark")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut live = Live(script);
    let archive = data.join("archive");
    let stored = || {
        let cat = e2e::tool("archive-cat").arg(&archive).arg("--json").output().unwrap();
        String::from_utf8_lossy(&cat.stdout).matches(r#""kind":"event""#).count()
    };
    let wait_for = |count: usize| {
        let until = Instant::now() + DEADLINE;
        while stored() < count {
            assert!(Instant::now() < until, "{} of {count} events are stored", stored());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let expected = proved_events();
    for (part, tool) in [(5, "sig-verify"), (2, "dedupe")] {
        wait_for(expected.len() / part);
        // Between two chains there is none to be killed.
        if let Some(pid) = pid_of(&pages, tool) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    wait_for(expected.len());
    live.signal(Signal::SIGTERM);
    assert_eq!(live.0.wait().unwrap().code(), Some(0));
    let (events, _) = archived(&refnet, text(&archive));
    let mut times: HashMap<&[u8], usize> = HashMap::new();
    events.iter().for_each(|event| *times.entry(event).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "an event is stored twice");
    let lost = expected.iter().filter(|event| !times.contains_key(event.as_slice())).count();
    assert_eq!(lost, 0, "of {} events", expected.len());
}
