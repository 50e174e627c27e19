//! `archive-pack` beside plain zstd over the same events in the order in which they came.

use std::io::Write;
use std::time::Instant;

use crate::ROUNDS;
use crate::measure::{Cost, Spread, grouped, own, reap};
use crate::streams::Streams;

/// The level for both; what `archive-pack` takes when nothing is said.
const LEVEL: i32 = 6;

/// 128 MiB, so that the whole capture lies in one window.
const WINDOW_LOG: u32 = 27;

/// Prints what is kept, and what that takes.
pub(crate) fn report(streams: &Streams) {
    let raw = capture(streams);
    let (mut cpu, mut wall) = (Spread::default(), Spread::default());
    let (mut peer_cpu, mut peer_wall) = (Spread::default(), Spread::default());
    let mut ratio = Spread::default();
    let (mut kept, mut peer_kept) = (0.0, 0.0);
    for round in 0..ROUNDS {
        let ours;
        (ours, kept) = pack(streams, round);
        let theirs = own(|| peer_kept = zstd(&raw));
        cpu.push(ours.cpu);
        wall.push(ours.wall);
        peer_cpu.push(theirs.cpu);
        peer_wall.push(theirs.wall);
        ratio.push(ours.cpu / theirs.cpu);
    }
    let peer = format!("zstd -{LEVEL} --long={WINDOW_LOG}");
    println!(
        "\nARCHIVE: archive-pack --unproved --seal --level {LEVEL} on the capture once (from frames, log"
    );
    println!(
        "synced at each mark, sealed, read back), beside {peer} over the same events in memory"
    );
    println!("{:<18} {:>12} {:>7}   {:<23} wall s", "", "bytes kept", "of raw", "CPU s");
    for (name, bytes, cpu, wall) in
        [("archive-pack", kept, &cpu, &wall), (&peer, peer_kept, &peer_cpu, &peer_wall)]
    {
        let share = 100.0 * bytes / streams.raw_bytes();
        let cpu = cpu.to_string();
        println!("{name:<18} {:>12} {share:>6.1}%   {cpu:<23} {wall}", grouped(bytes));
    }
    let (events, median) = (streams.events.len() as f64, cpu.median());
    println!(
        "archive-pack: {} events/CPU s, {:.1} MB/CPU s; bytes / bytes of zstd: {:.2}; CPU / CPU of zstd: {ratio}",
        grouped(events / median),
        streams.raw_bytes() / 1e6 / median,
        kept / peer_kept
    );
}

/// The events behind their lengths, as captures have them.
fn capture(streams: &Streams) -> Vec<u8> {
    let mut raw = Vec::new();
    for event in &streams.events {
        raw.extend_from_slice(&(event.len() as u32).to_be_bytes());
        raw.extend_from_slice(event);
    }
    raw
}

/// Packs into a folder of its own; what it took, and how many bytes log and segments have.
fn pack(streams: &Streams, round: usize) -> (Cost, f64) {
    let (folder, level) = (streams.scratch(&format!("archive-{round}")), LEVEL.to_string());
    let mut command = e2e::tool("archive-pack");
    command.args(["--unproved", "--seal", "--json", "--level", &level]);
    command.arg("--out").arg(&folder).arg(&streams.once);
    command.stdout(std::process::Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().expect("archive-pack");
    let mut stdout = child.stdout.take().expect("its output");
    let text = std::io::read_to_string(&mut stdout).expect("its summary");
    let cpu = reap("archive-pack", &mut child);
    let wall = begun.elapsed().as_secs_f64();
    let summary: serde_json::Value = serde_json::from_str(&text).expect("a JSON summary");
    let bytes = |name: &str| summary[name].as_f64().expect("bytes in the summary");
    let stored = summary["events"].as_u64().expect("events in the summary");
    assert_eq!(stored, streams.events.len() as u64, "each event of the capture is another one");
    std::fs::remove_dir_all(&folder).expect("the archive");
    (Cost { cpu, wall }, bytes("segment_bytes") + bytes("log_bytes"))
}

/// How many bytes zstd makes of it.
fn zstd(raw: &[u8]) -> f64 {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).expect("zstd");
    encoder.long_distance_matching(true).expect("zstd takes it");
    encoder.window_log(WINDOW_LOG).expect("zstd takes it");
    encoder.write_all(raw).expect("zstd");
    encoder.finish().expect("zstd").len() as f64
}
