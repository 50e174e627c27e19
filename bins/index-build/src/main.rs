//! `index-build`: the directory's operations into `did.idx`.

mod account;
mod gather;
mod hosts;
mod keeper;
mod merge;
mod piece;
mod record;
mod sidecar;
mod source;
mod spill;
mod state;
mod update;
mod whole;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use cli::units::Bytes;
use cli::{Cli, Common, Text, Tool};
use serde::Serialize;

use crate::gather::Gathered;
use crate::update::Plan;

/// Builds did.idx, which says for each did:plc its signing key, its PDS and its former keys
///
/// Reads the directory's operations as JSON lines: what plc-fetch stores, a dump of a mirror
/// (plain, .zst or .gz), or plc-fetch --out -. Operations that come twice count once; nullified
/// ones are found by what follows what. The index appears when it is whole; one that is there is
/// replaced only with --force, and its readers move to the new one by themselves.
///
/// With --update an index is kept current: what standard input brings is in force for all its
/// readers at once and survives any kill. It ends with its input, or at a signal.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Operations: a folder of .jsonl, .jsonl.zst and .jsonl.gz files (read in the order of their
    /// names), one file, or `-` for standard input, the default. With --update: what to catch up
    /// with first; only what the index may lack is read
    #[arg(long, value_name = "DIR|FILE", env = "SOVEREIGN_OPS")]
    ops: Option<PathBuf>,

    /// The index to make
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "SOVEREIGN_INDEX",
        required_unless_present = "update"
    )]
    out: Option<PathBuf>,

    /// Keep this index current with what standard input brings
    #[arg(long, value_name = "FILE", conflicts_with = "force")]
    update: Option<PathBuf>,

    /// Make a new index of the old one and its changes when there are so many of these; by
    /// default one for a hundred accounts, from 32,768 to 1,048,576
    #[arg(
        long,
        value_name = "N",
        requires = "update",
        env = "SOVEREIGN_MERGE_AT",
        value_parser = clap::value_parser!(u64).range(1..=1 << 24)
    )]
    merge_at: Option<u64>,

    /// Replace the index if it exists
    #[arg(long)]
    force: bool,

    /// Stop at the first line that is no operation; else such lines are reported and left out
    #[arg(long)]
    strict: bool,

    /// Memory for operations that wait for their account to be worked out; what is more goes to
    /// the disk
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "SOVEREIGN_MEMORY")]
    memory: Bytes,

    /// Folder for what there is no memory for: about 80 bytes an operation, in a file without a
    /// name; by default that of the index
    #[arg(long, value_name = "DIR", env = "SOVEREIGN_TEMP")]
    temp: Option<PathBuf>,

    /// Print what was built as a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    files: usize,
    /// Files that break off in the middle of their packing.
    files_torn: u64,
    lines: u64,
    lines_bad: u64,
    json_bytes: u64,
    /// What went to the disk for lack of memory.
    spilled_bytes: u64,
    /// Different operations.
    operations: u64,
    repeated: u64,
    nullified: u64,
    accounts: u64,
    /// Accounts of which an operation is missing.
    accounts_broken: u64,
    /// Accounts that had more than one key.
    accounts_rotated: u64,
    hosts: u64,
    last_created_at: Option<String>,
    /// Length of the index.
    bytes: u64,
    bytes_per_did: f64,
    seconds: f64,
}

impl Tool for Args {
    const NAME: &'static str = "index-build";
    const EXAMPLE: &'static str = "\
index-build --ops ops/ --out did.idx
plc-fetch --url https://plc.directory --out - | index-build --out did.idx --json
plc-fetch --follow --resume did.idx --out - | index-build --update did.idx";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        match (self.update.clone(), self.out.clone()) {
            (Some(index), out) if out.as_ref().is_none_or(|out| *out == index) => {
                let Self { ops, merge_at, strict, json, .. } = self;
                update::run(cli, &Plan { index, ops, merge_at, strict }, json)
            }
            (None, Some(out)) => self.build(cli, &out),
            _ => Err(cli::usage("--update changes an index where it is: leave --out away")),
        }
    }
}

impl Args {
    /// The folder for what there is no memory for.
    fn temp<'a>(&'a self, out: &'a Path) -> anyhow::Result<&'a Path> {
        let beside = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = self.temp.as_deref().or(beside).unwrap_or(Path::new("."));
        // Before hours of reading, not in the midst of them.
        anyhow::ensure!(folder.is_dir(), "{}: is no folder", folder.display());
        Ok(folder)
    }

    fn build(self, cli: &Cli, out: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        // Before hours of reading, not behind them.
        if !self.force && out.symlink_metadata().is_ok() {
            anyhow::bail!("{} exists; --force replaces it", out.display());
        }
        let files = source::files(self.ops.as_deref().unwrap_or(Path::new("-")))?;
        let count = files.len();
        let memory = self.memory.0 as usize;
        let mut gathered = Gathered::new(cli, self.strict, self.temp(out)?, memory)?;
        gathered.read(files)?;
        let counts = gathered.counts();
        let built = account::build(&gathered, out, self.force)
            .with_context(|| out.display().to_string())?;
        let summary = built.summary;
        let bytes_per_did = summary.bytes as f64 / summary.entries.max(1) as f64;
        if counts.lines_bad > 0 {
            let lines = counts.lines_bad;
            cli.warn(format_args!("{lines} lines were no operations and are left out"));
        }
        if built.broken > 0 {
            let broken = built.broken;
            cli.warn(format_args!(
                "{broken} DIDs lack an operation that others follow; the newest ones count"
            ));
        }
        cli.info(format_args!(
            "{} accounts from {} operations in {}: {:.1} bytes an account",
            summary.entries,
            built.cursor.operations,
            out.display(),
            bytes_per_did
        ));
        if self.json {
            let mut text = Text::new(cli);
            text.object(&Report {
                r#type: "summary",
                files: count,
                files_torn: counts.files_torn,
                lines: counts.lines,
                lines_bad: counts.lines_bad,
                json_bytes: counts.bytes,
                spilled_bytes: gathered.spill.written(),
                operations: built.cursor.operations,
                repeated: built.repeated,
                nullified: built.nullified,
                accounts: summary.entries,
                accounts_broken: built.broken,
                accounts_rotated: summary.rotated,
                hosts: summary.hosts,
                last_created_at: ::lines::rfc3339_ms(built.cursor.created_ms),
                bytes: summary.bytes,
                bytes_per_did,
                seconds: began.elapsed().as_secs_f64(),
            })?;
            text.flush()?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
