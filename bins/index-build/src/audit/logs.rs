//! The proof of single accounts: `/DID/log/audit` arrays.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use cli::Cli;
use plc::proof::{Entry, Prover};

use super::report::{Report, Tally, Voice};
use crate::source;

/// Longest log that is read.
const LOG_BYTES_MAX: usize = 256 << 20;

/// Judges logs one after the other. One that cannot be read is an error behind all others.
pub(crate) fn audit(paths: &[PathBuf], cli: &Cli) -> anyhow::Result<Tally> {
    let (began, mut voice) = (Instant::now(), Voice::new(cli, false));
    let (mut tally, mut prover) = (Tally::default(), Prover::new(64));
    let mut gone = None;
    for path in paths {
        let name = path.display().to_string();
        let log = match read(path).context(name.clone()) {
            Ok(log) => log,
            Err(error) => {
                if let Some(before) = gone.replace(error) {
                    cli.warn(format_args!("{before:#}"));
                }
                continue;
            }
        };
        let mut report = Report::default();
        judge(&log, &name, &mut prover, &mut report);
        voice.say(&report)?;
        tally.add(&report.tally);
    }
    tally.seconds = began.elapsed().as_secs_f64();
    voice.end(&tally)?;
    gone.map_or(Ok(tally), Err)
}

fn judge(log: &[u8], name: &str, prover: &mut Prover, report: &mut Report) {
    let file = Some(name);
    let members = match Entry::parse_log(log) {
        Ok(members) if !members.is_empty() => members,
        Ok(_) => return report.unreadable("a log of nothing", file),
        Err(error) => {
            let error = anyhow::Error::from(error).context("no audit log");
            return report.unreadable(&format!("{error:#}"), file);
        }
    };
    let mut entries = Vec::new();
    for (at, member) in members.into_iter().enumerate() {
        match member {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                let error = anyhow::Error::from(error);
                report.unreadable(&format!("member {at}: {error:#}"), file);
            }
        }
    }
    let Some(did) = entries.first().map(|entry| entry.did) else { return };
    let proof = prover.prove(&did, &entries);
    report.account(&did, &entries, &proof, file);
    // What a directory says in an audit log it says of this moment.
    for (at, entry) in entries.iter().enumerate().filter(|_| proof.faults.is_empty()) {
        if entry.nullified == Some(proof.valid.contains(&at)) {
            let detail = "nullified is the opposite of what the operations come to";
            report.note(entry, "nullified-flag", detail, name);
        }
    }
}

/// A file, unpacked.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(!path.is_dir(), "is a folder; name the logs in it");
    let mut log = Vec::new();
    for file in source::files(path)? {
        let mut packed = file.open()?;
        loop {
            let part = packed.fill()?;
            if part.is_empty() {
                break;
            }
            anyhow::ensure!(
                log.len() + part.len() <= LOG_BYTES_MAX,
                "longer than {LOG_BYTES_MAX} bytes"
            );
            log.extend_from_slice(part);
            let bytes = part.len();
            packed.consume(bytes);
        }
    }
    Ok(log)
}
