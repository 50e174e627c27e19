//! The same two stages, joined in each way that there is.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use frame::{Header, Kind};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use crate::ROUNDS;
use crate::measure::{Cost, Spread, grouped, reap};
use crate::streams::{Streams, UNKNOWN_FRAMES};

/// What a pipe holds when nobody asks for more.
const DEFAULT_BYTES: i32 = 64 << 10;

/// What our tools ask for.
const WIDE_BYTES: i32 = 1 << 20;

#[derive(Debug, Clone, Copy)]
enum Joint {
    Pipe(i32),
    Ring,
}

const JOINTS: [(&str, Joint); 3] = [
    ("pipe, 64 KiB", Joint::Pipe(DEFAULT_BYTES)),
    ("pipe, 1 MiB", Joint::Pipe(WIDE_BYTES)),
    ("ring:NAME", Joint::Ring),
];

/// How often the frames of no meaning go by, to make a second of it.
const TURNS: usize = 4;

/// What goes through a joint.
struct Load<'a> {
    files: Vec<&'a Path>,
    frames: f64,
}

/// Prints the joints.
pub(crate) fn report(streams: &Streams) {
    let gate = streams.scratch("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
    println!(
        "\nJOINTS: dedupe FRAMES joined to car-extract > /dev/null; CPU of both sides, in microseconds"
    );
    println!("a frame, and how far it is above the sum of what each takes alone from the file to");
    println!(
        "/dev/null. Alone, the second has to read a file: a joint that costs less is below zero."
    );
    println!(
        "The events of the capture, {} bytes each on average:",
        grouped(streams.event_bytes())
    );
    let files = vec![streams.copies.as_path()];
    table(&Load { files, frames: streams.copied_events() }, &gate);
    println!(
        "Frames of 5.4 KB of a kind that both pass on unread, so that the joint is most of it:"
    );
    let files = vec![streams.unknown.as_path(); TURNS];
    table(&Load { files, frames: f64::from(UNKNOWN_FRAMES) * TURNS as f64 }, &gate);
}

fn table(load: &Load<'_>, gate: &Path) {
    let mut alone = Spread::default();
    let mut figures: [Figures; 3] = Default::default();
    for _ in 0..ROUNDS {
        let apart = unjoined(load);
        let costs = JOINTS.map(|(_, joint)| joined(joint, load, gate));
        let [_, wide, _] = costs;
        let a_frame = |cpu: f64| 1e6 * cpu / load.frames;
        alone.push(a_frame(apart));
        for (figures, cost) in figures.iter_mut().zip(costs) {
            figures.cpu.push(a_frame(cost.cpu));
            figures.above.push(a_frame(cost.cpu - apart));
            figures.ratio.push(cost.cpu / wide.cpu);
            figures.wall.push(cost.wall);
        }
    }
    let row = |cells: [String; 5]| {
        let [name, cpu, above, ratio, wall] = cells;
        let line = format!("  {name:<13} {cpu:<23} {above:<22} {ratio:<20} {wall}");
        println!("{}", line.trim_end());
    };
    row(["", "CPU us a frame", "of it above", "CPU / 1 MiB pipe", "wall s"].map(str::to_owned));
    for ((name, _), figures) in JOINTS.iter().zip(&figures) {
        let Figures { cpu, above, ratio, wall } = figures;
        let figures = [cpu, above, ratio, wall].map(Spread::to_string);
        let [cpu, above, ratio, wall] = figures;
        row([(*name).to_owned(), cpu, above, ratio, wall]);
    }
    row(["each alone", &alone.to_string(), "", "", ""].map(str::to_owned));
}

/// What the runs of one joint gave.
#[derive(Debug, Default)]
struct Figures {
    cpu: Spread,
    /// CPU above that of the stages alone in the same round.
    above: Spread,
    /// CPU against that of the wide pipe in the same round.
    ratio: Spread,
    wall: Spread,
}

/// The CPU seconds of both stages when nothing is between them.
fn unjoined(load: &Load<'_>) -> f64 {
    let run = |tool| {
        let mut command = e2e::tool(tool);
        command.args(&load.files).stdout(Stdio::null());
        reap(tool, &mut command.spawn().expect("a stage"))
    };
    run("dedupe") + run("car-extract")
}

/// The stages joined. The first reads an empty stream off a named pipe before its file: until
/// that is written both sides wait, so the joint can be given its size after they have asked for
/// theirs, and no start of a process is in the wall time.
fn joined(joint: Joint, load: &Load<'_>, gate: &Path) -> Cost {
    let (mut left, mut right) = (e2e::tool("dedupe"), e2e::tool("car-extract"));
    left.arg(gate).args(&load.files).stdout(Stdio::null());
    right.stdout(Stdio::null());
    let pipe = match joint {
        Joint::Ring => {
            let ring = format!("ring:bench-{}", std::process::id());
            left.args(["--out", &ring]);
            right.arg(&ring);
            None
        }
        Joint::Pipe(_) => {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let held = reader.try_clone().expect("a descriptor");
            left.stdout(writer);
            right.stdin(reader);
            Some(held)
        }
    };
    let mut right_child = right.spawn().expect("car-extract");
    if let Some(pipe) = &pipe {
        until_wide(pipe, &mut right_child);
    }
    let mut left_child = left.spawn().expect("dedupe");
    // The commands hold ends of the pipe, and no end would ever come.
    drop((left, right));
    // A stage opens its output first, so dedupe has asked for its size when this is open.
    let mut opened = open(gate, &mut left_child);
    if let (Some(pipe), Joint::Pipe(bytes)) = (&pipe, joint) {
        let set = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
        assert_eq!(set, Ok(bytes), "the system gives no pipe of {bytes} bytes");
    }
    let begun = Instant::now();
    let mut empty = Vec::new();
    frame::put_magic(&mut empty);
    frame::put(&mut empty, &Header::new(Kind::END, 0), b"").expect("an end frame");
    opened.write_all(&empty).expect("dedupe reads");
    drop(opened);
    let cpu = reap("dedupe", &mut left_child) + reap("car-extract", &mut right_child);
    let wall = begun.elapsed().as_secs_f64();
    if let (Some(pipe), Joint::Pipe(bytes)) = (&pipe, joint) {
        let left = fcntl(pipe, FcntlArg::F_GETPIPE_SZ);
        assert_eq!(left, Ok(bytes), "a stage gave the pipe another size on the way");
    }
    Cost { cpu, wall }
}

/// The named pipe, as soon as the reader has it open.
fn open(gate: &Path, reader: &mut Child) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    loop {
        match options.open(gate) {
            Ok(file) => return file,
            Err(error) if error.raw_os_error() != Some(nix::libc::ENXIO) => {
                panic!("{}: {error}", gate.display())
            }
            Err(_) => wait_a_moment(reader),
        }
    }
}

/// Waits until the reader has asked for a wide pipe, or a second long if the system denies it.
fn until_wide(pipe: &PipeReader, reader: &mut Child) {
    let begun = Instant::now();
    while fcntl(pipe, FcntlArg::F_GETPIPE_SZ) != Ok(WIDE_BYTES) && begun.elapsed().as_secs() < 1 {
        wait_a_moment(reader);
    }
}

/// Lets a stage come up; it must not have ended yet.
fn wait_a_moment(stage: &mut Child) {
    std::thread::sleep(Duration::from_millis(2));
    let ended = stage.try_wait().expect("a child");
    assert!(ended.is_none(), "a stage ended before it began: {ended:?}");
}
