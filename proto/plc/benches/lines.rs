//! How fast lines are read, beside the general way, on one core: the goal is 500 MB of raw JSON a
//! second. `cargo bench --package plc --bench lines`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use keys::PublicKey;
use plc::Operation;

const EXPORT: &str = include_str!("../../../tests/fixtures/refnet/plc-export.jsonl");

/// By the quickest of the rounds that fit into a while: on a machine with other work most rounds
/// are interrupted.
fn megabytes_per_second(mut read: impl FnMut(&[u8])) -> f64 {
    let lines: Vec<&[u8]> = EXPORT.lines().map(str::as_bytes).collect();
    let (began, mut quickest) = (Instant::now(), Duration::MAX);
    while began.elapsed() < Duration::from_millis(200) {
        let round = Instant::now();
        for line in &lines {
            read(black_box(line));
        }
        quickest = quickest.min(round.elapsed());
    }
    EXPORT.len() as f64 / quickest.as_secs_f64() / 1e6
}

fn key(operation: &Operation<'_>) -> Option<PublicKey> {
    operation.key.as_ref().and_then(|key| key.parse().ok())
}

fn main() {
    type Way = (&'static str, fn(&[u8]));
    let ways: [Way; 4] = [
        ("as a serde_json::Value", |line| {
            black_box(serde_json::from_slice::<serde_json::Value>(line).unwrap());
        }),
        ("serde_json, typed", |line| {
            black_box(Operation::parse_any(line).unwrap());
        }),
        ("serde_json, typed, and the key", |line| {
            black_box(key(&Operation::parse_any(line).unwrap()));
        }),
        ("index-build's way, and the key", |line| {
            black_box(key(&Operation::parse(line).unwrap()));
        }),
    ];
    // In turns, so that a slow moment of the machine hits all of them.
    let mut best = [0f64; 4];
    for _ in 0..5 {
        for (best, (_, read)) in best.iter_mut().zip(&ways) {
            *best = best.max(megabytes_per_second(read));
        }
    }
    for (best, (name, _)) in best.iter().zip(&ways) {
        println!("{name:32} {best:8.0} MB/s a core");
    }
    let [_, _, typed, quick] = best;
    println!("{:32} {:8.1} times serde_json", "index-build's way", quick / typed);
}
