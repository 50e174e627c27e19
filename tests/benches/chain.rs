//! What each stage and each joint costs, as ratios against a peer in the same run.
//!
//! Seconds alone say more of the machine than of the tools, so each figure stands beside a peer
//! that does the least work which could do: `cat` for what moves bytes, plain zstd for the archive.
//! The two are run in turn, and what is told is the median of their ratios with the least and the
//! most. Nothing passes or fails here. Proofs are measured in `tests/peers/proofs`, beside crates
//! that nobody should have to compile who builds the tools.
//!
//! CPU seconds are user and system time of the processes that are named, all threads together.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench reports on standard output and fails by panicking"
)]

mod archive;
mod chains;
mod group;
mod joints;
mod kept;
mod live;
mod measure;
mod restart;
mod stages;
mod streams;

use crate::streams::Streams;

/// How often each pair is run.
const ROUNDS: usize = 5;

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|arg| arg == live::PEER) {
        return live::peer(args.next().expect("a folder").as_ref());
    }
    let streams = Streams::make();
    println!("Sovereign: what the chain costs on this machine");
    println!("{}", e2e::machine());
    println!("CPU seconds are user + system; medians of {ROUNDS} runs (least to most)");
    println!("{streams}");
    // `cargo bench --bench chain -- kept live` runs these alone.
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, report) in REPORTS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            report(&streams);
        }
    }
}

/// A part of the report: what it is called, and what prints it.
type Report = (&'static str, fn(&Streams));

/// All of them, in order.
const REPORTS: [Report; 7] = [
    ("stages", stages::report),
    ("archive", archive::report),
    ("kept", kept::report),
    ("live", live::report),
    ("restart", restart::report),
    ("joints", joints::report),
    ("chains", chains::report),
];
