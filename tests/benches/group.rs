//! Traffic with the proportions of the real network: accounts with many records, of which each has
//! few commits in a segment, over ten segments of one group. What is kept of it, how fast it is
//! packed and replayed, and how far away an event is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use e2e::{Chain, Sim};

use crate::ROUNDS;
use crate::kept;
use crate::measure::{Spread, grouped, reap};
use crate::streams::Streams;

const ACCOUNTS: &str = "200";
const RECORDS: &str = "10000";
const EVENTS: usize = 6000;
const SEGMENTS: usize = 10;
/// What is to be saved, in percent.
const GOAL: f64 = 80.0;
/// How often an event is asked for by its number.
const ASKED: usize = 60;

pub(crate) fn report(streams: &Streams) {
    let frames = traffic(streams);
    let events = kept::events_of(streams, &frames);
    let name = format!(
        "{ACCOUNTS} accounts of {RECORDS} records, {SEGMENTS} segments of a group (pds-sim)"
    );
    let each = (events.len().div_ceil(SEGMENTS)).to_string();
    let segments = ["--segment-events", &each];
    let folder = kept::of(streams, (&name, Some(GOAL)), &frames, &events, &segments);
    std::fs::remove_dir_all(folder).expect("the archive");

    let count = events.len() as f64;
    let (mut packed, mut replayed, mut replay_cpu) =
        (Spread::default(), Spread::default(), Spread::default());
    let folder = streams.scratch("group");
    for _ in 0..ROUNDS {
        let _ = std::fs::remove_dir_all(&folder);
        let mut pack = e2e::tool("archive-pack");
        pack.args(["--seal", "--segment-events", &each]).arg("--out").arg(&folder).arg(&frames);
        packed.push(count / reap("archive-pack", &mut pack.spawn().expect("archive-pack")));
        let mut cat = e2e::tool("archive-cat");
        cat.arg(&folder).args(["--out", "/dev/null", "--force"]);
        let begun = Instant::now();
        let cpu = reap("archive-cat", &mut cat.spawn().expect("archive-cat"));
        replayed.push(count / begun.elapsed().as_secs_f64());
        replay_cpu.push(count / cpu);
    }
    println!(
        "  at the usual level, events a second: {packed:.0} packed by a core (log, sealing, reading back);"
    );
    println!(
        "  {replayed:.0} replayed in order of arrival from warm files ({replay_cpu:.0} by a core)"
    );
    let blocks: Vec<u64> =
        (0..ASKED).map(|at| blocks(&folder, at * events.len() / ASKED)).collect();
    let (most, all) = (blocks.iter().max().expect("some"), blocks.iter().sum::<u64>() as f64);
    println!(
        "  an event by its number: {most} block decodes at most, {:.1} on average over {ASKED} numbers",
        all / ASKED as f64
    );
    let begun = Instant::now();
    let mut start = e2e::tool("archive-pack");
    let mut start = start.arg("--out").arg(&folder).arg("/dev/null").stderr(Stdio::null()).spawn();
    // Nothing is no stream of frames: it ends as soon as it has begun.
    let _ = start.as_mut().expect("archive-pack").wait();
    println!(
        "  archive-pack on this archive again: {:.3} s from start to end",
        begun.elapsed().as_secs_f64()
    );
    println!("  {} events in all", grouped(count));
}

/// What `pds-sim` sends, proved.
fn traffic(streams: &Streams) -> PathBuf {
    let path = |name: &str| streams.scratch(name).to_str().expect("a path").to_owned();
    let (ops, index, frames) = (path("group-ops"), path("group.idx"), path("group.frames"));
    let events = EVENTS.to_string();
    let sim = Sim::start(&[
        "--accounts",
        ACCOUNTS,
        "--records",
        RECORDS,
        "--events",
        &events,
        "--rate",
        "0",
    ]);
    let fetch = ["--url", &sim.plc, "--out", &ops, "--allow-private"];
    Chain::new().stage("plc-fetch", &fetch).succeed();
    Chain::new().stage("index-build", &["--ops", &ops, "--out", &index]).succeed();
    let tap = ["--allow-private", "--cursor", "0", "--until-idle", "3", "--host", &sim.hosts[0]];
    Chain::new()
        .stage("pds-tap", &tap)
        .stage("sig-verify", &["--index", &index, "--out", &frames])
        .succeed();
    frames.into()
}

/// How many blocks are decoded for one event, as archive-cat says.
fn blocks(folder: &Path, n: usize) -> u64 {
    let mut cat: Command = e2e::tool("archive-cat");
    cat.arg(folder).args(["--from", &n.to_string(), "--count", "1", "--json", "--verbose"]);
    let output = cat.output().expect("archive-cat");
    let text = String::from_utf8(output.stderr).expect("text");
    let word = text.lines().find_map(|line| line.strip_suffix(" blocks decoded"));
    word.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the count")
}
