//! How few bytes an archive keeps, by what they are, beside the goals and the least there can be.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::measure::{grouped, reap};
use crate::streams::Streams;

/// The level that archives of these tables have, and their peer.
const LEVEL: i32 = 19;

/// 128 MiB, so that everything lies in one window.
const WINDOW_LOG: u32 = 27;

/// Recorded events that may not be in the repository lie here, unless `SOVEREIGN_DATA` says where.
const DATA: &str = "../shared/data";

struct Sample {
    name: &'static str,
    /// Below [`DATA`]; none for the capture of the tests.
    file: Option<&'static str>,
    /// Events at its beginning that are left out.
    skip: usize,
    /// What is to be saved of the events' bytes, in percent.
    goal: Option<f64>,
}

/// One segment holds it all.
const ONE: [&str; 2] = ["--segment-bytes", "256MiB"];

const SAMPLES: [Sample; 3] = [
    Sample {
        name: "the real network, each account once",
        file: Some("wild/firehose.u32be.zst"),
        skip: 0,
        goal: Some(52.0),
    },
    Sample {
        name: "400 busy accounts, a later stretch",
        file: Some("busy/firehose.u32be.zst"),
        skip: 1200,
        goal: Some(90.0),
    },
    Sample { name: "the capture of the tests", file: None, skip: 0, goal: None },
];

/// Prints all samples that are here, and traffic of accounts with many records.
pub(crate) fn report(streams: &Streams) {
    println!(
        "\nKEPT: archive-pack --seal --level {LEVEL}; the whole folder counts: its index, the next log, and"
    );
    println!("for each account the key that proved it. archive-cat has given back every byte.");
    for sample in &SAMPLES {
        let events = match sample.file.map(data) {
            None => streams.events.clone(),
            Some(path) if path.exists() => events(&path),
            Some(path) => {
                println!("\n{}: {} is not here", sample.name, path.display());
                continue;
            }
        };
        let events = &events[sample.skip..];
        let frames = streams.frames_of(events, "kept.frames");
        let folder = of(streams, (sample.name, sample.goal), &frames, events, &ONE);
        std::fs::remove_dir_all(folder).expect("the archive");
    }
    crate::group::report(streams);
}

fn data(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::var_os("SOVEREIGN_DATA").map_or(root.join(DATA), PathBuf::from).join(file)
}

fn events(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path).expect("a capture");
    e2e::split(&zstd::decode_all(file).expect("zstd"))
}

/// Packs the frames, which hold these events, and prints what they take; the archive.
pub(crate) fn of(
    streams: &Streams,
    (name, goal): (&str, Option<f64>),
    frames: &Path,
    events: &[Vec<u8>],
    segments: &[&str],
) -> PathBuf {
    let folder = streams.scratch("kept");
    let raw = events.iter().map(Vec::len).sum::<usize>() as f64;
    let mut pack = e2e::tool("archive-pack");
    pack.args(["--seal", "--level", &LEVEL.to_string()]).args(segments);
    pack.arg("--out").arg(&folder).arg(frames);
    reap("archive-pack", &mut pack.spawn().expect("archive-pack"));
    let kept = length(&folder);
    assert!(back(streams, &folder) == events, "the archive gives back other bytes");
    let (count, saved) = (events.len() as f64, 100.0 - 100.0 * kept / raw);
    println!("\n{name}: {} events, {} bytes", grouped(count), grouped(raw));
    print!("  kept {} bytes: {saved:.2}% saved", grouped(kept));
    match goal {
        Some(goal) => println!(" (goal {goal}%, {:+.2})", saved - goal),
        None => println!(),
    }
    let saved = |bytes: f64| 100.0 - 100.0 * bytes / raw;
    println!(
        "  zstd -{LEVEL} saves {:.2}% in order of arrival (--long={WINDOW_LOG}), {:.2}% in blocks of 256 KiB by account",
        saved(zstd(events)),
        saved(clustered(events))
    );
    table(&parts(&folder), kept, raw);
    folder
}

