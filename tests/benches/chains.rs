//! The whole chain on pipes and on rings, side by side: what it takes of the processor, and what
//! each stage with its joint adds to the way of a single event.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use frame::{Header, Kind};

use crate::ROUNDS;
use crate::measure::{Spread, reap};
use crate::streams::Streams;

/// Single frames that go through, one after the other, and the pause between two.
const SINGLE_FRAMES: usize = 300;
const PAUSE: Duration = Duration::from_millis(1);
const FRAME_BYTES: usize = 5_400;

/// Stages of the short way and of the long one.
const SHORT: usize = 1;
const LONG: usize = 5;

/// A kind that no stage knows.
const UNKNOWN: Kind = Kind(200);

/// Prints both.
pub(crate) fn report(streams: &Streams) {
    let index = streams.scratch("chains.idx");
    let mut build = e2e::tool("index-build");
    build.arg("--ops").arg(e2e::fixture("refnet/plc-export.jsonl")).arg("--out").arg(&index);
    reap("index-build", &mut build.spawn().expect("index-build"));
    let [mut pipes, mut rings, mut ratio] = [(); 3].map(|()| Spread::default());
    let mut delays: [[Spread; 2]; 2] = Default::default();
    for round in 0..ROUNDS {
        let run = |by_ring| whole(streams, &index, by_ring, round);
        let (by_pipe, by_ring) = (run(false), run(true));
        pipes.push(by_pipe);
        rings.push(by_ring);
        ratio.push(by_ring / by_pipe);
        for (by_ring, delays) in [false, true].into_iter().zip(&mut delays) {
            let way = |stages| single(stages, by_ring, round);
            let (short, long) = (way(SHORT), way(LONG));
            for (at, delay) in delays.iter_mut().enumerate() {
                delay.push((long[at] - short[at]) / (LONG - SHORT) as f64);
            }
        }
    }
    println!("\nCHAIN: dedupe FRAMES, car-extract, sig-verify, archive-pack, joined by pipes of");
    println!("1 MiB and by rings: CPU milliseconds for 1,000 events, all stages together; and how");
    println!("many microseconds a stage that only passes on adds, with its joint, to the way of a");
    println!("single frame of 5.4 KB through a chain that sleeps");
    let head = ["", "CPU ms / 1,000 events", "added, p50 us", "added, p99 us"];
    let row = |cells: [&str; 4]| {
        let [name, cpu, p50, p99] = cells;
        println!("  {name:<8} {cpu:<25} {p50:<25} {p99}");
    };
    row(head);
    for (name, cpu, [p50, p99]) in [("pipes", &pipes, &delays[0]), ("rings", &rings, &delays[1])] {
        row([name, &cpu.to_string(), &format!("{p50:.1}"), &format!("{p99:.1}")]);
    }
    println!("  CPU on rings / on pipes: {ratio}");
}

/// Joins the stages; the first one's input and the last one's output are the caller's.
fn start(mut stages: Vec<Command>, by_ring: bool, name: &str) -> Vec<Child> {
    for at in 1..stages.len() {
        let [left, right] = &mut stages[at - 1..=at] else { panic!("two stages") };
        if by_ring {
            let ring = format!("ring:bench-{}-{name}-{at}", std::process::id());
            left.args(["--out", &ring]).stdout(Stdio::null());
            right.arg(&ring);
        } else {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            left.stdout(writer);
            right.stdin(reader);
        }
    }
    stages.iter_mut().map(|stage| stage.spawn().expect("a stage")).collect()
}

/// CPU milliseconds for 1,000 events of the whole chain.
fn whole(streams: &Streams, index: &Path, by_ring: bool, round: usize) -> f64 {
    let archive = streams.scratch(&format!("chains-{by_ring}-{round}"));
    let mut stages = ["dedupe", "car-extract", "sig-verify", "archive-pack"].map(e2e::tool);
    stages[0].arg(&streams.once);
    stages[2].arg("--index").arg(index);
    stages[3].arg("--out").arg(&archive).stdout(Stdio::null());
    let mut children = start(stages.into(), by_ring, &format!("whole-{round}"));
    let cpu: f64 = children.iter_mut().map(|child| reap("a stage", child)).sum();
    std::fs::remove_dir_all(&archive).expect("an archive");
    1e6 * cpu / streams.events.len() as f64
}

/// Microseconds of a frame's way through so many stages, p50 and p99.
fn single(stages: usize, by_ring: bool, round: usize) -> [f64; 2] {
    let tools = ["dedupe", "car-extract"].into_iter().cycle().take(stages);
    let mut stages: Vec<Command> = tools.map(e2e::tool).collect();
    let name = format!("single-{}-{round}", stages.len());
    let [.., last] = &mut stages[..] else { panic!("a stage") };
    last.stdout(Stdio::piped());
    stages[0].stdin(Stdio::piped());
    let mut children = start(stages, by_ring, &name);
    let mut to = children[0].stdin.take().expect("the input");
    let mut from = children.last_mut().and_then(|last| last.stdout.take()).expect("the output");
    let mut magic = Vec::new();
    frame::put_magic(&mut magic);
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &Header::new(UNKNOWN, 1), &[7; FRAME_BYTES]).expect("a frame");
    let mut came = vec![0; magic.len() + bytes.len()];
    to.write_all(&[magic, bytes.clone()].concat()).expect("the first stage");
    from.read_exact(&mut came).expect("the last stage");
    came.truncate(bytes.len());
    let mut delays = Spread::default();
    for _ in 0..SINGLE_FRAMES {
        std::thread::sleep(PAUSE);
        let begun = Instant::now();
        to.write_all(&bytes).expect("the first stage");
        from.read_exact(&mut came).expect("the last stage");
        delays.push(1e6 * begun.elapsed().as_secs_f64());
    }
    let mut end = Vec::new();
    frame::put(&mut end, &Header::new(Kind::END, 1), b"").expect("an end frame");
    to.write_all(&end).expect("the first stage");
    drop(to);
    std::io::copy(&mut from, &mut std::io::sink()).expect("the last stage");
    children.iter_mut().for_each(|child| {
        reap("a stage", child);
    });
    [delays.at(0.5), delays.at(0.99)]
}
