//! `archive-forget`: the operator's own takedown.

use std::path::PathBuf;
use std::process::ExitCode;

use archive::{Forgotten, Target};
use cli::{Cli, Common, Tool};

/// Takes an account or a record of an archive down, or takes that back
///
/// In force at once: archive-cat, also one that runs, no longer gives commits of the account, or
/// the record. A line with time and reason is added to the file `forgotten` in the archive's
/// folder. The bytes stay until archive-compact takes them out.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The archive's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// An account's DID, or one of its records as at://DID/collection/rkey
    #[arg(value_name = "DID|at://URI", required_unless_present = "list")]
    target: Option<Target>,

    /// Why; stands in the archive beside what was taken down
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    reason: Option<String>,

    /// Give it again
    #[arg(long)]
    reverse: bool,

    /// Print what has been taken down and given again so far, when, and why
    #[arg(long, conflicts_with_all = ["target", "reason", "reverse"])]
    list: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-forget";
    const EXAMPLE: &'static str = "\
archive-forget archive/ at://did:plc:44ybard66vv44zksje25o7dz/app.bsky.feed.post/3jzfcijpj2z2a --reason 'order 17'
archive-forget archive/ did:plc:44ybard66vv44zksje25o7dz --reverse --reason 'order 17 was lifted'
archive-forget archive/ --list";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, _: &Cli) -> anyhow::Result<()> {
        let mut forgotten = Forgotten::open(&self.dir)?;
        let (Some(target), Some(reason)) = (&self.target, &self.reason) else {
            archive::Reader::open(&self.dir)?;
            let lines = forgotten.lines().flat_map(|line| [line, "\n"]);
            return cli::print(&lines.collect::<String>());
        };
        if reason.trim().is_empty() {
            return Err(cli::usage("--reason: say why; it is what the log is for"));
        }
        let time = lines::rfc3339(cli::now_ns());
        Ok(forgotten.add(&time, target, !self.reverse, reason)?)
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
