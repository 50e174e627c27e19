//! How long the proof of a directory takes, worked out from the recorded one: each of its
//! operations has a signature that has to be checked. `cargo bench --package plc --bench proof`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use plc::proof::{Entry, Prover};

const EXPORT: &str = include_str!("../../../tests/fixtures/refnet/plc-export.jsonl");

/// Accounts in the directory in 2026.
const DIDS: f64 = 87e6;

fn main() {
    let mut lines: Vec<&[u8]> = EXPORT.lines().map(str::as_bytes).collect();
    let did = |line: &&[u8]| Entry::parse(line).unwrap().did;
    lines.sort_by_key(did);
    let accounts: Vec<&[&[u8]]> = lines.chunk_by(|a, b| did(a) == did(b)).collect();
    let mut prover = Prover::new(1 << 16);
    let (began, mut quickest) = (Instant::now(), vec![Duration::MAX; accounts.len()]);
    // Each account by its quickest time: on a machine with other work longer stretches are
    // interrupted.
    while began.elapsed() < Duration::from_secs(3) {
        for (account, quickest) in accounts.iter().zip(&mut quickest) {
            let round = Instant::now();
            let entries: Vec<_> = account.iter().map(|line| Entry::parse(line).unwrap()).collect();
            let proof = prover.prove(&entries[0].did, black_box(&entries));
            *quickest = round.elapsed().min(*quickest);
            assert!(proof.faults.is_empty());
        }
    }
    let quickest: Duration = quickest.iter().sum();
    let cores = thread::available_parallelism().unwrap().get();
    let million = quickest.as_secs_f64() / lines.len() as f64 * 1e6;
    let operations = DIDS * lines.len() as f64 / accounts.len() as f64;
    let hours = operations / 1e6 * million / cores as f64 / 3600.0;
    println!("proved, operations a second and core        {:8.0}", 1e6 / million);
    println!("seconds for a million operations, one core  {million:8.1}");
    println!("seconds for a million operations, {cores} cores   {:8.1}", million / cores as f64);
    println!(
        "hours for {:.0} million DIDs with {:.0} million operations, {cores} cores {hours:.1}",
        DIDS / 1e6,
        operations / 1e6
    );
}
