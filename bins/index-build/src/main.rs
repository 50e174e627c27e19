//! `index-build`: the directory's operations into `did.idx`.

mod account;
mod audit;
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

use crate::account::Built;
use crate::audit::{Audit, Tally, Voice};
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
///
/// A directory has checked its operations. With --audit they are checked again, all of them:
/// hashes, signatures, chains and recoveries, by the rules of did:plc.
#[derive(Debug, clap::Parser)]
struct Args {
    /// Operations: a folder of .jsonl, .jsonl.zst and .jsonl.gz files (read in the order of their
    /// names), one file, or `-` for standard input, the default. With --update: what to catch up
    /// with first; only what the index may lack is read
    #[arg(long, value_name = "DIR|FILE", env = "SOVEREIGN_OPS")]
    ops: Option<PathBuf>,

    /// The index to make; with --audit it may be left out
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "SOVEREIGN_INDEX",
        required_unless_present_any = ["update", "audit"]
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

    /// Stop at the first line that is no operation; else such lines are reported and left out.
    /// With --audit: go on to the end, and fail then if an operation does
    #[arg(long)]
    strict: bool,

    /// Prove all operations, and print a JSON line for each that fails ("invalid", with the rule)
    /// or that a newer server would not take ("note"), and one at the end. In the index an account
    /// stays as it was before its first failing operation
    #[arg(long, conflicts_with = "update")]
    audit: bool,

    /// With --audit: prove the accounts of these files, as a directory gives them under
    /// /DID/log/audit, instead of --ops; fail if one does. No index is made
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "audit")]
    log: Vec<PathBuf>,

    /// Memory for operations that wait for their account to be worked out; what is more goes to
    /// the disk
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "SOVEREIGN_MEMORY")]
    memory: Bytes,

    /// Folder for what there is no memory for: about 80 bytes an operation, and 300 more with
    /// --audit, in files without a name; by default that of the index
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
plc-fetch --follow --resume did.idx | index-build --update did.idx
index-build --audit --ops ops/ > findings.jsonl
index-build --audit --log audit-log.json";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        if !self.log.is_empty() {
            let tally = audit::logs::audit(&self.log, cli)?;
            return failing(&tally, true, cli);
        }
        match (self.update.clone(), self.out.clone()) {
            (Some(index), out) if out.as_ref().is_none_or(|out| *out == index) => {
                let Self { ops, merge_at, strict, json, .. } = self;
                update::run(cli, &Plan { index, ops, merge_at, strict }, json)
            }
            (None, out) => self.build(cli, out.as_deref()),
            _ => Err(cli::usage("--update changes an index where it is: leave --out away")),
        }
    }
}

impl Args {
    /// The folder for what there is no memory for.
    fn temp(&self, out: Option<&Path>) -> anyhow::Result<PathBuf> {
        let beside = out.map(|out| match out.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        });
        let folder = self.temp.clone().or(beside).unwrap_or_else(std::env::temp_dir);
        // Before hours of reading, not in the midst of them.
        anyhow::ensure!(folder.is_dir(), "{}: is no folder", folder.display());
        Ok(folder)
    }

    /// Reads all operations, proves them if that is asked for, and makes the index if one is.
    fn build(self, cli: &Cli, out: Option<&Path>) -> anyhow::Result<()> {
        let began = Instant::now();
        // Before hours of reading, not behind them.
        if let Some(out) = out.filter(|out| !self.force && out.symlink_metadata().is_ok()) {
            anyhow::bail!("{} exists; --force replaces it", out.display());
        }
        let files = source::files(self.ops.as_deref().unwrap_or(Path::new("-")))?;
        let count = files.len();
        let temp = self.temp(out)?;
        let shares = usize::from(self.audit) + usize::from(out.is_some());
        let memory = self.memory.0 as usize / shares.max(1);
        let mut gathered = Gathered::new(cli, self.strict, &temp, memory)?;
        gathered.indexing = out.is_some();
        if self.audit {
            let voice = Voice::new(cli, out.is_some());
            gathered.audit = Some(Audit::new(voice, gathered.seed, &temp, memory));
        }
        gathered.read(files)?;
        let audited = gathered.audit.take().map(|audit| audit.finish(cli)).transpose()?;
        let (tally, stays) = audited.unzip();
        if let Some(out) = out {
            let built = account::build(&gathered, &stays.unwrap_or_default(), out, self.force)
                .with_context(|| out.display().to_string())?;
            self.report(cli, &gathered, &built, count, began)?;
        }
        tally.map_or(Ok(()), |tally| failing(&tally, self.strict, cli))
    }

    /// Says what was built.
    fn report(
        &self,
        cli: &Cli,
        gathered: &Gathered<'_>,
        built: &Built,
        files: usize,
        began: Instant,
    ) -> anyhow::Result<()> {
        let (counts, summary) = (gathered.counts(), built.summary);
        let bytes_per_did = summary.bytes as f64 / summary.entries.max(1) as f64;
        // An audit names them.
        if counts.lines_bad > 0 && !self.audit {
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
            "{} accounts from {} operations: {bytes_per_did:.1} bytes an account",
            summary.entries, built.cursor.operations,
        ));
        if !self.json {
            return Ok(());
        }
        let mut text = Text::new(cli);
        text.object(&Report {
            r#type: "summary",
            files,
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
        text.flush()
    }
}

/// How an audit ends.
fn failing(tally: &Tally, strict: bool, cli: &Cli) -> anyhow::Result<()> {
    let invalid = tally.invalid;
    cli.info(format_args!(
        "{} operations of {} DIDs judged, {invalid} fail; {:.1} s for a million operations",
        tally.operations,
        tally.dids,
        tally.seconds_per_million()
    ));
    let Some(first) = &tally.first else { return Ok(()) };
    anyhow::ensure!(!strict, "{first}{}", and_others(invalid));
    cli.warn(format_args!("{first}{}; standard output names each", and_others(invalid)));
    Ok(())
}

fn and_others(invalid: u64) -> String {
    if invalid > 1 { format!(" (and {} others)", invalid - 1) } else { String::new() }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