fn table(parts: &Value, kept: f64, raw: f64) {
    println!("  {:<24} {:>14} {:>12} {:>9}", "part", "bytes as came", "bytes kept", "of all");
    let row = |name: &str, came: f64, bytes: f64| {
        let share = 100.0 * bytes / raw;
        println!("  {name:<24} {:>14} {:>12} {share:>8.2}%", grouped(came), grouped(bytes));
    };
    for part in parts["parts"].as_array().expect("parts") {
        let number = |name: &str| part[name].as_f64().expect("a number");
        row(part["name"].as_str().expect("a name"), number("came"), number("kept"));
    }
    let floor = parts["floor_bytes"].as_f64().expect("a number");
    println!(
        "  signatures and hashes that can't be worked out: {}; all else adds {:.1}% to that",
        grouped(floor),
        100.0 * (kept - floor) / floor
    );
}

/// What archive-check says of the segments. The keys of these frames are made up, so that no
/// signature holds and it ends with 1; that every byte came back was seen before.
fn parts(folder: &Path) -> Value {
    let mut check = e2e::tool("archive-check");
    let output = check.args(["--parts", "--json"]).arg(folder).output().expect("archive-check");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["damaged"], 0, "{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The events of a file of frames.
pub(crate) fn events_of(streams: &Streams, frames: &Path) -> Vec<Vec<u8>> {
    let mut cat = std::process::Command::new("cat");
    raw(streams, cat.arg(frames))
}

/// The events of the archive, in its order.
fn back(streams: &Streams, folder: &Path) -> Vec<Vec<u8>> {
    let mut cat = e2e::tool("archive-cat");
    raw(streams, cat.arg(folder))
}

/// The events of the frames that a command writes.
fn raw(streams: &Streams, cat: &mut std::process::Command) -> Vec<Vec<u8>> {
    let raw = streams.scratch("back.u32be");
    let mut cat = cat.stdout(Stdio::piped()).spawn().expect("frames");
    let mut events = e2e::tool("frame-cat");
    events.args(["--events", "--force", "--raw"]).arg(&raw).stdout(Stdio::null());
    events.stdin(cat.stdout.take().expect("its output"));
    let mut events = events.spawn().expect("frame-cat");
    reap("who writes frames", &mut cat);
    reap("frame-cat", &mut events);
    e2e::split(&std::fs::read(&raw).expect("the events"))
}

/// The bytes of all files. Of those that are longer than what they take on the disk (the lattice is
/// mostly holes), what they take.
fn length(folder: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(folder).expect("the archive");
    let bytes = files.map(|file| {
        let file = file.expect("a file").metadata().expect("its length");
        file.len().min(file.blocks() * 512)
    });
    bytes.sum::<u64>() as f64
}

/// How many bytes zstd makes of blocks in which the events lie by account.
fn clustered(events: &[Vec<u8>]) -> f64 {
    let mut by_account: Vec<(String, &Vec<u8>)> =
        events.iter().map(|event| (crate::streams::did(event), event)).collect();
    by_account.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut block, mut kept) = (Vec::new(), 0);
    let mut pack = |block: &mut Vec<u8>| {
        kept += zstd::bulk::compress(block, LEVEL).expect("zstd").len();
        block.clear();
    };
    for (_, event) in by_account {
        block.extend_from_slice(&(event.len() as u32).to_be_bytes());
        block.extend_from_slice(event);
        if block.len() >= 256 << 10 {
            pack(&mut block);
        }
    }
    pack(&mut block);
    kept as f64
}

/// How many bytes zstd makes of the events behind their lengths.
fn zstd(events: &[Vec<u8>]) -> f64 {
    use std::io::Write;
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).expect("zstd");
    encoder.long_distance_matching(true).expect("zstd takes it");
    encoder.window_log(WINDOW_LOG).expect("zstd takes it");
    for event in events {
        encoder.write_all(&(event.len() as u32).to_be_bytes()).expect("zstd");
        encoder.write_all(event).expect("zstd");
    }
    encoder.finish().expect("zstd").len() as f64
}
