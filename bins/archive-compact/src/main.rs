//! `archive-compact`: forgets for good.

mod rejects;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use archive::{Gone, Options};
use cli::units::Span;
use cli::{Cli, Common, Tool};

/// Takes the bytes of what is gone out of an archive, and proves that they are gone
///
/// Gone are records that were deleted or replaced, what archive-forget has taken down, and accounts
/// that their host has called deleted for longer than --grace. Their events keep their numbers and
/// their signed commits, flagged as redacted, so that a copy that comes late brings nothing back.
/// The open log is sealed first. No other process may write the archive meanwhile; readers go on.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The archive's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// How long an account stays after its host called it deleted
    #[arg(long, value_name = "DURATION", default_value = "30d", env = "SOVEREIGN_GRACE")]
    grace: Span,

    /// A file of refused frames, as sig-verify --rejects writes it, that is to forget the same; may be
    /// given several times. Nobody may write it meanwhile
    #[arg(long, value_name = "FILE")]
    rejects: Vec<PathBuf>,

    /// Level of zstd of what is written anew: 1 is fast, 19 is small
    #[arg(long, default_value_t = Options::default().level, env = "SOVEREIGN_LEVEL")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,

    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: Common,
}

impl Tool for Args {
    const NAME: &'static str = "archive-compact";
    const EXAMPLE: &'static str = "\
archive-compact archive/
archive-compact archive/ --rejects refused.frames
archive-compact archive/ --grace 72h --json";

    fn common(&self) -> &Common {
        &self.common
    }

    fn json(&self) -> bool {
        self.json
    }

    fn run(self, cli: &Cli) -> anyhow::Result<()> {
        let options = Options { level: self.level, ..Options::default() };
        let grace = u64::try_from(self.grace.0.as_nanos()).unwrap_or(u64::MAX);
        let before = cli::now_ns().saturating_sub(grace);
        let done = archive::compact(&self.dir, options, before)?;
        for damage in &done.damage {
            cli.warn(format_args!("{damage}; this segment is as it was"));
        }
        let mut rejected = 0;
        // Deletions that came meanwhile count for these.
        let mut gone = Gone::open(&self.dir, before)?;
        for path in &self.rejects {
            rejected += rejects::rewrite(path, &mut gone)
                .with_context(|| format!("--rejects {}", path.display()))?;
        }
        if self.json {
            let object = serde_json::json!({
                "type": "summary",
                "segments": done.segments,
                "events": done.events,
                "rejects": rejected,
                "bytes_before": done.before,
                "bytes_after": done.after,
                "damaged": done.damage.len(),
            });
            cli::print(&format!("{object}\n"))?;
        }
        match (done.damage.len(), done.left) {
            (0, 0) => Ok(()),
            (0, left) => bail!("{}: {left} events still have what is gone", self.dir.display()),
            _ => bail!("{}: not all segments could be read (above)", self.dir.display()),
        }
    }
}

fn main() -> ExitCode {
    cli::main::<Args>()
}
