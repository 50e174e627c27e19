//! `did.idx`, built by `index-build` from the lines of the directory.

use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use atproto::PlcDid;
use didindex::DidIndex;
use serde_json::Value;

use crate::directory;
use crate::measure::children_seconds;
use crate::peer::{Did, read};

/// Look-ups that are made together.
const TOGETHER: usize = 256;

/// Larger directories go through a pipe: 700 bytes an account would have to be on the disk.
const FROM_FILE_MAX: u64 = 10_000_000;

/// Lines of so many accounts are made at once.
const ACCOUNTS_AT_ONCE: u64 = 1000;

/// How an index was built.
pub struct Built {
    pub summary: Value,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub memory_bytes: u64,
}

impl Built {
    /// A number of what `index-build --json` says.
    pub fn number(&self, field: &str) -> f64 {
        self.summary[field].as_f64().unwrap_or(f64::NAN)
    }
}

/// Writes the directory's lines.
pub fn write_lines(accounts: u64, out: &mut impl Write) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for account in 0..accounts {
        directory::lines(account, accounts, &mut lines);
        if account % ACCOUNTS_AT_ONCE == ACCOUNTS_AT_ONCE - 1 || account + 1 == accounts {
            out.write_all(&lines)?;
            lines.clear();
        }
    }
    Ok(())
}

/// Bytes of JSON a second that are made, and that are parsed by themselves.
pub fn bare_rates() -> Result<(f64, f64)> {
    let mut lines = Vec::new();
    let begun = Instant::now();
    write_lines(100_000, &mut lines)?;
    let made = lines.len() as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        plc::Operation::parse(line).context("a line of the directory")?;
    }
    Ok((made, lines.len() as f64 / begun.elapsed().as_secs_f64()))
}

/// Has `index-build` build an index of the directory's lines: from a file, as one does, up to
/// [`FROM_FILE_MAX`], else from a pipe, whose writer takes a core of its own.
pub fn build(accounts: u64, out: &Path) -> Result<Built> {
    let file = out.with_extension("jsonl");
    let from_file = accounts <= FROM_FILE_MAX;
    if from_file {
        let mut lines = BufWriter::with_capacity(1 << 20, File::create(&file)?);
        write_lines(accounts, &mut lines)?;
        // What is written to the disk meanwhile would be measured.
        lines.into_inner()?.sync_all()?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tool = std::env::var_os("INDEX_BUILD").map(PathBuf::from);
    let tool = tool.unwrap_or_else(|| root.join("target/release/index-build"));
    let before = children_seconds();
    let begun = Instant::now();
    let mut child = Command::new(&tool)
        .args(["--json", "--strict", "--quiet", "--out"])
        .arg(out)
        .arg("--ops")
        .arg(if from_file { &file } else { Path::new("-") })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{}: make build makes it", tool.display()))?;
    let mut stdin = child.stdin.take().context("its input")?;
    nix::fcntl::fcntl(&stdin, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20))?;
    let written = if from_file { Ok(()) } else { write_lines(accounts, &mut stdin) };
    drop(stdin);
    let mut text = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().context("its output")?);
    stdout.read_line(&mut text)?;
    ensure!(child.wait()?.success(), "index-build failed");
    written.context("to index-build")?;
    let wall_seconds = begun.elapsed().as_secs_f64();
    if from_file {
        std::fs::remove_file(&file)?;
    }
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    Ok(Built {
        summary: serde_json::from_str(&text)?,
        wall_seconds,
        cpu_seconds: children_seconds() - before,
        memory_bytes: usage.max_rss() as u64 * 1024,
    })
}

/// Looks DIDs up one by one.
pub fn look_up(index: &DidIndex, dids: &[PlcDid]) -> u64 {
    let found = dids.iter().filter_map(|did| index.entry(did));
    found.map(|entry| entry.key().map_or(1, |key| read(&key))).sum()
}

/// Looks DIDs up many at a time.
pub fn look_up_together(index: &DidIndex, dids: &[PlcDid]) -> u64 {
    let mut entries = [None; TOGETHER];
    let mut sum = 0;
    for dids in dids.chunks(TOGETHER) {
        index.entries(dids, &mut entries);
        let found = entries.iter().take(dids.len()).flatten();
        sum += found.map(|entry| entry.key().map_or(1, |key| read(&key))).sum::<u64>();
    }
    sum
}

/// The same DIDs as the peers take them.
pub fn bytes(dids: &[PlcDid]) -> Vec<Did> {
    dids.iter().map(|did| *did.as_bytes()).collect()
}
