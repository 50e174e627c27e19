//! `sig-verify` beside what else could prove events: the same events, in turn, in one run.
//!
//! * bare ECDSA: the very signatures, digests and keys of those events, with the libraries that
//!   `sig-verify` uses, and nothing else: what no verifier can be quicker than;
//! * `rs-car-sync`, `serde_ipld_dagcbor`, `k256` and `p256`: envelope, hashes of blocks, signature,
//!   and each op's record in the tree, as one would write it with them. Ops are not undone;
//! * `jacquard-repo`'s `validate_v1_1`, which undoes ops, on an envelope that was read already.
//!
//! Usage: `proofs BIN`, where BIN is the folder of the tools. The events come from `pds-sim`: its
//! hosts make them as they make them for tests, and what sig-verify proves of them is what is
//! measured.
#![allow(missing_docs, reason = "a bench has no callers")]

mod events;
mod jacquard;
mod plain;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::events::Events;

/// How often each is run, in turn with the others.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let bin = std::env::args_os().nth(1).context("usage: proofs BIN")?;
    let bin = Path::new(&bin);
    let events = Events::make(bin)?;
    println!(
        "\nPROOFS: {} signed events of {} bytes on average, {} K-256 and {} P-256, one core",
        events.signed.len(),
        events.bytes / events.signed.len(),
        events.signed.len() - events.p256,
        events.p256,
    );
    let mut rows: Vec<(&str, Vec<f64>)> = vec![
        ("sig-verify, all rules", Vec::new()),
        ("bare ECDSA of the same events", Vec::new()),
        ("rs-car-sync, serde_ipld_dagcbor, k256", Vec::new()),
        ("jacquard-repo validate_v1_1", Vec::new()),
    ];
    let inductive = jacquard::prepare(&events)?;
    for _ in 0..ROUNDS {
        let costs = [
            ours(bin, &events)? / events.signed.len() as f64,
            bare(&events)? / events.signed.len() as f64,
            own(|| plain::prove(&events))? / events.signed.len() as f64,
            own(|| jacquard::prove(&inductive))? / inductive.len() as f64,
        ];
        for ((_, row), cost) in rows.iter_mut().zip(costs) {
            row.push(cost);
        }
    }
    println!("{:<40} {:>12} {:>10}   CPU / CPU of sig-verify", "", "events/CPU s", "us/event");
    let ours = rows.first().map(|(_, row)| row.clone()).unwrap_or_default();
    for (name, row) in &rows {
        let cost = median(row.clone());
        let ratio = median(row.iter().zip(&ours).map(|(it, ours)| it / ours).collect());
        println!("{name:<40} {:>12.0} {:>10.1}   {ratio:.2}", 1.0 / cost, cost * 1e6);
    }
    let share = |row: usize| {
        let row = rows.get(row).map(|(_, row)| row.clone()).unwrap_or_default();
        median(row.iter().zip(&ours).map(|(it, ours)| it / ours).collect())
    };
    println!(
        "sig-verify proves {:.0} % of what bare ECDSA does (goal 85), {:.1} times what the crates do \
         (goal 2.5), {:.1} times what jacquard-repo does (goal 4)",
        100.0 * share(1),
        share(2),
        share(3),
    );
    Ok(())
}

/// The CPU seconds of one `sig-verify` over all events.
fn ours(bin: &Path, events: &Events) -> Result<f64> {
    let before = cpu(UsageWho::RUSAGE_CHILDREN)?;
    let mut tool = Command::new(bin.join("sig-verify"));
    tool.args(["--jobs", "1", "--index"]).arg(&events.index).arg(&events.proved);
    let status = tool.stdout(Stdio::null()).status().context("sig-verify")?;
    ensure!(status.success(), "sig-verify ended with {status}");
    Ok(cpu(UsageWho::RUSAGE_CHILDREN)? - before)
}

fn bare(events: &Events) -> Result<f64> {
    // As many keys as sig-verify keeps, parsed when they come first.
    let mut verifier = keys::Verifier::new(1 << 15);
    own(|| {
        for event in &events.signed {
            let verified = verifier.verify(&event.key, &event.digest, &event.signature);
            ensure!(verified.is_ok(), "a signature that sig-verify proved does not hold");
        }
        Ok(())
    })
}

/// What work takes of the processor in this process.
fn own(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = cpu(UsageWho::RUSAGE_SELF)?;
    work()?;
    Ok(cpu(UsageWho::RUSAGE_SELF)? - before)
}

fn cpu(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    let time = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(time as f64 / 1e6)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
