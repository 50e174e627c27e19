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
    #[arg(value_name = "DID|at://URI")]
    target: Target,

    /// Why; stands in the archive beside what was taken down
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Give it again
    #[arg(long)]
    reverse: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-forget";
    const EXAMPLE: &'static str = "\
archive-forget archive/ at://did:plc:44ybard66vv44zksje25o7dz/app.bsky.feed.post/3jzfcijpj2z2a --reason 'order 17'
archive-forget archive/ did:plc:44ybard66vv44zksje25o7dz --reverse --reason 'order 17 was lifted'";

    fn common(&self) -> &Common {
        &self.common
    }

    fn run(self, _: &Cli) -> anyhow::Result<()> {
        if self.reason.trim().is_empty() {
            return Err(cli::usage("--reason: say why; it is what the log is for"));
        }
        let time = lines::rfc3339(cli::now_ns());
        let mut forgotten = Forgotten::open(&self.dir)?;
        Ok(forgotten.add(&time, &self.target, !self.reverse, &self.reason)?)
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
